"""Arithmetic of lanes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symtheory.symmetry.discovery._lane_balls import by_balls
from symtheory.symmetry.discovery._lane_values import (
    TINY,
    UNIT,
    WIDEN,
    Lanes,
    both,
    lanes,
    lift,
)
from symtheory.symmetry.discovery._modular import PRIME, inverse, product

_EXPONENTS = 64


def add(a: Lanes, b: Lanes) -> Lanes:
    v = a.values + b.values
    back = v - a.values
    lost = np.abs((a.values - (v - back)) + (b.values - back))
    lost = np.where(np.isinf(v), 0.0, lost)
    return lanes(both(a, b, np.add), v, (a.errors + b.errors + lost) * WIDEN)


def negative(x: Lanes) -> Lanes:
    return Lanes(None if x.residues is None else -x.residues % PRIME, -x.values, x.errors)


def multiply(a: Lanes, b: Lanes) -> Lanes:
    v = a.values * b.values
    size = np.abs(a.values) * b.errors + np.abs(b.values) * a.errors + a.errors * b.errors
    rounding = np.where(v == 0, 0.0, UNIT * np.abs(v) + TINY)
    return lanes(both(a, b, np.multiply), v, (size + rounding) * WIDEN)


def divide(a: Lanes, b: Lanes) -> Lanes:
    v = a.values / b.values
    left = np.abs(b.values) - b.errors
    e = (a.errors + np.abs(v) * b.errors) / left + UNIT * np.abs(v) + TINY
    e = np.where(left > 0, e * WIDEN, np.inf)
    r = None
    if a.residues is not None and b.residues is not None:
        r = a.residues * inverse(b.residues) % PRIME
        e = np.where(np.broadcast_to(b.residues, e.shape) == 0, np.inf, e)
    return lanes(r, v, e)


def power(x: Lanes, n: int) -> Lanes:
    if n < 0:
        return divide(lift(np.ones(x.shape, dtype=np.int64)), power(x, -n))
    out = lift(np.ones(x.shape, dtype=np.int64))
    while n:
        if n & 1:
            out = multiply(out, x)
        n >>= 1
        if n:
            x = multiply(x, x)
    return out


def general_power(x: Lanes, y: Lanes) -> Lanes:
    n = np.unique(y.values)
    if len(n) == 1 and n[0] == round(n[0]) and not y.errors.any() and abs(n[0]) <= _EXPONENTS:
        return power(x, int(n[0]))
    return by_balls(lambda u, w: u**w)(x, y)


def summed(x: Lanes, axes: Any) -> Lanes:
    axes = tuple(int(i) for i in axes)
    count = math.prod(x.shape[i] for i in axes)
    e = np.sum(x.errors, axis=axes) + 2 * count * UNIT * np.sum(np.abs(x.values), axis=axes)
    r = None if x.residues is None else np.sum(x.residues, axis=axes) % PRIME
    return lanes(r, np.sum(x.values, axis=axes), e * WIDEN)


def cumulated(x: Lanes, *, axis: int, reverse: bool, **_: Any) -> Lanes:
    flip = (lambda a: np.flip(a, axis)) if reverse else (lambda a: a)
    run = lambda a: flip(np.cumsum(flip(a), axis=axis))
    e = run(x.errors) + 2 * x.shape[axis] * UNIT * run(np.abs(x.values))
    r = None if x.residues is None else run(x.residues) % PRIME
    return lanes(r, run(x.values), e * WIDEN)


def dot(a: Any, b: Any, *, dimension_numbers: Any, **_: Any) -> Lanes:
    a, b = lift(a), lift(b)
    (in_a, in_b), (batch_a, batch_b) = dimension_numbers
    in_a, in_b, batch_a, batch_b = (
        tuple(int(i) for i in x) for x in (in_a, in_b, batch_a, batch_b)
    )
    free_a = [i for i in range(len(a.shape)) if i not in (*in_a, *batch_a)]
    free_b = [i for i in range(len(b.shape)) if i not in (*in_b, *batch_b)]
    batch = [a.shape[i] for i in batch_a]
    rows, columns = [a.shape[i] for i in free_a], [b.shape[i] for i in free_b]
    inner = math.prod(a.shape[i] for i in in_a)
    left = a.map(
        lambda x: x.transpose([*batch_a, *free_a, *in_a]).reshape(*batch, math.prod(rows), inner)
    )
    right = b.map(
        lambda x: x.transpose([*batch_b, *in_b, *free_b]).reshape(*batch, inner, math.prod(columns))
    )
    size, other = np.abs(left.values), np.abs(right.values)
    e = size @ right.errors + left.errors @ other + left.errors @ right.errors
    e = (e + 2 * (inner + 2) * UNIT * (size @ other)) * WIDEN
    residues = None
    if left.residues is not None and right.residues is not None:
        residues = product(left.residues, right.residues)
    out = lanes(residues, left.values @ right.values, e)
    return out.map(lambda x: x.reshape(*batch, *rows, *columns))
