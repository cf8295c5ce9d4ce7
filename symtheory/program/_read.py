"""Trace, lower and evaluate a function in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr

from symtheory.program._program import NO_DEADLINE, Deadline, evaluate
from symtheory.program.lowering import lower, lower_function


def read(
    closed: ClosedJaxpr, domain: Any, inputs: Sequence[Any], deadline: Deadline = NO_DEADLINE
) -> list[Any]:
    """Lower a jaxpr and evaluate it over a domain (see `evaluate`); results are its values."""
    return [domain.lift(value) for value in evaluate(lower(closed), domain, inputs, deadline)]


def read_function(
    function: Callable[..., Any],
    structures: Sequence[Any],
    domain: Any,
    inputs: Sequence[Any],
    deadline: Deadline = NO_DEADLINE,
) -> Any:
    """Trace a JAX function and evaluate it over a domain.

    Args:
        function: A JAX function.
        structures: Its arguments as pytrees of `jax.ShapeDtypeStruct`.
        domain: The domain to read it in.
        inputs: Its arguments as pytrees of the same structure, with domain values as leaves.
        deadline: A time limit.

    Returns:
        The output as a pytree with domain values as leaves.

    >>> import jax, numpy as np
    >>> from symtheory.domains import Polynomials, Ring
    >>> ring = Ring(["u", "w"])
    >>> scalar = jax.ShapeDtypeStruct((), float)
    >>> box = lambda name: np.array(ring.symbol(name), dtype=object)
    >>> out = read_function(lambda u, w: u * w - w * u, [scalar] * 2, Polynomials(ring),
    ...                     [box("u"), box("w")])
    >>> out[()].is_zero()
    True
    """
    program, tree = lower_function(function, *structures)
    flat = [value for node in inputs for value in jax.tree.leaves(node)]
    out = evaluate(program, domain, flat, deadline)
    return jax.tree.unflatten(tree, [domain.lift(value) for value in out])
