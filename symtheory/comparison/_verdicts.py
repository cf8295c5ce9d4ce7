"""What a run that diverged can say about a claim: nothing, and what to try instead."""

from __future__ import annotations

from typing import Any

from symtheory.errors import InputError
from symtheory.verdict import Status, Verdict


def diverged_verdict(run: Any, claim: str = "", reference: str = "") -> Verdict:
    """Return the inconclusive verdict on a claim whose simulation diverged.

    Args:
        run: A `Run` whose `divergence` is set.
        claim: The claim that was to be checked.
        reference: Where it comes from.

    Raises:
        InputError: The run did not diverge.

    >>> from types import SimpleNamespace as Some
    >>> found = Some(replica=3, step=17, largest_stable_rate=0.05, describe=lambda: "replica 3 ...")
    >>> str(diverged_verdict(Some(divergence=found, replicas=8, steps=100), "C = 0").status)
    'inconclusive'
    """
    found = run.divergence
    if found is None:
        raise InputError("the run did not diverge; compare it with the theory instead")
    return Verdict(
        Status.INCONCLUSIVE,
        claim or "the simulation stays finite",
        how=f"the simulation diverged: {found.describe()}",
        witness={
            "replica": found.replica,
            "step": found.step,
            "largest_stable_rate": found.largest_stable_rate,
        },
        reference=reference,
    )
