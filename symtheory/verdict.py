"""The one currency for answers: a claim, what became of it, and how that was established."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable, Mapping
from typing import Any


class Status(enum.StrEnum):
    """What became of a claim.

    `proved` is only ever set by exact arithmetic or a rigorous enclosure; `supported` and
    `refuted` may also come from statistics with a stated margin.

    >>> Status.PROVED.holds, Status.REFUTED.holds, str(Status.INCONCLUSIVE)
    (True, False, 'inconclusive')
    """

    PROVED = "proved"
    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"

    @property
    def holds(self) -> bool:
        """Whether the claim may be relied on."""
        return self in (Status.PROVED, Status.SUPPORTED)


# A conjunction is only as good as its worst part; what does not apply says nothing.
_WORST_FIRST = (Status.REFUTED, Status.INCONCLUSIVE, Status.SUPPORTED, Status.PROVED)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A claim together with its status and the evidence for it.

    Attributes:
        status: One of the five `Status` values.
        claim: The statement, in words.
        how: How the status was established (method, sample sizes, precision).
        predicted: What theory says (a number or text), if the claim compares two things.
        measured: What was found.
        standard_error: Standard error of `measured`.
        margin: Half-width of the equivalence interval around `predicted`.
        detectable: The smallest deviation that the measurement would have refuted.
        effect: The size of what the claim is about, to read `detectable` by.
        residual: What is left of an identity (exactly 0 when proved).
        witness: A point at which the claim fails, when it is refuted by one.
        assumptions: What the claim presupposes.
        reference: Where the statement comes from (paper and section).
        parts: The verdicts this one rests on.

    >>> Verdict(Status.PROVED, "1 + 1 = 2", how="exact arithmetic").status.holds
    True
    """

    status: Status
    claim: str
    how: str = ""
    predicted: Any = None
    measured: Any = None
    standard_error: float | None = None
    margin: float | None = None
    detectable: float | None = None
    effect: float | None = None
    residual: Any = None
    witness: Mapping[str, Any] | None = None
    assumptions: tuple[str, ...] = ()
    reference: str = ""
    parts: tuple[Verdict, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready data, leaving out what is not set."""
        out: dict[str, Any] = {"status": str(self.status), "claim": self.claim}
        for field in dataclasses.fields(self)[2:]:
            value = getattr(self, field.name)
            if value is None or (isinstance(value, (str, tuple)) and not value):
                continue
            parts = [part.to_json() for part in self.parts]
            out[field.name] = parts if field.name == "parts" else jsonable(value)
        return out

    def __str__(self) -> str:
        text = f"{self.status}: {self.claim}"
        text = f"{text} [{self.how}]" if self.how else text
        return text if self.witness is None else f"{text} at {dict(self.witness)}"


def conjunction(claim: str, parts: Iterable[Verdict], **fields: Any) -> Verdict:
    """Return the verdict on "all of `parts` hold".

    The status is the worst among the parts: refuted, inconclusive, supported, proved; parts that
    are not applicable are passed over, and with none left neither is the conjunction.

    >>> a = Verdict(Status.PROVED, "a"); b = Verdict(Status.SUPPORTED, "b")
    >>> str(conjunction("a and b", [a, b]).status)
    'supported'
    """
    parts = tuple(parts)
    present = {part.status for part in parts}
    status = next((s for s in _WORST_FIRST if s in present), Status.NOT_APPLICABLE)
    return Verdict(status, claim, parts=parts, **fields)


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
