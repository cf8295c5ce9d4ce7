"""Law against run: does the measured charge follow the predicted Noether flow?"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from symtheory.comparison._equivalence import equivalence
from symtheory.comparison._estimates import Estimate, mean_over_replicas
from symtheory.comparison._power import POWER, Evidence, checked_power, identical
from symtheory.comparison._power import verdicts as power_verdicts
from symtheory.comparison._prediction import (
    Prediction,
    distinct_starts,
    flow_settings,
    measured_charge,
    predict,
)
from symtheory.comparison._verdicts import diverged_verdict
from symtheory.errors import InputError
from symtheory.program import NO_DEADLINE, Deadline
from symtheory.simulation import GradientFlow, Run
from symtheory.theory import Law
from symtheory.verdict import Status, Verdict, conjunction

_REFERENCE = "arXiv 2402.07193, charge law and noise equilibrium"
_LONGER = 2.0 ** np.arange(1, 13)


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
    settings = flow_settings(run.dynamics)
    own = settings["temperature"]
    chosen = own if temperature is None else temperature
    unit = own or chosen
    below, above = max(chosen - power * unit, 0.0), chosen + power * unit
    starts, counts = distinct_starts(run.initial, run.replicas)
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
