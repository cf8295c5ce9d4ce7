"""What each primitive does to lanes of residues."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from symtheory.errors import UnreadableError
from symtheory.readings._casts import is_rounding_cast
from symtheory.readings._concrete import CONCRETE
from symtheory.readings._interpreter import Rule, unreadable
from symtheory.readings._movement import MOVEMENT, iota, scatter_places
from symtheory.symmetry.conservation._modular import (
    MODULUS,
    Lanes,
    add,
    contract,
    inverse,
    multiply,
    together,
)

if TYPE_CHECKING:
    from symtheory.symmetry.conservation._modular import Modular

_PLACED = {"gather": 1, "dynamic_slice": 1}
"""How many of the first arguments are moved; the others are places."""


def lane_rules(domain: Modular) -> dict[str, Rule]:
    """Return the table primitive -> rule."""

    def on_numbers(rule: Callable[..., Any]) -> Rule:
        return lambda *xs, **params: rule(*map(domain.lift, xs), **params)

    rules: dict[str, Rule] = {
        name: _moved(domain, name)
        for name in MOVEMENT
        if name not in ("scatter", "dynamic_update_slice", "pad")
    }
    rules |= {
        "add": on_numbers(lambda a, b, **_: add(*_aligned(a, b))),
        "add_any": on_numbers(lambda a, b, **_: add(*_aligned(a, b))),
        "sub": on_numbers(lambda a, b, **_: add(*_aligned(a, b), sign=-1)),
        "mul": on_numbers(lambda a, b, **_: multiply(*_aligned(a, b))),
        "div": on_numbers(lambda a, b, **_: multiply(*_aligned(a, inverse(b)))),
        "neg": on_numbers(lambda a, **_: _negative(a)),
        "square": on_numbers(lambda a, **_: multiply(a, a)),
        "integer_pow": on_numbers(lambda a, *, y, **_: _power(a, y)),
        "dot_general": on_numbers(_dot_general),
        "reduce_sum": on_numbers(_reduce_sum),
        "max": on_numbers(lambda a, b, **_: _extremum(domain, *_aligned(a, b), sign=1)),
        "min": on_numbers(lambda a, b, **_: _extremum(domain, *_aligned(a, b), sign=-1)),
        "abs": on_numbers(lambda a, **_: _choose(domain.positive(a), _negative(a), a)),
        "sign": on_numbers(
            lambda a, **_: domain.lift(Lanes(domain.positive(a)).map(lambda t: 2 * t - 1))
        ),
        "gt": on_numbers(lambda a, b, **_: _compare(domain, a, b)),
        "lt": on_numbers(lambda a, b, **_: _compare(domain, b, a)),
        "ge": on_numbers(lambda a, b, **_: _compare(domain, a, b)),
        "le": on_numbers(lambda a, b, **_: _compare(domain, b, a)),
        "eq": on_numbers(lambda a, b, **_: _equal(domain, a, b)),
        "ne": on_numbers(lambda a, b, **_: Lanes(~_equal(domain, a, b).residue)),
        "and": lambda a, b, **_: _logical(np.logical_and, a, b),
        "or": lambda a, b, **_: _logical(np.logical_or, a, b),
        "not": lambda a, **_: _logical(np.logical_not, a),
        "select_n": lambda which, *cases, **_: _select(domain, which, cases),
        "convert_element_type": lambda a, *, new_dtype, **_: _convert(domain, a, new_dtype),
        "iota": lambda *, dtype, **params: (
            domain.lift(iota(dtype=dtype, **params))
            if np.dtype(dtype).kind == "f"
            else iota(dtype=dtype, **params)
        ),
        "scatter-add": lambda x, places, new, **p: _scatter_add(domain, x, places, new, **p),
        "pad": lambda x, value, **params: _pad(domain, x, value, **params),
    }
    return {name: _concretely(name, rule) for name, rule in rules.items()}


def _concretely(name: str, rule: Rule) -> Rule:
    plain = CONCRETE.get(name)
    if plain is None:
        return rule

    def choose(*xs: Any, **params: Any) -> Any:
        out = None if any(isinstance(x, Lanes) for x in xs) else plain(*xs, **params)
        return rule(*xs, **params) if out is None else out

    return choose


def _aligned(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """Give scalars the rank of the other operand (behind the lanes)."""
    missing = b.residue.ndim - a.residue.ndim
    if missing > 0:
        a = a.map(lambda x: x.reshape(*x.shape, *[1] * missing))
    elif missing < 0:
        b = b.map(lambda x: x.reshape(*x.shape, *[1] * -missing))
    return a, b


def _negative(a: Lanes) -> Lanes:
    return Lanes(-a.residue % MODULUS, None if a.middle is None else -a.middle, a.radius)


def _convert(domain: Modular, a: Any, dtype: Any) -> Lanes:
    if is_rounding_cast(dtype):
        raise unreadable(domain.name, "convert_element_type", f"a cast to {dtype} rounds")
    return domain.lift(a)


def _power(a: Lanes, n: int) -> Lanes:
    if n < 0:
        return _power(inverse(a), -n)
    out = a.map(np.ones_like) if n == 0 else a
    for _ in range(n - 1):
        out = multiply(out, a)
    return out


def _dot_general(a: Lanes, b: Lanes, *, dimension_numbers: Any, **_: Any) -> Lanes:
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    ndim_a, ndim_b = a.residue.ndim - 1, b.residue.ndim - 1
    free_a = [i for i in range(ndim_a) if i not in (*contract_a, *batch_a)]
    free_b = [i for i in range(ndim_b) if i not in (*contract_b, *batch_b)]

    def arranged(x: np.ndarray, *groups: Any) -> np.ndarray:
        order = [0, *(i + 1 for group in groups for i in group)]
        sizes = [math.prod(x.shape[i + 1] for i in group) for group in groups]
        return x.transpose(order).reshape(x.shape[0], *sizes)

    left = a.map(lambda x: arranged(x, batch_a, free_a, contract_a))
    right = b.map(lambda x: arranged(x, batch_b, contract_b, free_b))
    shape = [a.residue.shape[i + 1] for i in (*batch_a, *free_a)]
    shape += [b.residue.shape[i + 1] for i in free_b]
    return contract(left, right).map(lambda x: x.reshape(x.shape[0], *shape))


def _reduce_sum(a: Lanes, *, axes: Any, **_: Any) -> Lanes:
    places = tuple(i + 1 for i in axes)
    count = math.prod(a.residue.shape[i] for i in places)
    number = np.sum(a.residue, axis=places) % MODULUS
    if a.middle is None or a.radius is None:
        return Lanes(number)
    slack = 1.001 * np.sum(a.radius + np.abs(a.middle) * (count + 2) * 2.0**-52, axis=places)
    return Lanes(number, np.sum(a.middle, axis=places), slack + 1e-290)


# --- comparison and choice ---------------------------------------------------------------------


def _compare(domain: Modular, a: Lanes, b: Lanes) -> Lanes:
    return Lanes(domain.positive(add(*_aligned(a, b), sign=-1)))


def _equal(domain: Modular, a: Lanes, b: Lanes) -> Lanes:
    difference = add(*_aligned(a, b), sign=-1)
    domain.positive(difference)  # undecided where the two may be equal
    return Lanes(np.zeros(difference.residue.shape, dtype=bool))


def _extremum(domain: Modular, a: Lanes, b: Lanes, sign: int) -> Lanes:
    larger = domain.positive(add(a, b, sign=-1))
    return _choose(larger, b, a) if sign > 0 else _choose(larger, a, b)


def _choose(condition: np.ndarray, no: Lanes, yes: Lanes) -> Lanes:
    if no.middle is None or yes.middle is None:
        return Lanes(np.where(condition, yes.residue, no.residue))
    return Lanes(
        np.where(condition, yes.residue, no.residue),
        np.where(condition, yes.middle, no.middle),
        np.where(condition, yes.radius, no.radius),  # type: ignore[arg-type]
    )


def _logical(function: Any, *xs: Any) -> Lanes:
    arrays = [x.residue if isinstance(x, Lanes) else np.asarray(x)[None] for x in xs]
    return Lanes(function(*arrays))


def _select(domain: Modular, which: Any, cases: Any) -> Any:
    condition = which.residue if isinstance(which, Lanes) else np.asarray(which)[None]
    if len(cases) != 2:
        raise UnreadableError("the lanes domain reads choices between two cases only")
    no, yes = (domain.lift(case) for case in cases)
    condition = condition.reshape(*condition.shape, *[1] * (no.residue.ndim - condition.ndim))
    return _choose(condition != 0, no, yes)


# --- movement ----------------------------------------------------------------------------------


def _moved(domain: Modular, name: str) -> Rule:
    """Move positions instead of entries, then take along them."""
    move = MOVEMENT[name]

    def apply(*xs: Any, **params: Any) -> Any:
        if not any(isinstance(x, Lanes) for x in xs):
            return move(*xs, **params)
        count = _PLACED.get(name, len(xs))
        if any(isinstance(x, Lanes) for x in xs[count:]):
            raise UnreadableError(f"places of {name!r} depend on parameters or samples")
        truth = all(isinstance(x, Lanes) and x.residue.dtype == bool for x in xs[:count])
        data = [x if truth else domain.lift(x) for x in xs[:count]]
        if name in ("copy", "copy_p", "stop_gradient", "reduce_precision", "name"):
            return move(data[0], **params)
        if name == "optimization_barrier":
            return data
        places, start = [], 0
        for x in data:
            places.append(np.arange(start, start + x.size).reshape(x.residue.shape[1:]))
            start += x.size
        flat = data[0].map(lambda a: a.reshape(a.shape[0], -1))
        if len(data) > 1:
            rows = [x.map(lambda a: a.reshape(a.shape[0], -1)) for x in data]
            flat = together(lambda *arrays: np.concatenate(arrays, axis=1), rows)
        out = move(*places, *xs[count:], **params)
        if isinstance(out, list):
            return [_taken(flat, place) for place in out]
        return _taken(flat, np.asarray(out))

    return apply


def _taken(flat: Lanes, places: np.ndarray) -> Lanes:
    return flat.map(lambda a: a[:, places])


def _pad(domain: Modular, x: Any, value: Any, **params: Any) -> Lanes:
    data, fill = domain.lift(x), domain.lift(value)
    flat = together(
        lambda a, b: np.concatenate([a, b], axis=1),
        [data.map(lambda a: a.reshape(a.shape[0], -1)), fill.map(lambda a: a[:, None])],
    )
    places = np.arange(data.size).reshape(data.residue.shape[1:])
    return _taken(flat, MOVEMENT["pad"](places, np.asarray(data.size), **params))


def _scatter_add(domain: Modular, x: Any, indices: Any, updates: Any, **params: Any) -> Lanes:
    base, new = domain.lift(x), domain.lift(updates)
    if isinstance(indices, Lanes):
        raise UnreadableError("places of 'scatter-add' depend on parameters or samples")
    shapes = [np.zeros(v.residue.shape[1:], dtype=np.int64) for v in (base, new)]
    places = scatter_places(shapes[0], indices, shapes[1], **params).reshape(-1)
    flat, new = (v.map(lambda a: a.reshape(a.shape[0], -1)) for v in (base, new))
    out = flat
    for k, place in enumerate(places):
        if place >= 0:
            term = new.map(lambda a, k=k: a[:, [k]])
            before = out.map(lambda a, i=place: a[:, [i]])
            after = add(before, term)
            out = together(
                lambda a, b, i=place: np.concatenate([a[:, :i], b, a[:, i + 1 :]], axis=1),
                [out, after],
            )
    return out.map(lambda a: a.reshape(a.shape[0], *base.residue.shape[1:]))
