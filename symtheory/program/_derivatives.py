"""Losses that stop gradients or bring derivative rules: the one policy.

A loss is a function, and what is proved of it is proved of its value; SGD follows the derivative
that JAX takes. The two differ where a program stops a gradient or redefines a derivative. What JAX
itself does of that kind (the shift inside `logsumexp`, the rule of `relu`) leaves the derivative
what it is; what a user does may not.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from symtheory.program._walk import equations

_JAX = os.path.join(os.path.dirname(os.path.abspath(jax.__file__)), "")
_RULES = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


def redefines_derivatives(closed: ClosedJaxpr | Jaxpr) -> bool:
    """Tell whether a program stops gradients or brings derivative rules that are not JAX's own.

    >>> import jax
    >>> stopped = lambda x: x * jax.lax.stop_gradient(x)
    >>> [redefines_derivatives(jax.make_jaxpr(f)(1.0)) for f in (stopped, jax.nn.relu)]
    [True, False]
    """
    jaxpr = closed.jaxpr if isinstance(closed, ClosedJaxpr) else closed
    return any(_is_foreign(equation) for equation in equations(jaxpr))


def _is_foreign(equation: Any) -> bool:
    name = equation.primitive.name
    if name == "stop_gradient":
        return not _stopped_by_jax(equation)
    if name in _RULES:
        return not _ruled_by_jax(equation)
    return False


def _stopped_by_jax(equation: Any) -> bool:
    """Tell whether a function of JAX stops the gradient, and not the user's own program."""
    traceback = getattr(getattr(equation, "source_info", None), "traceback", None)
    frames = [f for f in getattr(traceback, "frames", ()) if "traceback_util" not in f.file_name]
    # Transformations call it again; the outermost call is the one that somebody wrote.
    calls = [
        k
        for k, frame in enumerate(frames)
        if frame.function_name.rpartition(".")[-1] == "stop_gradient"
        and frame.file_name.startswith(_JAX)
    ]
    if not calls or calls[-1] + 1 == len(frames):
        return False
    return frames[calls[-1] + 1].file_name.startswith(_JAX)


def _ruled_by_jax(equation: Any) -> bool:
    """Tell whether a function with a derivative rule is defined in JAX, and its rule as well."""
    params = equation.params
    body = params.get("call_jaxpr", params.get("fun_jaxpr"))
    body = getattr(body, "jaxpr", body)
    sources = [_source(body)]
    for key in ("jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd"):
        if key in params:
            sources.append(_source(params[key]))
    return all(source is not None and source.startswith(_JAX) for source in sources)


def _source(function: Any) -> str | None:
    """Return the file a traced function was defined in."""
    text = getattr(getattr(function, "debug_info", None), "func_src_info", None)
    return None if not text else text.rpartition(" at ")[-1].rpartition(":")[0]


# --- the derivative of the value ---------------------------------------------------------------

_ENTERED = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
}  # fmt: skip
_FOLDED = 512
"""Entries up to which a largest entry is taken by comparing one by one."""
_SCATTERED = 64
"""Updates up to which a scattered maximum is taken by comparing one by one."""


def with_value_derivatives(loss: ClosedJaxpr) -> Callable[..., Any]:
    """Return a traced loss as a function of its flattened arguments without rules of its own.

    What `jax.grad` then returns is the derivative of the loss's own value, which is what a
    symmetry is about. Maxima are written as comparisons, so that no tie has to be recognized.
    (Inside of scans and other loops rules stay.)
    """
    return lambda *flat: _evaluate(loss.jaxpr, loss.consts, flat)[0]


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
        elif name in ("reduce_max", "reduce_min") and 0 < jnp.size(arguments[0]) <= _FOLDED:
            outputs = [_folded(name.removeprefix("reduce_"), arguments[0], params["axes"])]
        elif name in _SCATTERS and jnp.size(arguments[2]) <= _SCATTERED:
            outputs = [_scattered(_SCATTERS[name], params, *arguments)]
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
    if jnp.shape(a) != jnp.shape(b):  # a literal may stand for an array of its copies
        shape = jnp.shape(a) or jnp.shape(b)
        a, b = (x if jnp.shape(x) == shape else lax.broadcast(x, shape) for x in (a, b))
    return lax.select(lax.gt(a, b) if name == "max" else lax.lt(a, b), a, b)


_SCATTERS = {
    "scatter-max": "max", "scatter_max": "max", "scatter-min": "min", "scatter_min": "min",
}  # fmt: skip


def _scattered(name: str, params: Any, x: Any, indices: Any, updates: Any) -> Any:
    """Compare the updates one by one with what stands where they go."""
    chosen = ("dimension_numbers", "indices_are_sorted", "unique_indices", "mode")
    options = {key: params[key] for key in chosen}
    zeros = jnp.zeros(jnp.shape(x), dtype=jnp.int32)
    for k in range(jnp.size(updates)):
        one = (jnp.arange(jnp.size(updates)) == k).astype(jnp.int32).reshape(jnp.shape(updates))
        here = lax.scatter_max(zeros, indices, one, **options) > 0
        update = lax.broadcast(jnp.reshape(updates, (-1,))[k], jnp.shape(x))
        better = lax.gt(update, x) if name == "max" else lax.lt(update, x)
        x = lax.select(here & better, update, x)
    return x


def _folded(name: str, x: Any, axes: Sequence[int]) -> Any:
    for axis in sorted(axes, reverse=True):
        parts = [jax.lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])]
        x = functools.reduce(lambda a, b: _chosen(name, a, b), parts)
    return x
