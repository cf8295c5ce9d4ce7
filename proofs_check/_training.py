"""Many nets trained at once by every method, all decays at the same gamma: one compilation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import symtheory as st

METHODS = ("none", "plain decay", "decay to init", "syre", "W-fix")
Loss = Callable[[Any, Any], Any]


def _prepared(
    start: dict[str, np.ndarray], rng: np.random.Generator, gamma: float, tilt: float
) -> Any:
    """Return gamma, centre of the decay and frozen entries (NaN: none) of every net and method.

    What is drawn follows `st.syre.draw_bias` and `st.syre.WFix` (one entry of every row), for all
    nets at once and without compilation, which would take longer than the training.
    """
    zero, free, fixed, bias = {}, {}, {}, {}
    for name, leaf in start.items():
        spread = st.syre.fan_in(leaf.shape[1:]) ** -0.5
        zero[name], free[name] = np.zeros(leaf.shape), np.full(leaf.shape, np.nan)
        bias[name] = 0.01 * tilt * spread * rng.normal(size=leaf.shape)
        fixed[name] = free[name]
        if leaf.ndim == 3:
            which = rng.integers(leaf.shape[2], size=leaf.shape[:2])[..., None]
            chosen = np.arange(leaf.shape[2]) == which
            fixed[name] = np.where(chosen, spread * rng.normal(size=leaf.shape), np.nan)
    centers, entries = (zero, zero, start, bias, zero), (free, free, free, free, fixed)
    stack = lambda trees: jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *trees)
    gammas = np.tile([0.0, gamma, gamma, gamma, gamma], (len(next(iter(start.values()))), 1))
    return gammas, stack(centers), stack(entries)


@functools.partial(jax.jit, static_argnums=0)
def _descend(loss: Loss, start: Any, cases: Any, data: Any, rate: Any, steps: Any) -> Any:
    def one(start: Any, case: Any, data: Any) -> Any:
        gamma, center, fixed = case
        weights = lambda p: jax.tree.map(lambda w, f: jnp.where(jnp.isnan(f), w, f), p, fixed)
        optimizer = optax.chain(st.syre.decay_towards(gamma, center=center), optax.sgd(rate))
        slope = jax.grad(lambda p: loss(weights(p), data))

        def step(_: Any, carry: Any) -> Any:
            p, state = carry
            updates, state = optimizer.update(slope(p), state, p)
            return optax.apply_updates(p, updates), state

        p, _ = jax.lax.fori_loop(0, steps, step, (start, optimizer.init(start)))
        return weights(p), loss(weights(p), data)

    methods = jax.vmap(one, (None, 0, None))
    return jax.vmap(methods)(start, cases, data)


def trained(
    loss: Loss,
    start: dict[str, np.ndarray],
    data: Any,
    rng: np.random.Generator,
    *,
    gamma: float,
    rate: float,
    steps: int,
    tilt: float = 1.0,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Train nets by every method; return final weights and losses, by method.

    Args:
        loss: `loss(params, data)`.
        start: Initial weights, all leaves with a leading axis of nets.
        data: Arrays with the same leading axis.
        rng: Draws the biases of syre and the constants of W-fix.
        gamma: Weight decay of every method but "none".
        rate: Learning rate of gradient descent.
        steps: How many.
        tilt: Factor on the biases of syre (0 for the control).
    """
    cases = _prepared(start, rng, gamma, tilt)
    weights, losses = _descend(loss, start, cases, data, rate, steps)
    pick = lambda tree, i: jax.tree.map(lambda leaf: np.asarray(leaf[:, i]), tree)
    numbered = list(enumerate(METHODS))
    return {n: pick(weights, i) for i, n in numbered}, {n: pick(losses, i) for i, n in numbered}


def table(counts: dict[str, Any], limits: tuple[float, ...]) -> dict[str, list[str]]:
    """Return means with 95 % intervals by method, one for each threshold."""
    from scipy import stats

    out = {"threshold": [f"{limit:g}" for limit in limits]}
    for method, values in counts.items():
        wide = stats.t.ppf(0.975, len(values) - 1) * np.std(values, axis=0, ddof=1)
        half = wide / len(values) ** 0.5
        pairs = zip(np.mean(values, axis=0), half, strict=True)
        out[method] = [f"{mean:.2f} +- {error:.2f}" for mean, error in pairs]
    return out
