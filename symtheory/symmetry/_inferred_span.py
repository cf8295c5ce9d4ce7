"""Is a given linear or affine generator a combination of those that were inferred?"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from symtheory.linear_algebra._exact import Row, Span
from symtheory.model import Model
from symtheory.symmetry._generator import Generator
from symtheory.symmetry._structural import structural

INFERRED = "the rules of the inference follow it through every operation of the loss"
_LARGEST = 400
"""Parameters up to which the inferred generators are listed."""
_MOST = 4000
"""Generators up to which they are listed."""

_KNOWN: weakref.WeakKeyDictionary[Model, Span] = weakref.WeakKeyDictionary()


def is_inferred(
    model: Model,
    matrix: Mapping[tuple[int, int], Any],
    shift: Mapping[int, Any],
) -> bool:
    """Tell whether theta -> A theta + b is in the span of the inferred generators, exactly.

    "Yes" is a derivation: for all parameters and all samples the value of the loss does not change
    along the field, and the gradient that JAX takes is that of the value. "No" says nothing.

    Args:
        model: A model with all sizes bound.
        matrix: Rational entries of A that are not zero, by (row, column).
        shift: Rational entries of b that are not zero, by row.
    """
    span = _span(model)
    if not len(span):
        return False
    return not span.reduce(_row(matrix, shift))[0]


def family_is_inferred(model: Model, generator: Generator) -> bool:
    """Tell whether every member of a family of generators is in the span of the inferred ones."""
    members = _members(generator)
    return bool(members) and all(is_inferred(model, *member) for member in members)


def _row(matrix: Mapping[tuple[int, int], Any], shift: Mapping[int, Any]) -> Row:
    return {**{place: Fraction(x) for place, x in matrix.items() if x},
            **{(place, -1): Fraction(x) for place, x in shift.items() if x}}  # fmt: skip


def _span(model: Model) -> Span:
    if model not in _KNOWN:
        span = Span()
        found = structural(model).inferred
        counts = found.counts if found is not None and found.differentiable else None
        few = counts is not None and counts.total + counts.affine <= _MOST
        if found is not None and few and model.dimension <= _LARGEST:
            for item in found.generators():
                matrix: dict[tuple[int, int], Fraction] = {}
                places = zip(item.rows.tolist(), item.columns.tolist(), item.values, strict=True)
                for i, j, value in places:
                    matrix[i, j] = matrix.get((i, j), Fraction(0)) + value
                shift: dict[int, Fraction] = {}
                for i, value in zip(item.shift_rows.tolist(), item.shift_values, strict=True):
                    shift[i] = shift.get(i, Fraction(0)) + value
                span.add(_row(matrix, shift))
        _KNOWN[model] = span
    return _KNOWN[model]


def _members(generator: Generator) -> list[tuple[dict[tuple[int, int], Any], dict[int, Any]]]:
    """Return (A, b) of every member of a basis of the family."""
    ring = generator.symbols.ring
    family = [ring.names[text] for text in generator.symbols.of_kind("family")]

    def rational(entry: Any, chosen: int | None) -> Fraction:
        total = Fraction(0)
        for exponents, coefficient in entry.numerator.to_dict().items():
            if chosen is None or exponents[chosen]:
                total += Fraction(int(coefficient.p), int(coefficient.q))
        return total

    entries = [*generator.matrix.values(), *generator.shift.values()]
    if any(entry.denominator is not None for entry in entries):
        return []
    return [
        (
            {place: rational(entry, chosen) for place, entry in generator.matrix.items()},
            {place: rational(entry, chosen) for place, entry in generator.shift.items()},
        )
        for chosen in family or [None]
    ]
