"""Ranks and candidates for losses with tanh, exp, sqrt and the like, which have no residues."""

from __future__ import annotations

import random
from typing import Any

import jax
import numpy as np
from flint import arb

from symtheory import shapes
from symtheory.data import random_rational
from symtheory.domains import Balls, UndecidedError, ball, precision
from symtheory.exact import rational_array
from symtheory.linear_algebra._enclosed import certain_rank
from symtheory.model import Model
from symtheory.program import Deadline, Program, evaluate, lower, trace
from symtheory.symmetry.conservation._fields import nested_bracket
from symtheory.verdict import Subject, samples

_BITS = 200


class EnclosedFields:
    """Gradient fields and brackets at one rational point, in rigorous enclosures.

    Args:
        model: A model with all sizes bound.
        seed: Seed of the points.
        deadline: A time limit.
    """

    def __init__(self, model: Model, seed: int, deadline: Deadline) -> None:
        self.model, self.deadline = model, deadline
        self.structure = model.structure()
        self._random = random.Random(seed)
        self.theta = self._params()
        self._traced: dict[int, Program] = {}
        self.rows: list[list[arb]] = []

    def _params(self) -> list[np.ndarray]:
        return [self._array(shapes.fixed(shape)) for shape in self.model.leaves.values()]

    def _array(self, shape: tuple[int, ...]) -> np.ndarray:
        out = np.empty(shape, dtype=object)
        for index in np.ndindex(shape):
            out[index] = random_rational(self._random)
        return out

    def _sample(self) -> list[np.ndarray]:
        laws = {name: law.exact_draw(self._random) for name, law in self.model.laws.items()}
        tree = laws[""] if list(laws) == [""] else laws
        return [np.asarray(leaf, dtype=object) for leaf in jax.tree.leaves(tree)]

    def _constants(self) -> list[np.ndarray]:
        return [
            rational_array(self.model.values[name])
            if name in self.model.values
            else self._array(shapes.fixed(shape))
            for name, shape in sorted(self.model.constants.items())
        ]

    def extend(self, level: int, count: int) -> None:
        """Add the enclosures of `count` random nested brackets of one depth."""
        if level not in self._traced:
            params, sample, constants = self.structure

            def function(p: Any, zs: Any, c: Any) -> Any:
                slope = lambda x, z: jax.grad(lambda q: self.model.evaluate(q, z, c))(x)
                return nested_bracket(slope, level)(p, zs)

            closed, _ = trace(function, params, [sample] * (level + 1), constants)
            self._traced[level] = lower(closed)
        domain, constants = Balls(), self._constants()
        for _ in range(count):
            samples = [leaf for _ in range(level + 1) for leaf in self._sample()]
            inputs = [_balls(array) for array in [*self.theta, *samples, *constants]]
            try:
                with precision(_BITS):
                    out = evaluate(self._traced[level], domain, inputs, self.deadline)
            except UndecidedError:
                continue
            parts = [domain.lift(np.asarray(x)).reshape(-1) for x in out]
            row = [arb(x) for part in parts for x in part]
            if all(x.is_finite() for x in row):
                self.rows.append(row)

    def rank(self) -> int:
        """Return a rigorous lower bound on the rank of the rows."""
        with precision(_BITS):
            return certain_rank(self.rows, self.deadline)


def _balls(array: np.ndarray) -> np.ndarray:
    out = np.empty(array.shape, dtype=object)
    for index, item in np.ndenumerate(array):
        out[index] = ball(item)
    return out


def float_gradients(model: Model, count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return random parameters and per-sample gradients in double precision, for candidates.

    The gradient is compiled once per model, however often it is asked for.
    """
    rng, subject = np.random.default_rng(seed), Subject.of(model)
    _, sample, constants = model.structure(np.float64)
    points = rng.normal(size=(count, subject.dimension))
    open_constants = {
        name: np.broadcast_to(rng.normal(size=struct.shape), (count, *struct.shape))
        for name, struct in constants.items()
        if name not in model.values
    }
    if model.unbound:
        z = jax.tree.map(lambda s: rng.normal(size=(count, *s.shape)), sample)
    else:
        z = samples(model, rng, count)
    _, rows = subject.at(points, (z, open_constants))
    return jax.tree.leaves(subject.pack(points)), rows
