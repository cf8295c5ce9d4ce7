"""A figure that is there, or why it is not."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import symtheory as st
from figures._spec import Numbers, Spec


@dataclasses.dataclass(frozen=True)
class Made:
    """A figure that is there.

    Attributes:
        id: Which figure.
        title: What it shows.
        caption: What to see in it.
        files: The pictures, PDF and PNG.
        numbers: The table beside it.
        seconds: Time that computing the data took, in the run that finished them.
        cached: Whether the data were there already.
        spec: What it was made from.
        warnings: What was out of the ordinary.
        problem: Why it could not be made; there are no files and no numbers then.
    """

    id: str
    title: str
    caption: str
    files: tuple[pathlib.Path, ...]
    numbers: Numbers
    seconds: float
    cached: bool
    spec: Spec
    warnings: tuple[str, ...] = ()
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the figure with the keys that other programs read."""
        return {
            "id": self.id,
            "title": self.title,
            "status": "inconclusive" if self.problem else str(self.numbers.status),
            "problem": self.problem,
            "files": [str(path) for path in self.files],
            "seconds": round(self.seconds, 1),
            "cached": self.cached,
            **self.numbers.to_json(),
        }


def conclusion(made: list[Made]) -> st.Status:
    """Return whether everything that must hold in these figures does."""
    parts = [verdict for one in made for verdict in one.numbers.theory]
    parts += [
        st.Verdict(st.Status.INCONCLUSIVE, f"{one.id} could not be made", how=one.problem)
        for one in made
        if one.problem
    ]
    return st.conjunction("the figures agree with theory", parts).status
