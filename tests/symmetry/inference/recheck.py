"""The check on the loss itself: a random finite element of the whole inferred group."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from tests.symmetry.inference.models import Case, draw


def worst_change(case: Case, found: Any, draws: int = 6) -> float:
    """Return the largest relative change of the loss, at parameters of many magnitudes."""
    loss = jax.jit(case.loss)
    worst = 0.0
    for seed in range(draws):
        params, data = draw(case, seed, 10.0 ** (seed % 4 - 1))
        moved = found.random_element(jax.random.key(seed))(params)
        before, after = float(loss(params, *data)), float(loss(moved, *data))
        if not np.isfinite(before):
            continue
        if not np.isfinite(after):
            return np.inf
        worst = max(worst, abs(before - after) / (abs(before) + abs(after) + 1e-300))
    return worst
