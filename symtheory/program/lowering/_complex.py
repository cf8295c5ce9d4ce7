"""Complex numbers as pairs of real ones, and the Fourier transform as the linear map it is."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.program._builder import Builder, Complex, Operand, shape_of
from symtheory.program._types import kind_of_type
from symtheory.program.lowering._rule import RULES, lowers

Pair = Complex


def as_complex(b: Builder, x: Operand) -> Complex:
    """Return an operand as a complex one."""
    if isinstance(x, Complex):
        return x
    if isinstance(x, np.ndarray) and x.dtype.kind == "c":
        return Complex(np.array(x.real), np.array(x.imag))
    x = b.real(x)
    return Complex(x, np.zeros(shape_of(x)))


def _times(b: Builder, x: Complex, y: Complex) -> Complex:
    real = b.sub(b.mul(x.real, y.real), b.mul(x.imag, y.imag))
    return Complex(real, b.add(b.mul(x.real, y.imag), b.mul(x.imag, y.real)))


def _square_modulus(b: Builder, x: Complex) -> Operand:
    return b.add(b.power(x.real, 2), b.power(x.imag, 2))


def _inverse(b: Builder, x: Complex) -> Complex:
    scale = b.power(_square_modulus(b, x), -1)
    return Complex(b.mul(x.real, scale), b.scale(b.mul(x.imag, scale), -1))


def _power(b: Builder, x: Complex, n: int) -> Complex:
    if n < 0:
        return _inverse(b, _power(b, x, -n))
    out = Complex(np.ones(shape_of(x)), np.zeros(shape_of(x)))
    for _ in range(n):
        out = _times(b, out, x)
    return out


def _exp(b: Builder, x: Complex) -> Complex:
    size = b.apply("exp", x.real)
    return Complex(b.mul(size, b.apply("cos", x.imag)), b.mul(size, b.apply("sin", x.imag)))


_RULES: dict[str, Callable[..., Any]] = {
    "mul": lambda b, eqn, x, y: _times(b, x, y),
    "div": lambda b, eqn, x, y: _times(b, x, _inverse(b, y)),
    "integer_pow": lambda b, eqn, x: _power(b, x, eqn.params["y"]),
    "square": lambda b, eqn, x: _power(b, x, 2),
    "exp": lambda b, eqn, x: _exp(b, x),
    "real": lambda b, eqn, x: x.real,
    "imag": lambda b, eqn, x: x.imag,
    "conj": lambda b, eqn, x: Complex(x.real, b.scale(x.imag, -1)),
    "abs": lambda b, eqn, x: b.power(_square_modulus(b, x), Fraction(1, 2)),
    "eq": lambda b, eqn, x, y: b.apply(
        "and", b.compare("eq", x.real, y.real), b.compare("eq", x.imag, y.imag), kind="b"
    ),
}
_LINEAR = frozenset({
    "add", "add_any", "sub", "neg", "reduce_sum", "cumsum", "broadcast_in_dim", "reshape",
    "squeeze", "expand_dims", "transpose", "slice", "rev", "concatenate", "pad", "split", "stack",
    "unstack", "tile", "gather", "dynamic_slice", "dynamic_update_slice", "scatter", "scatter-add",
    "scatter_add", "copy", "copy_p", "stop_gradient", "optimization_barrier", "select_n",
})  # fmt: skip
_HELD = {"gather": (0,), "dynamic_slice": (0,), "dynamic_update_slice": (0, 1), "scatter": (0, 2),
         "scatter-add": (0, 2), "scatter_add": (0, 2)}  # fmt: skip


def lower_complex(b: Builder, eqn: Any, xs: list[Operand]) -> Any:
    """Lower an equation some of whose operands are complex."""
    name = eqn.primitive.name
    if name in _RULES:
        return _RULES[name](b, eqn, *(as_complex(b, x) for x in xs))
    if name in _LINEAR:
        held = _HELD.get(name, range(1, len(xs)) if name == "select_n" else range(len(xs)))
        pairs = {k: as_complex(b, xs[k]) for k in held}
        parts = []
        for side in ("real", "imag"):
            rest = [getattr(pairs[k], side) if k in pairs else x for k, x in enumerate(xs)]
            parts.append(RULES[name](b, eqn, *rest))
        if isinstance(parts[0], list):
            return [Complex(*both) for both in zip(*parts, strict=True)]
        return Complex(*parts)
    if name == "dot_general":
        x, y = (as_complex(b, z) for z in xs)
        dot = lambda u, v: RULES[name](b, _RealOutput(eqn), u, v)
        real = b.sub(dot(x.real, y.real), dot(x.imag, y.imag))
        return Complex(real, b.add(dot(x.real, y.imag), dot(x.imag, y.real)))
    if name == "convert_element_type":
        x = as_complex(b, xs[0])
        return x if kind_of_type(eqn.params["new_dtype"]) == "c" else x.real
    if name == "fft":
        return _fft(b, eqn, xs[0])
    return b.refuse(f"the primitive {name!r} of complex numbers", "write it with real numbers")


class _RealOutput:
    """An equation whose result is taken to be real."""

    def __init__(self, eqn: Any) -> None:
        self.primitive, self.params = eqn.primitive, eqn.params
        aval = eqn.outvars[0].aval
        self.outvars = [type("Var", (), {"aval": np.empty(aval.shape, dtype=np.float64)})()]


@lowers("complex")
def _complex(b: Builder, eqn: Any, x: Operand, y: Operand) -> Complex:
    return Complex(*b.aligned(b.real(x), b.real(y)))


@lowers("fft")
def _fft(b: Builder, eqn: Any, x: Operand) -> Operand:
    """Multiply by cos(2 pi k j / n) and sin(2 pi k j / n), axis by axis."""
    kind, lengths = eqn.params["fft_type"].name, eqn.params["fft_lengths"]
    inverse = kind in ("IFFT", "IRFFT")
    z = as_complex(b, x)
    first = len(shape_of(z)) - len(lengths)
    axes = list(range(first, first + len(lengths)))
    if kind == "IRFFT":  # the other half of the spectrum is conjugate to this one
        *others, last = axes
        for axis in others:
            z = _transform(b, z, axis, shape_of(z)[axis], True)
        n = int(lengths[-1])
        return _transform(b, _completed(b, z, last, n), last, n, True).real
    for axis in axes:
        z = _transform(b, z, axis, shape_of(z)[axis], inverse)
    if kind == "RFFT":
        half = np.arange(int(lengths[-1]) // 2 + 1)
        z = Complex(b.take(z.real, half, axes[-1]), b.take(z.imag, half, axes[-1]))
    return z


def _completed(b: Builder, z: Complex, axis: int, n: int) -> Complex:
    places = np.arange(n)
    mirrored = np.where(places <= n // 2, places, n - places)
    real, imag = b.take(z.real, mirrored, axis), b.take(z.imag, mirrored, axis)
    sign = np.where(places <= n // 2, 1.0, -1.0)
    sign[0] = 0.0
    if n % 2 == 0:
        sign[n // 2] = 0.0
    return Complex(real, b.mul(imag, b.broadcast(sign, shape_of(imag), (axis,))))


def _transform(b: Builder, z: Complex, axis: int, n: int, inverse: bool) -> Complex:
    turns = np.outer(np.arange(n), np.arange(n)) % n * (2.0 / n)
    turns = turns if inverse else -turns
    if n in (1, 2, 4):  # what is multiplied by is -1, 0 or 1
        cosine, sine = np.rint(np.cos(np.pi * turns)), np.rint(np.sin(np.pi * turns))
    else:
        cosine, sine = b.apply("cospi", turns), b.apply("sinpi", turns)
    ndim = len(shape_of(z))
    order = [k for k in range(ndim) if k != axis]
    back = [*(k + 1 for k in range(axis)), 0, *(k + 1 for k in range(axis, ndim - 1))]

    def along(matrix: Operand, x: Operand) -> Operand:
        return b.transpose(b.dot(matrix, b.transpose(x, [*order, axis]), 0, 1), back)

    real = b.sub(along(cosine, z.real), along(sine, z.imag))
    imag = b.add(along(cosine, z.imag), along(sine, z.real))
    if inverse:
        real, imag = b.scale(real, Fraction(1, n)), b.scale(imag, Fraction(1, n))
    return Complex(real, imag)
