"""Functions of lanes, enclosed by Arb's balls entry by entry."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from flint import arb

from symtheory.symmetry.discovery._lane_values import (
    TINY,
    UNIT,
    WIDEN,
    Lanes,
)


def broadcast(*xs: Lanes) -> list[Lanes]:
    shape = np.broadcast_shapes(*(x.shape for x in xs))
    return [x.map(lambda a: np.broadcast_to(a, shape)) for x in xs]


def by_balls(function: Callable[..., arb]) -> Callable[..., Lanes]:
    def one(*parts: float) -> tuple[float, float]:
        pairs = list(zip(parts[::2], parts[1::2], strict=True))
        if any(math.isnan(v) or not math.isfinite(e) for v, e in pairs):
            return 0.0, math.inf
        out = function(*(arb(v, e) if math.isfinite(v) else arb(str(v)) for v, e in pairs))
        if not out.is_finite():
            return 0.0, math.inf
        mid, rad = float(out.mid()), float(out.rad())
        return mid, rad * WIDEN + abs(mid) * 2 * UNIT + TINY if mid or rad else 0.0

    def rule(*xs: Lanes) -> Lanes:
        xs = tuple(broadcast(*xs))
        parts = [a.reshape(-1) for x in xs for a in (x.values, x.errors)]
        pairs = [one(*row) for row in zip(*(p.tolist() for p in parts), strict=True)]
        table = np.array(pairs, dtype=float).reshape(-1, 2)
        return Lanes(None, table[:, 0].reshape(xs[0].shape), table[:, 1].reshape(xs[0].shape))

    return rule


def _logistic(x: arb) -> arb:
    return 1 / (1 + (-x).exp())


FUNCTIONS: dict[str, Callable[..., arb]] = {
    name: getattr(arb, name)
    for name in (
        "exp", "log", "sqrt", "rsqrt", "expm1", "log1p", "tanh", "erf", "erfc", "sin", "cos",
        "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "lgamma",
        "digamma",
    )
} | {
    "logistic": _logistic,
    "exp2": lambda x: arb(2) ** x,
    "cbrt": lambda x: x.root(3) if x > 0 else -((-x).root(3)),
}  # fmt: skip
