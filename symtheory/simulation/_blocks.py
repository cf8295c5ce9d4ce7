"""Blocks of replicas on their devices: where a run stands, and its results put together."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from symtheory.simulation._devices import share
from symtheory.simulation._engine import Program, engine, to_lanes
from symtheory.simulation._moments import Average, merge


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

    @property
    def first(self) -> int:
        """Step of the first measurement that enters the averages."""
        return -(-self.since // self.every) * self.every


@dataclasses.dataclass(frozen=True, eq=False)
class Position:
    """Where a run stands: by local block its state and merged moments, by cell its failure."""

    done: int
    states: dict[int, Any]
    folded: dict[int, Any]
    failed: dict[int, tuple[int, int]]


@jax.jit
def _key_data(key: jax.Array, replicas: Any) -> jax.Array:
    return jax.random.key_data(jax.vmap(lambda r: jax.random.fold_in(key, r))(replicas))


class Blocks:
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
        count = schedule.records(schedule.steps)
        self.records = {
            name: np.zeros((len(self.mine), self.width, count, *x.shape), x.dtype)
            for name, x in self.engine.observables.items()
        }
        one = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((*x.shape[1:], self.width), x.dtype), cells[0].initial
        )
        # Shapes of a state, for a process that has no block to look at.
        self.like = jax.eval_shape(self.engine.start, one)
        self.keys = np.asarray(_key_data(key, np.arange(self.per * self.width)))
        states, folded = {}, {}
        for b in self.mine:
            with jax.default_device(owners[b]):  # faster than putting it there
                states[b] = self.engine.start(self._block(cells[b // self.per].initial, b))
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

    def params(self) -> Any:
        """Return the parameters of all cells, as (cells, replicas, ...)."""
        states = self.position.states
        return self._join({b: state[0] for b, state in states.items()}, self.like[0])

    def final(self) -> dict[str, np.ndarray]:
        """Return the observables of the parameters alone, as (cells, replicas, ...)."""
        states = self.position.states
        seen = {b: self.engine.observe(state[0]) for b, state in states.items()}
        return self._join(seen, jax.eval_shape(self.engine.observe, self.like[0]))

    def recorded(self) -> dict[str, np.ndarray]:
        """Return the records of all cells, as (cells, replicas, records, ...)."""
        return {name: self._gather(array) for name, array in self.records.items()}

    def averages(self) -> list[dict[str, Average]]:
        """Return the averages over time of each cell."""
        if not self.program.averaging:
            return [{} for _ in self.cells]
        merged = {b: self.moments(b) for b in self.mine}
        counts, means, squares = self._join(merged, self._moments_like())

        def average(cell: int, name: str) -> Average:
            count = int(counts[cell, 0])
            # Without a measurement the zeros that the sums began with are no result.
            mean, square = (
                x[name][cell] if count else x[name][cell] * np.nan for x in (means, squares)
            )
            return Average(count, mean, square)

        return [{n: average(c, n) for n in means} for c in range(len(self.cells))]

    def averages_begun(self) -> bool:
        """Tell whether some measurement has entered the averages."""
        return self.program.averaging and self.position.done > self.schedule.first

    def moments(self, block: int) -> Any:
        """Return (counts, means, squares) of a block of this process, replicas last."""
        recent = jax.tree.map(lambda x: np.asarray(x, float), self.position.states[block][2])
        return merge(self.position.folded[block], recent)

    def _moments_like(self) -> Any:
        return jax.tree.map(lambda x: np.zeros(x.shape), self.like[2])

    def _join(self, blocks: dict[int, Any], like: Any) -> Any:
        """Return trees by local block, replicas last, as one of (cells, replicas, ...).

        Every process must call it, those without a block too: `like` tells them the shapes.
        """

        def stack(like: Any, *parts: Any) -> np.ndarray:
            local = np.empty((len(parts), self.width, *like.shape[:-1]), like.dtype)
            for row, part in zip(local, parts, strict=True):
                row[...] = np.moveaxis(np.asarray(part), -1, 0)
            return self._gather(local)

        return jax.tree.map(stack, like, *(blocks[b] for b in self.mine))

    def _gather(self, local: np.ndarray) -> np.ndarray:
        """Return what all processes have of (blocks, width, ...) as (cells, replicas, ...)."""
        if jax.process_count() > 1:
            most = np.bincount(self.owner).max()
            padded = np.zeros((most, *local.shape[1:]), local.dtype)
            padded[: len(local)] = local
            told, local = share(padded), np.empty((len(self.owner), *local.shape[1:]), local.dtype)
            for process in set(self.owner.tolist()):
                theirs = np.flatnonzero(self.owner == process)
                local[theirs] = told[process, : len(theirs)]
        shape = (len(self.cells), self.per * self.width, *local.shape[2:])
        return local.reshape(shape)[:, : self.replicas]

    def saved(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what a checkpoint holds."""
        now = self.position
        trees = {"state": self._join(now.states, self.like)}
        if self.program.averaging:
            trees["folded"] = self._join(now.folded, self._moments_like())
        count = self.schedule.records(now.done)
        trees["records"] = {n: self._gather(x[:, :, :count]) for n, x in self.records.items()}
        arrays = {
            f"{name}_{i}": leaf
            for name, tree in trees.items()
            for i, leaf in enumerate(jax.tree.leaves(tree))
        }
        failed = [[cell, *where] for cell, where in now.failed.items()]
        return {"done": now.done, "failed": failed}, arrays

    def restore(self, found: Any) -> None:
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
