"""Claims about the invariance of a loss, as data that can be evaluated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from symtheory.verdict._actions import Action, mixture
from symtheory.verdict._recheck import Claim, Claims, Outcome, joined
from symtheory.verdict._rounding import NEIGHBOURS, is_difference, left_by, tolerance
from symtheory.verdict._sampling import nearby
from symtheory.verdict._subject import QUICKLY, Subject

_POINTS = 64
_FLOWS = 2048
_SUSPECTS = 3

Map = Callable[[np.ndarray], np.ndarray]
"""A transformation of flattened parameters, rows (n, d) -> (n, d)."""


@dataclasses.dataclass
class _Sample:
    """Points of the parameters, data for each, and the loss with its gradient there."""

    subject: Subject
    rng: np.random.Generator
    points: np.ndarray
    data: Any
    values: np.ndarray
    slopes: np.ndarray

    @classmethod
    def draw(cls, subject: Subject, seed: int, points: int = _POINTS) -> _Sample:
        rng = np.random.default_rng(seed)
        count = max(min(points, 4 * subject.lanes), subject.rows)
        theta = subject.points(count, rng)
        data = subject.data(rng, count)
        return cls(subject, rng, theta, data, *subject.at(theta, data))

    def floor(self) -> tuple[float, float]:
        """Return what rounding leaves of values and of slopes in the middle of the points."""
        good = np.isfinite(self.values) & np.isfinite(self.slopes).all(axis=1)
        if not np.any(good):
            return 0.0, 0.0
        values = np.abs(self.values[good])
        slopes = np.max(np.abs(self.slopes[good]), axis=1, initial=0.0)
        return 1e-14 * float(np.median(values)), 1e-14 * float(np.median(slopes))

    def around(self, place: int) -> tuple[np.ndarray, Any]:
        """Return neighbours of one point, with its data."""
        points = nearby(np.repeat(self.points[[place]], NEIGHBOURS, axis=0), self.rng)
        return points, self.taken(np.full(NEIGHBOURS, place))

    def taken(self, places: np.ndarray) -> Any:
        return jax.tree.map(lambda x: np.asarray(x)[places], self.data)


def _worst(residual: np.ndarray, scale: np.ndarray, floor: Any, precise: bool) -> np.ndarray:
    """Return the places of the largest differences, beyond what needs no explanation."""
    good = np.isfinite(residual) & np.isfinite(scale)
    size = np.where(good, np.abs(residual), 0.0)
    limit = np.where(good, tolerance(precise) * scale + floor, np.inf)
    suspects = np.flatnonzero(~(size <= limit))
    ratio = np.minimum(size[suspects] / (scale[suspects] + np.finfo(float).tiny), 1e-2)
    # Among flagrant ones the largest, which is the easiest to see.
    return suspects[np.lexsort((-size[suspects], -ratio))][:_SUSPECTS]


@dataclasses.dataclass(frozen=True, eq=False)
class Flows(Claims, Claim):
    """grad l . (A theta + b) = 0, and l is the same after exp(tA), for each of several fields.

    The gradient is what SGD follows: `jax.grad` of the user's function, stopped derivatives and
    custom rules included. Finite transformations see jumps, and derivatives that are not those of
    the value.

    Attributes:
        subject: The loss.
        actions: The fields.
        seed: Seed of the points.
    """

    subject: Subject
    actions: Sequence[Action]
    seed: int = 0

    def test(self) -> Outcome:
        """Evaluate all fields as one claim."""
        return joined(self.test_each())

    def test_each(self) -> list[Outcome]:
        """Evaluate every field at the same points."""
        if not self.actions:
            return []
        sample = _Sample.draw(self.subject, self.seed)
        slopes = [self._slope(sample, action) for action in self.actions]
        left = [k for k, outcome in enumerate(slopes) if outcome.agrees]
        out = list(slopes)
        for k, outcome in zip(left, self._finite(sample, left), strict=True):
            out[k] = joined([slopes[k], outcome])
        return out

    def _slope(self, sample: _Sample, action: Action) -> Outcome:
        precise = self.subject.precise
        tangent = action.tangent(sample.points)
        rest, scale = _paired(sample.slopes, tangent)
        floor = sample.floor()[1] * np.sum(np.abs(tangent), axis=1)
        undecided = None
        for place in _worst(rest, scale, floor, precise):
            points, data = sample.around(int(place))
            moved = action.tangent(points)

            def residual(double: bool, at: Any = (points, data, moved)) -> Any:
                return _paired(self.subject.at(at[0], at[1], double=double)[1], at[2])

            def floor_there(at: Any = (points, data, moved)) -> np.ndarray:
                sizes = self.subject.magnitude(at[0], at[1])
                return left_by(sizes * np.max(np.abs(at[2]), axis=1, initial=0.0))

            relative = float(abs(rest[place]) / (scale[place] + np.finfo(float).tiny))
            real = is_difference(residual, floor_there, precise, relative, jumps=False)
            if real:
                seen = self.subject.witness(sample.points[place], sample.data, int(place))
                seen["derivative"] = float(rest[place])
                how = f"grad l . (A theta + b) = {rest[place]:.3g} at a point"
                return Outcome(False, how, seen, float(rest[place]))
            if real is None:
                undecided = f"grad l . (A theta + b) is {relative:.1e} of its terms at a point"
        if undecided:
            return Outcome(None, undecided)
        count = int(np.sum(np.isfinite(rest)))
        if not count:
            return Outcome(None, "the gradient is finite at no point")
        return Outcome(True, f"grad l . (A theta + b) vanishes at {count} points", evaluated=count)

    def _finite(self, sample: _Sample, chosen: list[int]) -> list[Outcome]:
        usable = np.flatnonzero(np.isfinite(sample.values))
        if not chosen or not len(usable):
            return [Outcome(None, "the loss is finite at no point") for _ in chosen]
        actions = [self.actions[k] for k in chosen]
        each = min(max(_FLOWS // len(actions), 4), max(_POINTS, self.subject.rows))
        # All of them at once as well: other elements of the group they generate.
        weights = sample.rng.normal(size=len(actions)) / len(actions)
        together = [mixture(actions, weights)] if len(actions) > 1 else []
        shown = [a.flow for a in (*actions, *together)]
        starts = [sample.rng.choice(usable, each, replace=len(usable) < each) for _ in shown]
        times = [a.times(sample.points[s], sample.rng)
                 for a, s in zip((*actions, *together), starts, strict=True)]  # fmt: skip
        maps = [_Timed(f, t) for f, t in zip(shown, times, strict=True)]
        found = _images_agree(sample, maps, starts, "exp(tA)")
        if together and found[-1].agrees is not True and all(o.agrees for o in found[:-1]):
            return [found[-1] for _ in actions]
        return found[: len(actions)]


@dataclasses.dataclass(frozen=True)
class _Timed:
    """A flow with a time for each of some points."""

    flow: Callable[[np.ndarray, np.ndarray], np.ndarray]
    times: np.ndarray

    def __call__(self, points: np.ndarray, entry: int | None = None) -> np.ndarray:
        times = self.times if entry is None else np.full(len(points), self.times[entry])
        return self.flow(points, times)

    def label(self, entry: int) -> dict[str, Any]:
        return {"t": float(self.times[entry])}


@dataclasses.dataclass(frozen=True)
class _Fixed:
    """A map that does not depend on the point."""

    map: Map

    def __call__(self, points: np.ndarray, entry: int | None = None) -> np.ndarray:
        return self.map(points)

    def label(self, entry: int) -> dict[str, Any]:
        return {}


def _images_agree(
    sample: _Sample, maps: Sequence[Any], starts: Sequence[np.ndarray], what: str
) -> list[Outcome]:
    """Compare the loss at points and at their images; one outcome per map."""
    subject = sample.subject
    images = [m(sample.points[s]) for m, s in zip(maps, starts, strict=True)]
    places = np.concatenate(list(starts))
    values, slopes = subject.at(np.concatenate(images), sample.taken(places))
    ends = np.cumsum([len(s) for s in starts])[:-1]
    out = []
    for m, start, image, value, slope in zip(
        maps, starts, images, np.split(values, ends), np.split(slopes, ends), strict=True
    ):
        before = sample.values[start]
        with np.errstate(all="ignore"):
            rest = value - before
            scale = _terms(before, sample.slopes[start], sample.points[start]) + _terms(
                value, slope, image
            )
        undecided, outcome = "", None
        for entry in _worst(rest, scale, sample.floor()[0], subject.precise):
            points, data = sample.around(int(start[entry]))
            moved = m(points, int(entry))

            def residual(double: bool, at: Any = (points, moved, data)) -> Any:
                one, slope_one = subject.at(at[0], at[2], double=double)
                two, slope_two = subject.at(at[1], at[2], double=double)
                with np.errstate(all="ignore"):
                    size = _terms(one, slope_one, at[0]) + _terms(two, slope_two, at[1])
                    return two - one, size

            def floor_there(at: Any = (points, moved, data)) -> np.ndarray:
                sizes = [subject.sensitivity(x, at[2]) for x in at[:2]]
                return left_by(np.maximum(*sizes))

            relative = float(abs(rest[entry]) / (scale[entry] + np.finfo(float).tiny))
            real = is_difference(residual, floor_there, subject.precise, relative, jumps=True)
            if real:
                place = int(start[entry])
                seen = subject.witness(sample.points[place], sample.data, place)
                seen |= {**m.label(int(entry)), "before": float(before[entry]),
                         "after": float(value[entry])}  # fmt: skip
                how = f"the loss is {before[entry]:.6g} before and {value[entry]:.6g} after {what}"
                outcome = Outcome(False, how, seen, float(rest[entry]))
                break
            if real is None:
                undecided = f"the loss changes by {relative:.1e} of its terms under {what}"
        count = int(np.sum(np.isfinite(rest)))
        if outcome is None and undecided:
            outcome = Outcome(None, undecided)
        elif outcome is None and not count:
            outcome = Outcome(None, f"the loss is finite at no point and its image under {what}")
        out.append(outcome or Outcome(True, f"the loss is the same under {what} at {count} points",
                                      evaluated=count))  # fmt: skip
    return out


def _paired(slopes: np.ndarray, tangent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return grad l . t and the sum of the sizes of its terms, (n,) each."""
    with np.errstate(all="ignore"):
        terms = slopes * tangent
        return np.sum(terms, axis=1), np.sum(np.abs(terms), axis=1)


def _terms(value: np.ndarray, slope: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return what rounding of a value is relative to: its size, and the share of each input."""
    return np.abs(value) + np.sum(np.abs(slope * point), axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Maps(Claims, Claim):
    """l(map(theta)) = l(theta) for each of several maps: reflections, permutations, sign flips.

    Attributes:
        subject: The loss.
        maps: Transformations of flattened parameters, rows (n, d) -> (n, d).
        seed: Seed of the points.
    """

    subject: Subject
    maps: Sequence[Map]
    seed: int = 0

    def test(self) -> Outcome:
        """Evaluate all maps as one claim."""
        return joined(self.test_each())

    def test_each(self) -> list[Outcome]:
        """Evaluate every map at the same points."""
        if not self.maps:
            return []
        sample = _Sample.draw(self.subject, self.seed)
        usable = np.flatnonzero(np.isfinite(sample.values))
        if not len(usable):
            return [Outcome(None, "the loss is finite at no point") for _ in self.maps]
        each = max(8, min(len(usable), 4 * _FLOWS // len(self.maps)))
        chosen = [usable if each >= len(usable) else sample.rng.choice(usable, each, replace=False)
                  for _ in self.maps]  # fmt: skip
        return _images_agree(sample, [_Fixed(m) for m in self.maps], chosen, "the map")


@dataclasses.dataclass(frozen=True, eq=False)
class Moves(Claim):
    """l(map(theta)) is not l(theta) for all theta: a point where they differ is found in floats.

    Attributes:
        subject: The loss.
        map: A transformation of flattened parameters.
    """

    subject: Subject
    map: Map
    seed: int = 0

    def test(self) -> Outcome:
        """Look for a point where the map certainly changes the loss."""
        outcome = Maps(self.subject, [self.map], self.seed).test()
        if outcome.agrees is False:
            return Outcome(True, outcome.how, evaluated=1)
        return Outcome(None, f"no point was found where the map changes the loss: {outcome.how}")


def traced_map(subject: Subject, function: Callable[[Any], Any]) -> Map:
    """Return a JAX function of the parameters as a map of flattened ones, rows (n, d)."""

    def moved(flat: Any) -> Any:
        leaves = jax.tree.leaves(function(subject.pack(flat)))
        return jax.numpy.concatenate([jax.numpy.reshape(leaf, -1) for leaf in leaves])

    compiled, lanes = jax.jit(jax.vmap(moved), compiler_options=QUICKLY), subject.lanes

    def apply(points: np.ndarray) -> np.ndarray:
        out = np.empty(points.shape)
        with jax.enable_x64(True):
            for start in range(0, len(points), lanes):
                places = np.minimum(np.arange(start, start + lanes), len(points) - 1)
                out[places] = np.asarray(compiled(points[places]), dtype=float)
        return out

    return apply
