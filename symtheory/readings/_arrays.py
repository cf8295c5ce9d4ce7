"""Domains whose values are arrays of elements (objects with + - * /).

Integers and booleans that do not depend on a parameter or sample stay ordinary NumPy arrays and
are computed concretely; everything else is an object array of elements.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import UnreadableError
from symtheory.exact import rational
from symtheory.readings._interpreter import Rule

Scalar = Callable[..., Any]


class ArrayDomain:
    """A domain given by its scalars: constants, comparison, choice and special functions."""

    name = "arrays"

    def __init__(self) -> None:
        from symtheory.readings._arithmetic import arithmetic_rules
        from symtheory.readings._concrete import CONCRETE
        from symtheory.readings._movement import MOVEMENT, placing_rules

        rules: dict[str, Rule] = {**MOVEMENT, **placing_rules(self), **arithmetic_rules(self)}
        self._rules = {
            name: _boxing(_concretely(CONCRETE.get(name), rules.get(name, self._refusal(name))))
            for name in {**CONCRETE, **rules}
        }

    def _refusal(self, name: str) -> Rule:
        def refuse(*_: Any, **__: Any) -> Any:
            from symtheory.readings._interpreter import unreadable

            raise unreadable(self.name, name)

        return refuse

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The table primitive -> rule."""
        return self._rules

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

    def functions(self) -> Mapping[str, Scalar]:
        """Scalar functions by primitive name: exp, log, sqrt, tanh, ..., max, gt, eq, select."""
        return {}

    def total(self, elements: Iterable[Any]) -> Any:
        """Return a sum of elements."""
        return functools.reduce(operator.add, elements)

    # --- arrays ---

    def constant(self, value: Any) -> np.ndarray:
        """Read a literal or captured array; floats become the rationals they stand for."""
        array = np.asarray(value)
        if array.dtype == object or array.dtype.kind in "biu":
            return array
        if array.dtype.kind != "f":
            raise UnreadableError(
                f"the {self.name} domain cannot read values of type {array.dtype}; "
                "use real floating-point parameters and samples"
            )
        return self._elements(array, lambda item: rational(item) if math.isfinite(item) else None)

    def lift(self, array: np.ndarray) -> np.ndarray:
        """Turn a concrete integer or boolean array into an array of elements."""
        if array.dtype != object:
            return self._elements(array, lambda item: Fraction(int(item)))
        if any(is_bool(x) for x in array.flat):
            convert = lambda x: self.scalar(Fraction(int(x))) if is_bool(x) else x
            return elementwise(convert, array)
        return array

    def _elements(self, array: np.ndarray, exact: Callable[[Any], Fraction | None]) -> np.ndarray:
        out = np.empty(array.shape, dtype=object)
        known: dict[Any, Any] = {}
        for index, item in np.ndenumerate(array):
            if item not in known:
                number = exact(item)
                known[item] = self.infinite(float(item)) if number is None else self.scalar(number)
            out[index] = known[item]
        return out

    def take(self, value: np.ndarray, step: int) -> np.ndarray:
        """Return one entry of an array along its first axis."""
        return boxed(value[step])

    def stack(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Put arrays together along a new first axis."""
        return np.stack(values)


def elementwise(function: Scalar, *arrays: Any) -> np.ndarray:
    """Apply a scalar function entry by entry, keeping zero-dimensional results arrays."""
    with np.errstate(invalid="ignore"):  # the functions treat NaN themselves
        return settle(boxed(np.frompyfunc(function, len(arrays), 1)(*arrays)))


def boxed(value: Any) -> np.ndarray:
    """Return an array; NumPy gives bare entries for zero-dimensional object arrays."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    box = np.empty((), dtype=object)
    box[()] = value
    return box


def settle(array: np.ndarray) -> np.ndarray:
    """Return an object array of plain booleans as a boolean array."""
    if array.dtype == object and array.size and all(is_bool(x) for x in array.flat):
        return array.astype(bool)
    return array


def is_bool(value: Any) -> bool:
    """Tell whether a value is a plain truth value, not an element."""
    return isinstance(value, (bool, np.bool_))


def _boxing(rule: Rule) -> Rule:
    def boxing(*arguments: Any, **params: Any) -> Any:
        out = rule(*arguments, **params)
        return [boxed(x) for x in out] if isinstance(out, list) else boxed(out)

    return boxing


def _concretely(concrete: Rule | None, rule: Rule) -> Rule:
    """Take the concrete rule where no element is involved."""
    if concrete is None:
        return rule

    def choose(*arguments: Any, **params: Any) -> Any:
        if arguments and all(x.dtype != object for x in arguments):
            out = concrete(*arguments, **params)
            if out is not None:
                return out
        return rule(*arguments, **params)

    return choose
