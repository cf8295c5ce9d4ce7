"""A stationary law of v = u w: density, moments, mode, tail and collapse."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy
from flint import arb

from symtheory.domains import ball
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.theory.stationary._density import Coefficients, fraction
from symtheory.theory.stationary._integrals import PowerDensity
from symtheory.verdict import Arithmetic, Claim, Enclosure, Status, Unchecked, Verdict, prove

Bracket = tuple[Fraction, Fraction]


@dataclasses.dataclass(frozen=True, eq=False)
class StationaryLaw:
    """Stationary density p(v) of v = u w on the balanced line.

    Attributes:
        model: The model.
        coefficients: alpha, beta and T: for l = (u w x - y)^2, alpha = (Var x^2, Cov(x^2, x y),
            Var(x y)) and beta = (E[x^2], E[x y] - gamma).
        drift: Drift of v, a polynomial.
        diffusion: D(v) with dv = drift dt + sqrt(D) dW.
        verdict: `proved`, with its steps as parts.

    Source: arXiv 2308.06671.
    """

    model: Model
    coefficients: Coefficients
    drift: sympy.Expr
    diffusion: sympy.Expr
    verdict: Verdict

    def __repr__(self) -> str:
        return f"<{self.verdict.claim}: {self.status}, {self.kind}>"

    @property
    def status(self) -> Status:
        """Status of the derivation."""
        return self.verdict.status

    @property
    def kind(self) -> str:
        """ "gamma" where the noise does not depend on v, else "power tail"."""
        return self.coefficients.kind

    @property
    def temperature(self) -> sympy.Expr:
        """T = eta/S, exactly, or the symbol T."""
        return self.coefficients.temperature

    # --- shape ---

    @property
    def collapse_temperature(self) -> sympy.Expr:
        """The noise collapses v to 0 iff T is at least this, beta_2/alpha_3."""
        return self.coefficients.beta[1] / self.coefficients.alpha[2]

    @property
    def collapsed(self) -> bool:
        """Whether all mass sits at v = 0.

        Raises:
            InputError: Something is still a symbol.
        """
        self._require_numbers()
        return not bool(self.coefficients.power > -1)

    @property
    def tail_exponent(self) -> sympy.Expr:
        """The power of v at infinity; -oo for the Gamma law, whose tail is exponential.

        From v^power g^-kappa, kappa = 1 + beta_2/(4 T alpha_3): whatever the coefficients, -7/2.
        """
        if self.kind == "gamma":
            return -sympy.oo
        return sympy.expand(self.coefficients.power - 2 * self.coefficients.kappa)

    @property
    def finite_moments(self) -> Any:
        """The highest order k of a finite moment E[v^k] (oo for the Gamma law)."""
        # E[v^k] is finite iff k + tail exponent < -1.
        return sympy.oo if self.kind == "gamma" else sympy.ceiling(-1 - self.tail_exponent) - 1

    @property
    def testable_moments(self) -> Any:
        """The highest order whose sample mean has a finite standard error (E[v^2k] finite)."""
        return sympy.oo if self.kind == "gamma" else self.finite_moments // 2

    @property
    def caution(self) -> str:
        """Which moments a simulation can test; empty where it can test all."""
        if self.kind == "gamma":
            return ""
        return (
            f"the tail is v^({self.tail_exponent}): moments up to order {self.finite_moments} are "
            f"finite, but only those up to order {self.testable_moments} have a sample mean with a "
            "standard error; do not test the variance by simulation"
        )

    # --- density ---

    @property
    def shape(self) -> sympy.Expr:
        """Shape of the Gamma law, beta_2/(2 T alpha_3) - 1/2.

        Raises:
            InputError: It is not a Gamma law.
        """
        self._require_gamma()
        return self.coefficients.power + 1

    @property
    def rate(self) -> sympy.Expr:
        """Rate of the Gamma law, beta_1/(2 T alpha_3).

        Raises:
            InputError: It is not a Gamma law.
        """
        self._require_gamma()
        return self.coefficients.rate

    @property
    def density(self) -> sympy.Expr:
        """The density: exact for the Gamma law, else the kernel over its integral Z (a symbol)."""
        kernel = self.coefficients.kernel
        if self.kind == "gamma":
            return self.rate**self.shape / sympy.gamma(self.shape) * kernel
        return kernel / sympy.Symbol("Z", positive=True)

    def callable(self) -> Callable[[Any], Any]:
        """Return the normalized density as a JAX function of v > 0.

        Raises:
            InputError: Something is still a symbol, or the law has collapsed.
        """
        self._require_density()
        form = self.coefficients
        log_kernel = sympy.lambdify(form.v, form.log_kernel, modules="jax", cse=True)
        if self.kind == "gamma":
            shape, rate = float(self.shape), float(self.rate)
            shift = math.lgamma(shape) - shape * math.log(rate)
        else:
            shift = float(self._integrals.log_normalization().mid())
        return lambda v: jnp.exp(log_kernel(jnp.asarray(v, float)) - shift)

    # --- moments ---

    @property
    def mean(self) -> Any:
        """E[v]: exact for the Gamma law, (beta_2 - T alpha_3)/beta_1; else a float.

        Raises:
            InputError: Something is still a symbol (power tail).
        """
        if self._has_collapsed():
            return sympy.Integer(0)
        if self.kind == "gamma":
            return sympy.expand(self.shape / self.rate)
        return _middle(self.moment(1))

    @property
    def variance(self) -> Any:
        """Var v, exact for the Gamma law, else a float. See `caution` before testing it."""
        if self._has_collapsed():
            return sympy.Integer(0)
        if self.kind == "gamma":
            return sympy.expand(self.shape / self.rate**2)
        return _middle(_bracket(self._raw(2) - self._raw(1) ** 2))

    @property
    def mode(self) -> float:
        """Where the density is highest: 0 where it is unbounded there, or v has collapsed."""
        self._require_numbers()
        return 0.0 if self.collapsed else self.coefficients.mode()

    def moment(self, order: int) -> Bracket:
        """Return rigorous bounds (low, high) on E[v^order].

        Raises:
            InputError: The moment is infinite, or something is still a symbol.
        """
        return _bracket(self._raw(order))

    def moment_verdict(self, order: int, digits: int = 6) -> Verdict:
        """Return E[v^order] rounded to a number of decimals, `proved` if the bounds decide it."""
        low, high = self.moment(order)
        shown = f"{float((low + high) / 2):.{digits}f}"
        half = Fraction(1, 2 * 10**digits)
        held = Fraction(shown) - half <= low and high <= Fraction(shown) + half
        claim = f"E[v^{order}] = {shown} to {digits} decimals"
        how = "quadrature with enclosed error in ball arithmetic"
        fields: dict[str, Any] = {
            "measured": float((low + high) / 2),
            "margin": float(high - low) / 2,
            "parts": (self.verdict,),
        }
        if not held:
            return Verdict(Status.INCONCLUSIVE, claim, how=how, **fields)
        certificate = Enclosure(how, lower=low, upper=high)
        return prove(claim, certificate, self._moment_in_floats(order, low, high), **fields)

    def _moment_in_floats(self, order: int, low: Fraction, high: Fraction) -> Claim:
        """Return the moment by the trapezoidal rule in ln v, beside its bounds."""
        if self._has_collapsed():
            return Unchecked("all mass sits at v = 0, there is no density")
        log_kernel = sympy.lambdify(self.coefficients.v, self.coefficients.log_kernel, "numpy")
        log_v = np.linspace(-200.0, 200.0, 200_001)
        with np.errstate(all="ignore"):
            weight = log_kernel(np.exp(log_v)) + log_v
            weight = np.where(np.isfinite(weight), weight, -np.inf)
            weight = np.exp(weight - np.max(weight))
            total = np.sum(np.where(weight > 0, weight * np.exp(order * log_v), 0.0))
        middle = float((low + high) / 2)
        found = float(total / np.sum(weight))
        # The bounds may be wider than what the rule leaves.
        return Arithmetic(min(max(found, float(low)), float(high)) if low < high else found, found,
                          scale=max(abs(middle), 1e-300))  # fmt: skip

    def _raw(self, order: int) -> arb:
        if isinstance(order, bool) or not isinstance(order, int) or order < 0:
            raise InputError(f"the order of a moment is an integer from 0, got {order!r}")
        if self._has_collapsed():
            return arb(0) if order else arb(1)
        self._require_density()
        if not order <= self.finite_moments:
            raise InputError(
                f"E[v^{order}] is infinite: the tail is v^({self.tail_exponent}), so moments exist "
                f"up to order {self.finite_moments}"
            )
        if self.kind != "gamma":
            return self._integrals.moment(order)
        shape = fraction(self.shape)
        product = math.prod((shape + k for k in range(order)), start=Fraction(1))
        return ball(product / fraction(self.rate) ** order)

    @functools.cached_property
    def _integrals(self) -> PowerDensity:
        return self.coefficients.integrals()

    # --- refusals ---

    def _has_collapsed(self) -> bool:
        return not self.coefficients.names and self.collapsed

    def _require_numbers(self) -> None:
        if self.coefficients.names:
            raise InputError(
                f"{', '.join(self.coefficients.names)} is still a symbol; bind the model and give "
                "temperature=..."
            )

    def _require_gamma(self) -> None:
        if self.kind != "gamma":
            raise InputError("this is no Gamma law: its gradient noise depends on v")

    def _require_density(self) -> None:
        if self.collapsed:
            raise InputError(
                f"T = {self.temperature} is not below the collapse temperature "
                f"{self.collapse_temperature}: all mass sits at v = 0, there is no density"
            )

    def latex(self) -> str:
        """Return the density as LaTeX."""
        v, kernel = sympy.latex(self.coefficients.v), self.coefficients.kernel
        if self.kind == "gamma":
            return rf"p({v}) = {sympy.latex(self.density)}"
        return rf"p({v}) \propto {sympy.latex(kernel)}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"


def _middle(bracket: Bracket) -> float:
    return float((bracket[0] + bracket[1]) / 2)


def _bracket(value: arb) -> Bracket:
    low, high = value.lower().fmpq(), value.upper().fmpq()
    return Fraction(int(low.p), int(low.q)), Fraction(int(high.p), int(high.q))
