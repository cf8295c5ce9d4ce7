"""How the components of a law over a family of generators are arranged for a reader."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy

from symtheory.domains import Element, Symbols
from symtheory.symmetry import Exponential, Family


@dataclasses.dataclass(frozen=True)
class Layout:
    """Basis of a family, one component of a linear quantity X(B) per free entry of B.

    For one family of matrices the components are shown as the matrix X with X(B) = Tr[B^T X], for
    one family of vectors as the vector with X(a) = a . X, otherwise one after the other.

    Attributes:
        texts: Ring names of the family's free entries; empty for a single generator.
        places: Their positions in the family's array.
        shape: Shape of the family's array (() for a single generator).
        symmetric: Whether the family consists of symmetric matrices.
    """

    texts: tuple[str, ...] = ()
    places: tuple[tuple[int, ...], ...] = ()
    shape: tuple[int, ...] = ()
    symmetric: bool = False

    @property
    def count(self) -> int:
        """Number of components."""
        return max(len(self.texts), 1)

    def components(self, element: Element) -> list[Element]:
        """Return the components of an element linear in the family's entries."""
        if not self.texts:
            return [element]
        ring = element.ring
        split: dict[int, dict[tuple[int, ...], Any]] = {ring.names[t]: {} for t in self.texts}
        for exponents, coefficient in element.numerator.to_dict().items():
            index = next(i for i in split if i < len(exponents) and exponents[i])
            rest = (*exponents[:index], 0, *exponents[index + 1 :])
            split[index][rest] = coefficient
        out = [ring.from_terms(terms) for terms in split.values()]
        if element.denominator is None:
            return out
        below = Element(ring, element.denominator)
        return [part / below for part in out]

    def arrange(self, components: list[Any]) -> Any:
        """Return SymPy components as a scalar or a matrix (a column for vectors)."""
        if not self.texts:
            return components[0]
        if len(self.shape) == 2:
            matrix = sympy.zeros(*self.shape)
            for (i, j), value in zip(self.places, components, strict=True):
                matrix[i, j] = value / 2 if self.symmetric and i != j else value
                if self.symmetric:
                    matrix[j, i] = matrix[i, j]
            return sympy.ImmutableMatrix(matrix)
        return sympy.ImmutableMatrix(components)

    def arrange_numbers(self, components: Any) -> Any:
        """Return numbers (component axis first) in the family's shape."""
        if not self.texts:
            return components[0]
        if len(self.shape) != 2:
            return components
        out = jnp.zeros(self.shape, components.dtype)
        for k, (i, j) in enumerate(self.places):
            half = 0.5 if self.symmetric and i != j else 1.0
            out = out.at[i, j].set(half * components[k])
            if self.symmetric:
                out = out.at[j, i].set(half * components[k])
        return out

    def basis(self) -> np.ndarray:
        """Return the basis members, stacked: shape (count, *shape)."""
        out = np.zeros((self.count, *self.shape))
        for k, place in enumerate(self.places):
            out[(k, *place)] = 1.0
            if self.symmetric:
                out[(k, *place[::-1])] = 1.0
        return out


def layout_of(symmetry: Exponential, symbols: Symbols) -> Layout:
    """Return the layout of a symmetry's family, given symbols that hold its entries."""
    family: dict[str, Family] = dict(symmetry.family or {})
    if not family:
        return Layout()
    labels = symbols.of_kind("family")
    texts = tuple(labels)
    if len(family) > 1:
        return Layout(texts, tuple((k,) for k in range(len(texts))), (len(texts),))
    places = tuple(label.index for label in labels.values())
    shape = tuple(1 + max(axis) for axis in zip(*places, strict=True))
    return Layout(texts, places, shape, next(iter(family.values())).symmetric)
