"""The stationary law of SGD in the scalar two-layer net: zero flux of Fokker and Planck."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from symtheory.errors import InputError
from symtheory.exact import rational
from symtheory.model import Model
from symtheory.readable import require_readable
from symtheory.theory.stationary._density import Coefficients
from symtheory.theory.stationary._drift import Series, polynomial, scalar_diffusion
from symtheory.theory.stationary._law import StationaryLaw
from symtheory.verdict import Arithmetic, NormalForm, Status, Verdict, conjunction, prove

_ASSUMPTIONS = (
    "stochastic differential equation of SGD with T = eta/S (eta -> 0 at fixed T)",
    "on the balanced line u = w, v = u w > 0",
)


def stationary_law(
    model: Model,
    *,
    temperature: float | Fraction | None = None,
    weight_decay: float | Fraction = 0,
    seconds: float | None = 60.0,
) -> StationaryLaw:
    """Derive the stationary density of v = u w under SGD noise, on the balanced line u = w.

    With G = dl/dv the loss gives, by Ito's formula,
      dv = [-2 v (E[G] + 2 gamma) + T v Var G] dt + sqrt(4 T v^2 Var G) dW,
    and zero flux p = (1/D) exp(int 2 mu/D) with drift mu and D = 4 T v^2 Var G. For a squared loss
    E[G] = 2 (beta_1 v - beta_2) and Var G = 4 g, g = alpha_1 v^2 - 2 alpha_2 v + alpha_3, so
      p(v) ~ v^(-3/2) g(v)^(-1) exp[-(1/2T) int (beta_1 v - beta_2 + gamma)/(v g) dv].
    Where the gradient noise does not depend on v this is a Gamma law; else the tail is v^(-7/2).
    The noise collapses v to 0 when T alpha_3 >= beta_2 - gamma.

    Args:
        model: Two scalar parameters and a loss of their product, quadratic in it; moments, named
            covariances and constants may stay symbolic.
        temperature: T = eta/S; None for the symbol T.
        weight_decay: gamma.
        seconds: Time limit of the proof of the symmetry, and of the moments.

    Raises:
        InputError: The model is not of this kind, the noise vanishes somewhere on the line, or a
            number is out of range.

    Source: Ziyin, Li, Ueda, arXiv 2308.06671; derived from the loss here.

    >>> from symtheory.data import Normal
    >>> model = Model(lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2, {"u": (), "w": ()},
    ...               random={"y": Normal((), mean=1, cov=1)})
    >>> law = stationary_law(model, temperature=0.08)
    >>> law.kind, law.mean, law.variance, law.collapse_temperature
    ('gamma', 23/25, 92/625, 1)
    """
    diffusion = scalar_diffusion(require_readable(model), seconds)
    t = _temperature(temperature, diffusion.names)
    gamma = _number("weight_decay", weight_decay)
    v = _symbol("v", diffusion.names)
    mean_g = _shifted(diffusion.descent, 1)
    noise = _shifted(diffusion.spread, 2)
    mean_g = {n: c / 2 for n, c in mean_g.items()}
    noise = {n: c / 4 for n, c in noise.items()}
    if set(mean_g) - {0, 1} or set(noise) - {0, 1, 2}:
        raise InputError(
            f"the loss of {model.name} has a mean gradient of degree {max(mean_g, default=0)} and "
            f"a gradient variance of degree {max(noise, default=0)} in v = u w; the law is for "
            "losses quadratic in v (degrees at most 1 and 2)"
        )
    beta = mean_g.get(1, 0) / sympy.Integer(2), -mean_g.get(0, 0) / sympy.Integer(2) - gamma
    alpha = tuple(noise.get(n, sympy.Integer(0)) / d for n, d in ((2, 4), (1, -8), (0, 4)))
    drift = -polynomial(diffusion.descent, v) - 4 * gamma * v + t * polynomial(diffusion.push, v)
    spread = t * polynomial(diffusion.spread, v)
    form = Coefficients(_kind(model, alpha, beta), alpha, beta, t, v)
    steps = [*diffusion.steps, _zero_flux(form.slope(), drift, spread, v)]
    verdict = conjunction(
        f"stationary law of v = u w for {model.name}",
        steps,
        how="Ito's formula on the exact moments of the loss; zero flux by exact algebra",
        assumptions=_ASSUMPTIONS,
        reference="arXiv 2308.06671; theory of the scalar two-layer net",
    )
    return StationaryLaw(model, form, drift, spread, verdict)


def _kind(model: Model, alpha: Any, beta: Any) -> str:
    a1, a2, a3 = alpha
    if a3 == 0:
        raise InputError(
            f"the gradient noise of {model.name} vanishes at v = 0, which SGD then never leaves; "
            "a stationary density needs label noise there"
        )
    if beta[0] == 0:
        raise InputError(f"the mean loss of {model.name} does not grow with v: no stationary law")
    if a1 == 0 and a2 == 0:
        return "gamma"
    if sympy.expand(a1 * a3 - a2**2) == 0:
        raise InputError(
            f"the gradient noise of {model.name} vanishes at v = {a2 / a1}: every sample is fitted "
            "there and SGD stops, so there is no stationary density; add label noise"
        )
    return "power tail"


def _zero_flux(slope: Any, drift: Any, spread: Any, v: sympy.Symbol) -> Verdict:
    """Check mu p = (D p)'/2, that is 2 mu = D' + D p'/p, exactly."""
    rest = sympy.cancel(sympy.together(2 * drift - sympy.diff(spread, v) - spread * slope))
    claim = "the flux mu p - (D p)'/2 of the closed form is zero for all v"
    how = "exact rational arithmetic"
    if rest != 0:
        return Verdict(Status.REFUTED, claim, how=how, residual=rest)
    sides = (2 * drift - sympy.diff(spread, v), spread * slope)
    symbols = sorted(set().union(*(s.free_symbols for s in map(sympy.sympify, sides))), key=str)
    rng = np.random.default_rng(0)
    points = rng.uniform(0.2, 3.0, (len(symbols), 24))
    left, right = (
        np.broadcast_to(sympy.lambdify(symbols, sympy.N(side, 20), "numpy")(*points), 24)
        for side in sides  # (in floats: integers may be too large for NumPy)
    )
    # The two sides are sums of terms of either sign.
    size = np.abs(left) + np.max(np.abs(left))
    return prove(claim, NormalForm(how, ring="Q(v)"), Arithmetic(left, right, size), residual=0)


def _shifted(series: Series, by: int) -> Series:
    if any(power < by for power in series):
        raise InputError("the drift of v = u w does not vanish with v; this is not a law of u w")
    return {power - by: value for power, value in series.items()}


def _temperature(value: Any, names: frozenset[str]) -> sympy.Expr:
    if value is None:
        return _symbol("T", names)
    number = _number("temperature", value)
    if number == 0:
        raise InputError("temperature must be positive: without noise v rests at the minimum")
    return number


def _number(name: str, value: Any) -> sympy.Rational:
    try:
        number = rational(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a finite number, got {value!r}") from error
    if number < 0:
        raise InputError(f"{name} must not be negative, got {value!r}")
    out: Any = sympy.Rational(number.numerator, number.denominator)
    return out


def _symbol(name: str, taken: frozenset[str]) -> sympy.Symbol:
    while name in taken:
        name += "'"
    return sympy.Symbol(name, positive=True)
