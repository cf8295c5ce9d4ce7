"""Families of reflections, and the maps of units they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from symtheory.symmetry.mirrors._reflection import Reflection
from symtheory.verdict import Verdict


@dataclasses.dataclass(frozen=True, eq=False)
class FoundReflections:
    """Reflections of one kind.

    Attributes:
        name: What they do.
        kind: "swap", "flip", "signed swap" (two units are exchanged and change sign),
            "rotation" (along every direction of the units) or "exchange".
        rank: Rank P of each: the parameters that are lost at a symmetric point.
        count: How many there are (of a rotation family: as many as units, up to rotation).
        leaves: The parameters they move.
        reflection: One of them.
        verdict: Whether they are proved.
        axes: The axes that index the units, as (leaf number, axis); none for an exchange.
        signed: Those of the axes along which a signed swap changes signs.
    """

    name: str
    kind: str
    rank: int
    count: int
    leaves: tuple[str, ...]
    reflection: Reflection
    verdict: Verdict
    axes: tuple[tuple[int, int], ...] = ()
    signed: tuple[tuple[int, int], ...] = ()

    def moves_rows(self, shapes: Sequence[tuple[int, ...]]) -> bool:
        """Tell whether the members act alike on all units, each along one axis of a leaf.

        Args:
            shapes: The shapes of the leaves.
        """
        if not self.axes or len(dict(self.axes)) < len(self.axes):
            return False
        leaf, axis = self.axes[0]
        units = (shapes[leaf] or (1,))[axis]
        pairs = units * (units - 1) // 2
        members = {"flip": units, "swap": pairs, "signed swap": pairs}
        return self.kind == "rotation" or self.count == members.get(self.kind)

    def to_json(self) -> dict[str, Any]:
        """Return the family as JSON-ready data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "rank": self.rank,
            "count": self.count,
            "leaves": list(self.leaves),
            "status": str(self.verdict.status),
            "how": self.verdict.how,
        }


class Reflections(tuple[FoundReflections, ...]):
    """The families found.

    Attributes:
        unfinished: Why the search ended early; empty if it did not.
    """

    unfinished: str

    def __new__(cls, found: Iterable[FoundReflections], unfinished: str = "") -> Reflections:
        """Return families with the reason why there may be more."""
        out = super().__new__(cls, tuple(found))
        out.unfinished = unfinished
        return out

    def to_json(self) -> dict[str, Any]:
        """Return the families, and whether the search came to its end, as JSON-ready data."""
        return {"found": [item.to_json() for item in self], "unfinished": self.unfinished}


def flip_of(size: int, unit: int) -> np.ndarray:
    """Return the map that changes the sign of one unit."""
    out = np.eye(size)
    out[unit, unit] = -1
    return out


def on_axis(numpy: Any, array: Any, matrix: np.ndarray, axis: int) -> Any:
    """Apply a matrix along an axis; permutations and signs by moving entries only."""
    if array.ndim <= axis:
        return array * matrix[0, 0]
    order = np.argmax(np.abs(matrix), axis=1)
    signs = matrix[np.arange(len(matrix)), order]
    if np.count_nonzero(matrix) == len(matrix) and np.all(np.abs(signs) == 1):
        shape = [-1 if i == axis else 1 for i in range(array.ndim)]
        return numpy.take(array, order, axis=axis) * signs.reshape(shape)
    return numpy.moveaxis(numpy.tensordot(matrix, array, axes=(1, axis)), 0, axis)
