"""What a caller of `simulate` or `sweep` asks for, checked and set up."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.simulation import _checks
from symtheory.simulation._blocks import Cell, Schedule
from symtheory.simulation._checkpoint import Checkpoint
from symtheory.simulation._devices import placement, require_same_run, share, together
from symtheory.simulation._engine import Program
from symtheory.simulation._ensemble import Ensemble
from symtheory.simulation._fingerprint import describe
from symtheory.simulation._generator import fused
from symtheory.simulation._memory import fit
from symtheory.simulation._observe import observers
from symtheory.simulation._progress import reporter


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a caller of `simulate` or `sweep` asks for, checked."""

    replicas: int
    key: jax.Array
    observers: tuple[Any, ...]
    schedule: Schedule
    averaging: bool

    @staticmethod
    def of(
        dynamics: Any,
        steps: int,
        replicas: int,
        key: Any,
        observe: Any,
        record_every: int | None,
        average_from: int | None,
        average_every: int | None,
    ) -> Asked:
        steps = _checks.count("steps", steps)
        replicas = _checks.count("replicas", replicas)
        if steps >= 2**31:
            raise InputError(
                f"steps must be below 2**31, got {steps}; continue from the last params"
            )
        keep = max(1, round(steps / 200)) if record_every is None else record_every
        keep = min(_checks.count("record_every", keep), steps)
        if not all(hasattr(dynamics, name) for name in ("kernel", "settings", "static")):
            raise InputError(f"dynamics must be SGD, SDE or GradientFlow, got {dynamics!r}")
        key, seen = _as_key(key), observers(observe)
        if average_from is None:
            if average_every is not None:
                raise InputError("average_every needs average_from, the first step to average over")
            return Asked(replicas, key, seen, Schedule(steps, keep, keep), False)
        if not seen:
            raise InputError("average_from needs observables to average; give observe")
        since = _checks.count("average_from", average_from, least=0)
        every = keep if average_every is None else _checks.count("average_every", average_every)
        if since >= steps:
            raise InputError(f"average_from is {since}, but there are only {steps} steps")
        every = min(every, steps)
        first = -(-since // every) * every
        if first >= steps:
            raise InputError(
                f"nothing would enter the averages: from average_from = {since} on the first "
                f"multiple of average_every = {every} is {first}, and there are only {steps} "
                f"steps; give an average_every of at most {max(1, steps - since)}, or an earlier "
                "average_from"
            )
        if keep == steps:  # only the first record is kept
            keep = -(-steps // every) * every
        if keep % every:
            raise InputError(f"record_every = {keep} must be a multiple of average_every = {every}")
        return Asked(replicas, key, seen, Schedule(steps, every, keep, since), True)

    def program(self, model: Model, dynamics: Any, dtype: Any, swept: Any = None) -> Program:
        key = fused(self.key)
        return Program(
            model,
            dynamics.static(),
            dtype,
            self.observers,
            jax.random.key_impl(key),
            jax.random.key_data(key).shape,
            self.averaging,
            swept=swept,
        )

    def run(
        self,
        program: Program,
        cells: list[Cell],
        devices: Any,
        memory: float | None,
        checkpoint: str | os.PathLike[str] | None,
        progress: Callable[[int, int], None] | bool | None,
        rest: Callable[[int], None] | None,
    ) -> Ensemble:
        """Return the ensemble at its end."""
        saved, spec = None, {}
        with together():
            chosen = placement(devices)
            if jax.default_backend() != "cpu":  # there the width of a block is fixed
                each = -(-self.replicas * len(cells) // len(chosen))
                program = dataclasses.replace(program, share=min(each, program.share))
            if memory is not None:
                memory = _checks.positive("memory", memory)
            count = self.schedule.records(self.schedule.steps)
            plan = fit(program, self.replicas, len(cells), count, chosen, memory)
            if checkpoint is not None or jax.process_count() > 1:
                spec = describe(plan.program, cells, self.replicas, self.key, self.schedule)
                spec["kind of device"] = ", ".join(sorted({d.device_kind for d in chosen}))
        if checkpoint is not None:
            saved = Checkpoint(pathlib.Path(checkpoint), spec)
        named = ", ".join(map(str, chosen))
        require_same_run({**spec, "devices": named, "checkpoint": "given" if saved else "none"})
        # Where memory is short, chunks are as short as the shortest of all processes.
        capacity = int(share(np.array(plan.program.capacity)).min())
        program = dataclasses.replace(plan.program, capacity=capacity)
        ensemble = Ensemble(
            program, cells, self.replicas, self.key, self.schedule, chosen, plan.workers
        )
        ensemble.advance(reporter(progress), saved, rest)
        return ensemble


def cell_of(program: Program, dynamics: Any, initial: Any, arrays: Any = None) -> Cell:
    """Return one setting of a program."""
    values = {n: np.asarray(v, program.dtype) for n, v in dynamics.settings().items()}
    return Cell((values, {} if arrays is None else arrays), initial)


def _as_key(key: Any) -> jax.Array:
    """Return a typed key; the older form, two integers, is one too."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.shape == ():
            return key
    elif np.shape(key) == (2,) and np.asarray(key).dtype == np.uint32:
        return jax.random.wrap_key_data(jnp.asarray(key))
    raise InputError(f"key must be one JAX random key such as jax.random.key(0), got {key!r}")


def starting(model: Model, params: Any, replicas: int) -> tuple[Any, np.dtype]:
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
