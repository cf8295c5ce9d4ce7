"""Arrays of ring symbols, and the way out: ring elements as SymPy expressions.

Names given by users are data. A ring symbol is known by its kind, its array's name and its index;
SymPy symbols are made from that directly and never pass through a parser, so `e`, `I`, `S`, `N`,
`beta` or `lambda` are names like any other.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from symtheory.domains.ring._element import Element
from symtheory.domains.ring._ring import Ring

if TYPE_CHECKING:
    import sympy

_GENERIC = frozenset({"param", "family"})


@dataclasses.dataclass(frozen=True)
class Label:
    """What a ring symbol stands for: an entry (counted from 0) of a named array of some kind."""

    kind: str
    name: str
    index: tuple[int, ...]

    @property
    def text(self) -> str:
        """The ring's name for it."""
        return f"{self.kind}|{self.name}|{','.join(map(str, self.index))}"


class Symbols:
    """Creates arrays of symbols in a ring and remembers what each stands for.

    >>> symbols = Symbols(Ring())
    >>> u = symbols.array("param", "lambda", (2,))
    >>> symbols.to_sympy(u[0] * u[0] - u[1])
    lambda_1**2 - lambda_2
    """

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.labels: dict[str, Label] = {}
        self._shapes: dict[tuple[str, str], tuple[int, ...]] = {}
        self._sympy: dict[str, sympy.Symbol] = {}
        self._taken: set[str] = set()

    def array(
        self,
        kind: str,
        name: str,
        shape: tuple[int, ...],
        symmetric: bool = False,
        generic: bool = False,
    ) -> np.ndarray:
        """Return the array of symbols of that kind and name, creating it if it is new.

        Args:
            kind: "param", "sample", "constant", "moment" or "family".
            name: The user's name of the array.
            shape: Its shape.
            symmetric: Entries (i, j) and (j, i) of a matrix are one symbol.
            generic: The entries have a joint density given all other symbols, so that null sets of
                them can be left out. Parameters and members of a family always have one (a claim
                is for almost all of them); samples, constants and moments only where this is given.
        """
        self._shapes[kind, name] = shape
        out = np.empty(shape, dtype=object)
        for index in np.ndindex(shape):
            place = tuple(sorted(index)) if symmetric else index
            label = Label(kind, name, place)
            self.labels[label.text] = label
            out[index] = self.ring.symbol(label.text)
            if not (generic or kind in _GENERIC):
                self.ring.mark_atomic(label.text)
        return out

    def of_kind(self, kind: str) -> dict[str, Label]:
        """Return the labels of one kind, by ring name."""
        return {text: label for text, label in self.labels.items() if label.kind == kind}

    # --- the way out ---

    def sympy_symbol(self, text: str) -> sympy.Symbol:
        """Return the SymPy symbol of a ring symbol: U_12 for entry (1, 2) of U, counted from 1."""
        import sympy  # not where nothing is printed

        if text not in self._sympy:
            label = self.labels[text]
            shape = self._shapes[label.kind, label.name]
            digits = [str(i + 1) for i in label.index]
            joined = "".join(digits) if max(shape, default=0) < 10 else "_".join(digits)
            base = label.name.replace(".", "_") or label.kind
            name = f"{base}_{joined}" if digits else base
            while name in self._taken:  # U_1 with entry 1 against U with entry (1, 1), say
                name += "'"
            self._taken.add(name)
            self._sympy[text] = sympy.Symbol(name, real=True)
        return self._sympy[text]

    def to_sympy(self, element: Element | Any) -> sympy.Expr:
        """Return a ring element as a SymPy expression, term by term (nothing is simplified)."""
        import sympy

        if not isinstance(element, Element):
            return sympy.sympify(element)
        by_index = {index: text for text, index in self.ring.names.items()}
        cache: dict[int, sympy.Expr] = {}

        def generator(index: int) -> sympy.Expr:
            if index not in cache:
                kernel = self.ring.kernels.get(index)
                if kernel is None:
                    cache[index] = self.sympy_symbol(by_index[index])
                else:
                    cache[index] = _function(kernel.function)(self.to_sympy(kernel.argument))
            return cache[index]

        def polynomial(poly: Any) -> sympy.Expr:
            terms = []
            for exponents, coefficient in poly.to_dict().items():
                number = sympy.Rational(int(coefficient.p), int(coefficient.q))
                factors = [generator(i) ** int(n) for i, n in enumerate(exponents) if n]
                terms.append(sympy.Mul(number, *factors))
            return sympy.Add(*terms)

        top = polynomial(element.numerator)
        return top if element.denominator is None else top / polynomial(element.denominator)


def _function(name: str) -> Any:
    import sympy

    from symtheory.domains._expressions import FUNCTIONS_OF_SYMPY, step

    special = {
        "positive": step,
        "reciprocal": lambda x: 1 / x,
        "vanishing": lambda x: sympy.Piecewise((1, sympy.Eq(x, 0)), (0, True)),
    }
    if name.startswith("root"):
        return lambda x: x ** sympy.Rational(1, int(name.removeprefix("root")))
    return special.get(name) or FUNCTIONS_OF_SYMPY[name]
