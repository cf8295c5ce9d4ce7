"""Other ways to break symmetries: frozen weights, an asymmetric activation, perturbations."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from symtheory.errors import InputError
from symtheory.syre._bias import canonical, dotted, fan_in, leaf_key
from symtheory.syre._prepared import Loss, Prepared


@dataclasses.dataclass(frozen=True)
class WFix:
    """Some entries of every row of every matrix are frozen at random constants.

    Args:
        per_row: How many entries of each row are frozen.
        scale: Spread of the constants, times 1/sqrt(fan-in).
        weight_decay: gamma of plain decay on the entries that are trained.
        in_axis: Which axis of a weight counts its inputs (the entries of a row).

    Source: Lim et al. 2024, arXiv 2405.20231 (W-asymmetric networks).
    """

    per_row: int = 1
    scale: float = 1.0
    weight_decay: float = 0.0
    in_axis: int = -1
    name = "W-fix"

    def prepare(self, loss: Loss, params: Any, *, key: Any) -> Prepared:
        """Return the problem in which frozen entries neither move nor get a gradient."""
        key = canonical(key)

        def frozen(path: Any, leaf: Any) -> tuple[Any, Any]:
            if jnp.ndim(leaf) != 2:
                return jnp.zeros(leaf.shape, bool), leaf
            inputs = leaf.shape[self.in_axis]
            if not 0 < self.per_row < inputs:
                raise InputError(
                    f"per_row is {self.per_row}, but the rows of {dotted(path)!r} have {inputs} "
                    "entries; freeze at least one and not all"
                )
            where, what = jax.random.split(leaf_key(key, dotted(path)))
            order = jax.random.uniform(where, leaf.shape)
            ranked = jnp.argsort(jnp.argsort(order, axis=self.in_axis), axis=self.in_axis)
            spread = self.scale / fan_in(leaf.shape, self.in_axis) ** 0.5
            values = spread * jax.random.normal(what, leaf.shape, leaf.dtype)
            return ranked < self.per_row, values

        leaves, structure = jax.tree_util.tree_flatten_with_path(params)
        pairs = [frozen(path, leaf) for path, leaf in leaves]
        masks = jax.tree.unflatten(structure, [mask for mask, _ in pairs])
        values = jax.tree.unflatten(structure, [value for _, value in pairs])

        def weights(free: Any) -> Any:
            return jax.tree.map(jnp.where, masks, values, free)

        decay = optax.add_decayed_weights(2 * self.weight_decay)
        changed = lambda free, *args, **options: loss(weights(free), *args, **options)
        return Prepared(changed, weights(params), decay, weights=weights)


@dataclasses.dataclass(frozen=True)
class AsymmetricActivation:
    """Every layer's activation becomes x * sigmoid(F x) with a fixed random matrix F.

    The loss must take the activation: `loss(params, ..., activation=relu)`, called as
    `activation(x)` or `activation(x, "layer name")` on arrays whose last axis are the units.

    Args:
        weight_decay: gamma of plain decay.

    Source: Lim et al. 2024, arXiv 2405.20231 (sigma-asymmetric networks, FiGLU).
    """

    weight_decay: float = 0.0
    name = "asymmetric activation"

    def prepare(self, loss: Loss, params: Any, *, key: Any) -> Prepared:
        """Return the problem with its activation replaced."""
        if "activation" not in inspect.signature(loss).parameters:
            raise InputError(
                "the asymmetric activation needs a loss with an argument activation=; write "
                "loss(params, batch, activation=jax.nn.relu) and call activation(x)"
            )
        key = canonical(key)

        def activation(x: Any, layer: str = "") -> Any:
            units = x.shape[-1]
            # A constant of the loss, drawn when it is traced: the loss itself draws nothing.
            with jax.ensure_compile_time_eval():
                own = jax.random.fold_in(leaf_key(key, layer), units)
                mix = jax.random.normal(own, (units, units), x.dtype) / units**0.5
            return x * jax.nn.sigmoid(x @ mix.T)

        changed = functools.partial(loss, activation=activation)
        return Prepared(changed, params, optax.add_decayed_weights(2 * self.weight_decay))


class PerturbState(NamedTuple):
    """State of shrink-and-perturb: updates so far, and the key."""

    count: Any
    key: Any


@dataclasses.dataclass(frozen=True)
class ShrinkAndPerturb:
    """Every so many steps w -> shrink * w + noise.

    Args:
        shrink: Factor on the weights, in (0, 1].
        sigma: Spread of the noise, times 1/sqrt(fan-in).
        every: Steps between two perturbations.
        weight_decay: gamma of plain decay.
        in_axis: Which axis of a weight counts its inputs.

    Source: Ash and Adams 2020, arXiv 1910.08475.
    """

    shrink: float = 0.9
    sigma: float = 0.01
    every: int = 1000
    weight_decay: float = 0.0
    in_axis: int = -1
    name = "shrink and perturb"

    def prepare(self, loss: Loss, params: Any, *, key: Any) -> Prepared:
        """Return the problem with the perturbation behind the optimizer."""
        if not (0 < self.shrink <= 1 and self.sigma >= 0 and self.every >= 1):
            raise InputError(
                "shrink and perturb needs 0 < shrink <= 1, sigma >= 0 and every >= 1, got "
                f"{self.shrink!r}, {self.sigma!r}, {self.every!r}"
            )
        key = canonical(key)

        def init(params: Any) -> PerturbState:
            del params
            return PerturbState(jnp.zeros([], jnp.int32), key)

        def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
            del extra
            if params is None:
                raise InputError(
                    "shrink and perturb needs the current parameters: call "
                    "update(updates, state, params)"
                )
            count: Any = optax.safe_increment(state.count)
            own = jax.random.fold_in(state.key, count)

            def perturbed(path: Any, step: Any, param: Any) -> Any:
                spread = self.sigma / fan_in(param.shape, self.in_axis) ** 0.5
                noise = jax.random.normal(leaf_key(own, dotted(path)), param.shape, param.dtype)
                return step + (self.shrink - 1) * (param + step) + spread * noise

            now = jax.lax.cond(
                count % self.every == 0,
                lambda: jax.tree_util.tree_map_with_path(perturbed, updates, params),
                lambda: updates,
            )
            return now, PerturbState(count, state.key)

        before = optax.add_decayed_weights(2 * self.weight_decay)
        after = optax.GradientTransformationExtraArgs(init, update)
        return Prepared(loss, params, before, after)
