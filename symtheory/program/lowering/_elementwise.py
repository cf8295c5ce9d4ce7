"""Arithmetic, elementary functions, comparison and choice, entry by entry."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from symtheory.exact import rational
from symtheory.program._builder import Builder, Complex, Operand, kind_of, shape_of, uniform
from symtheory.program._functions import FUNCTIONS
from symtheory.program._known import is_known
from symtheory.program._types import kind_of_type
from symtheory.program.lowering._rule import alias, kind_out, lowers, stored

_ROOTS = 12
"""Powers p/q with q up to this are powers of roots, others exp(y log x)."""

# --- arithmetic --------------------------------------------------------------------------------


alias(lambda b, x, y: b.add(x, y), "add", "add_any")
alias(lambda b, x, y: b.sub(x, y), "sub")
alias(lambda b, x, y: b.mul(x, y), "mul")
alias(lambda b, x: b.scale(x, -1), "neg")
alias(lambda b, x: b.power(x, 2), "square")
alias(lambda b, x: b.power(x, Fraction(1, 2)), "sqrt")
alias(lambda b, x: b.power(x, Fraction(-1, 2)), "rsqrt")


@lowers("integer_pow")
def _integer_pow(b: Builder, eqn: Any, x: Operand) -> Operand:
    return b.power(x, eqn.params["y"])


@lowers("div")
def _div(b: Builder, eqn: Any, x: Operand, y: Operand) -> Operand:
    if kind_out(eqn) in "iu":
        return b.apply("quotient", x, y, kind="i")
    divisor = uniform(y)
    if divisor and shape_of(y) in ((), shape_of(x)):
        return b.scale(b.real(x), 1 / divisor)
    return b.mul(x, b.power(b.real(y), -1))


@lowers("rem")
def _rem(b: Builder, eqn: Any, x: Operand, y: Operand) -> Operand:
    if kind_out(eqn) in "iu":
        return b.apply("rem", x, y, kind="i")
    return b.sub(x, b.mul(y, b.apply("trunc", b.mul(x, b.power(y, -1)))))


@lowers("pow")
def _pow(b: Builder, eqn: Any, x: Operand, y: Operand) -> Operand:
    """A known exponent is a power entry by entry; another one is exp(y log x)."""
    one = uniform(y)
    x, y = b.aligned(x, y)
    if one is not None and one.denominator <= _ROOTS:
        return b.power(x, one)
    if isinstance(y, np.ndarray) and y.size and np.isfinite(y).all():
        values = np.unique(y)
        exponents = [rational(v) for v in values]
        if all(e.denominator <= _ROOTS for e in exponents):
            return b.select(np.searchsorted(values, y), *(b.power(x, e) for e in exponents))
    return b.apply("pow", b.real(x), b.real(y))


# --- functions ---------------------------------------------------------------------------------


def _function(name: str) -> None:
    alias(lambda b, x: b.apply(name, x), name)


for _name, _row in FUNCTIONS.items():
    if _row.primitive and _row.arguments == 1 and _row.kind != "truth":
        _function(_name)

alias(lambda b, x: b.add(b.apply("exp", x), np.asarray(-1.0)), "expm1")
alias(lambda b, x: b.apply("log", b.add(x, np.asarray(1.0))), "log1p")
alias(lambda b, x: b.mul(b.apply("log", x), b.power(b.apply("log", np.asarray(2.0)), -1)), "log2")
alias(lambda b, x: b.sub(np.asarray(1.0), b.power(x, 2)), "one_minus_square")
alias(lambda b, y, x: b.apply("atan2", b.real(y), b.real(x)), "atan2")
alias(lambda b, x: b.apply("is_finite", x, kind="b"), "is_finite")


@lowers("abs", "sign", "floor", "ceil")
def _piecewise(b: Builder, eqn: Any, x: Operand) -> Operand:
    return b.apply(eqn.primitive.name, x, kind=kind_of(x))


@lowers("round")
def _round(b: Builder, eqn: Any, x: Operand) -> Operand:
    away = int(eqn.params["rounding_method"]) == int(lax.RoundingMethod.AWAY_FROM_ZERO)
    if not away:
        return b.apply("round", x, kind=kind_of(x))
    half = b.add(b.apply("abs", x), np.asarray(0.5))
    return b.mul(b.apply("sign", x), b.apply("floor", half))


@lowers("polynomial")
def _polynomial(b: Builder, eqn: Any, x: Operand, *coefficients: Operand) -> Operand:
    return functools.reduce(lambda total, c: b.add(b.mul(total, x), c), reversed(coefficients))


# --- order -------------------------------------------------------------------------------------

alias(lambda b, x, y: b.extremum(x, y, True), "max")
alias(lambda b, x, y: b.extremum(x, y, False), "min")


@lowers("clamp")
def _clamp(b: Builder, eqn: Any, low: Operand, x: Operand, high: Operand) -> Operand:
    return b.extremum(b.extremum(x, low, True), high, False)


@lowers("gt", "ge", "lt", "le", "eq", "ne", "lt_to", "le_to", "eq_to")
def _compare(b: Builder, eqn: Any, x: Operand, y: Operand) -> Operand:
    return b.compare(eqn.primitive.name.removesuffix("_to"), x, y)


@lowers("and", "or", "xor", "not")
def _logic(b: Builder, eqn: Any, *xs: Operand) -> Operand:
    if kind_out(eqn) != "b" and not all(map(is_known, xs)):
        if eqn.primitive.name == "not":  # of all bits: ~n = -n - 1
            return b.sub(np.asarray(-1), xs[0])
        b.refuse(f"the bits of integers ({eqn.primitive.name})")
    return b.apply(eqn.primitive.name, *xs, kind=kind_of(xs[0]))


@lowers("select_n")
def _select(b: Builder, eqn: Any, which: Operand, *cases: Operand) -> Operand:
    return b.select(which, *cases)


# --- casts -------------------------------------------------------------------------------------


@lowers("convert_element_type")
def _convert(b: Builder, eqn: Any, x: Operand) -> Operand:
    """Single and double precision stand for the same real numbers; other types round or cut."""
    dtype = np.dtype(eqn.params["new_dtype"])
    kind, into = kind_of(x), kind_of_type(dtype)
    if into == "b":
        return x if kind == "b" else b.compare("ne", x, np.zeros((), dtype=np.int64))
    if into in "iu":
        if kind == "b":
            return b.cast(x, "bit", "i")
        if kind == "i":
            return stored(b, x, dtype)
        whole = b.cast(x, "integer", "i")
        if dtype == np.int64:
            return whole
        # What is too large for the type becomes its largest number.
        low, high = (np.asarray(n) for n in (jnp.iinfo(dtype).min, jnp.iinfo(dtype).max))
        return b.extremum(b.extremum(whole, low, True), high, False)
    if into == "c":
        real = b.real(x)
        return Complex(real, np.zeros(shape_of(real)))
    return b.real(x) if kind == "b" else stored(b, b.real(x), dtype)


@lowers("reduce_precision")
def _reduce_precision(b: Builder, eqn: Any, x: Operand) -> Operand:
    """Single precision and better is kept, as `jax.checkpoint` writes it."""
    if eqn.params["exponent_bits"] >= 8 and eqn.params["mantissa_bits"] >= 23:
        return x
    return b.cast(b.real(x), "reduce_precision", "f")


def gaussian(b: Builder, x: Operand) -> Operand:
    """Return exp(-x^2), which JAX writes as a program that cuts x into parts by its bits."""
    return b.apply("exp", b.scale(b.power(x, 2), -1))


@functools.lru_cache(maxsize=64)
def _gaussian_bodies(shape: tuple[int, ...], dtype: Any) -> frozenset[str]:
    """Return how the JAX at hand writes exp(-x^2) in the derivative of erf."""
    with jax.enable_x64(True):
        struct = jax.ShapeDtypeStruct(shape, dtype)
        closed = jax.make_jaxpr(lambda x: jax.jvp(lax.erf, (x,), (x,)))(struct)
    return frozenset(
        str(equation.params["call_jaxpr"])
        for equation in closed.jaxpr.eqns
        if equation.primitive.name == "custom_jvp_call"
    )


def is_gaussian(equation: Any) -> bool:
    """Tell whether a call is the exp(-x^2) by which JAX writes the derivative of erf.

    From 0.12 on it cuts x into a high and a low part, by its bits. The program is compared with
    that of the JAX at hand, so that nothing else that cuts off bits passes for it.
    """
    if equation.primitive.name != "custom_jvp_call" or len(equation.invars) != 1:
        return False
    body = equation.params["call_jaxpr"]
    if not any(inner.primitive.name == "bitcast_convert_type" for inner in body.eqns):
        return False
    aval = equation.invars[0].aval
    return str(body) in _gaussian_bodies(tuple(aval.shape), np.dtype(aval.dtype))
