"""The static bias: drawn once from a key, leaf by leaf, and the diagonal of the advanced form."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from symtheory import shapes
from symtheory.errors import InputError

Sigma = float | Callable[[str, tuple[int, ...]], float] | None

_RELATIVE = 0.01
_BITS = 20


def fan_in(shape: tuple[int, ...], in_axis: int = -1) -> int:
    """Return the number of inputs of a weight: its size along `in_axis` times its window.

    A vector or a scalar counts all its entries. `in_axis=-1` fits W @ x (and PyTorch), -2 fits
    x @ W (Flax, and convolutions laid out as height, width, in, out).

    >>> fan_in((4, 3)), fan_in((4, 3), in_axis=-2), fan_in((3, 3, 8, 16), in_axis=-2), fan_in((5,))
    (3, 4, 72, 5)
    """
    if len(shape) <= 1:
        return max(math.prod(shape), 1)
    if not -len(shape) <= in_axis < len(shape):
        raise InputError(f"in_axis is {in_axis}, but a leaf has the shape {shape}; give an axis")
    channels = {len(shape) - 1, len(shape) - 2}
    inside = in_axis % len(shape)
    window = math.prod(n for axis, n in enumerate(shape) if axis not in channels | {inside})
    return max(shape[inside] * window, 1)


def sigma_of(sigma0: Sigma, name: str, shape: tuple[int, ...], in_axis: int) -> Any:
    """Return sigma_0 of one leaf, .01/sqrt(fan-in) by default.

    Raises:
        InputError: sigma_0 is not a positive finite number.
    """
    if sigma0 is None:
        return _RELATIVE / math.sqrt(fan_in(shape, in_axis))
    value = sigma0(name, shape) if callable(sigma0) else sigma0
    if isinstance(value, Tracer):
        return value
    if np.ndim(value) != 0 or not (np.isfinite(value) and value > 0):
        where = f" for {name!r}" if callable(sigma0) else ""
        raise InputError(
            f"sigma0 is {value!r}{where}; the bias needs a spread: give a positive number, or "
            "None for .01/sqrt(fan-in)"
        )
    return float(value)


def draw_bias(key: Any, params: Any, sigma0: Sigma = None, *, in_axis: int = -1) -> Any:
    """Draw theta_0 ~ N(0, sigma_0^2), a pytree like `params`.

    Every leaf has its own key, made from its name, so that adding a leaf, or masking one, never
    changes the others. Entries are multiples of a power of two, 20 bits below sigma_0: the same in
    single and double precision, and read by exact arithmetic as they are.

    Args:
        key: A key of `jax.random`, or an integer.
        params: The parameters, or their `jax.ShapeDtypeStruct`s.
        sigma0: One number, a function of (name, shape), or None for .01/sqrt(fan-in) of each leaf.
        in_axis: Which axis of a weight counts its inputs; see `fan_in`.

    Raises:
        InputError: A parameter is no real floating-point array, or sigma_0 is not positive.

    Source: arXiv 2408.15495, the algorithm and its default of one per cent of the initialization.

    >>> bias = draw_bias(0, {"W": jnp.zeros((100, 4))})
    >>> round(float(jnp.std(bias["W"])) / (0.01 / 2), 1)
    1.0
    """
    key = canonical(key)

    def leaf(path: Any, value: Any) -> Any:
        name = dotted(path)
        check_real(name, value)
        sigma = sigma_of(sigma0, name, tuple(value.shape), in_axis)
        normal = jax.random.normal(leaf_key(key, name), value.shape, jnp.float32)
        exponent = jnp.floor(jnp.log2(jnp.float32(sigma))).astype(jnp.int32) - _BITS
        step = jnp.ldexp(jnp.float32(1), exponent)  # exp2 would not be exact
        return (jnp.round(normal * jnp.float32(sigma) / step) * step).astype(value.dtype)

    return jax.tree_util.tree_map_with_path(leaf, params)


def draw_diagonal(key: Any, params: Any, sigma_d: float) -> Any:
    """Draw D_ii ~ U(1 - sigma_D, 1 + sigma_D), a pytree like `params`.

    Raises:
        InputError: sigma_D is not in (0, 1), where D has to be positive.

    Source: arXiv 2408.15495, the advanced form, for symmetries with uncountably many reflections.
    """
    if not 0 < sigma_d < 1:
        raise InputError(
            f"sigma_d is {sigma_d!r}; D must be positive with distinct entries: give a number "
            "between 0 and 1, or leave it out"
        )
    key = canonical(key)

    def leaf(path: Any, value: Any) -> Any:
        check_real(dotted(path), value)
        own = jax.random.fold_in(leaf_key(key, dotted(path)), 1)
        drawn = jax.random.uniform(own, value.shape, jnp.float32, 1 - sigma_d, 1 + sigma_d)
        return drawn.astype(value.dtype)

    return jax.tree_util.tree_map_with_path(leaf, params)


def check_diagonal(diagonal: Any, *, distinct: bool = True) -> None:
    """Check that a given D is positive and, as the theorem needs, has no entry twice.

    Raises:
        InputError: Naming the leaf or the entry.
    """
    entries = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(diagonal)[0]:
        if isinstance(leaf, Tracer):
            return
        array = np.asarray(leaf, dtype=float)
        if not np.all(np.isfinite(array) & (array > 0)):
            raise InputError(
                f"diagonal has an entry {array.min():g} in {dotted(path)!r}; D must be positive"
            )
        entries.append(array.reshape(-1))
    flat = np.sort(np.concatenate(entries)) if entries else np.zeros(0)
    twice = flat[1:][flat[1:] == flat[:-1]]
    if distinct and twice.size:
        raise InputError(
            f"diagonal has the entry {twice[0]:g} more than once; reflections inside equal entries "
            "would stay: give distinct entries, or sigma_d to draw them"
        )


def check_decay(weight_decay: Any) -> None:
    """Check gamma, and warn where it is 0.

    Raises:
        InputError: gamma is negative or no finite number.
    """
    import warnings

    if callable(weight_decay) or isinstance(weight_decay, Tracer):
        return
    if np.ndim(weight_decay) != 0 or not np.isfinite(weight_decay) or weight_decay < 0:
        raise InputError(
            f"weight_decay is {weight_decay!r}; removal needs gamma > 0: give a positive number "
            "(the decay term is gamma |theta|^2, half of a framework's weight decay)"
        )
    if weight_decay == 0:
        warnings.warn(
            "weight_decay is 0, so no symmetry is removed: removal needs gamma > 0", stacklevel=3
        )


def check_real(name: str, value: Any) -> None:
    """Check that a parameter is a real floating-point array.

    Raises:
        InputError: Naming the parameter and its type.
    """
    kind = getattr(value, "dtype", None)
    if kind is None or not jnp.issubdtype(kind, jnp.floating):
        raise InputError(
            f"the parameter {name!r} has the type {kind or type(value).__name__}; decay towards a "
            "drawn bias needs floating-point arrays: leave it out with mask"
        )


def canonical(key: Any) -> Any:
    """Return a key; integers stand for their seed, as in optax."""
    return jax.random.key(key) if isinstance(key, (int, np.integer)) else key


def leaf_key(key: Any, name: str) -> Any:
    """Return the key of one leaf: it depends on the leaf's name and on nothing else."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)


def dotted(path: Any) -> str:
    """Return the dotted name of a leaf."""
    return shapes.path_text(path)
