"""What a simulation returns."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from symtheory.simulation._moments import Average


@dataclasses.dataclass(frozen=True)
class Divergence:
    """Where a run left the finite numbers.

    Attributes:
        replica: The first replica to do so (the lowest one, if several do at the same step).
        step: The update, counted from 0, that made its parameters infinite or undefined.
        largest_stable_rate: The largest learning rate (or step of the integrator), among halvings
            of the one used, at which all replicas stayed finite over `tried_steps`; None if no
            halving did.
        tried_steps: Length of those trials.
    """

    replica: int
    step: int
    largest_stable_rate: float | None
    tried_steps: int

    def describe(self) -> str:
        """Return the finding and what to do as one sentence.

        >>> Divergence(3, 17, 0.05, 100).describe()
        'replica 3 became non-finite at step 17; try a learning rate or step of at most 0.05, ...'
        """
        found = f"replica {self.replica} became non-finite at step {self.step}"
        if self.largest_stable_rate is None:
            return f"{found}, and at every smaller rate tried; start closer to a minimum"
        return (
            f"{found}; try a learning rate or step of at most {self.largest_stable_rate:.4g}, "
            f"at which all replicas stayed finite for {self.tried_steps} steps"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """An ensemble of trajectories.

    Attributes:
        model: The model that was simulated.
        dynamics: The algorithm, with its settings.
        steps: Steps asked for.
        completed: Steps done; less than `steps` when the run diverged.
        replicas: Number of independent trajectories R.
        record_every: Steps between records, k.
        record_steps: Steps at which the observables were recorded: 0, k, 2k, ... below
            `completed`; each record is taken before the step of that number.
        observables: By name, arrays of shape (R, records, ...).
        final: By name, the observables of the parameters alone at the end, of shape (R, ...).
        params: The last parameters, with a leading axis of length R.
        initial: The first parameters, with a leading axis of length R.
        seconds: Wall-clock time, compilation included.
        divergence: None, or where the run became non-finite; then everything above stops before
            that step, and holds finite parameters only.
        averages: By name, the `Average` over time of an observable, where one was asked for.
    """

    model: Any
    dynamics: Any
    steps: int
    completed: int
    replicas: int
    record_every: int
    record_steps: np.ndarray
    observables: Mapping[str, np.ndarray]
    final: Mapping[str, np.ndarray]
    params: Any
    initial: Any
    seconds: float
    divergence: Divergence | None = None
    averages: Mapping[str, Average] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

    @property
    def times(self) -> np.ndarray:
        """Continuous times of the records: one step takes `dynamics.time_per_step`."""
        return self.record_steps * self.dynamics.time_per_step

    @property
    def diverged(self) -> bool:
        """Whether some replica became non-finite."""
        return self.divergence is not None

    def describe(self) -> str:
        """Return what was run, and whether it diverged, in words."""
        text = (
            f"{self.replicas} replicas of {self.model.name}, {self.completed} of {self.steps} "
            f"steps of {self.dynamics}"
        )
        return f"{text}: {self.divergence.describe()}" if self.divergence else text

    def dataset(self) -> Any:
        """Return the run as an `xarray.Dataset` with the coordinates replica, record and time.

        Raises:
            InputError: The extra `trajectories` is not installed.
        """
        from symtheory.simulation._dataset import of_run

        return of_run(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `dataset()` as netCDF (HDF5), which xarray, MATLAB, R and many others read.

        Raises:
            InputError: The extra `trajectories` is not installed.
        """
        from symtheory.simulation._dataset import write

        write(self.dataset(), path)
