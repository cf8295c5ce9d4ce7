"""Which casts are the identity in the semantics of real numbers.

Readings are about real numbers: single and double precision stand for the same real number, and a
cast between them is the identity. Casts to half precision (and `reduce_precision`) are how people
round on purpose, and casts to integers truncate; neither is the identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symtheory.errors import UnreadableError


def real_constant(domain: str, value: Any) -> np.ndarray:
    """Return a literal or captured array, which must be of real numbers, integers or booleans."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise UnreadableError(
            f"the {domain} domain cannot read values of type {array.dtype}; use real "
            "floating-point parameters and samples"
        )
    return array


def is_exact_cast(dtype: Any) -> bool:
    """Tell whether a cast to that type is the identity on real numbers."""
    return np.dtype(dtype).name in ("float32", "float64")


def is_rounding_cast(dtype: Any) -> bool:
    """Tell whether a cast to that type rounds on purpose: to half precision, or to fewer bits.

    >>> is_rounding_cast("float16"), is_rounding_cast("float32"), is_rounding_cast("int32")
    (True, False, False)
    """
    return np.dtype(dtype).kind not in "biuc" and not is_exact_cast(dtype)
