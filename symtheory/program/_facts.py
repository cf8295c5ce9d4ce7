"""What can be told of a program by looking at its operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import numpy as np

from symtheory.program._functions import FUNCTIONS
from symtheory.program._program import Operation, Program

_CONTINUOUS = frozenset({
    "transpose", "reshape", "broadcast", "take", "pick", "concatenate", "add", "mul", "scale",
    "dot", "sum",
})  # fmt: skip


def depending(program: Program, inputs: Iterable[int]) -> set[int]:
    """Return the numbers of the values that are computed from some of the inputs.

    Args:
        program: The program.
        inputs: Positions of inputs.
    """
    out = {program.inputs[k] for k in inputs}
    for operation in program.operations:
        if operation.name == "scan":
            inner = _inside(operation, out)
            outputs = depending(operation.params["body"], inner)
            results = operation.params["body"].outputs
            out |= {
                number
                for number, result in zip(operation.outputs, results, strict=True)
                if result in outputs
            }
        elif out.intersection(operation.inputs):
            out |= set(operation.outputs)
    return out


def _inside(operation: Operation, outside: set[int]) -> set[int]:
    """Return which inputs of a scan's body depend on what its operands depend on."""
    body, n, m = (operation.params[key] for key in ("body", "constants", "carry"))
    inner = {k for k, number in enumerate(operation.inputs) if number in outside}
    while True:
        reached = depending(body, inner)
        more = {n + k for k in range(m) if body.outputs[k] in reached} - inner
        if not more:
            return inner
        inner |= more


def operations_on(program: Program, inputs: Iterable[int]) -> Iterator[tuple[Operation, set[int]]]:
    """Yield the operations whose operands depend on some inputs, loops included.

    Args:
        program: The program.
        inputs: Positions of inputs.

    Yields:
        An operation, and the numbers of the values around it that depend on the inputs.
    """
    inputs = set(inputs)
    reached = depending(program, inputs)
    for operation in program.operations:
        if operation.name == "scan":
            inner = _inside(operation, reached)
            if inner:
                yield from operations_on(operation.params["body"], inner)
        elif reached.intersection(operation.inputs):
            yield operation, reached


def all_operations(program: Program) -> Iterator[Operation]:
    """Yield the operations of a program, those of loops included."""
    for operation in program.operations:
        yield operation
        if operation.name == "scan":
            yield from all_operations(operation.params["body"])


def is_continuous(program: Program, parameters: int) -> bool:
    """Tell whether a program is certainly continuous in its parameters, on all of their space.

    Quotients and logarithms are where what they are taken of is positive by the way it is computed;
    otherwise values may be finite on both sides of a pole. Choosing by whether a value is finite
    makes no difference where all are.

    Args:
        program: A loss.
        parameters: How many of its first inputs are parameters.

    >>> import jax
    >>> from symtheory.program import lower
    >>> continuous = lambda f: is_continuous(lower(jax.make_jaxpr(f)(1.0)), 1)
    >>> continuous(lambda x: abs(x) + jax.nn.relu(x)), continuous(lambda x: x / abs(x))
    (True, False)
    """
    finite = {
        number
        for operation in all_operations(program)
        if operation.name == "apply" and operation.params["function"] == "is_finite"
        for number in operation.outputs
    }
    levels = signs(program)
    inside = {id(operation) for operation in program.operations}
    return all(
        _keeps_continuity(operation, reached, finite, levels if id(operation) in inside else {})
        for operation, reached in operations_on(program, range(parameters))
    )


POSITIVE, NONNEGATIVE, ANY = 2, 1, 0
"""What may be known of the sign of all entries of a value."""

_MOVED = frozenset({"transpose", "reshape", "broadcast", "take", "pick", "concatenate", "sort"})


def signs(program: Program) -> dict[int, int]:
    """Return what is known of the sign of each value, wherever it is defined: `POSITIVE`, ...

    Values inside of loops are left out.
    """
    levels: dict[int, int] = {}
    for number, constant in program.constants.items():
        array = np.asarray(constant) if isinstance(constant, np.ndarray) else np.zeros(1)
        if array.size and array.dtype.kind in "biuf":
            least = np.min(array)
            levels[number] = POSITIVE if least > 0 else NONNEGATIVE if least >= 0 else ANY
    for operation in program.operations:
        level = _sign(operation, [levels.get(n, ANY) for n in operation.inputs])
        levels.update(dict.fromkeys(operation.outputs, level))
    return levels


def _sign(operation: Operation, xs: list[int]) -> int:
    name, params = operation.name, operation.params
    square = len(set(operation.inputs)) == 1 < len(operation.inputs)
    if name in _MOVED or name in ("sum", "fold"):
        return min(xs) if params.get("kind") not in ("all", "any") else NONNEGATIVE
    if name == "choose":
        return min([xs[0], *xs[2:]])
    if name == "select":
        return min(xs[1:])
    if name == "add":
        return max(xs) if min(xs) >= NONNEGATIVE else ANY
    if name in ("mul", "dot"):
        return max(NONNEGATIVE, xs[0]) if square else min(xs)
    if name == "scale":
        return xs[0] if params["factor"] > 0 else ANY
    if name == "extremum":
        return max(xs) if params["largest"] else min(xs)
    if name == "power":
        even = params["exponent"].numerator % 2 == 0
        root = params["exponent"].denominator != 1
        return max(NONNEGATIVE if even or root else ANY, xs[0])
    if name == "apply":
        function = params["function"]
        if FUNCTIONS[function].positive:
            return POSITIVE
        return max(NONNEGATIVE, xs[0]) if function == "abs" else ANY
    return NONNEGATIVE if name == "compare" or params.get("kind") in ("real", "bit") else ANY


def _keeps_continuity(
    operation: Operation, reached: set[int], finite: set[int], levels: dict[int, int]
) -> bool:
    name, params = operation.name, operation.params
    positive = bool(operation.inputs) and levels.get(operation.inputs[0], ANY) == POSITIVE
    if name in _CONTINUOUS or name == "extremum":
        return True
    if name == "fold":
        return params["kind"] in ("max", "min", "product")
    if name == "power":
        return params["exponent"] >= 0 or positive
    if name == "apply":
        function = FUNCTIONS[params["function"]]
        if params["function"] == "log":
            return positive
        return params["function"] == "is_finite" or (function.total and function.continuous)
    if name == "select":
        which = operation.inputs[0]
        return which in finite or which not in reached
    if name == "choose":
        return operation.inputs[1] not in reached
    return name == "cast" and params["kind"] in ("real", "bit")


def is_smooth(program: Program) -> bool:
    """Tell whether a program is made of functions that are smooth where they are defined."""
    return all(_is_smooth(operation) for operation in all_operations(program))


def _is_smooth(operation: Operation) -> bool:
    name, params = operation.name, operation.params
    if name in _CONTINUOUS or name in ("power", "choose", "scan"):
        return True
    if name == "fold":
        return params["kind"] == "product"
    if name == "apply":
        function = params["function"]
        return function != "abs" and FUNCTIONS[function].continuous
    return name == "cast" and params["kind"] in ("real", "bit")


def compares(program: Program) -> bool:
    """Tell whether a program compares or orders values, or takes their absolute size."""
    return any(_compares(operation) for operation in all_operations(program))


def _compares(operation: Operation) -> bool:
    name, params = operation.name, operation.params
    if name in ("extremum", "compare", "sort", "select"):
        return True
    if name == "fold":
        return params["kind"] != "product"
    if name == "cast":
        return params["kind"] not in ("real", "bit")
    return name == "apply" and (
        params["function"] == "abs" or not FUNCTIONS[params["function"]].continuous
    )


def whole_number_inputs(program: Program) -> set[int]:
    """Return the positions of inputs that are only ever cut to integers: labels and positions."""
    uses: dict[int, list[bool]] = {}
    for operation in program.operations:
        whole = operation.name == "cast" and operation.params["kind"] == "integer"
        for number in operation.inputs:
            uses.setdefault(number, []).append(whole)
    return {
        k
        for k, number in enumerate(program.inputs)
        if all(uses.get(number, [False])) and number not in program.outputs
    }


def irrational(program: Program) -> bool:
    """Tell whether a program takes roots or transcendental functions, which leave the rationals."""
    test: Callable[[Operation], bool] = lambda o: (
        (o.name == "power" and Fraction(o.params["exponent"]).denominator != 1)
        or (
            o.name == "apply"
            and not FUNCTIONS[o.params["function"]].constant
            and o.params["function"] != "abs"
        )
    )
    return any(map(test, all_operations(program)))
