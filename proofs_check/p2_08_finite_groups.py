"""P2.8: what repels from the fixed points of any finite group (R8).

Statement: let l be invariant under a finite group G with orthogonal representation rho, and V the
mean of rho(g) over G. At points fixed by G, (I - V) grad l_r = -2 gamma (I - V) theta_0, with
E|(I - V) grad l_r|^2 = 4 gamma^2 sigma_0^2 rank(I - V).

Assumptions: G finite; rho orthogonal; theta_0 ~ N(0, sigma_0^2 I).

Relation: equality.

Reference: arXiv 2408.15495, finite groups; R8.

Proof idea: V is the orthogonal projection onto the fixed points; gradients there are fixed too.

Example output:

    P2.8   proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._intervals import near
from proofs_check._mirrors import closure, generator, invariant, orthonormal
from proofs_check._steps import proof, small, textbook


def claim() -> Claim:
    return Claim(
        "P2.8",
        "At the fixed points of a finite group with mean V, (I - V) grad l_r = "
        "-2 gamma (I - V) theta_0, of mean square 4 gamma^2 sigma_0^2 rank(I - V)",
        ("G finite", "rho(g) orthogonal", "theta_0 ~ N(0, sigma_0^2 I)"),
        "equality",
        "arXiv 2408.15495, finite groups; R8",
    )


def _outside(a: Any, v: Any) -> Any:
    return v - a["V"] @ v


def exact() -> st.Verdict:
    """Any finite group: V enters as any orthogonal projection."""
    mean = st.ProjectionMatrix("d")
    steps = [
        textbook(
            "rho(h) V = V, because g -> hg permutes the group; so V V = V. V^T is the mean of "
            "rho(g^-1), which is V. So V is an orthogonal projection, and V w = w exactly for the "
            "fixed points w",
            "invariance of sums over a group",
            given="G finite, rho orthogonal",
        ),
        textbook(
            "l(rho(g) w) = l(w) gives rho(g)^T grad l(w) = grad l(w) at fixed points: their "
            "gradient h has V h = h",
            "chain rule",
            given="l differentiable",
        ),
        st.identity(
            "(I - V)(grad l + 2 gamma theta) = -2 gamma (I - V) theta_0 with grad l = V h and "
            "theta = V s - theta_0",
            lambda a: (
                _outside(a, a["V"] @ a["h"])
                + _outside(
                    a,
                    jax.grad(lambda t: jnp.sum(a["gamma"] * t * t))(a["V"] @ a["s"] - a["b"]),
                )
                + 2 * a["gamma"] * _outside(a, a["b"])
            ),
            {"V": mean, "h": "d", "s": "d", "b": "d", "gamma": ()},
        ),
        st.identity(
            "|(I - V) theta_0|^2 = Tr[(I - V) theta_0 theta_0^T]",
            lambda a: (
                jnp.sum(_outside(a, a["b"]) ** 2)
                - jnp.trace(jnp.outer(a["b"], a["b"]) - a["V"] @ jnp.outer(a["b"], a["b"]))
            ),
            {"V": mean, "b": "d"},
        ),
        textbook(
            "E[theta_0 theta_0^T] = sigma_0^2 I, and the trace of a projection is its rank",
            "the trace of a projection is its rank",
            given="theta_0 ~ N(0, sigma_0^2 I)",
        ),
    ]
    return proof("what repels from the fixed points of a group", steps, claim().reference)


def _groups(rng: np.random.Generator) -> list[tuple[str, list[np.ndarray]]]:
    """Groups that are no products of reflections, and one that is; along no axis."""
    cycle = np.roll(np.eye(4), 1, axis=0)
    swap = np.eye(4)[[1, 0, 2, 3]]
    i = np.kron(np.eye(2), [[0, -1], [1, 0]])
    j = np.kron([[0, -1], [1, 0]], [[1, 0], [0, -1]])
    angle = 2 * np.pi / 5
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    three = np.eye(4)[[1, 2, 0, 3]]
    chosen = {
        "permutations of 4": [cycle, swap],
        "quaternions": [i, j],
        "turns of a pentagon": [turn],
        "even permutations of 3": [three],
    }
    q = orthonormal(rng, 4)
    return [(name, [q @ g @ q.T for g in group]) for name, group in chosen.items()]


def _repels(fixed: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Measure (I - V) grad l_r at points that are fixed by a group (or not, with fixed = 0)."""
    rng = generator(key)
    gamma, sigma = rng.uniform(0.01, 0.1), rng.uniform(0.005, 0.02)
    draws = max(budget.steps(4, nanoseconds=10_000.0, most=20_000), 500)
    like = jax.ShapeDtypeStruct((4,), jnp.float64)
    keys = jax.random.split(key, draws)
    bias = np.asarray(jax.jit(jax.vmap(lambda k: st.syre.draw_bias(k, like, sigma)))(keys))
    parts = []
    for name, group in _groups(rng):
        elements = closure(group)
        mean = elements.mean(axis=0)
        outside = np.eye(4) - mean
        rank = round(float(np.trace(outside)))
        loss = invariant(rng, elements)
        point = rng.normal(size=(draws, 4))
        point = fixed * point @ mean + (1 - fixed) * point
        slope = lambda b, w, l=loss: jax.grad(st.syre.reparametrize(l, b, gamma))(w - b)
        found = np.asarray(jax.jit(jax.vmap(slope))(bias, point)) @ outside
        off = float(np.max(np.abs(found + 2 * gamma * bias @ outside)))
        how = f"{name}, order {len(elements)}, {draws} draws; only rounding is left"
        parts.append(small("(I - V) grad l_r = -2 gamma (I - V) theta_0", off, 1e-9, how))
        told = st.syre.expected_square(gamma, sigma, rank)
        square = np.sum(found**2, axis=1) / told
        parts.append(
            near(
                f"{name}: its mean square over 4 gamma^2 sigma_0^2 {rank}",
                1.0, square, 0.1,
            )
        )  # fmt: skip
    return st.conjunction("what repels from the fixed points of finite groups", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _repels(1.0, key, budget)


def control() -> st.Verdict:
    """At points that the group moves."""
    return _repels(0.0, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """At fixed points."""
    return _repels(1.0, jax.random.key(1), Budget(1.0))
