"""Labelled data sets of runs and sweeps, for xarray and for files that need nothing of ours."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from symtheory.errors import InputError
from symtheory.files import replacing


def of_run(run: Any) -> Any:
    """Return a run as a data set: observables, averages, final observables and parameters."""
    variables = variables_of(
        run.model, run.observables, run.averages, run.final, run.params, ("replica",)
    )
    coordinates = {
        "replica": np.arange(run.replicas),
        "record": ("record", run.record_steps, {"long_name": "step at which it was taken"}),
        "time": ("record", run.times),
    }
    attributes = {
        "model": run.model.name,
        "dynamics": str(run.dynamics),
        "steps": run.steps,
        "completed": run.completed,
        "diverged": int(run.diverged),
        "description": run.describe(),
    }
    return xarray().Dataset(variables, coordinates, attributes)


def variables_of(
    model: Any,
    observables: Mapping[str, np.ndarray],
    averages: Mapping[str, Any],
    final: Mapping[str, np.ndarray],
    params: Any,
    front: tuple[str, ...],
) -> dict[str, Any]:
    """Return the variables of a data set; arrays begin with the axes `front`."""
    out: dict[str, Any] = {}

    def add(name: str, axes: tuple[str, ...], array: np.ndarray, text: str) -> None:
        own = tuple(f"{name}_{i}" for i in range(array.ndim - len(axes)))
        out[name] = ((*axes, *own), array, {"long_name": text})

    for name, array in observables.items():
        add(name, (*front, "record"), array, f"observable {name}")
    for name, average in averages.items():
        add(f"{name}_mean", front, average.mean, f"mean over time of {name}")
        variance = average.square / max(average.count, 1)
        add(f"{name}_variance", front, variance, f"variance over time of {name}")
    for name, array in final.items():
        add(f"{name}_final", front, array, f"{name} at the end")
    if params is not None:
        for name, leaf in zip(model.leaves, jax.tree.leaves(params), strict=True):
            add(f"param_{name or 'theta'}", front, leaf, f"parameter {name} at the end")
    return out


def xarray() -> Any:
    """Return the module, or say how to get it."""
    return _module("xarray")


def write(dataset: Any, path: str | os.PathLike[str]) -> None:
    """Write a data set as netCDF, whole or not at all."""
    _module("h5netcdf")
    with replacing(path) as partial:
        dataset.to_netcdf(partial, engine="h5netcdf")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"labelled data sets need {name}, which is not installed; "
            "install symtheory[trajectories]"
        ) from error
