"""Read a function at sizes that are names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import export

from symtheory import shapes
from symtheory.domains.tensors._at_sizes import differing_sizes
from symtheory.domains.tensors._indexed import Indexed
from symtheory.domains.tensors._tensors import Tensors
from symtheory.errors import UnreadableError
from symtheory.program import equations, evaluate, lower, trace
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
        UnreadableError: A primitive has no rule; the message names it. Or the function is not the
            same at all sizes.
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
    closed, tree = trace(function, *wide)
    flat = [leaf for node in inputs for leaf in jax.tree.leaves(node)]
    outputs = evaluate(lower(closed), Tensors(short), flat)
    if differentiated and any(
        equation.primitive.name in _OWN_DERIVATIVES for equation in equations(closed.jaxpr)
    ):
        raise UnreadableError(
            "the function brings a derivative of its own (custom_jvp or custom_vjp), which is what "
            "training would use; write it without, or bind the sizes"
        )
    for value in outputs:
        if not isinstance(value, Indexed):
            raise UnreadableError("the function does not return a polynomial in its arguments")
    different = differing_sizes(function, structures, flat, outputs, names)
    if different is not None:
        shown = ", ".join(f"{name} = {size}" for name, size in different.items())
        raise UnreadableError(
            f"the function is another one at the sizes {shown} than at sizes that are names: it "
            "asks for its sizes, say n == 1; bind them, or write it without the question"
        )
    return jax.tree.unflatten(tree, outputs)
