"""Claims about how many: no other generators, and at least so many conserved functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symtheory.verdict._actions import sparse_action
from symtheory.verdict._claims import Flows
from symtheory.verdict._recheck import Claim, Outcome
from symtheory.verdict._subject import Subject

_WHOLE = 20
"""Parameters up to which all matrices A and vectors b are unknowns; above, diagonal A and b."""
_LARGEST = 500
_ZERO, _CLEAR = 1e-9, 1e-5
"""Relative singular values below the one are zero, above the other not."""


@dataclasses.dataclass(frozen=True, eq=False)
class Complete(Claim):
    """The fields A theta + b along which the loss is constant are spanned by those given.

    The equations g_i A_ij theta_j + g_i b_i = 0 at random points, in floats: their null space must
    not be smaller than the span of the fields given, and what it has besides must fail as a
    symmetry. Up to 20 parameters for all A and b, above that for diagonal A and for b.

    Attributes:
        subject: The loss.
        fields: Entries of A by (row, column) and of b by row, for each field.
        live: Which parameters the loss depends on; fields that move others are left out.
    """

    subject: Subject
    fields: Sequence[tuple[Any, Any]]
    live: np.ndarray
    seed: int = 0

    def test(self) -> Outcome:
        """Compare the span of the fields with the null space of the equations."""
        live = np.flatnonzero(self.live)
        if not len(live):
            return Outcome(True, "the loss depends on no parameter", evaluated=1)
        if len(self.live) <= _WHOLE:
            columns = range(len(self.live))
            places = [(int(i), j) for i in live for j in columns] + [int(i) for i in live]
            return self._against(places, "matrices A and vectors b")
        if len(live) > _LARGEST:
            return Outcome(True, f"more than {_LARGEST} parameters", rechecked=False)
        outcome = self._against([(int(i), int(i)) for i in live], "diagonal A")
        if outcome.agrees is not True:
            return outcome
        other = self._against([int(i) for i in live], "vectors b")
        return other if other.agrees is not True else outcome

    def _against(self, places: list[Any], what: str) -> Outcome:
        given = self._given(places)
        claimed = len(given)
        precise = self.subject.precise
        # Where the equations leave too little, once more without gradients that are mostly noise.
        for told in (False, True):
            rows = self._equations(places, told)
            if len(rows) < len(places):
                return Outcome(None, f"the gradient is finite at too few points ({len(rows)})")
            _, sizes, right = np.linalg.svd(np.linalg.qr(rows, mode="r"), full_matrices=False)
            sizes = sizes / max(sizes[0], np.finfo(float).tiny)
            zero = int(np.sum(~(sizes > (_ZERO if precise else 1e-4))))
            small = int(np.sum(~(sizes > (_CLEAR if precise else 0.05))))
            if small >= claimed:
                break
        if small < claimed:
            how = f"the equations leave {small} {what}, fewer than the {claimed} that were found"
            return Outcome(False, how, {"null_space": small, "found": claimed}, small - claimed)
        extra = zero - claimed
        if extra > 0:
            found = self._another(right[len(places) - zero :], given, places)
            if found is not None:
                how = f"{extra} more {what} leave the loss as it is"
                return Outcome(False, how, {"generator": found, "null_space": zero,
                                            "found": claimed}, extra)  # fmt: skip
        how = f"the null space of {len(rows)} equations in floats for {what}"
        return Outcome(True, how, evaluated=len(rows))

    def _given(self, places: list[Any]) -> np.ndarray:
        """Return an orthonormal basis of those in the span of the fields that have these places."""
        index = {place: k for k, place in enumerate(places)}
        everywhere = list(dict.fromkeys(
            place for matrix, shift in self.fields for place in (*matrix, *shift)
            if place not in index and self._is_live(place)
        ))  # fmt: skip
        others = {place: k for k, place in enumerate(everywhere)}
        inside = np.zeros((len(self.fields), len(places)))
        outside = np.zeros((len(self.fields), len(everywhere)))
        for n, (matrix, shift) in enumerate(self.fields):
            for place, value in (*matrix.items(), *shift.items()):
                if place in index:
                    inside[n, index[place]] = float(value)
                elif place in others:
                    outside[n, others[place]] = float(value)
        if len(self.fields) and outside.shape[1]:
            left, sizes, _ = np.linalg.svd(outside, full_matrices=True)
            rank = int(np.sum(sizes > 1e-9 * max(sizes.max(initial=0.0), 1.0)))
            inside = left[:, rank:].T @ inside
        if not inside.size:
            return np.zeros((0, len(places)))
        _, sizes, right = np.linalg.svd(inside, full_matrices=False)
        return right[sizes > 1e-9 * max(sizes.max(initial=0.0), 1e-300)]

    def _is_live(self, place: Any) -> bool:
        return bool(self.live[place[0] if isinstance(place, tuple) else place])

    def _equations(self, places: list[Any], told: bool) -> np.ndarray:
        rng = np.random.default_rng(self.seed + 1)
        count = 2 * len(places) + 64  # at some points the gradient is 0 (a dead unit)
        count = max(count, self.subject.rows)
        points = self.subject.points(count, rng)
        scales = rng.choice([0.3, 1.0, 3.0], (count, 1))
        generic = scales * rng.normal(size=points.shape)
        points = np.where(rng.random((count, 1)) < 0.75, generic, points)
        data = self.subject.data(rng, count)
        slopes = _told(self.subject, points, data) if told else self.subject.at(points, data)[1]
        row = np.array([p[0] if isinstance(p, tuple) else p for p in places])
        column = np.array([p[1] if isinstance(p, tuple) else -1 for p in places])
        extended = np.concatenate([points, np.ones((count, 1))], axis=1)
        with np.errstate(all="ignore"):
            rows = slopes[:, row] * extended[:, column]
            size = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / size
        return rows[np.isfinite(rows).all(axis=1)]

    def _another(self, null: np.ndarray, given: np.ndarray, places: list[Any]) -> Any:
        """Return a field outside the span of those given that holds as a symmetry, or None."""
        rest = null - (null @ given.T) @ given if len(given) else null
        _, sizes, right = np.linalg.svd(rest, full_matrices=False)
        for vector in right[sizes > 0.1]:
            vector = np.where(np.abs(vector) > 1e-9, vector, 0.0)
            entries = {p: x for p, x in zip(places, vector.tolist(), strict=True) if x}
            matrix = {p: x for p, x in entries.items() if isinstance(p, tuple)}
            shift = {p: x for p, x in entries.items() if not isinstance(p, tuple)}
            action = sparse_action(self.subject.dimension, matrix, shift)
            if Flows(self.subject, [action], self.seed).test().agrees is not True:
                return None
        if not np.any(sizes > 0.1):
            return None
        return {str(p): round(x, 6) for p, x in entries.items()}


def _rank(slopes: np.ndarray, precise: bool) -> tuple[np.ndarray, int]:
    """Return the gradients that are finite and not 0, divided by their length, and their rank."""
    with np.errstate(all="ignore"):
        rows = slopes / np.linalg.norm(slopes, axis=1, keepdims=True)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        return rows, 0
    sizes = np.linalg.svd(rows, compute_uv=False)
    return rows, int(np.sum(sizes > (1e-6 if precise else 0.05) * sizes[0]))


def _told(subject: Subject, points: np.ndarray, data: Any) -> np.ndarray:
    """Return gradients (n, d), those of which rounding leaves less than six digits as NaN.

    Divided by their length they would be noise, which is orthogonal to nothing.
    """
    slopes = subject.at(points, data)[1]
    if not subject.precise:
        return slopes
    size = np.max(np.abs(slopes), axis=1, initial=0.0)
    known = (size == 0) | (size >= 1e6 * np.finfo(float).eps * subject.magnitude(points, data))
    return np.where(known[:, None], slopes, np.nan)


@dataclasses.dataclass(frozen=True, eq=False)
class ConservedCount(Claim):
    """At least so many independent functions C with grad C . grad l = 0 for every sample.

    Attributes:
        subject: The loss.
        least: How many; at generic parameters the gradients of all samples then have at most
            rank d minus that.
        differentials: Flattened parameters (n, d) -> gradients of known ones (n, k, d), each of
            which has to be orthogonal to the gradient of the loss; None where none is known.
    """

    subject: Subject
    least: int
    differentials: Callable[[np.ndarray], np.ndarray] | None = None
    seed: int = 0

    def test(self) -> Outcome:
        """Take the rank of per-sample gradients at several points."""
        subject, rng = self.subject, np.random.default_rng(self.seed + 2)
        if self.differentials is not None:
            outcome = self._orthogonal(rng)
            if outcome.agrees is not True:
                return outcome
        d = subject.dimension
        if d > _LARGEST:
            return Outcome(True, f"more than {_LARGEST} parameters", rechecked=False)
        compared = 0
        for scale in (1.0, 1.0, 30.0, 1e5):
            point = scale * rng.normal(size=d) if compared != 1 else np.abs(rng.normal(size=d))
            count = max(d + d // 4 + 8, min(subject.rows, 2 * d + 64))
            points, data = np.tile(point, (count, 1)), subject.data(rng, count)
            slopes = subject.at(points, data)[1]
            rows, rank = _rank(slopes, subject.precise)
            if rank > d - self.least:  # once more without gradients that are mostly noise
                rows, rank = _rank(_told(subject, points, data), subject.precise)
            if not len(rows):
                compared += bool(np.all(slopes == 0))
                continue
            compared += 1
            if rank > d - self.least:
                how = (
                    f"the gradients of {len(rows)} samples at a point have rank {rank}, which "
                    f"leaves {d - rank} conserved functions at most, not {self.least}"
                )
                seen = {"params": point.tolist(), "rank": rank, "claimed": self.least}
                return Outcome(False, how, seen, rank - d + self.least)
        if not compared:
            return Outcome(None, "the gradient is finite at no point that was tried")
        how = f"the rank of per-sample gradients leaves room for {self.least} at {compared} points"
        return Outcome(True, how, evaluated=compared)

    def _orthogonal(self, rng: np.random.Generator) -> Outcome:
        assert self.differentials is not None
        count = max(64, self.subject.rows)
        points = self.subject.points(count, rng)
        slopes = self.subject.at(points, self.subject.data(rng, count))[1]
        known = self.differentials(points)
        with np.errstate(all="ignore"):
            terms = known * slopes[:, None, :]
            rest, size = np.abs(terms.sum(axis=-1)), np.abs(terms).sum(axis=-1)
        good = np.isfinite(rest) & np.isfinite(size)
        if not np.any(good):
            return Outcome(None, "the gradient is finite at no point that was tried")
        # A few points may be badly conditioned; a law that fails does so at many.
        wrong = good & ~(rest <= 1e-6 * size)
        if np.mean(wrong[good]) > 0.05:
            place = np.argwhere(wrong)[0]
            seen = {"params": points[place[0]].tolist(), "law": int(place[1])}
            return Outcome(False, "grad C . grad l is not 0 for a law", seen,
                           float(rest[tuple(place)]))  # fmt: skip
        if np.any(wrong & (rest > 1e-3 * size)):
            return Outcome(None, "grad C . grad l is not 0 at a few points")
        return Outcome(True, "grad C . grad l = 0 for every law", evaluated=int(good.sum()))
