"""What a lowering rule is, and the table they are entered in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symtheory.program._builder import Builder, Operand
from symtheory.program._known import is_known

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


def dtype_of(equation: Any) -> np.dtype:
    """Return the type of an equation's first result."""
    return np.dtype(equation.outvars[0].aval.dtype)


def shape_out(equation: Any) -> tuple[Any, ...]:
    """Return the shape of an equation's first result."""
    return tuple(equation.outvars[0].aval.shape)


def without_wrapping(b: Builder, equation: Any, x: Operand) -> Operand:
    """Return the result of integer arithmetic; short and unsigned integers wrap around.

    A sum of truth values is true where one of them is.
    """
    dtype = dtype_of(equation)
    if dtype.kind == "b" and not is_known(x):
        return b.compare("ne", x, np.zeros((), dtype=np.int64))
    short = dtype.kind == "u" or (dtype.kind == "i" and dtype.itemsize < 4)
    return b.cast(x, dtype.name, "i") if short else x
