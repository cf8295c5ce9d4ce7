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


@dataclasses.dataclass(frozen=True, eq=False)
class Engine:
    """Compiled functions for blocks of `width` replicas, which lie along the last axes."""

    width: int
    start: Any
    segment: Any
    observe: Any


@functools.lru_cache(maxsize=64)
def engine(model: Model, dynamics: Any, dtype: Any, observers: tuple[Observer, ...]) -> Engine:
    """Return the compiled program for a model, a kind of dynamics and observables."""
    kernel = dynamics.kernel(model, dtype)
    chunk = kernel.chunk
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = model.structure(dtype)[0]
    memory = jax.eval_shape(kernel.start, params)
    noise = jax.eval_shape(kernel.draw, key)
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), noise)
    one = one if chunk else noise
    settings = {name: jax.ShapeDtypeStruct((), dtype) for name in dynamics.settings()}
    width = _width(kernel, params, memory, one, settings)
    update = over_replicas(kernel.update, (params, memory, one), settings)
    gradient = over_replicas(kernel.gradient, (params, one))
    measures = {}
    for observer in observers:
        examples = (params, params) if observer.needs_gradient else (params,)
        measures[observer.name] = over_replicas(_as_array(observer.function), examples)
    with_gradient = {o.name for o in observers if o.needs_gradient}

    def draw(keys: Any, step: Any) -> Any:
        number = step // chunk if chunk else 0
        return jax.vmap(lambda k: kernel.draw(jax.random.fold_in(k, number)), out_axes=-1)(keys)

    def at(noise: Any, step: Any) -> Any:
        if not chunk:
            return noise
        index = step % chunk
        return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, 0, False), noise)

    def measure(params: Any, force: Any) -> dict[str, Any]:
        return {
            name: function(params, force) if name in with_gradient else function(params)
            for name, function in measures.items()
        }

    @jax.jit
    def segment(keys: Any, params: Any, memory: Any, first: Any, last: Any, every: Any, values: Any):
        """Advance from step `first` to `last`, recording at multiples of `every`."""

        def step(t: Any, state: Any, noise: Any) -> Any:
            return update(*state, at(noise, t), values)

        def piece(carry: Any, target: Any) -> Any:
            t, state, noise = carry
            stop = jnp.minimum(target, (t // chunk + 1) * chunk) if chunk else target
            state = jax.lax.fori_loop(t, stop, lambda i, s: step(i, s, noise), state)
            if chunk:
                fresh = stop % chunk == 0
                noise = jax.lax.cond(fresh, lambda: draw(keys, stop), lambda: noise)
            return stop, state, noise

        def period(carry: Any) -> Any:
            (t, state, noise), index, records = carry
            force = gradient(state[0], at(noise, t)) if with_gradient else None
            now = measure(state[0], force)
            records = jax.tree.map(
                lambda all_, x: jax.lax.dynamic_update_index_in_dim(all_, x, index, 0),
                records,
                now,
            )
            target = jnp.minimum((t // every + 1) * every, last)
            carry = jax.lax.while_loop(
                lambda c: c[0] < target, lambda c: piece(c, target), (t, state, noise)
            )
            return carry, index + 1, records

        force = params if with_gradient else None
        shapes = jax.eval_shape(measure, params, force)
        records = jax.tree.map(lambda x: jnp.zeros((CAPACITY, *x.shape), x.dtype), shapes)
        carry = ((first, (params, memory), draw(keys, first)), jnp.zeros_like(first), records)
        (_, state, _), _, records = jax.lax.while_loop(lambda c: c[0][0] < last, period, carry)
        return (*state, records)

    @jax.jit
    def observe(params: Any) -> dict[str, Any]:
        return {n: f(params) for n, f in measures.items() if n not in with_gradient}

    start = jax.jit(jax.vmap(kernel.start, in_axes=-1, out_axes=-1))
    return Engine(width, start, segment, observe)


def _as_array(function: Any) -> Any:
    return lambda *args: jnp.asarray(function(*args))


def _width(kernel: Any, params: Any, memory: Any, noise: Any, settings: Any) -> int:
    """Return how many replicas share a block: a power of two up to `_WIDEST`, or 1.

    As many as keep every multiplied-out product within one fast kernel, and the state in cache.
    """
    product = largest_small_product(kernel.update, (params, memory, noise, settings))
    if not product:
        return 1
    state = [leaf.size for leaf in jax.tree.leaves((params, noise))]
    entries = max(product, sum(int(size) for size in state) // 8, 1)
    width = _WIDEST
    while width > 1 and width * entries >= KERNEL_ENTRIES:
        width //= 2
    return width


def to_lanes(tree: Any) -> Any:
    """Move the replica axis from the front to the end."""
    return jax.tree.map(lambda x: np.ascontiguousarray(np.moveaxis(x, 0, -1)), tree)
