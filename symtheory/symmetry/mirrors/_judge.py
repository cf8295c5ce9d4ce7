"""What is said of a candidate for a reflection: proved, supported, or not at all."""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np

from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.symmetry._evaluated import reflection_claim
from symtheory.symmetry.mirrors._reflection import Reflection, verify_reflection
from symtheory.symmetry.mirrors._reflections_found import FoundReflections
from symtheory.symmetry.mirrors._units import Probe
from symtheory.verdict import Certificate, Claim, Status, Verdict, prove

REFERENCE: Final = "arXiv 2408.15495, reflection symmetry"

SAME: Final = 1e-9
"""Relative change of the loss up to which it counts as unchanged in double precision."""


@final
class Judge:
    """A model's loss at random points, and what may be said of its reflections.

    Args:
        model: A model with all sizes bound.
        seed: Seed of the random points.
        deadline: When the search has to end.
    """

    def __init__(self, model: Model, seed: int, deadline: Deadline) -> None:
        self.model, self.seed, self.deadline = model, seed, deadline
        self.names = list(model.leaves)
        self.probe = Probe(model, seed)

    def remaining(self) -> float | None:
        """Return the seconds left, at least a tenth of one; None for no limit."""
        left = self.deadline.remaining()
        return None if np.isinf(left) else max(left, 0.1)

    def words(self, name: str) -> str:
        """Return the claim in words."""
        return f"the loss of {self.model.name} is invariant under the {name}"

    def proved(self, name: str, certificate: Certificate, recheck: Claim) -> Verdict:
        """Return `proved`, or `refuted` where the claim fails when it is evaluated."""
        return prove(self.words(name), certificate, recheck, reference=REFERENCE)

    def supported(self, name: str, claim: Claim, more: str = "") -> Verdict | None:
        """Return a verdict without proof, None if the claim fails far away or in a tie."""
        if claim.test().agrees is False:
            return None
        how = f"random points in double precision{more}"
        return Verdict(Status.SUPPORTED, self.words(name), how=how, reference=REFERENCE)

    def checked(
        self, name: str, kind: str, rank: int, leaves: tuple[str, ...], found: Reflection
    ) -> FoundReflections | None:
        """Return a reflection that `verify` proves or leaves open, None if it refutes it."""
        verdict: Verdict | None = verify_reflection(
            self.model, found, seconds=self.remaining(), seed=self.seed
        )
        if verdict.status is Status.REFUTED:
            return None
        claim = reflection_claim(self.model, found)
        if verdict.certificate is not None:
            verdict = self.proved(name, verdict.certificate, claim)
        else:
            verdict = self.supported(name, claim, f"; {verdict.how}")
        if verdict is None or verdict.status is Status.REFUTED:
            return None
        return FoundReflections(name, kind, rank, 1, leaves, found, verdict)

    def moved_leaves(self, chosen: Any) -> tuple[str, ...]:
        """Return the names of leaves given by number, each once."""
        return tuple(dict.fromkeys(self.names[leaf] for leaf in chosen))
