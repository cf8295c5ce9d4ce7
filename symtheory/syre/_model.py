"""The model of l_r: a Model like any other, that remembers what it was made from."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory import shapes
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.readable import require_readable
from symtheory.syre._bias import (
    Sigma,
    check_decay,
    check_diagonal,
    draw_bias,
    draw_diagonal,
    sigma_of,
)
from symtheory.syre._reparametrize import squared_norm, to_weights


@dataclasses.dataclass(frozen=True, eq=False)
class RemovedModel(Model):
    """The model of l_r(theta) = l(theta + theta_0) + gamma |theta|_D^2.

    Attributes:
        base: The model of l.
        bias: theta_0, like the parameters.
        weight_decay: gamma.
        diagonal: D, like the parameters, or None for the identity.
        sigma0: The spread with which each leaf of the bias was drawn, by leaf name (empty if the
            bias was given).
    """

    base: Model = None  # type: ignore[assignment]
    bias: Any = None
    weight_decay: float = 0.0
    diagonal: Any = None
    sigma0: Any = dataclasses.field(default_factory=dict)

    def bind(self, **sizes_and_arrays: Any) -> RemovedModel:
        """Return the model with constants, covariances or means fixed; see `Model.bind`."""
        bound = super().bind(**sizes_and_arrays)
        return dataclasses.replace(bound, base=self.base.bind(**sizes_and_arrays))  # type: ignore[return-value]

    def to_weights(self, theta: Any) -> Any:
        """Return w = theta + theta_0, the parameters of the original loss."""
        return to_weights(theta, self.bias)

    def to_offsets(self, weights: Any) -> Any:
        """Return theta = w - theta_0."""
        return jax.tree.map(lambda w, b: w - b, weights, self.bias)


def remove_symmetries(
    model: Model,
    *,
    weight_decay: float,
    key: Any = None,
    sigma0: Sigma = None,
    bias: Any = None,
    sigma_d: float | None = None,
    diagonal: Any = None,
    in_axis: int = -1,
) -> RemovedModel:
    """Return the model of l_r(theta; z) = l(theta + theta_0; z) + gamma |theta|_D^2.

    It is a `Model`: discover, derive and simulate apply to it as to any other (with weight decay 0
    there, since the decay is part of l_r), and `certify` says which reflections are gone.

    Args:
        model: A model with all sizes bound; constants and covariances may stay open.
        weight_decay: gamma > 0. With 0 the loss is only translated, and no symmetry is removed.
        key: Key of the bias, a `jax.random` key or an integer.
        sigma0: Spread of the bias: one number, a function of (name, shape), or None for
            .01/sqrt(fan-in) of each leaf.
        bias: theta_0 itself, instead of a key.
        sigma_d: Draw D from U(1 - sigma_D, 1 + sigma_D), against rotation symmetries.
        diagonal: D itself, positive with distinct entries.
        in_axis: Which axis of a weight counts its inputs; -1 for W @ x.

    Raises:
        InputError: A size is not bound, the loss cannot be read (it draws random numbers, has no
            gradient, is nowhere finite), or an argument is out of range.

    Source: arXiv 2408.15495, the algorithm.

    >>> from symtheory.data import Normal
    >>> model = Model(lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2,
    ...               params={"u": (), "w": ()}, random={"y": Normal(())})
    >>> removed = remove_symmetries(model, weight_decay=0.1, sigma0=0.1, key=0)
    >>> removed.leaves == model.leaves, sorted(removed.bias)
    (True, ['u', 'w'])
    """
    check_decay(weight_decay)
    require_readable(model)
    if (key is None) == (bias is None):
        raise InputError(
            "remove_symmetries needs either key= (an integer or a jax.random key), to draw the "
            "bias, or bias=, the bias itself"
        )
    structs, _, _ = model.structure(np.float32)
    sigmas: dict[str, float] = {}
    if bias is None:
        bias = _numpy(draw_bias(key, structs, sigma0, in_axis=in_axis))
        for name, shape in model.leaves.items():
            sigmas[name] = sigma_of(sigma0, name, shapes.fixed(shape), in_axis)
    else:
        bias = model.check_params(_numpy(bias))
    if sigma_d is not None:
        if key is None or diagonal is not None:
            raise InputError("sigma_d draws D from the key: give key=, and no diagonal beside it")
        diagonal = _numpy(draw_diagonal(key, structs, sigma_d))
        check_diagonal(diagonal, distinct=False)
    elif diagonal is not None:
        diagonal = model.check_params(_numpy(diagonal))
        check_diagonal(diagonal)
    gamma, place, weights = float(weight_decay), bias, diagonal

    def loss(params: Any, *rest: Any) -> Any:
        # In the precision of the parameters, whatever it is at each call.
        center = _like(params, place)
        scales = None if weights is None else _like(params, weights)
        value = model.loss(to_weights(params, center), *rest)
        return value + gamma * squared_norm(params, center, scales)

    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(Model)}
    fields |= {"loss": loss, "name": f"{model.name} without symmetries"}
    return RemovedModel(
        **fields, base=model, bias=bias, weight_decay=gamma, diagonal=diagonal, sigma0=sigmas
    )


def _like(params: Any, tree: Any) -> Any:
    return jax.tree.map(lambda x, leaf: jnp.asarray(leaf, jnp.result_type(x)), params, tree)


def _numpy(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype=float), tree)
