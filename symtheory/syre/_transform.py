"""Decay towards a drawn bias as an optax transformation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from symtheory.errors import InputError
from symtheory.syre._bias import (
    Sigma,
    check_decay,
    check_diagonal,
    check_real,
    dotted,
    draw_bias,
    draw_diagonal,
)
from symtheory.syre._state import DecayTowardsState, check_same

Scalar = Any
Schedule = Callable[[Any], Any]
Mask = Any


def decay_towards(
    weight_decay: Scalar | Schedule,
    *,
    key: Any = None,
    sigma0: Sigma = None,
    center: Any = None,
    sigma_d: float | None = None,
    diagonal: Any = None,
    learning_rate: Scalar | Schedule | None = None,
    mask: Mask | None = None,
    in_axis: int = -1,
) -> optax.GradientTransformationExtraArgs:
    """Return the transformation g -> g + 2 gamma D (w - theta_0), theta_0 drawn once (syre).

    It removes the reflection symmetries of the loss: where ordinary weight decay pulls towards 0,
    which lies on their mirrors, this pulls towards a random point, which does not. Its place in
    `optax.chain` says where the decay enters:

    - before the optimizer, `chain(decay_towards(...), optax.adam(1e-3))`: the decay is part of the
      gradient that the optimizer sees. This is the same path as training theta = w - theta_0 on
      l(theta + theta_0) + gamma |theta|_D^2, to rounding (see `reparametrize`).
    - inside it, `chain(optax.scale_by_adam(), decay_towards(...), scale_by_learning_rate(1e-3))`,
      or after a complete optimizer with that optimizer's `learning_rate`,
      `chain(optax.adam(1e-3), decay_towards(..., learning_rate=1e-3))`: the decay is decoupled, as
      in AdamW. Under plain SGD all three agree; under Adam or momentum they differ.

    The bias is part of the state: donate the state to the compiled step (`donate_argnums`), or it
    is copied in every step.

    Args:
        weight_decay: gamma, a number or a schedule of the step. The term is gamma |theta|^2, so
            optax's `add_decayed_weights(wd)` corresponds to gamma = wd/2.
        key: Key of the bias (and of D), a `jax.random` key or an integer.
        sigma0: Spread of the bias: one number, a function of (name, shape), or None for
            .01/sqrt(fan-in) of each leaf.
        center: theta_0 itself, instead of a key.
        sigma_d: Draw D from U(1 - sigma_D, 1 + sigma_D); needed against rotation symmetries only,
            and to be small beside sigma_0.
        diagonal: D itself, positive with distinct entries, like the parameters.
        learning_rate: A number or a schedule, for use after a complete optimizer.
        mask: Which leaves are decayed: a pytree of booleans or a function of the parameters, as
            elsewhere in optax. `weights_only` leaves out biases.
        in_axis: Which axis of a weight counts its inputs; -2 for Flax's x @ W.

    Raises:
        InputError: An argument is out of range; a parameter is an integer; `update` is called
            without parameters, or with a tree that is not the one of `init`.

    Source: arXiv 2408.15495, the algorithm; section 10 of the theory for the equivalence.

    >>> from symtheory.syre import center_of
    >>> params = {"w": jnp.ones(3)}
    >>> optimizer = optax.chain(decay_towards(0.1, key=0, sigma0=0.5), optax.sgd(0.1))
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update({"w": jnp.zeros(3)}, state, params)
    >>> bool(jnp.allclose(updates["w"], -0.1 * 2 * 0.1 * (params["w"] - center_of(state)["w"])))
    True
    """
    check_decay(weight_decay)
    if (key is None) == (center is None):
        raise InputError(
            "decay_towards needs either key= (an integer or a jax.random key), to draw the bias, "
            "or center=, the bias itself"
        )
    if diagonal is not None:
        check_diagonal(diagonal)
    if sigma_d is not None and (key is None or diagonal is not None):
        raise InputError("sigma_d draws D from the key: give key=, and no diagonal beside it")
    if mask is not None and (center is not None or diagonal is not None):
        raise InputError(
            "mask goes with a drawn bias; a given center or diagonal has its own leaves: mask the "
            "whole transformation with optax.masked"
        )

    def init(params: Any) -> DecayTowardsState:
        jax.tree_util.tree_map_with_path(lambda path, leaf: check_real(dotted(path), leaf), params)
        place = center
        if place is None:
            place = draw_bias(key, params, sigma0, in_axis=in_axis)
        weights = diagonal
        if sigma_d is not None:
            weights = draw_diagonal(key, params, sigma_d)
        for tree, name in ((place, "center"), (weights, "diagonal")):
            if tree is not None:
                check_same(tree, params, f"{name} was given as")
        as_arrays = lambda tree: jax.tree.map(
            lambda leaf, p: jnp.asarray(leaf, p.dtype), tree, params
        )
        weights = None if weights is None else as_arrays(weights)
        return DecayTowardsState(jnp.zeros([], jnp.int32), as_arrays(place), weights)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        del extra
        if params is None:
            raise InputError(
                "decay_towards needs the current parameters: call update(updates, state, params)"
            )
        check_same(state.center, params, "init was called with")
        after = state._replace(count=optax.safe_increment(state.count))
        # A constant 0 is skipped, as in optax: the updates stay as they are, bit by bit.
        if not callable(weight_decay) and is_zero(weight_decay):
            return updates, after
        gamma: Any = weight_decay(state.count) if callable(weight_decay) else weight_decay
        rate = 2 * gamma
        if learning_rate is not None:
            step: Any = learning_rate(state.count) if callable(learning_rate) else learning_rate
            rate = -step * rate

        def leaf(update: Any, param: Any, toward: Any, weight: Any = None) -> Any:
            if update is None:
                return None
            pull = rate * (param - toward)
            pull = pull if weight is None else pull * weight
            return update + pull.astype(update.dtype)

        trees = [params, state.center, *([] if state.diagonal is None else [state.diagonal])]
        return jax.tree.map(leaf, updates, *trees, is_leaf=lambda x: x is None), after

    transformation = optax.GradientTransformationExtraArgs(init, update)
    return transformation if mask is None else optax.masked(transformation, mask)


def weights_only(params: Any) -> Any:
    """Return a mask that is True for matrices and higher, False for biases and scales.

    >>> weights_only({"W": jnp.zeros((2, 3)), "b": jnp.zeros(2)})
    {'W': True, 'b': False}
    """
    return jax.tree.map(lambda leaf: np.ndim(leaf) > 1, params)


def is_zero(value: Any) -> bool:
    """Tell whether a number is known to be 0 (a traced one never is)."""
    return not isinstance(value, Tracer) and float(value) == 0.0
