"""A training problem as a method of `baselines` changes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import optax

Loss = Callable[..., Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A training problem as a method changes it.

    Attributes:
        loss: The loss to differentiate, `loss(params, ...)`.
        params: Where to start.
        before: Transformation in front of the optimizer (the decay of the method).
        after: Transformation behind it (shrink-and-perturb).
        weights: params -> the weights the original loss sees.
    """

    loss: Loss
    params: Any
    before: optax.GradientTransformation = dataclasses.field(default_factory=optax.identity)
    after: optax.GradientTransformation = dataclasses.field(default_factory=optax.identity)
    weights: Callable[[Any], Any] = lambda params: params

    def optimizer(self, inner: optax.GradientTransformation) -> Any:
        """Return the method's transformations around an optimizer."""
        return optax.chain(self.before, inner, self.after)
