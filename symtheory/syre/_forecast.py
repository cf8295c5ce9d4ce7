"""The pitchfork of a model at a collapsed state: read off its loss, across one mirror."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from symtheory.errors import InputError
from symtheory.program import compares, equations, lower, pruned, trace
from symtheory.readable import require_readable
from symtheory.symmetry import Reflection
from symtheory.syre._model import RemovedModel
from symtheory.syre._pitchfork import Pitchfork

_LARGEST = 600


@dataclasses.dataclass(frozen=True, eq=False)
class Forecast:
    """Where a collapsed direction goes.

    Attributes:
        state: The collapsed state: weights w with P (w - theta') = 0.
        direction: The direction across the mirror that the loss resists least, of length 1.
        curvature: The second derivative of the loss along it.
        quartic: A sixth of its fourth derivative, other directions following.
        pitchfork: The energy along it; None where the quartic term is not positive, so that the
            escape does not end near the mirror.
        growth: How fast the direction grows at first, per unit of time (negative where it is held).
        gradient: |gradient of l_r| inside the mirror at the state; small where the state is at
            rest.
    """

    state: Any
    direction: Any
    curvature: float
    quartic: float
    pitchfork: Pitchfork | None
    growth: float
    gradient: float

    def weights(self) -> Any:
        """Return the forecast of the weights: the state moved to the attractor.

        Raises:
            InputError: The escape does not end near the mirror.
        """
        if self.pitchfork is None:
            raise InputError(
                f"the quartic term is {self.quartic:g}, so the escape does not end near the "
                "mirror; simulate to see where it goes"
            )
        t = self.pitchfork.attractor
        return jax.tree.map(lambda w, n: w + t * n, self.state, self.direction)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON-ready data."""
        numbers: dict[str, Any] = {
            "curvature": self.curvature,
            "quartic": self.quartic,
            "growth": self.growth,
        }
        if self.pitchfork is None:
            numbers["regime"] = "runaway" if self.growth > 0 else "held"
        else:
            numbers |= self.pitchfork.to_json()
        return {**numbers, "gradient": self.gradient}


def forecast(
    model: RemovedModel,
    reflection: Reflection,
    state: Any = None,
    *,
    key: Any = 0,
    samples: int = 512,
    steps: int = 4000,
    learning_rate: float = 0.02,
) -> Forecast:
    """Forecast where training goes that is collapsed at a mirror (R9), from the loss itself.

    Across the mirror the loss is even. The curvature along the direction it resists least, the
    fourth derivative there (reduced by what the directions inside the mirror give way) and the bias
    make a `Pitchfork`. It holds near the mirror: for a small bias and a small excess.

    Args:
        model: What `remove_symmetries` returned; nothing left to bind.
        reflection: A reflection of the original loss.
        state: Collapsed weights w (moved onto the mirror if they are not on it). If omitted, a
            random point of the mirror, after `steps` of gradient descent inside the mirror.
        key: Key of the samples that stand for the population, and of the random point.
        samples: How many.
        steps: Gradient descent inside the mirror, to come to rest.
        learning_rate: Its learning rate.

    Raises:
        InputError: The loss is pieced together (relu, max), so that it has no fourth derivative,
            or the model is too large.

    Source: section 10 of the theory (R9, beyond arXiv 2408.15495).
    """
    base = require_readable(model.require_bound() and model.base.require_bound())
    if model.dimension > _LARGEST:
        raise InputError(
            f"the forecast needs the Hessian across the mirror; {base.name} has {model.dimension} "
            f"parameters and the limit is {_LARGEST}: bind smaller sizes"
        )
    closed, _ = trace(lambda p, z, c: base.evaluate(p, z, c), *base.structure())
    if compares(lower(pruned(closed))):
        raise InputError(
            f"{base.name} is pieced together (it compares values, as relu, max and abs do); the "
            "forecast needs four derivatives: simulate instead, or take a smooth activation"
        )
    if any(e.primitive.name.startswith("custom_vjp") for e in equations(closed.jaxpr)):
        raise InputError(
            f"{base.name} brings a rule for reverse mode only (jax.custom_vjp); the forecast needs "
            "four derivatives: give the rule with jax.custom_jvp, or simulate instead"
        )
    with jax.enable_x64(True):
        return _forecast(model, reflection, state, key, samples, steps, learning_rate)


def _forecast(
    model: RemovedModel,
    reflection: Reflection,
    state: Any,
    key: Any,
    samples: int,
    steps: int,
    learning_rate: float,
) -> Forecast:
    base = model.base
    key = jax.random.key(key) if isinstance(key, int) else key
    pool_key, start_key = jax.random.split(key)
    pool = base.sample(pool_key, (samples,), jnp.float64)
    structure, _, _ = base.structure(np.float64)
    template = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), structure)
    if state is None:
        flat, unravel = ravel_pytree(template)
        state = unravel(jax.random.normal(start_key, flat.shape) / 2)
    start, unravel = ravel_pytree(jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), state))
    model.check_params(state)
    project = lambda v: ravel_pytree(reflection.project(unravel(v)))[0]
    center = jnp.zeros_like(start)
    if reflection.center is not None:
        center = project(ravel_pytree(reflection.center)[0])
    bias = ravel_pytree(jax.tree.map(jnp.asarray, model.bias))[0]
    weights = jnp.ones_like(bias)
    if model.diagonal is not None:
        weights = ravel_pytree(jax.tree.map(jnp.asarray, model.diagonal))[0]
    gamma = model.weight_decay

    def loss(w: Any) -> Any:
        value = lambda z: base.evaluate(unravel(w), z)
        return jnp.mean(jax.vmap(value, axis_size=samples)(pool))

    def pulled(w: Any) -> Any:
        return loss(w) + gamma * jnp.sum(weights * (w - bias) ** 2)

    def inside(v: Any) -> Any:
        return v - project(v)

    def step(w: Any, _: Any) -> tuple[Any, None]:
        return w - learning_rate * inside(jax.grad(pulled)(w)), None

    at = center + inside(start)
    at = jax.jit(lambda w: jax.lax.scan(step, w, None, length=steps)[0])(at)
    if not bool(jnp.all(jnp.isfinite(at))):
        raise InputError(
            f"gradient descent inside the mirror diverged at learning_rate = {learning_rate:g}; "
            "give a smaller one"
        )
    mirror = jax.jit(jax.vmap(project))(jnp.eye(at.size)).T
    hessian = jax.jit(jax.hessian(loss))(at)
    values, vectors = np.linalg.eigh(np.asarray(mirror))
    across, within = (jnp.asarray(vectors[:, side]) for side in (values > 0.5, values <= 0.5))
    curvatures, directions = jnp.linalg.eigh(across.T @ hessian @ across)
    direction, curvature = across @ directions[:, 0], float(curvatures[0])
    # D weighs the decay of this direction: gamma and b are those of the weighted term.
    weight = float(direction @ (weights * direction))
    along = float(direction @ (weights * (bias - at))) / weight
    direction = direction * (1.0 if along >= 0 else -1.0)
    stiffness = within.T @ (hessian + 2 * gamma * jnp.diag(weights)) @ within
    quartic = _quartic(loss, at, direction, within, stiffness)
    fork = Pitchfork(curvature, quartic, gamma * weight, abs(along)) if quartic > 0 else None
    growth = -(curvature + 2 * gamma * weight)
    rest = float(jax.jit(lambda w: jnp.linalg.norm(inside(jax.grad(pulled)(w))))(at))
    return Forecast(unravel(at), unravel(direction), curvature, quartic, fork, growth, rest)


def _quartic(
    loss: Callable[..., Any], at: Any, direction: Any, within: Any, stiffness: Any
) -> float:
    """Return beta: a sixth of the fourth derivative, less what the other directions give way."""

    def along(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda w: jax.jvp(f, (w,), (direction,))[1]

    second = along(along(loss))
    fourth, slope = jax.jit(lambda w: (along(along(second))(w), jax.grad(second)(w)))(at)
    if not within.shape[1]:
        return float(fourth) / 6
    coupling = within.T @ slope
    return float(fourth) / 6 - float(coupling @ jnp.linalg.solve(stiffness, coupling)) / 2
