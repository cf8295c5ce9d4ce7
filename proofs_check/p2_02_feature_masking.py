"""P2.2: on a mirror the features across it are masked (R2).

Statement: if f(theta, x) has the P-reflection and P theta = 0, then P grad f(theta, x) = 0 for
every x; the tangent kernel is grad f(x)^T (I - P) grad f(x'), and lazy training stays in
range(I - P).

Assumptions: f differentiable; f((I - 2P) theta, x) = f(theta, x) for all theta and x.

Relation: equality.

Reference: arXiv 2408.15495, feature masking; R2.

Proof idea: the gradient at a fixed point of a symmetry is fixed by it, g = (I - 2P) g.

Example output:

    P2.2   proved        supported     refuted
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._mirrors import generator
from proofs_check._steps import proof, small, textbook


def claim() -> Claim:
    return Claim(
        "P2.2",
        "Feature masking: P theta = 0 implies P grad f = 0, the tangent kernel is "
        "grad f^T (I - P) grad f, and lazy training stays in range(I - P)",
        ("f differentiable", "f((I - 2P) theta, x) = f(theta, x) for all theta and x"),
        "equality",
        "arXiv 2408.15495, feature masking; R2",
    )


def _on_mirror(a: Any) -> Any:
    """P grad f at a point of the mirror, for f = c(t) + c((I - 2P) t), c a generic cubic."""

    def cubic(t: Any) -> Any:
        third = jnp.einsum("ijk,i,j,k->", a["T"], t, t, t)
        return third + jnp.einsum("ij,i,j->", a["S"], t, t) + a["v"] @ t

    f = lambda t: cubic(t) + cubic(t - 2 * a["P"] @ t)
    return a["P"] @ jax.grad(f)(a["t"] - a["P"] @ a["t"])


def exact() -> st.Verdict:
    """Any projection and any number of inputs; the cubic stands beside the general argument."""
    across = st.ProjectionMatrix("d")
    free = lambda a: a["G"] - a["G"] @ a["P"]
    steps = [
        textbook(
            "differentiating f((I - 2P) theta) = f(theta) at theta = (I - 2P) theta: "
            "(I - 2P) g = g",
            "chain rule",
            given="f differentiable",
        ),
        st.identity(
            "g - (I - 2P) g = 2 P g, so (I - 2P) g = g gives P g = 0",
            lambda a: a["g"] - (a["g"] - 2 * a["P"] @ a["g"]) - 2 * a["P"] @ a["g"],
            {"P": across, "g": "d"},
        ),
        st.identity(
            "the same by differentiation, for a generic cubic made even: P grad f = 0",
            _on_mirror,
            {"P": across, "t": "d", "T": ("d", "d", "d"), "S": ("d", "d"), "v": "d"},
        ),
        st.identity(
            "P g = 0, so g = (I - P) g, for the rows of G: the kernel G G^T is G (I - P) G^T",
            lambda a: free(a) @ free(a).T - free(a) @ (free(a).T - a["P"] @ free(a).T),
            {"P": across, "G": ("n", "d")},
        ),
        st.identity(
            "a step of lazy training is a combination of these gradients: P of it is 0",
            lambda a: a["P"] @ (a["r"] @ free(a)),
            {"P": across, "G": ("n", "d"), "r": "n"},
        ),
    ]
    return proof("features across the mirror are masked", steps, claim().reference)


_INPUTS, _UNITS, _SAMPLES = 3, 5, 24


def _net(p: Any, x: Any) -> Any:
    return p["u"] @ jnp.tanh(p["W"] @ x)


def _swap(p: Any) -> Any:
    """P of the exchange of the first two neurons."""

    def leaf(array: Any) -> Any:
        half = (array[0] - array[1]) / 2
        return jnp.zeros_like(array).at[0].set(half).at[1].set(-half)

    return jax.tree.map(leaf, p)


def _flip(p: Any) -> Any:
    """P of the change of sign of the first neuron."""
    return jax.tree.map(lambda array: jnp.zeros_like(array).at[0].set(array[0]), p)


@functools.partial(jax.jit, static_argnums=0)
def _seen(across: Any, nets: Any, x: Any, y: Any, steps: Any) -> Any:
    """Return gradients and the movement of lazy training of every net, and the P that is meant."""

    def one(start: Any, x: Any, y: Any) -> Any:
        theta, back = ravel_pytree(start)
        project = jax.jacfwd(lambda t: ravel_pytree(across(back(t)))[0])(theta)
        net = lambda t: jax.vmap(_net, (None, 0))(back(t), x)
        now, rows = net(theta), jax.jacrev(net)(theta)
        rate = 1 / jnp.sum(rows**2)
        step = lambda _, t: t - rate * rows.T @ (now + rows @ (t - theta) - y)
        return project, rows, jax.lax.fori_loop(0, steps, step, theta) - theta

    return jax.vmap(one)(nets, x, y)


def _masked(on_mirror: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Train the net linearized at a symmetric state; nothing may be seen across the mirror.

    Args:
        on_mirror: 1 to start on the mirror, 0 to start where the draw fell.
    """
    rng, nets = generator(key), 16
    steps = budget.steps(nets, nanoseconds=20_000.0, most=1000)
    drawn = {"u": rng.normal(size=(nets, _UNITS)), "W": rng.normal(size=(nets, _UNITS, _INPUTS))}
    x, y = rng.normal(size=(nets, _SAMPLES, _INPUTS)), rng.normal(size=(nets, _SAMPLES))
    off = []
    for across in (_swap, _flip):
        start = jax.tree.map(lambda p, q: p - on_mirror * q, drawn, jax.vmap(across)(drawn))
        projects, rows, moved = map(np.asarray, _seen(across, start, x, y, steps))
        hidden = rows @ projects
        # The kernel less grad f^T (I - P) grad f is what is seen across the mirror.
        kernel, across_kernel = rows @ rows.swapaxes(1, 2), hidden @ rows.swapaxes(1, 2)
        step = (projects @ moved[..., None])[..., 0]
        off += [
            np.linalg.norm(hidden) / np.linalg.norm(rows),
            np.linalg.norm(across_kernel) / np.linalg.norm(kernel),
        ]
        off += [np.linalg.norm(step) / np.linalg.norm(moved)]
    how = (
        f"{nets} tanh nets at states fixed by a swap, and by a flip; gradients of {_SAMPLES} "
        f"samples, their kernel, and {steps} steps of lazy training; only rounding is left"
    )
    return small("nothing is seen across the mirror", float(max(off)), 1e-10, how)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _masked(1.0, key, budget)


def control() -> st.Verdict:
    """The state is not on the mirror."""
    return _masked(0.0, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """The state is on the mirror."""
    return _masked(1.0, jax.random.key(1), Budget(1.0))
