"""Gradient flow: the limit without noise."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from symtheory.model import Model
from symtheory.simulation import _checks
from symtheory.simulation._kernel import Kernel, data_set, decayed, mean_loss


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """d theta / dt = -grad L - 2 gamma theta, by the classical Runge-Kutta scheme of order four.

    L is the mean over a pool of N samples, drawn once per replica from its key, so that the spread
    between replicas shows the error of the pool; over all rows, exactly, when the model's data are
    an `Empirical`.

    Args:
        step: h > 0, in units of time.
        weight_decay: gamma >= 0.
        samples: N >= 1, the size of the pool (not used with `Empirical` data).

    Raises:
        InputError: A number is out of its range.

    Source: arXiv 2402.07193, section 2.

    >>> GradientFlow(step=0.1).temperature
    0.0
    """

    step: float
    weight_decay: float = 0.0
    samples: int = 1024

    def __post_init__(self) -> None:
        _checks.positive("step", self.step)
        _checks.not_negative("weight_decay", self.weight_decay)
        _checks.count("samples", self.samples)

    @property
    def temperature(self) -> float:
        """There is no noise."""
        return 0.0

    @property
    def time_per_step(self) -> float:
        """Continuous time that one step stands for."""
        return float(self.step)

    @property
    def rate(self) -> float:
        """The number to lower when the run diverges: the step."""
        return float(self.step)

    def at_rate(self, rate: float) -> GradientFlow:
        """Return the same flow with another step."""
        return dataclasses.replace(self, step=rate)

    def settings(self) -> dict[str, float]:
        """Numbers that may change without compiling anew."""
        return {"step": self.step, "weight_decay": self.weight_decay}

    def static(self) -> GradientFlow:
        """Return what determines the compiled program."""
        return GradientFlow(1.0, samples=int(self.samples))

    def kernel(self, model: Model, dtype: Any) -> Kernel:
        """Return one step of one replica."""
        rows, mean = data_set(model, dtype), mean_loss(model, dtype)

        def gradient(params: Any, pool: Any) -> Any:
            return jax.grad(mean)(params, pool if rows is None else rows)

        def update(params: Any, memory: Any, pool: Any, settings: Any) -> tuple[Any, Any]:
            h, gamma = settings["step"], settings["weight_decay"]

            def force(shift: Any, factor: Any) -> Any:
                at = jax.tree.map(lambda p, s: p - factor * s, params, shift)
                return decayed(gradient(at, pool), at, gamma)

            k1 = force(params, 0 * h)
            k2 = force(k1, h / 2)
            k3 = force(k2, h / 2)
            k4 = force(k3, h)
            new = jax.tree.map(
                lambda p, a, b, c, d: p - h / 6 * (a + 2 * b + 2 * c + d), params, k1, k2, k3, k4
            )
            return new, memory

        def draw(key: jax.Array) -> Any:
            return model.sample(key, (self.samples,), dtype) if rows is None else jnp.zeros(())

        return Kernel(0, draw, lambda params: (), update, gradient)
