"""What every call that reads a loss requires of it: asked in one place, said in one sentence."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from symtheory.errors import InputError, cause
from symtheory.model import Model
from symtheory.program import equations, has_loop, location, pruned, subjaxprs, trace
from symtheory.verdict import Subject
from symtheory.verdict._first_order import performed

_RANDOM = ("random_", "threefry", "rng_")
_POINTS = 64
_MOST_PARAMETERS = 2**23
"""Parameters beyond which a loss is not evaluated here."""
_SIZES = (2, 3)
"""Values for sizes that are still names."""


def require_readable(model: Model) -> Model:
    """Return the model if its loss is one that can be read: asked once for each model.

    The loss must be a function of what it is given (it draws no random numbers and returns the same
    when it is called again), JAX must be able to take its gradient for many samples at once, and it
    must be a finite number somewhere: at some of 128 random points of many magnitudes, in double
    precision (not asked above eight million parameters). Sizes that are names become small numbers
    for this.

    Raises:
        InputError: One of these fails; says the primitive, the line of the user's file, and what
            to do.

    >>> from symtheory.data import Normal
    >>> log = Model(lambda p, z: jnp.log(-p**2) + z["y"], (), {"y": Normal(())}, name="a")
    >>> require_readable(log)
    Traceback (most recent call last):
    ...
    symtheory.errors.InputError: the loss of a is NaN or infinite at all of 128 random points; \
check its domain (logarithms, roots, quotients), or write its parameters so that any value is \
allowed, as in jnp.exp(p) for a scale
    """
    if model not in _REASONS:
        bound = _bound(model)
        _REASONS[model] = "" if bound is None else _reason(bound)
    if _REASONS[model]:
        raise InputError(_REASONS[model])
    return model


_REASONS: weakref.WeakKeyDictionary[Model, str] = weakref.WeakKeyDictionary()
"""Why the loss of a model cannot be read; empty where it can."""


def nowhere_finite(model: Model, points: int) -> str:
    """Return the sentence about a loss without a finite value."""
    return (
        f"the loss of {model.name} is NaN or infinite at all of {points} random points; check its "
        "domain (logarithms, roots, quotients), or write its parameters so that any value is "
        "allowed, as in jnp.exp(p) for a scale"
    )


def _bound(model: Model) -> Model | None:
    """Return the model with small sizes for those that are names, None if there are no such."""
    names = [name for name, shape in model.unbound.items() if shape is None]
    for size in _SIZES if names else ():
        try:
            return model.bind(**dict.fromkeys(names, size))
        except InputError:
            continue
    return None if names else model


def _reason(model: Model) -> str:
    if model.dimension == 0:
        return "the model's parameters are all empty; give at least one entry"
    params, sample, constants = model.structure()
    known = {name: model.values[name] for name in model.constants if name in model.values}
    inputs = (params, sample, {n: s for n, s in constants.items() if n not in known})

    def value(p: Any, z: Any, c: Any) -> Any:
        return model.evaluate(p, z, {**known, **c})

    # JAX remembers what a function gave: a fresh one is called anew.
    closed, again = (trace(lambda p, z, c: value(p, z, c), *inputs)[0] for _ in range(2))
    for equation in equations(pruned(closed).jaxpr):  # a key that nothing is drawn with is no harm
        if equation.primitive.name.startswith(_RANDOM):
            return _random(model, f"(primitive {_named(equation)})")
    if not _same(closed, again):
        return _random(model, "or reads something that changes from call to call")
    try:
        trace(jax.vmap(jax.value_and_grad(value)), *_many(inputs))
    except Exception as error:
        return _not_differentiable(model, closed, error)
    if has_loop(closed):  # it may not end at such points
        return ""
    try:
        finite = _is_finite_somewhere(model)
    except Exception as error:  # of a callback of the user
        return f"the loss of {model.name} fails when it is evaluated: {cause(error)}"
    return "" if finite else nowhere_finite(model, 2 * _POINTS)


def _random(model: Model, how: str) -> str:
    return (
        f"the loss of {model.name} draws random numbers itself {how}, so it is not a function of "
        "parameters and sample; put the random array into Model(random=...), such as "
        "{'mask': Rademacher('h')}"
    )


def _named(equation: Any) -> str:
    where = location(equation)
    return repr(equation.primitive.name) + (f" at {where}" if where else "")


# --- the same whenever it is called ---


def _same(first: ClosedJaxpr, second: ClosedJaxpr) -> bool:
    """Tell whether two traces of one function agree in operations and numbers."""
    pairs = itertools.zip_longest(_signature(first), _signature(second))
    return all(_agree(a, b) for a, b in pairs)


def _signature(closed: ClosedJaxpr) -> Iterator[Any]:
    yield from closed.consts
    for equation in equations(closed.jaxpr):
        yield equation.primitive.name
        yield from (x.val for x in equation.invars if isinstance(x, Literal))
        for value in equation.params.values():
            if isinstance(value, (int, float, complex, str)):
                yield value


def _agree(a: Any, b: Any) -> bool:
    if a is b or isinstance(a, str) or isinstance(b, str):
        return a is b or a == b
    x, y = np.asarray(a), np.asarray(b)
    return x.shape == y.shape and bool(np.all((x == y) | ((x != x) & (y != y))))


# --- gradients ---


def _many(inputs: Any) -> Any:
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct((2, *s.shape), s.dtype), inputs)


def _not_differentiable(model: Model, closed: ClosedJaxpr, error: Exception) -> str:
    culprit = next(filter(_fails, equations(closed.jaxpr)), None)
    what = "" if culprit is None else f" because of the primitive {_named(culprit)}"
    if culprit is not None and culprit.primitive.name == "while":
        hint = "use lax.scan, or lax.fori_loop with a fixed number of steps"
    else:
        hint = "write it with operations that have a derivative, or give one with jax.custom_jvp"
    return (
        f"JAX cannot take the gradient of the loss of {model.name} for many samples at once{what} "
        f"({cause(error)}), and nothing can train on it; {hint}"
    )


def _fails(equation: Any) -> bool:
    """Tell whether JAX cannot differentiate one operation; what it calls comes by itself."""
    if any(True for _ in subjaxprs(equation)) and equation.primitive.name != "while":
        return False
    kinds = [x.aval.dtype for x in equation.invars]
    floats = [k for k, kind in enumerate(kinds) if jnp.issubdtype(kind, jnp.floating)]

    def total(chosen: Any, others: Any) -> Any:
        given = [None] * len(equation.invars)
        for k, x in {**chosen, **others}.items():
            given[k] = x
        found = performed(equation, given)
        real = [jnp.sum(x) for x in found if jnp.issubdtype(x.dtype, jnp.floating)]
        return sum(real, jnp.zeros(()))

    structs = {
        k: jax.ShapeDtypeStruct((2, *x.aval.shape), x.aval.dtype)
        for k, x in enumerate(equation.invars)
    }
    chosen = {k: s for k, s in structs.items() if k in floats}
    others = {k: s for k, s in structs.items() if k not in floats}
    try:
        with jax.enable_x64(True):
            jax.eval_shape(jax.vmap(jax.value_and_grad(total)), chosen, others)
    except Exception:
        return True
    return False


# --- a number somewhere ---


def _is_finite_somewhere(model: Model) -> bool:
    subject = Subject.of(model)
    if subject.dimension > _MOST_PARAMETERS:
        return True
    count = min(_POINTS, subject.lanes)
    rng = np.random.default_rng(0)
    points, data = subject.points(count, rng), subject.data(rng, count)
    # Scales, variances and the like may have to be positive.
    return any(bool(np.any(np.isfinite(subject.values(x, data)))) for x in (points, np.abs(points)))
