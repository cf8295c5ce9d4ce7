"""What a count of conservation laws returns, and the laws as text."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from symtheory import shapes
from symtheory.model import Model
from symtheory.symmetry.conservation._charges import AxisGenerator
from symtheory.verdict import Status, Verdict


@dataclasses.dataclass(frozen=True)
class ConservationLaws:
    """How many independent functions of the parameters training conserves, whatever the data.

    Attributes:
        lower: Rank of the differentials of proved laws.
        upper: Dimension of the space minus a rank of the Lie algebra of the fields.
        laws: The proved laws, as text.
        verdict: Proved where both bounds meet.
    """

    lower: int
    upper: int
    laws: tuple[str, ...]
    verdict: Verdict

    @property
    def status(self) -> Status:
        """Whether the count is proved."""
        return self.verdict.status

    def to_json(self) -> dict[str, Any]:
        """Return bounds, status and laws as JSON-ready data."""
        return {
            "lower": self.lower,
            "upper": self.upper,
            "status": str(self.status),
            "laws": list(self.laws),
            "how": self.verdict.how,
        }


def law_text(generator: AxisGenerator, names: list[str]) -> str:
    """Write theta^T A theta (or e^{tau t} v^T A theta) as a sum of traces over leaves."""
    terms = []
    for (leaf, axis), part in generator.parts.items():
        for i, j in zip(*np.nonzero(part), strict=True):
            if i <= j:
                number = int(part[i, j]) * (1 if i == j or generator.antisymmetric else 2)
                left, right = (f"{names[leaf] or 'theta'}[axis {axis}: {k + 1}]" for k in (i, j))
                pair = f"|{left}|^2" if i == j else f"<{left}, {right}>"
                if generator.antisymmetric:
                    pair = f"e^(tau t) (<v_{left}, {right}> - <v_{right}, {left}>)"
                terms.append(f"{number:+d} {pair}")
    return " ".join(terms)


def linear_law_text(vector: np.ndarray, model: Model, momentum: bool) -> str:
    """Write b . theta (or e^{tau t} b . v and b . (v + tau theta)) as a sum over entries."""
    entries = [
        f"{name or 'theta'}[{', '.join(str(i + 1) for i in index)}]"
        for name, shape in model.leaves.items()
        for index in np.ndindex(shapes.fixed(shape))
    ]
    text = " ".join(f"{n:+d} {e}" for n, e in zip(vector, entries, strict=True) if n)
    return f"e^(tau t) v . b and (v + tau theta) . b, with b . theta = {text}" if momentum else text
