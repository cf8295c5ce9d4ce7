"""The one currency for answers: a claim, what became of it, and how that was established."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from symtheory.errors import ProofError
from symtheory.verdict._certificates import Certificate, Conjunction, jsonable
from symtheory.verdict._recheck import Claim, Claims, Outcome
from symtheory.verdict._status import Status, worst

_SEAL = object()
"""What only this file has; a proof cannot be made without it."""


@dataclasses.dataclass(frozen=True)
class Proof:
    """What makes a verdict proved. Made by `prove` and `conjunction` alone.

    Attributes:
        certificate: What the proof rests on.
        claim: The statement it is about; the verdict's own words must contain it.
        rechecked: Whether the claim was evaluated in floats as well.
        recheck: What that gave.
    """

    certificate: Certificate
    claim: str
    rechecked: bool
    recheck: str
    seal: dataclasses.InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise ProofError(
                f"a proof of {self.claim!r} cannot be made by hand; call symtheory.verdict.prove "
                "with a certificate and a claim to recheck"
            )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A claim together with its status and the evidence for it.

    A verdict with the status `proved` comes from `prove` or `conjunction`; made by hand it raises.

    Attributes:
        status: One of the five `Status` values.
        claim: The statement, in words.
        how: How the status was established (method, sample sizes, precision).
        predicted: What theory says (a number or text), if the claim compares two things.
        measured: What was found.
        standard_error: Standard error of `measured`.
        margin: Half-width of the equivalence interval around `predicted`.
        detectable: The smallest deviation that the measurement would have refuted.
        effect: The size of what the claim is about, to read `detectable` by.
        residual: What is left of an identity (exactly 0 when proved).
        witness: A point at which the claim fails, when it is refuted by one.
        assumptions: What the claim presupposes.
        reference: Where the statement comes from (paper and section).
        parts: The verdicts this one rests on.
        proof: What it rests on, when it is proved.

    Raises:
        ProofError: The status is `proved` without a proof of this claim.

    >>> Verdict(Status.SUPPORTED, "the mean is 1", how="1000 replicas").status.holds
    True
    >>> Verdict(Status.PROVED, "1 + 1 = 3")
    Traceback (most recent call last):
    symtheory.errors.ProofError: 'proved' was given by hand to the claim '1 + 1 = 3'; ...
    """

    status: Status
    claim: str
    how: str = ""
    predicted: Any = None
    measured: Any = None
    standard_error: float | None = None
    margin: float | None = None
    detectable: float | None = None
    effect: float | None = None
    residual: Any = None
    witness: Mapping[str, Any] | None = None
    assumptions: tuple[str, ...] = ()
    reference: str = ""
    parts: tuple[Verdict, ...] = ()
    proof: Proof | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.status != Status.PROVED:
            # A status may be lowered; the proof then belongs to the verdict it came from.
            object.__setattr__(self, "proof", None)
            return
        if not isinstance(self.proof, Proof):
            raise ProofError(
                f"'proved' was given by hand to the claim {self.claim!r}; call "
                "symtheory.verdict.prove with a certificate and a claim to recheck"
            )
        if self.proof.claim not in self.claim:
            raise ProofError(
                f"the proof is about {self.proof.claim!r}, not about {self.claim!r}; state what "
                "follows from it by symtheory.verdict.conjunction"
            )
        if isinstance(self.proof.certificate, Conjunction):
            bad = [p.claim for p in self.parts if p.status not in _PART_OF_A_PROOF]
            if bad or [p.claim for p in self.parts] != list(self.proof.certificate.parts):
                raise ProofError(
                    f"{self.claim!r} rests on the parts it was joined from; they cannot be "
                    "replaced: call symtheory.verdict.conjunction again"
                )

    @property
    def certificate(self) -> Certificate | None:
        """What the proof rests on, None where nothing is proved."""
        return None if self.proof is None else self.proof.certificate

    @property
    def rechecked(self) -> bool | None:
        """Whether a proved claim was evaluated in floats as well, None where nothing is proved."""
        return None if self.proof is None else self.proof.rechecked

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready data, leaving out what is not set."""
        out: dict[str, Any] = {"status": str(self.status), "claim": self.claim}
        for field in dataclasses.fields(self)[2:]:
            value = getattr(self, field.name)
            if value is None or (isinstance(value, (str, tuple)) and not value):
                continue
            if field.name == "parts":
                out["parts"] = [part.to_json() for part in self.parts]
            elif field.name == "proof":
                proof: Any = value
                # Of a conjunction the parts say it all.
                if not isinstance(proof.certificate, Conjunction):
                    out["certificate"] = proof.certificate.to_json()
                out["rechecked"] = proof.rechecked
            else:
                out[field.name] = jsonable(value)
        return out

    def __str__(self) -> str:
        text = f"{self.status}: {self.claim}"
        text = f"{text} [{self.how}]" if self.how else text
        return text if self.witness is None else f"{text} at {dict(self.witness)}"


_PART_OF_A_PROOF = (Status.PROVED, Status.NOT_APPLICABLE)


def prove(claim: str, certificate: Certificate, recheck: Claim, **fields: Any) -> Verdict:
    """Return the verdict on a claim for which there is a certificate, after a recheck.

    Args:
        claim: The statement, in words.
        certificate: What the proof rests on.
        recheck: The same statement as one that can be evaluated; `Unchecked(reason)` where nothing
            can be, by design.
        **fields: Further fields of the verdict; `how` is that of the certificate unless given.

    Returns:
        `proved` where the recheck agrees; `refuted` with a witness where it disagrees beyond
        rounding; else `inconclusive`.

    Raises:
        ProofError: The certificate or the claim to recheck is none.

    >>> from symtheory.verdict import Arithmetic, NormalForm
    >>> exact = NormalForm("exact arithmetic", ring="Q")
    >>> prove("1 + 1 = 2", exact, Arithmetic(1.0 + 1.0, 2.0)).status.holds
    True
    >>> str(prove("1 + 1 = 3", exact, Arithmetic(1.0 + 1.0, 3.0)).status)
    'refuted'
    """
    if not isinstance(recheck, Claim):
        raise ProofError(
            f"the proof of {claim!r} has no claim to recheck, got {recheck!r}; give one of "
            "symtheory.verdict, or Unchecked(reason) where nothing can be evaluated"
        )
    return _decided(claim, certificate, _evaluated(recheck.test), fields)


def prove_each(
    claims: Sequence[str],
    certificates: Sequence[Certificate | None],
    recheck: Claims,
    **fields: Any,
) -> list[Verdict | None]:
    """Return verdicts on several claims that are rechecked together.

    Args:
        claims: The statements, in words.
        certificates: What each proof rests on; None where there is no proof.
        recheck: The same statements, in the same order, as ones that can be evaluated.
        **fields: Further fields of all verdicts.

    Returns:
        One verdict per claim, as `prove` gives it; None where there is no certificate.

    Raises:
        ProofError: A certificate is none.
    """
    if all(certificate is None for certificate in certificates):
        return [None] * len(claims)
    outcomes = _evaluated(recheck.test_each)
    if isinstance(outcomes, Outcome):
        outcomes = [outcomes] * len(claims)
    return [
        None if certificate is None else _decided(claim, certificate, outcome, fields)
        for claim, certificate, outcome in zip(claims, certificates, outcomes, strict=True)
    ]


def _evaluated(test: Callable[[], Any]) -> Any:
    """Return what a recheck gives; one that cannot be carried out decides nothing."""
    try:
        return test()
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
            AssertionError, MemoryError) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        return Outcome(None, f"the claim could not be evaluated: {type(error).__name__}: {reason}")


def _decided(
    claim: str, certificate: Certificate, outcome: Outcome, fields: Mapping[str, Any]
) -> Verdict:
    if not isinstance(certificate, Certificate) or isinstance(certificate, Conjunction):
        raise ProofError(
            f"the proof of {claim!r} rests on {certificate!r}, which is no certificate; give "
            "NormalForm, Enclosure, Derivation, RankBound, Moments, Identity or Cited"
        )
    given = {"how": certificate.how, **fields}
    if outcome.agrees is True:
        if not outcome.rechecked:
            given["how"] = f"{given['how']}; not evaluated in floats: {outcome.how}"
        proof = Proof(certificate, claim, outcome.rechecked, outcome.how, _SEAL)
        return Verdict(Status.PROVED, claim, **given, proof=proof)
    if outcome.agrees is False:
        given |= {"residual": outcome.residual, "witness": outcome.witness or {}}
        given["how"] = f"the recheck in floats disagrees: {outcome.how} (though {given['how']})"
        return Verdict(Status.REFUTED, claim, **given)
    given["residual"] = outcome.residual
    given["how"] = f"{given['how']}, but the recheck in floats does not decide: {outcome.how}"
    return Verdict(Status.INCONCLUSIVE, claim, **given)


def conjunction(claim: str, parts: Iterable[Verdict], **fields: Any) -> Verdict:
    """Return the verdict on "all of `parts` hold".

    The status is the worst among the parts: refuted, inconclusive, supported, proved; parts that
    are not applicable are passed over, and with none left neither is the conjunction.

    >>> a = Verdict(Status.SUPPORTED, "a"); b = Verdict(Status.REFUTED, "b")
    >>> str(conjunction("a and b", [a, b]).status)
    'refuted'
    """
    parts = tuple(parts)
    status = worst(part.status for part in parts)
    if status != Status.PROVED:
        return Verdict(status, claim, parts=parts, **fields)
    certificate = Conjunction(
        fields.get("how") or "all parts are proved", tuple(part.claim for part in parts)
    )
    rechecked = all(part.rechecked for part in parts if part.status == Status.PROVED)
    proof = Proof(certificate, claim, rechecked, "part by part", _SEAL)
    return Verdict(status, claim, parts=parts, **fields, proof=proof)
