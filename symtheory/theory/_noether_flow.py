"""The Noether flow: what gradient and gradient noise do to the parameters on average.

Gradient descent drives L + gamma |theta|^2 down; the noise moves theta along the symmetry,
  d theta/dt = -(grad L + 2 gamma theta) + sum_k a_k A_k theta,
with a such that every charge obeys its law, 2 <A_k theta, sum_l a_l A_l theta> = T Tr[Sigma A_k]
(in discrete time also + eta grad L^T A_k grad L + 4 eta gamma^2 C_k, the exact step's share).
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import scipy.integrate

from symtheory.errors import BudgetError, InputError
from symtheory.program import NO_DEADLINE, Deadline
from symtheory.symmetry import Exponential
from symtheory.theory._chebyshev import Chebyshev
from symtheory.theory._layout import Layout
from symtheory.theory._noise import Noise, apply_basis, quadratic, unflatten


@dataclasses.dataclass(frozen=True)
class Flow:
    """A path of the Noether flow.

    Attributes:
        times: Times (one SGD step is time eta), shape (n,).
        charges: Charges by component, shape (n, K).
        scales: |theta| |A_k theta|, which bounds |C_k|: the natural size of the charge, (n, K).
        params: The parameters at the last time.
        gradient_norm: |grad L + 2 gamma theta| projected off the symmetry, at the last time.
    """

    times: np.ndarray
    charges: np.ndarray
    scales: np.ndarray
    params: Any
    gradient_norm: float


# Compiled once for a law, whatever the start and the settings. Entries hold what their keys name.
_KEPT: collections.OrderedDict[Any, Any] = collections.OrderedDict()
_MOST_KEPT = 32


def _compiled(noise: Noise, symmetry: Exponential, layout: Layout, start: Any, steps: bool) -> Any:
    """Return the velocity of the flow, and charges and scales of a stack of points, compiled."""
    leaves, tree = jax.tree.flatten(start)
    shapes = tuple(np.shape(leaf) for leaf in leaves)
    key = (id(noise), id(symmetry), id(layout), tree, shapes, steps)
    if key not in _KEPT:
        like = jax.tree.unflatten(tree, [np.zeros(shape) for shape in shapes])
        _KEPT[key] = (_written(noise, symmetry, layout, like, steps), noise, symmetry, layout)
        if len(_KEPT) > _MOST_KEPT:
            _KEPT.popitem(last=False)
    _KEPT.move_to_end(key)
    return _KEPT[key][0]


def _written(noise: Noise, symmetry: Exponential, layout: Layout, start: Any, steps: bool) -> Any:
    def velocity(vector: Any, settings: Any) -> Any:
        temperature, learning_rate, weight_decay, values = settings
        theta = unflatten(start, vector)
        images = apply_basis(symmetry, layout, theta)
        directions = jnp.concatenate(
            [leaf.reshape(layout.count, -1) for leaf in jax.tree.leaves(images)], axis=1
        )
        mean = noise.mean_gradient(theta, values)
        descent = jax.flatten_util.ravel_pytree(mean)[0] + 2 * weight_decay * vector
        charges = directions @ vector
        pushes = temperature * noise.traces(theta, values)
        if steps:
            pushes += learning_rate * noise.gradient_terms(theta, values)
            pushes += 4 * learning_rate * weight_decay**2 * charges
        weights = jnp.linalg.pinv(directions @ directions.T) @ pushes / 2
        return -descent + weights @ directions

    def measure(vector: Any) -> tuple[Any, Any]:
        theta = unflatten(start, vector)
        images = jax.tree.leaves(apply_basis(symmetry, layout, theta))
        squares = sum(jnp.sum(i**2, axis=tuple(range(1, i.ndim))) for i in images)
        return quadratic(symmetry, layout, theta), jnp.sqrt(squares * jnp.sum(vector**2))

    return jax.jit(velocity), jax.jit(jax.vmap(measure))


def _require_time(deadline: Deadline, time: float, end: float) -> None:
    try:
        deadline.check()
    except BudgetError as error:
        raise BudgetError(
            f"the Noether flow came to time {time:.4g} of {end:.4g} before the time limit; allow "
            "more seconds or predict a shorter run"
        ) from error


def noether_flow(
    noise: Noise,
    symmetry: Exponential,
    layout: Layout,
    params: Any,
    times: Any,
    *,
    temperature: float,
    learning_rate: float = 0.0,
    weight_decay: float = 0.0,
    values: Any = None,
    deadline: Deadline = NO_DEADLINE,
) -> Flow:
    """Integrate the Noether flow from `params` and record the charges at `times`.

    Args:
        noise: The gradient noise.
        symmetry: The symmetry, with the basis `layout` of its family.
        layout: The basis of generators.
        params: Where the flow starts.
        times: Increasing times, the first at or after 0.
        temperature: T = eta/S.
        learning_rate: eta, for the terms of a discrete step; 0 for continuous time.
        weight_decay: gamma.
        values: Constants and covariances that the model leaves unbound.
        deadline: A time limit, checked at every evaluation.

    Raises:
        InputError: The flow leaves every bound before the last time.
        BudgetError: The time limit was reached; the error says how far the flow came.

    Source: arXiv 2402.07193, section on the Noether flow; the joint form is this package's.
    """
    times = np.atleast_1d(np.asarray(times, dtype=float))
    with jax.enable_x64(True):
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        flat, _ = jax.flatten_util.ravel_pytree(start)
        velocity, measure = _compiled(noise, symmetry, layout, start, bool(learning_rate))
        settings = (temperature, learning_rate, weight_decay, dict(values or {}))
        fast = lambda vector: velocity(vector, settings)

        def timed(time: float, y: Any) -> np.ndarray:
            _require_time(deadline, time, float(times[-1]))
            return np.asarray(fast(y))

        method: Any = "LSODA" if noise.smooth else Chebyshev
        solution = scipy.integrate.solve_ivp(
            timed,
            (0.0, float(times[-1]) or 1e-12),
            np.asarray(flat),
            method=method,
            t_eval=times,
            # An average over samples is no better known than to a percent.
            rtol=1e-8 if noise.smooth else 2e-3,
            atol=1e-10 if noise.smooth else 2e-4,
        )
        if not solution.success or solution.y.shape[1] != len(times):
            raise InputError(
                f"the Noether flow could not be integrated to time {times[-1]:g} from these "
                f"parameters: {solution.message}; start closer to a minimum or shorten the run"
            )

        charges, scales = measure(jnp.asarray(solution.y.T))
        last = jnp.asarray(solution.y[:, -1])
        return Flow(
            times,
            np.asarray(charges),
            np.asarray(scales),
            jax.tree.map(np.asarray, unflatten(start, last)),
            float(jnp.linalg.norm(fast(last))),
        )
