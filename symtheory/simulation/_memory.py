"""How many bytes a run needs, and how it is fitted into a budget."""

from __future__ import annotations

import collections
import dataclasses
import math
import os
from typing import Any

import jax

from symtheory.errors import InputError
from symtheory.simulation._engine import Program, engine

_GIB = 2**30
_PER_BLOCK = 4096  # of Python and JAX, to keep track of a block (measured: about 3 kB)


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
    keys = math.ceil(replicas / found.width) * found.width
    blocks = cells * keys // found.width
    shares = collections.Counter(devices[b % len(devices)].process_index for b in range(blocks))
    lanes, here = blocks * found.width, shares[jax.process_index()] * found.width
    # Parameters and momentum, both twice while they are replaced; moments twice, once in double.
    held = here * (4 * state + 3 * moments)
    held += 2 * keys * math.prod(program.key_shape) * 4 + blocks * _PER_BLOCK
    kept = here * records * seen
    # To be saved, restored or returned all is copied; among processes it is padded to the largest
    # share, gathered and put in order.
    copies = lanes
    if jax.process_count() > 1:
        copies += (jax.process_count() + 1) * max(shares.values()) * found.width
    copied = copies * (2 * state + 3 * moments + records * seen)
    capacity, workers = program.capacity, most

    def working() -> float:
        chunk = found.width * (2 * found.drawn + 2 * (capacity + 1) * seen + 4 * state)
        return max(workers * chunk, copied)

    def need() -> float:
        return held + kept + working()

    while need() > budget * _GIB and (workers > 1 or capacity > 1):
        if workers > 1:
            workers -= 1
        else:
            capacity //= 2
    if need() > budget * _GIB:
        raise InputError(
            f"memory is {budget:g} GiB, but one chunk needs {need() / _GIB:.3g} GiB: "
            f"{kept / _GIB:.3g} for {records} records of {cells * replicas} replicas, "
            f"{held / _GIB:.3g} for their state and {working() / _GIB:.3g} to advance "
            f"{found.width} of them or to copy what is returned; raise record_every, lower "
            "replicas or raise memory"
        )
    return Plan(dataclasses.replace(program, capacity=capacity), workers)


def _bytes(tree: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
