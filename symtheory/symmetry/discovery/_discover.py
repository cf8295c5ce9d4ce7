"""Find all linear and affine symmetries of a loss, and prove that there are no others."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import BudgetError, UnreadableError
from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.readable import require_readable
from symtheory.symmetry._evaluated import independence_claim
from symtheory.symmetry._memory import BOXED, intermediates, require
from symtheory.symmetry.discovery._blocks import LARGEST_BLOCK, NullSpace, solve, split
from symtheory.symmetry.discovery._grading import weights
from symtheory.symmetry.discovery._names import Kind, recognize
from symtheory.symmetry.discovery._points import FloatSampler, Points, Sampler
from symtheory.symmetry.discovery._proof import Field, Prover, proved, refuted
from symtheory.symmetry.discovery._result import Discovery, Found, Group, describe, layout_of
from symtheory.symmetry.discovery._structure import structure, symmetric_part
from symtheory.symmetry.exports import approximate_symmetries
from symtheory.verdict import (
    Complete,
    Derivation,
    RankBound,
    Status,
    Subject,
    Verdict,
    prove,
    worst,
)

_LARGEST = 400
"""Parameters up to which all d x d matrices are searched."""
_POINTS = 600
_CLEAR = 1e3
"""Smallest ratio of singular values that counts as a gap."""
_MOST_LEFT_OUT = 0.1
"""Share of points left out for ties beyond which the others may be special."""
_WEAKEST = 1e-9
"""Relative singular values below this are neither zero nor not."""
_LOOSE = 1e-6
"""Bounds above this, relative to the gradient, do not tell that a part of it is 0."""

_ATTEMPTS = 3
"""How often the equations are solved; after the first time with points of more magnitudes."""

_ONE = Fraction(1)

Progress = Callable[[str, int, int], None]


def discover(
    model: Model,
    *,
    seconds: float | None = 60.0,
    seed: int = 0,
    max_memory: float | None = None,
    ignore_below: float | None = None,
    progress: Progress | None = None,
) -> Discovery:
    """Find all A, b with grad l(theta; z) . (A theta + b) = 0 for all theta and all z of the law.

    The equations at random points are linear in (A, b). Where the loss is rational, piecewise or
    not, they are read mod a prime: their rank bounds the number of generators from above, without
    condition. Other losses are enclosed rigorously and the rank is certified from the bounds. Every
    null vector is made rational and proved by degrees of homogeneity or in normal form: a bound
    from below. When both meet, `completeness` is proved.

    Models of more than 400 parameters (or where the equations do not separate) are searched for
    scalings of leaves and units and for linear actions along matching axes of pairs of leaves.

    Args:
        model: A model with all sizes bound.
        seconds: Time limit; when it is reached the status is `inconclusive`.
        seed: Seed of the random points.
        max_memory: Limit in GiB on what the search may need.
        ignore_below: Also list, apart, what would be a symmetry if small constants under roots and
            in denominators, up to this size, were 0; see `approximate_symmetries`.
        progress: Called with (stage, done, total) as the search goes on.

    Raises:
        InputError: A size is not bound, the loss cannot be read (it draws random numbers, has no
            gradient, is nowhere finite), the search needs more than `max_memory`, or `ignore_below`
            is no small positive number.

    Source: arXiv 2402.07193, exponential symmetries; arXiv 2307.00144, section on counting.

    >>> from symtheory.data import Normal
    >>> model = Model(lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2, {"u": (), "w": ()},
    ...               random={"y": Normal(())})
    >>> found = discover(model)
    >>> found.total, str(found.status), found.generators[0].name
    (1, 'proved', 'rescaling of u against w')
    """
    started = time.monotonic()
    deadline = Deadline(seconds)
    report = progress or (lambda stage, done, total: None)
    report("trace the loss", 0, 0)
    require_readable(model)
    prover = Prover(model, deadline)
    approximate = None
    if ignore_below is not None:
        approximate = approximate_symmetries(model, ignore_below, seed=seed)
    found = None
    if model.dimension <= _LARGEST:
        found = _everything(model, prover, deadline, seed, max_memory, report, started)
    if found is None:
        from symtheory.symmetry.discovery._large import discover_large

        found = discover_large(model, prover, deadline, seed, max_memory, report, started)
    return dataclasses.replace(found, approximate=approximate)


def _everything(
    model: Model, prover: Prover, deadline: Deadline, seed: int, max_memory: float | None,
    report: Progress, started: float,
) -> Discovery | None:  # fmt: skip
    """Search all matrices; None where that is too large."""
    rng = np.random.default_rng(seed)
    try:
        report("evaluate at random points", 0, 0)
        sampler, points, certified = _first_points(model, prover, rng, max_memory, deadline)
        if not len(points):
            return _undecided(model, "no random point could be evaluated", started)
        report("find scalings that separate the equations", 0, 0)
        grades = weights(points, sampler.free, prover, rng)
        live = _live(points)
        blocks = split(grades, live)
        largest = int(np.max(blocks.sizes, initial=0))
        if largest > LARGEST_BLOCK:
            return None
        require(BOXED * largest * (largest + len(points)), max_memory, _subject(model))
        while len(points) < largest + largest // 8 + 24:
            deadline.check()
            new = sampler.draw()
            points = points.join(new)
            if not len(new):
                return _undecided(model, "random points could not be evaluated", started)
            report("evaluate at random points", len(points), largest)
            if np.any(_live(points) & ~live):
                live = _live(points)
                blocks = split(grades, live)
        for attempt in range(_ATTEMPTS):
            report("solve for the generators", 0, 0)
            space = solve(points, blocks)
            deadline.check()
            report("prove the generators", 0, 0)
            evidence = _evidence(points, space, certified)
            verdicts = prover.verdicts(space.fields, evidence)
            kinds = _kinds(model, prover, space.fields, verdicts)
            rows = [*zip(space.fields, kinds, verdicts, strict=True),
                    *_along_unused(model, prover, space, evidence)]  # fmt: skip
            trivial = _trivial(model, prover, live, evidence)
            found = [*(verdict for *_, verdict in rows), *trivial.values()]
            if attempt + 1 == _ATTEMPTS or all(v.status != Status.REFUTED for v in found):
                break
            # What holds near the origin fails elsewhere: points of more magnitudes tell.
            points = points.join(sampler.draw(far=True))
            live = live | _live(points)
            blocks = split(grades, live)
    except BudgetError as error:
        return _undecided(model, str(error), started)
    report("structure of what was found", 0, 0)
    return _assemble(
        model, space, points, rows, trivial, certified, live, started, sampler.left_out
    )  # fmt: skip


def _first_points(
    model: Model, prover: Prover, rng: np.random.Generator, max_memory: float | None,
    deadline: Deadline,
) -> tuple[Any, Points, bool]:  # fmt: skip
    count = min(max(model.dimension + 40, 64), _POINTS)
    # Residues, floats and bounds of every value of the loss and its gradient, at every point.
    values = 3 * intermediates(prover.loss.jaxpr) + 4 * model.dimension
    require(3 * 8 * count * values, max_memory, _subject(model))
    try:
        sampler = Sampler(model, prover.value, count, rng, deadline)
        return sampler, sampler.draw(), True
    except UnreadableError:
        floats = FloatSampler(model, count, rng)
        return floats, floats.draw(), False


def _subject(model: Model) -> str:
    return f"searching {model.name} ({model.dimension} parameters)"


def _live(points: Points) -> np.ndarray:
    """Tell which parameters the loss certainly depends on, or may for all that is known."""
    if points.gradient.residues is not None:
        return np.any(points.gradient.residues != 0, axis=0)
    size, errors = np.abs(points.gradient.values), points.gradient.errors
    told = errors <= _LOOSE * np.max(size, axis=1, keepdims=True, initial=0.0)
    return np.any(size > errors, axis=0) | ~np.any(told, axis=0)


def _evidence(points: Points, space: NullSpace, certified: bool) -> str:
    if points.gradient.residues is not None:
        return f"the equations hold at {len(points)} random points mod 2^31 - 1"
    kind = "enclosed" if certified else "in floats"
    return (
        f"the equations at {len(points)} random points, {kind}: relative singular values "
        f"{space.kept:.1e} kept, {space.dropped:.1e} dropped"
    )


def _trivial(model: Model, prover: Prover, live: np.ndarray, evidence: str) -> dict[str, Verdict]:
    """Return leaves with entries on which the loss does not depend, each with its verdict."""
    out: dict[str, Verdict] = {}
    layout = layout_of(model)
    for name, shape in layout.shapes.items():
        start, size = layout.starts[name], int(np.prod(shape, dtype=int))
        dead = [i for i in range(start, start + size) if not live[i]]
        if not dead:
            continue
        whole = len(dead) == size
        label = name if whole else f"{name} ({len(dead)} of {size} entries)"
        proof = prover.shift([(list(model.leaves).index(name), -1)]) if whole else None
        how = proof.how if proof else prover.vanishes([Field({}, {i: _ONE}) for i in dead])
        claim = f"the loss does not depend on {label}: trivially symmetric there"
        recheck = independence_claim(model, dead)
        if how:
            out[label] = prove(claim, Derivation(how), recheck)
        elif (outcome := recheck.test()).agrees is False:
            out[label] = refuted(claim, outcome)
        else:
            out[label] = Verdict(Status.SUPPORTED, claim, how=evidence)
    return out


def _kinds(
    model: Model, prover: Prover, fields: Sequence[Field], verdicts: list[Verdict]
) -> list[Kind]:
    """Return what the generators are; shifts that cancel in a softmax are known as logit shifts.

    The check that tells them is a proof, which replaces a verdict that is none.
    """
    layout, proofs, out = layout_of(model), {}, []
    cancelled = [""] * len(fields)
    leaves = {name: k for k, name in enumerate(model.leaves)}
    for k, field in enumerate(fields):
        kind = recognize(field, layout)
        if kind.pattern in ("shift", "linear shift") and all(a >= 0 for _, a in kind.places):
            if kind.places not in proofs:
                proofs[kind.places] = prover.shift([(leaves[name], a) for name, a in kind.places])
            proof = proofs[kind.places]
            if proof is not None and proof.logit:
                kind = dataclasses.replace(
                    kind, pattern=kind.pattern.replace("shift", "logit shift")
                )
            if proof is not None and verdicts[k].status != Status.PROVED:
                cancelled[k] = proof.how
        out.append(kind)
    for k, verdict in enumerate(proved(model, fields, cancelled)):
        verdicts[k] = verdict or verdicts[k]
    return out


def _along_unused(
    model: Model, prover: Prover, space: NullSpace, evidence: str
) -> list[tuple[Field, Kind, Verdict]]:
    """Return theta_j b for unused theta_j: proved where the loss is constant along b."""
    found = space.along_unused
    if not found:
        return []
    holds = [v.status == Status.PROVED for v in prover.verdicts(space.directions, evidence)]
    fields = [field for _, field in found]
    how = ["g . b = 0 is proved, and so is g . theta_j b = 0" if holds[k] else "" for k, _ in found]
    verdicts = prover.told(fields, how, evidence)
    return list(zip(fields, _kinds(model, prover, fields, verdicts), verdicts, strict=True))


def _assemble(
    model: Model, space: NullSpace, points: Points, rows: list[tuple[Field, Kind, Verdict]],
    trivial: dict[str, Verdict], certified: bool, live: np.ndarray, started: float,
    left_out: Callable[[], float],
) -> Discovery:  # fmt: skip
    tried = len(rows)
    # A leaf that moves the loss when it is evaluated is not trivial, whatever the equations say.
    unseen = [name for name, verdict in trivial.items() if verdict.status == Status.REFUTED]
    trivial = {name: verdict for name, verdict in trivial.items() if name not in unseen}
    # A candidate that fails when it is evaluated is no generator.
    failed = [row for row in rows if row[2].status == Status.REFUTED]
    rows = [row for row in rows if row[2].status != Status.REFUTED]
    linear, affine = [r for r in rows if not r[0].shift], [r for r in rows if r[0].shift]
    algebra = structure([field for field, _, _ in linear])
    exact = points.gradient.residues is not None
    done = [sum(v.status == Status.PROVED for *_, v in part) for part in (linear, affine)]
    upper = (space.upper_linear, space.upper) if certified else (None, None)
    meets = (
        certified
        and done[0] == space.upper_linear
        and sum(done) == space.upper
        and all(v.status == Status.PROVED for v in trivial.values())
    )
    ratio = space.kept / max(space.dropped, 1e-17)
    clear = exact or (ratio >= _CLEAR and space.kept >= _WEAKEST)
    bound = (
        f"rank mod 2^31 - 1 of {len(points)} equations"
        if exact
        else f"rank of {len(points)} enclosed equations"
        if certified
        else f"singular values of {len(points)} equations in floats"
    )
    counts = f"{len(linear)} linear and {len(affine)} further affine generators"
    claim = f"the loss of {model.name} has {counts} and no others"
    if trivial or unseen:
        claim += ", among those that move parameters it depends on"
    fields: dict[str, Any] = {
        "measured": {"proved": sum(done), "upper_bound": upper[1]},
        "reference": "arXiv 2402.07193, exponential symmetry",
    }
    if failed:
        status = Status.INCONCLUSIVE
        how = f"{len(failed)} null vectors of the {bound} fail in floats: {failed[0][2].how}"
    elif unseen:
        status = Status.INCONCLUSIVE
        how = f"the loss depends on {', '.join(unseen)}, which none of the equations shows"
    elif meets:
        status, how = Status.SUPPORTED, ""
    elif space.lost or not clear:
        status = Status.INCONCLUSIVE
        how = f"no clear gap in the {bound} ({space.kept:.1e} kept, {space.dropped:.1e} dropped)"
        if space.lost and clear:
            how = f"{space.lost} null vectors of the {bound} are not simple rational ones"
    elif (share := left_out()) > _MOST_LEFT_OUT:
        # What holds at the other points is no evidence: it may be what makes them special.
        status, clear = Status.INCONCLUSIVE, False
        how = f"comparisons tie at {share:.0%} of the random points, the others may be special"
    else:
        status, how = Status.SUPPORTED, f"{bound}; {sum(done)} of {tried} proved"
    if not clear:  # without a gap only what is proved is reported as a generator
        linear, affine = ([r for r in part if r[2].status == Status.PROVED]
                          for part in (linear, affine))  # fmt: skip
        algebra = structure([field for field, _, _ in linear])
    if meets and not failed and not unseen:
        certificate = RankBound(
            f"{bound} = {space.unknowns - space.upper}, of {space.unknowns} unknowns",
            lower=sum(done),
            upper=space.upper,
        )
        found = [(field.matrix, field.shift) for field, _, _ in rows]
        recheck = Complete(Subject.of(model), found, live)
        completeness = prove(claim, certificate, recheck, **fields)
    else:
        completeness = Verdict(status, claim, how=how, **fields)
    columns = lambda part: [[row[n] for row in part] for n in range(3)]
    generators, translations = (describe(model, *columns(part)) for part in (linear, affine))
    return Discovery(
        model=model,
        generators=generators,
        translations=translations,
        groups=groups([*generators, *translations]),
        total=len(linear),
        symmetric=len(algebra.symmetric),
        affine=len(linear) + len(affine),
        completeness=completeness,
        scope=f"all {model.dimension} x {model.dimension} matrices A and vectors b, "
        f"in {space.blocks} blocks of up to {space.largest} unknowns",
        gap={"kept": space.kept, "dropped": space.dropped, "exact": exact, "certified": certified},
        trivial=trivial,
        structure=algebra,
        seconds=time.monotonic() - started,
    )


def groups(found: Sequence[Found]) -> tuple[Group, ...]:
    """Return generators counted by family."""
    out = []
    for name in dict.fromkeys(item.name for item in found):
        members = [item for item in found if item.name == name]
        fields = [Field(dict(item.matrix)) for item in members if not item.shift]
        symmetric = len(symmetric_part(fields))
        leaves = dict.fromkeys(leaf for item in members for leaf in item.leaves)
        proved = [item for item in members if item.verdict.status == Status.PROVED]
        status = worst(item.verdict.status for item in members)
        how = "; ".join(dict.fromkeys(item.verdict.how for item in members))
        moved = any(item.shift for item in members)
        out.append(
            Group(name, len(members), symmetric, tuple(leaves), status, how, len(proved), moved)
        )
    return tuple(out)


def _undecided(model: Model, why: str, started: float) -> Discovery:
    """Return what is known when the search did not finish: nothing."""
    verdict = Verdict(
        Status.INCONCLUSIVE, f"the generators of the loss of {model.name} are known", how=why
    )
    return Discovery(
        model, (), (), (), 0, 0, 0, verdict, "the search did not finish", {}, {}, None,
        time.monotonic() - started,
    )  # fmt: skip
