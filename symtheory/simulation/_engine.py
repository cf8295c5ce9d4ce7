"""The compiled part: a block of replicas advanced from one step to another.

Replicas run in blocks of fixed width, one compiled program for all: which arithmetic a replica
sees depends neither on how many others there are, nor on how many steps are asked for, nor on when
observables are recorded. So results agree to the last bit whatever these are.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.model import Model
from symtheory.simulation._lanes import KERNEL_ENTRIES, largest_small_product, over_replicas
from symtheory.simulation._observe import Observer

CAPACITY = 256
"""Records that one call of the compiled program can hold."""

_WIDEST = 128
_WIDEST_ON_ACCELERATOR = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Engine:
    """Compiled functions for blocks of `width` replicas, which lie along the last axes.

    A block is (params, memory, number of the chunk of noise at hand, noise).
    """

    width: int
    start: Any
    segment: Any
    observe: Any


@functools.lru_cache(maxsize=64)
def engine(
    model: Model, dynamics: Any, dtype: Any, observers: tuple[Observer, ...], key_type: Any
) -> Engine:
    """Return the compiled program for a model, a kind of dynamics, observables and keys."""
    kernel = dynamics.kernel(model, dtype)
    chunk = kernel.chunk
    key = jax.ShapeDtypeStruct((), key_type)
    index = jax.ShapeDtypeStruct((), jnp.int32)
    params = model.structure(dtype)[0]
    memory = jax.eval_shape(kernel.start, params)
    noise = jax.eval_shape(kernel.draw, key)
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), noise)
    one = one if chunk else noise
    settings = {name: jax.ShapeDtypeStruct((), dtype) for name in dynamics.settings()}
    width = _width(kernel, params, memory, one, settings)
    draw = over_replicas(lambda k, n: kernel.draw(jax.random.fold_in(k, n)), (key,), index)
    update = over_replicas(kernel.update, (params, memory, one), settings)
    gradient = over_replicas(kernel.gradient, (params, one))
    measures = {}
    for observer in observers:
        examples = (params, params) if observer.needs_gradient else (params,)
        measures[observer.name] = over_replicas(_as_array(observer.function), examples)
    with_gradient = {o.name for o in observers if o.needs_gradient}

    def at(noise: Any, step: Any) -> Any:
        if not chunk:
            return noise
        index = step % chunk
        return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, 0, False), noise)

    def measure(params: Any, noise: Any, step: Any) -> dict[str, Any]:
        force = gradient(params, at(noise, step)) if with_gradient else None
        return {
            name: function(params, force) if name in with_gradient else function(params)
            for name, function in measures.items()
        }

    def zeros(structure: Any) -> Any:
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), structure)

    @jax.jit
    def segment(keys: Any, block: Any, first: Any, last: Any, every: Any, values: Any) -> Any:
        """Advance from step `first` to `last`, recording at multiples of `every`."""

        def piece(carry: Any) -> Any:
            """Advance until the next record, or until the noise at hand is used up."""
            t, number, state, noise, records = carry
            wanted = t // chunk if chunk else jnp.zeros_like(t)
            noise = jax.lax.cond(wanted == number, lambda: noise, lambda: draw(keys, wanted))
            if measures:
                now = t % every == 0
                found = jax.lax.cond(now, lambda: measure(state[0], noise, t), lambda: blank)
                slot = jnp.where(now, t // every - first // every, CAPACITY)
                records = jax.tree.map(
                    lambda all_, x: jax.lax.dynamic_update_index_in_dim(all_, x, slot, 0),
                    records,
                    found,
                )
            stop = jnp.minimum((t // every + 1) * every, last)
            stop = jnp.minimum(stop, (wanted + 1) * chunk) if chunk else stop
            state = jax.lax.fori_loop(
                t, stop, lambda i, now: update(*now, at(noise, i), values), state
            )
            return stop, wanted, state, noise, records

        params, memory, number, noise = block
        blank = zeros(jax.eval_shape(measure, params, noise, first))
        records = jax.tree.map(lambda x: jnp.zeros((CAPACITY + 1, *x.shape), x.dtype), blank)
        carry = (first, number, (params, memory), noise, records)
        _, number, state, noise, records = jax.lax.while_loop(lambda c: c[0] < last, piece, carry)
        return (*state, number, noise), records

    @jax.jit
    def start(keys: Any, params: Any) -> Any:
        memory = jax.vmap(kernel.start, in_axes=-1, out_axes=-1)(params)
        return params, memory, jnp.int32(-1), zeros(jax.eval_shape(draw, keys, 0))

    @jax.jit
    def observe(params: Any) -> dict[str, Any]:
        return {n: f(params) for n, f in measures.items() if n not in with_gradient}

    return Engine(width, start, segment, observe)


def _as_array(function: Any) -> Any:
    return lambda *args: jnp.asarray(function(*args))


def _width(kernel: Any, params: Any, memory: Any, noise: Any, settings: Any) -> int:
    """Return how many replicas share a block: a power of two.

    On a CPU as many as keep every multiplied-out product within one fast kernel and the state in
    cache, or 1 if the products are large; an accelerator wants many.
    """
    if jax.default_backend() != "cpu":
        return _WIDEST_ON_ACCELERATOR
    product = largest_small_product(kernel.update, (params, memory, noise, settings))
    if not product:
        return 1
    entries = sum(int(leaf.size) for leaf in jax.tree.leaves((params, noise)))
    width = _WIDEST
    while width > 1 and width * max(product, entries // 8) >= KERNEL_ENTRIES:
        width //= 2
    return width


def to_lanes(tree: Any) -> Any:
    """Move the replica axis from the front to the end."""
    return jax.tree.map(lambda x: np.ascontiguousarray(np.moveaxis(x, 0, -1)), tree)
