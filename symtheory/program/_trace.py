"""Trace a JAX function in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr


def trace(function: Callable[..., Any], *structures: Any) -> tuple[ClosedJaxpr, Any]:
    """Return the jaxpr of `function` in double precision and the structure of its output.

    Args:
        function: A JAX function.
        *structures: Its arguments as pytrees of `jax.ShapeDtypeStruct`.
    """
    with jax.enable_x64(True):

        def widen(leaf: Any) -> jax.ShapeDtypeStruct:
            floating = jnp.issubdtype(leaf.dtype, jnp.floating)
            return jax.ShapeDtypeStruct(leaf.shape, np.float64 if floating else leaf.dtype)

        wide = jax.tree.map(widen, structures)
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*wide)
    return closed, jax.tree.structure(shape)
