"""Ensembles of trajectories: the loop over segments, and what happens when one diverges."""

from __future__ import annotations

import concurrent.futures
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.simulation import _checks
from symtheory.simulation._engine import CAPACITY, Engine, engine, to_lanes
from symtheory.simulation._generator import fused
from symtheory.simulation._observe import observers
from symtheory.simulation._run import Divergence, Run

_SECONDS_PER_SEGMENT = 1.0
_HALVINGS = 40


def simulate(
    model: Model,
    dynamics: Any,
    *,
    params: Any,
    steps: int,
    replicas: int = 1,
    key: jax.Array,
    observe: Any = None,
    record_every: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Simulate independent replicas of a dynamics.

    Args:
        model: The model; nothing may be left to bind.
        dynamics: `SGD`, `SDE` or `GradientFlow`.
        params: Where to start: one set of parameters for all replicas, or one per replica along a
            leading axis. Their precision is the precision of the simulation (as far as JAX's
            64-bit mode allows).
        steps: Number of steps.
        replicas: Number of trajectories R. Replica r draws from `fold_in(key, r)`.
        key: A JAX random key.
        observe: None, a function of the parameters that returns a number or an array, a dictionary
            of such functions by name, or an object with a method `observables()` that returns one.
            A function with the attribute `needs_gradient = True` is called with the parameters and
            the gradient about to be applied (of the batch, without weight decay). Functions are
            compiled, once for each function object: pass the same ones again rather than new
            lambdas.
        record_every: Steps between records; by default such that there are about 200.
        progress: Called now and then with (steps done, steps in all).

    Returns:
        A `Run`. If parameters become infinite or undefined it stops before that step and says so
        in `divergence`, with the largest halving of the rate at which a run stays finite for four
        times as many steps.

    The same key gives the same trajectories, to the last bit on the same machine, whatever
    `replicas`, `steps` and `record_every` are.

    Raises:
        InputError: The model is not bound, the parameters do not fit, or a number is out of range.

    Source: arXiv 2402.07193, section 2.

    >>> from symtheory.data import Normal
    >>> from symtheory.simulation import SGD, simulate
    >>> model = Model(lambda p, z: (p["u"] * p["w"] * z["x"] - z["y"]) ** 2,
    ...               params={"u": (), "w": ()}, random={"x": Normal(()), "y": Normal(())})
    >>> run = simulate(model, SGD(learning_rate=0.01), params={"u": 1.0, "w": 0.5}, steps=100,
    ...                replicas=3, key=jax.random.key(0), observe=lambda p: p["u"] ** 2)
    >>> run.params["u"].shape, run.observables["<lambda>"].shape, run.diverged
    ((3,), (3, 100), False)
    """
    model.require_bound()
    steps = _checks.count("steps", steps)
    replicas = _checks.count("replicas", replicas)
    if steps >= 2**31:
        raise InputError(f"steps must be below 2**31, got {steps}; continue from the last params")
    every = max(1, round(steps / 200)) if record_every is None else record_every
    every = min(_checks.count("record_every", every), steps)
    if not all(hasattr(dynamics, name) for name in ("kernel", "settings", "static")):
        raise InputError(f"dynamics must be SGD, SDE or GradientFlow, got {dynamics!r}")
    key = _as_key(key)
    initial, dtype = _initial(model, params, replicas)
    ensemble = _Ensemble(model, dynamics, dtype, initial, replicas, key, observers(observe))
    began = time.perf_counter()
    records, failed = ensemble.advance(steps, every, progress)
    divergence = None
    if failed is not None:
        divergence = _divergence(ensemble, initial, steps, failed)
    return Run(
        model=model,
        dynamics=dynamics,
        steps=steps,
        completed=ensemble.done,
        replicas=replicas,
        record_every=every,
        record_steps=np.arange(0, ensemble.done, every),
        observables=records,
        final=ensemble.final(),
        params=ensemble.params(),
        initial=initial,
        seconds=time.perf_counter() - began,
        divergence=divergence,
    )


@jax.jit
def _replica_keys(key: jax.Array, replicas: Any) -> jax.Array:
    return fused(jax.vmap(lambda r: jax.random.fold_in(key, r))(replicas))


def _as_key(key: Any) -> jax.Array:
    """Return a typed key; the older form, two integers, is one too."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.shape == ():
            return key
    elif np.shape(key) == (2,) and np.asarray(key).dtype == np.uint32:
        return jax.random.wrap_key_data(jnp.asarray(key))
    raise InputError(f"key must be one JAX random key such as jax.random.key(0), got {key!r}")


class _Ensemble:
    """All blocks of replicas, at one step."""

    def __init__(self, model, dynamics, dtype, initial, replicas, key, observers_) -> None:
        self.parts = (model, dtype, key)
        self.dynamics, self.replicas = dynamics, replicas
        self.values = {n: np.asarray(v, dtype) for n, v in dynamics.settings().items()}
        kind = fused(key).dtype
        self.engine: Engine = engine(model, dynamics.static(), dtype, observers_, kind)
        width = self.engine.width
        # The last block is filled up with copies of the last replica, which nobody looks at.
        self.blocks = -(-replicas // width)
        index = np.arange(self.blocks * width).reshape(self.blocks, width)
        self.keys = [_replica_keys(key, row) for row in index]
        rows = np.minimum(index, replicas - 1)
        self.states = []
        for row, keys in zip(rows, self.keys, strict=True):
            block = jax.device_put(to_lanes(jax.tree.map(lambda x, row=row: x[row], initial)))
            self.states.append(self.engine.start(keys, block))
        self.done = 0

    def call(self, block: int, state: Any, first: int, last: int, every: int) -> Any:
        """Advance one block; returns it and its records."""
        bounds = (np.int32(first), np.int32(last), np.int32(every))
        out = self.engine.segment(self.keys[block], state, *bounds, self.values)
        return jax.block_until_ready(out)

    def each(self, function: Callable[[int], Any]) -> list[Any]:
        """Apply a function to the numbers of the blocks, on all cores."""
        if self.blocks == 1:
            return [function(0)]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(function, range(self.blocks)))

    def advance(
        self, steps: int, every: int, progress: Callable[[int, int], None] | None = None
    ) -> tuple[dict[str, np.ndarray], tuple[int, int] | None]:
        """Advance all blocks to `steps`; returns the records and the first failure, if any."""
        kept: list[dict[str, np.ndarray]] = []
        length, failed = 1024, None
        while self.done < steps and failed is None:
            first = self.done
            last = min(steps, first + length, (first // every + CAPACITY) * every)
            began = time.perf_counter()
            outs = self.each(lambda b: self.call(b, self.states[b], first, last, every))  # noqa: B023
            seconds = time.perf_counter() - began
            bad = [b for b, out in enumerate(outs) if not self._finite(b, out[0][0]).all()]
            if bad:
                failed = min(self._first_failure(b, first, last, every) for b in bad)
                last = failed[0]
                outs = self.each(lambda b: self.call(b, self.states[b], first, last, every))  # noqa: B023
            if last > first:
                kept.append(self._records([out[1] for out in outs], first, last, every))
            self.states = [out[0] for out in outs]
            self.done = last
            if progress is not None:
                progress(self.done, steps)
            if seconds < _SECONDS_PER_SEGMENT / 4:
                length *= 4
            elif seconds > 2 * _SECONDS_PER_SEGMENT:
                length = max(1, length // 2)
        joined = {}
        for name in kept[0] if kept else ():
            joined[name] = np.concatenate([part[name] for part in kept], axis=1)
        return joined, failed

    def _finite(self, block: int, params: Any) -> np.ndarray:
        """Return which replicas of a block are finite; the copies that fill it up count as such."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
        good = [np.isfinite(x).all(axis=tuple(range(x.ndim - 1))) for x in leaves]
        out = np.logical_and.reduce(good)
        out[self.replicas - block * self.engine.width :] = True
        return out

    def _first_failure(self, block: int, first: int, last: int, every: int) -> tuple[int, int]:
        """Return (step, replica) of a block's first non-finite update, by bisection.

        What is not finite stays so, and the same program from the same state gives the same
        numbers: half the interval is run again each time, so in all about as long as it took.
        """
        state = self.states[block]
        while last - first > 1:
            middle = (first + last) // 2
            after, _ = self.call(block, state, first, middle, every)
            if self._finite(block, after[0]).all():
                first, state = middle, after
            else:
                last = middle
        after, _ = self.call(block, state, first, last, every)
        lane = int(np.argmin(self._finite(block, after[0])))
        return first, block * self.engine.width + lane

    def _records(self, blocks: list[Any], first: int, last: int, every: int) -> dict[str, Any]:
        """Return the records at multiples of `every` from `first` on, replicas in front."""
        starts = 0 if first % every == 0 else 1  # a segment may begin between two records
        stops = (last - 1) // every - (first // every) + 1
        out = {}
        for name in blocks[0]:
            parts = [np.moveaxis(np.asarray(b[name])[starts:stops], -1, 0) for b in blocks]
            out[name] = np.concatenate(parts)[: self.replicas]
        return out

    def params(self) -> Any:
        """Return the parameters with the replica axis in front."""
        return self._join([state[0] for state in self.states])

    def final(self) -> dict[str, np.ndarray]:
        """Return the observables of the parameters alone."""
        return self._join([self.engine.observe(state[0]) for state in self.states])

    def _join(self, blocks: list[Any]) -> Any:
        def join(*parts: Any) -> np.ndarray:
            moved = [np.moveaxis(np.asarray(part), -1, 0) for part in parts]
            return np.ascontiguousarray(np.concatenate(moved)[: self.replicas])

        return jax.tree.map(join, *blocks)


def _divergence(
    ensemble: _Ensemble, initial: Any, steps: int, failed: tuple[int, int]
) -> Divergence:
    """Return where the run diverged, and the largest halving of the rate that does not."""
    step, replica = failed
    model, dtype, key = ensemble.parts
    trial_steps = min(steps, 4 * (step + 1))
    rate, stable = ensemble.dynamics.rate, None
    for _ in range(_HALVINGS):
        rate = rate / 2
        dynamics = ensemble.dynamics.at_rate(rate)
        trial = _Ensemble(model, dynamics, dtype, initial, ensemble.replicas, key, ())
        if trial.advance(trial_steps, trial_steps)[1] is None:
            stable = rate
            break
    return Divergence(replica, step, stable, trial_steps)


def _initial(model: Model, params: Any, replicas: int) -> tuple[Any, np.dtype]:
    """Return the parameters with a leading axis of length `replicas`, and their precision."""
    leaves = jax.tree.leaves(params)
    wanted = list(model.leaves.values())
    batched = len(leaves) == len(wanted) and all(
        np.shape(leaf) == (replicas, *shape) for leaf, shape in zip(leaves, wanted, strict=True)
    )
    # A shape such as (R,) for a scalar parameter is read as one value per replica.
    model.check_params(jax.tree.map(lambda x: np.asarray(x)[0], params) if batched else params)
    if not all(np.all(np.isfinite(np.asarray(leaf))) for leaf in leaves):
        raise InputError("the initial parameters are not finite; give finite numbers")
    dtype = np.dtype(jnp.result_type(*leaves, jnp.zeros((), jnp.bfloat16).dtype))
    if dtype not in (np.float32, np.float64):
        dtype = np.dtype(jnp.result_type(float))

    def spread(leaf: Any) -> np.ndarray:
        array = np.asarray(leaf, dtype)
        return array if batched else np.broadcast_to(array, (replicas, *array.shape))

    return jax.tree.map(spread, params), dtype
