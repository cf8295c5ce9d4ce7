"""Primitives and calls that are read as the expression they stand for.

For the sake of rounding JAX has primitives of its own for some expressions, and programs that cut
numbers into parts. Over the real numbers they are the expressions below, which every domain reads
by the rules it has anyway.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax import lax
from jax.extend.core import ClosedJaxpr

_Shape = tuple[tuple[int, ...], Any, bool]

_EXPRESSIONS: dict[str, Callable[..., Any]] = {
    "one_minus_square": lambda x: 1 - lax.square(x),
    "log2": lambda x: lax.log(x) / lax.log(2.0),
    "polynomial": lambda x, *coefficients: functools.reduce(
        lambda total, c: total * x + c, reversed(coefficients)
    ),
}
"""Primitives of JAX 0.11 and 0.12; coefficients come from the lowest degree to the highest."""


def expression(equation: Any) -> ClosedJaxpr | None:
    """Return what an equation computes in terms of other primitives, None if there is no such."""
    function = _EXPRESSIONS.get(equation.primitive.name)
    if function is None and _is_gaussian(equation):
        function = _gaussian
    return None if function is None else _traced(function, _shapes(equation))


def _shapes(equation: Any) -> tuple[_Shape, ...]:
    avals = (atom.aval for atom in equation.invars)
    return tuple((aval.shape, aval.dtype, aval.weak_type) for aval in avals)


@functools.lru_cache(maxsize=256)
def _traced(function: Callable[..., Any], shapes: tuple[_Shape, ...]) -> ClosedJaxpr:
    with jax.enable_x64(True):
        return jax.make_jaxpr(function)(
            *(jax.ShapeDtypeStruct(shape, dtype, weak_type=weak) for shape, dtype, weak in shapes)
        )


# --- exp(-x^2), as it stands in the derivative of erf ------------------------------------------


def _gaussian(x: Any) -> Any:
    return lax.exp(-lax.square(x))


def _erf_with_derivative(x: Any) -> Any:
    return jax.jvp(lax.erf, (x,), (x,))


def _is_gaussian(equation: Any) -> bool:
    """Tell whether a call is the exp(-x^2) by which JAX writes the derivative of erf.

    From 0.12 on it cuts x into a high and a low part, by its bits. The program is compared with
    that of the JAX at hand, so that nothing else that cuts off bits passes for it.
    """
    if equation.primitive.name != "custom_jvp_call" or len(equation.invars) != 1:
        return False
    body = equation.params["call_jaxpr"]
    if not any(inner.primitive.name == "bitcast_convert_type" for inner in body.eqns):
        return False
    closed = _traced(_erf_with_derivative, _shapes(equation))
    return str(body) in map(str, _custom_bodies(closed))


def _custom_bodies(closed: ClosedJaxpr) -> Iterator[Any]:
    for equation in closed.jaxpr.eqns:
        if equation.primitive.name == "custom_jvp_call":
            yield equation.params["call_jaxpr"]
