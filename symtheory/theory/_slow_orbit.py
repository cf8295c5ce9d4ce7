"""Moving along an orbit of minima: rates, paths, the matrix equilibrium and the stationary state."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import scipy.sparse.linalg

from symtheory.errors import InputError
from symtheory.theory._lyapunov import lyapunov
from symtheory.theory._noise import unflatten
from symtheory.theory._slow_algebra import Algebra
from symtheory.theory._slow_minimum import Minimum

_NEWTON = 80
_SOLVED = 1e-11
_FARTHEST = 1.0
"""Largest root mean square rate that one stage of an integration step may apply."""


class _TooFar(Exception):
    """A stage of a step would leave the neighbourhood of its start."""



@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """The slow flow recorded at times.

    Attributes:
        times: Shape (n,).
        params: The parameters, with a leading axis over times.
        violations: The violation of the matrix equilibrium at these times, shape (n,).
    """

    times: np.ndarray
    params: Any
    violations: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class RelativeEquilibrium:
    """Where the slow flow ends: theta(t) = exp(t Omega) theta with an antisymmetric Omega.

    Attributes:
        params: A point of it; the others follow by the rotations of the hidden basis.
        rotation: Omega, a matrix on the flattened parameters, per unit of time.
        rotation_rate: The largest angular velocity, the spectral radius of Omega; per step it is
            eta times this, at temperature 1 so many eta^2/S.
        relative_drifts: For each symmetry given, (T Tr[Sigma A] - 4 gamma C)/(T Tr Sigma +
            4 gamma |theta|^2), the drift of its charge relative to its size, in the form of its
            family: zero at the matrix equilibrium. For a double rotation it is the matrix
            (W Gamma_W W^T - U^T Gamma_U U)/Tr[their sum].
        violation: max over symmetric A in the algebra of Tr[Sigma A]/sqrt(Tr Sigma Tr[Sigma A^2]),
            between 0 and 1 (both traces with weight decay as above).
        matrix_equilibrium: Where the matrix equilibrium on the same orbit is.
        relaxation: The slowest rate at which the flow approaches it; negative if it is unstable.
        residual: What is left of the velocity across the rotations, relative to its scale.
    """

    params: Any
    rotation: np.ndarray
    rotation_rate: float
    relative_drifts: dict[str, np.ndarray]
    violation: float
    matrix_equilibrium: Any
    relaxation: float
    residual: float


@dataclasses.dataclass(frozen=True, eq=False)
class Dynamics:
    """The slow flow of an algebra at a temperature and weight decay."""

    algebra: Algebra
    temperature: float
    weight_decay: float
    zeros: Any

    def params(self, theta: np.ndarray) -> Any:
        """Return flat parameters as a pytree."""
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, unflatten(self.zeros, theta))

    def _middle(self, minimum: Minimum) -> tuple[np.ndarray, np.ndarray]:
        """Return N = B^T B and Y with K = B Y B^T, NY + YN = T M."""
        gram = minimum.factor.T @ minimum.factor
        return gram, lyapunov(gram, self.temperature * minimum.middle)

    def covariance_root(self, minimum: Minimum) -> np.ndarray:
        """Return R with K = R R^T."""
        values, vectors = np.linalg.eigh(self._middle(minimum)[1])
        return minimum.factor @ (vectors * np.sqrt(np.clip(values, 0, None)))

    def noise_rates(self, minimum: Minimum) -> np.ndarray:
        """Return Tr[A_k^T H K]."""
        gram, middle = self._middle(minimum)
        return self.algebra.pair(minimum.factor @ (gram @ middle), minimum.factor)

    def rates(self, minimum: Minimum) -> np.ndarray:
        """Return <A_k theta, d theta/dt>."""
        out = self.noise_rates(minimum)
        if self.weight_decay:
            moments = self.algebra.directions(minimum.theta) @ minimum.theta
            out = out - 2 * self.weight_decay * moments
        return out

    def coefficients(self, minimum: Minimum) -> np.ndarray:
        """Return c with d theta/dt = sum_k c_k A_k theta."""
        directions = self.algebra.directions(minimum.theta)
        return _solve(directions @ directions.T, self.rates(minimum))

    def scale(self, minimum: Minimum) -> float:
        """Return T Tr Sigma + 4 gamma |theta|^2, the size of what balances."""
        square = float(minimum.theta @ minimum.theta)
        return self.temperature * minimum.noise_trace + 4 * self.weight_decay * square

    def charge_drifts(self, minimum: Minimum) -> np.ndarray:
        """Return T Tr[Sigma A_k] - 4 gamma theta^T A_k theta."""
        noise = self.algebra.pair(minimum.factor @ minimum.middle, minimum.factor)
        out = self.temperature * noise
        if self.weight_decay:
            moments = self.algebra.directions(minimum.theta) @ minimum.theta
            out = out - 4 * self.weight_decay * moments
        return out

    def drifts(self, minimum: Minimum) -> dict[str, np.ndarray]:
        """Return the relative drift of the charges of every symmetry given."""
        relative = self.charge_drifts(minimum) / max(self.scale(minimum), 1e-300)
        out: dict[str, Any] = {}
        with jax.enable_x64(True):
            for name, place, layout in self.algebra.labels:
                key = name if name not in out else f"{name} ({len(out) + 1})"
                out[key] = np.asarray(layout.arrange_numbers(relative[place]))
        return out

    def _convex(self, minimum: Minimum) -> tuple[np.ndarray, np.ndarray]:
        """Return gradient and Hessian of (T/2) Tr Sigma + 2 gamma |theta|^2 along symmetric A."""
        basis = self.algebra.symmetric
        gradient = -basis @ self.charge_drifts(minimum)
        values, vectors = np.linalg.eigh(self.temperature * minimum.middle)
        root = minimum.factor @ (vectors * np.sqrt(np.clip(values, 0, None)))
        both = np.concatenate(
            [root, np.sqrt(4 * self.weight_decay) * minimum.theta[:, None]], axis=1
        )
        images = np.stack([(self.algebra.combine(row) @ both).ravel() for row in basis])
        return gradient, 2 * images @ images.T

    def violation(self, minimum: Minimum) -> float:
        """Return the largest relative drift of a charge, see `RelativeEquilibrium`."""
        if not len(self.algebra.symmetric):
            return 0.0
        gradient, hessian = self._convex(minimum)
        square = 2 * float(gradient @ _solve(hessian, gradient))
        return float(np.sqrt(max(square, 0.0) / max(self.scale(minimum), 1e-300)))

    def matrix_equilibrium(self, minimum: Minimum) -> Minimum:
        """Minimize (T/2) Tr Sigma + 2 gamma |theta|^2 over the orbit, by Newton's method."""
        basis = self.algebra.symmetric
        value = self._value(minimum)
        for _ in range(_NEWTON if len(basis) else 0):
            gradient, hessian = self._convex(minimum)
            if np.linalg.norm(gradient) <= _SOLVED * self.scale(minimum) * np.sqrt(len(gradient)):
                break
            step = -_solve(hessian, gradient)
            length = 1.0
            while True:
                trial = minimum.moved(self.algebra.combine(length * step @ basis))
                level = self._value(trial)
                if level <= value + 0.1 * length * float(gradient @ step) or length < 1e-6:
                    break
                length /= 2
            if length < 1e-6 and level >= value:
                break
            minimum, value = trial, level
        left = np.linalg.norm(basis @ self.charge_drifts(minimum)) / max(self.scale(minimum), 1e-300)
        if left > 1e-6:
            raise InputError(
                "there is no equilibrium at a finite distance on this orbit: the noise falls "
                f"without end along it (relative drift {left:.2g}); add weight_decay, or drop the "
                "symmetry that has noise on one side only"
            )
        return minimum

    def _value(self, minimum: Minimum) -> float:
        square = float(minimum.theta @ minimum.theta)
        return self.temperature * minimum.noise_trace / 2 + 2 * self.weight_decay * square

    def _turn(self, minimum: Minimum) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients of the rotation closest to the flow, and what it leaves over."""
        directions = self.algebra.directions(minimum.theta)
        velocity = _solve(directions @ directions.T, self.rates(minimum)) @ directions
        turning = self.algebra.rotations @ directions
        if len(turning):
            weights = np.linalg.lstsq(turning.T, velocity, rcond=1e-10)[0]
            velocity = velocity - weights @ turning
            rotation = weights @ self.algebra.rotations
        else:
            rotation = np.zeros(self.algebra.count)
        return rotation, (self.algebra.across @ directions) @ velocity

    def _jacobian(self, minimum: Minimum, here: np.ndarray, step: float = 1e-6) -> np.ndarray:
        columns = []
        for row in self.algebra.across:
            moved = minimum.moved(self.algebra.combine(step * row))
            columns.append((self._turn(moved)[1] - here) / step)
        return np.stack(columns, axis=1)

    def stationary(self, minimum: Minimum) -> RelativeEquilibrium:
        """Return the relative equilibrium, by Newton's method from the matrix equilibrium."""
        balanced = point = self.matrix_equilibrium(minimum)
        rotation, rest = self._turn(point)
        goal = 1e-10 * max(self.scale(point), 1e-300)
        jacobian = self._jacobian(point, rest)
        for _ in range(_NEWTON):
            size = np.linalg.norm(rest)
            if size <= goal:
                break
            step = -np.linalg.lstsq(jacobian, rest, rcond=1e-9)[0]
            length = min(1.0, 1.0 / max(float(np.linalg.norm(step)), 1e-300))
            for _ in range(20):
                trial = point.moved(self.algebra.combine(length * step @ self.algebra.across))
                turned = self._turn(trial)
                if np.linalg.norm(turned[1]) < size:
                    break
                length /= 2
            else:
                break
            point, (rotation, rest) = trial, turned
            if np.linalg.norm(rest) > 0.1 * size:
                jacobian = self._jacobian(point, rest)
        left = float(np.linalg.norm(rest)) / max(self.scale(point), 1e-300)
        if left > 1e-7:
            raise InputError(
                f"the stationary state was not reached (relative velocity {left:.2g}); follow the "
                "flow with integrate(times) instead"
            )
        matrix = self.algebra.combine(rotation).toarray()
        return RelativeEquilibrium(
            params=self.params(point.theta),
            rotation=matrix,
            rotation_rate=float(np.max(np.abs(np.linalg.eigvals(matrix)), initial=0.0)),
            relative_drifts=self.drifts(point),
            violation=self.violation(point),
            matrix_equilibrium=self.params(balanced.theta),
            relaxation=self._relaxation(point, rest),
            residual=left,
        )

    def _relaxation(self, point: Minimum, rest: np.ndarray) -> float:
        """Return the slowest rate of approach: rates relative to the metric <A_s theta, A_t theta>."""
        directions = self.algebra.across @ self.algebra.directions(point.theta)
        turning = self.algebra.rotations @ self.algebra.directions(point.theta)
        if len(turning):
            frame = np.linalg.svd(turning, full_matrices=False)
            span = frame[2][frame[1] > 1e-9 * max(float(frame[1][0]), 1e-300)]
            directions = directions - (directions @ span.T) @ span
        left, sizes, _ = np.linalg.svd(directions, full_matrices=False)
        kept = sizes > 1e-7 * max(float(sizes[0]), 1e-300)
        change = (left[:, kept] / sizes[kept]).T
        jacobian = self._jacobian(point, rest)
        linear = change @ jacobian @ change.T
        return float(-np.max(np.linalg.eigvals(linear).real))

    def integrate(self, minimum: Minimum, times: Any, tolerance: float = 1e-8) -> Path:
        """Integrate on the group, with exponentials of order four and step doubling."""
        times = np.atleast_1d(np.asarray(times, dtype=float))
        if times.ndim != 1 or times[0] < 0 or np.any(np.diff(times) < 0):
            raise InputError("times must be increasing and not negative")
        now, step = 0.0, float(times[-1]) / 16 or 1.0
        kept, violations = [], []
        for goal in times:
            while now < goal * (1 - 1e-14):
                length = min(step, goal - now)
                fine, error = self._doubled(minimum, length)
                if error <= tolerance:
                    minimum, now = fine, now + length
                step = length * min(4.0, max(0.1, 0.9 * (tolerance / max(error, 1e-300)) ** 0.2))
                if step < 1e-12 * float(times[-1]):
                    raise InputError(
                        f"the slow flow could not be followed beyond time {now:g}; the orbit leaves "
                        "every bound, add weight_decay or shorten the times"
                    )
            kept.append(minimum.theta)
            violations.append(self.violation(minimum))
        stacked = [self.params(theta) for theta in kept]
        return Path(times, jax.tree.map(lambda *x: np.stack(x), *stacked), np.array(violations))

    def _doubled(self, start: Minimum, length: float) -> tuple[Minimum, float]:
        """Return the end of two half steps, and its relative distance from that of one step."""
        try:
            coarse = self._step(start, length)
            fine = self._step(self._step(start, length / 2), length / 2)
        except _TooFar:
            return start, np.inf
        error = np.linalg.norm(fine.theta - coarse.theta) / np.linalg.norm(fine.theta)
        return fine, float(error)

    def _step(self, start: Minimum, length: float) -> Minimum:
        """One commutator-free step of order four (Celledoni, Marthinsen and Owren 2003)."""

        def move(point: Minimum, coefficients: np.ndarray) -> Minimum:
            generator = self.algebra.combine(coefficients)
            if scipy.sparse.linalg.norm(generator) > _FARTHEST * np.sqrt(len(point.theta)):
                raise _TooFar
            return point.moved(generator)

        k1 = length * self.coefficients(start)
        second = move(start, k1 / 2)
        k2 = length * self.coefficients(second)
        k3 = length * self.coefficients(move(start, k2 / 2))
        k4 = length * self.coefficients(move(second, k3 - k1 / 2))
        first = move(start, (3 * k1 + 2 * k2 + 2 * k3 - k4) / 12)
        return move(first, (-k1 + 2 * k2 + 2 * k3 + 3 * k4) / 12)


def _solve(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return the least solution of a positive semidefinite system."""
    if not len(matrix):
        return np.zeros(0)
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-11 * max(float(values[-1]), 1e-300)
    return vectors[:, kept] @ ((vectors[:, kept].T @ vector) / values[kept])
