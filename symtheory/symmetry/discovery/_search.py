"""What a structured search looks for: scales, units, actions along axes, shifts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.linear_algebra._exact import Span
from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.symmetry._structural import structural
from symtheory.symmetry.discovery._differentials import Differentials
from symtheory.symmetry.discovery._measure import Measured, Meter, Place, parts_of, places_of
from symtheory.symmetry.discovery._patterns import Gap, patterns, symmetric_count
from symtheory.symmetry.discovery._proof import Prover
from symtheory.symmetry.discovery._result import Group
from symtheory.symmetry.discovery._search_claims import action_claim, shift_claim
from symtheory.verdict import Claim, Derivation, Status, Verdict, prove

SPARE = 24
SMALL = 1e-11
_POINTS_FULL = 4

_HOMOGENEOUS = "every intermediate value is homogeneous, the loss of degree 0"
_CANCEL = (
    "the matrices cancel on their way through the loss (neighbouring units; brackets give the rest)"
)

Rates = Mapping[tuple[int, int], tuple[Fraction, Fraction]]
"""By (leaf, axis): rates (r, t) of the action of r E_pq + t E_qp."""

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass
class _Units:
    """Rescalings of single units: rates by place, and which units of how many."""

    rates: dict[Place, Fraction]
    units: list[int]
    size: int


class Search:
    """One structured search.

    Args:
        model: A model with everything bound.
        prover: Proves homogeneity of its loss.
        deadline: A time limit.
        seed: Seed of the random points.
        report: Progress.
    """

    def __init__(
        self, model: Model, prover: Prover, deadline: Deadline, seed: int, report: Progress
    ) -> None:
        self.model, self.prover, self.deadline, self.report = model, prover, deadline, report
        self.parts = parts_of(model)
        self.places = places_of(self.parts)
        self.meter = Meter(model, self.parts, seed)
        self.gap = Gap()
        self.groups: list[Group] = []
        self.pending: list[_Units] = []
        self.implied = Span()
        self.constants = 0
        self.dropped: set[int] = set()
        self._known: dict[Any, bool] = {}
        left = deadline.remaining()
        self._reserve = 0.4 * left if math.isfinite(left) else 0.0
        shapes = [tuple(int(n) for n in s) for s in model.leaves.values()]
        self.charges = Differentials(self.parts, shapes, seed)
        self.starts = np.cumsum([0, *(count(s) for s in model.leaves.values())])

    def drop(self, leaf: int) -> None:
        """Leave a leaf out of the search."""
        kept = lambda place: self.parts[place.part].leaf != leaf
        self.places = {size: [p for p in row if kept(p)] for size, row in self.places.items()}
        self.places = {size: row for size, row in self.places.items() if row}
        self.dropped.add(leaf)

    def entries(self, part: int) -> np.ndarray:
        """Return where the entries of a part stand among the flattened parameters."""
        owner = self.parts[part]
        entries = np.arange(self.starts[owner.leaf], self.starts[owner.leaf + 1])
        if owner.index is None:
            return entries
        size = math.prod(owner.shape)
        return entries[owner.index * size : (owner.index + 1) * size]

    def measure(self) -> Measured:
        """Return contractions at enough points for every linear system below."""
        most = max([len(self.parts), *(2 * len(row) for row in self.places.values())])
        return self.meter.measure(most + SPARE, self.report, self.deadline)

    # --- rescalings of units ---

    def units(self, seen: Measured) -> None:
        """Find rates r per place with sum_l r_l C_l[k, k] = 0, unit by unit."""
        for size, places in self.places.items():
            table = np.stack([seen.diagonals[place] for place in places], axis=-1)
            by_pattern: dict[tuple[Fraction, ...], list[int]] = {}
            for unit in range(size):
                self.deadline.check()
                found = patterns(table[:, 0, unit], table[:, 1, unit], self.gap)
                for pattern in found:
                    by_pattern.setdefault(pattern, []).append(unit)
            for pattern, units in by_pattern.items():
                rates = {p: r for p, r in zip(places, pattern, strict=True) if r}
                self._add_units(rates, units, size)

    def _add_units(self, rates: dict[Place, Fraction], units: list[int], size: int) -> None:
        self.pending.append(_Units(rates, units, size))
        if len(units) == size:
            total: dict[Any, Any] = {}
            for place, rate in rates.items():
                total[place.part] = total.get(place.part, 0) + rate
            self.implied.add({k: v for k, v in total.items() if v})

    def prove_units(self, _: Measured) -> None:
        """Prove the rescalings that are not the diagonal of a larger group."""
        for found in self.pending:
            proved = len(found.units) if self._units_follow(found) else 0
            done = 0
            while not proved and done < len(found.units) and not self._late():
                self.report("prove rescalings of units", done, len(found.units))
                if not self.prover.invariant(self._rates(found.rates, found.units[done])):
                    break
                done += 1
            kind = (
                "per-neuron rescaling between" if len(found.rates) > 1 else "scale of every unit of"
            )
            count = len(found.units)
            self.charges.units(found.rates, found.units[: proved or done])
            weights = np.zeros(found.size)
            weights[found.units] = self._weights(len(found.units))
            acting = {place: float(rate) * weights for place, rate in found.rates.items()}
            self._add(f"{kind} {self._texts(found.rates)}", count, count, found.rates,
                      proved or done, _HOMOGENEOUS,
                      action_claim(self.model, self.parts, acting))  # fmt: skip

    def _units_follow(self, found: _Units) -> bool:
        rates = self._whole_leaves(found.rates)
        if rates is None:
            return False
        self.report("prove rescalings of units", 0, 0)
        one = np.zeros((found.size, found.size), dtype=object)
        one[found.units[0], found.units[0]] = 1  # what is inferred of one unit is so of all
        return structural(self.model).contains({place: rate * one for place, rate in rates.items()})

    def _whole_leaves(self, rates: dict[Place, Fraction]) -> dict[tuple[int, int], Fraction] | None:
        """Return rates by axes of leaves, if the slices of a leaf all act alike."""
        out: dict[tuple[int, int], set[Fraction]] = {}
        seen: dict[tuple[int, int], int] = {}
        for place, rate in rates.items():
            part = self.parts[place.part]
            key = (part.leaf, place.axis + part.first_axis)
            out.setdefault(key, set()).add(rate)
            seen[key] = seen.get(key, 0) + 1
        slices = [sum(part.leaf == leaf for part in self.parts) for leaf, _ in out]
        if any(len(r) > 1 for r in out.values()) or list(seen.values()) != slices:
            return None
        return {key: next(iter(r)) for key, r in out.items()}

    def _rates(self, rates: dict[Place, Fraction], unit: int | None) -> np.ndarray:
        common = math.lcm(*(rate.denominator for rate in rates.values()))
        out = np.zeros(self.starts[-1], dtype=np.int64)
        shapes = list(self.model.leaves.values())
        for place, rate in rates.items():
            part = self.parts[place.part]
            shape = tuple(int(n) for n in shapes[part.leaf])
            view = out[self.starts[part.leaf] : self.starts[part.leaf + 1]].reshape(shape)
            if part.index is not None:
                view = view[part.index]
            if unit is None:
                view[...] += int(rate * common)
            else:
                np.moveaxis(view, place.axis, 0)[unit] += int(rate * common)
        return out

    # --- scales of whole parts ---

    def scales(self, seen: Measured) -> None:
        """Find rates per part, beyond what rescalings of all units already give."""
        table = np.stack([seen.dots[k] for k in range(len(self.parts))], axis=-1)
        table[..., [part.leaf in self.dropped for part in self.parts]] = 0
        for pattern in patterns(table[:, 0], table[:, 1], self.gap):
            row = {k: rate for k, rate in enumerate(pattern) if rate}
            if not self.implied.add(dict(row)):
                continue
            rates = {Place(k, -1): rate for k, rate in row.items()}
            proved = self.prover.invariant(self._rates(rates, None))
            if proved:
                self.charges.units(rates, [0])
            names = [self.parts[k].name for k in row]
            same = len(set(row.values())) == 1
            text = (
                f"scale of {', '.join(names)}"
                if same
                else f"rescaling of {' against '.join(names)}"
            )
            acting = {place: np.array(float(rate)) for place, rate in rates.items()}
            recheck = action_claim(self.model, self.parts, acting)
            self._add(text, 1, 1, rates, int(proved), _HOMOGENEOUS, recheck)

    # --- mixing of units ---

    def mixings(self, seen: Measured) -> None:
        """Find rates r, t per place with sum_l r_l C_l[p, q] + t_l C_l[q, p] = 0."""
        for size, places in self.places.items():
            found: dict[frozenset[int], set[tuple[Fraction, ...]]] = {}
            corners = np.stack([seen.corners[place] for place in places], axis=-1)
            last = corners.shape[2] - 1
            for p, q in {(0, 1), (last - 1, last)}:
                self.deadline.check()
                rows, sizes = (
                    np.concatenate([corners[:, n, p, q], corners[:, n, q, p]], axis=-1)
                    for n in (0, 1)
                )
                for pattern in patterns(rows, sizes, self.gap):
                    used = frozenset(k % len(places) for k, x in enumerate(pattern) if x)
                    found.setdefault(used, set()).add(pattern)
            self._confirm(size, places, found)

    def _confirm(
        self, size: int, places: list[Place], found: dict[frozenset[int], set[tuple[Fraction, ...]]]
    ) -> None:
        """Check the patterns on all pairs of units; group, count and prove."""
        if not found:
            return
        used = sorted(set().union(*found))
        keys = [(group, pattern) for group, items in found.items() for pattern in sorted(items)]
        worst = {key: np.zeros((size, size)) for key in keys}
        scale = {key: np.zeros((size, size)) for key in keys}
        chosen = [places[k] for k in used]
        for matrices in self.meter.matrices(chosen, _POINTS_FULL, self.deadline):
            by_place = dict(zip(used, matrices, strict=True))
            for key in keys:
                rest, total = np.zeros((size, size)), np.zeros((size, size))
                for k, rate in enumerate(key[1]):
                    if rate:
                        c, absolute = by_place[k % len(places)]
                        flip = k >= len(places)
                        rest += float(rate) * (c.T if flip else c)
                        total += abs(float(rate)) * (absolute.T if flip else absolute)
                worst[key] = np.maximum(worst[key], np.abs(rest))
                scale[key] = np.maximum(scale[key], total)
        for group, items in found.items():
            good = [worst[group, x] <= SMALL * scale[group, x] for x in items]
            alive = [scale[group, x] > 1e-13 * np.max(scale[group, x]) for x in items]
            mask = np.logical_and.reduce([g & a for g, a in zip(good, alive, strict=True)])
            mask &= mask.T & ~np.eye(size, dtype=bool)
            self._add_mixing(size, {k: places[k] for k in group}, sorted(items), mask, len(places))

    def _add_mixing(
        self, size: int, group: dict[int, Place], items: list[tuple[Fraction, ...]],
        mask: np.ndarray, m: int,
    ) -> None:  # fmt: skip
        pairs = int(np.sum(mask)) // 2
        if not pairs:
            return
        blocks = sorted({frozenset({p, *np.flatnonzero(mask[p]).tolist()}) for p in range(size)
                         if mask[p].any()}, key=min)  # fmt: skip
        whole = len(blocks) == 1 and len(blocks[0]) == size
        places = {group[k]: Fraction(1) for k in sorted(group)}
        diagonal = self._absorbed(places, size if whole else sum(map(len, blocks)))
        one = diagonal is not None and self.prover.invariant(
            self._rates(diagonal.rates, diagonal.units[0])
        )
        proved = whole and self._mixing_proved(size, group, items, m, one)
        units = len(diagonal.units) if diagonal is not None else 0
        if proved:
            rows = [
                [x[k] for k in (*sorted(group), *(k + m for k in sorted(group)))] for x in items
            ]
            self.charges.mixings([group[k] for k in sorted(group)], rows, size)
        if diagonal is not None and one:
            self.charges.units(diagonal.rates, diagonal.units if proved else diagonal.units[:1])
        count = len(items) * pairs
        symmetric = symmetric_count(items) * pairs
        rotation = len(items) == 1
        sizes = sorted({len(block) for block in blocks})
        label = "/".join(str(n) for n in sizes)
        kind = f"O({label}) rotation of" if rotation else f"GL({label}) double rotation between"
        if len(places) == 1 and not rotation:
            kind = f"GL({label}) acting on"
        text = f"{kind} {self._texts(places)}" + (
            "" if whole else f", {len(blocks)} blocks of units"
        )
        done = (count if proved else 0) + (units if proved and one else 0)
        hidden = self._hidden(items[-1], group, m) if whole and units else ()
        mixed = self._weights(size * size).reshape(size, size) / size
        last = items[-1]
        acting = {
            place: float(last[k]) * mixed + float(last[k + m]) * mixed.T
            for k, place in group.items()
        }
        recheck = action_claim(self.model, self.parts, acting)
        self._add(
            text, count + units, symmetric + units, places, done, _CANCEL, recheck, hidden=hidden
        )

    def _hidden(
        self, pattern: tuple[Fraction, ...], group: dict[int, Place], m: int
    ) -> tuple[tuple[str, int | None, int, int], ...]:
        """Return the axes of a pair of factors, from rates (r, t) of r E_pq + t E_qp per axis."""
        names = list(self.model.leaves)
        out = []
        for k in sorted(group, key=lambda k: (group[k].part, group[k].axis)):
            part, rates = self.parts[group[k].part], (pattern[k], pattern[k + m])
            if rates not in ((1, 0), (0, -1)):
                return ()
            side = 1 if rates[0] else -1
            out.append((names[part.leaf], part.index, group[k].axis + part.first_axis, side))
        return tuple(out)

    def _absorbed(self, places: dict[Place, Fraction], units: int) -> _Units | None:
        """Take back the rescalings of the same units: they are the group's diagonal."""
        for found in self.pending:
            if set(found.rates) == set(places) and len(found.units) == units:
                self.pending.remove(found)
                return found
        return None

    def _mixing_proved(
        self, size: int, group: dict[int, Place], items: list[tuple[Fraction, ...]], m: int,
        one: bool,
    ) -> bool:  # fmt: skip
        """Prove all pairs; slices of one leaf (heads) are proved acting together.

        The rescaling D_p of one unit of one slice, proved by itself (`one`), gives the action on
        that slice alone: [D_p, sum over slices of E_pq] = E_pq, and from these all others.
        """
        sliced = any(self.parts[place.part].index is not None for place in group.values())
        if sliced and not one:
            return False
        for pattern in items:
            rates: dict[tuple[int, int], tuple[Fraction, Fraction]] = {}
            for k, place in group.items():
                part = self.parts[place.part]
                axis = place.axis + part.first_axis
                rates[part.leaf, axis] = (pattern[k], pattern[k + m])
            key = (size, tuple(sorted(rates.items())))
            if key not in self._known:
                self._known[key] = self._passes(rates, size)
            if not self._known[key]:
                return False
        return True

    def _passes(self, rates: Rates, size: int) -> bool:
        self.report("prove mixings of units", 0, 0)
        parts = {}
        for place, (r, t) in rates.items():
            parts[place] = np.zeros((size, size), dtype=object)
            parts[place][0, 1], parts[place][1, 0] = r, t
        return structural(self.model).contains(parts)

    # --- shifts ---

    def shifts(self, seen: Measured) -> None:
        """Find axes along which the gradient sums to zero: adding a constant along them is free."""
        found: dict[tuple[int, int], list[Place]] = {}
        for place, table in seen.shifts.items():
            if self.parts[place.part].leaf in self.dropped:
                continue
            size, scale = np.max(table[:, 0]), np.max(table[:, 1])
            if scale > 0 and size <= SMALL * scale:
                part = self.parts[place.part]
                found.setdefault((part.leaf, place.axis + part.first_axis), []).append(place)
        for (leaf, axis), places in found.items():
            self.report("prove shifts", 0, 0)
            shapes = [self.parts[place.part].shape for place in places]
            counts = [math.prod(s) // s[p.axis] for s, p in zip(shapes, places, strict=True)]
            proof = self.prover.shift([(leaf, axis)])
            for place in places if proof else ():
                self.charges.shifts(place)
            name = "logit shift" if proof and proof.logit else "shift"
            slices = [self.parts[place.part].index for place in places]
            self._add(f"{name} of {self._texts(dict.fromkeys(places, Fraction(1)))}", sum(counts),
                      0, dict.fromkeys(places, Fraction(1)), sum(counts) if proof else 0,
                      proof.how if proof else "", shift_claim(self.model, leaf, axis, slices),
                      affine=True)  # fmt: skip

    # --- bookkeeping ---

    def _weights(self, count: int) -> np.ndarray:
        return np.random.default_rng(count).uniform(0.5, 1.5, count)

    def _late(self) -> bool:
        return self.deadline.remaining() < self._reserve

    def _text(self, place: Place) -> str:
        name = self.parts[place.part].name
        return name + (f" axis {place.axis}" if place.axis >= 0 else "")

    def _texts(self, places: dict[Place, Fraction]) -> str:
        whole = self._whole_leaves(places)
        if whole is not None:
            names = [name or "theta" for name in self.model.leaves]
            return " and ".join(f"{names[leaf]} axis {axis}" for leaf, axis in sorted(whole))
        return " and ".join(self._text(p) for p in sorted(places, key=lambda p: (p.part, p.axis)))

    def _add(
        self, name: str, count: int, symmetric: int, places: dict[Place, Fraction], proved: int,
        how: str, recheck: Claim, affine: bool = False,
        hidden: tuple[tuple[str, int | None, int, int], ...] = (),
    ) -> None:  # fmt: skip
        leaves = tuple(dict.fromkeys(self.parts[place.part].name for place in places))
        if proved == count:
            verdict = prove(name, Derivation(how), recheck)
        elif recheck.test().agrees is False:  # at points of other magnitudes
            self.gap.refuted.append(name)
            return
        else:
            text = f"{proved} of {count} proved; the rest vanish at all points"
            verdict = Verdict(Status.SUPPORTED, name, how=text)
        if verdict.status is not Status.PROVED and proved == count:
            proved = 0
        self.groups.append(
            Group(name, count, symmetric, leaves, verdict.status, verdict.how, proved, affine,
                  hidden, verdict)
        )  # fmt: skip


def count(shape: tuple[Any, ...]) -> int:
    return math.prod(int(n) for n in shape)
