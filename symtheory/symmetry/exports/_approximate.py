"""Symmetries that appear when small constants are taken as 0: the loss has them approximately."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from symtheory.model import Model
from symtheory.program import NO_DEADLINE, Deadline, Program
from symtheory.symmetry._loss import Loss, loss_of
from symtheory.symmetry.exports._constants import SmallConstant, without_small_constants
from symtheory.symmetry.inference import (
    AxisClass,
    Counts,
    Family,
    Flips,
    Inferred,
    Target,
    Transformations,
    infer_traced,
)  # fmt: skip
from symtheory.symmetry.inference._constraints import Constraints
from symtheory.symmetry.inference._layout import inputs
from symtheory.symmetry.inference._linear import Bits, Rationals
from symtheory.symmetry.inference._values import FIXED, INVARIANT, Plain
from symtheory.verdict import Subject, samples

_LARGEST = 1_000_000
_POINTS = 8


@dataclasses.dataclass(frozen=True)
class ApproximateFamily:
    """A family of rescalings, shifts or signs, or a larger group of a class, that appears.

    Attributes:
        kind: "rescaling", "shift", "sign", or "GL", "O", "permutations" for a class.
        family: It.
        count: How many generators (for signs and permutations: group generators) it adds.
        leaves: The parameters it changes.
        constants: The small constants that stand against it.
    """

    kind: str
    family: Family | Flips | AxisClass
    count: int
    leaves: tuple[str, ...]
    constants: tuple[SmallConstant, ...]

    def __str__(self) -> str:
        against = "; ".join(dict.fromkeys(map(str, self.constants)))
        return f"{self.kind} of {', '.join(self.leaves)}, {self.count} x, against {against}"

    def to_json(self) -> dict[str, Any]:
        """Return the family as JSON-ready data."""
        return {
            "kind": self.kind, "count": self.count, "leaves": list(self.leaves),
            "constants": [constant.to_json() for constant in self.constants],
        }  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Approximate:
    """What a loss would have besides, if its small constants were 0.

    Attributes:
        ignore_below: The largest constant that was taken as 0.
        constants: The constants that were.
        families: What appears then; none of these is a symmetry of the loss itself.
        counts: How many generators and others appear, by kind.
        deviation: The largest relative change of the loss under random elements of the group it
            would have, at random parameters of size 1; None where it was not evaluated.
        inferred: All of what the loss would have, the exact symmetries included.
        program: The loss without the constants.
    """

    ignore_below: float
    constants: tuple[SmallConstant, ...]
    families: tuple[ApproximateFamily, ...]
    counts: Counts
    deviation: float | None
    inferred: Inferred = dataclasses.field(repr=False)
    program: Program = dataclasses.field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-ready data."""
        return {
            "ignore_below": self.ignore_below,
            "constants": [constant.to_json() for constant in self.constants],
            "families": [family.to_json() for family in self.families],
            "counts": dataclasses.asdict(self.counts),
            "deviation": self.deviation,
        }


def approximate_symmetries(
    model: Model, ignore_below: float = 1e-4, *, seed: int = 0, deadline: Deadline = NO_DEADLINE
) -> Approximate:
    """Find what appears when small constants under roots and in denominators are taken as 0.

    A normalization x / sqrt(mean(x^2) + eps) forgets the scale of x up to a relative change of
    about eps / (2 mean(x^2)). Symmetries that only such constants break are inferred from the
    program without them, and listed with the constants that break them. They are no symmetries of
    the loss: nothing is proved of it.

    Args:
        model: A model with all sizes bound.
        ignore_below: The largest constant that is taken as 0.
        seed: Seed of the parameters and samples at which the deviation is measured.
        deadline: A time limit.

    Raises:
        InputError: A size is not bound, or `ignore_below` is no small positive number.
        UnreadableError: The loss cannot be lowered; says where.

    Source: arXiv 1706.05350 (normalization and scale); the rules are this project's own.

    >>> from symtheory.data import Normal
    >>> import jax.numpy as jnp
    >>> model = Model(lambda p, z: jnp.sum(p["W"] @ z["x"] / jnp.sqrt(jnp.sum(p["W"]**2) + 1e-6)),
    ...               {"W": (2, 3)}, random={"x": Normal(3)})
    >>> found = approximate_symmetries(model)
    >>> [(f.kind, f.leaves, f.constants[0].value) for f in found.families]
    [('rescaling', ('W',), 1e-06)]
    """
    loss = loss_of(model)
    program, constants = without_small_constants(loss.program, ignore_below)
    exact = infer_traced(loss.closed, loss.inputs[0], deadline, loss.program)
    relaxed = exact
    if constants:
        relaxed = infer_traced(loss.closed, loss.inputs[0], deadline, program)
    names = dict(zip((leaf.path for leaf in exact.leaves), model.leaves, strict=True))
    families = []
    if constants:
        families = list(_appearing(loss, exact, relaxed, constants, names, deadline))
    more = [getattr(relaxed.counts, f.name) - getattr(exact.counts, f.name)
            for f in dataclasses.fields(Counts)]  # fmt: skip
    deviation = _deviation(model, relaxed, seed) if families else None
    return Approximate(
        ignore_below, constants, tuple(families), Counts(*more), deviation, relaxed, program
    )


def _appearing(
    loss: Loss, exact: Inferred, relaxed: Inferred, constants: Sequence[SmallConstant],
    names: Mapping[Any, str], deadline: Deadline,
) -> Iterator[ApproximateFamily]:  # fmt: skip
    demands = _Demands(loss, exact, deadline)

    def against(rates: Mapping[Any, Any], sign: bool) -> tuple[SmallConstant, ...]:
        named = [c for c in constants if c.operation in demands.violated(rates, sign)]
        return tuple(named or constants)

    known = Rationals()
    numbers: dict[Any, int] = {}
    places: dict[int, tuple[int, Target]] = {}
    for family in (*exact.rescalings, *exact.shifts):
        known.add(_row(family, numbers, places))
    for family in (*relaxed.rescalings, *relaxed.shifts):
        row = _row(family, numbers, places)
        rest = known.reduce(row)
        if not known.add(row):
            continue
        if len(rest) < len(row):  # the same, up to exact symmetries, in fewer parameters
            family = _family(family, rest, places)
        kind = "shift" if family.shifts else "rescaling"
        rates = {(0, *_key(t)): r for t, r in family.rates}
        rates |= {(1, *_key(t)): r for t, r in family.shifts}
        leaves = _leaves(names, [t for t, _ in (*family.rates, *family.shifts)])
        yield ApproximateFamily(kind, family, family.count, leaves, against(rates, False))
    bits = lambda f: [numbers.setdefault(_key(t), len(numbers)) for t in f.targets]
    signs = Bits(bits(flips) for flips in exact.flips)
    for flips in relaxed.flips:
        if signs.add(bits(flips)):
            rates = {_key(t): 1 for t in flips.targets}
            leaves = _leaves(names, flips.targets)
            yield ApproximateFamily("sign", flips, flips.count, leaves, against(rates, True))
    before = {(a.leaf, a.block, a.axis, a.factor): c.group for c in exact.classes for a in c.axes}
    for c in relaxed.classes:
        first = c.axes[0]
        was = before.get((first.leaf, first.block, first.axis, first.factor))
        if c.group != was:
            count = c.generators or c.copies * (c.size - 1)
            yield ApproximateFamily(c.group, c, count, _leaves(names, c.axes), tuple(constants))


def _key(target: Any) -> tuple[Any, ...]:
    return target.leaf, target.block, frozenset(target.axes)


def _row(
    family: Family, numbers: dict[Any, int], places: dict[int, tuple[int, Target]]
) -> dict[int, Any]:
    """Return coefficients by numbers of (rate or shift, target), which are given as needed."""
    out: dict[int, Any] = {}
    for kind, targets in enumerate((family.rates, family.shifts)):
        for target, rate in targets:
            number = numbers.setdefault((kind, *_key(target)), len(numbers))
            places.setdefault(number, (kind, target))
            out[number] = out.get(number, 0) + rate
    return {number: rate for number, rate in out.items() if rate}


def _family(
    family: Family, row: Mapping[int, Any], places: Mapping[int, tuple[int, Target]]
) -> Family:
    parts: tuple[list[Any], list[Any]] = ([], [])
    for number, rate in sorted(row.items()):
        kind, target = places[number]
        parts[kind].append((target, Fraction(rate)))
    return dataclasses.replace(family, rates=tuple(parts[0]), shifts=tuple(parts[1]))


def _leaves(names: Mapping[Any, str], targets: Sequence[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names[target.leaf] for target in targets))


class _All(Constraints):
    """Demands that are written down each time they are made, not only the first time."""

    def vanish(self, row: Mapping[int, Any], sign: bool) -> None:
        """Demand that a combination of unknowns is 0."""
        self._rows.discard((sign, frozenset(row.items())))
        super().vanish(row, sign)


class _Demands:
    """Every demand that the loss makes, with the operations that make it."""

    def __init__(self, loss: Loss, inferred: Inferred, deadline: Deadline) -> None:
        shapes = [tuple(int(n) for n in v.aval.shape) for v in loss.closed.jaxpr.invars]
        domain = Transformations(None)
        domain.log = _All()
        given = inputs(domain, [leaf.layout for leaf in inferred.leaves])
        data = [
            Plain(tuple(domain.axis(n, FIXED) for n in shape), INVARIANT, (), True)
            for shape in shapes[len(inferred.leaves) :]
        ]
        domain.run(loss.program, [*given.values, *data], deadline)
        self._equations = domain.log.equations
        paths = [leaf.path for leaf in inferred.leaves]
        self._unknowns = {}
        for j, unknown in enumerate(given.unknowns):
            places = [given.places[atom] for atom in unknown.atoms]
            axes = frozenset((place.axis, place.factor) for place in places)
            self._unknowns[paths[unknown.leaf], unknown.block, axes] = j

    def violated(self, rates: Mapping[Any, Any], sign: bool) -> list[Any]:
        """Return the operations whose demands a family does not obey."""
        if sign:
            vector = {self._unknowns.get(key): 1 for key in rates}
        else:
            vector = {}
            for (kind, *key), rate in rates.items():
                j = self._unknowns.get(tuple(key))
                vector[None if j is None else 2 * j + kind] = rate
        out = []
        for equation in self._equations:
            if equation.sign != sign:
                continue
            total = sum(c * vector.get(k, 0) for k, c in equation.row.items())
            if total % 2 if sign else total:
                out.append(equation.source)
        return out


def _deviation(model: Model, relaxed: Inferred, seed: int) -> float | None:
    """Return the largest relative change under random elements, at parameters of size 1."""
    if model.dimension > _LARGEST:
        return None
    subject, rng = Subject.of(model), np.random.default_rng(seed)
    points = rng.standard_normal((_POINTS, model.dimension))
    moved = np.empty_like(points)
    for k in range(_POINTS):
        element = relaxed.random_element(jax.random.key(seed + k))
        image = jax.tree.leaves(element(subject.pack(points[k])))
        moved[k] = np.concatenate([np.reshape(x, -1) for x in image])
    data = (samples(model, rng, _POINTS), {}) if not model.unbound else subject.data(rng, _POINTS)
    before, after = subject.at(points, data)[0], subject.at(moved, data)[0]
    with np.errstate(all="ignore"):
        change = np.abs(after - before) / np.maximum(np.abs(before), np.abs(after))
    change = change[np.isfinite(change)]
    return float(np.max(change)) if change.size else None
