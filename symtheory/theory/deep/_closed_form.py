"""The noise equilibrium of deep linear nets, in closed form; numerically with weight decay."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from symtheory.errors import InputError
from symtheory.theory.deep._balance import assemble, balance, balance_residuals, root_of
from symtheory.verdict import Status, Verdict

_EPS = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True, eq=False)
class DeepLinear:
    """Layers of a deep linear net at its noise equilibrium.

    Attributes:
        layers: W_1, ..., W_D; W_i has shape (h_i, h_{i-1}), h_0 = dx, h_D = dy.
        rank: Rank of V; the net uses that many hidden units, and the others are zero.
        residuals: Relative residual of the balance of every pair of neighbouring layers, D - 1.
        product_error: |W_D ... W_1 - V|/|V|.
        verdict: Whether both are below 1e-12.
    """

    layers: tuple[np.ndarray, ...]
    rank: int
    residuals: tuple[float, ...]
    product_error: float
    verdict: Verdict


def deep_linear_equilibrium(
    V: Any,
    cov_x: Any,
    cov_eps: Any,
    depth: int,
    *,
    widths: Sequence[int] | None = None,
    weight_decay: float = 0.0,
    temperature: float = 1.0,
) -> DeepLinear:
    """Return the noise equilibrium of y = V x + eps learnt by W_D ... W_1 x with squared loss.

    With P_i = W_D ... W_{i+1}, Q_i = W_i ... W_1, every pair of neighbours must satisfy
      Tr(P_{i+1}^T Se P_{i+1}) Q_i Sx Q_i^T = Tr(Q_{i-1} Sx Q_{i-1}^T) P_i^T Se P_i.
    With sqrt(Se) V sqrt(Sx) = L S R, a = Tr Sx, b = Tr Se, t = Tr S and c = (t/sqrt(ab))^(1/D) the
    solution, unique up to rotations of the hidden bases, is
      W_1 sqrt(Sx) = sqrt(a/t) c S^(1/2) R,  W_i = c I,  sqrt(Se) W_D = sqrt(b/t) c L S^(1/2)
    (`deep_linear_proof`). Hidden units beyond rank V stay zero.

    With weight decay, T times the difference of the two sides is gamma times
    W_{i+1}^T W_{i+1} - W_i W_i^T. That is solved numerically on the orbit with product V: matrix
    geometric means of one pair after another, which descend a function convex on the orbit. (The
    minimum of the loss with decay has a smaller product; give that product as V to describe it.)

    Args:
        V: The teacher, shape (dy, dx), of any rank but zero.
        cov_x: Sx, covariance of the inputs, positive definite, shape (dx, dx).
        cov_eps: Se, covariance of the label noise, positive definite, shape (dy, dy).
        depth: D >= 2.
        widths: The D - 1 hidden widths, each at least rank V (default: rank V).
        weight_decay: gamma >= 0.
        temperature: T = eta/S > 0; only gamma/T matters.

    Raises:
        InputError: A shape does not fit, a covariance is not positive definite, V is zero, the
            depth is less than two, or a width less than the rank.

    Source: arXiv 2402.07193, section on deep linear nets; the proof and decay are this package's.

    >>> net = deep_linear_equilibrium([[1.0, 0.3], [-0.2, 0.7]], np.diag([1, 4]), np.eye(2), 3)
    >>> net.rank, max(net.residuals) < 1e-12, net.product_error < 1e-12
    (2, True, True)
    """
    teacher = np.asarray(V, dtype=np.float64)
    if teacher.ndim != 2 or not np.all(np.isfinite(teacher)):
        raise InputError(f"V must be a finite matrix of shape (dy, dx), got shape {teacher.shape}")
    sx = _covariance("cov_x", cov_x, teacher.shape[1])
    se = _covariance("cov_eps", cov_eps, teacher.shape[0])
    if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or depth < 2:
        raise InputError(f"depth must be an integer, at least 2, got {depth!r}")
    for name, value, allowed in (
        ("weight_decay", weight_decay, weight_decay >= 0),
        ("temperature", temperature, temperature > 0),
    ):
        if not (np.isfinite(value) and allowed):
            raise InputError(f"{name} must be finite and not negative (T positive), got {value!r}")
    root_x, root_eps = root_of(sx), root_of(se)
    left, sizes, right = np.linalg.svd(root_eps @ teacher @ root_x, full_matrices=False)
    rank = int(np.sum(sizes > max(teacher.shape) * _EPS * sizes[0])) if len(sizes) else 0
    if rank == 0:
        raise InputError(
            "V is zero: its only equilibrium is the collapsed net with all layers zero"
        )
    hidden = _widths(widths, depth, rank)
    left, sizes, right = left[:, :rank], sizes[:rank], right[:rank]
    a, b, t = float(np.trace(sx)), float(np.trace(se)), float(np.sum(sizes))
    layers = assemble(
        np.linalg.solve(root_eps, left),
        np.diag(np.sqrt(sizes)),
        np.linalg.solve(root_x, right.T).T,
        (np.sqrt(a / t), np.sqrt(b / t), (t / np.sqrt(a * b)) ** (1 / depth)),
        [np.eye(rank)] * (depth - 1),
    )
    ratio = weight_decay / temperature
    if ratio:
        layers = balance(layers, sx, se, ratio)
    frames = [np.eye(width, rank) for width in hidden]
    ends = [np.eye(teacher.shape[1]), *frames, np.eye(teacher.shape[0])]
    layers = [out @ w @ into.T for w, (into, out) in zip(layers, pairwise(ends), strict=True)]
    return _result(layers, teacher, sx, se, rank, ratio)


def _covariance(name: str, value: Any, size: int) -> np.ndarray:
    matrix = np.asarray(value, dtype=np.float64)
    if matrix.ndim == 0:
        matrix = matrix * np.eye(size)
    if matrix.shape != (size, size):
        raise InputError(f"{name} must have shape ({size}, {size}) to fit V, got {matrix.shape}")
    if not np.all(np.isfinite(matrix)):
        raise InputError(f"{name} has entries that are not finite")
    scale = float(np.max(np.abs(matrix)))
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-12 * scale):
        raise InputError(f"{name} is not symmetric; use (C + C^T)/2 if that is meant")
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if smallest <= 1e-13 * scale:
        raise InputError(
            f"{name} is not positive definite: its smallest eigenvalue is {smallest:.3g}; drop the "
            "directions without variance"
        )
    return (matrix + matrix.T) / 2


def _widths(widths: Sequence[int] | None, depth: int, rank: int) -> list[int]:
    if widths is None:
        return [rank] * (depth - 1)
    if len(widths) != depth - 1:
        raise InputError(f"a net of depth {depth} has {depth - 1} hidden widths, got {len(widths)}")
    for width in widths:
        if isinstance(width, bool) or int(width) != width or width < rank:
            raise InputError(
                f"hidden widths must be integers, at least rank V = {rank}, got {width!r}; a "
                "narrower net cannot represent V"
            )
    return [int(width) for width in widths]


def _result(
    layers: list[Any], teacher: Any, sx: Any, se: Any, rank: int, ratio: float
) -> DeepLinear:
    product = layers[0]
    for w in layers[1:]:
        product = w @ product
    error = float(np.linalg.norm(product - teacher) / np.linalg.norm(teacher))
    residuals = balance_residuals(layers, sx, se, weight_decay=ratio)
    worst = max(error, *residuals)
    verdict = Verdict(
        Status.SUPPORTED if worst < 1e-12 else Status.INCONCLUSIVE,
        "every pair of neighbouring layers is balanced and the product is V",
        how="double precision"
        + (", matrix geometric means" if ratio else ", closed form (deep_linear_proof)"),
        residual=worst,
        margin=1e-12,
        reference="arXiv 2402.07193, deep linear nets",
    )
    return DeepLinear(tuple(layers), rank, residuals, error, verdict)
