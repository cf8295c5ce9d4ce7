"""The same removal as a change of the loss, with conversions in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from symtheory.syre._bias import check_decay


def reparametrize(
    loss: Callable[..., Any], center: Any, weight_decay: Any, diagonal: Any = None
) -> Callable[..., Any]:
    """Return l_r(theta, ...) = l(theta + theta_0, ...) + gamma |theta|_D^2.

    Training theta with any optimizer is the same path as training w = theta + theta_0 on l with
    `decay_towards` in front of that optimizer.

    Args:
        loss: `loss(params, ...)`, a scalar; further arguments are passed on.
        center: theta_0, like the parameters; leaves that are `optax.MaskedNode` are neither moved
            nor decayed (so `center_of(state)` fits).
        weight_decay: gamma.
        diagonal: D, like the parameters (the identity if omitted).

    Source: arXiv 2408.15495, the algorithm.

    >>> ridge = reparametrize(lambda w: (w - 1.0) ** 2, jnp.asarray(0.5), 1.0)
    >>> float(jax.grad(ridge)(0.25))  # at w = .75, half-way between 1 and theta_0
    0.0
    """
    check_decay(weight_decay)

    def changed(theta: Any, *args: Any, **options: Any) -> Any:
        value = loss(to_weights(theta, center), *args, **options)
        return value + weight_decay * squared_norm(theta, center, diagonal)

    return changed


def to_weights(theta: Any, center: Any) -> Any:
    """Return w = theta + theta_0."""
    return _combine(lambda t, c: t + c, theta, center)


def to_offsets(weights: Any, center: Any) -> Any:
    """Return theta = w - theta_0."""
    return _combine(lambda w, c: w - c, weights, center)


def squared_norm(theta: Any, center: Any, diagonal: Any = None) -> Any:
    """Return |theta|_D^2 over the leaves that have a centre."""
    leaves, tree = jax.tree.flatten(theta)
    centers = tree.flatten_up_to(center)
    weights = [None] * len(leaves) if diagonal is None else tree.flatten_up_to(diagonal)
    total = 0.0
    for leaf, place, weight in zip(leaves, centers, weights, strict=True):
        if not isinstance(place, optax.MaskedNode):
            total = total + jnp.sum(leaf * leaf if weight is None else weight * leaf * leaf)
    return total


def _combine(function: Callable[[Any, Any], Any], tree: Any, center: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    pairs = zip(leaves, structure.flatten_up_to(center), strict=True)
    return jax.tree.unflatten(
        structure, [x if isinstance(c, optax.MaskedNode) else function(x, c) for x, c in pairs]
    )
