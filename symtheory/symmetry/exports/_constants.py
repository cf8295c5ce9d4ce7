"""Small constants that a loss adds under a root or in a denominator, and the loss without them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from symtheory.errors import InputError
from symtheory.program import Operation, Program, location

_PASSED = {"broadcast", "reshape", "transpose", "take", "pick", "scale", "concatenate", "cast"}
"""Operations through which a sum still is what stands under the root or in the denominator."""


@dataclasses.dataclass(frozen=True)
class SmallConstant:
    """A small number added where 0 is to be avoided, such as the eps of a normalization.

    Attributes:
        value: The number; several entries of one array count by the largest.
        where: "under a root", "in a denominator", or "as the least denominator" (a maximum).
        location: The line of the user's file, "file.py:12"; empty where JAX does not know.
        operation: The sum or the maximum.
    """

    value: float
    where: str
    location: str
    operation: Operation = dataclasses.field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the constant as JSON-ready data."""
        return {"value": self.value, "where": self.where, "location": self.location}

    def __str__(self) -> str:
        at = f" at {self.location}" if self.location else ""
        return f"{self.value:g} {self.where}{at}"


def without_small_constants(
    program: Program, limit: float
) -> tuple[Program, tuple[SmallConstant, ...]]:
    """Return a program that takes small constants as 0, and which these are.

    A constant counts if it is positive, at most `limit`, and added to (or taken as the least value
    of) what then stands under a root or in a denominator. Loops are entered.

    Args:
        program: The program of a loss.
        limit: The largest number that counts as small.

    Raises:
        InputError: The limit is not a number between 0 and 1.
    """
    if not 0 < limit < 1:
        raise InputError(f"ignore_below is {limit!r}; give a small positive number such as 1e-4")
    return _rewritten(program, limit)


def _rewritten(program: Program, limit: float) -> tuple[Program, tuple[SmallConstant, ...]]:
    readers: dict[int, list[Operation]] = {}
    for operation in program.operations:
        for number in operation.inputs:
            readers.setdefault(number, []).append(operation)
    same: dict[int, int] = {}
    kept: list[Operation] = []
    found: list[SmallConstant] = []
    for operation in program.operations:
        constant = _small_operand(program, operation, limit)
        where = _use(readers, operation.outputs[0]) if constant is not None else ""
        if constant is not None and where:
            number, value = constant
            [rest] = [n for n in operation.inputs if n != number]
            same[operation.outputs[0]] = same.get(rest, rest)
            if operation.name == "extremum":
                where = "as the least denominator"
            found.append(SmallConstant(value, where, location(operation.source), operation))
            continue
        params = operation.params
        if operation.name == "scan":
            body, inner = _rewritten(params["body"], limit)
            params = {**params, "body": body}
            found += inner
        inputs = tuple(same.get(n, n) for n in operation.inputs)
        kept.append(dataclasses.replace(operation, inputs=inputs, params=params))
    outputs = tuple(same.get(n, n) for n in program.outputs)
    changed = dataclasses.replace(program, operations=tuple(kept), outputs=outputs)
    return (changed if found else program), tuple(found)


def _small_operand(
    program: Program, operation: Operation, limit: float
) -> tuple[int, float] | None:  # fmt: skip
    """Return which operand of a sum (or a maximum) is a small constant, and how large it is."""
    largest = operation.name == "extremum" and operation.params["largest"]
    if operation.name != "add" and not largest:
        return None
    for number in operation.inputs:
        value = program.constants.get(number)
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or not value.size:
            continue
        if np.all((value > 0) & (value <= limit)):
            return number, float(np.max(value))
    return None


def _use(readers: dict[int, list[Operation]], number: int) -> str:
    """Return how a value is used: it counts only if all that reads it is a root or a division."""
    uses = set(_uses(readers, number))
    if not uses or "" in uses:
        return ""
    return "under a root" if "under a root" in uses else "in a denominator"


def _uses(readers: dict[int, list[Operation]], number: int) -> Iterator[str]:
    """Yield how the readers of a value use it, an empty text for any other use."""
    for operation in readers.get(number, ()):
        if operation.name == "power":
            exponent = operation.params["exponent"]
            if exponent.denominator != 1:
                yield "under a root"
            else:
                yield "in a denominator" if exponent < 0 else ""
        elif operation.name == "apply" and operation.params["function"] == "cbrt":
            yield "under a root"
        elif operation.name in _PASSED:
            yield from _uses(readers, operation.outputs[0]) if operation.outputs else [""]
        else:
            yield ""
