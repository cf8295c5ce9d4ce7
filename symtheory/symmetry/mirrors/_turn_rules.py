"""What each primitive does to signed permutations of the axes of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from symtheory.errors import UnreadableError
from symtheory.readings._concrete import CONCRETE
from symtheory.readings._interpreter import Rule
from symtheory.readings._movement import MOVEMENT, iota
from symtheory.readings._places import first_places, indexed_axes
from symtheory.symmetry.mirrors._turns import NotEquivariantError, Turn, Turned, fixes, turned

if TYPE_CHECKING:
    from symtheory.symmetry.mirrors._turns import Turns

_ODD = ("tanh", "erf", "erf_inv", "sin", "tan", "asin", "atan", "sinh", "asinh", "atanh", "cbrt",
        "sign", "neg", "convert_element_type", "reduce_precision")  # fmt: skip
_EVEN = ("abs", "square", "cos", "cosh")
_PLAIN = (
    "exp", "exp2", "expm1", "log", "log1p", "logistic", "erfc", "acos", "acosh", "lgamma",
    "digamma", "sqrt", "rsqrt", "not", "is_finite",
)  # fmt: skip


def turn_rules(domain: Turns) -> dict[str, Rule]:
    """Return the table primitive -> rule."""

    def odd(a: Any, **_: Any) -> Turned:
        a = domain.lift(a)
        return Turned(a.shape, a.axes, a.sign, uniform=a.uniform)

    def even(a: Any, **_: Any) -> Turned:
        return domain.lift(a).unsigned

    def plain(*xs: Any, **_: Any) -> Turned:
        out = domain.agree(*xs)
        if not out.is_unsigned:
            raise NotEquivariantError("signs do not pass through a function")
        return out

    def power(a: Any, *, y: int, **_: Any) -> Turned:
        return odd(a) if y % 2 else even(a)

    def product(a: Any, b: Any, **_: Any) -> Turned:
        return _product(domain.lift(a), domain.lift(b))

    def invariant(*xs: Any, **_: Any) -> Turned:
        if not all(domain.lift(x).is_invariant for x in xs):
            raise NotEquivariantError("entries are told apart")
        return Turned(domain.lift(xs[0]).shape)

    rules: dict[str, Rule] = {name: _moved(domain, name) for name in MOVEMENT}
    rules |= dict.fromkeys(("pad", "dynamic_update_slice", "scatter"), invariant)
    rules |= dict.fromkeys(("add", "add_any", "sub"), lambda a, b, **_: domain.agree(a, b))
    rules |= dict.fromkeys(_ODD, odd) | dict.fromkeys(_EVEN, even) | dict.fromkeys(_PLAIN, plain)
    rules |= dict.fromkeys(
        ("max", "min", "gt", "lt", "ge", "le", "eq", "ne", "and", "or", "pow", "select_n", "clamp"),
        plain,
    )
    rules |= {
        "mul": product,
        "div": product,
        "integer_pow": power,
        "dot_general": lambda a, b, **params: _dot_general(
            domain.lift(a), domain.lift(b), **params
        ),
        "reduce_sum": lambda a, *, axes, **_: _summed(domain.lift(a), axes),
        "reduce_max": lambda a, *, axes, **_: _summed(plain(a), axes),
        "reduce_min": lambda a, *, axes, **_: _summed(plain(a), axes),
        "reduce_prod": lambda a, *, axes, **_: _summed(plain(a), axes),
        "iota": lambda *, dtype, **params: iota(dtype=dtype, **params),
    }
    return {name: _concretely(name, rule) for name, rule in rules.items()}


def _concretely(name: str, rule: Rule) -> Rule:
    concrete = CONCRETE.get(name)
    if concrete is None:
        return rule

    def choose(*xs: Any, **params: Any) -> Any:
        out = None if any(isinstance(x, Turned) for x in xs) else concrete(*xs, **params)
        return rule(*xs, **params) if out is None else out

    return choose


def _product(a: Turned, b: Turned) -> Turned:
    """Entrywise product: permutations must be the same, signs multiply."""
    if a.shape == () or b.shape == ():
        full = b if a.shape == () else a
        return Turned(full.shape, full.axes, a.sign * b.sign, uniform=full.uniform)
    for full, other in ((a, b), (b, a)):
        if fixes(full.unsigned, other):
            return Turned(full.shape, full.axes, full.sign)
    axes = _combined(a, b, {k: k for k in range(len(a.shape))})
    return turned(a.shape, axes, a.sign * b.sign)


def _combined(a: Turned, b: Turned, places: dict[int, int]) -> dict[int, Turn]:
    """Multiply the turns of matched axes (place in a -> place in b)."""
    out = {}
    for i, j in places.items():
        size = a.shape[i]
        trivial = np.arange(size), np.ones(size, dtype=np.int64)
        (order, signs), (other, more) = a.axes.get(i, trivial), b.axes.get(j, trivial)
        flat = (i in a.uniform and i not in a.axes) or (j in b.uniform and j not in b.axes)
        if not np.array_equal(order, other) and not flat:
            raise NotEquivariantError("units that are permuted meet units that are not")
        if not np.array_equal(order, other):
            order = order if i in a.axes else other
        out[i] = (order, signs * more)
    return out


def _dot_general(a: Turned, b: Turned, *, dimension_numbers: Any, **_: Any) -> Turned:
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    sign = a.sign * b.sign
    inner = _combined(a, b, dict(zip(contract_a, contract_b, strict=True)))
    for _order, signs in inner.values():
        if np.any(signs != signs[:1]):
            raise NotEquivariantError("terms of a sum change sign apart")
        sign *= int(signs[0]) if len(signs) else 1
    axes: dict[int, Turn] = {}
    batch = _combined(a, b, dict(zip(batch_a, batch_b, strict=True)))
    shape = [a.shape[i] for i in batch_a]
    for place, i in enumerate(batch_a):
        axes[place] = batch[i]
    for x, skipped in ((a, (*contract_a, *batch_a)), (b, (*contract_b, *batch_b))):
        for i, size in enumerate(x.shape):
            if i not in skipped:
                if i in x.axes:
                    axes[len(shape)] = x.axes[i]
                shape.append(size)
    return turned(shape, axes, sign)


def _summed(a: Turned, axes: Any) -> Turned:
    sign = a.sign
    for axis in axes:
        if axis in a.axes:
            signs = a.axes[axis][1]
            if np.any(signs != signs[:1]):
                raise NotEquivariantError("terms of a sum change sign apart")
            sign *= int(signs[0])
    kept = [i for i in range(len(a.shape)) if i not in axes]
    moved = {kept.index(axis): turn for axis, turn in a.axes.items() if axis in kept}
    return turned([a.shape[i] for i in kept], moved, sign)


# --- movement ----------------------------------------------------------------------------------

_SAME = ("copy", "copy_p", "stop_gradient", "name", "sharding_constraint")


def _moved(domain: Turns, name: str) -> Rule:
    """Follow the axes through a movement; those that do not come out whole may not be turned."""
    move = MOVEMENT[name]

    def apply(*xs: Any, **params: Any) -> Any:
        if not any(isinstance(x, Turned) for x in xs):
            return move(*xs, **params)
        if name in _SAME:
            return xs[0]
        if name in ("gather", "dynamic_slice") and any(isinstance(x, Turned) for x in xs[1:]):
            # Stand-ins are enough: an axis of which a part is chosen does not come out whole.
            operand, *places = map(domain.lift, xs)
            whole = indexed_axes(name, operand.shape, params) is not None
            if not whole or not all(place.is_invariant for place in places):
                raise UnreadableError(f"places of {name!r} depend on parameters or samples")
            xs = (operand, *first_places([place.shape for place in places]))
        first = next(x for x in xs if isinstance(x, Turned))
        data = [x for x in xs if isinstance(x, Turned)]
        if len(data) > 1:
            first = domain.agree(*data)
        lines = [_moved_line(move, xs, params, axis) for axis in first.axes]
        shape = _moved_line(move, xs, params, None)
        outs = []
        for k, part in enumerate(shape):
            axes = {
                _axis_of(line[k], len(turn[0])): turn
                for line, turn in zip(lines, first.axes.values(), strict=True)
            }
            outs.append(Turned(part.shape, axes, first.sign, uniform=_uniform(xs, part, params)))
        several = isinstance(move(*[_line(x, None) for x in xs], **params), list)
        return outs if several else outs[0]

    return apply


def _line(x: Any, axis: int | None) -> Any:
    if not isinstance(x, Turned):
        return x
    if axis is None:
        return np.broadcast_to(np.zeros((), dtype=np.int64), x.shape)
    shape = [size if i == axis else 1 for i, size in enumerate(x.shape)]
    return np.broadcast_to(np.arange(x.shape[axis]).reshape(shape), x.shape)


def _moved_line(move: Any, xs: Any, params: Any, axis: int | None) -> list[np.ndarray]:
    out = move(*[_line(x, axis) for x in xs], **params)
    return out if isinstance(out, list) else [out]


def _axis_of(array: np.ndarray, size: int) -> int:
    for axis, length in enumerate(array.shape):
        line = np.arange(size).reshape([size if i == axis else 1 for i in range(array.ndim)])
        if length == size and np.array_equal(array, np.broadcast_to(line, array.shape)):
            return axis
    raise NotEquivariantError("entries of an axis that is turned are moved apart")


def _uniform(xs: Any, part: np.ndarray, params: Any) -> frozenset[int]:
    if "broadcast_dimensions" not in params:
        return frozenset()
    kept = {
        axis
        for axis, size in zip(params["broadcast_dimensions"], xs[0].shape, strict=True)
        if size == part.shape[axis]
    }
    return frozenset(range(part.ndim)) - kept
