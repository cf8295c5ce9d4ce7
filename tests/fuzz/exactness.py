"""Whether an evaluation in floats lost something altogether: then its result speaks of no reals.

1 - 1e-20 is 1, exp(-1000) is 0 and tanh(40) is 1, in double and in single precision alike; a
comparison after that may come out wrong by any amount. A witness counts only where no operation did
this, so every operation is looked at, one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

_SATURATING = ("exp", "exp2", "expm1", "tanh", "logistic", "erf", "erfc", "log1p", "atan")
_PRODUCTS = ("mul", "div", "integer_pow", "pow", "square", "dot_general")
_CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call")


def is_lossless(function: Callable[..., Any], *arguments: Any) -> bool:
    """Tell whether no operation of a function swallowed an operand; loops are not looked into."""
    with jax.enable_x64(True):
        arguments = jax.tree.map(lambda a: jnp.asarray(a, float), arguments)
        closed = jax.make_jaxpr(function)(*arguments)
        return _walk(closed.jaxpr, closed.consts, jax.tree.leaves(arguments)) is not None


def _walk(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any] | None:
    """Return the outputs, None where something was lost."""
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))
    read = lambda v: v.val if isinstance(v, Literal) else values[v]
    for equation in jaxpr.eqns:
        operands = [read(v) for v in equation.invars]
        name = equation.primitive.name
        inner = next((p for p in equation.params.values() if isinstance(p, ClosedJaxpr)), None)
        if name in _CALLS and inner is not None:
            out = _walk(inner.jaxpr, inner.consts, operands)
            if out is None:
                return None
        else:
            out = equation.primitive.bind(*operands, **equation.params)
            out = list(out) if equation.primitive.multiple_results else [out]
            if out and _loses(name, operands, np.asarray(out[0])):
                return None
        values.update(zip(equation.outvars, out, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _loses(name: str, operands: Sequence[Any], out: np.ndarray) -> bool:
    if out.dtype.kind != "f":
        return False
    arrays = [np.asarray(operand) for operand in operands]
    with np.errstate(all="ignore"):
        if name in ("add", "sub", "add_any"):
            a, b = np.broadcast_arrays(*arrays)
            same = lambda kept, gone: (np.abs(out) == np.abs(kept)) & (gone != 0) & (kept != 0)
            return bool(np.any((same(a, b) | same(b, a)) & (np.abs(a) != 2 * np.abs(b))
                               & (np.abs(b) != 2 * np.abs(a))))  # fmt: skip
        if name in _SATURATING:
            return bool(np.any((arrays[0] != 0) & np.isin(out, [0.0, 1.0, -1.0, np.inf])))
        if name in _PRODUCTS:
            whole = all(np.all(array != 0) for array in arrays)
            return whole and bool(np.any((out == 0) | ~np.isfinite(out)))
        if name in ("reduce_sum", "cumsum"):
            small = np.abs(arrays[0][arrays[0] != 0])
            return small.size > 1 and bool(np.min(small) < 1e-15 * np.max(small))
    return False
