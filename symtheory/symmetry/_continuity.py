"""Whether a loss is certainly smooth or continuous: then it cannot jump along a symmetry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var

from symtheory.readings._movement import MOVEMENT

_SMOOTH = frozenset({
    *MOVEMENT.keys() - {"stop_gradient", "reduce_precision"}, "dot_general", "add", "add_any",
    "sub", "mul", "div", "neg", "integer_pow", "square", "sqrt", "rsqrt", "exp", "exp2", "log",
    "log2", "polynomial", "one_minus_square",
    "expm1", "log1p", "tanh", "logistic", "erf", "erfc", "sin", "cos", "sinh", "cosh", "reduce_sum",
    "reduce_prod", "cumsum", "iota", "convert_element_type", "jit", "pjit",
})  # fmt: skip
_CONTINUOUS = _SMOOTH | {
    "max", "min", "abs", "clamp", "reduce_max", "reduce_min", "stop_gradient", "is_finite",
    "custom_jvp_call", "custom_vjp_call", "closed_call", "remat",
}  # fmt: skip
"""What is continuous where it is finite; stopped derivatives do not change values."""


def pruned(closed: ClosedJaxpr) -> ClosedJaxpr:
    """Leave out what the result does not need, such as the value beside its derivative."""
    needed = {x for x in closed.jaxpr.outvars if isinstance(x, Var)}
    kept = []
    for equation in reversed(closed.jaxpr.eqns):
        if needed.intersection(equation.outvars):
            kept.append(equation)
            needed.update(x for x in equation.invars if isinstance(x, Var))
    return ClosedJaxpr(closed.jaxpr.replace(eqns=kept[::-1]), closed.consts)


def is_smooth(loss: ClosedJaxpr) -> bool:
    """Tell whether a loss is made of smooth functions with the derivatives JAX gives them."""
    return set(primitives(loss.jaxpr)) <= _SMOOTH


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


def _bodies(equation: Any) -> Iterator[Jaxpr]:
    for value in equation.params.values():
        for inner in value if isinstance(value, (tuple, list)) else [value]:
            body: Any = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
            if isinstance(body, Jaxpr):
                yield body


def primitives(jaxpr: Jaxpr) -> Iterator[str]:
    """Yield the names of all primitives of a jaxpr, those of calls and loops included."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for body in _bodies(equation):
            yield from primitives(body)
