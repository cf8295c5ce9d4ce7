"""P1.5: there is exactly one noise equilibrium on every orbit, whatever the initialization.

Statement: G(lambda) = -4 gamma C(theta_lambda) + 2 sigma^2 Tr[Sigma(theta_lambda) A] falls
monotonically. Either it vanishes identically, or there is exactly one lambda* in R or at +-infinity
with G(lambda*) = 0; theta_lambda* depends on the orbit alone.

Assumptions: exponential symmetry with A = sum_i mu_i n_i n_i^T; weight decay gamma >= 0.

Relation: equality.

Reference: arXiv 2402.07193, main theorem.

Proof idea: in the eigenbasis of A, G is a sum of mu_i (-4 gamma c_i exp(2 mu_i lambda) + 2 sigma^2
s_i exp(-2 mu_i lambda)), c_i, s_i >= 0; each summand falls.

Example output:

    P1.5   proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._draws import point
from proofs_check._steps import cited, proof, same, sign, small


def claim() -> Claim:
    return Claim(
        "P1.5",
        "Exactly one noise equilibrium on every orbit: G(lambda) falls, its zero lambda* does not "
        "depend on the initialization",
        ("exponential symmetry", "A = A^T", "weight decay gamma >= 0"),
        "equality",
        "arXiv 2402.07193, main theorem",
    )


def exact() -> st.Verdict:
    """The i-th of any number of summands; sums of falling functions fall."""
    lam, mu, shift = sympy.symbols("lambda mu_i a", real=True)
    gamma, variance, c, s = sympy.symbols("gamma sigma2 c_i s_i", nonnegative=True)
    summand = mu * (
        -4 * gamma * c * sympy.exp(2 * mu * lam) + 2 * variance * s * sympy.exp(-2 * mu * lam)
    )
    slope = -(mu**2) * (
        8 * gamma * c * sympy.exp(2 * mu * lam) + 4 * variance * s * sympy.exp(-2 * mu * lam)
    )
    moved = {c: c * sympy.exp(2 * mu * shift), s: s * sympy.exp(-2 * mu * shift)}
    steps = [
        st.identity(
            "C(theta) = sum_i mu_i (n_i.theta)^2 in the eigenbasis O of A",
            lambda a: (
                a["t"] @ (a["O"] * a["mu"]) @ a["O"].T @ a["t"]
                - jnp.sum(a["mu"] * (a["t"] @ a["O"]) ** 2)
            ),
            {"O": st.OrthogonalMatrix("d"), "mu": "d", "t": "d"},
        ),
        st.identity(
            "Tr[Sigma A] = sum_i mu_i n_i^T Sigma n_i",
            lambda a: (
                jnp.trace(a["S"] @ (a["O"] * a["mu"]) @ a["O"].T)
                - jnp.einsum("i,ai,ab,bi->", a["mu"], a["O"], a["S"], a["O"])
            ),
            {"O": st.OrthogonalMatrix("d"), "mu": "d", "S": st.SymmetricMatrix("d")},
        ),
        same("each summand's derivative by lambda", sympy.diff(summand, lam), slope),
        sign("each summand falls", slope, "nonpositive"),
        same(
            "from another point of the orbit the same function, shifted",
            summand.subs(moved, simultaneous=True),
            summand.subs(lam, lam + shift),
        ),
        cited(
            "a sum of falling analytic functions is constant, or falls strictly and has at most "
            "one zero; its limits at +-infinity have the signs that make it exist, finite or not",
            "monotone functions",
        ),
    ]
    return proof("existence, uniqueness and independence of the initialization", steps)


def _same_equilibrium(law: Any, model: st.Model, key: jax.Array, turn: Any) -> st.Verdict:
    """Find lambda* from two points, the second moved by `turn`, and compare the two equilibria."""
    key_start, key_flow = jax.random.split(key)
    start = point(model, key_start)
    flow = float(jax.random.uniform(key_flow, minval=0.3, maxval=1.0))
    settings = {"learning_rate": 0.01, "batch_size": 1, "weight_decay": 0.001}
    points = [law.equilibrium.at(p, **settings) for p in (start, turn(start, flow))]
    first, second = (point.charge for point in points)
    scale = max(abs(float(first)), abs(float(second)), 1e-12)
    how = f"two points {flow:.2f} apart, certified brackets of lambda*"
    off = abs(float(first) - float(second)) / scale
    return small("the same equilibrium from two initializations", off, 1e-8, how)


def _case(turn: Any, key: jax.Array) -> st.Verdict:
    example = st.zoo.load("two-layer-linear")
    model = example.bound()
    law = st.derive(model, example.symmetries["rescaling"])
    return _same_equilibrium(law, model, key, turn)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _case(lambda p, t: {"U": jnp.exp(t) * p["U"], "W": jnp.exp(-t) * p["W"]}, key)


def control() -> st.Verdict:
    """The second point is on another orbit."""
    return _case(
        lambda p, t: {"U": jnp.exp(t) * p["U"], "W": jnp.exp(t) * p["W"]}, jax.random.key(1)
    )
