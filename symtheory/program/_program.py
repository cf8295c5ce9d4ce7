"""A lowered loss: a list of core operations, read over any domain."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from symtheory.errors import BudgetError, UnreadableError
from symtheory.program._known import KNOWN, is_known, is_numeric
from symtheory.program._walk import located


@dataclasses.dataclass(frozen=True, eq=False)
class Positions:
    """An array whose entries are their own position along one axis, at symbolic sizes."""

    axis: int
    sizes: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """One core operation of a program.

    Attributes:
        name: A method of `Domain`: "add", "dot", "take", ...
        inputs: Numbers of the values it reads.
        outputs: Numbers of the values it makes.
        params: Keyword arguments of the method.
        shapes: Shapes of the outputs.
        source: The equation it comes from; `location` says where that stands.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    params: dict[str, Any]
    shapes: tuple[tuple[Any, ...], ...]
    source: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Core operations in the order in which they are computed.

    Values are numbered: first the inputs, then constants and results as they come.

    Attributes:
        inputs: Numbers of the inputs.
        constants: Captured arrays by number; symbolic dimensions and `Positions` too.
        operations: The operations.
        outputs: Numbers of the results.
        shapes: Shapes of the results.
    """

    inputs: tuple[int, ...]
    constants: dict[int, Any]
    operations: tuple[Operation, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[Any, ...], ...]

    def __len__(self) -> int:
        return len(self.operations)

    @functools.cached_property
    def last_uses(self) -> dict[int, list[int]]:
        """The values that are not needed any more after an operation, by its place."""
        last: dict[int, int] = {}
        for place, operation in enumerate(self.operations):
            for number in (*operation.inputs, *operation.outputs):
                last[number] = place
        kept = {*self.outputs, *self.constants}
        out: dict[int, list[int]] = {}
        for number, place in last.items():
            if number not in kept:
                out.setdefault(place, []).append(number)
        return out


class Deadline:
    """A time limit that long computations check as they go.

    >>> Deadline(None).check()
    >>> Deadline(None).remaining()
    inf
    """

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._seconds = seconds

    def check(self) -> None:
        """Raise `BudgetError` once the time is over."""
        if self._end is not None and time.monotonic() > self._end:
            raise BudgetError(
                f"the time limit of {self._seconds:g} s was reached; allow more time or take "
                "smaller sizes"
            )

    def remaining(self) -> float:
        """Return the seconds that are left."""
        return math.inf if self._end is None else self._end - time.monotonic()

    def within(self, seconds: float | None) -> Deadline:
        """Return the deadline of a part that may take `seconds`, but no longer than this one."""
        left = self.remaining()
        if seconds is not None:
            left = min(left, seconds)
        return Deadline(None if math.isinf(left) else max(left, 0.0))


NO_DEADLINE = Deadline(None)


def evaluate(
    program: Program, domain: Any, inputs: Sequence[Any], deadline: Deadline = NO_DEADLINE
) -> list[Any]:
    """Read a program over a domain.

    Args:
        program: The program.
        domain: A `Domain`.
        inputs: The flattened arguments: values of the domain, or known integers (labels).
        deadline: A time limit, checked before every operation.

    Returns:
        The results: values of the domain, or known integers and truth values.

    Raises:
        UnreadableError: The domain cannot read an operation; says where in the user's file.
        BudgetError: The deadline has passed.
    """
    values: dict[int, Any] = dict(zip(program.inputs, inputs, strict=True))
    for number, constant in program.constants.items():
        try:
            values[number] = constant if is_known(constant) else domain.constant(constant)
        except UnreadableError as error:
            uses = (o for o in program.operations if number in o.inputs)
            raise located(error, getattr(next(uses, None), "source", None)) from error
    dead = program.last_uses
    for place, operation in enumerate(program.operations):
        deadline.check()
        arguments = [values[number] for number in operation.inputs]
        try:
            outputs = _perform(operation, domain, arguments, deadline)
        except ZeroDivisionError as error:
            raise located(
                UnreadableError(f"the {domain.name} domain met a division by zero in this loss"),
                operation.source,
            ) from error
        except UnreadableError as error:
            raise located(error, operation.source) from error
        values.update(zip(operation.outputs, outputs, strict=True))
        for number in dead.get(place, ()):
            del values[number]
    return [values[number] for number in program.outputs]


def _perform(operation: Operation, domain: Any, xs: list[Any], deadline: Deadline) -> list[Any]:
    name, params = operation.name, operation.params
    if name == "scan":
        return _scan(operation, domain, xs, deadline)
    if name in KNOWN and all(map(is_known, xs)) and all(map(is_numeric, operation.shapes)):
        out = KNOWN[name](*xs, **params)
        if out is not None:
            return out if name == "sort" else [np.asarray(out)]
    if name in ("select", "choose"):  # the first of one and the second of the other may be known
        kept = 0 if name == "select" else 1
        xs = [x if i == kept else domain.lift(x) for i, x in enumerate(xs)]
    else:
        xs = [domain.lift(x) for x in xs]
    if name == "sort":
        return domain.sort(xs, **params)
    if name == "concatenate":
        return [domain.concatenate(xs, **params)]
    if name in ("apply", "compare"):  # which function, which comparison
        return [getattr(domain, name)(*params.values(), *xs)]
    first = _OPERANDS.get(name)
    if first is not None and len(xs) > first:
        params = {**params, "fill": xs[first]}
        xs = xs[:first]
    return [getattr(domain, name)(*xs, **params)]


_OPERANDS = {"take": 1, "pick": 1, "choose": 2}
"""How many operands come before the one that says what stands where nothing is read."""


def _scan(operation: Operation, domain: Any, xs: list[Any], deadline: Deadline) -> list[Any]:
    body, n, m = (operation.params[key] for key in ("body", "constants", "carry"))
    length, reverse = operation.params["length"], operation.params["reverse"]
    collected = [shape[1:] for shape in operation.shapes[m:]]
    return domain.scan(
        lambda values: evaluate(body, domain, values, deadline),
        xs[:n], xs[n : n + m], xs[n + m :], length, reverse, collected,
    )  # fmt: skip
