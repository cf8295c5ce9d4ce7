"""A minimum as the slow flow sees it: H = B B^T and Sigma = B M B^T, and how they move.

The loss is the same at g theta for every g of the symmetry group, so that H and Sigma there are
g^-T H g^-1 and g^-T Sigma g^-1: B becomes g^-T B and M stays. One reading of the model serves the
whole orbit.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import scipy.sparse.linalg

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.theory.slow._moments import compiled, gradient_moments
from symtheory.theory.slow._points import Points

_DENSE = 1200
"""Parameters up to which the Hessian is formed; above, it is only multiplied with vectors."""

_FLAT = 1e-8
_NEWTON_STEPS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Minimum:
    """A point on an orbit of minima.

    Attributes:
        theta: The parameters, flattened, shape (d,).
        factor: B with H = B B^T, shape (d, r) with r = rank H.
        middle: M with Sigma = B M B^T, shape (r, r).
    """

    theta: np.ndarray
    factor: np.ndarray
    middle: np.ndarray

    @property
    def noise_trace(self) -> float:
        """Tr Sigma."""
        return float(np.sum((self.factor @ self.middle) * self.factor))

    def moved(self, generator: Any) -> Minimum:
        """Return the point exp(X) theta, for a sparse X of the symmetry algebra."""
        return dataclasses.replace(
            self,
            theta=exponential(generator, self.theta),
            factor=exponential(-generator.T, self.factor),
        )


def exponential(matrix: Any, array: np.ndarray) -> np.ndarray:
    """Return exp(X) applied to a vector or to columns, for a sparse X.

    >>> exponential(scipy.sparse.csr_array(np.array([[0.0, 1.0], [0.0, 0.0]])), np.ones(2)).tolist()
    [2.0, 1.0]
    """
    pieces = max(1, math.ceil(2 * scipy.sparse.linalg.norm(matrix, 1)))
    for _ in range(pieces):
        term, n = array, 0
        while n < 40 and np.max(np.abs(term), initial=0.0) > 1e-18 * np.max(np.abs(array)):
            n += 1
            term = (matrix @ term) / (n * pieces)
            array = array + term
    return array


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """What was found at a point.

    Attributes:
        minimum: The point, refined by Newton steps, with its Hessian and noise.
        gradient_norm: |grad L| at the point given.
        gap: Smallest eigenvalue of H kept and largest dropped, relative to the largest.
        off_range: Part of Tr Sigma that is outside the range of H.
    """

    minimum: Minimum
    gradient_norm: float
    gap: tuple[float, float]
    off_range: float


def read_minimum(
    model: Model, theta: np.ndarray, points: Points, tolerance: float, method: str
) -> Reading:
    """Read Hessian and noise at a minimum.

    Raises:
        InputError: The point is not a minimum, or the Hessian has a negative eigenvalue.
    """
    gradient, _, trace = gradient_moments(model, theta, points, np.zeros((len(theta), 0)))
    norm = float(np.linalg.norm(gradient))
    values, vectors, gap = _curvature(model, theta, points, method, _FLAT)
    largest = float(values[-1]) if len(values) else 0.0
    scale = math.sqrt(max(trace, 0.0)) + largest * float(np.linalg.norm(theta))
    allowed = tolerance * scale
    if points.drawn:  # the mean of a pool differs from the population's by its standard error
        allowed += 6 * math.sqrt(max(trace, 0.0) / len(points.weights))
    if norm > allowed or not len(values):
        raise InputError(
            f"the point is not a minimum: |grad L| = {norm:.3g}, where at most {allowed:.3g} would "
            f"pass ({tolerance:g} of sqrt(Tr Sigma) + |H||theta| = {scale:.3g}"
            + (", and six standard errors of the pool" if points.drawn else "")
            + "); go to a minimum first, by gradient flow for instance"
        )
    if gap[1] < -1e-6 - 10 * norm / max(scale, 1e-300):
        raise InputError(
            f"the point is a saddle: its Hessian has the eigenvalue {gap[1] * largest:.3g} beside "
            f"a largest of {largest:.3g}; go to a minimum first"
        )
    for _ in range(_NEWTON_STEPS):
        if np.linalg.norm(gradient) <= 1e-14 * scale:
            break
        theta = theta - vectors @ ((vectors.T @ gradient) / values)
        gradient, _, _ = gradient_moments(model, theta, points, np.zeros((len(theta), 0)))
        values, vectors, gap = _curvature(model, theta, points, method, _FLAT)
    _, middle, trace = gradient_moments(model, theta, points, vectors / np.sqrt(values))
    inside = float(np.sum(np.diag(middle) * values))
    off = max(trace - inside, 0.0) / trace if trace > 0 else 0.0
    return Reading(Minimum(theta, vectors * np.sqrt(values), middle), norm, gap, off)


def _curvature(
    model: Model, theta: np.ndarray, points: Points, method: str, flat: float
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Return the positive eigenvalues of H, their eigenvectors, and the gap below them."""
    if method == "dense" or (method == "auto" and len(theta) <= _DENSE):
        full = np.asarray(compiled(model)["hessian"](theta, points.samples, points.weights))
        values, vectors = np.linalg.eigh((full + full.T) / 2)
    else:
        values, vectors = _lanczos(model, theta, points, flat)
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0:
        return values[:0], vectors[:, :0], (0.0, 0.0)
    kept = values > flat * largest
    dropped = values[~kept] / largest
    worst = float(dropped[np.argmax(np.abs(dropped))]) if len(dropped) else 0.0
    smallest = float(values[kept][0] / largest) if kept.any() else 0.0
    return values[kept], vectors[:, kept], (smallest, worst)


class _Product(scipy.sparse.linalg.LinearOperator):
    """The Hessian as an operator: one product costs about two gradients."""

    def __init__(self, model: Model, theta: np.ndarray, points: Points) -> None:
        super().__init__(np.float64, (len(theta), len(theta)))
        self._parts = (compiled(model)["product"], theta, points)

    def _matvec(self, x: Any) -> np.ndarray:
        product, theta, points = self._parts
        return np.asarray(product(theta, points.samples, points.weights, np.reshape(x, -1)))


def _lanczos(model: Model, theta: np.ndarray, points: Points, flat: float) -> Any:
    """Return the largest eigenvalues of H and their vectors, down to the flat directions."""
    d = len(theta)
    operator = _Product(model, theta, points)
    wanted = 32
    start = np.random.default_rng(0).normal(size=d)
    while True:
        wanted = min(wanted, d - 1)
        values, vectors = scipy.sparse.linalg.eigsh(operator, k=wanted, which="LM", v0=start)
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
        if np.min(np.abs(values)) < flat * np.max(np.abs(values)) or wanted == d - 1:
            return values, vectors
        wanted *= 2
