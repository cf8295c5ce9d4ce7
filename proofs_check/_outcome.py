"""What decides the outcome of a check, and the outcome."""

from __future__ import annotations

import dataclasses
from typing import Any

import symtheory as st


@dataclasses.dataclass(frozen=True)
class Spec:
    """What decides the outcome of a check.

    Attributes:
        seed: Seed of everything drawn.
        seconds: Budget of one statement.
        exact_only: Leave out what is simulated.
    """

    seed: int = 0
    seconds: float = 8.0
    exact_only: bool = False

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise st.InputError(
                f"the budget is a positive number of seconds per statement, got {self.seconds:g}"
            )
        if self.seed < 0:
            raise st.InputError(f"the seed is not negative, got {self.seed}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one statement.

    Attributes:
        id: Which statement.
        statement: What it says.
        status: The worst of proof and measurement; `refuted` too if the control was not.
        exact: Status of the proof.
        empirical: Status of the measurement.
        control: Status of the control, which should be refuted.
        seconds: Time it took.
        data: The verdicts, with all their parts.
        resumed: Whether it was read from an earlier run.
    """

    id: str
    statement: str
    status: str
    exact: str
    empirical: str
    control: str
    seconds: float
    data: dict[str, Any]
    resumed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the outcome with the keys that other programs read."""
        return {
            "id": self.id,
            "statement": self.statement,
            "status": self.status,
            "exact_status": self.exact,
            "empirical_status": self.empirical,
            "control_status": self.control,
            "seconds": round(self.seconds, 3),
            **self.data,
        }


def overall(
    exact: st.Status, empirical: st.Status, control: st.Status, *, exact_only: bool = False
) -> st.Status:
    """Return the status of a statement from those of its proof, measurement and control.

    A statement is `proved` if its proof is and its measurement does not speak against it. One that
    is only measured says nothing when measurements are left out.
    """
    if control is not st.Status.REFUTED:
        return st.Status.REFUTED
    present = {exact, empirical} - {st.Status.NOT_APPLICABLE}
    for bad in (st.Status.REFUTED, st.Status.INCONCLUSIVE):
        if bad in present:
            return bad
    if exact is st.Status.PROVED:
        return exact
    if present:
        return st.Status.SUPPORTED
    return st.Status.NOT_APPLICABLE if exact_only else st.Status.INCONCLUSIVE
