"""JAX's own random numbers, several times faster on a CPU.

JAX compiles its Threefry generator to a loop of five passes over memory. Written out as plain
element-wise operations the twenty rounds fuse, together with the conversion to floats, into one
pass in registers (measured: 4 times faster for bits, 2 times for normal numbers, and a third of the
compilation time). Keys and numbers are the same to the last bit as those of `jax.random` with its
default settings, so a sample of the model can be drawn again outside of a simulation.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as jex_random

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def fused(key: jax.Array) -> jax.Array:
    """Return the same key, to be used by the fused generator if it is a Threefry key."""
    if str(jax.random.key_impl(key)) != "threefry2x32":
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_FUSED)


def _threefry(key: Any, high: Any, low: Any) -> tuple[Any, Any]:
    """Encrypt two-word counters: Threefry-2x32 with 20 rounds."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x, y = high + keys[0], low + keys[1]
    for group in range(5):
        for turn in _ROTATIONS[group % 2]:
            x = x + y
            y = x ^ ((y << np.uint32(turn)) | (y >> np.uint32(32 - turn)))
        x = x + keys[(group + 1) % 3]
        y = y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def _count(key: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    # One simulation draws far fewer than 2**32 numbers at a time: the high word stays 0.
    low = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return _threefry(key, jnp.zeros_like(low), low)


def is_fused(dtype: Any) -> bool:
    """Tell whether keys of this type use the fused generator."""
    return dtype == _DTYPE


def bits_over_replicas(keys: jax.Array, bit_width: int, shape: tuple[int, ...]) -> Any:
    """Return random bits of the given shape for each of (R,) keys, replicas last: (*shape, R)."""
    data = jax.random.key_data(keys)
    low = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(*shape, 1)
    return _bits(*_threefry((data[:, 0], data[:, 1]), jnp.zeros_like(low), low), bit_width)


def _random_bits(key: Any, bit_width: int, shape: tuple[int, ...]) -> Any:
    return _bits(*_count(key, shape), bit_width)


def _bits(x: Any, y: Any, bit_width: int) -> Any:
    if bit_width == 64:
        return (x.astype(jnp.uint64) << np.uint64(32)) | y.astype(jnp.uint64)
    return (x ^ y).astype({8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}[bit_width])


def _split(key: Any, shape: tuple[int, ...]) -> Any:
    return jnp.stack(_count(key, shape), axis=-1)


def _fold_in(key: Any, data: Any) -> Any:
    return jnp.stack(_threefry(key, jnp.uint32(0), jnp.asarray(data).astype(jnp.uint32)))


def _seed(seed: Any) -> Any:
    return jnp.stack([jnp.uint32(0), jnp.asarray(seed).astype(jnp.uint32)])


_FUSED = jex_random.define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="symtheory_threefry",
    tag="symtheory_fry",
)
_DTYPE = jax.eval_shape(
    lambda: jax.random.wrap_key_data(jnp.zeros(2, jnp.uint32), impl=_FUSED)
).dtype
