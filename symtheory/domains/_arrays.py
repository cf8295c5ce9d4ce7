"""Domains whose values are arrays of elements (objects with + - * /), given by their scalars."""

from __future__ import annotations

import abc
import functools
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.domains import _movement
from symtheory.domains._domain import Domain, spoken
from symtheory.domains._entries import (
    Scalar,
    at_infinity,
    both,
    boxed,
    either,
    elementwise,
    infinity,
    is_bool,
    is_nan,
    negate,
    reduced,
    settled,
)
from symtheory.errors import UnreadableError
from symtheory.exact import rational
from symtheory.program._known import choose_known, select_known

_ROOTS = 12
"""Powers p/q with q up to this are powers of roots, others exp(y log x)."""


class ArrayDomain(Domain):
    """A domain given by its scalars: constants, comparison, choice and special functions."""

    def __init__(self) -> None:
        self._functions = {name: at_infinity(self, name, f) for name, f in self.functions().items()}

    # --- scalars, which each domain has its own of ---

    def scalar(self, value: Fraction) -> Any:
        """Return the element of an exact rational."""
        return value

    def infinite(self, value: float) -> Any:
        """Return what stands for an infinite or undefined number."""
        return value

    def is_finite(self, value: Any) -> bool:
        """Tell whether an element is neither infinite nor undefined."""
        return not isinstance(value, float) or math.isfinite(value)

    def check_defined(self, *values: Any) -> None:
        """Refuse to compare values that may be undefined, in domains that cannot tell."""

    def as_rational(self, value: Any) -> Fraction | None:
        """Return the number an element is, or None."""
        return value if isinstance(value, Fraction) else None

    @abc.abstractmethod
    def functions(self) -> Mapping[str, Scalar]:
        """Scalar functions by name: exp, log, sqrt, tanh, ..., max, min, gt, eq, select, root."""

    def total(self, elements: Iterable[Any]) -> Any:
        """Return a sum of elements, of which there is one at least."""
        return functools.reduce(operator.add, elements)

    def function(self, name: str) -> Scalar:
        """Return a scalar function by name.

        Raises:
            UnreadableError: The domain has none of that name.
        """
        if name not in self._functions:
            self.refuse(spoken(name))
        return self._functions[name]

    # --- values ---

    def constant(self, value: Any) -> np.ndarray:
        """Return a captured array; floats become the rationals they stand for."""
        if not isinstance(value, (np.ndarray, np.generic, float, int)):
            self.refuse("sizes that are names", instead="bind the sizes first")
        array = np.asarray(value)
        if array.dtype == object:
            return array
        if array.dtype.kind not in "biuf":
            raise UnreadableError(
                f"the {self.name} domain cannot read values of type {array.dtype}; "
                "use real floating-point parameters and samples"
            )
        out = np.empty(array.shape, dtype=object)
        seen: dict[Any, Any] = {}
        for index, item in np.ndenumerate(array):
            if item not in seen:
                known = array.dtype.kind != "f" or math.isfinite(item)
                seen[item] = self.scalar(rational(item)) if known else self.infinite(float(item))
            out[index] = seen[item]
        return out

    def shape(self, value: np.ndarray) -> tuple[int, ...]:
        """Return the shape of a value."""
        return value.shape

    # --- movement ---

    def transpose(self, x: np.ndarray, permutation: tuple[int, ...]) -> np.ndarray:
        """See `Domain.transpose`."""
        return np.transpose(x, permutation)

    def reshape(self, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """See `Domain.reshape`."""
        return np.reshape(x, shape)

    def broadcast(self, x: np.ndarray, shape: Any, axes: tuple[int, ...]) -> np.ndarray:
        """See `Domain.broadcast`."""
        return _movement.broadcast(x, shape, axes)

    def take(self, x: np.ndarray, places: np.ndarray, axis: int, fill: Any = None) -> np.ndarray:
        """See `Domain.take`."""
        return _movement.take(x, places, axis, fill)

    def pick(self, x: np.ndarray, places: np.ndarray, fill: Any = None) -> np.ndarray:
        """See `Domain.pick`."""
        return _movement.pick(x, places, fill)

    def concatenate(self, xs: Sequence[np.ndarray], axis: int) -> np.ndarray:
        """See `Domain.concatenate`."""
        return np.concatenate(xs, axis)

    def choose(
        self, x: np.ndarray, index: np.ndarray, axis: int, batch: int, fill: Any = None
    ) -> np.ndarray:
        """See `Domain.choose`; the index must be known."""
        if index.dtype == object:
            index = self._whole(index)
        index = np.clip(index, -1 if fill is not None else 0, x.shape[axis] - 1)
        return boxed(
            choose_known(x, index, None if fill is None else fill[()], axis=axis, batch=batch)
        )

    def _whole(self, index: np.ndarray) -> np.ndarray:
        """Return elements that are whole numbers as such."""
        numbers = [self.as_rational(x) for x in index.reshape(-1)]
        if any(x is None or x.denominator != 1 for x in numbers):
            self.refuse(
                "an index that depends on parameters or samples",
                instead="pass labels as integers of an Empirical, or use a one-hot vector",
            )
        return np.array([int(x) for x in numbers if x is not None], dtype=np.int64).reshape(
            index.shape
        )

    # --- arithmetic ---

    def add(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See `Domain.add`."""
        return boxed(np.add(x, y))

    def mul(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See `Domain.mul`."""
        return boxed(np.multiply(x, y))

    def scale(self, x: np.ndarray, factor: Fraction) -> np.ndarray:
        """See `Domain.scale`."""
        if factor == -1:
            return boxed(np.negative(x))
        return boxed(np.multiply(x, self.scalar(factor)))

    def dot(self, x: np.ndarray, y: np.ndarray, batch: int, inner: int) -> np.ndarray:
        """See `Domain.dot`."""
        groups, summed = x.shape[:batch], x.shape[x.ndim - inner :]
        rows, columns = x.shape[batch : x.ndim - inner], y.shape[batch : y.ndim - inner]
        left = x.reshape(*groups, *rows, math.prod(summed))
        right = y.reshape(*groups, *columns, math.prod(summed))
        out = np.empty((*groups, *rows, *columns), dtype=object)
        zero = self.scalar(Fraction(0))
        for group in np.ndindex(*groups):
            for i in np.ndindex(*rows):
                row = left[group + i]
                for j in np.ndindex(*columns):
                    terms = [a * b for a, b in zip(row, right[group + j], strict=True)]
                    out[group + i + j] = self.total(terms) if terms else zero
        return out

    def sum(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """See `Domain.sum`."""
        zero = self.scalar(Fraction(0))
        return reduced(x, axes, lambda row: self.total(row) if row else zero)

    def power(self, x: np.ndarray, exponent: Fraction) -> np.ndarray:
        """See `Domain.power`."""
        return elementwise(lambda v: self._power(v, exponent), x)

    def _power(self, base: Any, exponent: Fraction) -> Any:
        if isinstance(base, float):  # infinite or undefined; its inverse is 0
            power = base ** float(exponent)
            return self.scalar(rational(power)) if math.isfinite(power) else power
        if exponent.denominator == 1:
            n = int(exponent)
            return base**n if n >= 0 else 1 / base**-n
        if exponent.denominator == 2 and "sqrt" in self._functions:
            return self._power(self._functions["sqrt"](base), Fraction(exponent.numerator))
        if exponent.denominator <= _ROOTS and "root" in self._functions:
            root = self._functions["root"](base, exponent.denominator)
            return self._power(root, Fraction(exponent.numerator))
        log = self.function("log")(base)
        return self.function("exp")(self.scalar(exponent) * log)

    def apply(self, function: str, *xs: Any) -> np.ndarray:
        """See `Domain.apply`."""
        special = {
            "pow": self._general_power, "and": both, "or": either, "not": negate,
            "xor": lambda a, b: either(both(a, negate(b)), both(b, negate(a))),
            "is_finite": self._finite, "quotient": self._quotient,
            "rem": lambda a, b: a - b * self._quotient(a, b),
        }.get(function)  # fmt: skip
        return elementwise(special or self.function(function), *xs)

    def _general_power(self, base: Any, exponent: Any) -> Any:
        exact = self.as_rational(exponent)
        if exact is not None and exact.denominator <= _ROOTS:
            return self._power(base, exact)
        return self.function("exp")(exponent * self.function("log")(base))

    def _quotient(self, a: Any, b: Any) -> Any:
        return self.function("trunc")(a / b)

    def _finite(self, x: Any) -> bool:
        self.check_defined(x)
        return self.is_finite(x)

    # --- order ---

    def extremum(self, x: np.ndarray, y: np.ndarray, largest: bool) -> np.ndarray:
        """See `Domain.extremum`."""
        return elementwise(self._larger if largest else self._smaller, x, y)

    def _larger(self, a: Any, b: Any) -> Any:
        if is_nan(a) or is_nan(b):
            return a if is_nan(a) else b
        if infinity(a) or infinity(b):
            return a if infinity(a) > infinity(b) else b
        return self.function("max")(a, b)

    def _smaller(self, a: Any, b: Any) -> Any:
        if is_nan(a) or is_nan(b):
            return a if is_nan(a) else b
        if infinity(a) or infinity(b):
            return a if infinity(a) < infinity(b) else b
        return self.function("min")(a, b)

    def fold(self, x: np.ndarray, kind: str, axes: tuple[int, ...]) -> np.ndarray:
        """See `Domain.fold`."""
        step: Scalar = {
            "max": self._larger, "min": self._smaller, "product": operator.mul, "all": both,
            "any": either,
        }[kind]  # fmt: skip
        return settled(reduced(x, axes, lambda row: functools.reduce(step, row)))

    def compare(self, kind: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See `Domain.compare`; what is compared with NaN is False (True for "ne")."""
        tests: dict[str, Scalar] = {
            "gt": self._greater,
            "ge": lambda a, b: negate(self._greater(b, a)),
            "eq": self._equal,
            "ne": lambda a, b: negate(self._equal(a, b)),
        }
        test = tests[kind]

        def one(a: Any, b: Any) -> Any:
            if is_nan(a) or is_nan(b):
                return kind == "ne"
            if not (is_bool(a) and is_bool(b)):
                self.check_defined(a, b)
            return test(a, b)

        return elementwise(one, x, y)

    def _greater(self, a: Any, b: Any) -> Any:
        if infinity(a) or infinity(b):
            return infinity(a) > infinity(b)
        return self.function("gt")(a, b)

    def _equal(self, a: Any, b: Any) -> Any:
        if infinity(a) or infinity(b):
            return infinity(a) == infinity(b)
        return self.function("eq")(a, b)

    def select(self, which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
        """See `Domain.select`."""
        if which.dtype != object:
            return select_known(which, *cases)
        if len(cases) != 2:
            self.refuse("a choice among several that depends on parameters or samples")
        return elementwise(self._choice, which, *cases)

    def _choice(self, condition: Any, no: Any, yes: Any) -> Any:
        if is_bool(condition):
            return yes if condition else no
        if not (self.is_finite(no) and self.is_finite(yes)):
            self.refuse(
                "a choice between a finite and an infinite or undefined value that depends on "
                "parameters or samples"
            )
        return self.function("select")(condition, no, yes)

    def sort(self, xs: Sequence[np.ndarray], axis: int, keys: int) -> list[np.ndarray]:
        """See `Domain.sort`: neighbours are exchanged until all are in order."""
        rows = [np.moveaxis(x, axis, 0) for x in xs]
        columns = [[boxed(x[k]) for x in rows] for k in range(rows[0].shape[0])]
        if not columns:
            return list(xs)
        for end in range(len(columns) - 1, 0, -1):
            for k in range(end):
                low, high = columns[k], columns[k + 1]
                swap = self._before(high[:keys], low[:keys])
                if not isinstance(swap, np.ndarray):
                    continue
                columns[k] = [self.select(swap, a, b) for a, b in zip(low, high, strict=True)]
                columns[k + 1] = [self.select(swap, b, a) for a, b in zip(low, high, strict=True)]
        return [
            np.moveaxis(np.stack([column[n] for column in columns]), 0, axis)
            for n in range(len(xs))
        ]

    def _before(self, a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> Any:
        less = self.compare("gt", b[0], a[0])
        for k in range(1, len(a)):
            tied = self.compare("eq", a[0], b[0])
            later = self._before(a[k:], b[k:])
            return elementwise(either, less, elementwise(both, tied, later))
        return less

    def cast(self, x: np.ndarray, kind: str) -> np.ndarray:
        """See `Domain.cast`."""
        if kind in ("real", "bit"):
            return elementwise(lambda v: self.scalar(Fraction(int(v))) if is_bool(v) else v, x)
        numbers = [self.as_rational(v) for v in x.reshape(-1)]
        if kind == "integer" and all(v is not None for v in numbers):
            whole = [math.trunc(v) for v in numbers if v is not None]
            return np.array(whole, dtype=np.int64).reshape(x.shape)
        self.refuse(
            "a cast to integers" if kind == "integer" else f"a cast to {kind}, which rounds",
            "of a value that depends on parameters or samples",
        )
