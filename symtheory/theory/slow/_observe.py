"""The drift of the charges at any parameters, as functions that a simulation can record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp

from symtheory.model import Model
from symtheory.theory.slow._algebra import Algebra
from symtheory.theory.slow._points import Points


def drift_functions(
    model: Model, algebra: Algebra, points: Points, temperature: float, weight_decay: float
) -> dict[str, Callable[[Any], Any]]:
    """Return (T Tr[Sigma A] - 4 gamma C)/(T Tr Sigma + 4 gamma |theta|^2) by symmetry."""
    stack = algebra.stack.toarray()[: algebra.given]

    def function(place: slice, layout: Any) -> Callable[[Any], Any]:
        rows = stack[place]

        def drift(params: Any) -> Any:
            theta, back = jax.flatten_util.ravel_pytree(params)
            slope = jax.grad(lambda v, z: model.evaluate(back(v), z))
            gradients = jax.vmap(slope, (None, 0))(theta, points.samples)
            weights = jnp.asarray(points.weights, theta.dtype)
            mean = weights @ gradients
            noise = (gradients * weights[:, None]).T @ gradients - jnp.outer(mean, mean)
            total = temperature * noise
            scale = temperature * jnp.trace(noise)
            if weight_decay:
                total = total - 4 * weight_decay * jnp.outer(theta, theta)
                scale = scale + 4 * weight_decay * jnp.sum(theta**2)
            values = jnp.asarray(rows, theta.dtype) @ total.reshape(-1)
            return layout.arrange_numbers(values) / scale

        return drift

    return {name: function(place, layout) for name, place, layout in algebra.labels}
