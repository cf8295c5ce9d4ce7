"""Places that are not known, such as labels in a sample: what can be said wherever they point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_INDEXED = ("gather", "dynamic_slice")


def indexed_axes(name: str, shape: Sequence[int], params: dict[str, Any]) -> list[int] | None:
    """Return the axes of an operand of which places choose a part; None where that is not known.

    Along all others every place takes the whole axis, so that what is the same for every entry of
    the returned axes is the same wherever the places point. (Places beyond the end are moved back,
    or give NaN or 0, which stand for nothing and for every degree.)
    """
    if name not in _INDEXED:
        return None
    fill = params.get("fill_value")
    if fill is not None and fill != 0 and not math.isnan(fill):
        return None
    return [axis for axis, n in enumerate(shape) if params["slice_sizes"][axis] != n]


def first_places(shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Return places that stand for any others: the first entry."""
    return [np.zeros(shape, dtype=np.int64) for shape in shapes]
