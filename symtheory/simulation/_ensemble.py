"""All replicas of all settings: blocks dealt to devices, advanced together a chunk at a time.

Blocks never wait for each other within a chunk and share no arithmetic, so what a replica does is
the same to the last bit on one device and on many. Between chunks everything that is needed to go
on is in one `Position`, swapped in one assignment: a run can be cut at any moment.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from symtheory.simulation._checkpoint import Checkpoint
from symtheory.simulation._devices import share
from symtheory.simulation._engine import Program, engine, to_lanes
from symtheory.simulation._generator import fused
from symtheory.simulation._moments import Average, merge

FOLD = 1024
"""Measurements that enter the moments on the device before they are merged in double precision."""

_SECONDS = 1.0  # about how long a chunk takes
_PAUSE = 1.0  # between one time that a state is saved and the next
_WRITING = 20  # the pause is at least this many times as long as saving takes
_NEVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """One setting: what the compiled program is called with, and where the replicas start."""

    values: tuple[dict[str, Any], dict[str, Any]]
    initial: Any


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Steps in all, between measurements, between records, and before the first average."""

    steps: int
    every: int
    keep: int
    since: int = 0

    def records(self, done: int) -> int:
        """Number of records taken before step `done`."""
        return -(-done // self.keep)


@dataclasses.dataclass(frozen=True, eq=False)
class Position:
    """Where a run stands: by local block its state and merged moments, by cell its failure."""

    done: int
    states: dict[int, Any]
    folded: dict[int, Any]
    failed: dict[int, tuple[int, int]]


@jax.jit
def _replica_keys(key: jax.Array, replicas: Any) -> jax.Array:
    return fused(jax.vmap(lambda r: jax.random.fold_in(key, r))(replicas))


class Ensemble:
    """Blocks of replicas of every cell; block b belongs to cell b // `per`."""

    def __init__(
        self,
        program: Program,
        cells: Sequence[Cell],
        replicas: int,
        key: jax.Array,
        schedule: Schedule,
        devices: list[Any],
        workers: int | None = None,
    ) -> None:
        self.program, self.cells, self.replicas = program, cells, replicas
        self.schedule, self.devices, self.key = schedule, devices, key
        self.engine = engine(program)
        self.width = self.engine.width
        # The last block is filled up with copies of the last replica, which nobody looks at.
        self.per = -(-replicas // self.width)
        me = jax.process_index()
        owners = [devices[b % len(devices)] for b in range(self.per * len(cells))]
        self.owner = np.array([device.process_index for device in owners])
        self.mine = [b for b, device in enumerate(owners) if device.process_index == me]
        self.workers = workers or max(os.cpu_count() or 1, len(devices))
        self.device = {b: owners[b] for b in self.mine}
        self.keys = {}
        for b in self.mine:  # computed there: putting keys there afterwards takes longer
            with jax.default_device(owners[b]):
                self.keys[b] = _replica_keys(key, self._rows(b))
        count = schedule.records(schedule.steps)
        self.records = {
            name: np.zeros((len(self.mine), self.width, count, *x.shape), x.dtype)
            for name, x in self.engine.observables.items()
        }
        states, folded = {}, {}
        for b in self.mine:
            initial = self._block(cells[b // self.per].initial, b)
            states[b] = self.engine.start(jax.device_put(initial, self.device[b]))
            if program.averaging:
                folded[b] = jax.tree.map(lambda x: np.zeros(x.shape), states[b][2])
        self.position = Position(0, states, folded, {})

    def _rows(self, block: int) -> np.ndarray:
        return (block % self.per) * self.width + np.arange(self.width)

    def _block(self, tree: Any, block: int) -> Any:
        """Return one block of arrays with the replicas of a cell in front, replicas last."""
        rows = np.minimum(self._rows(block), self.replicas - 1)
        return to_lanes(jax.tree.map(lambda x: x[rows], tree))

    def done(self, cell: int = 0) -> int:
        """Return the number of steps that a cell has made."""
        return self.position.failed.get(cell, (self.position.done, 0))[0]

    def advance(
        self,
        report: Callable[[Ensemble], None] | None = None,
        checkpoint: Checkpoint | None = None,
        rest: Callable[[], None] | None = None,
    ) -> None:
        """Advance all cells to the end, or to where they fail; go on from a checkpoint.

        `rest` is called if after the first chunk some parameter is where it began.
        """
        if checkpoint is not None:
            checkpoint.prepare()
            self._restore(checkpoint.load())
        with concurrent.futures.ThreadPoolExecutor(self.workers) as self.pool:
            self._advance(report, checkpoint, rest)

    def _advance(
        self,
        report: Callable[[Ensemble], None] | None,
        checkpoint: Checkpoint | None,
        rest: Callable[[], None] | None,
    ) -> None:
        steps, keep = self.schedule.steps, self.schedule.keep
        length, pause, saved = 1024, _PAUSE, time.perf_counter()
        unsaved = False
        try:
            while self.position.done < steps and len(self.position.failed) < len(self.cells):
                first = self.position.done
                last = min(steps, first + length, (first // keep + self.program.capacity) * keep)
                if self.program.averaging:
                    grid = FOLD * self.schedule.every
                    last = min(last, (first // grid + 1) * grid)
                began = time.perf_counter()
                due = began - saved > pause
                seconds, due = self._chunk(first, last, due)
                unsaved = True
                if first == 0 and rest is not None and self._at_rest():
                    rest()
                if checkpoint is not None and (due or self._ended()):
                    pause = max(_PAUSE, _WRITING * self._save(checkpoint))
                    unsaved, saved = False, time.perf_counter()
                if report is not None:
                    report(self)
                if seconds < _SECONDS / 4:
                    length *= 4
                elif seconds > 2 * _SECONDS:
                    length = max(1, length // 2)
        except KeyboardInterrupt:
            if checkpoint is not None and unsaved and jax.process_count() == 1:
                self._save(checkpoint)
            raise

    def _at_rest(self) -> bool:
        """Tell whether a parameter of the first block is where it began, in every replica."""
        block = self.mine[0]
        start = self._block(self.cells[block // self.per].initial, block)
        now = self.position.states[block][0]
        same = jax.tree.map(lambda x, y: np.array_equal(x, np.asarray(y)), start, now)
        return any(jax.tree.leaves(same))

    def _ended(self) -> bool:
        alive = len(self.position.failed) < len(self.cells)
        return self.position.done == self.schedule.steps or not alive

    def _chunk(self, first: int, last: int, due: bool) -> tuple[float, bool]:
        """Advance every cell that is still finite; return the seconds and whether to save."""
        now = self.position
        active = [b for b in self.mine if b // self.per not in now.failed]
        began = time.perf_counter()
        outs = dict(
            zip(active, self._each(lambda b: self._call(b, first, last), active), strict=True)
        )
        seconds = time.perf_counter() - began
        found = np.full((len(self.cells), 2), _NEVER)
        for b, state in outs.items():
            if not self._finite(b, state[0]).all():
                cell = b // self.per
                found[cell] = min(tuple(found[cell]), self._first_failure(b, first, last))
        # What every process must agree on: failures, how long it took, and when to save.
        told = share(np.concatenate([found.ravel(), [int(seconds * 1e6), int(due)]]))
        seconds, due = told[:, -2].max() / 1e6, bool(told[0, -1])
        found = told[:, :-2].reshape(len(told), -1, 2)
        failed = {}
        for cell in np.flatnonzero((found[:, :, 0] < _NEVER).any(axis=0)):
            step, replica = min(tuple(row) for row in found[:, cell].tolist())
            failed[int(cell)] = (int(step), int(replica))
        again = [b for b in active if b // self.per in failed]
        until = {b: failed[b // self.per][0] for b in again}
        outs |= zip(again, self._each(lambda b: self._call(b, first, until[b]), again), strict=True)
        states, folded = now.states | outs, now.folded
        if self.program.averaging and last % (FOLD * self.schedule.every) == 0:
            folded = dict(folded)
            for b in active:
                params, memory, moments = states[b]
                folded[b] = merge(folded[b], jax.tree.map(lambda x: np.asarray(x, float), moments))
                states[b] = params, memory, jax.tree.map(lambda x: x * 0, moments)
        self.position = Position(last, states, folded, now.failed | failed)
        return seconds, due

    def _each(self, function: Callable[[int], Any], blocks: list[int]) -> list[Any]:
        """Apply a function to blocks, on all cores and devices."""
        if len(blocks) <= 1 or self.workers == 1:
            return [function(b) for b in blocks]
        futures = [self.pool.submit(function, b) for b in blocks]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def _call(self, block: int, first: int, last: int, start: Any = None) -> Any:
        """Return a block advanced from `first` to `last`; its records go where they belong."""
        plan = self.schedule
        state = self.position.states[block] if start is None else start
        numbers = (np.int32(n) for n in (first, last, plan.every, plan.keep, plan.since))
        values = self.cells[block // self.per].values
        out = self.engine.segment(self.keys[block], state, *numbers, values)
        state, records = jax.block_until_ready(out)
        begin, end = plan.records(first), plan.records(last)
        skipped = begin - first // plan.keep  # 1 where a chunk begins between two records
        index = self.mine.index(block)
        for name, found in records.items():
            part = np.asarray(found)[skipped : skipped + end - begin]
            self.records[name][index, :, begin:end] = np.moveaxis(part, -1, 0)
        return state

    def _finite(self, block: int, params: Any) -> np.ndarray:
        """Return which replicas of a block are finite; the copies that fill it up count as such."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
        good = [np.isfinite(x).all(axis=tuple(range(x.ndim - 1))) for x in leaves]
        return np.logical_and.reduce(good) | (self._rows(block) >= self.replicas)

    def _first_failure(self, block: int, first: int, last: int) -> tuple[int, int]:
        """Return (step, replica) of a block's first non-finite update, by bisection.

        What is not finite stays so, and the same program from the same state gives the same
        numbers: half the interval is run again each time, so in all about as long as it took.
        """
        state = self.position.states[block]
        while last - first > 1:
            middle = (first + last) // 2
            after = self._call(block, first, middle, state)
            if self._finite(block, after[0]).all():
                first, state = middle, after
            else:
                last = middle
        after = self._call(block, first, last, state)
        lane = int(np.argmin(self._finite(block, after[0])))
        return first, int(self._rows(block)[lane])

    def params(self) -> Any:
        """Return the parameters of all cells, as (cells, replicas, ...)."""
        return self._join({b: state[0] for b, state in self.position.states.items()})

    def final(self) -> dict[str, np.ndarray]:
        """Return the observables of the parameters alone, as (cells, replicas, ...)."""
        states = self.position.states
        return self._join({b: self.engine.observe(state[0]) for b, state in states.items()})

    def recorded(self) -> dict[str, np.ndarray]:
        """Return the records of all cells, as (cells, replicas, records, ...)."""
        return {name: self._gather(array) for name, array in self.records.items()}

    def averages(self) -> list[dict[str, Average]]:
        """Return the averages over time of each cell."""
        if not self.program.averaging:
            return [{} for _ in self.cells]
        merged = {b: self.moments(b) for b in self.mine}
        counts, means, squares = self._join(merged)
        return [
            {n: Average(int(counts[c, 0]), means[n][c], squares[n][c]) for n in means}
            for c in range(len(self.cells))
        ]

    def averages_begun(self) -> bool:
        """Tell whether some measurement has entered the averages."""
        return self.program.averaging and self.position.done > self.schedule.since

    def moments(self, block: int) -> Any:
        """Return (counts, means, squares) of a block of this process, replicas last."""
        recent = jax.tree.map(lambda x: np.asarray(x, float), self.position.states[block][2])
        return merge(self.position.folded[block], recent)

    def _join(self, blocks: dict[int, Any]) -> Any:
        """Return trees by local block, replicas last, as one of (cells, replicas, ...)."""

        def stack(*parts: Any) -> np.ndarray:
            return self._gather(np.stack([np.moveaxis(np.asarray(p), -1, 0) for p in parts]))

        return jax.tree.map(stack, *(blocks[b] for b in self.mine))

    def _gather(self, local: np.ndarray) -> np.ndarray:
        """Return what all processes have of (blocks, width, ...) as (cells, replicas, ...)."""
        if len(self.mine) < len(self.owner):
            most = np.bincount(self.owner).max()
            padded = np.zeros((most, *local.shape[1:]), local.dtype)
            padded[: len(local)] = local
            told, local = share(padded), np.empty((len(self.owner), *local.shape[1:]), local.dtype)
            for process in set(self.owner.tolist()):
                theirs = np.flatnonzero(self.owner == process)
                local[theirs] = told[process, : len(theirs)]
        shape = (len(self.cells), self.per * self.width, *local.shape[2:])
        return local.reshape(shape)[:, : self.replicas]

    def _save(self, checkpoint: Checkpoint) -> float:
        """Write the position; return the seconds that took."""
        began = time.perf_counter()
        now = self.position
        trees = {"state": self._join(now.states)}
        if now.folded:
            trees["folded"] = self._join(now.folded)
        count = self.schedule.records(now.done)
        trees["records"] = {n: self._gather(x[:, :, :count]) for n, x in self.records.items()}
        arrays = {
            f"{name}_{i}": leaf
            for name, tree in trees.items()
            for i, leaf in enumerate(jax.tree.leaves(tree))
        }
        if jax.process_index() == 0:
            failed = [[cell, *where] for cell, where in now.failed.items()]
            checkpoint.save({"done": now.done, "failed": failed}, arrays)
        return time.perf_counter() - began

    def _restore(self, found: Any) -> None:
        """Go on from what a checkpoint holds, if anything."""
        if found is None:
            return
        meta, arrays = found
        now = self.position

        def leaves(name: str, like: Any) -> Any:
            tree = jax.tree.structure(like)
            return jax.tree.unflatten(tree, [arrays[f"{name}_{i}"] for i in range(tree.num_leaves)])

        states, folded = {}, {}
        for b in self.mine:
            one = lambda x, cell=b // self.per: x[cell]
            state = jax.tree.map(one, leaves("state", now.states[b]))
            states[b] = jax.device_put(self._block(state, b), self.device[b])
            if now.folded:
                merged = jax.tree.map(one, leaves("folded", now.folded[b]))
                folded[b] = self._block(merged, b)
        records = leaves("records", self.records)
        for index, b in enumerate(self.mine):
            rows = np.minimum(self._rows(b), self.replicas - 1)
            for name, part in records.items():
                self.records[name][index, :, : part.shape[2]] = part[b // self.per][rows]
        failed = {cell: (step, replica) for cell, step, replica in meta["failed"]}
        self.position = Position(meta["done"], states, folded, failed)
