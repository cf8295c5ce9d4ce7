"""What the slow flow at a minimum can tell."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.symmetry import Exponential
from symtheory.theory.slow._algebra import Algebra
from symtheory.theory.slow._criterion import rotation_criterion
from symtheory.theory.slow._dynamics import Dynamics
from symtheory.theory.slow._equilibria import RelativeEquilibrium, matrix_equilibrium, stationary
from symtheory.theory.slow._exact import prove_identity
from symtheory.theory.slow._minimum import Minimum
from symtheory.theory.slow._moments import compiled
from symtheory.theory.slow._observe import drift_functions
from symtheory.theory.slow._path import Path, integrate
from symtheory.theory.slow._points import Points
from symtheory.verdict import Status, Verdict


@dataclasses.dataclass(frozen=True, eq=False)
class SlowFlow:
    """The slow flow at a minimum, and along the orbit through it.

    Attributes:
        model: The model.
        params: The minimum (refined by Newton steps).
        temperature: T = eta/S; all rates are proportional to it when there is no weight decay.
        weight_decay: gamma.
        rates: <A_k theta, d theta/dt> = Tr[A_k^T H K] - 2 gamma <A_k theta, theta> for every
            generator given, shape (K,), per unit of time (one step is time eta).
        rate_errors: Their standard errors where moments are averages over drawn samples, else None.
        velocity: d theta/dt, a pytree like the parameters.
        exact_moments: Whether H and Sigma are exact to rounding.
        gradient_norm: |grad L| at the point given.
        hessian_rank: r = rank H.
        flat_directions: d - r.
        orbit_dimension: Dimension of the orbit, the span of all A_k theta.
        gap: Smallest eigenvalue of H kept and largest dropped, relative to the largest.
    """

    model: Model
    params: Any
    temperature: float
    weight_decay: float
    rates: np.ndarray
    rate_errors: np.ndarray | None
    velocity: Any
    exact_moments: bool
    gradient_norm: float
    hessian_rank: int
    flat_directions: int
    orbit_dimension: int
    gap: tuple[float, float]
    _given: Any = dataclasses.field(repr=False)
    _symmetries: tuple[Exponential, ...] = dataclasses.field(repr=False)
    _algebra: Algebra = dataclasses.field(repr=False)
    _minimum: Minimum = dataclasses.field(repr=False)
    _points: Points = dataclasses.field(repr=False)

    @functools.cached_property
    def _dynamics(self) -> Dynamics:
        zeros = jax.tree.map(np.zeros_like, self.params)
        return Dynamics(self._algebra, self.temperature, self.weight_decay, zeros)

    @property
    def violation(self) -> float:
        """How far the charges are from their equilibrium here: see `RelativeEquilibrium`."""
        return self._dynamics.violation(self._minimum)

    @property
    def relative_drifts(self) -> dict[str, np.ndarray]:
        """The drift of every charge relative to its size: see `RelativeEquilibrium`."""
        return self._dynamics.drifts(self._minimum)

    def integrate(self, times: Any) -> Path:
        """Follow the flow along the orbit, exactly on it, and record it at increasing times.

        Raises:
            InputError: Times decrease, or the flow does not stay on the orbit (`identity`).
        """
        self._require_closed()
        return integrate(self._dynamics, self._minimum, times)

    def stationary(self) -> RelativeEquilibrium:
        """Return the stationary state on the orbit: fixed up to a steady rotation.

        Raises:
            InputError: There is none at a finite distance, or the flow leaves the orbit.
        """
        self._require_closed()
        return stationary(self._dynamics, self._minimum)

    def matrix_equilibrium(self) -> Any:
        """Return the point of the orbit where the drifts of all charges vanish.

        It minimizes (T/2) Tr Sigma + 2 gamma |theta|^2 over the orbit, a convex problem.

        Raises:
            InputError: There is none at a finite distance.
        """
        point = matrix_equilibrium(self._dynamics, self._minimum)
        return self._dynamics.params(point.theta)

    def _direct(self) -> tuple[np.ndarray, np.ndarray]:
        """Return -P grad^3 L[K] / 2 on the kernel of H, and its products with A_k theta."""
        minimum = self._minimum
        roots = self._dynamics.covariance_root(minimum)
        with jax.enable_x64(True):
            third = compiled(self.model)["third"](
                minimum.theta, self._points.samples, self._points.weights, roots.T
            )
        drift = -np.asarray(third)
        frame = np.linalg.qr(minimum.factor)[0]
        drift -= frame @ (frame.T @ drift)
        return drift, self._algebra.directions(minimum.theta) @ drift

    def identity(self, tolerance: float = 1e-8) -> Verdict:
        """Check <A theta, -P grad^3 L[K]/2> = Tr[A^T H K] here, from third derivatives.

        The left side is the averaged drift of the parameters off the Hessian's range; the right
        side uses second derivatives alone. Also checks that the drift lies along the orbit.

        Args:
            tolerance: Largest difference that passes, relative to |d theta/dt| and
                the largest |A_k theta|.
        """
        drift, products = self._direct()
        noise = self._dynamics.noise_rates(self._minimum)
        directions = self._algebra.directions(self._minimum.theta)
        reach = max(float(np.max(np.linalg.norm(directions, axis=1))), 1e-300)
        theta = float(np.linalg.norm(self._minimum.theta))
        typical = self.temperature * self._minimum.noise_trace / max(theta, 1e-300)
        size = max(float(np.linalg.norm(drift)), typical, 1e-300)
        residual = float(np.max(np.abs(products - noise))) / (reach * size)
        along = np.linalg.lstsq(directions.T, drift, rcond=1e-10)[0] @ directions
        off = float(np.linalg.norm(drift - along)) / size
        good = residual <= tolerance and off <= tolerance
        how = f"third derivatives by JAX; drift off the orbit {off:.2g} of its size"
        return Verdict(
            Status.SUPPORTED if good else Status.REFUTED,
            "the averaged drift has <A theta, d theta/dt> = Tr[A^T H K] and lies along the orbit",
            how=how,
            residual=max(residual, off),
            margin=tolerance,
        )

    def proof(self, seconds: float | None = 60.0) -> Verdict:
        """Prove <A theta, -grad^3 L[K]/2> = Tr[A^T H K] for this model, at all parameters and K.

        In exact arithmetic, from the mean loss as a polynomial; `inconclusive` where it is none.
        """
        return prove_identity(self.model, self._symmetries, seconds)

    def criterion(self, seconds: float | None = 60.0) -> Verdict:
        """Decide exactly whether the noise turns the given minimum along antisymmetric generators.

        It does not, on the whole orbit, if Sigma = c H (isotropic label noise); nor at this point
        if H Sigma = Sigma H (jointly aligned covariances). Then the matrix equilibrium is where SGD
        goes. Otherwise the rates are computed over the rationals. Parameters count as the simplest
        rationals that round to them, and have to be a minimum exactly.
        """
        return rotation_criterion(self.model, self._given, self._symmetries, seconds)

    def observables(self) -> dict[str, Any]:
        """Return the relative drifts as functions of the parameters, for `simulate(observe=flow)`.

        They hold at any parameters, with the gradient noise as it is there.
        """
        return self._observables

    @functools.cached_property
    def _observables(self) -> dict[str, Any]:
        own = (self.temperature, self.weight_decay)
        return drift_functions(self.model, self._algebra, self._points, *own)

    def _require_closed(self) -> None:
        if self.flat_directions == self.orbit_dimension:
            return
        verdict = self.identity()
        if not verdict.status.holds:
            raise InputError(
                f"the orbit has {self.orbit_dimension} of {self.flat_directions} flat directions, "
                f"and the flow leaves it ({verdict.how}); only the rates at this point are valid: "
                "pass all symmetries (discover), or a model without other flat directions"
            )
