"""What can become of a claim."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Status(enum.StrEnum):
    """What became of a claim.

    `proved` comes only from `prove` and `conjunction`: exact arithmetic, a rigorous enclosure or a
    sound derivation, and a recheck in floats. `supported` and `refuted` may also come from
    statistics with a stated margin.

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


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst status among some; `not_applicable` where no other occurs.

    >>> str(worst([Status.PROVED, Status.SUPPORTED, Status.NOT_APPLICABLE]))
    'supported'
    """
    present = set(statuses)
    return next((s for s in _WORST_FIRST if s in present), Status.NOT_APPLICABLE)
