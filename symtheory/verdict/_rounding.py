"""Whether a difference is rounding: the same points, and their neighbours, in two precisions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from symtheory.verdict._recheck import FLAGRANT, TOLERANCE

NEIGHBOURS = 6
_COARSE = 0.02
"""Relative differences above this are no rounding of single precision either."""
_SAME = 0.2
_RATIO = 1e-5
"""Rounding in double precision is at most this part of that in single precision (2^-29, and room
for the spread of both)."""

_FEW = 100 * float(np.finfo(float).eps)

Residual = Callable[[bool], tuple[np.ndarray, np.ndarray]]
"""double -> (what should vanish, size of its terms), at neighbours of one point."""


def tolerance(precise: bool) -> float:
    """Return the relative size of what needs no explanation."""
    return TOLERANCE if precise else _COARSE


def is_difference(
    residual: Residual, floor: Callable[[], np.ndarray], precise: bool, first: float, *, jumps: bool
) -> bool | None:
    """Tell whether what is left is a difference: True, False for rounding, None for neither.

    A difference persists at neighbouring points and is the same in single and in double precision;
    rounding is not, and scatters.

    Args:
        residual: Evaluates neighbours.
        floor: What rounding of the numbers on the way may leave, at the neighbours.
        precise: Whether the program computes in double precision throughout.
        first: What was left at the point itself, relative to the size of its terms.
        jumps: Whether one that does not persist is a sign of a jump there (of values, not of
            derivatives, which may be anything on a set of measure zero).
    """
    fine, scale = residual(True)
    good = np.isfinite(fine) & np.isfinite(scale)
    if not np.any(good):
        return None
    fine, scale = fine[good], scale[good]
    size = np.abs(fine)
    small = size <= tolerance(precise) * scale
    if not precise:
        return bool(np.mean(~small) >= 0.5)
    if np.all(small):
        return None if jumps and first > FLAGRANT else False
    coarse = _in_single_precision(residual, len(good))[good]
    # Where both are the same to the last bit, nothing was computed in single precision.
    known = np.isfinite(coarse) & (coarse != fine)
    apart = np.abs(np.where(known, coarse, 0.0) - fine)
    real = ~small & np.where(known, apart <= _SAME * size, size > FLAGRANT * scale)
    if np.any(real):
        real &= size > floor()[good]
    if np.mean(real) >= 0.5:
        return True
    explained = small | (known & (size <= _RATIO * apart))
    if np.mean(explained) >= 0.5:
        return False
    if np.mean(explained | (size <= floor()[good])) >= 0.5:
        return False
    # A difference is smooth: among neighbours it hardly changes, where rounding scatters.
    scatters = len(fine) > 2 and np.std(fine) >= 0.3 * abs(np.mean(fine))
    return False if scatters and np.all(size <= FLAGRANT * scale) else None


def _in_single_precision(residual: Residual, count: int) -> np.ndarray:
    try:
        return residual(False)[0]
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        # A program may hold arrays in double precision.
        return np.full(count, np.nan)


def left_by(magnitude: np.ndarray) -> np.ndarray:
    """Return what rounding leaves where numbers of some magnitude cancel."""
    return _FEW * magnitude
