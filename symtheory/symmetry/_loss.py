"""The loss of a model as programs: traced once and lowered once, whoever reads it."""

from __future__ import annotations

import functools
import weakref
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr

from symtheory.model import Model
from symtheory.program import (
    Program,
    equations,
    has_loop,
    is_continuous,
    is_smooth,
    lower,
    pruned,
    redefines_derivatives,
    trace,
)


class Loss:
    """A per-sample loss as a function of parameters, sample and unbound constants.

    Constants with known values are part of the function; `inputs` says what it still takes.

    Args:
        model: A model with all sizes bound.

    Attributes:
        model: The model.
        inputs: Structures of parameters, sample and unbound constants.
        parameters: Number of leaves of the parameters, which come first.
    """

    def __init__(self, model: Model) -> None:
        params, sample, constants = model.structure()
        known = {n: v for n, v in model.values.items() if n in model.constants}
        self.model = model
        self.inputs = (params, sample, {n: s for n, s in constants.items() if n not in known})
        self.parameters = len(jax.tree.leaves(params))
        self._known = known

    def value(self, params: Any, sample: Any, constants: Any) -> Any:
        """Return the loss; an ordinary JAX function."""
        return self.model.evaluate(params, sample, {**self._known, **constants})

    @functools.cached_property
    def closed(self) -> ClosedJaxpr:
        """The loss, traced in double precision.

        Raises:
            UnreadableError: It runs a loop until a condition on its values holds: at some points
                such a loop does not end, so that nothing about the loss can be evaluated.
        """
        closed = pruned(trace(self.value, *self.inputs)[0])
        if has_loop(closed):
            lower(closed)  # one with a known number of turns is written out
        return closed

    @functools.cached_property
    def program(self) -> Program:
        """The loss, lowered.

        Raises:
            UnreadableError: A primitive cannot be lowered.
        """
        return lower(self.closed)

    @functools.cached_property
    def derivative(self) -> Program:
        """grad l . t for a tangent t that comes after the parameters: what JAX differentiates."""

        rules = (e.primitive.name for e in equations(self.closed.jaxpr))
        reverse_only = any(name.startswith("custom_vjp") for name in rules)

        def along(p: Any, t: Any, z: Any, c: Any) -> Any:
            if not reverse_only:
                return jax.jvp(lambda q: self.value(q, z, c), (p,), (t,))[1]
            slope = jax.grad(lambda q: self.value(q, z, c))(p)
            terms = jax.tree.map(lambda a, b: (a * b).sum(), slope, t)
            return sum(jax.tree.leaves(terms), 0.0)

        params, sample, constants = self.inputs
        return lower(pruned(trace(along, params, params, sample, constants)[0]))

    @functools.cached_property
    def redefines_derivatives(self) -> bool:
        """Whether it stops gradients or brings derivative rules that are not JAX's own."""
        return redefines_derivatives(self.closed)

    @functools.cached_property
    def is_continuous(self) -> bool:
        """Whether it is certainly continuous in the parameters, on all of their space."""
        return is_continuous(self.program, self.parameters)

    @functools.cached_property
    def is_smooth(self) -> bool:
        """Whether it is made of smooth functions, with the derivatives that JAX gives them."""
        return is_smooth(self.program) and not self.redefines_derivatives


_LOSSES: weakref.WeakKeyDictionary[Model, Loss] = weakref.WeakKeyDictionary()


def loss_of(model: Model) -> Loss:
    """Return the loss of a model, the same object for the same model."""
    if model not in _LOSSES:
        _LOSSES[model] = Loss(model)
    return _LOSSES[model]
