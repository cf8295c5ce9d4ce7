"""What a search needs to be true of the loss before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr

from symtheory.errors import InputError
from symtheory.model import Model

_RANDOM = ("random_bits", "threefry2x32", "random_seed", "random_fold_in", "rng_uniform")


def check(model: Model, loss: ClosedJaxpr) -> None:
    """Check that a traced loss is a function of what it is given.

    Raises:
        InputError: The parameters are all empty, or the loss draws random numbers itself.
    """
    if model.dimension == 0:
        raise InputError("the model's parameters are all empty; give at least one entry")
    for name in _primitives(loss.jaxpr):
        if name in _RANDOM:
            raise InputError(
                f"the loss of {model.name} draws random numbers itself (primitive {name!r}), so it "
                "is not a function of parameters and sample; put the random array into "
                "Model(random=...), such as {'mask': Rademacher('h')}"
            )


def _primitives(jaxpr: Jaxpr) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else [value]:
                body: Any = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
                if isinstance(body, Jaxpr):
                    yield from _primitives(body)
