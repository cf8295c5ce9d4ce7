"""What statements measure along simulated paths of a charge."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from proofs_check._steps import small


def dot(left: Any, right: Any) -> Any:
    """Return the scalar product of two sets of parameters.

    >>> float(dot({"u": jnp.ones(2)}, {"u": 3 * jnp.ones(2)}))
    6.0
    """
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), left, right)))


def size(params: Any) -> Any:
    """Observe |theta|^2."""
    return dot(params, params)


def noise_size(params: Any, gradient: Any) -> Any:
    """Observe |g|^2 of the minibatch."""
    del params
    return dot(gradient, gradient)


noise_size.needs_gradient = True  # type: ignore[attr-defined]


def step_law(run: st.Run, tolerance: float = 1e-12) -> st.Verdict:
    """Check C' = (1 - 2 eta gamma)^2 C + eta^2 g^T A g at every recorded step of every path.

    The run observed "charge", "gradient_form" and "size" at every step.
    """
    eta, gamma = run.dynamics.learning_rate, run.dynamics.weight_decay
    charge, form = run.observables["charge"], run.observables["gradient_form"]
    right = (1 - 2 * eta * gamma) ** 2 * charge[:, :-1] + eta**2 * form[:, :-1]
    off = np.abs(charge[:, 1:] - right).max(axis=-1) / run.observables["size"][:, 1:]
    how = (
        f"{off.size} steps, eta {eta:.3g}, S {run.dynamics.batch_size}, gamma {gamma:.3g}; "
        "only rounding is left, relative to |theta|^2"
    )
    return small(
        "one step: C' = (1 - 2 eta gamma)^2 C + eta^2 g^T A g", float(off.max()), tolerance, how
    )


def tail(run: st.Run, name: str = "charge", share: float = 0.5) -> np.ndarray:
    """Return an observable averaged over the last part of the records, one row per replica."""
    values = np.asarray(run.observables[name])
    return values[:, int((1 - share) * values.shape[1]) :].mean(axis=1)


def uniform(key: jax.Array, low: float, high: float) -> float:
    """Draw a number."""
    return float(jax.random.uniform(key, minval=low, maxval=high))
