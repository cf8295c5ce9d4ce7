"""Two-layer linear nets y = V x + eps, and points of the orbit U W = V."""

from __future__ import annotations

from typing import Any

import numpy as np

import symtheory as st


def axes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw an orthogonal matrix."""
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def turned(values: Any, frame: np.ndarray) -> np.ndarray:
    """Return the covariance with these eigenvalues along the columns of an orthogonal matrix."""
    matrix = (frame * np.asarray(values, dtype=float)) @ frame.T
    return (matrix + matrix.T) / 2


def net(V: Any, cov_x: Any, cov_eps: Any) -> tuple[st.Model, Any]:
    """Return l = |U W x - y|^2 with as many hidden units as outputs, and its double rotation."""
    rows, columns = np.shape(V)
    example = st.zoo.load("two-layer-linear")
    model = example.sized(dx=columns, dy=rows, h=rows)
    symmetry = example.symmetries["double-rotation"]
    return model.bind(V=V, Sigma_x=cov_x, Sigma_eps=cov_eps), symmetry


def split(V: np.ndarray, stretch: Any = 1.0) -> dict[str, np.ndarray]:
    """Return the minimum U = L sqrt(s) g, W = g^-1 sqrt(s) R of V = L s R, g diagonal."""
    left, sizes, right = np.linalg.svd(V, full_matrices=False)
    g = np.broadcast_to(np.asarray(stretch, dtype=float), sizes.shape)
    return {"U": left * (np.sqrt(sizes) * g), "W": (np.sqrt(sizes) / g)[:, None] * right}
