"""The rules of the lanes domain, one per primitive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symtheory.readings._casts import is_exact_cast, is_rounding_cast
from symtheory.readings._concrete import CONCRETE
from symtheory.readings._interpreter import Rule, unreadable
from symtheory.readings._movement import MOVEMENT, iota, scatter_places
from symtheory.symmetry.discovery._lane_arithmetic import (
    add,
    cumulated,
    divide,
    dot,
    general_power,
    multiply,
    negative,
    power,
    summed,
)
from symtheory.symmetry.discovery._lane_balls import FUNCTIONS, by_balls
from symtheory.symmetry.discovery._lane_choice import (
    GREATER,
    absolute,
    compare,
    fold,
    larger,
    select,
    sign,
    smaller,
)
from symtheory.symmetry.discovery._lane_values import (
    UNIT,
    WIDEN,
    Lanes,
    lanes,
    lift,
)
from symtheory.symmetry.discovery._modular import PRIME

_MOVED: dict[str, tuple[int, ...]] = {
    "gather": (0,), "dynamic_slice": (0,), "scatter": (0, 2), "dynamic_update_slice": (0, 1),
}  # fmt: skip
"""Which arguments hold entries, where others are places."""


def _moved(name: str, rule: Rule) -> Rule:
    def moved(*xs: Any, **params: Any) -> Any:
        if not any(isinstance(x, Lanes) for x in xs):
            return rule(*xs, **params)
        holding = _MOVED.get(name, tuple(range(len(xs))))
        items = {i: lift(xs[i]) for i in holding}

        def apply(field: str) -> Any:
            parts = [getattr(items[i], field) if i in items else x for i, x in enumerate(xs)]
            return rule(*parts, **params)

        values, errors = apply("values"), apply("errors")
        known = all(item.residues is not None for item in items.values())
        residues = apply("residues") if known else None
        if isinstance(values, list):
            parts = residues if residues is not None else [None] * len(values)
            return [Lanes(*part) for part in zip(parts, values, errors, strict=True)]
        return Lanes(residues, values, errors)

    return moved


def _scatter_add(x: Any, indices: Any, updates: Any, **params: Any) -> Lanes:
    x, updates = lift(x), lift(updates)
    places = scatter_places(x.values, indices, updates.values, **params).reshape(-1)
    kept = places >= 0
    sums = [np.array(x.values), np.array(x.errors), np.abs(x.values)]
    parts = [updates.values, updates.errors, np.abs(updates.values)]
    for target, part in zip(sums, parts, strict=True):
        np.add.at(target.reshape(-1), places[kept], part.reshape(-1)[kept])
    residues = None
    if x.residues is not None and updates.residues is not None:
        residues = np.array(x.residues)
        np.add.at(residues.reshape(-1), places[kept], updates.residues.reshape(-1)[kept])
        residues %= PRIME
    count = max(len(places), 1)
    return lanes(residues, sums[0], (sums[1] + 2 * count * UNIT * sums[2]) * WIDEN)


def _convert(x: Any, *, new_dtype: Any, **_: Any) -> Any:
    x = lift(x)
    if is_exact_cast(new_dtype):
        return x
    if is_rounding_cast(new_dtype) or np.any(x.errors) or np.any(x.values != np.rint(x.values)):
        raise unreadable("lanes", "convert_element_type", "it rounds")
    return x.values.astype(new_dtype)


def _on_lanes(rule: Callable[..., Any]) -> Rule:
    return lambda *xs, **_: rule(*map(lift, xs))


def lane_rules() -> dict[str, Rule]:
    negate = lambda x: add(lift(np.ones(x.shape, dtype=np.int64)), negative(x))
    either = lambda a, b: negate(multiply(negate(a), negate(b)))
    plain: dict[str, Callable[..., Any]] = {
        "add": add, "add_any": add, "sub": lambda a, b: add(a, negative(b)),
        "mul": multiply, "div": divide, "neg": negative, "abs": absolute, "sign": sign,
        "square": lambda x: multiply(x, x),
        "pow": general_power, "max": larger,
        "min": smaller, "clamp": lambda low, x, high: smaller(larger(x, low), high),
        "gt": GREATER, "lt": lambda a, b: GREATER(b, a),
        "ge": compare(lambda d: d >= 0), "le": compare(lambda d: d <= 0),
        "eq": compare(lambda d: d == 0), "ne": compare(lambda d: d != 0),
        "and": multiply, "or": either, "not": negate,
        "is_finite": lambda x: lift(np.isfinite(x.values)),
        **{name: by_balls(function) for name, function in FUNCTIONS.items()},
    }  # fmt: skip
    rules: dict[str, Rule] = {name: _moved(name, rule) for name, rule in MOVEMENT.items()}
    rules |= {name: _on_lanes(rule) for name, rule in plain.items()}
    rules |= {
        "integer_pow": lambda x, *, y, **_: power(lift(x), y),
        "reduce_sum": lambda x, *, axes, **_: summed(lift(x), axes),
        "reduce_prod": fold(multiply),
        "reduce_max": fold(larger),
        "reduce_min": fold(smaller),
        "reduce_and": fold(multiply),
        "reduce_or": fold(either),
        "cumsum": lambda x, **params: cumulated(lift(x), **params),
        "dot_general": dot,
        "select_n": lambda which, *cases, **_: select(which, *cases),
        "convert_element_type": _convert,
        "scatter-add": _scatter_add,
        "iota": lambda *, dtype, **params: (
            lift(iota(dtype=dtype, **params))
            if np.dtype(dtype).kind == "f"
            else iota(dtype=dtype, **params)
        ),
    }
    return {
        name: _concretely(CONCRETE.get(name), rules.get(name), name)
        for name in {**CONCRETE, **rules}
    }


def _concretely(concrete: Rule | None, rule: Rule | None, name: str) -> Rule:
    """Compute with integers and booleans that no parameter touches; read everything else."""

    def chosen(*xs: Any, **params: Any) -> Any:
        if concrete is not None and not any(isinstance(x, Lanes) for x in xs) and xs:
            out = concrete(*xs, **params)
            if out is not None:
                return out
        if rule is None:
            raise unreadable("lanes", name)
        with np.errstate(all="ignore"):
            return rule(*xs, **params)

    return chosen
