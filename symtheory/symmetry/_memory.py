"""Estimates of the memory a search needs, and their refusal before anything is allocated."""

from __future__ import annotations

import math

from jax.extend.core import ClosedJaxpr, Jaxpr

from symtheory.errors import InputError

GIB = 2**30
BOXED = 48
"""Bytes of a number on its way into exact linear algebra: a Python integer and a word of FLINT."""


def intermediates(jaxpr: Jaxpr) -> int:
    """Return how many numbers a program computes, loops and calls included.

    >>> import jax, jax.numpy as jnp
    >>> intermediates(jax.make_jaxpr(lambda x: jnp.sum(2 * x))(jnp.ones(5)).jaxpr)
    6
    """
    total = 0
    for equation in jaxpr.eqns:
        total += sum(math.prod(getattr(v.aval, "shape", ())) for v in equation.outvars)
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else [value]:
                body = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
                if isinstance(body, Jaxpr):
                    total += int(equation.params.get("length", 1)) * intermediates(body)
    return total


def require(needed: float, limit: float | None, what: str) -> None:
    """Refuse what needs more bytes than the limit.

    Args:
        needed: Estimate in bytes, beyond the program itself.
        limit: In GiB; None for no limit.
        what: What needs it, as the subject of a sentence.

    Raises:
        InputError: It needs more.

    >>> require(2**20, 1.0, "the search")
    >>> require(2**31, 1.0, "the search")
    Traceback (most recent call last):
    symtheory.errors.InputError: the search needs about 2 GiB, but the limit is 1 GiB; ...
    """
    if limit is not None and needed > limit * GIB:
        raise InputError(
            f"{what} needs about {needed / GIB:.2g} GiB, but the limit is {limit:g} GiB; "
            "raise --max-memory (max_memory=) or bind smaller sizes"
        )
