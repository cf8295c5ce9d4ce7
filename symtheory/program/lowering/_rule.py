"""What a lowering rule is, and the table they are entered in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symtheory.program._builder import Builder, Complex, Operand, kind_of
from symtheory.program._types import kind_of_type, rounds, wraps

Rule = Callable[..., Any]
"""A rule takes the builder, the equation and the operands; it returns the result or the results."""

RULES: dict[str, Rule] = {}
"""The one table from the primitives of JAX to core operations."""


def lowers(*names: str) -> Callable[[Rule], Rule]:
    """Enter a rule for primitives of these names."""

    def enter(rule: Rule) -> Rule:
        for name in names:
            RULES[name] = rule
        return rule

    return enter


def alias(rule: Callable[..., Any], *names: str) -> None:
    """Enter a function of (builder, *operands) that needs nothing else of the equation."""
    lowers(*names)(lambda b, eqn, *xs: rule(b, *xs))


def kind_out(equation: Any) -> str:
    """Return the kind of number of an equation's first result: "b", "i", "u", "f" or "c"."""
    return kind_of_type(equation.outvars[0].aval.dtype)


def shape_out(equation: Any) -> tuple[Any, ...]:
    """Return the shape of an equation's first result."""
    return tuple(equation.outvars[0].aval.shape)


def stored(b: Builder, x: Operand, dtype: Any) -> Operand:
    """Return what is left of a number in a type: some round, some wrap around.

    A sum of truth values is true where one of them is.
    """
    if kind_of_type(dtype) == "b" and kind_of(x) != "b":
        return b.compare("ne", x, np.zeros((), dtype=np.int64))
    if isinstance(x, Complex) or not (rounds(dtype) or wraps(dtype)):
        return x
    name = np.dtype(dtype).name
    return b.cast(b.real(x), name, "f") if rounds(dtype) else b.cast(x, name, "i")


STORED_ALREADY = frozenset({
    "convert_element_type", "reduce_precision", "broadcast_in_dim", "reshape", "squeeze",
    "expand_dims", "transpose", "slice", "rev", "concatenate", "pad", "split", "stack", "unstack",
    "tile", "gather", "dynamic_slice", "dynamic_update_slice", "scatter", "scatter-min",
    "scatter_min", "scatter-max", "scatter_max", "copy", "copy_p", "stop_gradient", "name",
    "sharding_constraint", "pvary", "copy_start", "optimization_barrier", "empty", "empty2",
    "select_n", "max", "min", "clamp", "reduce_max", "reduce_min", "cummax", "cummin",
    "reduce_window_max", "reduce_window_min", "sort", "top_k", "argmax", "argmin", "sign", "floor",
    "ceil", "round", "rem", "and", "or", "xor", "real", "imag",
})  # fmt: skip
"""Primitives whose results are entries of their operands, or whole numbers no larger than these."""
_EXACT_IN_FLOATS = frozenset({"neg", "abs"})
"""The same for floats; the integer -128 of eight bits has no counterpart."""


def all_stored(b: Builder, equation: Any, outputs: list[Operand]) -> list[Operand]:
    """Return the results of an equation as their types hold them.

    Arithmetic in a coarse type is computed exactly and rounded once.
    """
    name = equation.primitive.name
    if name in STORED_ALREADY:
        return outputs
    types = [getattr(v.aval, "dtype", None) for v in equation.outvars]
    if name == "iota" and np.dtype(types[0]).itemsize >= 4:  # no axis is that long
        return outputs
    return [
        x if dtype is None or (name in _EXACT_IN_FLOATS and rounds(dtype)) else stored(b, x, dtype)
        for x, dtype in zip(outputs, types, strict=True)
    ]
