"""Exact expectations over the sample: Isserlis' theorem through the polynomial domain."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from symtheory import shapes
from symtheory.data import Law
from symtheory.domains import Element, Symbols
from symtheory.errors import UnreadableError
from symtheory.model import Model
from symtheory.symmetry._arguments import law_names

Powers = tuple[int, ...]
Split = dict[Powers, Element]


class Moments:
    """Expectation over the random arrays of a model, of ring elements polynomial in them.

    Named covariances and means that are not bound become symbols of the kind "moment".

    Args:
        model: A model with all sizes bound.
        symbols: The symbols, of which those of kind "sample" are the random ones.
    """

    def __init__(self, model: Model, symbols: Symbols) -> None:
        self.ring = symbols.ring
        self._symbols = symbols
        self._laws: list[tuple[Law, list[int]]] = []
        self._symmetric: dict[str, bool] = {}
        self._arrays: dict[str, shapes.Shape] = {}
        sample = model.structure()[1]
        placed = list(zip(law_names(model), shapes.leaves(sample), strict=True))
        for name, law in model.laws.items():
            indices = []
            for owner, (path, shape) in placed:
                if owner != name:
                    continue
                symbols.array("sample", path, shapes.fixed(shape), generic=law.has_density)
                indices += [
                    self.ring.names[text]
                    for text, label in symbols.of_kind("sample").items()
                    if label.name == path
                ]
            self._laws.append((law, indices))
            for array_name, shape in law.arrays.items():
                self._arrays[array_name] = shape
                cov = getattr(law, "cov", None)
                self._symmetric[array_name] = isinstance(cov, str) and cov == array_name
        self._order = [i for _, indices in self._laws for i in indices]
        self._random = frozenset(i for _, indices in self._laws for i in indices)
        self._cache: dict[tuple[int, ...], Any] = {}

    def _lookup(self, name: str) -> np.ndarray:
        return self._symbols.array(
            "moment", name, shapes.fixed(self._arrays[name]), symmetric=self._symmetric[name]
        )

    def split(self, element: Element) -> Split:
        """Return the coefficients of an element by powers of the random entries.

        Raises:
            UnreadableError: The sample occurs in a denominator or inside a function.
        """
        self._check_polynomial(element)
        groups: dict[Powers, dict[tuple[int, ...], Any]] = {}
        for exponents, coefficient in element.numerator.to_dict().items():
            width = len(exponents)
            powers = tuple(int(exponents[i]) if i < width else 0 for i in self._order)
            rest = list(exponents)
            for i in self._order:
                if i < width:
                    rest[i] = 0
            groups.setdefault(powers, {})[tuple(rest)] = coefficient
        out = {powers: self.ring.from_terms(terms) for powers, terms in groups.items()}
        if element.denominator is not None:
            below = Element(self.ring, element.denominator)
            out = {powers: part / below for powers, part in out.items()}
        return out

    def expect(self, element: Element) -> Element:
        """Return the expectation of an element that is polynomial in the sample."""
        return self.expect_split(self.split(element))

    def expect_split(self, split: Split) -> Element:
        """Return the expectation of an element given by its `split`."""
        total = self.ring.constant(0)
        for powers, coefficient in split.items():
            moment = self._moment(powers)
            if not (isinstance(moment, Fraction) and moment == 0):
                total = total + coefficient * moment
        return total

    def _moment(self, powers: tuple[int, ...]) -> Any:
        if powers not in self._cache:
            out: Any = Fraction(1)
            start = 0
            for law, indices in self._laws:
                part = powers[start : start + len(indices)]
                start += len(indices)
                if any(part):
                    out = law.moment(part, self._lookup) * out
            self._cache[powers] = out
        return self._cache[powers]

    def _check_polynomial(self, element: Element) -> None:
        if element.denominator is not None and self._occurs(element.denominator):
            raise UnreadableError("the sample occurs in a denominator")
        for index, kernel in self.ring.kernels.items():
            if _involves(element, index) and self._depends(kernel.argument):
                raise UnreadableError(f"the sample occurs inside {kernel.function}")

    def _depends(self, element: Element) -> bool:
        if self._occurs(element.numerator) or self._occurs(element.denominator):
            return True
        return any(
            _involves(element, index) and self._depends(kernel.argument)
            for index, kernel in self.ring.kernels.items()
        )

    def _occurs(self, poly: Any) -> bool:
        if poly is None:
            return False
        degrees = poly.degrees()
        return any(i < len(degrees) and degrees[i] for i in self._random)


def _involves(element: Element, index: int) -> bool:
    """Tell whether a generator occurs above or below the fraction line."""
    polys = (element.numerator, element.denominator)
    degrees = [() if poly is None else poly.degrees() for poly in polys]
    return any(index < len(degree) and degree[index] > 0 for degree in degrees)
