"""What the statements on reflections share: drawn projections, and losses that have a mirror."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st

CONFIDENCE = 0.999


def generator(key: jax.Array) -> np.random.Generator:
    """Return a generator of numbers for a key; drawing with it needs no compilation."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())


def orthonormal(rng: np.random.Generator, size: int, count: int | None = None) -> np.ndarray:
    """Draw orthonormal columns, along no axis.

    >>> q = orthonormal(np.random.default_rng(0), 5, 2)
    >>> bool(np.allclose(q.T @ q, np.eye(2)))
    True
    """
    return np.linalg.qr(rng.normal(size=(size, count or size)))[0]


def mirrored(
    rng: np.random.Generator, project: np.ndarray, center: np.ndarray
) -> Callable[[Any], Any]:
    """Draw a smooth loss g(w) + g(w - 2 P (w - theta')) of the last axis of w, which is mirrored.

    Args:
        rng: Draws g, the square of a sum of waves in random directions.
        project: P as a matrix.
        center: theta'.
    """
    size = len(project)
    rows = rng.normal(size=(2 * size, size)) / size**0.5
    shifts = rng.uniform(0, 6, 2 * size)
    weights = rng.normal(size=2 * size) / size**0.5

    def wave(w: Any) -> Any:
        sine = jnp.sin if isinstance(w, jax.Array) else np.sin
        return (sine(w @ rows.T + shifts) @ weights) ** 2

    return lambda w: wave(w) + wave(w - 2 * (w - center) @ project)


def rate_below(claim: str, failures: int, trials: int, limit: float) -> st.Verdict:
    """Decide whether a probability is at most `limit`, from the exact binomial interval."""
    from scipy import stats

    interval = stats.binomtest(failures, trials).proportion_ci(CONFIDENCE, method="exact")
    low, high = float(interval.low), float(interval.high)
    if high <= limit:
        status = st.Status.SUPPORTED
    else:
        status = st.Status.REFUTED if low > limit else st.Status.INCONCLUSIVE
    how = f"{failures} of {trials}; exact {CONFIDENCE:g} interval [{low:.4g}, {high:.4g}]"
    return st.Verdict(status, claim, how=how, predicted=limit, measured=failures / trials)


def largest(values: Any) -> float:
    """Return the largest absolute entry; a NaN stays one."""
    return float(np.max(np.abs(np.asarray(values))))
