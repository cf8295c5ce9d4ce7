"""Symbols of derived formulas by name, so that formulas can be written down beside them."""

from __future__ import annotations

from typing import Any

import sympy


class Symbols(dict[str, sympy.Symbol]):
    """The symbols that occur in expressions, by name; a name that does not occur gets its own.

    >>> x = sympy.Symbol("x", positive=True)
    >>> names = Symbols(x**2)
    >>> names["x"] is x, names["y"]
    (True, y)
    """

    def __init__(self, *expressions: Any) -> None:
        super().__init__()
        for expression in expressions:
            self.update({str(symbol): symbol for symbol in expression.free_symbols})

    def __missing__(self, name: str) -> sympy.Symbol:
        return self.setdefault(name, sympy.Symbol(name))
