"""What the engine needs to know of a dynamics: one step of one replica, and its noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from symtheory.data import Empirical
from symtheory.model import Model

# Random numbers per replica drawn at a time: long enough to amortise the generator's overhead,
# short enough to stay in cache (measured: within 15 % of the best from 256 to 1024).
_DRAWN_AT_ONCE = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """One replica: `draw(key, steps)`, `start(params)`, `update`, `gradient`.

    `draw` returns the noise of a chunk of steps with a leading axis of that length (noise that
    lasts for all time has none, and `chunk` is then 0); `start` what a step remembers besides the
    parameters; `update(params, memory, noise, settings)` the next (params, memory);
    `gradient(params, noise)` the gradient about to be applied, without weight decay.
    """

    chunk: int
    draw: Callable[[jax.Array], Any]
    start: Callable[[Any], Any]
    update: Callable[[Any, Any, Any, dict[str, Any]], tuple[Any, Any]]
    gradient: Callable[[Any, Any], Any]


def chunk_length(model: Model, samples: int, most: int = 64) -> int:
    """Return how many steps' noise to draw at once: a power of two from 1 to `most`."""
    entries = max(1, samples * sum(law.count for law in model.laws.values()))
    length = 1
    while length < most and 2 * length * entries <= _DRAWN_AT_ONCE:
        length *= 2
    return length


def sample_loss(model: Model, dtype: Any) -> Callable[[Any, Any], Any]:
    """Return the loss of one sample, with the constants in the precision of the simulation."""
    constants = {
        name: jnp.asarray(value, dtype if jnp.issubdtype(value.dtype, jnp.floating) else None)
        for name, value in model.values.items()
    }
    return lambda params, sample: model.evaluate(params, sample, constants)


def mean_loss(model: Model, dtype: Any) -> Callable[[Any, Any], Any]:
    """Return the mean loss over samples with a leading axis."""
    loss = sample_loss(model, dtype)

    def mean(params: Any, samples: Any) -> Any:
        if not jax.tree.leaves(samples):  # nothing is random
            return loss(params, samples)
        return jnp.mean(jax.vmap(loss, in_axes=(None, 0))(params, samples))

    return mean


def data_set(model: Model, dtype: Any) -> Any:
    """Return all rows of an empirical law, or None for any other."""
    if isinstance(model.random, Empirical):
        return {name: jnp.asarray(rows, dtype) for name, rows in model.random.columns.items()}
    return None


def decayed(gradient: Any, params: Any, weight_decay: Any) -> Any:
    """Return the gradient of L + gamma |theta|^2."""
    return jax.tree.map(lambda g, p: g + 2 * weight_decay * p, gradient, params)
