"""What a search needs to be true of the loss before it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.readings._movement import MOVEMENT

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


_SMOOTH = frozenset({
    *MOVEMENT.keys() - {"stop_gradient", "reduce_precision"}, "dot_general", "add", "add_any",
    "sub", "mul", "div", "neg", "integer_pow", "square", "sqrt", "rsqrt", "exp", "exp2", "log",
    "log2", "one_minus_square", "polynomial",
    "expm1", "log1p", "tanh", "logistic", "erf", "erfc", "sin", "cos", "sinh", "cosh", "reduce_sum",
    "reduce_prod", "cumsum", "iota", "convert_element_type", "jit", "pjit",
})  # fmt: skip
_CONTINUOUS = _SMOOTH | {
    "max", "min", "abs", "clamp", "reduce_max", "reduce_min", "stop_gradient", "is_finite",
    "custom_jvp_call", "custom_vjp_call", "closed_call", "remat",
}  # fmt: skip
"""What is continuous where it is finite; stopped derivatives do not change values."""


def is_smooth(loss: ClosedJaxpr) -> bool:
    """Tell whether a loss is made of smooth functions with the derivatives JAX gives them."""
    return set(_primitives(loss.jaxpr)) <= _SMOOTH


def is_continuous(loss: ClosedJaxpr, parameters: int) -> bool:
    """Tell whether a loss is certainly continuous in its parameters, where its values are finite.

    Args:
        loss: The loss, traced.
        parameters: How many of its arguments are parameters; others may be turned into integers.
    """
    return _continuous(loss.jaxpr, set(loss.jaxpr.invars[parameters:]))


def _continuous(jaxpr: Jaxpr, labels: set[Any]) -> bool:
    finite: set[Any] = set()
    kind: Callable[[Any], str] = lambda variable: variable.aval.dtype.kind
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        # Choosing by whether a value is finite makes no difference where all are.
        if name == "is_finite":
            finite.update(equation.outvars)
        first = equation.invars[0] if equation.invars else None
        if name == "select_n" and not isinstance(first, Literal) and first in finite:
            continue
        if name == "convert_element_type" and kind(equation.outvars[0]) in "biu":
            if kind(first) == "f" and (isinstance(first, Literal) or first not in labels):
                return False
        elif name not in _CONTINUOUS and any(kind(v) not in "biu" for v in equation.invars):
            return False
        if not all(_continuous(body, set()) for body in _bodies(equation)):
            return False
    return True


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


def _bodies(equation: Any) -> Iterator[Jaxpr]:
    for value in equation.params.values():
        for inner in value if isinstance(value, (tuple, list)) else [value]:
            body: Any = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
            if isinstance(body, Jaxpr):
                yield body


def _primitives(jaxpr: Jaxpr) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for body in _bodies(equation):
            yield from _primitives(body)
