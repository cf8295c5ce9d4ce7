"""Rates, charges and covariances of the slow flow at a point of an orbit."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from symtheory.theory._noise import unflatten
from symtheory.theory.slow._algebra import Algebra
from symtheory.theory.slow._lyapunov import lyapunov
from symtheory.theory.slow._minimum import Minimum


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
        return solve(directions @ directions.T, self.rates(minimum))

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
        with jax.enable_x64(True):
            return {
                name: np.asarray(layout.arrange_numbers(relative[place]))
                for name, place, layout in self.algebra.labels
            }

    def convex(self, minimum: Minimum) -> tuple[np.ndarray, np.ndarray]:
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
        gradient, hessian = self.convex(minimum)
        square = 2 * float(gradient @ solve(hessian, gradient))
        return float(np.sqrt(max(square, 0.0) / max(self.scale(minimum), 1e-300)))

    def potential(self, minimum: Minimum) -> float:
        """Return (T/2) Tr Sigma + 2 gamma |theta|^2, convex on the orbit."""
        square = float(minimum.theta @ minimum.theta)
        return self.temperature * minimum.noise_trace / 2 + 2 * self.weight_decay * square


def solve(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return the least solution of a positive semidefinite system."""
    if not len(matrix):
        return np.zeros(0)
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-11 * max(float(values[-1]), 1e-300)
    return vectors[:, kept] @ ((vectors[:, kept].T @ vector) / values[kept])
