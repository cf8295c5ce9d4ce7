"""What a law predicts for a run: the charge along the Noether flow from the run's own starts."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from symtheory.comparison._estimates import Estimate, mean_over_replicas
from symtheory.errors import InputError
from symtheory.program import NO_DEADLINE, Deadline
from symtheory.simulation import SDE, SGD, GradientFlow, Run
from symtheory.theory import Flow, Law

_STARTS = 16
_POOLS = 6


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The charge that a law predicts for a run, at its records and at its end.

    Attributes:
        times: Times of the records and of the end, shape (n,).
        charges: Predicted charges by component, shape (n, K).
        scales: Their natural size |theta| |A_k theta|, shape (n, K).
        flows: The flow from every distinct start.
        pools: Predictions from independent pools of samples, shape (pools, n, K), where the law's
            moments are not exact; empty where they are.
        start: Charges at time 0, shape (K,).
    """

    times: np.ndarray
    charges: np.ndarray
    scales: np.ndarray
    flows: tuple[Flow, ...]
    pools: np.ndarray
    start: np.ndarray

    def size(self, window: slice, weights: np.ndarray) -> float:
        """Return the size |theta| |A theta| that margins refer to: in the window or at the start.

        The start counts too, because where the parameters collapse their fluctuations do not.
        """
        sizes = self.scales[:-1] @ np.abs(weights)
        return float(max(sizes[window].mean(), sizes[0]))

    def estimate(self, window: slice, weights: np.ndarray) -> Estimate | None:
        """Return the weighted charge in a window of records as an estimate, None if exact."""
        if not len(self.pools):
            return None
        return mean_over_replicas((self.pools[:, :-1][:, window] @ weights).mean(axis=1))


def predict(
    law: Law, run: Run, *, temperature: float | None = None, deadline: Deadline = NO_DEADLINE
) -> Prediction:
    """Integrate the Noether flow of a law for the settings and starting points of a run.

    Args:
        law: The law.
        run: The run; only its settings and initial parameters are used, nothing measured.
        temperature: Another temperature than the run's, to see it refuted.
        deadline: A time limit.

    Raises:
        BudgetError: The time limit was reached.
        InputError: The run starts from more than 16 different points, or its model has not the
            shapes of the law's.
    """
    if run.model.leaves != law.model.leaves:
        raise InputError(
            f"the run is of {run.model.name} with shapes {run.model.leaves}, the law of "
            f"{law.model.name} with {law.model.leaves}; derive the law at the same sizes"
        )
    dynamics = run.dynamics
    settings = flow_settings(dynamics)
    if temperature is not None:
        settings["temperature"] = temperature
    times = np.append(run.times, run.completed * dynamics.time_per_step)
    starts, counts = distinct_starts(run.initial, run.replicas)
    values = {n: v for n, v in run.model.values.items() if n in law.model.unbound}

    def integrate(version: Law) -> tuple[Flow, ...]:
        return tuple(
            version.noether_flow(start, times, deadline=deadline, **settings, **values)
            for start in starts
        )

    def charges(paths: tuple[Flow, ...]) -> np.ndarray:
        return np.average([flow.charges for flow in paths], axis=0, weights=counts)

    pools = np.array([charges(integrate(part)) for part in law.sampled_parts(_POOLS)])
    flows = integrate(law)
    return Prediction(
        times,
        pools.mean(axis=0) if len(pools) else charges(flows),
        np.average([flow.scales for flow in flows], axis=0, weights=counts),
        flows,
        pools,
        _start_charges(law, starts, counts),
    )


def _start_charges(law: Law, starts: list[Any], counts: list[int]) -> np.ndarray:
    """Return the mean charge of the starting points, shape (K,)."""
    with jax.enable_x64(True):
        charge = law.observables()["charge"]
        each = [np.ravel(np.asarray(charge(start), dtype=float)) for start in starts]
    return np.average(each, axis=0, weights=counts)


def flow_settings(dynamics: Any) -> dict[str, float]:
    """Return temperature, learning rate and weight decay of the flow that a dynamics follows."""
    if isinstance(dynamics, SGD):
        # With momentum the charge follows plain SGD at the rate eta/(1 - beta).
        return {
            "temperature": dynamics.time_per_step / dynamics.batch_size,
            "learning_rate": 0.0 if dynamics.momentum else dynamics.learning_rate,
            "weight_decay": dynamics.weight_decay,
        }
    if isinstance(dynamics, SDE):
        return {"temperature": dynamics.temperature, "weight_decay": dynamics.weight_decay}
    if isinstance(dynamics, GradientFlow):
        return {"temperature": 0.0, "weight_decay": dynamics.weight_decay}
    raise InputError(f"there is no law for the dynamics {dynamics!r}; use SGD, SDE or GradientFlow")


def distinct_starts(initial: Any, replicas: int) -> tuple[list[Any], list[int]]:
    """Return the distinct starting points and how many replicas have each."""
    leaves, tree = jax.tree.flatten(initial)
    rows = np.concatenate([np.asarray(leaf).reshape(replicas, -1) for leaf in leaves], axis=1)
    _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    if len(first) > _STARTS:
        raise InputError(
            f"the run starts from {len(first)} different points; compare at most {_STARTS} at a "
            "time"
        )
    starts = [jax.tree.unflatten(tree, [np.asarray(leaf)[i] for leaf in leaves]) for i in first]
    return starts, list(counts)


def measured_charge(run: Run) -> np.ndarray:
    """Return the recorded charges, shape (replicas, records, K).

    Raises:
        InputError: The run did not observe the law.
    """
    if "charge" not in run.observables:
        raise InputError(
            "the run did not record the charge; simulate with observe=law (recorded: "
            f"{', '.join(run.observables) or 'nothing'})"
        )
    charge = np.asarray(run.observables["charge"], dtype=float)
    return charge.reshape(*charge.shape[:2], -1)
