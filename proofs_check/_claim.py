"""What a statement says, and how much simulation a check may spend."""

from __future__ import annotations

import dataclasses
from typing import Literal

from symtheory import InputError

_FEWEST = 10


class TooShortError(InputError):
    """A budget pays for too few steps to say anything."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement of a paper, or of this package.

    Attributes:
        id: Paper and number, such as "P1.4".
        statement: The statement in words and formulas.
        assumptions: What it presupposes.
        relation: Whether the measured quantity equals the predicted one or is bounded by it.
        reference: Paper and section.
    """

    id: str
    statement: str
    assumptions: tuple[str, ...]
    relation: Literal["equality", "upper", "lower"]
    reference: str


@dataclasses.dataclass(frozen=True)
class Budget:
    """Seconds of simulation for one statement, on the machine the costs below were measured on.

    It fixes the number of steps, not the clock, so that the same seed gives the same result on
    every machine.

    >>> Budget(10.0).steps(100, nanoseconds=100.0)
    1000000
    >>> Budget(10.0).steps(100, nanoseconds=100.0, share=0.5, most=20_000)
    20000
    """

    seconds: float

    def steps(
        self,
        replicas: int,
        *,
        nanoseconds: float,
        share: float = 1.0,
        most: int | None = None,
        least: int = _FEWEST,
    ) -> int:
        """Return the number of steps that a share of the budget pays for.

        Args:
            replicas: Trajectories simulated together.
            nanoseconds: Cost of one step of one replica.
            share: Part of the budget this simulation may take.
            most: More steps than these would not help.
            least: Fewer than these say nothing: several relaxation times, as theory has them,
                where something stationary is measured.

        Raises:
            TooShortError: It pays for fewer steps than the check needs.
        """
        if most is not None:
            least = min(least, most)
        affordable = int(self.seconds * share * 1e9 / (replicas * nanoseconds))
        if affordable < least:
            needed = least * replicas * nanoseconds * 1e-9 / share
            raise TooShortError(
                f"a budget of {self.seconds:g} s pays for {affordable} steps of {replicas} "
                f"replicas, and {least} are needed to say anything: give at least {needed:.2g} s"
            )
        return affordable if most is None else min(affordable, most)
