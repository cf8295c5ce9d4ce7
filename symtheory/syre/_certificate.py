"""The certificate: which reflections of l are gone in l_r, exactly, and how strongly they repel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symtheory.errors import InputError, SymtheoryError
from symtheory.model import Model
from symtheory.readable import require_readable
from symtheory.symmetry import FoundReflections, Reflection, reflections, verify
from symtheory.syre._bounds import check_delta, strength_bound
from symtheory.syre._gradient import symmetric_gradient
from symtheory.syre._model import RemovedModel
from symtheory.syre._removal import Removal, removal_of_family, removal_of_one
from symtheory.verdict import (
    Enclosure,
    Moves,
    Status,
    Subject,
    Verdict,
    conjunction,
    prove,
    traced_map,
)

_REFERENCE = "arXiv 2408.15495; R1, R4-R8"


def certify(
    model: Model,
    *,
    of: Sequence[FoundReflections | Reflection] | None = None,
    delta: float = 0.1,
    seconds: float | None = 60.0,
    seed: int = 0,
) -> Verdict:
    """Certify that l_r has none of the known reflections of l, in exact arithmetic.

    Reflections of l that the search does not find, and products of several, are not spoken of.
    For every reflection (theta', P) three statements: it is one of l (proved by discovery or
    `verify`); it is none of l_r, neither moved along with the bias, (theta' - P theta_0, P), nor as
    it stands; and at its symmetric states P grad l_r = 2 gamma (theta' - P theta_0), a constant
    that is not 0 and drives training away. The first is about every sample and parameter; the
    second is an exact statement about the floats of the bias (each read as in `symtheory.exact`);
    the third is evaluated at a random symmetric state, for one member of each family.

    Args:
        model: What `remove_symmetries` returned.
        of: The reflections (those that `reflections` finds in l, if omitted). Families of flips
            and swaps are certified member by member, rotations for all directions at once.
        delta: Probability of failure of the bounds on the strength.
        seconds: Time limit of the search and of each check.
        seed: Seed of the random points.

    Returns:
        A verdict whose `measured` holds the numbers: `reflections` (N), `kept`, `weakest` (the
        smallest |P grad l_r|), `bound` (which R6 gives with probability 1 - delta) and `families`.
        With no reflection found the status is `not_applicable`.

    Raises:
        InputError: The model does not come from `remove_symmetries`, or delta is no probability.

    Source: arXiv 2408.15495; sections 9 and 10 of the theory.

    >>> from symtheory.data import Normal
    >>> from symtheory.syre import remove_symmetries
    >>> base = Model(lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2,
    ...              params={"u": (), "w": ()}, random={"y": Normal(())})
    >>> verdict = certify(remove_symmetries(base, weight_decay=0.1, sigma0=0.1, key=0))
    >>> str(verdict.status), verdict.measured["reflections"], verdict.measured["kept"]
    ('proved', 3, 0)
    """
    if not isinstance(model, RemovedModel):
        raise InputError(
            f"certify takes the model that remove_symmetries returned, got {type(model).__name__} "
            f"{getattr(model, 'name', '')!r}; call st.remove_symmetries(model, ...) first"
        )
    check_delta(delta)
    base = require_readable(model.base)
    known = reflections(base, seconds=seconds, seed=seed) if of is None else of
    unfinished = getattr(known, "unfinished", "")
    removals, parts = [], []
    for item in known:
        removal, part = _certified(model, item, delta, seconds, seed)
        parts.append(part)
        if removal is not None:
            removals.append(removal)
    whose = f"that were {'found in' if of is None else 'given for'} {base.name}"
    claim = f"{model.name} has none of the {len(known)} families of reflections {whose}"
    if not known:
        status = Status.INCONCLUSIVE if unfinished else Status.NOT_APPLICABLE
        how = unfinished or "no reflection was found or given"
        return Verdict(status, claim, how=how, reference=_REFERENCE)
    if unfinished:
        parts.append(Verdict(Status.INCONCLUSIVE, "all reflections were searched", how=unfinished))
    numbers = _numbers(model, removals, delta)
    return conjunction(
        claim,
        parts,
        how=f"{len(known)} families of reflections in exact arithmetic",
        predicted={"bound": numbers["bound"]},
        measured=numbers,
        assumptions=("each float of the bias stands for the simplest rational that rounds to it",),
        reference=_REFERENCE,
    )


def _certified(
    model: RemovedModel,
    item: FoundReflections | Reflection,
    delta: float,
    seconds: float | None,
    seed: int,
) -> tuple[Removal | None, Verdict]:
    found = isinstance(item, FoundReflections)
    reflection = item.reflection if found else item
    name = item.name or "the given reflection"
    holds = item.verdict if found else verify(model.base, reflection, seconds=seconds, seed=seed)
    parts = [holds]
    removal = None
    try:
        if found:
            removal = removal_of_family(model, item, delta)
        else:
            rank = reflection.rank(model.base)
            removal = removal_of_one(model, reflection, name, "given", rank)
        parts.append(removal.verdict)
        if holds.status is not Status.REFUTED:
            if not removal.kept:
                parts.append(_as_it_stands(model, reflection, name, seconds, seed))
            parts.append(symmetric_gradient(model, reflection, seconds=seconds, seed=seed))
    except SymtheoryError as error:
        claim = f"l_r does not have the reflection: {name}"
        parts.append(Verdict(Status.INCONCLUSIVE, claim, how=str(error)))
    return removal, conjunction(f"{name}: a reflection of l and none of l_r", parts)


def _as_it_stands(
    model: RemovedModel, reflection: Reflection, name: str, seconds: float | None, seed: int
) -> Verdict:
    """Refute (theta', P) itself for l_r: an enclosure at a rational point that excludes 0."""
    found = verify(model, reflection, seconds=seconds, seed=seed)
    claim = f"l_r is not invariant under the unmoved reflection: {name}"
    if found.status is Status.REFUTED:
        subject = Subject.of(model)
        moves = Moves(subject, traced_map(subject, reflection.apply), seed)
        return prove(
            claim, Enclosure(found.how), moves, witness=found.witness, reference=_REFERENCE
        )
    status = Status.INCONCLUSIVE
    if found.certificate is not None:
        status = Status.REFUTED
    return Verdict(status, claim, how=found.how, witness=found.witness, reference=_REFERENCE)


def _numbers(model: RemovedModel, removals: list[Removal], delta: float) -> dict[str, Any]:
    finite = [removal for removal in removals if removal.count]
    count = sum(removal.count for removal in finite)
    strengths = [removal.weakest for removal in finite if removal.weakest is not None]
    bound = None
    if count and model.sigma0 and model.weight_decay and model.diagonal is None:
        bound = strength_bound(model.weight_decay, min(model.sigma0.values()), delta, count)
    return {
        "weight_decay": model.weight_decay,
        "sigma0": dict(model.sigma0),
        "reflections": count,
        "kept": sum(removal.kept for removal in removals),
        "weakest": min(strengths, default=None),
        "delta": delta,
        "bound": bound,
        "families": [removal.to_json() for removal in removals],
    }
