"""The points of a grid of settings, sorted by what must be compiled for them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from symtheory.errors import InputError, did_you_mean
from symtheory.model import Model
from symtheory.simulation._asked import Asked, cell_of, starting
from symtheory.simulation._blocks import Cell
from symtheory.simulation._engine import Program, engine
from symtheory.simulation._precision import require_resolved
from symtheory.simulation._swept import Swept

TAKEN = ("replica", "record", "time", "diverged", "diverged_step")


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Points of the grid that share a compiled program."""

    program: Program
    model: Model
    cells: list[Cell]
    indices: list[tuple[int, ...]]
    resolved: list[tuple[Any, ...]]

    def rest(self, cell: int) -> None:
        """Refuse a cell of which single precision rounds every step away."""
        if self.resolved:
            require_resolved(*self.resolved[cell])


def group_points(
    model: Model, dynamics: Any, grid: Mapping[str, Any], params: Any, asked: Asked
) -> list[Group]:
    groups: dict[Any, Group] = {}
    models: dict[Any, Model] = {}
    fields = {field.name for field in dataclasses.fields(dynamics)}
    arrays = [name for name in grid if name not in fields and model.unbound[name] is not None]
    for index in itertools.product(*(range(len(values)) for values in grid.values())):
        point = {name: values[i] for (name, values), i in zip(grid.items(), index, strict=True)}
        here = dataclasses.replace(dynamics, **{n: v for n, v in point.items() if n in fields})
        which = tuple(i for name, i in zip(grid, index, strict=True) if name not in fields)
        if which not in models:
            given = {n: v for n, v in point.items() if n not in fields}
            models[which] = model.bind(**given).require_bound()
        bound = models[which]
        start = params(bound) if callable(params) else params
        initial, dtype = starting(bound, start, asked.replicas)
        label = (here.static(), tuple(sorted(bound.sizes.items())), dtype)
        if label not in groups:
            swept = None
            template = bound
            if arrays:
                open_sizes = {n: s for n, s in bound.sizes.items() if n in model.unbound}
                template = model.bind(**open_sizes) if open_sizes else model
                swept = Swept(tuple((n, np.shape(bound.values[n])) for n in arrays))
            program = asked.program(template, here, dtype, swept)
            groups[label] = Group(program, template, [], [], [])
        group = groups[label]
        swept = group.program.swept
        values = swept.arrays(group.model, bound.values, dtype) if swept else {}
        group.cells.append(cell_of(group.program, here, initial, values))
        group.indices.append(index)
        if dtype == np.float32:
            group.resolved.append((bound, here, initial, asked.schedule.steps, asked.key))
    return list(groups.values())


def check_grid(model: Model, dynamics: Any, grid: Mapping[str, Any]) -> None:
    if not isinstance(grid, Mapping) or not grid:
        raise InputError(
            f'grid must be values by name, such as {{"learning_rate": [0.1, 0.2]}}, got {grid!r}'
        )
    if not dataclasses.is_dataclass(dynamics):
        raise InputError(f"dynamics must be SGD, SDE or GradientFlow, got {dynamics!r}")
    fields = [field.name for field in dataclasses.fields(dynamics)]
    for name, values in grid.items():
        if name in fields and name in model.unbound:
            raise InputError(f"{name!r} is a setting of the dynamics and a name of the model")
        if name not in fields and name not in model.unbound:
            hint = did_you_mean(str(name), [*fields, *model.unbound])
            raise InputError(f"{name!r} is neither a setting nor left to bind; {hint}")
        if name in TAKEN:
            raise InputError(f"{name!r} is an axis of the result; rename it in the model")
        if isinstance(values, str) or not hasattr(values, "__len__") or not len(values):
            raise InputError(f"grid[{name!r}] must be a list of at least one value, got {values!r}")
        if len({np.shape(value) for value in values}) > 1:
            raise InputError(f"the values of grid[{name!r}] must all have the same shape")


def check_shapes(groups: list[Group]) -> None:
    first = engine(groups[0].program).observables
    for group in groups[1:]:
        for name, found in engine(group.program).observables.items():
            if found.shape != first[name].shape:
                raise InputError(
                    f"observable {name!r} has shape {first[name].shape} at {groups[0].model.sizes} "
                    f"and {found.shape} at {group.model.sizes}; observe what has one shape"
                )
