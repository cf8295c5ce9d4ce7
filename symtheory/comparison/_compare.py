"""Law against run: does the measured charge follow the predicted Noether flow?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from symtheory.comparison._equivalence import equivalence
from symtheory.comparison._estimates import Estimate, mean_over_replicas
from symtheory.comparison._power import POWER, Evidence, checked_power, identical
from symtheory.comparison._power import verdicts as power_verdicts
from symtheory.comparison._verdicts import diverged_verdict
from symtheory.errors import InputError
from symtheory.program import NO_DEADLINE, Deadline
from symtheory.simulation import SDE, SGD, GradientFlow, Run
from symtheory.theory import Flow, Law
from symtheory.verdict import Status, Verdict, conjunction

_REFERENCE = "arXiv 2402.07193, charge law and noise equilibrium"
_STARTS = 16
_POOLS = 6
_LONGER = 2.0 ** np.arange(1, 13)


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
    settings = _flow_settings(dynamics)
    if temperature is not None:
        settings["temperature"] = temperature
    times = np.append(run.times, run.completed * dynamics.time_per_step)
    starts, counts = _distinct(run.initial, run.replicas)
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


def _flow_settings(dynamics: Any) -> dict[str, float]:
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


def _distinct(initial: Any, replicas: int) -> tuple[list[Any], list[int]]:
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


def compare(
    law: Law,
    run: Run,
    *,
    margin: float = 0.05,
    confidence: float = 0.99,
    power: float = POWER,
    temperature: float | None = None,
) -> Verdict:
    """Decide whether the measured charge is equivalent to the predicted one.

    The mean charge over replicas is compared with the Noether flow from the same start at a
    quarter and at half of the run, and averaged over its last quarter (prediction and measurement
    alike). Every component k must be equivalent: its confidence interval, at a level shared out
    over all comparisons, inside predicted +- margin * |theta| |A_k theta| (the larger of
    its predicted values then and at the start).

    A charge that hardly moves is near every prediction, so that is not enough: the same run must
    also be one that would have refuted a law without the drift, and one whose noise is off by
    `power`. The temperature that fits the measured charges best, in units of the run's own, has to
    be equivalent to the law's within half of `power`, and the measured drift to the predicted one.
    Where the run cannot tell, the verdict is `inconclusive` and says how many replicas or steps
    would do.

    Args:
        law: The law.
        run: A run that observed it.
        margin: Half-width of the equivalence interval relative to |theta| |A_k theta|.
        confidence: Joint confidence of all intervals.
        power: Share in (0, 1) by which the noise of a law that has to be refuted is off.
        temperature: Predict with another temperature than the run's (a control).

    Returns:
        A `Verdict`: `supported`, `refuted` or `inconclusive`, with one part per comparison; each
        says the smallest deviation that it would have refuted (`detectable`).

    Raises:
        InputError: The law has no charge, the run did not observe it, or `power` is not in (0, 1).

    Source: arXiv 2402.07193.
    """
    power = checked_power(power)
    claim = f"the mean charge of {law.name} follows the Noether flow"
    if run.diverged:
        return diverged_verdict(run)
    charge = measured_charge(run)
    if same := identical_replicas(run):
        return Verdict(Status.INCONCLUSIVE, claim, how=same, reference=_REFERENCE)
    prediction = predict(law, run, temperature=temperature)
    found = evidence(law, run, prediction, power, temperature=temperature)
    intervals = 3 * charge.shape[2] + 2
    level = 1 - (1 - confidence) / intervals
    parts = windows(run, prediction, margin, level)
    parts += power_verdicts([found], power, level)
    how = (
        f"{run.replicas} replicas, {run.completed} steps; intervals at joint confidence "
        f"{confidence:g} against +-{margin:.0%} of |theta| |A theta|, and noise to +-{power:.0%}"
    )
    return conjunction(claim, parts, how=how, reference=_REFERENCE)


def windows(run: Run, prediction: Prediction, margin: float, level: float) -> list[Verdict]:
    """Compare the charges in three windows of a run with their prediction, one by one."""
    charge = measured_charge(run)
    records, components = charge.shape[1:]
    last = slice(3 * records // 4, records)
    places = {"1/4": slice(records // 4, records // 4 + 1)}
    places |= {"1/2": slice(records // 2, records // 2 + 1), "the last quarter": last}
    moved = prediction.charges - prediction.start
    parts = []
    for name, window in places.items():
        for k in range(components):
            estimate = mean_over_replicas(charge[:, window, k].mean(axis=1))
            scale = prediction.size(window, np.eye(components)[k])
            label = f"charge {k + 1}" if components > 1 else "charge"
            predicted = float(prediction.charges[:-1][window, k].mean())
            sampled = prediction.estimate(window, np.eye(components)[k])
            if sampled is not None:  # the prediction has an error of its own
                estimate = _with_error_of(sampled, estimate)
            claim = f"{label} at {name} of the run"
            effect = float(np.abs(moved[:-1][window, k].mean()))
            parts.append(
                equivalence(claim, predicted, estimate, margin * scale, level, effect=effect)
            )
    return parts


def identical_replicas(run: Run) -> str:
    """Say which replicas of a run with noise are the same, empty if none are."""
    if isinstance(run.dynamics, GradientFlow) or not run.model.random:
        return ""
    return identical(measured_charge(run), run.params)


def evidence(
    law: Law,
    run: Run,
    prediction: Prediction,
    power: float,
    *,
    temperature: float | None = None,
    deadline: Deadline = NO_DEADLINE,
) -> Evidence:
    """Return what a run and its law say, and what the law would say of weaker or stronger noise.

    Args:
        law: The law.
        run: A run that observed it.
        prediction: Of the law for the run, at the same temperature.
        power: By which share of the run's temperature the others differ.
        temperature: Another temperature than the run's (a control).
        deadline: A time limit.
    """
    settings = _flow_settings(run.dynamics)
    own = settings["temperature"]
    chosen = own if temperature is None else temperature
    unit = own or chosen
    below, above = max(chosen - power * unit, 0.0), chosen + power * unit
    starts, counts = _distinct(run.initial, run.replicas)
    values = {n: v for n, v in run.model.values.items() if n in law.model.unbound}
    noisy = law.noise is not None and _noisy(law, starts, values)
    predicted = prediction.charges[:-1]
    lower = upper = predicted
    longer: tuple[float, ...] = ()
    if noisy and unit:
        end = prediction.times[-1]
        rough = (law.sampled_parts(1) or [law])[0]  # a difference of flows over the same samples

        def charges(level: float, times: np.ndarray) -> np.ndarray:
            rest = {k: v for k, v in settings.items() if k != "temperature"}
            paths = [
                rough.noether_flow(
                    start, times, temperature=level, deadline=deadline, **rest, **values
                ).charges
                for start in starts
            ]
            return np.average(paths, axis=0, weights=counts)

        # Beyond the run, too, to say how many steps would do, where that costs little.
        further = end * _LONGER if law.noise is not None and law.noise.smooth else end * _LONGER[:0]
        try:
            times = np.concatenate([prediction.times, further])
            both = [charges(level, times) for level in (below, above)]
        except InputError:
            both = [charges(level, prediction.times) for level in (below, above)]
        count = len(predicted)
        lower, upper = (path[:count] for path in both)
        spread = (both[1] - both[0]) ** 2
        here = float(np.mean(np.sum(spread[:count], axis=1)))
        if here > 0:
            longer = tuple(np.sqrt(np.sum(spread[count + 1 :], axis=1) / (3 * here)).tolist())
    return Evidence(
        measured_charge(run),
        predicted,
        lower,
        upper,
        prediction.start,
        float(prediction.scales.max()),
        chosen,
        unit,
        below,
        above,
        prediction.pools[:, :-1] if len(prediction.pools) else prediction.pools,
        noisy,
        run.completed,
        longer,
    )


def _noisy(law: Law, starts: list[Any], values: Any) -> bool:
    """Tell whether the law has noise along the symmetry anywhere near the starts."""
    assert law.noise is not None
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        for start in starts[:1]:
            leaves, tree = jax.tree.flatten(start)
            for _ in range(3):
                moved = [
                    np.asarray(leaf) + (0.1 + np.abs(leaf)) * rng.normal(size=np.shape(leaf))
                    for leaf in leaves
                ]
                traces = law.noise.traces(jax.tree.unflatten(tree, moved), values)
                if np.any(np.abs(np.asarray(traces)) > 1e-9):
                    return True
    return False


def _with_error_of(predicted: Estimate, measured: Estimate) -> Estimate:
    """Return the measurement with the prediction's error added, at the smaller sample's size."""
    error = float(np.hypot(predicted.standard_error, measured.standard_error))
    return Estimate(measured.mean, error, min(predicted.count, measured.count))


@dataclasses.dataclass(frozen=True)
class FinalCharge:
    """One component of the charge in the last quarter of a run: predicted and measured."""

    predicted: float
    measured: Estimate
    scale: float


def final_charges(law: Law, run: Run, prediction: Prediction | None = None) -> list[FinalCharge]:
    """Return predicted and measured charges averaged over the last quarter of a run."""
    prediction = prediction or predict(law, run)
    charge = measured_charge(run)
    last = slice(3 * charge.shape[1] // 4, charge.shape[1])
    return [
        FinalCharge(
            float(prediction.charges[:-1][last, k].mean()),
            mean_over_replicas(charge[:, last, k].mean(axis=1)),
            prediction.size(last, np.eye(charge.shape[2])[k]),
        )
        for k in range(charge.shape[2])
    ]


def final_total(law: Law, run: Run, prediction: Prediction) -> FinalCharge:
    """Return the charge of the family's identity member in the last quarter of a run.

    For matrix factorization this is |U|^2 - |W|^2, the balance of the two factors.
    """
    weights = diagonal_weights(law)
    charge = measured_charge(run) @ weights
    last = slice(3 * charge.shape[1] // 4, charge.shape[1])
    return FinalCharge(
        float((prediction.charges[:-1][last] @ weights).mean()),
        mean_over_replicas(charge[:, last].mean(axis=1)),
        prediction.size(last, weights),
    )


def initialization_independence(
    law: Law,
    runs: list[Run],
    predictions: Sequence[Prediction | None] | None = None,
    *,
    margin: float = 0.05,
    confidence: float = 0.99,
) -> Verdict:
    """Decide whether runs from different starts end at the same total charge.

    The trace of the matrix charge (the plain charge of a single generator) in the last quarter is
    compared with its mean over the runs.

    Args:
        law: The law the runs observed.
        runs: Runs from different starting points.
        predictions: Their predictions, where they are at hand.
        margin: Half-width of the equivalence interval relative to |theta| |A theta|.
        confidence: Joint confidence.
    """
    weights = diagonal_weights(law)
    ends, scales = [], []
    for run, prediction in zip(runs, predictions or [None] * len(runs), strict=True):
        charge = measured_charge(run) @ weights
        last = charge[:, 3 * charge.shape[1] // 4 :]
        ends.append(mean_over_replicas(last.mean(axis=1)))
        scales.append(
            sum(
                f.scale * abs(w)
                for f, w in zip(final_charges(law, run, prediction), weights, strict=True)
            )
        )
    center = float(np.mean([end.mean for end in ends]))
    first = [float((measured_charge(run)[:, 0] @ weights).mean()) for run in runs]
    apart, room = max(first) - min(first), 2 * margin * max(scales)
    level = 1 - (1 - confidence) / len(runs)
    parts = [
        equivalence(
            f"total charge from start {i + 1}",
            center,
            end,
            margin * scale,
            confidence=level,
            effect=apart,
        )
        for i, (end, scale) in enumerate(zip(ends, scales, strict=True))
    ]
    if apart <= room:
        how = f"they differ by {apart:.3g}, and the margins leave room for {room:.3g}"
        parts.append(Verdict(Status.INCONCLUSIVE, "the starts differ in their charge", how=how))
    return conjunction("the final charge does not depend on the initialization", parts)


def diagonal_weights(law: Law) -> np.ndarray:
    """Return the weights of the components that make up the charge of the identity member."""
    places = law.layout.places
    if not places:
        return np.ones(1)
    return np.array([float(len(place) == 1 or place[0] == place[1]) for place in places])
