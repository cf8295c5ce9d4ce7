"""The balance of neighbouring layers in a deep linear net: both sides of it, and reaching it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from symtheory.errors import InputError

_SWEEPS = 20_000


def assemble(
    left: Any, middle: Any, right: Any, scales: tuple[Any, Any, Any], frames: Sequence[Any]
) -> list[Any]:
    """Return the closed form's layers; floats and exact fractions alike.

    Args:
        left: Se^(-1/2) L, shape (dy, r).
        middle: S^(1/2), shape (r, r).
        right: R Sx^(-1/2), shape (r, dx).
        scales: sqrt(a/t), sqrt(b/t) and c.
        frames: U_1, ..., U_{D-1}: orthonormal columns, shapes (h_i, r).
    """
    alpha, beta, c = scales
    first = frames[0] @ middle @ right * (alpha * c)
    inner = [after @ before.T * c for before, after in pairwise(frames)]
    return [first, *inner, left @ middle @ frames[-1].T * (beta * c)]


def balance_sides(layers: Sequence[Any], cov_x: Any, cov_eps: Any, ratio: Any = 0) -> list[Any]:
    """Return both sides of the balance of every pair; floats and exact fractions alike.

    Args:
        layers: W_1, ..., W_D.
        cov_x: Sx.
        cov_eps: Se.
        ratio: gamma/T; the sides get gamma/T times W_i W_i^T and W_{i+1}^T W_{i+1}.
    """
    depth = len(layers)
    inputs, outputs = [cov_x], [cov_eps]
    for w in layers:
        inputs.append(w @ inputs[-1] @ w.T)  # Q_i Sx Q_i^T
    for w in reversed(layers):
        outputs.append(w.T @ outputs[-1] @ w)  # P_i^T Se P_i
    outputs.reverse()
    out = []
    for i in range(1, depth):
        lower = inputs[i] * np.trace(outputs[i + 1])
        upper = outputs[i] * np.trace(inputs[i - 1])
        if ratio:
            lower = lower + layers[i - 1] @ layers[i - 1].T * ratio
            upper = upper + layers[i].T @ layers[i] * ratio
        out.append((lower, upper))
    return out


def balance_residuals(
    layers: Sequence[Any],
    cov_x: Any,
    cov_eps: Any,
    *,
    weight_decay: float = 0.0,
    temperature: float = 1.0,
) -> tuple[float, ...]:
    """Return |left - right|/(|left| + |right|) for the balance of every pair of neighbours."""
    sides = balance_sides(layers, cov_x, cov_eps, weight_decay / temperature)
    return tuple(
        float(np.linalg.norm(x - y) / max(np.linalg.norm(x) + np.linalg.norm(y), 1e-300))
        for x, y in sides
    )


def balance(layers: Sequence[Any], cov_x: Any, cov_eps: Any, ratio: float = 0.0) -> list[Any]:
    """Balance pairs one after another by W_{i+1} g, g^-1 W_i, g^2 = N_1^-1 # N_2, until all are.

    Each step is the exact minimum over one g of a function that is convex on the whole orbit, so
    the sweeps converge to the equilibrium from any start with full-rank factors.

    Raises:
        InputError: They did not converge.
    """
    layers = [np.asarray(w, dtype=np.float64) for w in layers]
    best, since = np.inf, 0
    for _ in range(_SWEEPS):
        for i in range(len(layers) - 1):
            lower, upper = balance_sides(layers, cov_x, cov_eps, ratio)[i]
            g = root_of(_geometric_mean(upper, lower))
            layers[i + 1] = layers[i + 1] @ g
            layers[i] = np.linalg.solve(g, layers[i])
        left = max(
            np.linalg.norm(x - y) / (np.linalg.norm(x) + np.linalg.norm(y))
            for x, y in balance_sides(layers, cov_x, cov_eps, ratio)
        )
        since = 0 if left < 0.9 * best else since + 1
        best = min(best, left)
        if best < 1e-14 or (best < 1e-12 and since > 20):
            return layers
    raise InputError(
        f"the layers were not balanced in {_SWEEPS} sweeps (residual {best:.2g}); the covariances "
        "or V are too badly conditioned for double precision"
    )


def _geometric_mean(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the positive definite X with X N_1 X = N_2."""
    root = root_of(first)
    inverse = np.linalg.inv(root)
    return inverse @ root_of(root @ second @ root) @ inverse


def root_of(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
