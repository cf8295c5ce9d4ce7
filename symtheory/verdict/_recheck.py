"""The recheck: a claim evaluated once more, in floats, by code that shares nothing with its proof.

Three outcomes: it agrees; it disagrees beyond rounding, at a witness; or neither can be said.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TOLERANCE = 1e-11
"""Relative differences up to this are rounding in double precision, whatever the program."""
FLAGRANT = 1e-3
"""Relative differences above this need no second precision to tell them from rounding."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What evaluating a claim gave.

    Attributes:
        agrees: True; False where it disagrees beyond rounding; None where neither can be said.
        how: What was evaluated, or what went wrong.
        witness: A point at which the claim fails.
        residual: What is left there of what should vanish.
        evaluated: At how many points something finite was compared.
        rechecked: False where nothing was evaluated, by design.
    """

    agrees: bool | None
    how: str
    witness: Mapping[str, Any] | None = None
    residual: float | None = None
    evaluated: int = 0
    rechecked: bool = True


class Claim(abc.ABC):
    """A statement that can be evaluated at points."""

    @abc.abstractmethod
    def test(self) -> Outcome:
        """Evaluate the claim."""


class Claims(abc.ABC):
    """Several statements that are evaluated together, which is cheaper."""

    @abc.abstractmethod
    def test_each(self) -> Sequence[Outcome]:
        """Evaluate every claim."""


@dataclasses.dataclass(frozen=True)
class Unchecked(Claim):
    """A statement of which nothing can be evaluated, by design; the reason goes into the verdict.

    >>> Unchecked("the model has shapes alone").test().rechecked
    False
    """

    reason: str

    def test(self) -> Outcome:
        """Return that nothing was evaluated, and why."""
        return Outcome(True, self.reason, rechecked=False)


@dataclasses.dataclass(frozen=True)
class All(Claim):
    """Several statements as one: the first that fails decides."""

    claims: tuple[Claim, ...]

    def test(self) -> Outcome:
        """Evaluate every claim, up to the first that fails."""
        return joined([claim.test() for claim in self.claims])


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of all of some claims: the first that disagrees, or cannot be told."""
    for bad in (False, None):
        for outcome in outcomes:
            if outcome.agrees is bad:
                return outcome
    if not outcomes:
        return Outcome(None, "nothing was evaluated")
    done = [o for o in outcomes if o.rechecked]
    how = "; ".join(dict.fromkeys(o.how for o in done or outcomes))
    return Outcome(True, how, evaluated=sum(o.evaluated for o in done), rechecked=bool(done))


def compare(left: Any, right: Any, *, what: str = "the two sides", scale: Any = 0.0) -> Outcome:
    """Compare two arrays of floats that were computed in different ways.

    Args:
        left: One side.
        right: The other; entries that are not finite in both are passed over.
        what: What is compared, for the text.
        scale: Size of the terms that may have cancelled in either.

    >>> compare(1.0, 1.0 + 1e-15).agrees, compare(1.0, 1.1).agrees, compare(1.0, 1 + 1e-8).agrees
    (True, False, None)
    >>> compare(float("nan"), 1.0).agrees is None
    True
    """
    x, y, s = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (left, right, scale)))
    finite = np.isfinite(x) & np.isfinite(y)
    # A side that is not a number where the other is one says nothing, and never that they agree.
    if not np.any(finite):
        return Outcome(None, f"{what}: nothing finite could be evaluated")
    size = np.maximum(np.maximum(np.abs(x), np.abs(y)), np.abs(s))
    size = np.where(finite, np.maximum(size, np.finfo(float).tiny), 1.0)
    gap = np.where(finite, np.abs(np.where(finite, x - y, 0.0)) / size, 0.0)
    place = np.unravel_index(int(np.argmax(gap)), gap.shape)
    worst = float(gap[place])
    count = int(np.sum(finite))
    if worst <= 100 * TOLERANCE:
        return Outcome(True, f"{what} agree in floats at {count} places", evaluated=count)
    found = {"left": float(x[place]), "right": float(y[place]), "entry": [int(k) for k in place]}
    if worst > FLAGRANT:
        how = f"{what} differ by {worst:.1e} of their size"
        return Outcome(False, how, found, float(x[place] - y[place]), count)
    how = f"{what} differ by {worst:.1e} of their size, which rounding may explain"
    return Outcome(None, how, found, float(x[place] - y[place]), count)
