"""The gradient fields of a loss and their Lie brackets, at random points mod a prime."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flint import nmod_mat
from jax.extend.core import ClosedJaxpr

from symtheory.errors import UnreadableError
from symtheory.model import Model
from symtheory.readings import Deadline, read, trace
from symtheory.symmetry.conservation._modular import MODULUS, Lanes, Modular
from symtheory.symmetry.conservation._points import Points, compares
from symtheory.symmetry.conservation._reverse import differentiable, gradient


def nested_bracket(field: Callable[..., Any], level: int) -> Callable[..., Any]:
    """Return (x, samples) -> [f(.; z_n), [..., [f(.; z_1), f(.; z_0)]]](x)."""
    if level == 0:
        return lambda x, samples: field(x, samples[0])
    inner = nested_bracket(field, level - 1)

    def bracket(x: Any, samples: Sequence[Any]) -> Any:
        *before, last = samples
        outer = field(x, last)
        value, along = jax.jvp(lambda y: inner(y, before), (x,), (outer,))
        _, back = jax.jvp(lambda y: field(y, last), (x,), (value,))
        return jax.tree.map(lambda a, b: a - b, along, back)

    return bracket


class Fields:
    """The fields theta -> grad l(theta; z), or those of heavy-ball motion in phase space.

    In phase space x = (theta, v) with time t, and the fields are d/dt + v d/dtheta
    - (tau v + grad l) d/dv, tau a random rate.

    Args:
        model: A model with all sizes bound.
        momentum: Whether to take phase space.
        seed: Seed of the points.
        deadline: A time limit.
    """

    def __init__(self, model: Model, momentum: bool, seed: int, deadline: Deadline) -> None:
        self.model, self.momentum, self.deadline = model, momentum, deadline
        self.seed, self.readable = seed, True
        self.structure = model.structure()
        self.loss, _ = trace(lambda p, z, c: model.evaluate(p, z, c), *self.structure)
        self.enclosed = compares(self.loss.jaxpr)
        self.points = Points(model, self.enclosed, seed)
        self.constants = self.points.constants()
        self.size = model.dimension
        self._quick = differentiable(self.loss.jaxpr)
        self._gradient: ClosedJaxpr | None = None
        self._brackets: dict[int, ClosedJaxpr] = {}

    @property
    def dimension(self) -> int:
        """Dimension of the space the fields live on."""
        return 2 * self.size + 1 if self.momentum else self.size

    def probe(self) -> None:
        """Find out whether the loss can be read in residues at all (see `readable`)."""
        try:
            self.gradients(self.points.lanes(self.points.params(1)), self.points.samples(1))
        except (UnreadableError, ZeroDivisionError):
            self.readable = False

    # --- gradients ---

    def gradients(
        self,
        params: list[Lanes],
        samples: list[Lanes],
        decisions: list[np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the flattened per-sample gradient in every lane, and which lanes are decided."""
        enclosed = self.enclosed and decisions is None
        constants = self.constants if enclosed else [Lanes(x.residue) for x in self.constants]
        rest = [*samples, *constants]
        lanes = max(len(x.residue) for x in [*params, *rest])
        if self._quick:
            try:
                parts, undecided = gradient(
                    self.loss, params, rest, enclosed, self.deadline, decisions
                )
                return flattened(parts, lanes), ~np.broadcast_to(undecided, (lanes,))
            except UnreadableError:
                if decisions is not None:  # they were taken in the order of the loss
                    raise
                self._quick = False
        domain = Modular(enclosed, decisions)
        out = read(self._slope(), domain, [*params, *rest], self.deadline)
        rows = flattened([domain.lift(x) for x in out], lanes)
        return rows, ~np.broadcast_to(domain.undecided, (lanes,))

    def _slope(self) -> ClosedJaxpr:
        if self._gradient is None:
            self._gradient, _ = trace(
                jax.grad(lambda p, z, c: self.model.evaluate(p, z, c)), *self.structure
            )
        return self._gradient

    # --- the fields at one point ---

    def point(self) -> list[Lanes]:
        """Return random parameters; with momentum also velocities and the friction."""
        rng = self.points.rng
        shapes = self.points.shapes * (2 if self.momentum else 1) + [()] * self.momentum
        return [Lanes(rng.integers(1, MODULUS, (1, *shape))) for shape in shapes]

    def rows(self, level: int, point: list[Lanes], count: int) -> np.ndarray:
        """Return nested brackets of random fields at a point, one in each row.

        Where the loss compares values, its pieces are polynomial: the pieces are those that occur
        at random parameters and samples, each continued to the one point.
        """
        samples = [self.points.samples(count) for _ in range(level + 1)]
        if level == 0 and not self.momentum:
            decisions, decided = self._pieces(self.loss if self._quick else None, samples, count)
            if decisions is not None:
                samples = [[Lanes(x.residue) for x in sample] for sample in samples]
            rows, _ = self.gradients(point, samples[0], decisions)
            return compressed(rows[decided], self.dimension + 8, self.points.rng)
        if level not in self._brackets:
            self._brackets[level] = self._trace(level)
        closed = self._brackets[level]
        decisions, decided = self._pieces(closed, samples, count)
        domain = Modular(False, decisions)
        leaves = [Lanes(leaf.residue) for sample in samples for leaf in sample]
        inputs = [*point, *leaves, *(Lanes(x.residue) for x in self.constants)]
        out = read(closed, domain, inputs, self.deadline)
        rows = flattened([domain.lift(x) for x in out], count)
        if self.momentum:  # the time component: 1 for the fields, 0 for their brackets
            rows = np.concatenate([np.full((count, 1), int(level == 0)), rows], axis=1)
        return rows[decided]

    def _pieces(
        self, closed: ClosedJaxpr | None, samples: list[list[Lanes]], count: int
    ) -> tuple[list[np.ndarray] | None, np.ndarray]:
        """Return what the comparisons come out as at random parameters, and where that is sure."""
        if not self.enclosed:
            return None, np.ones(count, dtype=bool)
        domain = Modular(True)
        at = self.points.lanes(self.points.params(count))
        if self.momentum:
            at += self.points.lanes(self.points.params(count))
            at += self.points.lanes([self.points.rng.integers(1, 97, (1,))])
        inputs = [*at, *(leaf for sample in samples for leaf in sample), *self.constants]
        read(closed or self._slope(), domain, inputs, self.deadline)
        return domain.decisions, ~np.broadcast_to(domain.undecided, (count,))

    def _trace(self, level: int) -> ClosedJaxpr:
        params, sample, constants = self.structure
        evaluate = self.model.evaluate
        if not self.momentum:

            def function(p: Any, zs: Any, c: Any) -> Any:
                return nested_bracket(lambda x, z: jax.grad(lambda q: evaluate(q, z, c))(x), level)(
                    p, zs
                )

            return trace(function, params, [sample] * (level + 1), constants)[0]

        def phase(p: Any, v: Any, rate: Any, zs: Any, c: Any) -> Any:
            def field(x: Any, z: Any) -> Any:
                slope = jax.grad(lambda q: evaluate(q, z, c))(x[0])
                return x[1], jax.tree.map(lambda w, g: -rate * w - g, x[1], slope)

            return nested_bracket(field, level)((p, v), zs)

        scalar = jax.ShapeDtypeStruct((), float)
        return trace(phase, params, params, scalar, [sample] * (level + 1), constants)[0]


# --- linear algebra mod the prime --------------------------------------------------------------


def flattened(parts: Sequence[Lanes], lanes: int) -> np.ndarray:
    """Return leaves as one row per lane."""
    rows = [
        np.broadcast_to(x.residue, (lanes, *x.residue.shape[1:])).reshape(lanes, -1) for x in parts
    ]
    return np.concatenate(rows, axis=1)


def compressed(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return random combinations of many rows; exact, the products staying below 2^53."""
    if len(rows) <= count:
        return rows
    out = np.zeros((count, rows.shape[1]), dtype=np.int64)
    for start in range(0, len(rows), 2**14):
        block = rows[start : start + 2**14]
        weights = rng.integers(0, 2**12, (count, len(block))).astype(float)
        low = weights @ (block & 8191).astype(float)
        high = weights @ (block >> 13).astype(float)
        out += low.astype(np.int64) + ((high.astype(np.int64) % MODULUS) << 13)
        out %= MODULUS
    return out


def matrix(rows: np.ndarray) -> nmod_mat:
    """Return rows of residues as a FLINT matrix."""
    height, width = rows.shape
    return nmod_mat(height, width, (rows % MODULUS).reshape(-1).tolist(), MODULUS)


def rank(rows: np.ndarray) -> int:
    """Return the rank mod the prime: a lower bound on the rank over Q."""
    return int(matrix(rows).rank()) if math.prod(rows.shape) else 0


def null_vectors(rows: np.ndarray) -> np.ndarray:
    """Return a reduced basis of the null space, one vector in each row."""
    kernel, nullity = matrix(rows).nullspace()
    width = rows.shape[1]
    if not nullity:
        return np.zeros((0, width), dtype=np.int64)
    table = np.array([[int(x) for x in row] for row in kernel.tolist()], dtype=np.int64)
    reduced = matrix(table[:, :nullity].T).rref()[0]
    return np.array([[int(x) for x in row] for row in reduced.tolist()], dtype=np.int64)
