"""The Lie algebra of what was found: closure, symmetric and antisymmetric part, centre; exact."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from fractions import Fraction

from symtheory.linear_algebra._exact import Number, Row, Span, null_space, plain
from symtheory.symmetry.discovery._proof import Field
from symtheory.verdict import Status, Verdict

LARGEST_ALGEBRA = 160
"""Generators up to which brackets are computed."""


@dataclasses.dataclass(frozen=True)
class Structure:
    """The span of the linear generators as a Lie algebra.

    Attributes:
        closure: Whether brackets of generators are combinations of generators, exactly.
        symmetric: A basis of the symmetric matrices in the span (these carry charges).
        antisymmetric: A basis of the antisymmetric ones (rotations).
        centre: A basis of those that commute with all, as coefficients; None if not computed.
    """

    closure: Verdict
    symmetric: list[Field]
    antisymmetric: list[Field]
    centre: list[Row] | None


def structure(fields: Sequence[Field]) -> Structure:
    """Return the structure of the span of linear fields.

    >>> half = Field({(0, 0): Fraction(1), (1, 1): Fraction(-1)})
    >>> found = structure([half])
    >>> str(found.closure.status), len(found.symmetric), len(found.antisymmetric)
    ('proved', 1, 0)
    """
    symmetric = symmetric_part(fields)
    antisymmetric = [combination(fields, row) for row in _reflected(fields, -1)]
    closure, constants = _brackets(fields)
    if constants is None:
        return Structure(closure, symmetric, antisymmetric, None)
    rows: dict[Hashable, Row] = {}
    for (k, l), bracket in constants.items():
        for m, value in bracket.items():
            rows.setdefault((l, m), {})[k] = value
            rows.setdefault((k, m), {})[l] = -value
    return Structure(closure, symmetric, antisymmetric, null_space(rows.values(), len(fields)))


def symmetric_part(fields: Sequence[Field]) -> list[Field]:
    """Return a basis of the symmetric matrices in the span of linear fields."""
    return [combination(fields, row) for row in _reflected(fields, 1)]


def combination(fields: Sequence[Field], row: Row) -> Field:
    """Return a linear combination of fields."""
    out: Row = {}
    for k, factor in row.items():
        for place, value in fields[k].matrix.items():
            out[place] = out.get(place, 0) + factor * value
    return Field({place: Fraction(value) for place, value in sorted(out.items()) if value})


def bracket(a: Row, b: Row) -> Row:
    """Return the commutator A B - B A."""
    out: Row = {}
    for left, right, sign in ((a, b, 1), (b, a, -1)):
        by_row: dict[int, list[tuple[int, Number]]] = {}
        for (k, j), value in right.items():
            by_row.setdefault(k, []).append((j, value))
        for (i, k), value in left.items():
            for j, other in by_row.get(k, ()):
                out[i, j] = out.get((i, j), 0) + sign * value * other
    return {place: value for place, value in out.items() if value}


def _reflected(fields: Sequence[Field], sign: int) -> list[Row]:
    """Return the combinations with A = sign A^T."""
    rows: dict[tuple[int, int], Row] = {}
    for k, field in enumerate(fields):
        for (i, j), value in plain(field.matrix).items():
            for place, part in (((i, j), value), ((j, i), -sign * value)):
                row = rows.setdefault(place, {})
                row[k] = row.get(k, 0) + part
    return null_space(rows.values(), len(fields))


def _brackets(
    fields: Sequence[Field],
) -> tuple[Verdict, dict[tuple[int, int], Row] | None]:
    claim = "the generators found form a Lie algebra: brackets are combinations of them"
    if len(fields) > LARGEST_ALGEBRA:
        how = f"{len(fields)} generators; brackets are computed for up to {LARGEST_ALGEBRA}"
        return Verdict(Status.NOT_APPLICABLE, claim, how=how), None
    span = Span()
    matrices = [plain(field.matrix) for field in fields]
    for k, matrix in enumerate(matrices):
        span.add(matrix, {k: 1})
    constants: dict[tuple[int, int], Row] = {}
    for k, a in enumerate(matrices):
        for l in range(k):
            product = bracket(a, matrices[l])
            if not product:
                continue
            rest, used = span.reduce(product)
            if rest:
                how = f"the bracket of generators {l + 1} and {k + 1} is not in their span"
                return Verdict(Status.REFUTED, claim, how=how), None
            constants[k, l] = {m: -value for m, value in used.items() if value}
    return Verdict(Status.PROVED, claim, how="exact rational arithmetic", residual=0), constants
