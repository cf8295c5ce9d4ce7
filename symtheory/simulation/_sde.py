"""The stochastic differential equation of SGD, by a tamed Euler-Maruyama scheme."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from symtheory.model import Model
from symtheory.simulation import _checks
from symtheory.simulation._kernel import Kernel, chunk_length, decayed, mean_loss, sample_loss


@dataclasses.dataclass(frozen=True)
class SDE:
    """d theta = -(grad L + 2 gamma theta) dt + sqrt(T Sigma) dW (Ito), T = 2 sigma^2 = eta / S.

    One step of length h draws M fresh samples with per-sample gradients g_i and mean m, and
    standard normal weights w_i with mean w:

        Delta = -h (m + 2 gamma theta) + sqrt(T h / (M - 1)) sum_i (w_i - w) g_i,
        theta' = theta + Delta / (1 + |Delta|^4)^(1/4).

    Given theta, the noise has covariance T h times the unbiased sample covariance of the g_i, so
    T h Sigma on average. The mean m fluctuates too, which adds h^2 Sigma / M: relative to the noise
    an excess of h / (M T), small when h << M T. The denominator, one per replica, bounds a step by
    1, so that noise growing faster than linearly cannot overflow; it changes |Delta| by the
    relative order h^2 only, below the order of the scheme itself.

    Args:
        temperature: T > 0.
        step: h > 0, in units of time (one step of SGD takes the time eta).
        weight_decay: gamma >= 0.
        samples: M >= 2.

    Raises:
        InputError: A number is out of its range.

    Source: arXiv 2402.07193, section 2; taming after Hutzenthaler, Jentzen and Kloeden (2012).

    >>> SDE(temperature=0.1, step=0.01).time_per_step
    0.01
    """

    temperature: float
    step: float
    weight_decay: float = 0.0
    samples: int = 8

    def __post_init__(self) -> None:
        _checks.positive("temperature", self.temperature)
        _checks.positive("step", self.step)
        _checks.not_negative("weight_decay", self.weight_decay)
        _checks.count("samples", self.samples, least=2)

    @property
    def time_per_step(self) -> float:
        """Continuous time that one step stands for."""
        return float(self.step)

    @property
    def rate(self) -> float:
        """The number to lower when the run diverges: the step."""
        return float(self.step)

    def at_rate(self, rate: float) -> SDE:
        """Return the same equation with another step."""
        return dataclasses.replace(self, step=rate)

    def settings(self) -> dict[str, float]:
        """Numbers that may change without compiling anew."""
        return {
            "step": self.step,
            "temperature": self.temperature,
            "weight_decay": self.weight_decay,
        }

    def static(self) -> SDE:
        """Return what determines the compiled program."""
        return SDE(1.0, 1.0, samples=int(self.samples))

    def kernel(self, model: Model, dtype: Any) -> Kernel:
        """Return one step of one replica."""
        chunk = chunk_length(model, self.samples)
        loss, mean = sample_loss(model, dtype), mean_loss(model, dtype)

        def gradient(params: Any, noise: Any) -> Any:
            return jax.grad(mean)(params, noise["sample"])

        def update(params: Any, memory: Any, noise: Any, settings: Any) -> tuple[Any, Any]:
            step, temperature = settings["step"], settings["temperature"]
            w = noise["weight"]
            scale = jnp.sqrt(temperature * step / (self.samples - 1))
            # The whole step is linear in the per-sample gradients: one gradient of a weighted sum.
            weights = scale * (w - jnp.mean(w)) - step / self.samples
            pull = jax.grad(weighted)(params, noise["sample"], weights)
            delta = decayed(pull, params, -step * settings["weight_decay"])
            return jax.tree.map(jnp.add, params, tamed(delta)), memory

        def weighted(params: Any, samples: Any, weights: Any) -> Any:
            each = jax.vmap(loss, in_axes=(None, 0), axis_size=self.samples)
            return jnp.sum(weights * each(params, samples))

        def draw(key: jax.Array) -> Any:
            first, second = jax.random.split(key)
            shape = (chunk, self.samples)
            weight = jax.random.normal(second, shape, dtype)
            return {"sample": model.sample(first, shape, dtype), "weight": weight}

        return Kernel(chunk, draw, lambda params: (), update, gradient)


def tamed(delta: Any) -> Any:
    """Return delta / (1 + |delta|^4)^(1/4), also where |delta|^4 would overflow."""
    leaves = [jnp.abs(leaf).max() for leaf in jax.tree.leaves(delta) if leaf.size]
    size = jnp.maximum(1, jnp.stack(leaves).max())
    unit = jax.tree.map(lambda leaf: leaf / size, delta)
    square = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(unit))
    denominator = (size**-4 + square**2) ** 0.25
    return jax.tree.map(lambda leaf: leaf / denominator, unit)
