"""What number types hold: which round, which wrap around, and which are as good as real numbers.

NumPy's own `dtype.kind` is "V" for bfloat16, for most types of eight bits and for short integers of
`ml_dtypes`; what follows asks JAX instead.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def kind_of_type(dtype: Any) -> str:
    """Return "b", "i", "u", "f" or "c"; "k" for keys of random numbers.

    >>> [kind_of_type(t) for t in (bool, "int4", "uint8", "bfloat16", "float8_e4m3fn", complex)]
    ['b', 'i', 'u', 'f', 'f', 'c']
    """
    if jnp.issubdtype(dtype, jax.dtypes.extended):  # keys of random numbers
        return "k"
    dtype = np.dtype(dtype)
    for kind, parent in (
        ("f", jnp.floating), ("b", jnp.bool_), ("u", jnp.unsignedinteger), ("i", jnp.integer),
        ("c", jnp.complexfloating),
    ):  # fmt: skip
        if jnp.issubdtype(dtype, parent):
            return kind
    return dtype.kind


def rounds(dtype: Any) -> bool:
    """Tell whether a floating-point type is coarser than single precision.

    Single and double precision stand for the same real numbers; coarser types are functions.

    >>> [rounds(t) for t in ("float64", "float32", "float16", "bfloat16", int)]
    [False, False, True, True, False]
    """
    return kind_of_type(dtype) == "f" and np.dtype(dtype).name not in ("float32", "float64")


def wraps(dtype: Any) -> bool:
    """Tell whether integers of a type wrap around at sizes that losses meet.

    >>> [wraps(t) for t in ("int32", "int8", "uint32", "int4", float)]
    [False, True, True, True, False]
    """
    kind = kind_of_type(dtype)
    return kind == "u" or (kind == "i" and np.dtype(dtype).itemsize < 4)


def held(array: np.ndarray) -> np.ndarray:
    """Return an array in a type that NumPy computes with, entries unchanged."""
    kind = kind_of_type(array.dtype)
    if kind == "f" and rounds(array.dtype):
        return array.astype(np.float64)
    if array.dtype.kind not in "biufc" and kind in "iu":
        return array.astype(np.int64)
    return array
