"""Arithmetic, comparison and reduction rules of domains whose values are arrays of elements."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import arb

from symtheory.errors import UnreadableError
from symtheory.readings._arrays import Scalar, boxed, elementwise, is_bool
from symtheory.readings._casts import is_rounding_cast
from symtheory.readings._concrete import cumulate, select_concretely
from symtheory.readings._interpreter import Rule, unreadable

if TYPE_CHECKING:
    from symtheory.readings._arrays import ArrayDomain

_ROOTS = 12
"""Powers p/q with q up to this are powers of roots, others exp(y log x)."""


def arithmetic_rules(domain: ArrayDomain) -> dict[str, Rule]:
    """Return the table primitive -> rule of a domain."""
    functions = {name: _at_infinity(domain, name, f) for name, f in domain.functions().items()}
    rules = _scalar_rules(domain, functions) | _condition_rules(domain, functions)
    larger, smaller = _extrema(functions)
    return rules | {
        "dot_general": lambda a, b, **params: _dot_general(domain, a, b, **params),
        "reduce_sum": _reduction(domain.total, domain),
        "reduce_prod": _reduction(_product, domain),
        "reduce_max": _reduction(lambda xs: _fold(larger, xs), domain),
        "reduce_min": _reduction(lambda xs: _fold(smaller, xs), domain),
        "reduce_and": _reduction(lambda xs: _fold(_both, xs), domain),
        "reduce_or": _reduction(lambda xs: _fold(_either, xs), domain),
        "cumsum": _accumulation(np.add),
        "cumprod": _accumulation(np.multiply),
        "cummax": _accumulation(np.frompyfunc(larger, 2, 1)),
        "cummin": _accumulation(np.frompyfunc(smaller, 2, 1)),
        "max": _entrywise(domain, larger),
        "min": _entrywise(domain, smaller),
        "clamp": _entrywise(domain, lambda low, x, high: smaller(larger(x, low), high)),
    }


def _entrywise(domain: ArrayDomain, function: Scalar) -> Rule:
    return lambda *xs, **_: elementwise(function, *map(domain.lift, xs))


# --- arithmetic and functions ------------------------------------------------------------------


def _scalar_rules(domain: ArrayDomain, functions: dict[str, Scalar]) -> dict[str, Rule]:
    rules: dict[str, Rule] = {
        "add": lambda a, b, **_: np.add(a, b),
        "add_any": lambda a, b, **_: np.add(a, b),
        "sub": lambda a, b, **_: np.subtract(a, b),
        "mul": lambda a, b, **_: np.multiply(a, b),
        "neg": lambda x, **_: np.negative(x),
        "div": lambda a, b, **_: np.true_divide(a, b),
        "square": lambda x, **_: elementwise(lambda v: integer_power(v, 2), x),
        "integer_pow": lambda x, *, y, **_: elementwise(lambda v: integer_power(v, y), x),
        "pow": _power_rule(domain, functions),
        "convert_element_type": lambda x, *, new_dtype, **_: _convert(domain, x, new_dtype),
    }
    for name, function in functions.items():
        rules.setdefault(name, _entrywise(domain, function))
    if "sqrt" in functions:
        rules["rsqrt"] = _entrywise(domain, lambda x: 1 / functions["sqrt"](x))
    if "exp" in functions:
        rules["expm1"] = _entrywise(domain, lambda x: functions["exp"](x) - 1)
    if "log" in functions:
        rules["log1p"] = _entrywise(domain, lambda x: functions["log"](1 + x))
    return rules


def _convert(domain: ArrayDomain, x: np.ndarray, dtype: Any) -> np.ndarray:
    if x.dtype == object and is_rounding_cast(dtype):
        raise unreadable(domain.name, "convert_element_type", f"a cast to {dtype} rounds")
    return domain.lift(x)


def integer_power(x: Any, n: int) -> Any:
    """Return x^n for any integer n."""
    return x**n if n >= 0 else 1 / x**-n


def _power_rule(domain: ArrayDomain, functions: dict[str, Scalar]) -> Rule:
    def power(base: Any, exponent: Any) -> Any:
        exact = domain.as_rational(exponent)
        if exact is not None and exact.denominator == 1:
            return integer_power(base, int(exact))
        if exact is not None and exact.denominator == 2 and "sqrt" in functions:
            return integer_power(functions["sqrt"](base), int(2 * exact))
        if exact is not None and exact.denominator <= _ROOTS and "root" in functions:
            return integer_power(functions["root"](base, exact.denominator), exact.numerator)
        if "exp" not in functions:
            raise unreadable(domain.name, "pow", f"the exponent is {exponent}")
        return functions["exp"](exponent * functions["log"](base))

    return _entrywise(domain, power)


_LIMITS: dict[str, tuple[Any, Any]] = {
    "exp": (0, np.inf), "exp2": (0, np.inf), "expm1": (-1, np.inf), "tanh": (-1, 1),
    "logistic": (0, 1), "erf": (-1, 1), "erfc": (2, 0), "sign": (-1, 1), "log": (None, np.inf),
    "abs": (np.inf, np.inf), "sqrt": (None, np.inf),
}  # fmt: skip


def _at_infinity(domain: ArrayDomain, name: str, function: Scalar) -> Scalar:
    """Extend a function of elements to infinite arguments, such as the masked logits of softmax."""
    if name not in _LIMITS:
        return function

    def extended(x: Any) -> Any:
        sign = infinity(x)
        limit = _LIMITS[name][(sign + 1) // 2] if sign else None
        if limit is None:
            return function(x)
        return domain.scalar(Fraction(limit)) if np.isfinite(limit) else domain.infinite(limit)

    return extended


def infinity(value: Any) -> int:
    """Return 1 or -1 for an infinite number, 0 for anything else."""
    if isinstance(value, float):
        return (value == np.inf) - (value == -np.inf)
    if getattr(value, "is_infinite", False):  # SymPy's oo
        return 1 if value > 0 else -1
    return 0


# --- comparison and choice ---------------------------------------------------------------------


def _negate(condition: Any) -> Any:
    return (not condition) if is_bool(condition) else 1 - condition


def _both(a: Any, b: Any) -> Any:
    if is_bool(a):
        return b if a else False
    if is_bool(b):
        return a if b else False
    return a * b


def _either(a: Any, b: Any) -> Any:
    return _negate(_both(_negate(a), _negate(b)))


def is_nan(value: Any) -> bool:
    """Tell whether a value is NaN for sure, as a literal or as a ball."""
    if isinstance(value, float):
        return value != value
    return isinstance(value, arb) and bool(value.is_nan()) and bool(value.is_exact())


def _comparison(domain: ArrayDomain, function: Scalar, with_nan: bool = False) -> Rule:
    """Compare entry by entry; what is compared with NaN is False (True for `ne`)."""

    def compare(a: Any, b: Any) -> Any:
        if is_nan(a) or is_nan(b):
            return with_nan
        domain.check_defined(a, b)
        return function(a, b)

    return _entrywise(domain, compare)


def _greater(functions: dict[str, Scalar]) -> Scalar:
    def greater(a: Any, b: Any) -> Any:
        if infinity(a) or infinity(b):
            return infinity(a) > infinity(b)
        return functions["gt"](a, b)

    return greater


def _extrema(functions: dict[str, Scalar]) -> tuple[Scalar, Scalar]:
    def larger(a: Any, b: Any) -> Any:
        if is_nan(a) or is_nan(b):
            return a if is_nan(a) else b
        if infinity(a) or infinity(b):
            return a if infinity(a) > infinity(b) else b
        return functions["max"](a, b)

    def smaller(a: Any, b: Any) -> Any:
        if is_nan(a) or is_nan(b):
            return a if is_nan(a) else b
        if infinity(a) or infinity(b):
            return a if infinity(a) < infinity(b) else b
        return functions["min"](a, b)

    return larger, smaller


def _condition_rules(domain: ArrayDomain, functions: dict[str, Scalar]) -> dict[str, Rule]:
    greater = _greater(functions)

    def equal(a: Any, b: Any) -> Any:
        if infinity(a) or infinity(b):
            return infinity(a) == infinity(b)
        return functions["eq"](a, b)

    def finite(x: Any) -> bool:
        domain.check_defined(x)
        return domain.is_finite(x)

    def choose(condition: Any, no: Any, yes: Any) -> Any:
        if is_bool(condition):
            return yes if condition else no
        if not (domain.is_finite(no) and domain.is_finite(yes)):
            raise UnreadableError(
                f"the {domain.name} domain cannot read a choice between a finite and an infinite "
                "or undefined value that depends on parameters or samples"
            )
        return functions["select"](condition, no, yes)

    def select(which: np.ndarray, *cases: np.ndarray, **_: Any) -> np.ndarray:
        if which.dtype != object:
            return select_concretely(which, cases)
        if len(cases) != 2:
            raise unreadable(domain.name, "select_n", "the choice depends on parameters or samples")
        return elementwise(choose, which, *map(domain.lift, cases))

    return {
        "select_n": select,
        "gt": _comparison(domain, greater),
        "lt": _comparison(domain, lambda a, b: greater(b, a)),
        "ge": _comparison(domain, lambda a, b: _negate(greater(b, a))),
        "le": _comparison(domain, lambda a, b: _negate(greater(a, b))),
        "eq": _comparison(domain, equal),
        "ne": _comparison(domain, lambda a, b: _negate(equal(a, b)), with_nan=True),
        "and": lambda a, b, **_: elementwise(_both, a, b),
        "or": lambda a, b, **_: elementwise(_either, a, b),
        "not": lambda a, **_: elementwise(_negate, a),
        "is_finite": lambda x, **_: elementwise(finite, x),
    }


# --- reductions --------------------------------------------------------------------------------


def _fold(step: Scalar, xs: list[Any]) -> Any:
    out = xs[0]
    for x in xs[1:]:
        out = step(out, x)
    return out


def flattened(x: np.ndarray, kept: Any, axes: Any) -> np.ndarray:
    """Return an array with some axes kept and the others made one last axis."""
    size = math.prod(x.shape[i] for i in axes)
    return x.transpose([*kept, *axes]).reshape(*(x.shape[i] for i in kept), size)


def _product(xs: list[Any]) -> Any:
    return _fold(lambda a, b: a * b, xs)


def _reduction(function: Scalar, domain: ArrayDomain) -> Rule:
    """Reduce along axes; a sum or product of nothing is a number."""
    empty = 0 if function == domain.total else 1

    def rule(x: np.ndarray, *, axes: Any, **_: Any) -> np.ndarray:
        kept = [i for i in range(x.ndim) if i not in axes]
        rows = flattened(x, kept, axes)
        out = np.empty(rows.shape[:-1], dtype=object)
        for index in np.ndindex(out.shape):
            row = list(rows[index])
            out[index] = function(row) if row else domain.lift(np.asarray(empty))[()]
        return out

    return rule


def _accumulation(ufunc: Any) -> Rule:
    def rule(x: np.ndarray, *, axis: int, reverse: bool, **_: Any) -> np.ndarray:
        return cumulate(ufunc, x, axis, reverse) if x.size else x

    return rule


def _dot_general(
    domain: ArrayDomain, a: np.ndarray, b: np.ndarray, *, dimension_numbers: Any, **_: Any
) -> np.ndarray:
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    free_a = [i for i in range(a.ndim) if i not in (*contract_a, *batch_a)]
    free_b = [i for i in range(b.ndim) if i not in (*contract_b, *batch_b)]
    batch = [a.shape[i] for i in batch_a]
    rows, columns = [a.shape[i] for i in free_a], [b.shape[i] for i in free_b]
    left = flattened(a, [*batch_a, *free_a], contract_a)
    right = flattened(b, [*batch_b, *free_b], contract_b)
    out = np.empty((*batch, *rows, *columns), dtype=object)
    zero = domain.lift(np.asarray(0))[()]
    for group in np.ndindex(*batch):
        for i in np.ndindex(*rows):
            row = left[group + i]
            for j in np.ndindex(*columns):
                terms = [x * y for x, y in zip(row, right[group + j], strict=True)]
                out[group + i + j] = domain.total(terms) if terms else zero
    return boxed(out)
