"""P1.16: the stationary law of the scalar two-layer net.

Statement: for l = (u w x - y)^2 on the balanced line v = u w > 0, T = eta/S, SGD has the density
p(v) ~ v^(-3/2) g(v)^(-1) exp[-(1/2T) int (beta_1 v - beta_2)/(v g) dv], g = alpha_1 v^2 -
2 alpha_2 v + alpha_3, alpha_1 = Var x^2, alpha_2 = Cov(x^2, xy), alpha_3 = Var xy, beta_1 = E x^2,
beta_2 = E xy. For x = 1, y = mu + s noise this is a Gamma law of shape mu/(2 T s^2) - 1/2 and rate
1/(2 T s^2): mean mu - T s^2. It has a density on v > 0 only if T alpha_3 < beta_2; for
T alpha_3 > beta_2 the noise takes v to 0 with probability 1. For random x the tail is v^(-7/2).

Assumptions: stochastic differential equation of plain SGD; the balanced line u = w; alpha_3 > 0 and
g(v) > 0 for all v > 0; finite moments. "Random x" is alpha_1 > 0.

Relation: equality.

Reference: arXiv 2308.06671.

Proof idea: Ito's formula for v, and zero flux; at 0 and at infinity the powers of p and of the
derivative of the scale function decide.

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
        "law of mean mu - T s^2 for x = 1; no density on v > 0 for T alpha_3 >= beta_2, and "
        "collapse to 0 for T alpha_3 > beta_2",
        (
            "stochastic differential equation of plain SGD",
            "the balanced line u = w, v = u w > 0",
            "alpha_3 > 0 and g(v) > 0 for all v > 0",
        ),
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
    steps = [*_diffusion(), *_zero_flux(), *_gamma(), *_collapse(), *_tail()]
    return proof("the stationary law of the scalar net", steps, claim().reference)


_V, _T = sympy.symbols("v T", positive=True)
_A1, _A2, _A3, _B1, _B2 = sympy.symbols("alpha_1:4 beta_1:3", positive=True)
_G = _A1 * _V**2 - 2 * _A2 * _V + _A3
_DRIFT = -4 * _V * (_B1 * _V - _B2) + 4 * _T * _V * _G
_SPREAD = 16 * _T * _V**2 * _G


def _slope() -> Any:
    """The derivative of ln p."""
    inner = sympy.Symbol("s", positive=True)
    integrand = ((_B1 * _V - _B2) / (_V * _G)).subs(_V, inner)
    exponent = -sympy.Integral(integrand, (inner, 1, _V)) / (2 * _T)
    return sympy.diff(-sympy.Rational(3, 2) * sympy.log(_V) - sympy.log(_G) + exponent, _V)


def _average(expression: Any, x: Any, y: Any) -> Any:
    """Return the mean of a polynomial in x and y, with M_ij = E x^i y^j."""
    terms = sympy.Poly(expression, x, y).terms()
    return sum(c * (sympy.Symbol(f"M_{i}{j}") if i + j else 1) for (i, j), c in terms)


def _diffusion() -> list[st.Verdict]:
    """Ito's formula for v = u w: theta has the drift -E grad l and the covariance T Sigma."""
    u, w, x, y = sympy.symbols("u w x y", positive=True)
    theta, product = sympy.Matrix([u, w]), u * w
    loss = (product * x - y) ** 2
    gradient = loss.diff(theta)
    mean = gradient.applyfunc(lambda entry: _average(sympy.expand(entry), x, y))
    square = (gradient * gradient.T).applyfunc(lambda entry: _average(sympy.expand(entry), x, y))
    noise = square - mean * mean.T
    normal, curved = product.diff(theta), sympy.hessian(product, (u, w))
    line = {u: sympy.sqrt(_V), w: sympy.sqrt(_V)}
    raw = {
        f"M_{i}{j}": sympy.Symbol(f"M_{i}{j}") for i, j in ((2, 0), (1, 1), (4, 0), (3, 1), (2, 2))
    }
    second, mixed = raw["M_20"], raw["M_11"]
    moments = {
        _A1: raw["M_40"] - second**2, _A2: raw["M_31"] - second * mixed,
        _A3: raw["M_22"] - mixed**2, _B1: second, _B2: mixed,
    }  # fmt: skip
    drift = (-normal.T * mean)[0] + _T * (noise * curved).trace() / 2
    spread = _T * (normal.T * noise * normal)[0]
    charge = (u**2 - w**2).diff(theta)
    curved_charge = sympy.hessian(u**2 - w**2, (u, w))
    off = (-charge.T * mean)[0] + _T * (noise * curved_charge).trace() / 2
    at = lambda expression: sympy.expand(expression.subs(line))
    told = lambda expression: sympy.expand(expression.subs(moments, simultaneous=True))
    return [
        textbook(
            "f(theta) has the drift -E grad l . grad f + T Tr[Sigma f'']/2 and the diffusion "
            "T grad f^T Sigma grad f",
            "Ito's formula", given="f is a polynomial of theta; the SDE has a solution",
        ),
        same("on u = w the drift of u^2 - w^2 is 0", at(off), 0),
        same("and its diffusion: the line is kept",
             at((charge.T * noise * charge)[0]), 0),
        same("there the drift of v is -4 v (beta_1 v - beta_2) + 4 T v g", at(drift),
             told(_DRIFT)),
        same("and its diffusion is 16 T v^2 g", at(spread), told(_SPREAD)),
    ]  # fmt: skip


def _zero_flux() -> list[st.Verdict]:
    flux = sympy.cancel(2 * _DRIFT - sympy.diff(_SPREAD, _V) - _SPREAD * _slope())
    return [
        same("the flux mu p - (D p)'/2 of p is zero for all v", flux, 0),
        textbook(
            "and p is the only density of zero flux",
            "a linear differential equation of first order has one solution up to a factor",
            given="D > 0 for v > 0, as g > 0",
        ),
    ]


def _gamma() -> list[st.Verdict]:
    """x = 1: what the package derives, and the density of the general form."""
    gamma = st.stationary_law(_model("mu", "s2"))
    mu, s2 = gamma.coefficients.beta[1], gamma.coefficients.alpha[2]
    t = gamma.temperature
    constant = {_A1: 0, _A2: 0, _A3: s2, _B1: 1, _B2: mu, _T: t}
    return [
        gamma.verdict,
        same(
            "the density above is here that of a Gamma law: (ln p)' = (shape - 1)/v - rate",
            sympy.cancel(_slope().subs(constant, simultaneous=True)),
            (gamma.shape - 1) / _V - gamma.rate,
        ),
        same("shape mu/(2 T s^2) - 1/2", gamma.shape, mu / (2 * t * s2) - sympy.Rational(1, 2)),
        same("rate 1/(2 T s^2)", gamma.rate, 1 / (2 * t * s2)),
        same("the mean, shape/rate, is mu - T s^2", gamma.shape / gamma.rate, mu - t * s2),
        same("as the package says", gamma.mean, gamma.shape / gamma.rate),
        same(
            "the variance, shape/rate^2, is 2 T s^2 (mu - T s^2)",
            gamma.shape / gamma.rate**2, 2 * t * s2 * (mu - t * s2),
        ),
        same("as the package says, too", gamma.variance, gamma.shape / gamma.rate**2),
    ]  # fmt: skip


def _power(slope: Any, end: Any) -> Any:
    """Return the power of v of a function at an end, from the derivative of its logarithm."""
    return sympy.limit(sympy.cancel(_V * slope), _V, end)


def _collapse() -> list[st.Verdict]:
    """The powers of p and of the derivative of the scale function at both ends."""
    scale = sympy.cancel(-2 * _DRIFT / _SPREAD)  # (ln s')'
    more = sympy.Symbol("e", positive=True)  # T alpha_3 - beta_2, or beta_2 - T alpha_3
    held, lost = {_B2: _T * _A3 + more}, {_A3: (_B2 + more) / _T}
    zero = _power(_slope().doit(), 0)
    least = _power(scale, 0)
    return [
        same("p ~ v^(n - 1) at 0, n = (beta_2 - T alpha_3)/(2 T alpha_3)", zero + 1,
             (_B2 - _T * _A3) / (2 * _T * _A3)),
        sign("n > 0 if T alpha_3 < beta_2: p can be integrated at 0",
             sympy.factor((zero + 1).subs(held)), "positive"),
        sign("n < 0 if T alpha_3 > beta_2: it cannot, and there is no stationary density",
             sympy.factor((zero + 1).subs(lost)), "negative"),
        same("nor can it at T alpha_3 = beta_2, where p ~ 1/v",
             (zero + 1).subs(_B2, _T * _A3), 0),
        sign("the scale function has s' ~ v^m at 0, m > -1 if T alpha_3 > beta_2: finite at 0",
             sympy.factor((least + 1).subs(lost)), "positive"),
        same("for random x s' ~ v^(-1/2) at infinity: infinite there", _power(scale, sympy.oo),
             -sympy.Rational(1, 2)),
        same("for x = 1 (ln s')' tends to beta_1/(2 T alpha_3) there",
             sympy.limit(scale.subs({_A1: 0, _A2: 0}), _V, sympy.oo), _B1 / (2 * _T * _A3)),
        sign("which is positive: s' grows, and s is infinite there", _B1 / (2 * _T * _A3),
             "positive"),
        textbook(
            "so for T alpha_3 < beta_2 neither end is reached, and a stationary density has zero "
            "flux: it is p",
            "scale functions: an end where the scale function is infinite is not reached",
            given="the coefficients are smooth and D > 0 for v > 0",
        ),
        textbook(
            "so v goes to 0 with probability 1 if T alpha_3 > beta_2",
            "scale functions: a diffusion tends to the end where the scale function is finite",
            given="the coefficients are smooth and D > 0 for v > 0",
        ),
    ]  # fmt: skip


def _tail() -> list[st.Verdict]:
    random = st.stationary_law(st.zoo.load("scalar-factor").model)
    power = _power(_slope().doit(), sympy.oo)
    return [
        random.verdict,
        same("for alpha_1 > 0 p ~ v^(-7/2) at infinity", power, -sympy.Rational(7, 2)),
        same("as the package says of Gaussian x", random.tail_exponent, power),
    ]


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
