"""P1.16: the stationary law of the scalar two-layer net.

Statement: for l = (u w x - y)^2 on the balanced line v = u w > 0, T = eta/S, SGD has the density
p(v) ~ v^(-3/2) g(v)^(-1) exp[-(1/2T) int (beta_1 v - beta_2)/(v g) dv], g = alpha_1 v^2 -
2 alpha_2 v + alpha_3. For x = 1, y = mu + s noise this is a Gamma law of shape mu/(2 T s^2) - 1/2
and rate 1/(2 T s^2): mean mu - T s^2. The noise collapses v to 0 when T alpha_3 >= beta_2. For
random x the tail is v^(-7/2).

Assumptions: stochastic differential equation of plain SGD; the balanced line u = w.

Relation: equality.

Reference: arXiv 2308.06671.

Proof idea: Ito's formula for v, and zero flux.

Example output:

    P1.16  proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._intervals import at_rest, measured, tends_to
from proofs_check._steps import proof, same, sign, textbook
from proofs_check._two_layer import generator

_RATES = (0.02, 0.01)


def claim() -> Claim:
    return Claim(
        "P1.16",
        "p(v) ~ v^(-3/2) g^(-1) exp[-(1/2T) int (beta_1 v - beta_2)/(v g) dv] on u = w; a Gamma "
        "law of mean mu - T s^2 for x = 1; collapse at T alpha_3 >= beta_2",
        ("stochastic differential equation of plain SGD", "the balanced line u = w, v = u w > 0"),
        "equality",
        "arXiv 2308.06671",
    )


def _constant_input(p: Any, z: Any) -> Any:
    return (p["u"] * p["w"] - z["y"]) ** 2


def _model(mean: Any, variance: Any) -> st.Model:
    law = st.Normal((), mean=mean, cov=variance)
    return st.Model(_constant_input, {"u": (), "w": ()}, {"y": law}, name="x = 1")


def exact() -> st.Verdict:
    """General coefficients; then two losses, with all moments symbols."""
    v, T = sympy.symbols("v T", positive=True)
    a1, a2, a3, b1, b2 = sympy.symbols("alpha_1:4 beta_1:3", positive=True)
    g = a1 * v**2 - 2 * a2 * v + a3
    drift = -4 * v * (b1 * v - b2) + 4 * T * v * g
    spread = 16 * T * v**2 * g
    slope = -sympy.Rational(3, 2) / v - sympy.diff(g, v) / g - (b1 * v - b2) / (2 * T * v * g)
    flux = sympy.cancel(2 * drift - sympy.diff(spread, v) - spread * slope)
    gamma = st.stationary_law(_model("mu", "s2"))
    mu, s2 = gamma.coefficients.beta[1], gamma.coefficients.alpha[2]
    t = gamma.temperature
    random = st.stationary_law(st.zoo.load("scalar-factor").model)
    steps = [
        textbook(
            "dv = [-2 v E[G] + T v Var G] dt + sqrt(4 T v^2 Var G) dW with G = dl/dv: "
            "E[G] = 2 (beta_1 v - beta_2), Var G = 4 g",
            "Ito's formula", given="v is a polynomial of theta; the SDE has a solution",
        ),
        same("the flux mu p - (D p)'/2 of p is zero for all v", flux, 0),
        gamma.verdict,
        same("shape mu/(2 T s^2) - 1/2", gamma.shape, mu / (2 * t * s2) - sympy.Rational(1, 2)),
        same("rate 1/(2 T s^2)", gamma.rate, 1 / (2 * t * s2)),
        same("mean mu - T s^2", gamma.mean, mu - t * s2),
        same("variance 2 T s^2 (mu - T s^2)", gamma.variance, 2 * t * s2 * (mu - t * s2)),
        same(
            "p ~ v^(n - 1) at 0 with n = (beta_2 - T alpha_3)/(2 T alpha_3): no mass can be "
            "normalized once T alpha_3 >= beta_2",
            b2 / (2 * T * a3) - sympy.Rational(1, 2), (b2 - T * a3) / (2 * T * a3),
        ),
        sign("the denominator of n is positive", 2 * T * a3, "positive"),
        random.verdict,
        same("for random x the tail is v^(-7/2)", random.tail_exponent, -sympy.Rational(7, 2)),
    ]  # fmt: skip
    return proof("the stationary law of the scalar net", steps, claim().reference)


def _product(p: Any) -> Any:
    return p["u"] * p["w"]


def _squared(p: Any) -> Any:
    return (p["u"] * p["w"]) ** 2


_OBSERVED = {"v": _product, "v^2": _squared}
_MARGIN = {"v": 0.03, "v^2": 0.05}


@measured
def _settles(
    mean: float, heat: float, momentum: float, key: jax.Array, budget: Budget
) -> st.Verdict:
    """Compare mean and second moment of v in SGD, eta to 0 at fixed T s^2, with the Gamma law."""
    law = st.stationary_law(_model(mean, heat), temperature=1)
    start = {name: np.sqrt(mean) * 1.0 for name in "uw"}
    replicas = 256
    wanted = {"v": float(law.mean), "v^2": float(law.variance + law.mean**2)}
    points: dict[str, list[Any]] = {name: [] for name in _OBSERVED}
    for n, rate in enumerate(_RATES):
        steps = budget.steps(
            replicas, nanoseconds=60.0, share=(0.33, 0.66)[n], most=int(400 / rate),
            least=int(40 / rate),
        )  # fmt: skip
        run = st.simulate(
            _model(mean, heat / rate), st.SGD(rate, momentum=momentum), params=start, steps=steps,
            replicas=replicas, key=jax.random.fold_in(key, n), observe=_OBSERVED,
            record_every=max(1, round(0.1 / rate)),
        )  # fmt: skip
        for name in _OBSERVED:
            records = run.observables[name]
            margin = _MARGIN[name] * wanted[name]
            points[name].append((rate, at_rest(records, 2 * margin, 1 / 5)))
    parts = []
    for name, want in wanted.items():
        margin = _MARGIN[name] * want
        parts.append(tends_to(f"E[{name}] as eta -> 0", want, points[name], margin))
    return st.conjunction("v follows the Gamma law", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    """Mean and temperature drawn, below collapse."""
    rng = generator(key)
    mean = float(rng.uniform(0.8, 1.2))
    return _settles(mean, mean * float(rng.uniform(0.05, 0.12)), 0.0, key, budget)


def control() -> st.Verdict:
    """Momentum 0.5 is not plain SGD: it acts at twice the temperature."""
    return _settles(1.0, 0.08, 0.5, jax.random.key(0), Budget(1.0))


def twin() -> st.Verdict:
    """Plain SGD."""
    return _settles(1.0, 0.08, 0.0, jax.random.key(0), Budget(1.0))
