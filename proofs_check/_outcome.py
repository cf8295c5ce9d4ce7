"""What decides the outcome of a check, and the outcome."""

from __future__ import annotations

import dataclasses
from typing import Any

import symtheory as st
from proofs_check._steps import CITED


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
        if not 0 <= self.seconds < float("inf"):
            raise st.InputError(
                f"the budget is a number of seconds per statement, 0 or more, got {self.seconds:g}"
            )
        if self.seed < 0:
            raise st.InputError(f"the seed is not negative, got {self.seed}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one statement.

    Attributes:
        id: Which statement.
        statement: What it says.
        status: The worst of proof and measurement; `refuted` too if the control was not, or its
            twin did not hold.
        exact: Status of the proof; "proved up to citations" where a step is cited only.
        empirical: Status of the measurement.
        control: Status of the control, which should be refuted.
        twin: Status of the control's twin, the same run with the assumption restored, which should
            be supported.
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
    twin: str
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
            "twin_status": self.twin,
            "seconds": round(self.seconds, 3),
            **self.data,
        }


def power(verdict: dict[str, Any]) -> float | None:
    """Return the largest share of an effect that a measurement, as JSON, would not have refuted.

    >>> power({"parts": [{"detectable": 0.1, "effect": 2.0}, {"detectable": 1e-9, "effect": 1.0}]})
    0.05
    """
    parts = verdict.get("parts", ())
    shares = [share for part in parts if (share := power(part)) is not None]
    if verdict.get("detectable") and verdict.get("effect"):
        shares.append(float(verdict["detectable"]) / float(verdict["effect"]))
    return max(shares, default=None)


UP_TO_CITATIONS = "proved up to citations"


def citations(verdict: dict[str, Any]) -> list[str]:
    """Return what a proof, as JSON, takes from elsewhere: claim and source of every cited step.

    >>> citations({"status": "proved", "claim": "a", "parts": [
    ...     {"status": "not_applicable", "claim": "b", "how": "cited: a book"}]})
    ['b (a book)']
    """
    if str(verdict.get("how", "")).startswith(CITED):
        return [f"{verdict['claim']} ({verdict['how'].removeprefix(CITED)})"]
    found = [text for part in verdict.get("parts", ()) for text in citations(part)]
    return list(dict.fromkeys(found))


def exact_status(verdict: dict[str, Any]) -> str:
    """Return the status of a proof: `proved` only if nothing that it rests on is merely cited."""
    if verdict["status"] == st.Status.PROVED and citations(verdict):
        return UP_TO_CITATIONS
    return str(verdict["status"])


def overall(
    exact: str,
    empirical: str,
    control: str,
    twin: str = st.Status.SUPPORTED,
    *,
    exact_only: bool = False,
) -> st.Status:
    """Return the status of a statement from those of its proof, measurement, control and twin.

    A statement is `proved` if its proof is and its measurement does not speak against it; one
    whose proof rests on citations is `supported`. One that is only measured says nothing when
    measurements are left out.
    """
    if control != st.Status.REFUTED or not st.Status(twin).holds:
        return st.Status.REFUTED
    proof = st.Status.SUPPORTED if exact == UP_TO_CITATIONS else st.Status(exact)
    both = st.verdict.worst([proof, st.Status(empirical)])
    if both.holds:  # a measurement supports a proof and does not weaken it
        return proof if proof.holds else st.Status.SUPPORTED
    if both is st.Status.NOT_APPLICABLE and not exact_only:
        return st.Status.INCONCLUSIVE
    return both
