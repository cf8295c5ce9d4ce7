"""The gradient fields of a loss and their Lie brackets, at random points mod a prime."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from symtheory.domains import Numbers, Residues
from symtheory.errors import UnreadableError
from symtheory.linear_algebra._modular import PRIME, combinations
from symtheory.model import Model
from symtheory.program import (
    Deadline,
    Program,
    compares,
    evaluate,
    irrational,
    lower,
    pruned,
    trace,
    with_value_derivatives,
)
from symtheory.symmetry._loss import loss_of
from symtheory.symmetry.conservation._points import Points


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


@dataclasses.dataclass(frozen=True, eq=False)
class _Piece:
    """Samples and constants, and the pieces of a loss on which they are.

    Attributes:
        rest: Samples and constants.
        decisions: What comparisons come out as; None for a loss that is all one piece.
        good: Points at which all of them are certain.
    """

    rest: list[Any]
    decisions: list[np.ndarray] | None
    good: np.ndarray


class Fields:
    """The fields theta -> grad l(theta; z), or those of heavy-ball motion in phase space.

    In phase space x = (theta, v) with time t, and the fields are d/dt + v d/dtheta
    - (tau v + grad l) d/dv, tau a random rate. Programs are traced and lowered once for many
    points, which are a leading axis of every argument and result.

    Args:
        model: A model with all sizes bound.
        momentum: Whether to take phase space.
        seed: Seed of the points.
        deadline: A time limit.
    """

    def __init__(self, model: Model, momentum: bool, seed: int, deadline: Deadline) -> None:
        self.model, self.momentum, self.deadline = model, momentum, deadline
        self.seed = seed
        self.loss = loss_of(model)
        self.structure = self.loss.inputs
        self.enclosed = compares(self.loss.program)
        self.readable = not irrational(self.loss.program)
        self.points = Points(model, self.enclosed, seed)
        self.constants = self.points.constants()
        self.size = model.dimension
        self._programs: dict[int | None, Program] = {}
        self._pieces: list[_Piece] = []

    @property
    def dimension(self) -> int:
        """Dimension of the space the fields live on."""
        return 2 * self.size + 1 if self.momentum else self.size

    # --- gradients ---

    def gradients(self, count: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Return `count` random points or a few more, and the flattened gradients, in residues.

        Points at which a comparison is open are left out.
        """
        program, size = self._program(None)
        found: list[tuple[list[np.ndarray], np.ndarray]] = []
        for _ in range(math.ceil(count / size)):
            theta = self.points.numbers(self.points.params(size))
            rest = [*self.points.samples(size), *self._repeated(self.constants, size)]
            rows, piece = self._read_pieces(program, theta, rest, size)
            if not self.momentum:
                self._pieces.append(piece)
            leaves = [residues(x)[piece.good] for x in theta]
            found.append((leaves, rows[piece.good]))
        leaves = [np.concatenate(column) for column in zip(*(x for x, _ in found), strict=True)]
        return leaves, np.concatenate([rows for _, rows in found])

    def _read_pieces(
        self, program: Program, at: Sequence[Any], rest: Sequence[Any], size: int
    ) -> tuple[np.ndarray, _Piece]:
        """Evaluate a program at points that are random, and take down which pieces they are on."""
        domain = Residues(self.enclosed, pieces=True)
        out = evaluate(program, domain, [*at, *rest], self.deadline)
        rows, good = self._flat(out, size)
        return rows, _Piece(list(rest), domain.decisions if self.enclosed else None, good)

    # --- the fields at one point ---

    def point(self) -> list[Numbers]:
        """Return random parameters; with momentum also velocities and the friction."""
        rng = self.points.rng
        shapes = self.points.shapes * (2 if self.momentum else 1) + [()] * self.momentum
        return [Numbers(rng.integers(1, PRIME, (1, *shape)), None) for shape in shapes]

    def rows(self, level: int, point: list[Numbers], count: int) -> np.ndarray:
        """Return nested brackets of random fields at a point, one in each row.

        Where the loss compares values, its pieces are rational: the pieces are those that occur
        at random parameters and samples, each continued to the one point.
        """
        program, size = self._program(level)
        found = []
        for _ in range(math.ceil(count / size)):
            if level == 0 and self._pieces:
                piece = self._pieces.pop()
            else:
                samples = [x for _ in range(level + 1) for x in self.points.samples(size)]
                rest = [*samples, *self._repeated(self.constants, size)]
                piece = _Piece(rest, None, np.ones(size, dtype=bool))
                if self.enclosed:
                    _, piece = self._read_pieces(program, self._somewhere(size), rest, size)
            rest = [x if isinstance(x, np.ndarray) else Numbers(x.residues, None)
                    for x in piece.rest]  # fmt: skip
            here = [*self._repeated(point, size), *rest]
            out = evaluate(program, Residues(False, piece.decisions), here, self.deadline)
            found.append(self._flat(out, size)[0][piece.good])
        rows = np.concatenate(found)
        if self.momentum:  # the time component: 1 for the fields, 0 for their brackets
            rows = np.concatenate([np.full((len(rows), 1), int(level == 0)), rows], axis=1)
        few = self.dimension + 8
        return rows if len(rows) <= 3 * few else combinations(rows, few, self.points.rng)

    def _somewhere(self, size: int) -> list[Numbers]:
        """Return random parameters at which pieces are looked for."""
        out = self.points.numbers(self.points.params(size))
        if self.momentum:
            out += self.points.numbers(self.points.params(size))
            out += self.points.numbers([self.points.rng.integers(1, 97, (size,))])
        return out

    def _repeated(self, numbers: Sequence[Numbers], size: int) -> list[Numbers]:
        return [x.map(lambda a: np.broadcast_to(a, (size, *a.shape[1:]))) for x in numbers]

    def _flat(self, outputs: Sequence[Any], size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return leaves as one row per point, and which points are decided."""
        domain = Residues(self.enclosed)
        leaves = [domain.lift(x) for x in outputs]
        rows = [residues(x).reshape(size, x.size // size) for x in leaves]
        good = np.ones(size, dtype=bool)
        for x in leaves:
            if x.enclosure is not None:
                known = np.isfinite(x.errors) & np.isfinite(x.values)
                good &= known.reshape(size, x.size // size).all(axis=1)
        return np.concatenate(rows, axis=1), good

    # --- programs ---

    @property
    def _many(self) -> int:
        """For how many points programs are."""
        return (self.dimension + 16) * (2 if self.enclosed else 1)

    def _program(self, level: int | None) -> tuple[Program, int]:
        """Return the program of brackets of one depth, and for how many points it is.

        The fields themselves are brackets of depth 0; None stands for grad l alone.
        """
        level = None if level == 0 and not self.momentum else level
        if level not in self._programs:
            self._programs[level] = lower(self._slope if level is None else self._bracket(level))
        return self._programs[level], self._many

    def _traced(self, function: Callable[..., Any], *structures: Any) -> ClosedJaxpr:
        size = self._many
        many = jax.tree.map(lambda s: jax.ShapeDtypeStruct((size, *s.shape), s.dtype), structures)
        return pruned(trace(function, *many)[0])

    @functools.cached_property
    def _slope(self) -> ClosedJaxpr:
        """grad l at many points.

        The gradient of a sum over points is made of the gradients at each of them, and is traced
        faster than those.
        """
        if self.loss.redefines_derivatives:
            value = self.loss.value
        else:
            plain = with_value_derivatives(self.loss.closed)
            value = lambda p, z, c: plain(*jax.tree.leaves((p, z, c)))

        def slope(p: Any, z: Any, c: Any) -> Any:
            losses, back = jax.vjp(lambda q: jax.vmap(value)(q, z, c), p)
            return back(jnp.ones_like(losses))[0]

        return self._traced(slope, *self.structure)

    def _bracket(self, level: int) -> ClosedJaxpr:
        """Return nested brackets at many points, of the gradient that was traced before."""
        params, sample, constants = self.structure
        known = jaxpr_as_fun(self._slope)

        def slope(p: Any, z: Any, c: Any) -> Any:
            return jax.tree.unflatten(jax.tree.structure(p), known(*jax.tree.leaves((p, z, c))))

        if not self.momentum:

            def function(p: Any, zs: Any, c: Any) -> Any:
                return nested_bracket(lambda x, z: slope(x, z, c), level)(p, zs)

            return self._traced(function, params, [sample] * (level + 1), constants)

        def phase(p: Any, v: Any, rate: Any, zs: Any, c: Any) -> Any:
            def field(x: Any, z: Any) -> Any:
                turned = lambda w, g: -rate.reshape(-1, *[1] * (w.ndim - 1)) * w - g
                return x[1], jax.tree.map(turned, x[1], slope(x[0], z, c))

            return nested_bracket(field, level)((p, v), zs)

        scalar = jax.ShapeDtypeStruct((), float)
        samples = [sample] * (level + 1)
        return self._traced(phase, params, params, scalar, samples, constants)


def residues(x: Numbers) -> np.ndarray:
    """Return residues.

    Raises:
        UnreadableError: The numbers are not known to be rational.
    """
    if x.residues is None:
        raise UnreadableError(
            "the residues domain cannot read a gradient that is no rational function of the "
            "parameters and the sample; look at the derivative rules of the loss"
        )
    return x.residues
