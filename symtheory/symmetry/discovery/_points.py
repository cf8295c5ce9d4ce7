"""The per-sample gradient at many exact points: rational parameters, samples in their support."""

from __future__ import annotations

import dataclasses
import random
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from flint import fmpq, fmpq_mat

from symtheory.data import Law, Normal
from symtheory.exact import rational_array
from symtheory.model import Model
from symtheory.readings import Deadline, read, trace
from symtheory.symmetry.discovery._checks import integer_inputs
from symtheory.symmetry.discovery._lane_values import Lanes, lift
from symtheory.symmetry.discovery._lanes import LanesDomain
from symtheory.symmetry.discovery._modular import PRIME

_STEPS = 40
_SCALE = 32
"""Coordinates are k/32 with 0 < |k| <= 40: exact in binary, of moderate size."""


@dataclasses.dataclass(frozen=True)
class Points:
    """Parameters, what else scales freely, and the loss with its gradients, point by point.

    Attributes:
        theta: Parameters (points, d).
        free: Entries of the sample that range over all reals, and unbound constants (points, m).
        loss: The loss (points,).
        gradient: Its gradient in the parameters (points, d).
        free_gradient: Its gradient in the free entries (points, m).
    """

    theta: Lanes
    free: Lanes
    loss: Lanes
    gradient: Lanes
    free_gradient: Lanes

    @property
    def exact(self) -> bool:
        """Whether everything is known mod the prime."""
        parts = (self.loss, self.gradient, self.free_gradient)
        return all(part.residues is not None for part in parts)

    def __len__(self) -> int:
        return len(self.loss.values)

    def join(self, other: Points) -> Points:
        """Return the points of both."""
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self)]
        return Points(*(_concatenate([a, b], 0) for a, b in pairs))


class Sampler:
    """Draws points and reads the loss and its gradients there; traces once.

    Args:
        model: A model with all sizes bound.
        value: Its loss as a function of parameters, sample and open constants.
        count: Points per draw.
        rng: Where the points come from.
        deadline: A time limit on reading.
    """

    def __init__(
        self, model: Model, value: Any, count: int, rng: np.random.Generator, deadline: Deadline
    ) -> None:
        self._model, self._count, self._rng, self._deadline = model, count, rng, deadline
        self._exact = random.Random(int(rng.integers(2**31)))
        params, sample, constants = model.structure()
        self._known = {n: v for n, v in model.values.items() if n in model.constants}
        open_constants = {n: s for n, s in constants.items() if n not in self._known}
        self._structures = [params, sample, open_constants]

        many = jax.tree.map(
            lambda s: jax.ShapeDtypeStruct((count, *s.shape), s.dtype), self._structures
        )
        function = jax.vmap(jax.value_and_grad(value, argnums=(0, 1, 2)))
        self._jaxpr, _ = trace(function, *many)
        self._labels = integer_inputs(self._jaxpr)
        self.free = self._free_entries()

    def _free_entries(self) -> np.ndarray:
        """Tell which flattened entries of sample and open constants range over all reals."""
        flags = []
        for law in self._model.laws.values():
            sizes = [int(np.prod(s, dtype=int)) for s in jax.tree.leaves(
                law.structure, is_leaf=lambda s: isinstance(s, tuple))]  # fmt: skip
            flags += [np.full(size, is_everywhere(law)) for size in sizes]
        order = _order(self._structures[1], self._model)
        sample = np.concatenate([flags[i] for i in order]) if flags else np.zeros(0, dtype=bool)
        count = sum(int(np.prod(s.shape, dtype=int)) for s in jax.tree.leaves(self._structures[2]))
        return np.concatenate([sample, np.ones(count, dtype=bool)]).astype(bool)

    def draw(self) -> Points:
        """Return new points, those left out where a comparison could not be decided.

        Raises:
            UnreadableError: A primitive cannot be read at exact points.
            BudgetError: The deadline has passed.
        """
        params = [self._dyadic(s.shape) for s in jax.tree.leaves(self._structures[0])]
        sample = self._sample()
        constants = [self._dyadic(s.shape) for s in jax.tree.leaves(self._structures[2])]
        inputs = [*params, *sample, *constants]
        outputs = read(self._jaxpr, LanesDomain(), inputs, self._deadline)
        n = len(params)
        loss, gradients = outputs[0], outputs[1:]
        theta, gradient = self._flat(params), self._flat(gradients[:n])
        others, other = self._flat([*sample, *constants]), self._flat(gradients[n:])
        points = Points(
            theta,
            others.map(lambda x: x[:, self.free]),
            lift(loss),
            gradient,
            other.map(lambda x: x[:, self.free]),
        )
        bounds = np.column_stack([points.loss.errors, points.gradient.errors])
        values = np.column_stack([points.loss.values, points.gradient.values])
        good = np.isfinite(bounds).all(axis=1) & np.isfinite(values).all(axis=1)
        return Points(*(getattr(points, f.name).map(lambda x: x[good])
                        for f in dataclasses.fields(points)))  # fmt: skip

    def _flat(self, leaves: list[Any]) -> Lanes:
        parts = [lift(leaf).map(lambda x: x.reshape(self._count, -1)) for leaf in leaves]
        empty = np.zeros((self._count, 0))
        return _concatenate([Lanes(empty.astype(np.int64), empty, empty), *parts], 1)

    def _dyadic(self, shape: tuple[int, ...]) -> Lanes:
        steps = self._rng.integers(1, _STEPS + 1, (self._count, *shape))
        steps *= self._rng.choice(np.array([-1, 1]), steps.shape)
        residues = steps * pow(_SCALE, -1, PRIME) % PRIME
        return Lanes(residues, steps / _SCALE, np.zeros(steps.shape))

    def _sample(self) -> list[Any]:
        drawn = {}
        for name, law in self._model.laws.items():
            if is_everywhere(law):
                drawn[name] = self._dyadic(tuple(int(n) for n in law.shape))
            else:
                draws = [law.exact_draw(self._exact) for _ in range(self._count)]
                drawn[name] = jax.tree.map(lambda *xs: _from_fractions(np.stack(xs)), *draws)
        tree = drawn[""] if list(drawn) == [""] else drawn
        leaves = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, Lanes))
        first = len(jax.tree.leaves(self._structures[0]))
        return [
            x.values.astype(np.int64) if k in self._labels and np.all(x.values % 1 == 0) else x
            for k, x in enumerate(leaves, first)
        ]


class FloatSampler:
    """Draws points in double precision, for losses that exact points cannot read.

    Args:
        model: A model with everything bound.
        count: Points per draw.
        rng: Where the points come from.
    """

    def __init__(self, model: Model, count: int, rng: np.random.Generator) -> None:
        self._model, self._count = model.require_bound(), count
        self._key = jax.random.key(int(rng.integers(2**31)))
        structures = jax.tree.leaves(model.structure()[1])
        self.free = np.zeros(sum(int(np.prod(s.shape, dtype=int)) for s in structures), dtype=bool)
        value = jax.vmap(jax.value_and_grad(model.evaluate))
        self._function = jax.jit(value)

    def draw(self) -> Points:
        """Return new points; the error bounds are estimates of rounding, not rigorous."""
        with jax.enable_x64(True):
            self._key, *keys = jax.random.split(self._key, 3)
            params, _, _ = self._model.structure(np.float64)
            leaves, tree = jax.tree.flatten(params)
            drawn = [
                jax.random.normal(k, (self._count, *s.shape), np.float64)
                for k, s in zip(jax.random.split(keys[0], len(leaves)), leaves, strict=True)
            ]
            sample = self._model.sample(keys[1], (self._count,), np.float64)
            loss, gradient = self._function(jax.tree.unflatten(tree, drawn), sample)
        flat = lambda leaves: np.concatenate(
            [np.asarray(leaf, dtype=float).reshape(self._count, -1) for leaf in leaves], axis=1
        )
        theta, slope = flat(drawn), flat(jax.tree.leaves(gradient))
        good = np.isfinite(slope).all(axis=1)
        size = np.max(np.abs(slope), axis=1, keepdims=True, initial=0.0)
        empty = np.zeros((self._count, 0))
        parts = [
            Lanes(None, theta, 0 * theta), Lanes(None, empty, empty),
            Lanes(None, np.asarray(loss, dtype=float), np.zeros(self._count)),
            Lanes(None, slope, 1e-14 * size + 0 * slope), Lanes(None, empty, empty),
        ]  # fmt: skip
        return Points(*(part.map(lambda x: x[good]) for part in parts))


def is_everywhere(law: Law) -> bool:
    """Tell whether a law's support is all of R^n: a Gaussian with invertible covariance."""
    if not isinstance(law, Normal):
        return False
    if law.cov is None or isinstance(law.cov, str):
        return True
    entries = [fmpq(x.numerator, x.denominator) for x in rational_array(law.cov).reshape(-1)]
    return law.count == 0 or fmpq_mat(law.count, law.count, entries).rank() == law.count


def _order(structure: Any, model: Model) -> list[int]:
    """Return where the leaves of the sample pytree stand in the laws' own order."""
    if list(model.laws) == [""]:
        return list(range(len(jax.tree.leaves(structure))))
    numbered, start = {}, 0
    for name, law in model.laws.items():
        leaves, tree = jax.tree.flatten(law.structure, is_leaf=lambda s: isinstance(s, tuple))
        numbered[name] = jax.tree.unflatten(tree, range(start, start + len(leaves)))
        start += len(leaves)
    return jax.tree.leaves(numbered)


def _from_fractions(array: np.ndarray) -> Lanes:
    residue = lambda x: x.numerator * pow(x.denominator, -1, PRIME) % PRIME
    known: dict[Fraction, tuple[int, float, float]] = {}
    table = np.empty((array.size, 3), dtype=object)
    for k, x in enumerate(array.reshape(-1)):
        if x not in known:
            value = float(x)
            known[x] = (residue(x), value, 2 * abs(float(x - Fraction(value))))
        table[k] = known[x]
    residues, values, errors = (table[:, i].reshape(array.shape) for i in range(3))
    return Lanes(residues.astype(np.int64), values.astype(float), errors.astype(float))


def _concatenate(parts: list[Lanes], axis: int) -> Lanes:
    residues = [part.residues for part in parts]
    known = all(r is not None for r in residues)
    return Lanes(
        np.concatenate(residues, axis) if known else None,  # type: ignore[arg-type]
        np.concatenate([part.values for part in parts], axis),
        np.concatenate([part.errors for part in parts], axis),
    )
