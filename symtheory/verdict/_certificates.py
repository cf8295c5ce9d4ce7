"""Certificates: what a proof rests on, as data."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Any

from symtheory.errors import ProofError


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What a proof rests on. Only the classes below are certificates.

    Attributes:
        how: The method, in words.
    """

    how: str

    def __post_init__(self) -> None:
        if type(self) is Certificate:
            raise ProofError(
                "Certificate says nothing by itself; use NormalForm, Enclosure, Derivation, "
                "RankBound, Moments, Identity or Cited"
            )
        if not self.how.strip():
            raise ProofError(f"a {type(self).__name__} needs to say how: it was given no text")

    def to_json(self) -> dict[str, Any]:
        """Return the certificate as JSON-ready data, its kind first."""
        out: dict[str, Any] = {"kind": type(self).__name__}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and value != ():
                out[field.name] = jsonable(value)
        return out


@dataclasses.dataclass(frozen=True)
class NormalForm(Certificate):
    """An expression of an exact ring whose normal form is 0 (or the one that was claimed).

    Attributes:
        ring: The ring, such as "Q(theta, z)".
        form: The normal form.

    >>> NormalForm("exact arithmetic", ring="Q").to_json()
    {'kind': 'NormalForm', 'how': 'exact arithmetic', 'ring': 'Q', 'form': '0'}
    """

    ring: str = ""
    form: str = "0"


@dataclasses.dataclass(frozen=True)
class Enclosure(Certificate):
    """A number enclosed by rigorous bounds.

    Attributes:
        lower: A bound from below, as a number or as text; None where only a sign was decided.
        upper: A bound from above.
    """

    lower: Any = None
    upper: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lower is not None and self.upper is not None and not self.lower <= self.upper:
            raise ProofError(
                f"an Enclosure needs lower <= upper, got {self.lower} and {self.upper}"
            )


@dataclasses.dataclass(frozen=True)
class Derivation(Certificate):
    """Rules that were applied to every operation of a program, or steps of an argument.

    Attributes:
        steps: The rules or steps, in order.
    """

    steps: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class RankBound(Certificate):
    """A dimension bounded from both sides, where the two bounds meet.

    Attributes:
        lower: What was constructed.
        upper: What a rank leaves.

    >>> RankBound("ranks", lower=1, upper=2)
    Traceback (most recent call last):
    symtheory.errors.ProofError: the bounds of a RankBound have to meet, got 1 and 2; ...
    """

    lower: int = -1
    upper: int = -2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lower != self.upper or self.lower < 0:
            raise ProofError(
                f"the bounds of a RankBound have to meet, got {self.lower} and {self.upper}; "
                "where they do not, the status is inconclusive"
            )


@dataclasses.dataclass(frozen=True)
class Moments(Certificate):
    """Expectations in closed form, by Wick pairing (Isserlis' theorem) or averages over all rows.

    Attributes:
        laws: The laws whose moments were used, in words.
    """

    laws: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Identity(Certificate):
    """An identity of tensors in index normal form, whatever the sizes.

    Attributes:
        sizes: The names of the sizes.
    """

    sizes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Cited(Certificate):
    """A theorem taken from elsewhere, applied where its assumptions hold.

    Attributes:
        source: The theorem.
    """

    source: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.source.strip():
            raise ProofError("a Cited certificate needs the source of the theorem")


@dataclasses.dataclass(frozen=True)
class Conjunction(Certificate):
    """All of some proved parts. Made by `conjunction`.

    Attributes:
        parts: The claims of the parts.
    """

    parts: tuple[str, ...] = ()


def jsonable(value: Any) -> Any:
    """Return `value` as data that JSON can hold (numbers, text, lists, dictionaries).

    Infinite and undefined floats have no JSON form and become the texts "inf", "-inf", "nan".

    >>> jsonable({"a": (1, float("inf"))})
    {'a': [1, 'inf']}
    """
    if value is None or isinstance(value, (bool, int, str)):
        return str(value) if isinstance(value, enum.Enum) else value
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return str(value)
