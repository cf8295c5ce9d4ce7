"""The stationary covariance of fluctuations around a minimum: HK + KH = T Sigma."""

from __future__ import annotations

from typing import Any

import numpy as np


def lyapunov(matrix: Any, source: Any) -> np.ndarray:
    """Return the symmetric X with NX + XN = Q, for a symmetric positive definite N.

    Args:
        matrix: N, of shape (n, n).
        source: Q, symmetric, of shape (n, n).

    >>> lyapunov(np.diag([1.0, 3.0]), np.ones((2, 2))).tolist()
    [[0.5, 0.25], [0.25, 0.16666666666666666]]
    """
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ ((vectors.T @ source @ vectors) / np.add.outer(values, values)) @ vectors.T


def lyapunov_on_range(hessian: Any, source: Any, tolerance: float = 1e-9) -> np.ndarray:
    """Return the K on range(H) with HK + KH = Q projected there, for H positive semidefinite.

    Args:
        hessian: H, of shape (d, d).
        source: Q, symmetric, of shape (d, d).
        tolerance: Eigenvalues of H below this fraction of the largest count as zero.

    >>> lyapunov_on_range(np.diag([2.0, 0.0]), np.diag([4.0, 0.0])).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    values, vectors = np.linalg.eigh(hessian)
    kept = vectors[:, values > tolerance * values[-1]]
    return kept @ lyapunov(kept.T @ hessian @ kept, kept.T @ source @ kept) @ kept.T
