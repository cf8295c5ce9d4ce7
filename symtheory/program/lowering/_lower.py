"""Lower a jaxpr to a program: enter calls, unroll what must be, look everything else up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from symtheory.errors import PrimitiveError, SymtheoryError, UnreadableError
from symtheory.program._builder import Builder, Complex, Operand, Ref, kind_of, shape_of
from symtheory.program._facts import depending
from symtheory.program._known import is_known, is_numeric
from symtheory.program._program import Program
from symtheory.program._trace import trace
from symtheory.program._types import held, kind_of_type
from symtheory.program._walk import Called
from symtheory.program.lowering import (  # noqa: F401  (each enters its rules into the table)
    _contractions,
    _elementwise,
    _indexing,
    _linear_algebra,
    _movement,
    _reductions,
)
from symtheory.program.lowering._complex import as_complex, lower_complex
from symtheory.program.lowering._elementwise import gaussian, is_gaussian
from symtheory.program.lowering._rule import RULES, all_stored

_MOST_TURNS = 10_000
"""Turns of a `while` loop that are written out."""
_MOST_STEPS = 100
"""Steps of a scan that are written out where its body cannot be read for all of them at once."""


def lower(closed: ClosedJaxpr) -> Program:
    """Lower a jaxpr to core operations.

    Raises:
        UnreadableError: A primitive has no rule; the message names it and the line of the user's
            file it comes from.

    >>> closed = jax.make_jaxpr(lambda u, w: (u * w - 1.0) ** 2)(1.0, 2.0)
    >>> [operation.name for operation in lower(closed).operations]
    ['mul', 'add', 'power']
    """
    b = Builder()
    inputs = [_input(b, variable.aval) for variable in closed.jaxpr.invars]
    outputs = _walk(b, closed.jaxpr, closed.consts, inputs)
    if any(isinstance(x, Complex) for x in (*inputs, *outputs)):
        raise UnreadableError(
            "the function takes or returns complex numbers; take real and imaginary parts, or the "
            "absolute value, so that the loss is real"
        )
    return b.finish(inputs, outputs)


def lower_function(function: Callable[..., Any], *structures: Any) -> tuple[Program, Any]:
    """Trace a JAX function and lower it.

    Args:
        function: A JAX function.
        *structures: Its arguments as pytrees of `jax.ShapeDtypeStruct`.

    Returns:
        The program of the flattened arguments, and the structure of the output.
    """
    closed, tree = trace(function, *structures)
    return lower(closed), tree


def _input(b: Builder, aval: Any) -> Any:
    if kind_of_type(aval.dtype) == "c":
        return Complex(b.input(aval.shape, "f"), b.input(aval.shape, "f"))
    return b.input(aval.shape, _kind(aval))


def _constant(value: Any) -> Operand:
    if kind_of_type(getattr(value, "dtype", np.float64)) == "k":
        return value  # what draws from it is refused, with its line
    return held(np.asarray(value))


def _walk(
    b: Builder, jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Operand]
) -> list[Operand]:
    values: dict[Any, Operand] = {}
    values.update(zip(jaxpr.constvars, map(_constant, constants), strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))

    def look_up(atom: Any) -> Operand:
        return _constant(atom.val) if isinstance(atom, Literal) else values[atom]

    outer = b.source
    for equation in jaxpr.eqns:
        b.source = equation if outer is None else Called(equation, outer)
        outputs = _equation(b, equation, [look_up(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, outputs, strict=True))
    b.source = outer
    return [look_up(atom) for atom in jaxpr.outvars]


def _equation(b: Builder, equation: Any, xs: list[Operand]) -> list[Operand]:
    name = equation.primitive.name
    if name.startswith(("random_", "threefry", "rng_")):
        b.refuse(
            "random numbers drawn inside", "make them part of the sample (`random=` of the model)"
        )
    if xs and all(map(is_known, xs)) and _gives_integers(equation) and not _is_symbolic(equation):
        return _computed(equation, xs)
    if name in _CONTROL:
        return _CONTROL[name](b, equation, xs)
    if is_gaussian(equation):
        return [gaussian(b, xs[0])]
    if name in _CALLS:
        return _call(b, equation, xs)
    if any(
        isinstance(x, Complex) or getattr(getattr(x, "dtype", None), "kind", "") == "c" for x in xs
    ):
        out = lower_complex(b, equation, xs)
    elif name in RULES:
        out = _ruled(b, equation, xs)
    else:
        b.refuse(f"the primitive {name!r}")
    outputs = list(out) if equation.primitive.multiple_results else [out]
    return all_stored(b, equation, outputs)


def _ruled(b: Builder, equation: Any, xs: list[Operand]) -> Any:
    """Apply the rule of a primitive; most rules need numbers for some of the sizes."""
    name = equation.primitive.name
    if not _is_symbolic(equation):
        return RULES[name](b, equation, *xs)
    try:
        return RULES[name](b, equation, *xs)
    except SymtheoryError:
        raise
    except Exception:  # what JAX, NumPy or Python say of a size without a number
        return b.refuse(
            f"the primitive {name!r} at sizes that are names",
            "bind the sizes, or write the loss without it",
        )


def _is_symbolic(equation: Any) -> bool:
    """Tell whether a size is symbolic among the operands and results of an equation."""
    atoms = (*equation.invars, *equation.outvars)
    return not all(is_numeric(getattr(atom.aval, "shape", ())) for atom in atoms)


def _gives_integers(equation: Any) -> bool:
    """Tell whether an equation gives integers or truth values, of sizes that are numbers."""
    avals = [v.aval for v in equation.outvars]
    kinds = {kind_of_type(aval.dtype) for aval in avals if hasattr(aval, "dtype")}
    named = any(not isinstance(n, int) for aval in avals for n in getattr(aval, "shape", ()))
    entered = equation.primitive.name in ENTERED
    return kinds <= set("biu") and not named and not entered


def _computed(equation: Any, xs: list[Operand]) -> list[Operand]:
    """Let JAX compute with integers and truth values that are known."""
    with jax.enable_x64(True):
        typed = [
            jnp.asarray(x, dtype=v.aval.dtype) for x, v in zip(xs, equation.invars, strict=True)
        ]
        out = equation.primitive.bind(*typed, **equation.params)
    outs = out if equation.primitive.multiple_results else [out]
    return [held(np.asarray(x)) for x in outs]


# --- calls and loops ---------------------------------------------------------------------------

_CALLS = frozenset({
    "jit", "pjit", "xla_call", "core_call", "closed_call", "remat", "remat2", "checkpoint",
    "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin", "eval_jaxpr",
})  # fmt: skip


def _call(b: Builder, equation: Any, xs: list[Operand]) -> list[Operand]:
    """Read what is called: the value of a function with a derivative rule is its own."""
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        body = equation.params.get(key)
        if isinstance(body, (ClosedJaxpr, Jaxpr)):
            return _body(b, body, xs)
    return b.refuse(f"the primitive {equation.primitive.name!r}")


def _body(b: Builder, body: Any, xs: Sequence[Operand]) -> list[Operand]:
    if isinstance(body, ClosedJaxpr):
        return _walk(b, body.jaxpr, body.consts, xs)
    return _walk(b, body, [], xs)


def _scan(b: Builder, equation: Any, xs: list[Operand]) -> list[Operand]:
    """Lower the body of a scan once; constants that are known stay known inside of it."""
    params, (n, m) = equation.params, _scan_counts(equation)
    length, closed = params["length"], params["jaxpr"]
    if any(isinstance(x, Complex) for x in xs):
        return _unrolled(b, equation, xs, n, m)
    inner = Builder()
    inner.source = b.source
    avals = closed.in_avals
    fixed = {k: x for k, x in enumerate(xs[:n]) if isinstance(x, np.ndarray)}
    kinds = _carry_kinds(xs[n : n + m], avals[n : n + m])
    refs: list[Operand] = []
    for k, aval in enumerate(avals):
        if k in fixed:
            refs.append(fixed[k])
        elif n <= k < n + m:
            refs.append(inner.input(aval.shape, kinds[k - n]))
        else:
            refs.append(_input(inner, aval))
    try:
        outputs = _walk(inner, closed.jaxpr, closed.consts, refs)
    except PrimitiveError:
        # Step by step, counters are known numbers and places that depend on them are, too.
        if length > _MOST_STEPS or not _counts(xs[n:]):
            raise
        return _unrolled(b, equation, xs, n, m)
    if any(isinstance(x, Complex) for x in (*refs, *outputs)):
        return _unrolled(b, equation, xs, n, m)
    outputs = [
        inner.real(x) if kind_of_type(v.dtype) == "f" else x
        for x, v in zip(outputs, closed.out_avals, strict=True)
    ]
    body = inner.finish([x for x in refs if isinstance(x, Ref)], outputs)
    operands = [x for k, x in enumerate(xs) if k not in fixed]
    out = b.emit_many(
        "scan",
        operands,
        [(tuple(v.aval.shape), _kind(v.aval)) for v in equation.outvars],
        body=body,
        constants=n - len(fixed),
        carry=m,
        length=length,
        reverse=params["reverse"],
    )
    known = _known_outputs(equation, xs, body, operands, n - len(fixed), m)
    return [known.get(k, x) for k, x in enumerate(out)]


def _known_outputs(
    equation: Any, xs: Sequence[Operand], body: Program, operands: Sequence[Operand], n: int, m: int
) -> dict[int, Operand]:
    """Return what a loop gives whatever its other operands are: its counters."""
    unknown = {k for k, x in enumerate(operands) if not is_known(x)}
    while True:
        reached = depending(body, unknown)
        more = {n + k for k in range(m) if body.outputs[k] in reached} - unknown
        if not more:
            break
        unknown |= more
    chosen = [
        k
        for k, (v, number) in enumerate(zip(equation.outvars, body.outputs, strict=True))
        if np.dtype(v.aval.dtype).kind in "biu" and number not in reached
    ]
    if not chosen:
        return {}
    some = [
        x if is_known(x) else np.zeros(v.aval.shape)
        for x, v in zip(xs, equation.invars, strict=True)
    ]
    out = _computed(equation, some)
    return {k: out[k] for k in chosen}


def _counts(xs: Sequence[Operand]) -> bool:
    """Tell whether a loop has integers, carried or scanned, that are known where it starts."""
    return any(is_known(x) and kind_of(x) == "i" for x in xs)


def _kind(aval: Any) -> str:
    kind = kind_of_type(aval.dtype)
    return "i" if kind == "u" else kind


def _carry_kinds(carry: Sequence[Operand], avals: Sequence[Any]) -> list[str]:
    return [_kind(aval) for aval in avals]


def _scan_counts(equation: Any) -> tuple[int, int]:
    """Return how many constants and carried values a scan has, which come first in this order.

    What is scanned or collected has an axis more outside of the scan than in its body. (How the
    parameters of the primitive say it depends on the version of JAX.)
    """
    body = equation.params["jaxpr"]
    n_scanned = sum(
        outer.aval.ndim > inner.ndim
        for outer, inner in zip(equation.invars, body.in_avals, strict=True)
    )
    n_carry = sum(
        outer.aval.ndim == inner.ndim
        for outer, inner in zip(equation.outvars, body.out_avals, strict=True)
    )
    return len(equation.invars) - n_carry - n_scanned, n_carry


def _unrolled(b: Builder, equation: Any, xs: list[Operand], n: int, m: int) -> list[Operand]:
    """Write a scan out, step by step."""
    params = equation.params
    carry, rows = xs[n : n + m], []

    def entry(x: Operand, k: int) -> Operand:
        if isinstance(x, Complex):
            return Complex(entry(x.real, k), entry(x.imag, k))
        return b.reshape(b.take(x, np.array([k]), 0), shape_of(x)[1:])

    def stacked(column: Sequence[Operand]) -> Operand:
        if any(isinstance(x, Complex) for x in column):
            pairs = [as_complex(b, x) for x in column]
            return Complex(stacked([p.real for p in pairs]), stacked([p.imag for p in pairs]))
        return b.concatenate([b.reshape(x, (1, *shape_of(x))) for x in column], 0)

    order = range(params["length"])
    for k in reversed(order) if params["reverse"] else order:
        slices = [entry(x, k) for x in xs[n + m :]]
        outputs = _body(b, params["jaxpr"], [*xs[:n], *carry, *slices])
        carry = outputs[:m]
        rows.append(outputs[m:])
    if params["reverse"]:
        rows.reverse()
    return [*carry, *(stacked(column) for column in zip(*rows, strict=True))]


def _while(b: Builder, equation: Any, xs: list[Operand]) -> list[Operand]:
    """Write a loop out whose condition depends on counters only."""
    params = equation.params
    n_test, n_body = params["cond_nconsts"], params["body_nconsts"]
    test, body, carry = xs[:n_test], xs[n_test : n_test + n_body], xs[n_test + n_body :]
    for _ in range(_MOST_TURNS):
        [going] = _body(b, params["cond_jaxpr"], [*test, *carry])
        if not is_known(going):
            b.refuse(
                "a while loop whose condition depends on parameters or samples",
                "use lax.scan or lax.fori_loop with a fixed number of steps",
            )
        if not bool(np.all(going)):
            return list(carry)
        carry = _body(b, params["body_jaxpr"], [*body, *carry])
    return b.refuse(f"a while loop of more than {_MOST_TURNS} turns")


def _cond(b: Builder, equation: Any, xs: list[Operand]) -> list[Operand]:
    """Take the branch that is known, or choose among the results of all."""
    which, *rest = xs
    branches = equation.params["branches"]
    if is_known(which):
        return _body(b, branches[min(max(int(which), 0), len(branches) - 1)], rest)
    results = [_body(b, branch, rest) for branch in branches]
    conditions = _conditions(b, which, len(branches))
    return [_selected(b, conditions, column) for column in zip(*results, strict=True)]


def _conditions(b: Builder, which: Operand, count: int) -> list[Operand]:
    """Return whether the second branch and those after it are reached; two hang on a comparison."""
    made = which.definition if isinstance(which, Ref) else None
    if count == 2 and made is not None and made.name == "cast" and made.params["kind"] == "bit":
        return b.operands(made)
    return [b.compare("ge", which, np.asarray(k)) for k in range(1, count)]


def _selected(b: Builder, conditions: Sequence[Operand], column: Sequence[Operand]) -> Operand:
    if any(isinstance(x, Complex) for x in column):
        pairs = [as_complex(b, x) for x in column]
        return Complex(
            _selected(b, conditions, [p.real for p in pairs]),
            _selected(b, conditions, [p.imag for p in pairs]),
        )
    out = column[0]
    for condition, case in zip(conditions, column[1:], strict=True):
        out = b.select(condition, out, case)
    return out


def _linear_solve(b: Builder, equation: Any, xs: list[Operand]) -> list[Operand]:
    """Enter the way in which a linear system is solved."""
    lengths, programs = equation.params["const_lengths"], equation.params["jaxprs"]
    start = lengths.matvec + lengths.vecmat
    constants = xs[start : start + lengths.solve]
    return _body(b, programs.solve, [*constants, *xs[sum(lengths) :]])


_CONTROL: dict[str, Callable[..., list[Operand]]] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
}

ENTERED = _CALLS | frozenset(_CONTROL)
"""Primitives that are entered: calls, loops and branches."""

__all__ = ["ENTERED", "lower", "lower_function"]
