"""Whether the gradient that JAX takes of a loss is the derivative of its value."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr

from symtheory.model import Model
from symtheory.readings import trace

_AXES = (None, -1, 0, 1, 2)
# Functions of JAX that stop a gradient, or bring a rule of their own, and have the true derivative.
_OWN: dict[str, tuple[Callable[..., Any], ...]] = {
    "relu": (jax.nn.relu,),
    "relu6": (jax.nn.relu6,),
    "softplus": (jax.nn.softplus,),
    "log_sigmoid": (jax.nn.log_sigmoid,),
    "elu": (jax.nn.elu,),
    "selu": (jax.nn.selu,),
    "celu": (jax.nn.celu,),
    "hard_tanh": (jax.nn.hard_tanh,),
    "logaddexp": (jnp.logaddexp,),
    "softmax": tuple(functools.partial(jax.nn.softmax, axis=axis) for axis in _AXES),
    "log_softmax": tuple(functools.partial(jax.nn.log_softmax, axis=axis) for axis in _AXES),
    "logsumexp": tuple(
        functools.partial(jax.nn.logsumexp, axis=axis, keepdims=keep)
        for axis in _AXES
        for keep in (False, True)
    ),
}


def redefines_derivatives(model: Model) -> bool:
    """Tell whether a loss stops gradients or brings its own derivative rules."""
    closed, _ = trace(lambda p, z, c: model.evaluate(p, z, c), *model.structure())
    return _redefines(closed.jaxpr)


def _redefines(jaxpr: Jaxpr) -> bool:
    for equation in jaxpr.eqns:
        name = str(equation.params.get("name", ""))
        if name in _OWN and _is_own(name, equation.params.get("jaxpr")):
            continue
        if equation.primitive.name in ("stop_gradient", "custom_jvp_call", "custom_vjp_call"):
            return True
        if any(_redefines(inner) for inner in _inner(equation)):
            return True
    return False


def _is_own(name: str, called: Any) -> bool:
    """Tell whether a called program is the one that JAX's function of that name traces to.

    A user's function may have the same name, so it is the programs that are compared.
    """
    if not isinstance(called, ClosedJaxpr):
        return False
    arguments = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in called.in_avals]
    for function in _OWN[name]:
        try:
            with jax.enable_x64(True):
                own = jax.make_jaxpr(function)(*arguments)
        except (TypeError, ValueError, IndexError):
            continue
        for equation in own.jaxpr.eqns:
            inner = equation.params.get("jaxpr")
            if str(equation.params.get("name", "")) == name and str(inner) == str(called):
                return True
    return False


def _inner(equation: Any) -> Iterator[Jaxpr]:
    for value in equation.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            item = getattr(item, "jaxpr", item)
            if isinstance(item, Jaxpr):
                yield item
