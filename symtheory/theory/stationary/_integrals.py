"""Rigorous integrals of v^k p(v) over (0, oo) for densities with a power at both ends."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from flint import acb, arb

from symtheory.domains import ball, precision
from symtheory.errors import InputError

_BITS = 96
_DECADES = 18
_Numbers = tuple[arb, arb, arb, arb, arb]


@dataclasses.dataclass(frozen=True)
class PowerDensity:
    """p(v) = v^c g(v)^(-kappa) exp[-(nu/delta) atan((a1 v - a2)/delta)], up to a constant.

    Here g = a1 v^2 - 2 a2 v + a3 > 0, and delta^2 = a1 a3 - a2^2 > 0. The middle is integrated over
    log v by Gauss-Legendre quadrature in Arb, which encloses its own error; at both ends the factor
    beside the power is enclosed on all of the remaining interval.

    Attributes:
        c: Power at 0, above -1.
        kappa: Power of 1/g.
        nu: Factor of the arcus tangens.
        g: (a1, a2, a3).
        unit: A point near the mode; v is counted in it.
    """

    c: Fraction
    kappa: Fraction
    nu: Fraction
    g: tuple[Fraction, Fraction, Fraction]
    unit: Fraction

    def moment(self, order: int) -> arb:
        """Return an enclosure of the mean of v^order.

        Raises:
            InputError: The density is too sharp for the quadrature.
        """
        with precision(_BITS):
            above, below = self._integral(order), self._integral(0)
            out = above / below * ball(self.unit) ** order
        if not out.is_finite():
            raise InputError(
                "the integrals of the stationary density did not converge; take a temperature "
                "further from 0 and from the collapse"
            )
        return out

    def log_normalization(self) -> arb:
        """Return an enclosure of the logarithm of the integral of p."""
        with precision(_BITS):
            peak = self._exponent(self._scaled(), acb(0), 0, False).real
            return self._integral(0).log() + peak + ball(self.unit).log() * ball(self.c + 1)

    def _integral(self, order: int) -> arb:
        """Return the integral of y^order p in units y = v/unit, with p(unit) = 1."""
        end = ball(10) ** _DECADES
        numbers = self._scaled()
        peak = self._exponent(numbers, acb(0), order, False)

        def integrand(s: acb, analytic: bool) -> acb:
            return (self._exponent(numbers, s, order, analytic) - peak).exp()

        middle = acb.integral(integrand, -end.log(), end.log(), rel_tol=arb(2) ** -52)
        at_zero = ball(self.c + order + 1)
        at_infinity = ball(2 * self.kappa - self.c - order - 1)
        head = end ** (-at_zero) / at_zero * self._factor(1 / end, small=True)
        tail = end ** (-at_infinity) / at_infinity * self._factor(1 / end, small=False)
        return middle.real + (head + tail) / peak.exp().real

    def _scaled(self) -> _Numbers:
        """Return a1, a2, a3, delta and nu/delta with v counted in units."""
        a1, a2, a3 = self.g
        a1, a2 = a1 * self.unit**2, a2 * self.unit
        delta = ball(a1 * a3 - a2**2).sqrt()
        return ball(a1), ball(a2), ball(a3), delta, ball(self.nu * self.unit) / delta

    def _exponent(self, numbers: _Numbers, s: acb, order: int, analytic: bool) -> acb:
        """Return log(y^(order + 1) p(y)) at y = exp(s)."""
        a1, a2, a3, delta, nu = numbers
        v = s.exp()
        g = (a1 * v - 2 * a2) * v + a3
        z = (a1 * v - a2) / delta * acb(0, 1)
        turned = ((1 + z).log(analytic=analytic) - (1 - z).log(analytic=analytic)) / acb(0, 2)
        return (
            s * ball(self.c + order + 1) - g.log(analytic=analytic) * ball(self.kappa) - turned * nu
        )

    def _factor(self, reach: arb, *, small: bool) -> arb:
        """Return what stands beside the power for all v in [0, reach], or all 1/v in it."""
        a1, a2, a3, delta, nu = self._scaled()
        x = arb(reach / 2, reach / 2)
        if small:
            g, angle = (a1 * x - 2 * a2) * x + a3, ((a1 * x - a2) / delta).atan()
        else:
            # atan(y) = pi/2 - atan(1/y) for y = (a1 - a2 x)/(delta x) > 0.
            g = (a3 * x - 2 * a2) * x + a1
            angle = arb.pi() / 2 - (delta * x / (a1 - a2 * x)).atan()
        return (-(g.log()) * ball(self.kappa) - angle * nu).exp()
