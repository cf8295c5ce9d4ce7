"""Closed forms that a reader can print, take to SymPy, or call."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import sympy

from symtheory.domains import Element, Symbols
from symtheory.theory._layout import Layout

_ESCAPES = {c: f"\\{c}" for c in "{}$&#%_ "} | {
    "\\": r"\backslash ", "~": r"\sim ", "^": r"\wedge ",
}  # fmt: skip


def _shown(name: str) -> str | None:
    """Return the LaTeX of a name that LaTeX would misread, None if it can print it as it is."""
    plain = not set(name) & (_ESCAPES.keys() - {"_"})
    if plain and "__" not in name and name == name.strip("_"):
        return None
    return rf"\mathrm{{{''.join(_ESCAPES.get(c, c) for c in name)}}}"


def latex_name(name: str) -> str:
    """Return a user's name as LaTeX: U, \\Sigma_{x}, or upright text."""
    return _shown(name) or sympy.latex(sympy.Symbol(name))


@dataclasses.dataclass(frozen=True)
class Formal:
    """An expectation left as it stands: its text, LaTeX, and number of components."""

    name: str
    latex: str


@dataclasses.dataclass(frozen=True, eq=False)
class Term:
    """factor(settings) times a body: components of an element, or a formal expectation.

    Attributes:
        factor: A SymPy expression in the settings (learning rate, batch size, ...).
        body: The exact components, or what they are called where they stay formal.
        numbers: The body as a JAX function of (params, values), with components first.
    """

    factor: sympy.Expr
    body: list[Element] | Formal
    numbers: Callable[[Any, Any], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Expression:
    """A sum of terms; a scalar, or a matrix or vector over the family of generators.

    `sympy()` and `latex()` give the closed form, `callable()` a JAX function. Nothing is expanded
    or simplified beyond the polynomials' own normal form.

    >>> from symtheory.zoo import load
    >>> from symtheory.theory import derive
    >>> example = load("scalar-factor")
    >>> law = derive(example.model, example.symmetries["rescaling"])
    >>> law.charge.sympy()
    u**2 - w**2
    >>> float(law.charge.callable()({"u": 2.0, "w": 1.0}))
    3.0
    """

    terms: tuple[Term, ...]
    symbols: Symbols
    layout: Layout
    settings: dict[str, sympy.Symbol]

    def sympy(self) -> Any:
        """Return the SymPy expression (an immutable matrix for families)."""
        return self._sympy

    @functools.cached_property
    def _sympy(self) -> Any:
        parts = []
        for term in self.terms:
            if isinstance(term.body, Formal):
                formal = sympy.Symbol(term.body.name, real=True)
                if self.layout.texts:
                    formal = sympy.MatrixSymbol(term.body.name, *self._matrix_shape())
                parts.append(sympy.Mul(term.factor, formal))
            else:
                exact = [self.symbols.to_sympy(element) for element in term.body]
                if all(e == 0 for e in exact):
                    continue
                parts.append(term.factor * self.layout.arrange(exact))
        if not parts:
            return self.layout.arrange([sympy.Integer(0)] * self.layout.count)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def _matrix_shape(self) -> tuple[int, int]:
        shape = self.layout.shape
        return (shape[0], shape[1] if len(shape) == 2 else 1)

    def latex(self) -> str:
        """Return the LaTeX of the closed form."""
        expression = self.sympy()
        names = {
            symbol: shown
            for symbol in expression.free_symbols
            if (shown := _shown(symbol.name)) is not None
        }
        names |= {
            sympy.Symbol(term.body.name, real=True): term.body.latex
            for term in self.terms
            if isinstance(term.body, Formal)
        }
        text = sympy.latex(expression, symbol_names=names)
        for term in self.terms:
            if isinstance(term.body, Formal) and self.layout.texts:
                text = text.replace(sympy.latex(sympy.Symbol(term.body.name)), term.body.latex)
        return text

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def __str__(self) -> str:
        return str(self.sympy())

    @property
    def size(self) -> int:
        """Number of polynomial terms (1 for a formal expectation)."""
        return sum(
            1 if isinstance(t.body, Formal) else sum(len(e.numerator) for e in t.body)
            for t in self.terms
        )

    def callable(self) -> Callable[..., Any]:
        """Return a JAX function f(params, **values).

        `values` holds the settings the expression depends on by their code names
        (`learning_rate`, `batch_size`, `weight_decay`, `momentum`) and whatever constants and
        covariances the model leaves unbound.
        """
        symbols = list(self.settings.values())
        factors = [sympy.lambdify(symbols, term.factor, "math") for term in self.terms]
        needed = {
            name
            for name, symbol in self.settings.items()
            if any(symbol in term.factor.free_symbols for term in self.terms)
        }

        def function(params: Any, **values: Any) -> Any:
            missing = sorted(needed - set(values))
            if missing:
                raise TypeError(f"this expression also needs {', '.join(missing)}")
            numbers = [values.get(name, 0.0) if name in needed else 1.0 for name in self.settings]
            arrays = {k: v for k, v in values.items() if k not in needed}
            total = sum(
                factor(*numbers) * term.numbers(params, arrays)
                for factor, term in zip(factors, self.terms, strict=True)
            )
            return self.layout.arrange_numbers(total)

        return function
