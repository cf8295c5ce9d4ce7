"""What each primitive does to matrices acting on the axes of arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from symtheory.errors import UnreadableError
from symtheory.readings._casts import is_rounding_cast
from symtheory.readings._concrete import CONCRETE
from symtheory.readings._interpreter import Rule
from symtheory.readings._movement import MOVEMENT, iota
from symtheory.readings._places import first_places, indexed_axes
from symtheory.symmetry.conservation._actions import Acted, NotEquivariantError, acted, is_diagonal

if TYPE_CHECKING:
    from symtheory.symmetry.conservation._actions import Actions

_FUNCTIONS = (
    "exp", "exp2", "expm1", "log", "log1p", "tanh", "logistic", "erf", "erfc", "erf_inv", "sin",
    "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "lgamma",
    "digamma", "pow", "not", "and", "or", "is_finite",
)  # fmt: skip


def action_rules(domain: Actions) -> dict[str, Rule]:
    """Return the table primitive -> rule."""

    def lifted(rule: Any) -> Rule:
        return lambda *xs, **params: rule(*map(domain.lift, xs), **params)

    def homogeneous(*xs: Any, **_: Any) -> Acted:
        out = domain.agree(*xs)
        _require_diagonal(out)
        return out

    def compared(*xs: Any, **_: Any) -> Acted:
        return domain.invariant(homogeneous(*xs).shape)

    def invariant(*xs: Any, **_: Any) -> Acted:
        if not all(domain.lift(x).is_invariant for x in xs):
            raise NotEquivariantError("a function is applied to something that changes")
        return domain.invariant(max((domain.lift(x).shape or () for x in xs), key=math.prod))

    def chosen(which: Any, *cases: Any, **_: Any) -> Acted:
        if not domain.lift(which).is_invariant:
            raise NotEquivariantError("a condition changes")
        return homogeneous(*cases)

    rules: dict[str, Rule] = {name: _moved(domain, name) for name in MOVEMENT}
    rules |= dict.fromkeys(("pad", "dynamic_update_slice", "scatter"), invariant)
    rules |= dict.fromkeys(("add", "add_any", "sub"), lambda a, b, **_: domain.agree(a, b))
    rules |= dict.fromkeys(("max", "min"), homogeneous)
    rules |= dict.fromkeys(("gt", "lt", "ge", "le", "eq", "ne", "sign"), compared)
    rules |= dict.fromkeys(_FUNCTIONS, invariant)
    rules |= {
        "neg": lambda a, **_: domain.lift(a),
        "convert_element_type": lambda a, *, new_dtype, **_: (
            invariant(a) if is_rounding_cast(new_dtype) else domain.lift(a)
        ),
        "abs": homogeneous,
        "mul": lifted(lambda a, b, **_: _product(a, b)),
        "div": lifted(lambda a, b, **_: _product(a, _power(b, -1, 1))),
        "square": lambda a, **_: _power(a, 2, 1),
        "integer_pow": lambda a, *, y, **_: _power(a, y, 1),
        "sqrt": lambda a, **_: _power(a, 1, 2),
        "rsqrt": lambda a, **_: _power(a, -1, 2),
        "cbrt": lambda a, **_: _power(a, 1, 3),
        "dot_general": lifted(_dot_general),
        "reduce_sum": lambda a, *, axes, **_: _reduced(a, axes),
        "reduce_max": lambda a, *, axes, **_: _reduced(homogeneous(a), axes),
        "reduce_min": lambda a, *, axes, **_: _reduced(homogeneous(a), axes),
        "select_n": chosen,
        "iota": lambda *, dtype, **params: iota(dtype=dtype, **params),
    }
    return {name: _concretely(name, rule) for name, rule in rules.items()}


def _concretely(name: str, rule: Rule) -> Rule:
    plain = CONCRETE.get(name)
    if plain is None:
        return rule

    def choose(*xs: Any, **params: Any) -> Any:
        out = None if any(isinstance(x, Acted) for x in xs) else plain(*xs, **params)
        return rule(*xs, **params) if out is None else out

    return choose


def _require_diagonal(x: Acted) -> None:
    if not x.is_diagonal:
        raise NotEquivariantError("entries that are mixed go through a function one by one")


# --- products ----------------------------------------------------------------------------------


def _product(a: Acted, b: Acted) -> Acted:
    """Return the action on an entrywise product (Leibniz)."""
    shape = max((a.shape or (), b.shape or ()), key=math.prod)
    for x, y in ((a, b), (b, a)):
        for axis, matrix in x.axes.items():
            flat = axis in y.uniform or y.shape == ()
            if not is_diagonal(matrix) and not (flat and axis not in y.axes):
                raise NotEquivariantError("entries that are mixed are multiplied one by one")
    if a.shape == () or b.shape == ():
        full = b if a.shape == () else a
        return acted(shape, a.scale + b.scale, full.axes, a.zero or b.zero, full.uniform)
    axes = dict(a.axes)
    for axis, matrix in b.axes.items():
        axes[axis] = axes[axis] + matrix if axis in axes else matrix
    return acted(shape, a.scale + b.scale, axes, a.zero or b.zero, a.uniform & b.uniform)


def _power(a: Acted, numerator: int, denominator: int) -> Acted:
    _require_diagonal(a)
    parts = {axis: matrix * numerator for axis, matrix in a.axes.items()}
    scale = a.scale * numerator
    if any(np.any(part % denominator) for part in (scale, *parts.values())):
        raise UnreadableError("the actions domain reached its finest fraction of a degree")
    parts = {axis: matrix // denominator for axis, matrix in parts.items()}
    return acted(a.shape, scale // denominator, parts, a.zero and numerator > 0, a.uniform)


def _dot_general(a: Acted, b: Acted, *, dimension_numbers: Any, **_: Any) -> Acted:
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    if a.shape is None or b.shape is None:
        raise UnreadableError("the actions domain lost track of a shape")
    scale = a.scale + b.scale
    zero = a.zero or b.zero
    for i, j in zip(contract_a, contract_b, strict=True):
        left, right = a.axes.get(i), b.axes.get(j)
        total = 0 if left is None else np.swapaxes(left, 1, 2)
        total = total if right is None else total + right
        rest = acted((), np.zeros_like(scale), {} if isinstance(total, int) else {0: total})
        if rest.axes and not zero:
            raise NotEquivariantError("matrices on a summed axis do not cancel")
        scale = scale + rest.scale
    out: dict[int, np.ndarray] = {}
    for place, (i, j) in enumerate(zip(batch_a, batch_b, strict=True)):
        for matrix in (a.axes.get(i), b.axes.get(j)):
            if matrix is not None:
                if not is_diagonal(matrix):
                    raise NotEquivariantError("entries that are mixed are multiplied one by one")
                out[place] = out[place] + matrix if place in out else matrix
    shape = [a.shape[i] for i in batch_a]
    for x, inner, batch in ((a, contract_a, batch_a), (b, contract_b, batch_b)):
        assert x.shape is not None
        for i, size in enumerate(x.shape):
            if i not in (*inner, *batch):
                if i in x.axes:
                    out[len(shape)] = x.axes[i]
                shape.append(size)
    return acted(tuple(shape), scale, out, zero)


def _reduced(a: Acted, axes: Any) -> Acted:
    if any(axis in a.axes for axis in axes):
        raise NotEquivariantError("an axis that is acted on is summed")
    if a.shape is None:
        raise UnreadableError("the actions domain lost track of a shape")
    kept = [i for i in range(len(a.shape)) if i not in axes]
    moved = {kept.index(axis): matrix for axis, matrix in a.axes.items()}
    return acted(tuple(a.shape[i] for i in kept), a.scale, moved, a.zero)


# --- movement ----------------------------------------------------------------------------------

_SAME = ("copy", "copy_p", "stop_gradient", "reduce_precision", "name", "sharding_constraint")


def _moved(domain: Actions, name: str) -> Rule:
    """Follow the axes through a movement; where they do not survive, nothing may act on them."""
    move = MOVEMENT[name]

    def apply(*xs: Any, **params: Any) -> Any:
        if not any(isinstance(x, Acted) for x in xs):
            return move(*xs, **params)
        if name in _SAME:
            return move(*xs, **params)
        if name in ("gather", "dynamic_slice") and any(isinstance(x, Acted) for x in xs[1:]):
            # Stand-ins are enough: an axis of which a part is chosen does not come out whole.
            operand, *places = map(domain.lift, xs)
            whole = indexed_axes(name, operand.shape or (), params) is not None
            if not whole or not all(place.is_invariant for place in places):
                raise UnreadableError(f"places of {name!r} depend on parameters or samples")
            xs = (operand, *first_places([place.shape or () for place in places]))
        data = [domain.lift(x) for x in xs if isinstance(x, Acted)]
        if any(x.shape is None for x in data):
            raise UnreadableError("the actions domain lost track of a shape")
        if len(data) > 1:
            first = domain.agree(*data)
            data = [Acted(x.shape, first.scale, first.axes, x.zero) for x in data]
            if all(x.zero for x in data):
                return _shaped(domain, move, xs, params, data, {})
        return _shaped(domain, move, xs, params, data, data[0].axes)

    return apply


def _shaped(domain: Any, move: Any, xs: Any, params: Any, data: Any, axes: Any) -> Any:
    """Move positions along every acted axis and see whether that axis comes out whole."""
    stand_ins = [np.broadcast_to(np.zeros((), np.int64), domain.lift(x).shape) for x in xs]
    given = [s if isinstance(x, Acted) else x for s, x in zip(stand_ins, xs, strict=True)]
    out = move(*given, **params)
    parts = out if isinstance(out, list) else [out]
    found: list[dict[int, np.ndarray]] = [{} for _ in parts]
    for axis, matrix in axes.items():
        lined = []
        for x, stand in zip(xs, given, strict=True):
            if isinstance(x, Acted):
                shape = [1] * stand.ndim
                shape[axis] = stand.shape[axis]
                line = np.arange(stand.shape[axis]).reshape(shape)
                lined.append(np.broadcast_to(line, stand.shape))
            else:
                lined.append(x)
        moved = move(*lined, **params)
        for k, array in enumerate(moved if isinstance(moved, list) else [moved]):
            found[k][_axis_of(array, matrix.shape[-1])] = matrix
    zero = all(x.zero for x in data)
    outs = [
        Acted(p.shape, data[0].scale, f, zero, _uniform(xs, p, params))
        for p, f in zip(parts, found, strict=True)
    ]
    return outs if isinstance(out, list) else outs[0]


def _axis_of(array: np.ndarray, size: int) -> int:
    for axis, length in enumerate(array.shape):
        line = np.arange(size).reshape([size if i == axis else 1 for i in range(array.ndim)])
        if length == size and np.array_equal(array, np.broadcast_to(line, array.shape)):
            return axis
    raise NotEquivariantError("entries of an axis that is acted on are moved apart")


def _uniform(xs: Any, part: np.ndarray, params: Any) -> frozenset[int]:
    if "broadcast_dimensions" not in params:
        return frozenset()
    source = xs[0].shape
    kept = {
        axis
        for axis, size in zip(params["broadcast_dimensions"], source, strict=True)
        if size == part.shape[axis]
    }
    return frozenset(range(part.ndim)) - kept
