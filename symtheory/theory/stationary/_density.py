"""The coefficients of the scalar net's stationary law, and its density in closed form."""

from __future__ import annotations

import dataclasses
import functools
from fractions import Fraction
from typing import Any

import sympy

from symtheory.theory.stationary._integrals import PowerDensity


@dataclasses.dataclass(frozen=True, eq=False)
class Coefficients:
    """What the density is made of: Var G = 4 g and E[G] + 2 gamma = 2 (beta_1 v - beta_2).

    Attributes:
        kind: "gamma" where g is constant, else "power tail".
        alpha: Of g = alpha_1 v^2 - 2 alpha_2 v + alpha_3.
        beta: beta_1 and beta_2.
        temperature: T.
        v: The symbol v.
    """

    kind: str
    alpha: tuple[Any, ...]
    beta: tuple[Any, ...]
    temperature: sympy.Expr
    v: sympy.Symbol

    @property
    def names(self) -> list[str]:
        """Names of what is still a symbol."""
        values = (*self.alpha, *self.beta, self.temperature)
        return sorted({str(s) for x in values for s in sympy.sympify(x).free_symbols})

    @property
    def power(self) -> sympy.Expr:
        """The exponent of v at 0."""
        return self.beta[1] / (2 * self.temperature * self.alpha[2]) - sympy.Rational(3, 2)

    @property
    def kappa(self) -> sympy.Expr:
        """The exponent of 1/g."""
        return 1 + self.beta[1] / (4 * self.temperature * self.alpha[2])

    @property
    def nu(self) -> sympy.Expr:
        """The factor of int dv/g."""
        b1, b2 = self.beta
        return (b1 - self.alpha[1] * b2 / self.alpha[2]) / (2 * self.temperature)

    @property
    def g(self) -> sympy.Expr:
        """Var G / 4."""
        a1, a2, a3 = self.alpha
        return a1 * self.v**2 - 2 * a2 * self.v + a3

    @property
    def rate(self) -> sympy.Expr:
        """The rate of the Gamma law."""
        return self.beta[0] / (2 * self.temperature * self.alpha[2])

    def slope(self) -> sympy.Expr:
        """Return d log p/dv."""
        if self.kind == "gamma":
            return self.power / self.v - self.rate
        # d/dv of (1/delta) atan((alpha_1 v - alpha_2)/delta) is 1/g.
        g = self.g
        return self.power / self.v - (self.kappa * sympy.diff(g, self.v) + self.nu) / g

    @functools.cached_property
    def exponent(self) -> sympy.Expr:
        """What stands in the exponential: all of log p but the powers of v and g."""
        if self.kind == "gamma":
            return -self.rate * self.v
        a1, a2, a3 = self.alpha
        delta = sympy.sqrt(sympy.expand(a1 * a3 - a2**2))
        return -self.nu / delta * sympy.atan((a1 * self.v - a2) / delta)

    @property
    def log_kernel(self) -> sympy.Expr:
        """log p up to a constant."""
        out = self.power * sympy.log(self.v) + self.exponent
        return out if self.kind == "gamma" else out - self.kappa * sympy.log(self.g)

    @property
    def kernel(self) -> sympy.Expr:
        """The density p up to a constant."""
        out = self.v**self.power * sympy.exp(self.exponent)
        return out if self.kind == "gamma" else out * self.g ** (-self.kappa)

    def mode(self) -> float:
        """Return where p is highest: 0 if it is unbounded there or falls from there."""
        if self.power < 0:
            return 0.0
        points = self.critical_points()
        height = sympy.lambdify(self.v, self.log_kernel, modules="math")
        best = max(points, key=height, default=0.0)
        if best and self.power == 0:
            at_zero = self.exponent.subs(self.v, 0)
            if self.kind != "gamma":
                at_zero -= self.kappa * sympy.log(self.g.subs(self.v, 0))
            return best if height(best) > float(at_zero) else 0.0
        return best

    def critical_points(self) -> list[float]:
        """Return the points v > 0 where p is stationary, in increasing order."""
        a1, a2, _ = self.alpha
        top = self.power - self.rate * self.v
        if self.kind != "gamma":
            slope = 2 * self.kappa * (a1 * self.v - a2) + self.nu
            top = self.power * self.g - self.v * slope
        roots = sympy.Poly(sympy.expand(top), self.v).nroots(n=30)
        return sorted(float(r) for r in roots if r.is_real and r > 0)

    def integrals(self) -> PowerDensity:
        """Return the density of a power tail for quadrature; everything must be a number."""
        highest = max(self.critical_points(), default=0.0)
        return PowerDensity(
            c=fraction(self.power),
            kappa=fraction(self.kappa),
            nu=fraction(self.nu),
            g=tuple(map(fraction, self.alpha)),  # type: ignore[arg-type]
            unit=Fraction(highest).limit_denominator(10**6) or fraction(self.beta[1]),
        )


def fraction(value: Any) -> Fraction:
    """Return a SymPy number as a fraction."""
    number: Any = sympy.Rational(value)
    return Fraction(int(number.p), int(number.q))
