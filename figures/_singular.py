"""Counts of singular values that were kept, at several thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from figures._spread import THRESHOLDS

# Below the rounding of single precision there are no features. It decides what counts relative to
# the largest value once all have collapsed, so captions and claims that lean on it say so.
NOTHING = 1e-6


def above(
    values: np.ndarray, scale: Any = None, thresholds: Sequence[float] = THRESHOLDS
) -> np.ndarray:
    """Return how many of the last axis are above each threshold: (..., thresholds).

    Args:
        values: Singular values, the largest first.
        scale: What the thresholds are relative to; the largest value if omitted, at least NOTHING.
        thresholds: Parts of the scale.
    """
    base = values[..., 0] if scale is None else scale
    base = np.maximum(base, NOTHING)[..., None]
    return np.stack([np.sum(values > t * base, axis=-1) for t in thresholds], axis=-1)
