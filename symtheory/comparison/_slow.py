"""The slow flow against SGD: where the charges drift to as the learning rate goes to zero."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from symtheory.comparison._equivalence import equivalence
from symtheory.comparison._squares import square_of_mean
from symtheory.comparison._trend import Trend, trend
from symtheory.comparison._verdicts import diverged_verdict
from symtheory.errors import InputError
from symtheory.simulation import Run
from symtheory.theory import RelativeEquilibrium
from symtheory.verdict import Status, Verdict, conjunction

_REFERENCE = "beyond arXiv 2402.07193: the slow flow on a family of symmetries"
_WINDOWS_PER_TURN = 60
_RELAXATIONS = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class SlowComparison:
    """What SGD says about the slow flow and about the plain matrix equilibrium.

    Attributes:
        slow_flow: Whether |E D|^2 agrees with the relative equilibrium of the slow flow, D the
            relative drift of the charges of each symmetry.
        matrix_equilibrium: Whether |E D|^2 = 0, as at the matrix equilibrium.
        trends: |E D|^2 by symmetry: the limit of learning rate 0, and the first order in it.
    """

    slow_flow: Verdict
    matrix_equilibrium: Verdict
    trends: Mapping[str, Trend]


def compare_slow_flow(
    predicted: RelativeEquilibrium,
    runs: Sequence[Run],
    *,
    margin: float,
    burn_in: float = 0.5,
    confidence: float = 0.99,
) -> SlowComparison:
    """Decide from SGD at several learning rates where the slow flow comes to rest.

    The statistic is |E D|^2, the squared Frobenius norm of the ensemble mean of the relative drift,
    estimated without bias from pairs of different replicas (`square_of_mean`) in windows that are
    short beside a turn of the stationary state, and extrapolated linearly to learning rate 0. It
    does not depend on the orientation of the hidden basis; eigenvalues of D do not either, but
    noise biases them. Replicas turn together if they start at one point. Runs that leave out less
    than three relaxation times at the start, and runs whose halves disagree, decide nothing.

    Args:
        predicted: `flow.stationary()`, without weight decay, at temperature 1.
        runs: Runs with `observe=flow` from one starting point, at two or more learning rates.
        margin: Deviation of |D| that still counts as agreement.
        burn_in: Part of every run to leave out: several relaxation times, each
            1/(predicted.relaxation eta T) steps, less what the start already has.
        confidence: Of each interval.

    Raises:
        InputError: A run did not record the relative drifts, or the numbers are out of range.
    """
    if not margin > 0 or not 0 <= burn_in < 1:
        raise InputError(f"margin must be positive and burn_in in [0, 1), got {margin}, {burn_in}")
    slow, matrix, trends, still = [], [], {}, []
    for run in runs:
        if run.diverged:
            verdict = diverged_verdict(run, "the slow flow", _REFERENCE)
            return SlowComparison(verdict, verdict, {})
    for name in predicted.relative_drifts:
        if any(name not in run.observables for run in runs):
            raise InputError(f"a run did not record {name!r}; simulate with observe=flow")
    if short := _too_short(predicted, runs, burn_in):
        verdict = Verdict(Status.INCONCLUSIVE, "SGD is at rest", how=short, reference=_REFERENCE)
        return SlowComparison(verdict, verdict, {})
    for name, drift in predicted.relative_drifts.items():
        points = []
        for run in runs:
            records = run.observables[name]
            records = records[:, int(burn_in * records.shape[1]) :]
            turned = (
                2
                * predicted.rotation_rate
                * run.dynamics.temperature
                * run.dynamics.time_per_step
                * run.record_every
                * records.shape[1]
            )
            windows = int(np.ceil(turned / (2 * np.pi) * _WINDOWS_PER_TURN))
            windows = min(max(1, windows), records.shape[1])
            points.append((run.dynamics.learning_rate, square_of_mean(records, windows)))
            if moving := _moving(records, windows, margin, float(np.linalg.norm(drift))):
                still.append(f"{name} at eta = {run.dynamics.learning_rate:g}: {moving}")
        line = trends[name] = trend(points)
        size = float(np.linalg.norm(drift))
        how = f"limit of eta = {', '.join(f'{rate:g}' for rate in line.learning_rates)}"
        slow.append(
            equivalence(
                f"|E D|^2 = {size**2:.4g} for {name} ({how})",
                size**2,
                line.limit,
                2 * size * margin + margin**2,
                confidence,
            )
        )
        matrix.append(
            equivalence(f"|E D|^2 = 0 for {name} ({how})", 0.0, line.limit, margin**2, confidence)
        )
    if still:
        part = Verdict(Status.INCONCLUSIVE, "SGD is at rest", how="; ".join(still))
        slow, matrix = [part], [part]
    return SlowComparison(
        conjunction("SGD comes to rest where the slow flow does", slow, reference=_REFERENCE),
        conjunction(
            "SGD comes to rest at the matrix noise equilibrium", matrix, reference=_REFERENCE
        ),
        trends,
    )


def _too_short(predicted: RelativeEquilibrium, runs: Sequence[Run], burn_in: float) -> str:
    """Say which run leaves out less than some relaxation times at the start, empty if none."""
    if not predicted.relaxation > 0:
        return ""
    for run in runs:
        time = run.dynamics.temperature * run.dynamics.time_per_step
        wanted = _RELAXATIONS / (predicted.relaxation * time)
        if burn_in * run.completed < wanted:
            return (
                f"at eta = {run.dynamics.learning_rate:g} the {burn_in:.0%} of {run.completed} "
                f"steps left out at the start are fewer than {_RELAXATIONS:g} relaxation times; "
                f"simulate at least {int(np.ceil(wanted / max(burn_in, 1e-9)))} steps"
            )
    return ""


def _moving(records: np.ndarray, windows: int, margin: float, size: float) -> str:
    """Say whether |E D|^2 differs between the halves of the records, empty if it does not."""
    half = records.shape[1] // 2
    if half < 1 or windows < 2:
        windows = 2
    each = max(windows // 2, 1)
    if half < each:
        return "too few records to see whether it moves"
    ends = [square_of_mean(part, each) for part in (records[:, :half], records[:, -half:])]
    # The halves are of the same replicas, so their errors may add up.
    gap = abs(float(ends[1].mean) - float(ends[0].mean))
    error = float(ends[0].standard_error) + float(ends[1].standard_error)
    room = 2 * size * margin + margin**2
    if gap - 3 * error > room:
        return f"|E D|^2 still moves by {gap:.3g}, more than the {room:.3g} of the margin"
    return ""
