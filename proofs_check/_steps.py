"""Steps of proofs, each a verdict: what a machine checks, what is cited, how they are joined."""

from __future__ import annotations

import functools
import random
from typing import Any, Literal

import numpy as np
import sympy

import symtheory as st
from symtheory.verdict import (
    Arithmetic,
    Claim,
    Derivation,
    Inequality,
    NormalForm,
    Unchecked,
    prove,
)


def proof(claim: str, steps: list[st.Verdict], reference: str = "") -> st.Verdict:
    """Join the steps of a proof; it is as good as its worst step."""
    return st.conjunction(claim, steps, reference=reference)


CITED = "cited: "


def cited(claim: str, source: str) -> st.Verdict:
    """State a step that is taken from elsewhere and not checked by machine.

    A proof with such a step is `proved up to citations` at most.
    """
    return st.Verdict(st.Status.NOT_APPLICABLE, claim, how=f"{CITED}{source}")


def textbook(claim: str, fact: str, *hypotheses: st.Verdict, given: str = "") -> st.Verdict:
    """State what a named fact of a textbook gives, its hypotheses checked or assumed.

    Args:
        claim: What follows.
        fact: The fact by its name, such as "intermediate value theorem".
        *hypotheses: Its hypotheses, each a step of its own.
        given: Those that are assumptions of the statement, in words.

    Raises:
        InputError: Neither is given, which would be a citation.
    """
    if not hypotheses and not given:
        raise st.InputError(f"the hypotheses of {fact!r} are missing; use `cited` to cite it")
    how = f"{fact}, whose hypotheses are " + " and ".join(
        ["steps"] * bool(hypotheses) + [f"assumed ({given})"] * bool(given)
    )
    return st.conjunction(claim, hypotheses, how=how)


def from_statement(claim: str, id: str) -> st.Verdict:
    """State a step that another statement proves, by running its proof.

    What that proof cites is cited here, too.
    """
    return st.conjunction(claim, [_proved(id)], how=f"the proof of {id}")


@functools.cache
def _proved(id: str) -> st.Verdict:
    from proofs_check._registry import find

    [statement] = find([id])
    return statement.module.exact()


def same(claim: str, left: Any, right: Any, *, seed: int = 0) -> st.Verdict:
    """Decide left = right for SymPy expressions, for all values of their symbols.

    The difference is expanded; where it does not vanish, a random rational point refutes.

    >>> x = sympy.Symbol("x")
    >>> print(same("square", (x + 1) ** 2, x**2 + 2 * x + 1).status)
    proved
    >>> print(same("square", (x + 1) ** 2, x**2 + 1).status)
    refuted
    """
    difference = _exact(left) - _exact(right)
    expanded = sympy.expand(sympy.powsimp(sympy.expand(difference)))
    if expanded != 0:
        expanded = sympy.expand(sympy.numer(sympy.together(expanded)))
    if expanded == 0:
        form = NormalForm("normal form is 0", ring="SymPy's expanded form")
        return prove(claim, form, _equal_in_floats(left, right, seed), residual=0)
    rng = random.Random(seed)
    point: dict[Any, Any] = {s: _value(s, rng) for s in sorted(difference.free_symbols, key=str)}
    value = None if None in point.values() else difference.subs(point).evalf(30)
    if value is not None and value.is_finite and abs(value) > sympy.Float("1e-15"):
        witness = {str(symbol): str(value) for symbol, value in point.items()}
        return st.Verdict(
            st.Status.REFUTED, claim, how="not 0 at a rational point", residual=str(expanded)[:300],
            witness=witness,
        )  # fmt: skip
    how = f"the difference {str(expanded)[:200]} could not be brought to 0"
    return st.Verdict(st.Status.INCONCLUSIVE, claim, how=how)


def sign(
    claim: str, expression: Any, kind: Literal["positive", "negative", "nonnegative", "nonpositive"]
) -> st.Verdict:
    """Decide the sign of a SymPy expression from the assumptions on its symbols.

    >>> a, b = sympy.symbols("a b", positive=True)
    >>> print(sign("sum", a + b, "positive").status, sign("difference", a - b, "positive").status)
    proved inconclusive
    """
    expression = _exact(expression)
    known = getattr(expression, f"is_{kind}")
    how = f"{expression} is {kind} by the signs of its symbols"
    if known:
        points, [values] = _in_floats([expression], 0)
        recheck: Claim = Inequality(values, kind)
        if not len(points):
            recheck = Unchecked("no rational was found that the symbols may stand for")
        return prove(claim, Derivation(how), recheck)
    status = st.Status.REFUTED
    if known is None:
        status = st.Status.INCONCLUSIVE
        how = f"the signs of its symbols do not decide whether {expression} is {kind}"
    return st.Verdict(status, claim, how=how)


def _equal_in_floats(left: Any, right: Any, seed: int) -> Claim:
    points, sides = _in_floats([_exact(left), _exact(right)], seed)
    if not len(points):
        return Unchecked("no rational was found that the symbols may stand for")
    scale = np.max(np.where(np.isfinite(sides), np.abs(sides), 0.0), axis=0)
    return Arithmetic(sides[0], sides[1], scale)


def _in_floats(expressions: list[Any], seed: int) -> tuple[list[Any], np.ndarray]:
    """Return random points of the symbols, and the values there in 20 digits, as floats."""
    symbols = sorted(set().union(*(e.free_symbols for e in expressions)), key=str)
    rng = random.Random(seed + 1)
    drawn = ({s: _value(s, rng) for s in symbols} for _ in range(12 if symbols else 1))
    points = [point for point in drawn if None not in point.values()]
    values = [[_number(e.subs(point).evalf(20)) for point in points] for e in expressions]
    return points, np.array(values, dtype=float)


def _number(value: Any) -> float:
    return float(value) if value.is_real and value.is_number else float("nan")


def _exact(expression: Any) -> sympy.Expr:
    """Return a SymPy expression; floats would be rounded in a step that claims to be exact."""
    try:
        exact = sympy.sympify(expression, strict=True)
    except sympy.SympifyError:
        exact = None
    if not isinstance(exact, sympy.Expr) or exact.is_Matrix:
        raise st.InputError(f"a step of a proof is about SymPy expressions, got {expression!r}")
    for number in sorted(exact.atoms(sympy.Float), key=str):
        raise st.InputError(
            f"the step holds the floating-point number {number}; write it as a rational, such as "
            "sympy.Rational(1, 10)"
        )
    return exact


def _value(symbol: Any, rng: random.Random) -> Any:
    """Return a rational that a symbol may stand for, None if none was found."""
    for _ in range(100):
        top = rng.choice((1, 1, -1)) * rng.randint(1, 30)
        value = sympy.Rational(top, rng.choice((1, rng.randint(1, 30))))
        facts = symbol.assumptions0.items()
        if all(getattr(value, f"is_{fact}") is known for fact, known in facts):
            return value
    return None


def small(claim: str, size: float, tolerance: float, how: str) -> st.Verdict:
    """Decide whether what should vanish up to rounding is below a tolerance, stated in advance."""
    status = st.Status.SUPPORTED if size <= tolerance else st.Status.REFUTED
    return st.Verdict(
        status, claim, how=how, predicted=0.0, measured=size, margin=tolerance,
        detectable=float(tolerance), effect=1.0,
    )  # fmt: skip
