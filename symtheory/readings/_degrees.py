"""The domain *degrees*: how every intermediate entry scales when the parameters are scaled.

Under theta_i -> exp(lambda mu_i) theta_i each entry v of the computation either turns into
exp(lambda d) v with a definite degree d, or is not homogeneous. The rules are exact (integers),
hold for every lambda and every sample, and cost one pass at any size: a loss of degree 0 is
invariant, which proves a diagonal symmetry where expanding polynomials would be out of reach.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from symtheory.errors import SymtheoryError, UnreadableError
from symtheory.readings._arrays import _structural_rules
from symtheory.readings._interpreter import Rule

HALVINGS = 2**8
"""Degrees are integers in units of 1/HALVINGS, so that eight nested square roots stay exact."""


class NotHomogeneousError(SymtheoryError):
    """Two terms of a sum scale differently; the domain then says nothing about the loss."""


@dataclasses.dataclass(frozen=True)
class Scaled:
    """Degrees of an array's entries; `zero` marks entries that are 0 and fit any degree."""

    degrees: np.ndarray
    zero: np.ndarray

    @property
    def is_invariant(self) -> bool:
        """Whether no entry changes."""
        return bool(np.all((self.degrees == 0) | self.zero))


def scaled(degrees: Any, zero: Any = False) -> Scaled:
    """Return degrees with the zero mask broadcast to their shape."""
    degrees = np.asarray(degrees, dtype=np.int64)
    return Scaled(degrees, np.broadcast_to(np.asarray(zero, dtype=bool), degrees.shape))


class Degrees:
    """Homogeneity degrees of every entry, in units of 1/HALVINGS."""

    name = "degrees"

    def __init__(self) -> None:
        self._rules = _rules()

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The table primitive -> rule."""
        return self._rules

    def constant(self, value: Any) -> Any:
        """Read a constant: degree 0, or any degree where it is zero."""
        array = np.asarray(value)
        if array.dtype.kind in "biu":
            return array
        return scaled(np.zeros(array.shape, dtype=np.int64), array == 0)


def _lift(x: Any) -> Scaled:
    if isinstance(x, Scaled):
        return x
    return scaled(np.zeros(np.shape(x), dtype=np.int64), np.asarray(x) == 0)


def _agree(*xs: Scaled) -> Scaled:
    """Return the common degree of several operands of a sum, entry by entry."""
    first, *rest = xs
    degrees, zero = first.degrees, first.zero
    for x in rest:
        if np.any((degrees != x.degrees) & ~zero & ~x.zero):
            raise NotHomogeneousError("terms of different degree are added or compared")
        degrees, zero = np.where(zero, x.degrees, degrees), zero & x.zero
    return scaled(degrees, zero)


def _sum_over(x: Scaled, axes: tuple[int, ...]) -> Scaled:
    if not axes:
        return x
    moved = np.moveaxis(x.degrees, axes, range(len(axes)))
    zero = np.moveaxis(x.zero, axes, range(len(axes)))
    shape = moved.shape[len(axes) :]
    moved, zero = moved.reshape((-1, *shape)), zero.reshape((-1, *shape))
    big = np.iinfo(np.int64).max
    low = np.min(np.where(zero, big, moved), axis=0, initial=big)
    high = np.max(np.where(zero, -big, moved), axis=0, initial=-big)
    if np.any(low < high):
        raise NotHomogeneousError("terms of different degree are summed")
    empty = low > high
    return scaled(np.where(empty, 0, low), empty)


def _product(a: Scaled, b: Scaled, sign: int = 1) -> Scaled:
    zero = a.zero | b.zero if sign > 0 else a.zero
    return scaled(np.where(zero, 0, a.degrees + sign * b.degrees), zero)


def _dot(a: Scaled, b: Scaled, *, dimension_numbers: Any, **_: Any) -> Scaled:
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    free_a = [i for i in range(a.degrees.ndim) if i not in (*contract_a, *batch_a)]
    free_b = [i for i in range(b.degrees.ndim) if i not in (*contract_b, *batch_b)]

    def arrange(x: Scaled, order: list[int], ndims: tuple[int, int, int]) -> list[np.ndarray]:
        out = []
        for part in (x.degrees, x.zero):
            moved = part.transpose(order)
            batch, first, second = ndims
            shape = moved.shape
            sizes = [int(np.prod(s, dtype=int)) for s in (shape[batch : batch + first],)]
            out.append(moved.reshape((*shape[:batch], *sizes, -1)))
            del second
        return out

    left = arrange(a, [*batch_a, *free_a, *contract_a], (len(batch_a), len(free_a), 0))
    right = arrange(b, [*batch_b, *free_b, *contract_b], (len(batch_b), len(free_b), 0))
    pair = _product(
        scaled(left[0][..., :, None, :], left[1][..., :, None, :]),
        scaled(right[0][..., None, :, :], right[1][..., None, :, :]),
    )
    out = _sum_over(pair, (pair.degrees.ndim - 1,))
    shape = (
        *(a.degrees.shape[i] for i in batch_a),
        *(a.degrees.shape[i] for i in free_a),
        *(b.degrees.shape[i] for i in free_b),
    )
    return scaled(out.degrees.reshape(shape), out.zero.reshape(shape))


def _invariant(*xs: Scaled, **_: Any) -> Scaled:
    """Read a function that is not homogeneous: its arguments must not change at all."""
    if not all(x.is_invariant for x in xs):
        raise NotHomogeneousError("a function is applied to something that scales")
    return scaled(np.zeros(np.broadcast_shapes(*(x.degrees.shape for x in xs)), dtype=np.int64))


def _power(x: Scaled, numerator: int, denominator: int) -> Scaled:
    if np.any((x.degrees * numerator) % denominator):
        raise UnreadableError("the degrees domain reached its finest fraction of a degree")
    degrees = x.degrees * numerator // denominator
    return scaled(degrees, x.zero & (numerator > 0))


def _comparison(*xs: Scaled, **_: Any) -> Scaled:
    return scaled(np.zeros(_agree(*xs).degrees.shape, dtype=np.int64))


def _select(which: Any, *cases: Scaled) -> Scaled:
    if not _lift(which).is_invariant:
        raise NotHomogeneousError("a condition depends on the scale")
    return _agree(*cases)


def _rules() -> dict[str, Rule]:
    def on_scaled(rule: Callable[..., Any]) -> Rule:
        return lambda *xs, **params: rule(*map(_lift, xs), **params)

    def moved(rule: Rule) -> Rule:
        def apply(*xs: Any, **params: Any) -> Any:
            if not any(isinstance(x, Scaled) for x in xs):
                return rule(*xs, **params)
            data = [x if isinstance(x, Scaled) else None for x in xs]
            degrees = rule(
                *(x if d is None else d.degrees for x, d in zip(xs, data, strict=True)), **params
            )
            zero = rule(
                *(x if d is None else d.zero for x, d in zip(xs, data, strict=True)), **params
            )
            if isinstance(degrees, list):
                return [scaled(d, z) for d, z in zip(degrees, zero, strict=True)]
            return scaled(degrees, zero)

        return apply

    concrete = _concrete_rules()

    def with_concrete(name: str, rule: Rule) -> Rule:
        if name not in concrete:
            return rule
        plain = concrete[name]

        def apply(*xs: Any, **params: Any) -> Any:
            if any(isinstance(x, Scaled) for x in xs):
                return rule(*xs, **params)
            return plain(*xs, **params)

        return apply

    agree = on_scaled(lambda *xs, **_: _agree(*xs))
    over_axes = on_scaled(lambda x, *, axes, **_: _sum_over(x, tuple(axes)))
    comparison = on_scaled(_comparison)
    rules: dict[str, Rule] = {n: moved(rule) for n, rule in _structural_rules().items()}
    rules |= dict.fromkeys(("add", "add_any", "sub", "max", "min"), agree)
    rules |= dict.fromkeys(("reduce_sum", "reduce_max", "reduce_min"), over_axes)
    rules |= dict.fromkeys(("gt", "lt", "ge", "le", "eq", "ne"), comparison)
    rules |= dict.fromkeys(
        ("exp", "log", "tanh", "logistic", "erf", "sin", "cos", "expm1", "log1p", "and", "or",
         "not", "exp2", "erfc", "erf_inv", "atan", "sinh", "cosh", "reduce_and", "reduce_or"),
        on_scaled(_invariant),
    )  # fmt: skip
    rules |= {
        "mul": on_scaled(lambda a, b, **_: _product(a, b)),
        "div": on_scaled(lambda a, b, **_: _product(a, b, -1)),
        "neg": on_scaled(lambda x, **_: x),
        "abs": on_scaled(lambda x, **_: x),
        "sign": on_scaled(lambda x, **_: scaled(0 * x.degrees, x.zero)),
        "square": on_scaled(lambda x, **_: _power(x, 2, 1)),
        "integer_pow": on_scaled(lambda x, *, y, **_: _power(x, y, 1)),
        "sqrt": on_scaled(lambda x, **_: _power(x, 1, 2)),
        "rsqrt": on_scaled(lambda x, **_: _power(x, -1, 2)),
        "pow": on_scaled(lambda x, y, **_: _invariant(x, y)),
        "dot_general": on_scaled(_dot),
        "select_n": lambda which, *cases, **_: _select(which, *map(_lift, cases)),
        "convert_element_type": lambda x, *, new_dtype, **_: (
            x if isinstance(x, Scaled) or np.dtype(new_dtype).kind != "f" else _lift(x)
        ),
        "is_finite": on_scaled(lambda x, **_: scaled(0 * x.degrees)),
        "clamp": agree,
    }
    return {name: with_concrete(name, rule) for name, rule in rules.items()}


def _concrete_rules() -> dict[str, Rule]:
    """Integer arithmetic on positions and sizes, which no scaling touches."""
    plain: dict[str, Any] = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative,
        "max": np.maximum, "min": np.minimum, "gt": np.greater, "lt": np.less,
        "ge": np.greater_equal, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal,
        "and": np.bitwise_and, "or": np.bitwise_or, "not": np.invert,
    }  # fmt: skip
    return {name: (lambda f: lambda *xs, **_: f(*xs))(ufunc) for name, ufunc in plain.items()}
