"""What a run could have told apart: the noise that fits it, and the drift that it shows.

A charge that moves little is near almost every prediction. So a law is only supported where the
same run would have refuted it without its drift, and with noise that is off by a stated share. The
charge C_j(t) predicted at the temperature T + x T_0 is, to first order, C_j + x D_j; least squares
over all records and components give the x that fits, one number of each replica, whose mean has an
interval.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from symtheory.comparison._equivalence import equivalence
from symtheory.comparison._estimates import Estimate, linear_combination, mean_over_replicas
from symtheory.errors import InputError
from symtheory.verdict import Status, Verdict

POWER = 0.25
_TINY = 1e-9
_HORIZONS = tuple(2**n for n in range(1, 13))


def checked_power(power: float) -> float:
    """Return the share of the noise that a run has to resolve.

    Raises:
        InputError: It is not in (0, 1).

    >>> checked_power(0.25)
    0.25
    """
    if isinstance(power, bool) or not isinstance(power, (int, float)) or not 0 < power < 1:
        raise InputError(
            f"power is the share by which the noise may be off, between 0 and 1, got {power!r}; "
            "0.25 asks that a law with 25 % more or less noise would have been refuted"
        )
    return float(power)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One run beside what the law says of it, at its temperature and at two others.

    Attributes:
        measured: Recorded charges, shape (replicas, records, K).
        predicted: At the law's temperature, shape (records, K).
        lower: At a temperature that is `power` units lower, or at 0.
        upper: At one that is `power` units higher.
        start: At time 0, shape (K,).
        size: The natural size |theta| |A theta| of the charges.
        temperature: The law's temperature.
        unit: The unit of temperatures: the run's own, the law's where the run has none.
        below: The lower temperature.
        above: The upper temperature.
        pools: Predictions from independent pools of samples, shape (pools, records, K).
        noisy: Whether the law has any noise along the symmetry.
        longer: D at 2, 4, 8, ... times the steps of the run, as root mean squares beside that of
            the run itself; empty where it was not computed.
        steps: Steps of the run.
    """

    measured: np.ndarray
    predicted: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    start: np.ndarray
    size: float
    temperature: float
    unit: float
    below: float
    above: float
    pools: np.ndarray
    noisy: bool
    steps: int
    longer: tuple[float, ...] = ()

    @property
    def sensitivity(self) -> np.ndarray:
        """D: change of the predicted charges per unit of temperature, shape (records, K)."""
        span = (self.above - self.below) / self.unit if self.unit else 0.0
        return (self.upper - self.lower) / span if span else np.zeros_like(self.predicted)

    @property
    def drift(self) -> np.ndarray:
        """Predicted change of the charges since the start, shape (records, K)."""
        return self.predicted - self.start

    def moves(self, direction: np.ndarray) -> bool:
        """Tell whether a direction is more than rounding."""
        return bool(np.max(np.abs(direction), initial=0.0) > _TINY * self.size)


def verdicts(runs: Sequence[Evidence], power: float, level: float) -> list[Verdict]:
    """Return whether the noise and the drift are the predicted ones, from all runs together.

    The margin is half of what has to be resolved, so that an interval inside it excludes all of
    what has to be refuted: noise off by `power`, and no drift at all.

    Args:
        runs: Evidence from independent runs of one law.
        power: Share of the noise.
        level: Confidence of each interval.
    """
    noisy = any(run.noisy and run.unit > 0 for run in runs)
    out = [_noise(runs, power, level)] if noisy else []
    if any(run.moves(run.drift) for run in runs):
        out.append(_drift(runs, 0.5 if noisy else power / 2, level))
    return out


def _noise(runs: Sequence[Evidence], power: float, level: float) -> Verdict:
    """Decide whether the temperature that fits the charges is the law's."""
    expected = runs[0].temperature / runs[0].unit
    claim = (
        f"the noise that fits the drift is {expected:.4g} of the run's, and would not be if it "
        f"were off by {power:.0%}"
    )
    directions = [run.sensitivity for run in runs]
    if not any(run.moves(d) for run, d in zip(runs, directions, strict=True)):
        how = (
            "the predicted charge is the same for every strength of the noise, so this run cannot "
            "tell whether the law's is right; start further from the equilibrium"
        )
        return Verdict(Status.INCONCLUSIVE, claim, how=how)
    weights = _normalized(directions)
    estimate = _fitted(runs, weights, expected)
    # How far the estimate would be off if the noise were: not quite `power` where it saturates.
    others = [
        abs(sum(np.sum(w * (getattr(r, side) - r.predicted)) for r, w in zip(runs, weights)))  # noqa: B905
        for side, there in (("lower", runs[0].below), ("upper", runs[0].above))
        if there != runs[0].temperature
    ]
    reach = float(min(others))
    verdict = equivalence(
        claim, expected, estimate, max(reach / 2, 1e-300), level,
        effect=1.0, unit="times the run's noise",
    )  # fmt: skip
    return _with_longer(verdict, runs, estimate, reach / 2)


def _drift(runs: Sequence[Evidence], margin: float, level: float) -> Verdict:
    """Decide whether the measured drift is the predicted one rather than none."""
    weights = _normalized([run.drift for run in runs])
    estimate = _fitted(runs, weights, 1.0)
    claim = "the measured drift over the predicted one is 1, and not 0"
    unit = "times the predicted drift"
    return equivalence(claim, 1.0, estimate, margin, level, effect=1.0, unit=unit)


def _normalized(directions: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the weights of least squares along a direction that runs through all runs."""
    total = sum(float(np.sum(d**2)) for d in directions)
    return [d / total for d in directions]


def _fitted(runs: Sequence[Evidence], weights: Sequence[np.ndarray], expected: float) -> Estimate:
    """Return `expected` + sum of weights times (measured - predicted), with its error."""
    estimates = []
    for run, w in zip(runs, weights, strict=True):
        each = np.einsum("rjk,jk->r", run.measured - run.predicted, w)
        estimate = mean_over_replicas(each)
        if len(run.pools):  # the prediction has an error of its own
            sampled = mean_over_replicas(np.einsum("pjk,jk->p", run.pools, w))
            error = float(np.hypot(sampled.standard_error, estimate.standard_error))
            estimate = Estimate(estimate.mean, error, min(sampled.count, estimate.count))
        estimates.append(estimate)
    return linear_combination([1.0] * len(estimates), estimates, constant=expected)


def _with_longer(
    verdict: Verdict, runs: Sequence[Evidence], estimate: Estimate, margin: float
) -> Verdict:
    """Add how many steps would do, where the predicted sensitivity still grows with them."""
    half = verdict.detectable - margin if verdict.detectable is not None else math.inf
    if verdict.status is not Status.INCONCLUSIVE or not 0 < half < math.inf:
        return verdict
    room = margin - abs(float(estimate.mean) - float(verdict.predicted))
    wanted = half / max(room, margin / 2)
    for factor, grown in zip(_HORIZONS, runs[0].longer, strict=False):
        # The spread of a charge that noise moves grows as the root of time, at most.
        if grown / math.sqrt(factor) >= 1.2 * wanted:
            more = f"; or about {factor * runs[0].steps} steps"
            return dataclasses.replace(verdict, how=verdict.how + more)
    return verdict


def identical(charges: np.ndarray, params: Any) -> str:
    """Say which replicas of a noisy run are the same, empty if none are.

    Args:
        charges: Recorded charges, shape (replicas, ...).
        params: Final parameters, all leaves with a leading axis of replicas.
    """
    rows = [np.asarray(charges, dtype=float)]
    rows += [np.asarray(leaf, dtype=float) for leaf in jax.tree.leaves(params)]
    flat = np.concatenate([row.reshape(len(row), -1) for row in rows], axis=1)
    _, first, inverse = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(flat):
        return ""
    inverse = np.asarray(inverse).reshape(-1)
    other = next(i for i in range(len(flat)) if first[inverse[i]] != i)
    return (
        f"only {len(first)} of {len(flat)} replicas differ ({int(first[inverse[other]])} and "
        f"{other} are identical): they are not independent; give every replica its own randomness"
    )
