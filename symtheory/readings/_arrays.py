"""Rules shared by every domain whose values are arrays of elements (objects with + - * /).

Integers and booleans that do not depend on a parameter or sample stay ordinary NumPy arrays and
are computed concretely; everything else is an object array of elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from jax.extend.core import primitives

from symtheory.errors import UnreadableError
from symtheory.exact import rational
from symtheory.readings._interpreter import Rule

Scalar = Callable[..., Any]


class ArrayDomain:
    """A domain given by its scalars: constants, comparison, choice and special functions."""

    name = "arrays"

    def __init__(self) -> None:
        rules = _structural_rules() | _arithmetic_rules(self)
        self._rules = {name: _boxing(rule) for name, rule in rules.items()}

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The table primitive -> rule."""
        return self._rules

    def scalar(self, value: Fraction) -> Any:
        """Return the element of an exact rational."""
        return value

    def functions(self) -> Mapping[str, Scalar]:
        """Scalar functions by primitive name: exp, log, sqrt, tanh, ..., max, gt, eq, select."""
        return {}

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
        out = np.empty(array.shape, dtype=object)
        for index, item in np.ndenumerate(array):
            out[index] = self.scalar(rational(item)) if np.isfinite(item) else float(item)
        return out

    def lift(self, array: np.ndarray) -> np.ndarray:
        """Turn a concrete integer or boolean array into an array of elements."""
        if array.dtype == object:
            return elementwise(lambda x: self.scalar(Fraction(int(x))) if _is_bool(x) else x, array)
        return elementwise(lambda x: self.scalar(Fraction(int(x))), array)


def elementwise(function: Scalar, *arrays: Any) -> np.ndarray:
    """Apply a scalar function entry by entry, keeping zero-dimensional results arrays."""
    out = np.frompyfunc(function, len(arrays), 1)(*arrays)
    return settle(_boxed(out))


def _boxed(value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    box = np.empty((), dtype=object)
    box[()] = value
    return box


def _boxing(rule: Rule) -> Rule:
    """NumPy returns bare entries for zero-dimensional object arrays; keep them arrays."""

    def boxed(*arguments: Any, **params: Any) -> Any:
        out = rule(*arguments, **params)
        return [_boxed(x) for x in out] if isinstance(out, list) else _boxed(out)

    return boxed


def settle(array: np.ndarray) -> np.ndarray:
    """Return an object array of plain booleans as a boolean array."""
    if array.dtype == object and array.size and all(_is_bool(x) for x in array.flat):
        return array.astype(bool)
    return array


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float) and not np.isfinite(value)


def is_zero(value: Any) -> bool:
    """Tell whether an element is the number zero on sight (no proof attempted)."""
    return isinstance(value, Fraction) and value == 0


# --- data movement -----------------------------------------------------------------------------


def _broadcast(x: np.ndarray, *_: Any, shape: Any, broadcast_dimensions: Any, **__: Any) -> Any:
    expanded = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, x.shape, strict=True):
        expanded[axis] = size
    return np.broadcast_to(x.reshape(expanded), shape)


def _slice(x: np.ndarray, *, start_indices: Any, limit_indices: Any, strides: Any, **_: Any) -> Any:
    steps = strides or [1] * x.ndim
    ranges = zip(start_indices, limit_indices, steps, strict=True)
    return x[tuple(slice(start, stop, step) for start, stop, step in ranges)]


def _pad(x: np.ndarray, value: np.ndarray, *, padding_config: Any, **_: Any) -> np.ndarray:
    out_shape = [
        low + high + n + max(n - 1, 0) * inner
        for n, (low, high, inner) in zip(x.shape, padding_config, strict=True)
    ]
    sizes = [max(size, 0) for size in out_shape]
    out = np.empty(sizes, dtype=np.result_type(x.dtype, value.dtype))
    out[...] = value[()]
    source, target = [], []
    for n, size, (low, _high, inner) in zip(x.shape, sizes, padding_config, strict=True):
        kept = [i for i in range(n) if 0 <= low + i * (inner + 1) < size]
        source.append(kept)
        target.append([low + i * (inner + 1) for i in kept])
    out[np.ix_(*target)] = x[np.ix_(*source)]
    return out


def _split(x: np.ndarray, *, sizes: Any, axis: int, **_: Any) -> list[np.ndarray]:
    return np.split(x, np.cumsum(sizes)[:-1], axis=axis)


def _iota(*, dtype: Any, shape: Any, dimension: int, **_: Any) -> np.ndarray:
    expanded = [1] * len(shape)
    expanded[dimension] = shape[dimension]
    return np.broadcast_to(np.arange(shape[dimension], dtype=dtype).reshape(expanded), shape)


def _moved(name: str) -> Rule:
    """Read any further movement of entries by moving their positions with JAX itself."""

    def rule(x: np.ndarray, *indices: Any, **params: Any) -> np.ndarray:
        primitive = _primitive(name)
        if any(np.asarray(i).dtype == object for i in indices):
            raise UnreadableError(
                f"the primitive {name!r} moves entries to places that depend on parameters or "
                "samples; index with fixed integers"
            )
        positions = np.arange(x.size, dtype=np.int64).reshape(x.shape)
        with jax.enable_x64(True):
            params = {**params, **({"fill_value": -1} if "fill_value" in params else {})}
            target = np.asarray(primitive.bind(positions, *map(np.asarray, indices), **params))
        if np.any(target < 0) or np.any(target >= x.size):
            raise UnreadableError(f"the primitive {name!r} reads outside of its array")
        return x.reshape(-1)[target]

    return rule


def _scatter_add(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, **params: Any) -> Any:
    """Add updates at fixed places; which places is read off the linear map itself."""
    params = {**params, "update_jaxpr": params.get("update_jaxpr")}
    primitive = _primitive("scatter-add")
    out = np.array(x, dtype=object, copy=True)
    zeros = np.zeros(x.shape)
    with jax.enable_x64(True):
        for place, update in np.ndenumerate(updates):
            unit = np.zeros(updates.shape)
            unit[place] = 1.0
            moved = np.asarray(primitive.bind(zeros, np.asarray(indices), unit, **params))
            for target in zip(*np.nonzero(moved), strict=True):
                out[target] = out[target] + update
    return out


def _primitive(name: str) -> Any:
    attribute = name.replace("-", "_") + "_p"
    return getattr(primitives, attribute)


def _structural_rules() -> dict[str, Rule]:
    rules: dict[str, Rule] = {
        "broadcast_in_dim": _broadcast,
        "reshape": lambda x, *_, new_sizes, **__: x.reshape(new_sizes),
        "transpose": lambda x, *, permutation: np.transpose(x, permutation),
        "squeeze": lambda x, *, dimensions: np.squeeze(x, tuple(dimensions)),
        "expand_dims": lambda x, *, dimensions: np.expand_dims(x, tuple(dimensions)),
        "slice": _slice,
        "rev": lambda x, *, dimensions: np.flip(x, tuple(dimensions)),
        "concatenate": lambda *xs, dimension, **_: np.concatenate(xs, axis=dimension),
        "pad": _pad,
        "split": _split,
        "iota": _iota,
        "copy": lambda x, **_: x,
        "copy_p": lambda x, **_: x,
        "stop_gradient": lambda x, **_: x,
        "reduce_precision": lambda x, **_: x,
        "name": lambda x, **_: x,
        "optimization_barrier": lambda *xs, **_: list(xs),
        "scatter-add": _scatter_add,
    }
    for name in ("gather", "dynamic_slice"):
        rules[name] = _moved(name)
    return rules


# --- arithmetic --------------------------------------------------------------------------------


def _dot_general(a: np.ndarray, b: np.ndarray, *, dimension_numbers: Any, **_: Any) -> np.ndarray:
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    free_a = [i for i in range(a.ndim) if i not in (*contract_a, *batch_a)]
    free_b = [i for i in range(b.ndim) if i not in (*contract_b, *batch_b)]
    batch = [a.shape[i] for i in batch_a]
    inner = int(np.prod([a.shape[i] for i in contract_a], dtype=int))
    left = a.transpose([*batch_a, *free_a, *contract_a]).reshape([*batch, -1, inner])
    right = b.transpose([*batch_b, *contract_b, *free_b]).reshape([*batch, inner, -1])
    out = np.matmul(left, right) if inner else np.zeros((*batch, left.shape[-2], right.shape[-1]))
    shape = [*batch, *(a.shape[i] for i in free_a), *(b.shape[i] for i in free_b)]
    return _boxed(out).reshape(shape)


def _power(x: Any, n: int) -> Any:
    """Repeated squaring, so that elements need no power of their own."""
    if n < 0:
        return 1 / _power(x, -n)
    out: Any = None
    while n:
        if n & 1:
            out = x if out is None else out * x
        n >>= 1
        x = x * x if n else x
    return 1 if out is None else out


def _reduction(step: Scalar) -> Rule:
    def rule(x: np.ndarray, *, axes: Any, **_: Any) -> np.ndarray:
        out = x
        for axis in sorted(axes, reverse=True):
            first, *rest = np.moveaxis(out, axis, 0)
            out = _boxed(first)
            for item in rest:
                out = elementwise(step, out, item)
        return out

    return rule


def _arithmetic_rules(domain: ArrayDomain) -> dict[str, Rule]:
    functions = domain.functions()

    def apply(function: Scalar) -> Rule:
        return lambda *xs, **_: elementwise(function, *map(domain.lift, xs))

    def arithmetic(concrete: Any, symbolic: Scalar | None = None) -> Rule:
        def rule(*xs: np.ndarray, **_: Any) -> np.ndarray:
            if all(x.dtype != object for x in xs) or symbolic is None:
                return concrete(*xs)
            return elementwise(symbolic, *xs)

        return rule

    def divide(a: np.ndarray, b: np.ndarray, **_: Any) -> np.ndarray:
        if a.dtype != object and b.dtype != object:
            return np.asarray(np.trunc(np.divide(a, b))).astype(a.dtype)
        return np.true_divide(a, b)

    def to_type(x: np.ndarray, *, new_dtype: Any, **_: Any) -> np.ndarray:
        if x.dtype == object:
            return domain.lift(x)
        kind = np.dtype(new_dtype).kind
        return domain.lift(x) if kind == "f" else x.astype(new_dtype)

    def select(which: np.ndarray, *cases: np.ndarray, **_: Any) -> np.ndarray:
        if which.dtype != object:
            shape = np.broadcast_shapes(which.shape, cases[0].shape)
            chosen = np.broadcast_to(which, shape).astype(int)
            stacked = np.stack([np.broadcast_to(case, shape) for case in cases])
            return np.take_along_axis(stacked, chosen[None], axis=0)[0]
        no, yes = (domain.lift(case) for case in cases)

        def choose(condition: Any, a: Any, b: Any) -> Any:
            if _is_bool(condition):
                return b if condition else a
            return functions["select"](condition, a, b)

        return elementwise(choose, which, no, yes)

    def comparison(concrete: Any, symbolic: Scalar) -> Rule:
        def rule(a: np.ndarray, b: np.ndarray, **_: Any) -> np.ndarray:
            if a.dtype != object and b.dtype != object:
                return concrete(a, b)
            return elementwise(symbolic, domain.lift(a), domain.lift(b))

        return rule

    def greater(a: Any, b: Any) -> Any:
        if _is_infinite(a) or _is_infinite(b):
            return a == np.inf or b == -np.inf
        return functions["gt"](a, b)

    def at_least(a: Any, b: Any) -> Any:
        return _negate(greater(b, a))

    def larger(a: Any, b: Any) -> Any:
        if _is_infinite(a) or _is_infinite(b):
            return a if (a == np.inf or b == -np.inf) else b
        return functions["max"](a, b)

    def _negate(condition: Any) -> Any:
        return (not condition) if _is_bool(condition) else 1 - condition

    def equal(a: Any, b: Any) -> Any:
        if _is_infinite(a) or _is_infinite(b):
            return bool(_is_infinite(a) and _is_infinite(b) and a == b)
        return functions["eq"](a, b)

    def smaller(a: Any, b: Any) -> Any:
        return -larger(-a, -b)

    def both(a: Any, b: Any) -> Any:
        if _is_bool(a) or _is_bool(b):
            return (b if a else False) if _is_bool(a) else (a if b else False)
        return a * b

    def either(a: Any, b: Any) -> Any:
        return _negate(both(_negate(a), _negate(b)))

    def power(x: np.ndarray, y: np.ndarray, **_: Any) -> np.ndarray:
        def raise_to(base: Any, exponent: Any) -> Any:
            exact = exponent_of(exponent)
            if exact is not None and exact.denominator == 1:
                return _power(base, int(exact))
            if exact is not None and exact.denominator == 2 and "sqrt" in functions:
                return _power(functions["sqrt"](base), int(2 * exact))
            return functions["exp"](exponent * functions["log"](base))

        return elementwise(raise_to, domain.lift(x), domain.lift(y))

    exponent_of = getattr(domain, "as_rational", lambda x: x if isinstance(x, Fraction) else None)

    rules: dict[str, Rule] = {
        "add": arithmetic(np.add),
        "add_any": arithmetic(np.add),
        "sub": arithmetic(np.subtract),
        "mul": arithmetic(np.multiply),
        "neg": arithmetic(np.negative),
        "div": divide,
        "square": arithmetic(lambda x: np.multiply(x, x)),
        "integer_pow": lambda x, *, y, **_: elementwise(lambda v: _power(v, y), x),
        "pow": power,
        "dot_general": _dot_general,
        "reduce_sum": lambda x, *, axes, **_: np.sum(x, axis=tuple(axes)),
        "reduce_prod": lambda x, *, axes, **_: np.prod(x, axis=tuple(axes)),
        "cumsum": lambda x, *, axis, reverse, **_: _cumulate(np.add, x, axis, reverse),
        "cumprod": lambda x, *, axis, reverse, **_: _cumulate(np.multiply, x, axis, reverse),
        "convert_element_type": to_type,
        "select_n": select,
        "gt": comparison(np.greater, greater),
        "lt": comparison(np.less, lambda a, b: greater(b, a)),
        "ge": comparison(np.greater_equal, at_least),
        "le": comparison(np.less_equal, lambda a, b: at_least(b, a)),
        "eq": comparison(np.equal, equal),
        "ne": comparison(np.not_equal, lambda a, b: _negate(equal(a, b))),
        "and": arithmetic(np.bitwise_and, both),
        "or": arithmetic(np.bitwise_or, either),
        "not": arithmetic(np.invert, _negate),
        "is_finite": lambda x, **_: np.ones(x.shape, dtype=bool),
        "max": apply(larger),
        "min": apply(smaller),
        "reduce_max": _reduction(larger),
        "reduce_min": _reduction(smaller),
        "reduce_and": lambda x, *, axes, **_: np.all(x, axis=tuple(axes)),
        "reduce_or": lambda x, *, axes, **_: np.any(x, axis=tuple(axes)),
        "clamp": lambda low, x, high, **_: elementwise(
            lambda a, b, c: smaller(larger(a, b), c), *map(domain.lift, (low, x, high))
        ),
        "max_int": arithmetic(np.maximum),
    }
    for name, function in functions.items():
        rules.setdefault(name, apply(function))
    if "sqrt" in functions:
        rules.setdefault("rsqrt", apply(lambda x: 1 / functions["sqrt"](x)))
    if "exp" in functions:
        rules.setdefault("expm1", apply(lambda x: functions["exp"](x) - 1))
        rules.setdefault("log1p", apply(lambda x: functions["log"](1 + x)))
    return rules


def _cumulate(ufunc: Any, x: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
    if reverse:
        return np.flip(_cumulate(ufunc, np.flip(x, axis), axis, False), axis)
    return ufunc.accumulate(x, axis=axis)
