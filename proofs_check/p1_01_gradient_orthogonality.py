"""P1.1: the gradient is orthogonal to A theta, and its covariance annihilates A theta.

Statement: if l(exp(lambda A) theta; z) = l(theta; z) with A = A^T, then for every sample
g . A theta = 0, so Sigma A theta = 0; and along the orbit g(theta_lambda) = exp(-lambda A) g(theta)
and Sigma(theta_lambda) = exp(-lambda A) Sigma(theta) exp(-lambda A).

Assumptions: l twice differentiable; A symmetric.

Relation: equality.

Reference: arXiv 2402.07193, section on exponential symmetries.

Proof idea: differentiate the invariance by lambda and then by theta.

Example output:

    P1.1   proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._draws import point
from proofs_check._steps import proof, small, textbook


def claim() -> Claim:
    return Claim(
        "P1.1",
        "The gradient is orthogonal to A theta and Sigma annihilates it: Sigma(theta_lambda) = "
        "exp(-lambda A) Sigma exp(-lambda A)",
        ("l(exp(lambda A) theta; z) = l(theta; z) for every sample", "A = A^T"),
        "equality",
        "arXiv 2402.07193, exponential symmetry",
    )


def _sigma(gradients: Any, weights: Any) -> Any:
    """Centred covariance of weighted rows."""
    mean = weights @ gradients
    return (gradients.T * weights) @ gradients - jnp.outer(mean, mean)


def _slope(a: Any) -> Any:
    """Derivative of g . A theta by theta, for the loss sum_ijk T_ijk t_i t_j t_k."""
    loss = lambda t: jnp.einsum("ijk,i,j,k->", a["T"], t, t, t)
    along = lambda t: jax.grad(loss)(t) @ a["A"] @ t
    gradient, turned = jax.jvp(jax.grad(loss), (a["t"],), (a["A"] @ a["t"],))
    return jax.grad(along)(a["t"]) - turned - a["A"] @ gradient


def exact() -> st.Verdict:
    """Any number of samples with any weights, any symmetric A, any size."""
    symmetric = st.SymmetricMatrix("d")
    rows = {"G": ("samples", "d"), "w": "samples"}
    steps = [
        textbook(
            "d/dlambda l(exp(lambda A) theta) = g . A theta at lambda = 0, so invariance is "
            "g . A theta = 0 everywhere",
            "chain rule",
            given="l differentiable",
        ),
        st.identity(
            "Sigma v = E[g (g.v)] - E[g] E[g.v], so g.v = 0 for every sample gives Sigma v = 0",
            lambda a: (
                _sigma(a["G"], a["w"]) @ a["v"]
                - (a["w"] * (a["G"] @ a["v"])) @ a["G"]
                + (a["w"] @ a["G"]) * (a["w"] @ (a["G"] @ a["v"]))
            ),
            {**rows, "v": "d"},
        ),
        st.identity(
            "the gradient of g . A theta is H A theta + A g (generic cubic loss): where g . A "
            "theta = 0 everywhere, g moves along the orbit by dg/dlambda = H A theta = -A g",
            _slope,
            {"T": ("d", "d", "d"), "A": symmetric, "t": "d"},
        ),
        st.identity(
            "dg/dlambda = -A g for every sample gives dSigma/dlambda = -(A Sigma + Sigma A)",
            lambda a: (
                jax.jvp(lambda g: _sigma(g, a["w"]), (a["G"],), (-a["G"] @ a["A"],))[1]
                + a["A"] @ _sigma(a["G"], a["w"])
                + _sigma(a["G"], a["w"]) @ a["A"]
            ),
            {**rows, "A": symmetric},
        ),
        textbook(
            "exp(-lambda A) g and exp(-lambda A) Sigma exp(-lambda A) solve these equations",
            "uniqueness of linear differential equations",
            given="A constant",
        ),
    ]
    return proof("gradient and covariance along an orbit", steps, claim().reference)


def _transport(action: Any, key: jax.Array, budget: Budget) -> st.Verdict:
    """Compare Sigma at exp(lambda A) theta with the transported one, on the same samples."""
    model = st.zoo.load("two-layer-linear").bound()
    count = budget.steps(1, nanoseconds=20_000.0, most=20_000)
    key_theta, key_flow, key_data = jax.random.split(key, 3)
    theta, back = ravel_pytree(point(model, key_theta))
    flow = float(jax.random.uniform(key_flow, minval=0.2, maxval=0.8))
    samples = model.sample(key_data, (count,))
    generator = jax.jacfwd(lambda t: ravel_pytree(action(back(t)))[0])(theta)
    gradient = jax.grad(lambda t, z: model.evaluate(back(t), z))
    weights = jnp.full((count,), 1 / count)

    def sigma(t: Any) -> Any:
        return _sigma(jax.vmap(gradient, (None, 0))(t, samples), weights)

    turn = jax.scipy.linalg.expm(-flow * generator)
    there = sigma(jax.scipy.linalg.expm(flow * generator) @ theta)
    off = float(jnp.abs(there - turn @ sigma(theta) @ turn).max() / jnp.abs(there).max())
    how = f"{count} samples, the same at both points, so only rounding is left; lambda {flow:.3f}"
    return small("Sigma is transported along the orbit", off, 1e-9, how)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _transport(lambda p: {"U": p["U"], "W": -p["W"]}, key, budget)


def control() -> st.Verdict:
    """Both factors grow: not a symmetry."""
    return _transport(lambda p: {"U": p["U"], "W": p["W"]}, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """One factor grows as the other shrinks."""
    return _transport(lambda p: {"U": p["U"], "W": -p["W"]}, jax.random.key(1), Budget(1.0))
