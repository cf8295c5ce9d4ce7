"""P1.2: gradient flow conserves the charge.

Statement: under d theta/dt = -grad L - 2 gamma theta the charge C = theta^T A theta of an
exponential symmetry obeys C(t) = C(0) exp(-4 gamma t); at gamma = 0 it is constant.

Assumptions: l(exp(lambda A) theta; z) = l(theta; z) for every sample; A symmetric; continuous time.

Relation: equality.

Reference: arXiv 2402.07193, section on the noise equilibrium.

Proof idea: dC/dt = 2 A theta . d theta/dt, and grad L . A theta = 0.

Example output:

    P1.2   proved        supported     refuted
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._draws import point
from proofs_check._paths import dot, uniform
from proofs_check._steps import from_statement, proof, same, small, textbook


def claim() -> Claim:
    return Claim(
        "P1.2",
        "Gradient flow conserves the charge: C(t) = C(0) exp(-4 gamma t)",
        ("exponential symmetry", "A = A^T", "continuous time"),
        "equality",
        "arXiv 2402.07193, noise equilibrium",
    )


def exact() -> st.Verdict:
    """Any size, any symmetric A, any data set of any size."""
    symmetric = st.SymmetricMatrix("d")
    t, gamma, start = sympy.symbols("t gamma C_0", real=True)
    solution = start * sympy.exp(-4 * gamma * t)
    scalar = st.zoo.load("scalar-factor")
    steps = [
        st.identity(
            "grad C = 2 A theta",
            lambda a: jax.grad(lambda v: v @ a["A"] @ v)(a["t"]) - 2 * a["A"] @ a["t"],
            {"A": symmetric, "t": "d"},
        ),
        textbook("dC/dt = grad C . d theta/dt", "chain rule", given="L differentiable"),
        st.identity(
            "2 A theta . (-grad L - 2 gamma theta) = -2 grad L . A theta - 4 gamma C, where grad L "
            "= sum_s w_s g_s, so that grad L . A theta = sum_s w_s (g_s . A theta)",
            lambda a: (
                2 * (a["A"] @ a["t"]) @ (-a["w"] @ a["G"] - 2 * a["gamma"] * a["t"])
                + 2 * a["w"] @ (a["G"] @ a["A"] @ a["t"])
                + 4 * a["gamma"] * (a["t"] @ a["A"] @ a["t"])
            ),
            {"A": symmetric, "t": "d", "G": ("samples", "d"), "w": "samples", "gamma": ()},
        ),
        from_statement("g_s . A theta = 0 for every sample", "P1.1"),
        same(
            "C(0) exp(-4 gamma t) solves dC/dt = -4 gamma C",
            sympy.diff(solution, t),
            -4 * gamma * solution,
        ),
        textbook(
            "there is no other solution",
            "uniqueness of linear differential equations",
            given="gamma constant",
        ),
        st.verify(scalar.model, scalar.symmetries["rescaling"]),
    ]
    return proof("gradient flow and the charge", steps, claim().reference)


def _kept(action: Callable[[Any], Any], key: jax.Array, budget: Budget) -> st.Verdict:
    """Integrate from random points, each on a data set of its own, at two step sizes."""
    model = st.zoo.load("two-layer-linear").bound()
    keys = jax.random.split(key, 3)
    replicas, step = 24, 0.01
    starts = jax.vmap(lambda k: point(model, k, 0.6))(jax.random.split(keys[0], replicas))
    gamma = uniform(keys[1], 0.02, 0.2)
    steps = budget.steps(replicas, nanoseconds=200_000.0, most=150)

    def charge(params: Any) -> Any:
        return dot(params, action(params))

    def error(gamma: float, halvings: int) -> float:
        flow = st.GradientFlow(step / 2**halvings, weight_decay=gamma, samples=16)
        run = st.simulate(
            model, flow, params=starts, steps=steps * 2**halvings, replicas=replicas, key=keys[2],
            observe=charge, record_every=10**9,
        )  # fmt: skip
        first = jax.vmap(charge)(starts)
        scale = jax.vmap(lambda p: dot(p, p))(starts)
        end = run.final["charge"]
        predicted = first * jnp.exp(-4 * gamma * steps * step)
        return float(np.max(np.abs(end - predicted) / scale))

    how = f"largest of {replicas} starts and data sets, relative to |theta|^2"
    parts = []
    for rate in (0.0, gamma):
        coarse, fine = error(rate, 0), error(rate, 1)
        name = f"C(t) = C(0) exp(-4 gamma t), gamma = {rate:.3f}"
        parts.append(small(name, fine, 1e-4, f"{how}; time {steps * step:.2g}, step {step / 2}"))
        shown = f"error {coarse:.2g} at step {step}, {fine:.2g} at half of it; of order 4"
        parts.append(small(f"{name}: the rest is the integrator's", fine / coarse, 1 / 8, shown))
    return proof("gradient flow keeps the charge", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _kept(lambda p: {"U": p["U"], "W": -p["W"]}, key, budget)


def control() -> st.Verdict:
    """Both factors grow: not a symmetry."""
    return _kept(lambda p: {"U": p["U"], "W": p["W"]}, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """One factor grows as the other shrinks."""
    return _kept(lambda p: {"U": p["U"], "W": -p["W"]}, jax.random.key(1), Budget(1.0))
