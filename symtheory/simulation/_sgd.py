"""Discrete stochastic gradient descent, the algorithm itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from symtheory.model import Model
from symtheory.simulation import _checks
from symtheory.simulation._kernel import Kernel, chunk_length, decayed, mean_loss, sample_loss


@dataclasses.dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with fresh samples at every step.

    theta' = theta - eta (g_B + 2 gamma theta), g_B the mean of S independent per-sample gradients;
    with momentum beta: v' = beta v + g_B + 2 gamma theta, theta' = theta - eta v', v_0 = 0.

    Args:
        learning_rate: eta > 0.
        batch_size: S >= 1.
        weight_decay: gamma >= 0; the loss is L + gamma |theta|^2 (a framework's `wd` is 2 gamma).
        momentum: beta in [0, 1).

    Raises:
        InputError: A number is out of its range.

    Source: arXiv 2402.07193, section 2.

    >>> SGD(learning_rate=0.02, batch_size=4).temperature
    0.005
    """

    learning_rate: float
    batch_size: int = 1
    weight_decay: float = 0.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _checks.positive("learning_rate", self.learning_rate)
        _checks.count("batch_size", self.batch_size)
        _checks.not_negative("weight_decay", self.weight_decay)
        if not 0 <= _checks.finite("momentum", self.momentum) < 1:
            raise _checks.InputError(f"momentum must be in [0, 1), got {self.momentum!r}")

    @property
    def temperature(self) -> float:
        """T = eta / S, the 2 sigma^2 of the stochastic differential equation."""
        return float(self.learning_rate) / self.batch_size

    @property
    def time_per_step(self) -> float:
        """Continuous time that one step stands for: eta / (1 - beta)."""
        return float(self.learning_rate) / (1 - float(self.momentum))

    @property
    def rate(self) -> float:
        """The number to lower when the run diverges: the learning rate."""
        return float(self.learning_rate)

    def at_rate(self, rate: float) -> SGD:
        """Return the same algorithm at another learning rate."""
        return dataclasses.replace(self, learning_rate=rate)

    def settings(self) -> dict[str, float]:
        """Numbers that may change without compiling anew."""
        out = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        return out | ({"momentum": self.momentum} if self.momentum else {})

    def static(self) -> SGD:
        """Return what determines the compiled program."""
        return SGD(1.0, int(self.batch_size), momentum=0.5 if self.momentum else 0.0)

    def kernel(self, model: Model, dtype: Any) -> Kernel:
        """Return one step of one replica."""
        batch = () if self.batch_size == 1 else (self.batch_size,)
        chunk = chunk_length(model, self.batch_size)
        loss = mean_loss(model, dtype) if batch else sample_loss(model, dtype)
        gradient = jax.grad(loss)

        def start(params: Any) -> Any:
            return jax.tree.map(jnp.zeros_like, params) if self.momentum else ()

        def update(params: Any, velocity: Any, noise: Any, settings: Any) -> tuple[Any, Any]:
            force = decayed(gradient(params, noise), params, settings["weight_decay"])
            if self.momentum:
                beta = settings["momentum"]
                force = velocity = jax.tree.map(lambda v, f: beta * v + f, velocity, force)
            eta = settings["learning_rate"]
            return jax.tree.map(lambda p, f: p - eta * f, params, force), velocity

        def draw(key: jax.Array) -> Any:
            return model.sample(key, (chunk, *batch), dtype)

        return Kernel(chunk, draw, start, update, gradient)
