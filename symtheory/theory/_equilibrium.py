"""The noise equilibrium on the orbit of one generator: closed forms and certified brackets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from flint import arb

from symtheory.domains import ball, precision
from symtheory.errors import InputError
from symtheory.exact import rational
from symtheory.theory._expression import Expression
from symtheory.verdict import (
    Arithmetic,
    Claim,
    Derivation,
    Enclosure,
    Inequality,
    Status,
    Verdict,
    prove,
)

_REFERENCE = "arXiv 2402.07193, noise equilibrium theorem"
_BITS = 160


@dataclasses.dataclass(frozen=True)
class EquilibriumPoint:
    """Where G(lambda) = 0 on the orbit through one point.

    Attributes:
        flow: lambda*, or +-inf where the noise drives the parameters without end.
        bracket: Rational bounds of lambda* when it is finite.
        charge: The charge at lambda*.
        verdict: Existence and uniqueness: `proved` for a rigorous bracket.
    """

    flow: float
    bracket: tuple[Fraction, Fraction] | None
    charge: float
    verdict: Verdict


@dataclasses.dataclass(frozen=True, eq=False)
class Equilibrium:
    """The equilibrium condition "drift = 0" and its solution on the orbit of one generator.

    With A = sum_k mu_k P_k, c_k = theta^T P_k theta and s_k = Tr[Sigma P_k], and T = eta/S,
    G(lambda) = sum_k mu_k (-4 gamma c_k exp(2 mu_k lambda) + T s_k exp(-2 mu_k lambda)).

    Attributes:
        condition: The drift, a scalar or a matrix; the equilibrium is where it vanishes.
        member: Which member of the family the solution is for ("" without a family).
        solution: lambda* in the symbols s_+, s_-, c_+, c_- (or None: no closed form); without
            the symbol gamma in it, it is the one at gamma = 0.
        where: What those symbols stand for.
        kind: What happens without weight decay: "finite", "+infinity", "-infinity" or
            "everywhere" (no noise along the symmetry); "unknown" if both signs occur and the
            noise stays formal, or if an eigenvalue is irrational.
        rates: The eigenvalues mu_k of the generator.
        evaluate: (params, values) -> balls of (c_k), (s_k) at that point, or None.
        fixed_charge: The charge at the equilibrium of the exact discrete law, where grad L = 0,
            in the same symbols (scale invariance only).

    Source: arXiv 2402.07193, section on the noise equilibrium.
    """

    condition: Expression
    member: str
    solution: sympy.Expr | None
    where: dict[sympy.Symbol, Expression]
    kind: str
    rates: tuple[Fraction, ...]
    evaluate: Callable[[Any, Any], tuple[list[arb], list[arb]] | None]
    fixed_charge: sympy.Expr | None = None

    def sympy(self) -> Any:
        """Return the condition as a SymPy equation (or matrix that vanishes)."""
        condition = self.condition.sympy()
        zero = condition * 0 if hasattr(condition, "shape") else sympy.Integer(0)
        return sympy.Eq(condition, zero, evaluate=False)

    def latex(self) -> str:
        """Return the solution where there is a closed form, else the condition."""
        if self.solution is None:
            return f"{self.condition.latex()} = 0"
        notes = ["B = I"] if self.member == "identity" else ["a = 1"] if self.member else []
        if self.condition.settings["weight_decay"] not in self.solution.free_symbols:
            notes.append(r"\gamma = 0")
        text = f"\\lambda^{{*}} = {sympy.latex(self.solution)}"
        return rf"{text}\quad ({', '.join(notes)})" if notes else text

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def at(
        self,
        params: Any,
        *,
        learning_rate: float,
        batch_size: int = 1,
        weight_decay: float = 0.0,
        **values: Any,
    ) -> EquilibriumPoint:
        """Return the equilibrium on the orbit through `params`, with a certified bracket.

        Args:
            params: Parameters; floats stand for the simplest rationals that round to them.
            learning_rate: eta.
            batch_size: S.
            weight_decay: gamma.
            **values: Constants and covariances the model leaves unbound.

        Raises:
            InputError: The noise of this law is not exact, so nothing can be certified; or a
                parameter, value or setting is not one.
        """
        _check_settings(learning_rate, batch_size, weight_decay)
        with precision(_BITS):
            numbers = self.evaluate(params, values)
            if numbers is None:
                raise InputError(
                    "the moments of this loss are not exact, so its equilibrium cannot be "
                    "certified; use law.noether_flow(...) for a numerical one"
                )
            squares, noises = numbers
            return certify(
                self.rates,
                squares,
                noises,
                rational(learning_rate) / rational(batch_size),
                rational(weight_decay),
            )


def _check_settings(learning_rate: float, batch_size: int, weight_decay: float) -> None:
    if not learning_rate >= 0:
        raise InputError(f"learning_rate must not be negative, got {learning_rate!r}")
    if not batch_size >= 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size!r}")
    if not weight_decay >= 0:
        raise InputError(f"weight_decay must not be negative, got {weight_decay!r}")


def closed_form(
    rates: Sequence[Fraction], settings: dict[str, sympy.Symbol], zero: Sequence[bool]
) -> tuple[sympy.Expr | None, dict[str, sympy.Symbol], sympy.Expr | None]:
    """Return lambda*, its symbols by role, and the discrete fixed charge of a single rate.

    The closed forms of arXiv 2402.07193: one rate; a and -a with weight decay; a and -b without.

    Args:
        rates: The non-zero eigenvalues of the generator.
        settings: Symbols of the optimizer's settings.
        zero: For every rate, whether its noise vanishes identically.
    """
    symbols = {role: sympy.Symbol(role, nonnegative=True) for role in ("s_+", "s_-", "c_+", "c_-")}
    eta, gamma = settings["learning_rate"], settings["weight_decay"]
    temperature = eta / settings["batch_size"]
    if len(rates) == 1:
        a = sympy.Rational(rates[0].numerator, rates[0].denominator)
        s, c = symbols["s_+"], symbols["c_+"]
        used = {role: symbols[role] for role in ("s_+", "c_+")}
        solution = sympy.log(temperature * s / (4 * gamma * c)) / (4 * a)
        fixed = a * sympy.sqrt(temperature * s * c / (4 * gamma * (1 - eta * gamma)))
        return solution, used, fixed
    if len(rates) != 2 or not rates[0] > 0 > rates[1]:
        return None, {}, None
    a, b = (sympy.Rational(abs(r).numerator, abs(r).denominator) for r in rates)
    if a == b:
        top = temperature * symbols["s_+"] + 4 * gamma * symbols["c_-"]
        below = temperature * symbols["s_-"] + 4 * gamma * symbols["c_+"]
        return sympy.log(top / below) / (4 * a), symbols, None
    if any(zero):
        return None, {}, None
    used = {role: symbols[role] for role in ("s_+", "s_-")}
    return sympy.log(a * symbols["s_+"] / (b * symbols["s_-"])) / (2 * (a + b)), used, None


def certify(
    rates: Sequence[Fraction],
    squares: Sequence[arb],
    noises: Sequence[arb],
    temperature: Fraction,
    weight_decay: Fraction,
) -> EquilibriumPoint:
    """Return the root of G with a rigorous bracket, or the side it runs away to.

    G is a sum of terms that decrease in lambda (squares and noises are not negative), strictly
    where one is positive; so G(low) > 0 > G(high) in ball arithmetic proves that there is exactly
    one root, and that it lies between.

    Args:
        rates: Eigenvalues mu_k of A, not zero.
        squares: c_k = theta^T P_k theta.
        noises: s_k = Tr[Sigma P_k].
        temperature: T = eta/S.
        weight_decay: gamma.

    >>> one = [arb(1), arb(1)]
    >>> rates = [Fraction(1), Fraction(-1)]
    >>> point = certify(rates, one, [arb(16), arb(1)], Fraction(1), Fraction(0))
    >>> round(point.flow, 6), str(point.verdict.status)     # ln(16)/4
    (0.693147, 'proved')
    """
    claim = "exactly one lambda* in R or at +-infinity has G(lambda*) = 0"
    t, gamma = ball(temperature), ball(weight_decay)
    spaces = list(zip(rates, squares, noises, strict=True))
    # Terms of G that push lambda down and grow with it, and those that push it up and shrink.
    up = [(mu, 4 * gamma * c if mu > 0 else t * s) for mu, c, s in spaces]
    down = [(mu, t * s if mu > 0 else 4 * gamma * c) for mu, c, s in spaces]
    if any(v < 0 for _, v in (*up, *down)):
        how = "a square or a noise is negative: a covariance is not positive semidefinite"
        wrong = Verdict(Status.INCONCLUSIVE, claim, how=how, reference=_REFERENCE)
        return EquilibriumPoint(float("nan"), None, float("nan"), wrong)
    lowers, raises = any(v > 0 for _, v in up), any(v > 0 for _, v in down)
    undecided = any(v.contains(0) and not v.is_zero() for _, v in (*up, *down))

    def g(flow: Fraction) -> arb:
        total = arb(0)
        for mu, value in down:
            total += ball(abs(mu)) * value * (ball(-2 * abs(mu) * flow)).exp()
        for mu, value in up:
            total -= ball(abs(mu)) * value * (ball(2 * abs(mu) * flow)).exp()
        return total

    def charge(flow: Fraction) -> arb:
        terms = zip(rates, squares, strict=True)
        return sum((ball(mu) * c * ball(2 * mu * flow).exp() for mu, c in terms), arb(0))

    if not (lowers and raises):
        if undecided:
            how = "a noise term cannot be told from zero at this precision"
            unknown = Verdict(Status.INCONCLUSIVE, claim, how=how, reference=_REFERENCE)
            return EquilibriumPoint(float("nan"), None, float("nan"), unknown)
        if not lowers and not raises:
            still = "G = 0 on the whole orbit: no noise and no weight decay act along it"
            rest = Arithmetic(np.array([float(v.mid()) for _, v in (*up, *down)]), 0.0)
            how = Derivation("all terms vanish")
            at_rest = prove(still, how, rest, reference=_REFERENCE)
            return EquilibriumPoint(0.0, None, float(charge(Fraction(0)).mid()), at_rest)
        flow = float("inf") if raises else float("-inf")
        # Along the flow the part of the charge on the driving side grows, the other dies out.
        grows = any((mu > 0) == raises and c > 0 for mu, c, _ in spaces)
        how = "G keeps one sign on the orbit: all noise is on one side and nothing holds it"
        sign = 1.0 if raises else -1.0
        recheck = _signs(up, down, [(x, sign) for x in np.linspace(-3.0, 3.0, 13)])
        verdict = prove(claim, Derivation(how), recheck, reference=_REFERENCE)
        return EquilibriumPoint(flow, None, flow if grows else 0.0, verdict)

    guess = _float_root(up, down)
    width = Fraction(1, 2**60) * max(1, abs(int(guess)))
    for _ in range(200):
        low, high = guess - width, guess + width
        if g(low) > 0 and g(high) < 0:
            break
        width *= 2
    else:
        how = f"no sign change of G could be enclosed around {float(guess):.6g}"
        verdict = Verdict(Status.INCONCLUSIVE, claim, how=how, reference=_REFERENCE)
        return EquilibriumPoint(float(guess), None, float("nan"), verdict)
    low, high = _narrowed(g, low, high)
    root = (low + high) / 2
    how = (
        f"enclosed within {float(high - low) / 2:.1g} of {float(root):.12g} by ball arithmetic; "
        "unique because every term of G decreases"
    )
    reach = 1e-6 * max(1.0, abs(float(root))) + 4 * float(high - low)
    sides = [(float(root) - reach, 1.0), (float(root) + reach, -1.0)]
    certificate = Enclosure(how, lower=low, upper=high)
    verdict = prove(claim, certificate, _signs(up, down, sides), reference=_REFERENCE)
    return EquilibriumPoint(float(root), (low, high), float(charge(root).mid()), verdict)


def _signs(
    up: Sequence[tuple[Fraction, arb]],
    down: Sequence[tuple[Fraction, arb]],
    places: Sequence[tuple[float, float]],
) -> Claim:
    """Return "G has these signs at these lambda", to be evaluated in floats."""

    def values() -> np.ndarray:
        out = []
        for flow, sign in places:
            terms = [
                (side * abs(float(mu)) * float(v.mid()), -side * 2 * abs(float(mu)) * flow)
                for side, row in ((1, down), (-1, up))
                for mu, v in row
                if v > 0
            ]
            # A positive factor leaves the sign, and keeps exponentials within range.
            top = max(power for _, power in terms)
            out.append(sign * sum(c * np.exp(max(power - top, -700)) for c, power in terms))
        return np.array(out)

    return Inequality(values, "positive")


def _narrowed(
    g: Callable[[Fraction], arb], low: Fraction, high: Fraction
) -> tuple[Fraction, Fraction]:
    """Halve a bracket g(low) > 0 > g(high) while ball arithmetic can tell the sign of the middle.

    The first guess is a float: where it is far off, the bracket that holds the root is wide, and
    its middle is no longer an approximation of the root.
    """
    while high - low > Fraction(1, 2**50) * max(1, abs(int(low)), abs(int(high))):
        middle = (low + high) / 2
        value = g(middle)
        if value > 0:
            low = middle
        elif value < 0:
            high = middle
        else:
            break
    return low, high


def _float_root(
    up: Sequence[tuple[Fraction, arb]],
    down: Sequence[tuple[Fraction, arb]],
) -> Fraction:
    """Return an approximate root by bisection on the logarithms of both sides."""

    def log_sum(terms: Sequence[tuple[Fraction, arb]], flow: float, sign: int) -> float:
        parts = [
            np.log(float(abs(mu))) + float(v.log().mid()) + sign * 2 * float(abs(mu)) * flow
            for mu, v in terms
            if v > 0
        ]
        return float(np.logaddexp.reduce(parts))

    low, high = -1.0, 1.0
    while log_sum(down, low, -1) < log_sum(up, low, 1):
        low *= 2
    while log_sum(down, high, -1) > log_sum(up, high, 1):
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if log_sum(down, middle, -1) > log_sum(up, middle, 1):
            low = middle
        else:
            high = middle
    return Fraction((low + high) / 2)
