"""The domain *residues*: values mod a large prime, for fast exact refutation and for ranks."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from flint import nmod

from symtheory.domains._arrays import ArrayDomain, Scalar
from symtheory.errors import UnreadableError

PRIME = 2**61 - 1
"""A prime below 2^64; a rational identity that fails mod it is false."""

_EXPONENT_LIMIT = 64


class ResidueNumbers(ArrayDomain):
    """Arrays of residues: rational losses at random points, exactly and at machine speed."""

    name = "residues"

    def scalar(self, value: Fraction) -> nmod:
        """Return a rational number mod the prime."""
        return nmod(value.numerator, PRIME) / nmod(value.denominator, PRIME)

    def infinite(self, value: float) -> Any:
        """Refuse infinite numbers, which no residue stands for."""
        raise UnreadableError(f"the residues domain cannot read the value {value}")

    def as_rational(self, value: Any) -> Fraction | None:
        """Return an exponent: residues of small integers stand for those."""
        number = int(value)
        number = number - PRIME if number > PRIME // 2 else number
        return Fraction(number) if abs(number) <= _EXPONENT_LIMIT else None

    def functions(self) -> Mapping[str, Scalar]:
        """Residues have no order and no transcendental functions."""

        def order(*_: Any) -> Any:
            raise UnreadableError(
                "the residues domain cannot compare values; read the loss in the polynomials or "
                "balls domain"
            )

        return dict.fromkeys(("max", "min", "gt", "abs", "sign", "select"), order) | {"eq": _equal}


def _equal(a: nmod, b: nmod) -> bool:
    return bool(a == b)
