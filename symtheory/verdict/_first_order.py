"""How far rounding on the way can move the result of a program, to first order.

Every value v_i that a program computes is off by a factor 1 + d_i with |d_i| of a few units in the
last place. The result then moves by sum_i d_i v_i (dl/dv_i), which one reverse pass gives.

Source: S. Linnainmaa, Taylor expansion of the accumulated rounding error, BIT 16 (1976).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

_ENTERED = ("jit", "pjit")


def sensitivity(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the sum over all values on the way of |v_i dl/dv_i|, for a function with one result.

    Programs inside programs (loops, branches, rules) count by what comes out of them.

    >>> cancels = lambda x: jnp.cosh(x) ** 2 - jnp.sinh(x) ** 2
    >>> bool(sensitivity(cancels)(5.0) > 1e3), bool(sensitivity(jnp.cosh)(0.0) < 2)
    (True, True)
    """

    def summed(*arguments: Any) -> Any:
        closed = jax.make_jaxpr(function)(*arguments)
        inputs = jax.tree.leaves(arguments)
        start = [jnp.zeros(v.aval.shape, v.aval.dtype) for v in _computed(closed.jaxpr)]

        def result(factors: list[Any]) -> Any:
            return _evaluate(closed.jaxpr, closed.consts, inputs, iter(factors))[0]

        slopes = jax.grad(result)(start)
        return sum((jnp.sum(jnp.abs(jnp.nan_to_num(s, posinf=jnp.inf))) for s in slopes), 0.0)

    return summed


def looked_up(variable: Any, values: Mapping[Any, Any]) -> Any:
    """Return the value of a variable of a program; a literal as an array of its type."""
    if isinstance(variable, Literal):
        return jnp.asarray(variable.val, getattr(variable.aval, "dtype", None))
    return values[variable]


def _computed(jaxpr: Jaxpr) -> Iterator[Any]:
    """Yield the real values that a program computes, in the order in which it does."""
    for equation in jaxpr.eqns:
        body = _body(equation)
        if body is not None:
            yield from _computed(body.jaxpr)
            continue
        yield from filter(_is_real, equation.outvars)


def _is_real(variable: Any) -> bool:
    return jnp.issubdtype(variable.aval.dtype, jnp.floating)


def _body(equation: Any) -> ClosedJaxpr | None:
    body = equation.params.get("jaxpr") if equation.primitive.name in _ENTERED else None
    return body if isinstance(body, ClosedJaxpr) else None


def _evaluate(jaxpr: Jaxpr, constants: Any, inputs: Any, factors: Iterator[Any]) -> list[Any]:
    values = dict(zip(jaxpr.invars, inputs, strict=True))
    values |= dict(zip(jaxpr.constvars, constants, strict=True))
    for equation in jaxpr.eqns:
        given = [looked_up(x, values) for x in equation.invars]
        body = _body(equation)
        if body is not None:
            found = _evaluate(body.jaxpr, body.consts, given, factors)
        else:
            found = [
                x * (1 + next(factors)) if _is_real(v) else x
                for x, v in zip(performed(equation, given), equation.outvars, strict=True)
            ]
        values |= dict(zip(equation.outvars, found, strict=True))
    return [looked_up(x, values) for x in jaxpr.outvars]


def performed(equation: Any, given: list[Any]) -> list[Any]:
    """Return the results of one equation of a jaxpr."""
    fixed = equation.primitive.get_bind_params(equation.params)
    # Older releases of JAX pass functions beside the parameters.
    functions, fixed = fixed if isinstance(fixed, tuple) else ((), fixed)
    found = equation.primitive.bind(*functions, *given, **fixed)
    return list(found) if equation.primitive.multiple_results else [found]
