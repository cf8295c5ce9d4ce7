"""Closed forms at symbolic sizes: settings times expressions of the index domain."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

from symtheory.domains import Ring, Symbols
from symtheory.domains.tensors import Indexed, Tensor, contract
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.theory.matrices import _print as printing


@dataclasses.dataclass(frozen=True, eq=False)
class TensorExpression:
    """A sum of factor(settings) times an expression in named tensors, valid for all sizes.

    Attributes:
        terms: Pairs of a SymPy factor in the settings and a value of the index domain.
        model: Whose parameters, constants and covariances the tensors are, if it is a model's.
        names: What each tensor is called by the user, by tensor: (kind, name).
        settings: Symbols of learning rate, batch size, weight decay, by code name.

    Prints as matrix words; `sympy()` gives matrices of symbolic sizes, `entries(h=2, ...)` the
    explicit matrix at given sizes, `callable()` a JAX function for any sizes.

    >>> from symtheory.zoo import load
    >>> from symtheory.theory import derive
    >>> example = load("two-layer-linear")
    >>> law = derive(example.model, example.symmetries["double-rotation"])
    >>> print(law.charge)
    U^T U - W W^T
    """

    terms: tuple[tuple[Any, Indexed], ...]
    model: Model | None
    names: Mapping[Tensor, tuple[str, str]]
    settings: Mapping[str, sympy.Symbol]

    def __str__(self) -> str:
        return self._joined(printing.text, str, "({})", " * ")

    def latex(self) -> str:
        """Return the LaTeX of the closed form."""
        return self._joined(printing.latex, sympy.latex, r"\left({}\right)", r" \, ")

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def _joined(
        self,
        write: Callable[[Indexed], str],
        shown: Callable[[Any], str],
        brackets: str,
        times: str,
    ) -> str:
        pieces = []
        for factor, body in self.terms:
            if body.is_zero:
                continue
            number, reduced = content(body)
            factor = factor * sympy.Rational(number.numerator, number.denominator)
            text = write(reduced)
            if factor == 1:
                pieces.append(text)
                continue
            if len(reduced.terms) > 1:
                text = brackets.format(text)
            pieces.append(f"-{text}" if factor == -1 else f"{shown(factor)}{times}{text}")
        return " + ".join(pieces).replace("+ -", "- ") if pieces else "0"

    def sympy(self) -> Any:
        """Return the closed form with SymPy matrices of symbolic sizes."""
        parts = [factor * printing.to_sympy(body) for factor, body in self.terms if body.terms]
        if not parts:
            return printing.to_sympy(self.terms[0][1])
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def entries(self, **sizes: int) -> Any:
        """Return the explicit SymPy matrix (a number without axes) at given sizes.

        Args:
            **sizes: A value for every named size.

        >>> from symtheory.zoo import load
        >>> from symtheory.theory import derive
        >>> example = load("two-layer-linear")
        >>> law = derive(example.model, example.symmetries["double-rotation"])
        >>> law.charge.entries(dy=1, h=2, dx=1)[0, 1]
        U_11*U_12 - W_11*W_21
        """
        named = {size for _, body in self.terms for size in body.named_sizes}
        for size in sorted(named - set(sizes)):
            raise InputError(f"the size {size!r} is not given; pass entries({size}=...)")
        symbols = Symbols(Ring())
        total: Any = None
        for factor, array in self.elements(symbols, sizes):
            shown = [factor * symbols.to_sympy(entry) for entry in array.reshape(-1)]
            shape = (*array.shape, 1, 1)[:2]
            part = sympy.Matrix(*shape, shown) if array.ndim else shown[0]
            total = part if total is None else total + part
        return sympy.ImmutableMatrix(total) if isinstance(total, sympy.MatrixBase) else total

    def elements(self, symbols: Symbols, sizes: Mapping[str, int]) -> list[tuple[Any, np.ndarray]]:
        """Return the expression entry by entry: factors and object arrays of ring elements.

        Args:
            symbols: Where the entries' symbols live.
            sizes: A value for every named size.
        """
        arrays = {}
        for tensor in {t for _, body in self.terms for t in body.tensors}:
            kind, name = self.names[tensor]
            shape = tuple(s if isinstance(s, int) else sizes[s] for s in tensor.sizes)
            arrays[tensor] = symbols.array(kind, name, shape, symmetric=tensor.symmetric)
        ring = symbols.ring

        def number(c: Any) -> Any:
            return ring.constant(Fraction(int(c.p), int(c.q)))

        return [
            (factor, np.asarray(contract(body, sizes, arrays, number=number), dtype=object))
            for factor, body in self.terms
        ]

    def callable(self) -> Callable[..., Any]:
        """Return a JAX function f(params, **values) for parameters of any sizes.

        `values` holds the settings by their code names, and constants and covariances that the
        model leaves unbound.
        """
        prepared = self._prepared()

        @functools.partial(jax.jit, static_argnums=0)  # one program, not one per contraction
        def contracted(sizes: tuple[tuple[str, int], ...], weights: Any, arrays: Any) -> Any:
            return self._contracted(dict(sizes), weights, arrays, jnp)

        def function(params: Any = None, **values: Any) -> Any:
            sizes, weights, arrays = prepared(params, values)
            return contracted(tuple(sorted(sizes.items())), weights, arrays)

        return function

    def value(self, params: Any = None, **values: Any) -> Any:
        """Return what `callable` returns, computed once in NumPy and without compilation."""
        sizes, weights, arrays = self._prepared()(params, values)
        return self._contracted(sizes, weights, jax.tree.map(np.asarray, arrays), np)

    def _contracted(self, sizes: Mapping[str, int], weights: Any, arrays: Any, xp: Any) -> Any:
        parts = (contract(body, sizes, arrays, xp=xp) for _, body in self.terms)
        return sum(weight * part for weight, part in zip(weights, parts, strict=True))

    def _prepared(self) -> Callable[..., Any]:
        """Return (params, values) -> sizes, the factor of each term, the array of each tensor."""
        symbols = list(self.settings.values())
        factors = [sympy.lambdify(symbols, factor, "math") for factor, _ in self.terms]
        used = {symbol for factor, _ in self.terms for symbol in factor.free_symbols}
        needed = {name for name, symbol in self.settings.items() if symbol in used}

        def prepared(params: Any, values: Mapping[str, Any]) -> tuple[Any, Any, Any]:
            missing = sorted(needed - set(values))
            if missing:
                raise TypeError(f"this expression also needs {', '.join(missing)}")
            numbers = [values.get(name, 0.0) if name in needed else 1.0 for name in self.settings]
            arrays, sizes = self._arrays(params, values)
            return sizes, [factor(*numbers) for factor in factors], arrays

        return prepared

    def _arrays(
        self, params: Any, values: Mapping[str, Any]
    ) -> tuple[dict[Tensor, Any], dict[str, int]]:
        """Return the array of every tensor and the sizes they have."""
        shapes = {} if self.model is None else self.model.leaves
        known: Mapping[str, Any] = {} if self.model is None else self.model.values
        leaves = dict(zip(shapes, jax.tree.leaves(params), strict=True))
        arrays: dict[Tensor, Any] = {}
        sizes: dict[str, int] = {} if self.model is None else dict(self.model.sizes)
        needed = {t for _, body in self.terms for t in body.tensors}
        for tensor in sorted(needed):
            kind, name = self.names[tensor]
            source = leaves if kind == "param" else {**known, **values}
            if name not in source:
                raise InputError(
                    f"the expression needs the {kind} {name!r} of shape {tensor.sizes}; "
                    f"pass {name}=..."
                )
            arrays[tensor] = jnp.asarray(source[name])
            if arrays[tensor].ndim != len(tensor.sizes):
                raise InputError(
                    f"{name!r} has shape {arrays[tensor].shape}, but the law takes {tensor.sizes}"
                )
            for size, have in zip(tensor.sizes, arrays[tensor].shape, strict=True):
                want = size if isinstance(size, int) else sizes.setdefault(size, have)
                if want != have:
                    raise InputError(f"{name!r} makes the size {size} = {have}, elsewhere {want}")
        for leaf, shape in zip(leaves.values(), shapes.values(), strict=True):
            pairs = zip(shape, jnp.shape(leaf), strict=True)
            sizes |= {size: have for size, have in pairs if isinstance(size, str)}
        for size in sorted({n for _, body in self.terms for n in body.named_sizes} - set(sizes)):
            if size not in values:
                raise InputError(f"no array has the size {size!r}; pass {size}=... as a number")
            sizes[size] = int(values[size])
        return arrays, sizes


def content(value: Indexed) -> tuple[Fraction, Indexed]:
    """Return the largest number that divides all coefficients, signed, and the quotient.

    The sign makes most of the quotient's coefficients positive.

    >>> from symtheory.domains.tensors import Tensor
    >>> number, rest = content(Indexed.of(Tensor("param", "u", ())).scaled(-4))
    >>> number, printing.text(rest)
    (Fraction(-4, 1), 'u')
    """
    if value.is_zero:
        return Fraction(1), value
    numbers = [Fraction(int(c.p), int(c.q)) for c in value.terms.values()]
    size = Fraction(
        functools.reduce(gcd, (abs(c.numerator) for c in numbers)),
        functools.reduce(lcm, (c.denominator for c in numbers)),
    )
    if all(c < 0 for c in numbers):
        size = -size
    return size, value.scaled(1 / size)
