"""A loss without stopped or redefined derivatives: its derivative is that of its value."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

_ENTERED = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
}  # fmt: skip


_FOLDED = 512
"""Entries up to which a largest entry is taken by comparing one by one."""


def plain(loss: ClosedJaxpr) -> Callable[[Any, Any, Any], Any]:
    """Return a traced loss as a function, `stop_gradient` and custom derivative rules taken out.

    What `jax.grad` then returns is the derivative of the loss's own value, which is what a
    symmetry is about. (Inside of scans and other loops they stay.)
    """

    def value(params: Any, sample: Any, constants: Any) -> Any:
        flat = jax.tree.leaves((params, sample, constants))
        return _evaluate(loss.jaxpr, loss.consts, flat)[0]

    return value


def _evaluate(jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    values: dict[Any, Any] = {}
    values.update(zip(jaxpr.constvars, constants, strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))
    look_up = lambda x: x.val if isinstance(x, Literal) else values[x]
    for equation in jaxpr.eqns:
        arguments = [look_up(x) for x in equation.invars]
        name, params = equation.primitive.name, equation.params
        body = params.get(_ENTERED.get(name, ""))
        if name == "stop_gradient":
            outputs = arguments
        elif name in ("max", "min"):
            outputs = [_chosen(name, *arguments)]
        elif name in ("reduce_max", "reduce_min") and jnp.size(arguments[0]) <= _FOLDED:
            outputs = [_folded(name.removeprefix("reduce_"), arguments[0], params["axes"])]
        elif isinstance(body, ClosedJaxpr):
            outputs = _evaluate(body.jaxpr, body.consts, arguments)
        elif isinstance(body, Jaxpr):
            outputs = _evaluate(body, [], arguments)
        else:
            out = equation.primitive.bind(*arguments, **params)
            outputs = out if equation.primitive.multiple_results else [out]
        values.update(zip(equation.outvars, outputs, strict=True))
    return [look_up(x) for x in jaxpr.outvars]


def _chosen(name: str, a: Any, b: Any) -> Any:
    """Return the larger or smaller of two, by one comparison: no tie has to be recognized."""
    return jnp.where(a > b if name == "max" else a < b, a, b)


def _folded(name: str, x: Any, axes: Sequence[int]) -> Any:
    for axis in sorted(axes, reverse=True):
        parts = [jax.lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])]
        x = functools.reduce(lambda a, b: _chosen(name, a, b), parts)
    return x
