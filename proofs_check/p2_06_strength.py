"""P2.6: how strongly removed mirrors repel, with high probability (R6).

Statement: at the symmetric points of l, P_i grad l_r = 2 gamma (theta'_i - P_i theta_0) exactly.
With N reflections, with probability at least 1 - delta over theta_0 ~ N(0, sigma_0^2 I),
min_i |P_i grad l_r| >= sqrt(2 pi) gamma sigma_0 delta / N. For one mirror of rank 1 through the
origin the probability of failure is erf(sqrt(pi) delta / 2) = delta (1 - pi delta^2/12 + ...), so
the constant cannot be improved.

Assumptions: gamma > 0; theta_0 ~ N(0, sigma_0^2 I); N finite.

Relation: upper.

Reference: arXiv 2408.15495, strength of the removal; R6.

Proof idea: |P v| >= |n.v| for a unit vector n in range P; n.theta_0 is normal and falls within t of
any number with probability at most 2t/(sigma_0 sqrt(2 pi)); union bound.

Example output:

    P2.6   proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._intervals import near, rate_below
from proofs_check._mirrors import generator, longer_than_along
from proofs_check._steps import from_statement, proof, same, sign, small, textbook


def claim() -> Claim:
    return Claim(
        "P2.6",
        "At symmetric points P_i grad l_r = 2 gamma (theta'_i - P_i theta_0); with probability "
        "1 - delta all N of them are at least sqrt(2 pi) gamma sigma_0 delta / N long",
        ("gamma > 0", "theta_0 ~ N(0, sigma_0^2 I)", "N reflections"),
        "upper",
        "arXiv 2408.15495, strength of the removal; R6",
    )


def _pull(a: Any) -> Any:
    """P grad (gamma |t|^2) at t = theta' - P b + s - (I - P) b, that is w = theta' + s."""
    center, aside = a["P"] @ a["c"], a["s"] - a["P"] @ a["s"]
    decay = lambda t: jnp.sum(a["gamma"] * t * t)
    return a["P"] @ jax.grad(decay)(center + aside - a["b"])


def exact() -> st.Verdict:
    """Any projections, any number of mirrors."""
    across = st.ProjectionMatrix("d")
    mean, x = sympy.symbols("mu x", real=True)
    sigma, gamma, delta, count = sympy.symbols("sigma_0 gamma delta N", positive=True)
    density = sympy.exp(-((x - mean) ** 2) / (2 * sigma**2)) / (sigma * sympy.sqrt(2 * sympy.pi))
    peak = 1 / (sigma * sympy.sqrt(2 * sympy.pi))
    reach = delta * sigma * sympy.sqrt(2 * sympy.pi) / (2 * count)
    steps = [
        from_statement("P grad l = 0 at the symmetric points of l", "P2.2"),
        st.identity(
            "P grad l_r = 2 gamma (theta' - P theta_0) at w = theta' + s with P s = 0",
            lambda a: _pull(a) - 2 * a["gamma"] * (a["P"] @ a["c"] - a["P"] @ a["b"]),
            {"P": across, "c": "d", "s": "d", "b": "d", "gamma": ()},
        ),
        *longer_than_along(),
        textbook(
            "n.theta_0 is N(0, sigma_0^2) for |n| = 1",
            "rotations of the normal law",
            given="theta_0 normal",
        ),
        same(
            "the slope of its density has the sign of mu - x, so the density is at most that at mu",
            sympy.diff(density, x),
            density * (mean - x) / sigma**2,
        ),
        same("there it is 1/(sigma_0 sqrt(2 pi))", density.subs(x, mean), peak),
        sign("density", peak, "positive"),
        same(
            "so an interval of length 2t has probability at most 2t/(sigma_0 sqrt(2 pi)), and N of "
            "them at most delta for t = delta sigma_0 sqrt(2 pi)/(2N)",
            count * 2 * reach * peak,
            delta,
        ),
        textbook(
            "P(some of N events) is at most the sum of their probabilities",
            "union bound",
            given="N events",
        ),
        same(
            "2 gamma t is the bound sqrt(2 pi) gamma sigma_0 delta / N",
            2 * gamma * reach,
            sympy.sqrt(2 * sympy.pi) * gamma * sigma * delta / count,
        ),
        same(
            "one mirror of rank 1 through 0 fails with probability erf(t/(sqrt 2 sigma_0)) = "
            "erf(sqrt(pi) delta / 2)",
            sympy.erf(reach.subs(count, 1) / (sympy.sqrt(2) * sigma)),
            sympy.erf(sympy.sqrt(sympy.pi) * delta / 2),
        ),
        same(
            "which is delta to first order",
            sympy.diff(sympy.erf(sympy.sqrt(sympy.pi) * delta / 2), delta).subs(delta, 0),
            1,
        ),
    ]
    return proof("the strength of the removal", steps, claim().reference)


_SIZE = 4


def _loss(w: Any) -> Any:
    """A loss that is the same for all orders and signs of the entries of w."""
    return jnp.sum(jnp.cos(w)) + jnp.sum(w**2) * jnp.sum(w**4)


def _normals() -> np.ndarray:
    """Return the unit normals of its mirrors: flips, swaps, and swaps with a flip of both."""
    unit = np.eye(_SIZE)
    pairs = [(i, j) for i in range(_SIZE) for j in range(i)]
    both = [unit[i] + s * unit[j] for i, j in pairs for s in (1, -1)]
    return np.concatenate([unit, np.array(both) / 2**0.5])


@jax.jit
def _repulsion(normals: Any, shift: Any, bias: Any, point: Any, gamma: Any) -> Any:
    """Return n.grad l_r at a symmetric point of every mirror, for l(w - shift) and every bias."""

    def one(bias: Any, point: Any) -> Any:
        changed = st.syre.reparametrize(lambda w: _loss(w - shift), bias, gamma)

        def across(n: Any) -> Any:
            on_mirror = shift + point - n * (n @ point)
            return n @ jax.grad(changed)(on_mirror - bias)

        return jax.vmap(across)(normals)

    return jax.vmap(one)(bias, point)


def _strong(spread: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Count how often the weakest of some mirrors repels less than a bound says.

    Args:
        spread: Standard deviation of the bias that is drawn, in units of sigma_0.
        key: Everything is drawn from it.
        budget: How many biases.
    """
    rng = generator(key)
    draws = max(budget.steps(16, nanoseconds=2000.0, most=40_000), 1000)
    gamma, sigma = rng.uniform(0.01, 0.1), rng.uniform(0.005, 0.02)
    like = jax.ShapeDtypeStruct((_SIZE,), jnp.float64)
    keys = jax.random.split(key, draws)
    bias = spread * jax.jit(jax.vmap(lambda k: st.syre.draw_bias(k, like, sigma)))(keys)
    shift, point = rng.normal(size=_SIZE), rng.normal(size=(draws, _SIZE))
    normals = _normals()
    found = np.asarray(_repulsion(normals, shift, bias, point, gamma))
    told = 2 * gamma * (normals @ shift - np.asarray(bias) @ normals.T)
    off = float(np.max(np.abs(found - told)))
    how = f"{draws} draws of theta_0, {len(normals)} mirrors not through 0; rounding is left"
    parts = [small("P grad l_r = 2 gamma (theta' - P theta_0)", off, 1e-9, how)]
    centred = np.abs(np.asarray(_repulsion(normals, 0 * shift, bias, point, gamma)))
    weakest = centred.min(axis=1)
    for delta in (0.3, 0.5):
        least = st.syre.strength_bound(gamma, sigma, delta, len(normals))
        name = f"with delta {delta:g} and N = {len(normals)} the bound fails at most that often"
        parts.append(rate_below(name, int(np.sum(weakest < least)), draws, delta))
        fails = centred[:, 0] < st.syre.strength_bound(gamma, sigma, delta, 1)
        parts.append(
            near(
                f"with delta {delta:g} and N = 1 it fails with probability erf(sqrt(pi) delta/2)",
                float(sympy.erf(sympy.sqrt(sympy.pi) * delta / 2)),
                fails,
                0.03,
            )
        )
    return st.conjunction("the strength of the removal", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _strong(1.0, key, budget)


def control() -> st.Verdict:
    """A bias of half the spread that the bound is told."""
    return _strong(0.5, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """A bias of the spread that the bound is told."""
    return _strong(1.0, jax.random.key(1), Budget(1.0))
