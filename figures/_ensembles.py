"""Ensembles as a figure keeps them: band, mean and its error at every record."""

from __future__ import annotations

from typing import Any

import numpy as np

import symtheory as st


def summary(values: Any, name: str) -> dict[str, np.ndarray]:
    """Return mean, standard error and middle 80 % over the leading axis of replicas.

    The arrays are called `name_mean`, `name_error`, `name_low`, `name_high` and `name_count`.
    """
    array = np.asarray(values, dtype=np.float64)
    low, high = np.quantile(array, [0.1, 0.9], axis=0)
    estimate = st.mean_over_replicas(array)
    return {
        f"{name}_mean": np.asarray(estimate.mean),
        f"{name}_error": np.asarray(estimate.standard_error),
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_count": np.asarray(len(array)),
    }


def estimate(dataset: Any, name: str, place: Any = ()) -> st.Estimate:
    """Return one entry of a summary as an estimate."""
    mean, error = (dataset[f"{name}_{what}"][place] for what in ("mean", "error"))
    return st.Estimate(float(mean), float(error), int(np.ravel(dataset[f"{name}_count"])[0]))


def interval(found: st.Estimate, level: float = 0.95) -> str:
    """Return an estimate as text with the half-width of its Student interval."""
    return f"{found.mean:.4g} +- {half_width(found, level):.2g}"


def half_width(found: st.Estimate, level: float = 0.95) -> float:
    """Return the half-width of the Student interval of an estimate."""
    from scipy import stats

    return float(stats.t.ppf((1 + level) / 2, found.count - 1) * found.standard_error)


def mean_band(dataset: Any, name: str, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the Student interval of the mean at every record of a summary."""
    mean, error = dataset[f"{name}_mean"], dataset[f"{name}_error"]
    unit = st.Estimate(0.0, 1.0, int(dataset[f"{name}_count"]))
    half = half_width(unit, level) * error
    return mean - half, mean + half


def scaled(found: st.Estimate, factor: float) -> st.Estimate:
    """Return an estimate in another unit."""
    return st.Estimate(found.mean * factor, found.standard_error * factor, found.count)


def must_fail(claim: str, verdict: st.Verdict) -> st.Verdict:
    """Return the verdict on a control: it holds if what it tries is refuted."""
    status = st.Status.SUPPORTED if verdict.status is st.Status.REFUTED else st.Status.INCONCLUSIVE
    if verdict.status.holds:
        status = st.Status.REFUTED
    how = f"control: the attempt is {verdict.status}"
    return st.Verdict(
        status, claim, how, verdict.predicted, verdict.measured, verdict.standard_error,
        parts=(verdict,),
    )  # fmt: skip
