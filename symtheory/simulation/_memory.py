"""How many bytes a run needs, and how it is fitted into a budget."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Any

import jax

from symtheory.errors import InputError
from symtheory.simulation._engine import Program, engine

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Plan:
    """A program whose chunks fit, and how many blocks may run at a time."""

    program: Program
    workers: int


def fit(
    program: Program,
    replicas: int,
    cells: int,
    records: int,
    devices: list[Any],
    budget: float | None,
) -> Plan:
    """Return a plan within `budget` GiB of arrays; shorter chunks and fewer at a time if need be.

    Raises:
        InputError: The budget is too small for one chunk.
    """
    most = max(os.cpu_count() or 1, len(devices))
    if budget is None:
        return Plan(program, most)
    found = engine(program)
    seen = sum(x.size * x.dtype.itemsize for x in found.observables.values())
    state = _bytes(program.model.structure(program.dtype)[0])
    moments = 2 * seen + 8 if program.averaging else 0
    lanes = cells * found.width * math.ceil(replicas / found.width)
    here = sum(d.process_index == jax.process_index() for d in devices) / len(devices)
    # Parameters and momentum, both twice while they are replaced; moments twice, once in double.
    held = here * lanes * (4 * state + 3 * moments)
    kept = lanes * records * seen
    # To be saved, restored or returned it is copied; among processes gathered, padded and put in
    # order.
    copied = (1 if here == 1 else 3) * (lanes * (2 * state + 3 * moments) + kept)
    capacity, workers = program.capacity, most

    def working() -> float:
        chunk = found.width * (2 * found.drawn + 2 * (capacity + 1) * seen + 4 * state)
        return max(workers * chunk, copied)

    def need() -> float:
        return held + here * kept + working()

    while need() > budget * _GIB and (workers > 1 or capacity > 1):
        if workers > 1:
            workers -= 1
        else:
            capacity //= 2
    if need() > budget * _GIB:
        raise InputError(
            f"memory is {budget:g} GiB, but one chunk needs {need() / _GIB:.3g} GiB: "
            f"{here * kept / _GIB:.3g} for {records} records of {cells * replicas} replicas, "
            f"{held / _GIB:.3g} for their state and {working() / _GIB:.3g} to advance "
            f"{found.width} of them or to copy what is returned; raise record_every, lower "
            "replicas or raise memory"
        )
    return Plan(dataclasses.replace(program, capacity=capacity), workers)


def _bytes(tree: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
