"""Read a function at sizes that are names."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import export

from symtheory import shapes
from symtheory.domains.tensors._at_sizes import differing_sizes, traced_at_numbers
from symtheory.domains.tensors._indexed import Indexed
from symtheory.domains.tensors._questions import answered_for_all_sizes, shown
from symtheory.domains.tensors._tensors import SquareRoot, Tensors
from symtheory.errors import InputError, SymtheoryError, UnreadableError
from symtheory.program import equations, evaluate, line_of, lower, trace
from symtheory.shapes import Size

_OWN_DERIVATIVES = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


def read_indexed(
    function: Callable[..., Any],
    structures: Sequence[Any],
    inputs: Sequence[Any],
    *,
    differentiated: bool = False,
) -> Any:
    """Trace a JAX function at symbolic sizes and evaluate it over the domain of tensors.

    Args:
        function: A JAX function.
        structures: Its arguments as pytrees of shapes, whose sizes are integers or names.
        inputs: Its arguments as pytrees of the same structure, with `Indexed` leaves.
        differentiated: Refuse functions with derivative rules of their own.

    Returns:
        The output as a pytree with `Indexed` leaves.

    Raises:
        UnreadableError: A primitive has no rule; the message names it. Or the function asks for
            its sizes, needs them as numbers, or is not the same at all of them.
        InputError: The function fails at any sizes.
    """
    names: list[str] = []
    for node in structures:
        for _, shape in shapes.leaves(node):
            names += [size for size in shape if isinstance(size, str) and size not in names]
    # Symbolic dimensions have names of their own, so that any text can name a size.
    short = {f"s{i}": name for i, name in enumerate(names)}
    dimensions = export.symbolic_shape(",".join(short)) if names else ()
    known: dict[Size, Any] = dict(zip(names, dimensions, strict=True))

    def struct(shape: shapes.Shape) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(tuple(known.get(size, size) for size in shape), np.float64)

    wide = [shapes.map_tree(lambda shape: struct(shapes.as_shape(shape)), n) for n in structures]
    try:
        with answered_for_all_sizes(dimensions, short):
            closed, tree = trace(function, *wide)
    except SymtheoryError:
        raise
    except Exception as error:  # what JAX, or the function, makes of a size without a number
        raise _untraceable(error, function, structures, names, short) from error
    flat = [leaf for node in inputs for leaf in jax.tree.leaves(node)]
    domain = Tensors(short)
    outputs = [domain.lift(value) for value in evaluate(lower(closed), domain, flat)]
    if differentiated and any(
        equation.primitive.name in _OWN_DERIVATIVES for equation in equations(closed.jaxpr)
    ):
        raise UnreadableError(
            "the function brings a derivative of its own (custom_jvp or custom_vjp), which is what "
            "training would use; write it without, or bind the sizes"
        )
    for value in outputs:
        if not isinstance(value, Indexed):
            what = "a square root" if isinstance(value, SquareRoot) else "positions along an axis"
            raise UnreadableError(
                f"the function returns {what}, which is no polynomial in its arguments; write it "
                "without, or bind the sizes"
            )
    different = differing_sizes(function, structures, flat, outputs, names)
    if different is not None:
        raise UnreadableError(
            f"the function is another one at {_listed(different)} than at sizes that are names: it "
            "asks for its sizes; bind them, or remove the branch"
        )
    return jax.tree.unflatten(tree, outputs)


def _untraceable(
    error: Exception,
    function: Callable[..., Any],
    structures: Sequence[Any],
    names: Sequence[str],
    short: Mapping[str, str],
) -> InputError:
    """Return what to say of an error in a trace at symbolic sizes."""
    sizes, failure = traced_at_numbers(function, structures, names)
    such = f", such as {_listed(sizes)}" if sizes else ""
    if failure is None:
        fault, cause = UnreadableError, error
        sentence = f"the function can be traced at sizes that are numbers{such}, but not at names"
        step = "bind the sizes, or write it without"
    else:
        fault, cause = InputError, failure
        sentence = f"the function fails at any sizes{such}"
        step = "give it the arrays and the shapes it is written for"
    frames = [(f.f_code.co_filename, line) for f, line in traceback.walk_tb(cause.__traceback__)]
    where = line_of(reversed(frames))
    lines = str(cause).strip().splitlines() or [""]
    reason = shown(lines[0], short).replace("'_DimExpr' object", "a symbolic size")
    reason = reason.replace("_DimExpr", "a symbolic size").rstrip(".")
    at = f" (at {where})" if where else ""
    return fault(f"{sentence}{at}: {type(cause).__name__}: {reason[:200]}; {step}")


def _listed(sizes: Mapping[str, int]) -> str:
    """Return sizes as "n = 2, m = 3"."""
    return ", ".join(f"{name} = {size}" for name, size in sizes.items())
