"""What experiments draw from their key."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st


def point(model: st.Model, key: jax.Array, scale: float = 1.0) -> Any:
    """Draw parameters with independent normal entries.

    >>> sorted(point(st.zoo.load("two-layer-linear").bound(), jax.random.key(0)))
    ['U', 'W']
    """
    sizes = [tuple(int(size) for size in shape) for shape in model.leaves.values()]
    keys = jax.random.split(key, len(sizes))
    leaves = [scale * jax.random.normal(k, shape) for k, shape in zip(keys, sizes, strict=True)]
    structure, _, _ = model.structure()
    return jax.tree.unflatten(jax.tree.structure(structure), leaves)


def covariance(key: jax.Array, size: int, spread: float = 4.0) -> np.ndarray:
    """Draw a covariance with eigenvalues between 1 and `spread` and random axes."""
    key_axes, key_values = jax.random.split(key)
    axes, _ = jnp.linalg.qr(jax.random.normal(key_axes, (size, size)))
    values = jax.random.uniform(key_values, (size,), minval=1.0, maxval=spread)
    return np.asarray((axes * values) @ axes.T)
