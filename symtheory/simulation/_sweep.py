"""A grid of settings, compiled once, as one labelled data set."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from symtheory.model import Model
from symtheory.readable import require_readable
from symtheory.simulation._asked import Asked
from symtheory.simulation._dataset import variables_of, xarray
from symtheory.simulation._ensemble import Ensemble
from symtheory.simulation._grid import TAKEN, Group, check_grid, check_shapes, group_points
from symtheory.simulation._observe import check_names


def sweep(
    model: Model,
    dynamics: Any,
    grid: Mapping[str, Sequence[Any]],
    *,
    params: Any,
    steps: int,
    replicas: int = 1,
    key: jax.Array,
    observe: Any = None,
    record_every: int | None = None,
    average_from: int | None = None,
    average_every: int | None = None,
    devices: Any = None,
    memory: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | bool | None = None,
) -> Any:
    """Simulate an ensemble at every point of a grid of settings.

    Learning rates, temperatures, weight decays, constants, means and covariances are arguments of
    one compiled program; sizes of the model and of the batch compile anew, once for each size. All
    points of one size run together, on the same random numbers: at each point the trajectories are
    those of `simulate` with that setting and the same key (to rounding, where arrays are swept).

    Args:
        model: The model; what the grid names may be left to bind.
        dynamics: `SGD`, `SDE` or `GradientFlow`, with the settings that the grid does not name.
        grid: Values by name: of a setting of the dynamics ("learning_rate", "batch_size", ...), or
            of a name that the model leaves to bind (a size, a constant, a mean, a covariance).
        params: Where to start, as in `simulate`; or a function of the bound model that returns it.
        steps: As in `simulate`, and so are the arguments that follow.
        replicas: Per point of the grid.
        key: A JAX random key.
        observe: Observables; over several sizes they must have the same shape at each.
        record_every: Steps between records.
        average_from: First step that enters the averages.
        average_every: Steps between the measurements that do.
        devices: Where to run.
        memory: GiB of arrays that this process may hold for one size.
        checkpoint: A folder.
        progress: True, or a function.

    Returns:
        An `xarray.Dataset`. Its first axes are those of the grid, with its values as coordinates
        (numbers 0, 1, ... for arrays, which are then the variable NAME_value); then come replica,
        record (the step at which it was taken) and the axes of the observable. `diverged` marks the
        points where parameters became infinite or undefined and `diverged_step` says at which
        step; from there on, and in final values and averages, such points hold NaN. The others are
        unharmed.

    Raises:
        InputError: A name or value of the grid does not fit, or as in `simulate`.

    Source: arXiv 2402.07193, section 2.

    >>> from symtheory.data import Normal
    >>> from symtheory.simulation import SGD, sweep
    >>> model = Model(lambda p, z: (p - z["x"]) ** 2 / 2, params=(), random={"x": Normal(())})
    >>> found = sweep(model, SGD(0.1), {"learning_rate": [0.1, 0.2, 3.0]}, params=0.0, steps=2000,
    ...               replicas=2, key=jax.random.key(0), observe={"p": lambda p: p})
    >>> dict(found.p.sizes), found.diverged.values.tolist()
    ({'learning_rate': 3, 'replica': 2, 'record': 200}, [False, False, True])
    """
    xarray()  # before anything is computed
    require_readable(model)
    check_grid(model, dynamics, grid)
    asked = Asked.of(
        dynamics, steps, replicas, key, observe, record_every, average_from, average_every
    )
    taken = (*TAKEN, *grid, *(f"{name}_value" for name in grid))
    check_names(asked.observers, model.leaves, asked.averaging, taken)
    groups = group_points(model, dynamics, grid, params, asked)
    check_shapes(groups)
    shape = tuple(len(values) for values in grid.values())
    names = tuple(grid)
    diverged, diverged_step = np.zeros(shape, bool), np.full(shape, -1)
    found: dict[str, Any] = {
        "diverged": (names, diverged, {"long_name": "parameters became infinite or undefined"}),
        "diverged_step": (names, diverged_step, {"long_name": "the update that did so, or -1"}),
    }
    alike = len({str(jax.tree.map(np.shape, g.cells[0].initial)) for g in groups}) == 1
    for number, group in enumerate(groups):
        folder = None if checkpoint is None else pathlib.Path(checkpoint) / f"size-{number}"
        ensemble = asked.run(
            group.program, group.cells, devices, memory, folder, progress, group.rest
        )
        for index, failed, variables in _variables(group, ensemble, alike):
            if failed is not None:
                diverged[index], diverged_step[index] = True, failed
            for name, (axes, array, attributes) in variables.items():
                if name not in found:
                    kind = np.result_type(array.dtype, np.float32)
                    blank = np.full((*shape, *array.shape), np.nan, kind)
                    found[name] = ((*names, *axes), blank, attributes)
                found[name][1][index] = array
    return _dataset(found, model, dynamics, grid, asked)


def _variables(group: Group, ensemble: Ensemble, alike: bool) -> Any:
    """Yield (index, step of failure or None, variables) of each point of a group."""
    records, final, params = ensemble.recorded(), ensemble.final(), ensemble.params()
    averages = ensemble.averages()
    for c, index in enumerate(group.indices):
        failed = ensemble.position.failed.get(c)
        variables = variables_of(
            group.model,
            {name: array[c] for name, array in records.items()},
            averages[c],
            {name: array[c] for name, array in final.items()},
            jax.tree.map(lambda x, c=c: x[c], params) if alike else None,
            ("replica",),
        )
        if failed is not None:
            for name, (axes, array, attributes) in variables.items():
                array = np.array(array, np.result_type(array.dtype, np.float32))
                if "record" in axes:
                    array[:, ensemble.schedule.records(failed[0]) :] = np.nan
                else:
                    array[...] = np.nan
                variables[name] = (axes, array, attributes)
        yield index, None if failed is None else failed[0], variables


def _dataset(
    found: dict[str, Any], model: Model, dynamics: Any, grid: Mapping[str, Any], asked: Asked
) -> Any:
    schedule = asked.schedule
    coordinates: dict[str, Any] = {
        "replica": np.arange(asked.replicas),
        "record": np.arange(0, schedule.steps, schedule.keep),
    }
    for name, values in grid.items():
        if all(np.ndim(value) == 0 for value in values):
            coordinates[name] = np.asarray(values)
        else:
            coordinates[name] = np.arange(len(values))
            axes = tuple(f"{name}_{i}" for i in range(np.ndim(values[0])))
            found[f"{name}_value"] = ((name, *axes), np.stack([np.asarray(v) for v in values]))
    attributes = {"model": model.name, "dynamics": str(dynamics), "steps": schedule.steps}
    return xarray().Dataset(found, coordinates, attributes)
