"""Whether l_r keeps a reflection of l, decided exactly; families of reflections one by one."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from symtheory import shapes
from symtheory.errors import BudgetError
from symtheory.exact import rational
from symtheory.symmetry import Exponential, FoundReflections, Reflection, read_generator
from symtheory.syre._bounds import expected_square, strength_bound
from symtheory.syre._exact import center_of, combine, dot, project
from symtheory.syre._model import RemovedModel
from symtheory.syre._units import Units, exact_tree
from symtheory.verdict import (
    Claim,
    Moves,
    NormalForm,
    RankBound,
    Status,
    Subject,
    Verdict,
    prove,
    traced_map,
)

_REFERENCE = "arXiv 2408.15495; R1, R4, R5"
_LARGEST_MATRIX = 400


@dataclasses.dataclass(frozen=True)
class Removal:
    """What became of one family of reflections.

    Attributes:
        name: The family.
        kind: "swap", "flip", "signed swap", "rotation", "exchange" or "given".
        rank: Rank P of each member.
        count: How many members there are; 0 stands for a continuum.
        kept: How many of them l_r keeps (of a continuum: the dimension of the kept directions).
        weakest: The smallest |P grad l_r| at symmetric points over all members, None where it
            depends on the point or where there is a continuum.
        verdict: "None of them is one of l_r", exactly.
        numbers: Further numbers: the finite group and its strength.
    """

    name: str
    kind: str
    rank: int
    count: int
    kept: int
    weakest: float | None
    verdict: Verdict
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON-ready data."""
        out = {
            "name": self.name,
            "kind": self.kind,
            "rank": self.rank,
            "count": self.count or "a continuum",
            "kept": self.kept,
            "weakest": self.weakest,
            "status": str(self.verdict.status),
        }
        return {**out, **self.numbers}


def removal_of_family(model: RemovedModel, found: FoundReflections, delta: float) -> Removal:
    """Decide for every member of a family whether l_r keeps it."""
    # Where not all units are alike, or two axes of one weight move together, P is read entry-wise.
    if not found.moves_rows([shapes.fixed(shape) for shape in model.leaves.values()]):
        return removal_of_one(model, found.reflection, found.name, found.kind, found.rank)
    gamma = rational(model.weight_decay)
    units = Units(model.bias, found)
    weights = None if model.diagonal is None else Units(model.diagonal, found)
    if found.kind == "rotation":
        return _rotations(model, found, units, weights)
    pulled = units
    if model.diagonal is not None:
        exact = combine(lambda d, b: d * b, exact_tree(model.diagonal), exact_tree(model.bias))
        pulled = Units(exact, found)
    same = {i: k for k, group in enumerate(weights.equal_rows()) for i in group} if weights else {}
    kept: list[str] = []
    weakest: Fraction | None = None
    everywhere, count = True, 0
    pairs = zip(units.members(found.kind), pulled.members(found.kind), strict=True)
    for (which, length), (_, pull) in pairs:
        count += 1
        if gamma and weights and len({same[i] for i in which}) > 1:
            everywhere = False  # P and D do not commute: removed, at a strength that varies
            continue
        if gamma == 0 or length == 0:
            kept.append(f"{found.kind} of {' and '.join(f'unit {i + 1}' for i in which)}")
        weakest = pull if weakest is None else min(weakest, pull)
    strength = None if weakest is None or not everywhere else _strength(model, weakest)
    numbers = {} if weights else _group_numbers(model, found, units, delta)
    recheck = _moved(model, found.reflection)
    verdict = _verdict(found.name, kept, count, bool(gamma), recheck)
    return Removal(found.name, found.kind, found.rank, count, len(kept), strength, verdict, numbers)


def removal_of_one(
    model: RemovedModel, reflection: Reflection, name: str, kind: str, rank: int
) -> Removal:
    """Decide for one reflection (theta', P), P any rational orthogonal projection.

    With u in range P and s in its complement, |theta' + s - u - theta_0|_D^2 minus the same with +u
    is -4 u^T D (theta' + s - theta_0): it vanishes for all u and s exactly when P D (I - P) = 0
    and P D (theta' - theta_0) = 0.
    """
    base = model.base
    bias = exact_tree(model.bias)
    center = center_of(base, reflection)
    center = project(base, reflection, center)
    gap = combine(lambda c, b: c - b, center, bias)
    commutes = True
    if model.diagonal is not None:
        commutes = _commutes(model, reflection)
        gap = combine(lambda d, x: d * x, exact_tree(model.diagonal), gap)
    pull = project(base, reflection, gap)
    square = dot(pull, pull)
    gone = bool(model.weight_decay) and (not commutes or square != 0)
    strength = _strength(model, square) if commutes else None
    recheck = _moved(model, reflection)
    verdict = _verdict(name, [] if gone else ["it"], 1, bool(model.weight_decay), recheck)
    return Removal(name, kind, rank, 1, int(not gone), strength, verdict)


def _rotations(
    model: RemovedModel, found: FoundReflections, units: Units, weights: Units | None
) -> Removal:
    """Decide for the reflections along every direction a of the units.

    Without D the member a stays when a^T theta_0 = 0. With D it also has to commute with D, so a
    lies within units on which D has the same rows: single units where all rows differ.
    """
    groups = [None] if weights is None else weights.equal_rows()
    kept = [a for group in groups for a in units.untouched(group)]
    name = found.name
    if not model.weight_decay:
        kept = [[int(i == k) for i in range(units.size)] for k in range(units.size)]
    claim = f"l_r has none of the: {name}"
    where = "with D" if weights else "without D"
    rank = f"the bias of the {units.size} units has rank {units.size - len(units.untouched())}"
    if kept:
        verdict = Verdict(
            Status.REFUTED,
            claim,
            how=f"{rank}; {where} the directions with a^T theta_0 = 0 stay: use sigma_d",
            witness={"direction": [str(x) for x in kept[0]], "dimension": len(kept)},
            reference=_REFERENCE,
        )
    else:
        certificate = (
            RankBound(f"exact rank, {where}: {rank}", lower=units.size, upper=units.size)
            if weights is None
            else NormalForm(f"exact rank, {where}: {rank}", ring="Q")
        )
        recheck = _moved(model, found.reflection)
        verdict = prove(claim, certificate, recheck, reference=_REFERENCE)
    numbers = {"bias_rank": units.size - len(units.untouched()), "units": units.size}
    return Removal(name, "rotation", found.rank, 0, len(kept), None, verdict, numbers)


def _moved(model: RemovedModel, reflection: Reflection) -> Claim:
    """Return "l_r changes under the reflection, moved along with the bias", to be evaluated."""

    def moved(theta: Any) -> Any:
        weights = jax.tree.map(lambda x, b: x + b, theta, model.bias)
        return jax.tree.map(lambda x, b: x - b, reflection.apply(weights), model.bias)

    subject = Subject.of(model)
    return Moves(subject, traced_map(subject, moved))


def _verdict(name: str, kept: list[str], count: int, decays: bool, recheck: Claim) -> Verdict:
    claim = f"l_r has none of the {count} reflections: {name}" if count > 1 else (
        f"l_r does not have the reflection: {name}"
    )  # fmt: skip
    if not kept:
        how = "P theta_0 differs from theta', or D does not commute with P, in exact arithmetic"
        certificate = NormalForm(how, ring="Q")
        return prove(claim, certificate, recheck, residual=0, reference=_REFERENCE)
    why = "P theta_0 = theta' exactly: theta_0 lies on the mirror" if decays else (
        "gamma = 0: l_r is a translation of l and has all its reflections, moved"
    )  # fmt: skip
    return Verdict(
        Status.REFUTED, claim, how=why, witness={"kept": kept[:10]}, reference=_REFERENCE
    )


def _group_numbers(
    model: RemovedModel, found: FoundReflections, units: Units, delta: float
) -> dict[str, Any]:
    """Return the finite group that a whole family generates: its mean, and what it repels with."""
    h, flips = units.size, found.kind == "flip"
    names = list(model.leaves)
    gamma = rational(model.weight_decay)
    fixed_rank, expected, square = 0, 0.0, Fraction(0)
    for part in _parts(model, found):
        # Flips fix no weight but 0, and so do signed swaps of more than two: e_i + e_j span all.
        alone = flips or (bool(part.found.signed) and h > 2)
        factor = h if alone else h - 1
        fixed_rank += factor * part.width
        expected += sum(
            expected_square(model.weight_decay, sigma, factor * part.widths[leaf])
            for leaf in part.widths
            if (sigma := model.sigma0.get(names[leaf])) is not None
        )
        square += part.total() if alone else part.mean_free()
    group = f"(Z/2)^{h}" if flips else f"S_{h}"
    if found.kind == "signed swap":
        group = f"D_{h}" if h > 2 else "Z/2"
    out: dict[str, Any] = {
        "group": group,
        "fixed_rank": fixed_rank,
        "expected_square": expected or None,
        "square": float(4 * gamma * gamma * square),
    }
    sigmas = [model.sigma0[names[leaf]] for leaf in units.widths if names[leaf] in model.sigma0]
    if flips:
        out["log2_order"] = h
        if sigmas and model.weight_decay:
            bound = strength_bound(model.weight_decay, min(sigmas), delta, h)
            out["abelian_bound"] = bound
    return out


def _parts(model: RemovedModel, found: FoundReflections) -> list[Units]:
    """Return the weights of the units in two parts: those whose signs change, and the others."""
    signed = tuple(axis for axis in found.axes if axis in found.signed)
    plain = tuple(axis for axis in found.axes if axis not in found.signed)
    return [
        Units(model.bias, dataclasses.replace(found, axes=axes, signed=changed))
        for axes, changed in ((plain, ()), (signed, signed))
        if axes
    ]


def _commutes(model: RemovedModel, reflection: Reflection) -> bool:
    if model.dimension > _LARGEST_MATRIX:
        raise BudgetError(
            f"with D, a single reflection is compared entry by entry for at most {_LARGEST_MATRIX} "
            f"parameters; {model.name} has {model.dimension}"
        )
    matrix = read_generator(model.base, Exponential(reflection.project, name="projection")).matrix
    weights = np.concatenate([np.ravel(x) for x in jax.tree.leaves(exact_tree(model.diagonal))])
    return all(weights[i] == weights[j] for i, j in matrix)


def _strength(model: RemovedModel, square: Fraction) -> float:
    """Return 2 gamma times the square root of an exact number."""
    return 2 * model.weight_decay * math.sqrt(square)
