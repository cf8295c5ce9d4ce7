"""Where runs end: predicted and measured charges of the last quarter, whatever the start."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from symtheory.comparison._equivalence import equivalence
from symtheory.comparison._estimates import Estimate, mean_over_replicas
from symtheory.comparison._prediction import Prediction, measured_charge, predict
from symtheory.simulation import Run
from symtheory.theory import Law
from symtheory.verdict import Status, Verdict, conjunction


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
