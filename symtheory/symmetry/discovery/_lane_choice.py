"""Comparison and choice of lanes; a comparison left open makes the bound infinite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symtheory.readings._concrete import CONCRETE
from symtheory.readings._interpreter import Rule
from symtheory.symmetry.discovery._lane_arithmetic import (
    add,
    negative,
)
from symtheory.symmetry.discovery._lane_balls import broadcast
from symtheory.symmetry.discovery._lane_values import (
    WIDEN,
    Lanes,
    joined,
    lift,
)


def compare(test: Callable[[np.ndarray], Any]) -> Callable[..., Lanes]:
    def rule(a: Lanes, b: Lanes) -> Lanes:
        difference = np.where(a.values == b.values, 0.0, a.values - b.values)
        bound = (a.errors + b.errors) * WIDEN
        known = (np.abs(difference) * (1 - 1e-15) > bound) | (bound == 0)
        answer = test(difference)
        return Lanes(answer.astype(np.int64), answer.astype(float), np.where(known, 0.0, np.inf))

    return rule


GREATER = compare(lambda d: d > 0)


def select(which: Any, *cases: Any) -> Any:
    if not isinstance(which, Lanes):
        if not any(isinstance(case, Lanes) for case in cases):
            return CONCRETE["select_n"](which, *cases)
        return joined(lambda parts: CONCRETE["select_n"](which, *parts), cases)
    chosen = (which.values > 0.5).astype(np.int64)
    out = joined(lambda parts: CONCRETE["select_n"](chosen, *parts), [lift(c) for c in cases])
    return Lanes(out.residues, out.values, np.where(which.errors > 0, np.inf, out.errors))


def larger(a: Lanes, b: Lanes) -> Lanes:
    return select(*broadcast(GREATER(a, b), b, a))


def smaller(a: Lanes, b: Lanes) -> Lanes:
    return select(*broadcast(GREATER(a, b), a, b))


def absolute(x: Lanes) -> Lanes:
    return larger(x, negative(x))


def sign(x: Lanes) -> Lanes:
    zero = lift(np.zeros(x.shape, dtype=np.int64))
    up, down = GREATER(x, zero), GREATER(zero, x)
    return add(up, negative(down))


def fold(rule: Callable[..., Lanes]) -> Rule:
    def reduced(x: Any, *, axes: Any, **_: Any) -> Lanes:
        x = lift(x)
        for axis in sorted((int(i) for i in axes), reverse=True):
            parts = [
                x.map(lambda a, i=i, axis=axis: np.take(a, i, axis)) for i in range(x.shape[axis])
            ]
            out = parts[0]
            for part in parts[1:]:
                out = rule(out, part)
            x = out
        return x

    return reduced
