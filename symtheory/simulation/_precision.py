"""Whether single precision can resolve the steps of a run."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.errors import InputError
from symtheory.model import Model

_MOVES = 1e-3
_SAMPLES = 64


def require_resolved(model: Model, dynamics: Any, initial: Any, steps: int, key: Any) -> None:
    """Refuse single precision where it would round every step of some parameter away.

    The root mean square of the first step is computed in double precision. A leaf none of whose
    entries moves by half its spacing of floats stays where it is; that is wrong if over the whole
    run it would have moved by more than a thousandth.

    Raises:
        InputError: Naming the parameter.
    """
    rate = np.float64(dynamics.rate)
    with jax.enable_x64(True):
        start = jax.tree.map(lambda x: jnp.asarray(x[0], jnp.float64), initial)
        settings = {n: np.float64(v) for n, v in dynamics.settings().items()}
        move = jax.device_get(_first_step(model, dynamics.static())(start, settings, key))
    half_spacing = np.finfo(np.float32).eps / 4
    for name, step, p in zip(
        model.leaves, jax.tree.leaves(move), jax.tree.leaves(initial), strict=True
    ):
        size = np.abs(np.asarray(p[0], float))
        lost = (step <= half_spacing * size) | (step == 0)
        if np.all(lost) and np.max(step * steps - _MOVES * size) > 0:
            worst = np.unravel_index(np.argmax(step), np.shape(step))
            raise InputError(
                f"float32 cannot resolve this run: a step of rate {rate:g} moves parameter "
                f"{name!r} by about {step[worst]:.2g}, and the float32 numbers next to "
                f"{size[worst]:.3g} are {np.spacing(np.float32(size[worst])):.2g} apart: it would "
                "never move; give float64 parameters (with jax_enable_x64) or a larger rate"
            )


@functools.lru_cache(maxsize=64)
def _first_step(model: Model, dynamics: Any) -> Any:
    kernel = dynamics.kernel(model, np.dtype(np.float64))

    @jax.jit
    def step(params: Any, settings: Any, key: Any) -> Any:
        def one(key: Any) -> Any:
            noise = kernel.draw(key)
            noise = jax.tree.map(lambda x: x[0], noise) if kernel.chunk else noise
            new, _ = kernel.update(params, kernel.start(params), noise, settings)
            return jax.tree.map(lambda a, b: (a - b) ** 2, new, params)

        squares = jax.vmap(one)(jax.random.split(key, _SAMPLES))
        return jax.tree.map(lambda x: jnp.sqrt(jnp.mean(x, axis=0)), squares)

    return step
