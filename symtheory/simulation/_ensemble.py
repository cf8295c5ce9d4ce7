"""All replicas of all settings: blocks dealt to devices, advanced together a chunk at a time.

Blocks never wait for each other within a chunk and share no arithmetic, so what a replica does is
the same to the last bit on one device and on many. Between chunks everything that is needed to go
on is in one `Position`, swapped in one assignment: a run can be cut at any moment.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from symtheory.simulation._blocks import Blocks, Position
from symtheory.simulation._checkpoint import Checkpoint
from symtheory.simulation._devices import share, together
from symtheory.simulation._interrupt import deferred
from symtheory.simulation._moments import merge

FOLD = 1024
"""Measurements that enter the moments on the device before they are merged in double precision."""

_SECONDS = 1.0  # about how long a chunk takes
_PAUSE = 1.0  # between one time that a state is saved and the next
_WRITING = 20  # the pause is at least this many times as long as saving takes
_NEVER = np.iinfo(np.int64).max
_INT32 = np.iinfo(np.int32).max


@functools.lru_cache(maxsize=4)
def _pool(workers: int) -> concurrent.futures.ThreadPoolExecutor:
    # Kept, because starting and stopping threads takes as long as some hundred steps.
    return concurrent.futures.ThreadPoolExecutor(workers)


class Ensemble(Blocks):
    """Blocks that are advanced."""

    def advance(
        self,
        report: Callable[[Ensemble], None] | None = None,
        checkpoint: Checkpoint | None = None,
        rest: Callable[[int], None] | None = None,
    ) -> None:
        """Advance all cells to the end, or to where they fail; go on from a checkpoint.

        `rest` is called with each cell of which after the first chunk some parameter is where it
        began.
        """
        with contextlib.ExitStack() as stack:
            if checkpoint is not None:
                stack.enter_context(checkpoint.held())
                self.restore(checkpoint.load())
            self._advance(report, checkpoint, rest, stack.enter_context(deferred()))

    def _advance(
        self,
        report: Callable[[Ensemble], None] | None,
        checkpoint: Checkpoint | None,
        rest: Callable[[int], None] | None,
        interrupted: Callable[[], bool],
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
                seconds = self._chunk(first, last)
                unsaved = True
                if first == 0 and rest is not None:
                    stuck = self._at_rest()
                    with together():
                        for cell in stuck:
                            rest(cell)
                # All processes save, and stop, at the same steps: they agree on it.
                wishes = np.array([interrupted(), time.perf_counter() > saved + pause])
                stop, due = np.any(share(wishes), axis=0)
                if checkpoint is not None and (due or stop or self._ended()):
                    pause = max(_PAUSE, _WRITING * self._save(checkpoint))
                    unsaved, saved = False, time.perf_counter()
                with together():  # also where only some show progress
                    if report is not None:
                        report(self)
                if stop:
                    raise KeyboardInterrupt
                if seconds < _SECONDS / 4:
                    length *= 4
                elif seconds > 2 * _SECONDS:
                    length = max(1, length // 2)
            if share(np.array(interrupted())).any():  # since the last chunk
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            if checkpoint is not None and unsaved and jax.process_count() == 1:
                self._save(checkpoint)
            raise

    def _at_rest(self) -> list[int]:
        """Return the cells of which a parameter is where it began, in every replica of a block.

        The first block of a cell is looked at, by the process that has it.
        """
        same = np.zeros(len(self.cells), bool)
        for block in self.mine:
            if block % self.per == 0:
                same[block // self.per] = self._unmoved(block)
        return np.flatnonzero(share(same).any(axis=0)).tolist()

    def _unmoved(self, block: int) -> bool:
        start = self._block(self.cells[block // self.per].initial, block)
        now = self.position.states[block][0]
        same = jax.tree.map(lambda x, y: np.array_equal(x, np.asarray(y)), start, now)
        return any(jax.tree.leaves(same))

    def _ended(self) -> bool:
        alive = len(self.position.failed) < len(self.cells)
        return self.position.done == self.schedule.steps or not alive

    def _chunk(self, first: int, last: int) -> float:
        """Advance every cell that is still finite; return the seconds that the slowest took."""
        now = self.position
        active = [b for b in self.mine if b // self.per not in now.failed]
        outs: dict[int, Any] = {}
        found = np.full((len(self.cells), 2), _NEVER)
        began = time.perf_counter()
        with together():
            advanced = self._each(lambda b: self._call(b, first, last), active)
            outs |= zip(active, advanced, strict=True)
            seconds = time.perf_counter() - began
            for b, state in outs.items():
                if not self._finite(b, state[0]).all():
                    cell = b // self.per
                    found[cell] = min(tuple(found[cell]), self._first_failure(b, first, last))
        # What every process must agree on: failures, and how long it took.
        told = share(np.concatenate([found.ravel(), [int(seconds * 1e6)]]))
        seconds = told[:, -1].max() / 1e6
        found = told[:, :-1].reshape(len(told), -1, 2)
        failed = {}
        for cell in np.flatnonzero((found[:, :, 0] < _NEVER).any(axis=0)):
            step, replica = min(tuple(row) for row in found[:, cell].tolist())
            failed[int(cell)] = (int(step), int(replica))
        again = [b for b in active if b // self.per in failed]
        until = {b: failed[b // self.per][0] for b in again}
        if failed:
            with together():
                repeated = self._each(lambda b: self._call(b, first, until[b]), again)
                outs |= zip(again, repeated, strict=True)
        states, folded = now.states | outs, now.folded
        if self.program.averaging and last % (FOLD * self.schedule.every) == 0:
            folded = dict(folded)
            for b in active:
                params, memory, moments = states[b]
                folded[b] = merge(folded[b], jax.tree.map(lambda x: np.asarray(x, float), moments))
                states[b] = params, memory, jax.tree.map(lambda x: x * 0, moments)
        self.position = Position(last, states, folded, now.failed | failed)
        return seconds

    def _each(self, function: Callable[[int], Any], blocks: list[int]) -> list[Any]:
        """Apply a function to blocks, on all cores and devices."""
        if len(blocks) <= 1 or self.workers == 1:
            return [function(b) for b in blocks]
        futures = [_pool(self.workers).submit(function, b) for b in blocks]
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
        keep = min(plan.keep, _INT32)  # further apart than there are steps: only the first record
        numbers = np.array([first, last, plan.every, keep, plan.since], np.int32)
        values = self.cells[block // self.per].values
        out = self.engine.segment(self.keys[self._rows(block)], state, numbers, values)
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

    def _save(self, checkpoint: Checkpoint) -> float:
        """Write the position; return the seconds that took."""
        began = time.perf_counter()
        checkpoint.save(*self.saved())
        return time.perf_counter() - began
