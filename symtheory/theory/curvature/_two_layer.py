"""Sharpness of the two-layer linear net at its special minima, in closed form."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from symtheory.errors import InputError


@dataclasses.dataclass(frozen=True)
class MinimumSharpness:
    """The Hessian of L = E|U W x - y|^2 at a minimum U W = V.

    Its trace is 2 d_y Tr[W Sigma_x W^T] + 2 Tr Sigma_x |U|^2, its largest eigenvalue that of
    2 (Sigma_x^(1/2) W^T W Sigma_x^(1/2) + lambda_max(U U^T) Sigma_x).

    Attributes:
        trace: Trace of the Hessian.
        largest: Its largest eigenvalue.
        norm_ratio: |U| / |W| (Frobenius).
    """

    trace: float
    largest: float
    norm_ratio: float


@dataclasses.dataclass(frozen=True)
class TwoLayerSharpness:
    """Sharpness at three minima of the same function.

    Attributes:
        noise_equilibrium: Where SGD noise balances, Tr Sigma_x U^T Sigma_eps U =
            Tr Sigma_eps W Sigma_x W^T.
        norm_balanced: Where U^T U = W W^T.
        minimum: Where the trace is smallest on the GL(h) orbit.
    """

    noise_equilibrium: MinimumSharpness
    norm_balanced: MinimumSharpness
    minimum: MinimumSharpness

    @property
    def ratio(self) -> float:
        """S_NE / S_bal by traces: above 1 noise sharpens, below 1 it flattens."""
        return self.noise_equilibrium.trace / self.norm_balanced.trace


def two_layer_sharpness(V: Any, cov_x: Any, cov_eps: Any) -> TwoLayerSharpness:
    """Return the sharpness of y = V x + eps, fitted by U W, at its special minima.

    With a = Tr Sigma_x, b = Tr Sigma_eps, Sigma_eps^(1/2) V Sigma_x^(1/2) = L S' R and t = Tr S':
      S_NE = 2 d_y sqrt(a/b) t + 2 sqrt(a b) Tr[Sigma_eps^-1 L S' L^T],
      S_bal = 2 d_y Tr[S_0 R_0 Sigma_x R_0^T] + 2 a Tr S_0 with V = L_0 S_0 R_0,
      S_min = 4 sqrt(d_y a) |V Sigma_x^(1/2)|_* (nuclear norm).
    Isotropic Sigma_eps makes S_NE = S_min. The hidden width must be at least rank V.

    Args:
        V: The teacher, shape (d_y, d_x).
        cov_x: Sigma_x, positive definite.
        cov_eps: Sigma_eps, positive definite.

    Raises:
        InputError: Shapes do not fit, a covariance is not positive definite, or V is zero.

    Source: arXiv 2402.07193, section on sharpness; the largest eigenvalues are this package's.

    >>> import numpy as np
    >>> round(two_layer_sharpness(np.eye(2), np.eye(2), np.diag([0.1, 1.0])).ratio, 3)
    1.215
    """
    teacher = np.asarray(V, dtype=float)
    if teacher.ndim != 2 or not np.all(np.isfinite(teacher)) or not np.any(teacher):
        raise InputError(f"V must be a finite matrix that is not zero, got shape {teacher.shape}")
    rows, columns = teacher.shape
    sigma = _covariance("cov_x", cov_x, columns)
    label = _covariance("cov_eps", cov_eps, rows)
    a, b = float(np.trace(sigma)), float(np.trace(label))
    root_x, root_eps, one = _root(sigma), _root(label), np.eye(rows)
    at = lambda left, right, scale: _at(teacher, left, right, scale, sigma)
    return TwoLayerSharpness(
        noise_equilibrium=at(root_eps, root_x, math.sqrt(b / a)),
        norm_balanced=at(one, np.eye(columns), 1.0),
        minimum=at(one, root_x, math.sqrt(rows / a)),
    )


def _at(teacher: Any, left: Any, right: Any, scale: float, sigma: Any) -> MinimumSharpness:
    """Return the sharpness where left U and W right are balanced, up to a relative scale.

    With left V right = L S R the minimum has U U^T = scale left^-1 L S L^T left^-1 and
    W^T W = right^-1 R^T S R right^-1 / scale.
    """
    l, s, r = np.linalg.svd(left @ teacher @ right, full_matrices=False)
    u = np.linalg.solve(left, l * np.sqrt(s)) * math.sqrt(scale)
    w = np.linalg.solve(right, r.T * np.sqrt(s)).T / math.sqrt(scale)
    root = _root(sigma)
    inputs = root @ w.T @ w @ root
    top = float(np.linalg.norm(u, 2)) ** 2
    trace = 2 * len(teacher) * np.trace(inputs) + 2 * np.trace(sigma) * np.sum(u**2)
    largest = 2 * np.linalg.eigvalsh(inputs + top * sigma)[-1]
    return MinimumSharpness(
        float(trace), float(largest), float(np.linalg.norm(u) / np.linalg.norm(w))
    )


def _covariance(name: str, value: Any, size: int) -> Any:
    matrix = np.asarray(value, dtype=float)
    if matrix.shape != (size, size) or not np.all(np.isfinite(matrix)):
        raise InputError(f"{name} must be a finite matrix of shape ({size}, {size})")
    if np.max(np.abs(matrix - matrix.T)) > 1e-10 * np.max(np.abs(matrix)):
        raise InputError(f"{name} is not symmetric; give a covariance")
    lowest = float(np.linalg.eigvalsh(matrix)[0])
    if lowest <= 1e-14 * float(np.max(np.abs(matrix))):
        raise InputError(f"{name} is not positive definite (smallest eigenvalue {lowest:.3g})")
    return matrix


def _root(matrix: Any) -> Any:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values)) @ vectors.T
