"""What a search needs to be true of the loss before it starts."""

from __future__ import annotations

from typing import Any

from jax.extend.core import ClosedJaxpr, Literal

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.program import equations

_RANDOM = ("random_bits", "threefry2x32", "random_seed", "random_fold_in", "rng_uniform")


def check(model: Model, loss: ClosedJaxpr) -> None:
    """Check that a traced loss is a function of what it is given.

    Raises:
        InputError: The parameters are all empty, or the loss draws random numbers itself.
    """
    if model.dimension == 0:
        raise InputError("the model's parameters are all empty; give at least one entry")
    for name in {equation.primitive.name for equation in equations(loss.jaxpr)}:
        if name in _RANDOM:
            raise InputError(
                f"the loss of {model.name} draws random numbers itself (primitive {name!r}), so it "
                "is not a function of parameters and sample; put the random array into "
                "Model(random=...), such as {'mask': Rademacher('h')}"
            )


def integer_inputs(loss: ClosedJaxpr) -> set[int]:
    """Return which arguments are only ever converted to integers: labels and positions."""
    uses: dict[Any, list[bool]] = {}
    for equation in loss.jaxpr.eqns:
        whole = (
            equation.primitive.name == "convert_element_type"
            and equation.outvars[0].aval.dtype.kind in "iu"
        )
        for variable in equation.invars:
            if not isinstance(variable, Literal):
                uses.setdefault(variable, []).append(whole)
    return {k for k, v in enumerate(loss.jaxpr.invars) if all(uses.get(v, [False]))}
