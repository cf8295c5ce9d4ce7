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

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.simulation._lanes import over_replicas
from symtheory.simulation._observe import Observer
from symtheory.simulation._swept import Swept
from symtheory.simulation._width import WIDEST_ON_ACCELERATOR, block_width

CAPACITY = 256
"""Records that one call of the compiled program can hold, unless memory is short."""


@dataclasses.dataclass(frozen=True)
class Program:
    """What determines the compiled program.

    With `averaging`, observables measured at multiples of `every` enter running moments, and those
    at multiples of `keep` are recorded; without, both are the same. `swept` says which arrays of
    the model differ from call to call. `share` is the number of replicas per device: blocks on an
    accelerator are no wider.
    """

    model: Model
    dynamics: Any
    dtype: Any
    observers: tuple[Observer, ...]
    generator: Any
    key_shape: tuple[int, ...]
    averaging: bool = False
    capacity: int = CAPACITY
    share: int = WIDEST_ON_ACCELERATOR
    swept: Swept | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Engine:
    """Compiled functions for blocks of `width` replicas, which lie along the last axes.

    A block is (params, memory, moments). The noise of a step is a function of the key and of the
    number of the step, so it is drawn again rather than carried along. `observables` are the shapes
    of what is recorded, `drawn` the bytes of noise that one replica needs at hand, `parts` the
    functions of one replica with examples of their arguments. `segment(data, block, plan, values)`
    takes the data of the block's keys, and `plan` = (first, last, every, keep, since).
    """

    width: int
    drawn: int
    observables: dict[str, Any]
    parts: tuple[tuple[Any, tuple[Any, ...]], ...]
    start: Any
    segment: Any
    observe: Any


@functools.lru_cache(maxsize=64)
def engine(program: Program) -> Engine:
    """Return the compiled program for a model, a kind of dynamics, observables and keys."""
    model, dynamics, dtype = program.model, program.dynamics, program.dtype
    averaging, capacity, swept = program.averaging, program.capacity, program.swept
    arrays = swept.structure(dtype) if swept else {}

    def at(arrays: Any) -> Any:
        """Return the kernel, with swept arrays in place of their names."""
        return dynamics.kernel(swept.model_at(model, arrays), dtype) if swept else fixed

    fixed = None if swept else dynamics.kernel(model, dtype)
    kernel = at({name: jnp.zeros(x.shape, x.dtype) for name, x in arrays.items()})
    chunk = kernel.chunk
    wrap = functools.partial(jax.random.wrap_key_data, impl=program.generator)
    key = jax.eval_shape(wrap, jax.ShapeDtypeStruct(program.key_shape, jnp.uint32))
    index = jax.ShapeDtypeStruct((), jnp.int32)
    params = model.structure(dtype)[0]
    memory = jax.eval_shape(kernel.start, params)
    noise = jax.eval_shape(kernel.draw, key)
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), noise)
    one = one if chunk else noise
    settings = {name: jax.ShapeDtypeStruct((), dtype) for name in dynamics.settings()}
    width = block_width(kernel, params, memory, one, settings, program.share)

    def draw_one(key: Any, shared: Any) -> Any:
        number, arrays = shared
        return at(arrays).draw(jax.random.fold_in(key, number))

    def update_one(params: Any, memory: Any, noise: Any, values: Any) -> Any:
        return at(values[1]).update(params, memory, noise, values[0])

    def gradient_one(params: Any, noise: Any, arrays: Any) -> Any:
        return at(arrays).gradient(params, noise)

    draw_all = over_replicas(draw_one, (key,), (index, arrays))
    update = over_replicas(update_one, (params, memory, one), (settings, arrays))
    gradient = over_replicas(gradient_one, (params, one), arrays)
    measures = {}
    shapes = {}
    for observer in program.observers:
        examples = (params, params) if observer.needs_gradient else (params,)
        function = _as_array(observer.function)
        measures[observer.name] = over_replicas(function, examples)
        shapes[observer.name] = jax.eval_shape(function, *examples)
        if averaging and jnp.issubdtype(shapes[observer.name].dtype, jnp.complexfloating):
            raise InputError(
                f"observable {observer.name!r} is complex and cannot be averaged; observe its real "
                "and its imaginary part"
            )
    with_gradient = {o.name for o in program.observers if o.needs_gradient}

    def pick(noise: Any, step: Any) -> Any:
        if not chunk:
            return noise
        index = step % chunk
        return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, 0, False), noise)

    def measure(params: Any, noise: Any, step: Any, arrays: Any) -> dict[str, Any]:
        force = gradient(params, pick(noise, step), arrays) if with_gradient else None
        return {
            name: function(params, force) if name in with_gradient else function(params)
            for name, function in measures.items()
        }

    def zeros(structure: Any) -> Any:
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), structure)

    @functools.partial(jax.jit, compiler_options=_fewer_copies())
    def segment(data: Any, block: Any, plan: Any, values: Any) -> Any:
        """Advance from step `first` to `last`; average from `since` on, record always."""
        keys = wrap(data)
        first, last, every, keep, since = plan

        def piece(carry: Any) -> Any:
            """Advance until the next measurement, or until the noise at hand is used up."""
            t, number, state, moments, noise, records = carry
            wanted = t // chunk if chunk else jnp.zeros_like(t)
            noise = jax.lax.cond(
                wanted == number, lambda: noise, lambda: draw_all(keys, (wanted, values[1]))
            )
            if measures:

                def found(moments: Any) -> Any:
                    found = measure(state[0], noise, t, values[1])
                    if averaging:
                        moments = jax.lax.cond(
                            t >= since, lambda: welford(moments, found), lambda: moments
                        )
                    return found, moments

                now = t % every == 0
                seen, moments = jax.lax.cond(now, found, lambda m: (blank, m), moments)
                now = t % keep == 0 if averaging else now
                slot = jnp.where(now, t // keep - first // keep, capacity)
                records = jax.tree.map(
                    lambda all_, x: jax.lax.dynamic_update_index_in_dim(all_, x, slot, 0),
                    records,
                    seen,
                )
            # The next multiple itself may be beyond the largest 32-bit integer.
            ahead = jnp.minimum(every - t % every, last - t) if measures else last - t
            stop = t + (jnp.minimum(ahead, chunk - t % chunk) if chunk else ahead)
            state = jax.lax.fori_loop(
                t, stop, lambda i, now: update(*now, pick(noise, i), values), state
            )
            return stop, wanted, state, moments, noise, records

        params, memory, moments = block
        noise = zeros(jax.eval_shape(draw_all, keys, (0, values[1])))
        blank = zeros(jax.eval_shape(measure, params, noise, first, values[1]))
        records = jax.tree.map(lambda x: jnp.zeros((capacity + 1, *x.shape), x.dtype), blank)
        carry = (first, jnp.int32(-1), (params, memory), moments, noise, records)
        _, _, state, moments, _, records = jax.lax.while_loop(lambda c: c[0] < last, piece, carry)
        return (*state, moments), records

    @jax.jit
    def start(params: Any) -> Any:
        memory = jax.vmap(kernel.start, in_axes=-1, out_axes=-1)(params)
        if not averaging:
            return params, memory, ()
        kinds = {
            n: x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else dtype
            for n, x in shapes.items()
        }
        blank = {n: jnp.zeros((*x.shape, width), kinds[n]) for n, x in shapes.items()}
        return params, memory, (jnp.zeros(width, dtype), blank, blank)

    @jax.jit
    def observe(params: Any) -> dict[str, Any]:
        return {n: f(params) for n, f in measures.items() if n not in with_gradient}

    drawn = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(noise))
    parts = (
        (kernel.start, (params,)),
        (draw_one, (key, (index, arrays))),
        (update_one, (params, memory, one, (settings, arrays))),
        (gradient_one, (params, one, arrays)),
    )
    return Engine(width, drawn, shapes, parts, start, segment, observe)


@functools.lru_cache(maxsize=1)
def _fewer_copies() -> dict[str, Any] | None:
    """Return an option that lets XLA update a loop's state in place where it would copy it first.

    A step of a small model is then few enough operations for XLA to run them one after the other
    rather than hand them to other threads, which takes longer (measured: 18 % of all time). The
    numbers are the same to the last bit. Compilers that do not know the option do without.
    """
    if jax.default_backend() != "cpu":
        return None
    option = {"xla_cpu_copy_insertion_use_region_analysis": True}
    try:
        jax.jit(lambda x: x, compiler_options=option).lower(0.0).compile()
    except Exception:
        return None
    return option


def welford(moments: Any, found: dict[str, Any]) -> Any:
    """Return (count, means, sums of squared deviations) with one more measurement."""
    count, means, squares = moments
    count = count + 1
    new_means, new_squares = {}, {}
    for name, mean in means.items():
        x = found[name].astype(mean.dtype)
        new = new_means[name] = mean + (x - mean) / count.astype(mean.dtype)
        new_squares[name] = squares[name] + (x - mean) * (x - new)
    return count, new_means, new_squares


def _as_array(function: Any) -> Any:
    return lambda *args: jnp.asarray(function(*args))


def to_lanes(tree: Any) -> Any:
    """Move the replica axis from the front to the end."""
    return jax.tree.map(lambda x: np.ascontiguousarray(np.moveaxis(x, 0, -1)), tree)
