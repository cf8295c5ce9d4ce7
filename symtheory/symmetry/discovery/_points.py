"""The per-sample gradient at many exact points: rational parameters, samples in their support."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import jax
import numpy as np
from flint import fmpq, fmpq_mat

from symtheory.data import Empirical, Law, Normal, Rademacher
from symtheory.domains import Enclosure, Numbers, Residues, concatenate, from_fractions, varying
from symtheory.exact import rational_array
from symtheory.linear_algebra._modular import PRIME
from symtheory.model import Model
from symtheory.program import (
    Deadline,
    Program,
    all_operations,
    compares,
    evaluate,
    irrational,
    lower,
    trace,
    whole_number_inputs,
)

_STEPS = 5 * 2**10
_SCALE = 2**12
"""Coordinates are k/4096 with 0 < |k| <= 5120: exact in binary, of moderate size, rarely equal."""
_FARTHEST = 24
"""Far points are larger or smaller by a power of two up to this, leaf by leaf."""
_LOOKED_AT = 64
"""Points that were left out and are looked at again."""


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

    theta: Numbers
    free: Numbers
    loss: Numbers
    gradient: Numbers
    free_gradient: Numbers

    @property
    def exact(self) -> bool:
        """Whether everything is known mod the prime."""
        parts = (self.loss, self.gradient, self.free_gradient)
        return all(part.residues is not None for part in parts)

    def __len__(self) -> int:
        return self.loss.shape[0]

    def join(self, other: Points) -> Points:
        """Return the points of both."""
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self)]
        return Points(*(concatenate([a, b], 0) for a, b in pairs))


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
        self._function, self._many = function, many
        self._program = lower(trace(function, *many)[0])
        self._labels = whole_number_inputs(self._program)
        self._enclosed = not _is_polynomial(self._program)
        self._drawn, self._left = 0, list[list[np.ndarray]]()
        self._count_left = 0
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

    def draw(self, far: bool = False) -> Points:
        """Return new points, those left out where a comparison could not be decided.

        Args:
            far: Draw parameters of many magnitudes.

        Raises:
            UnreadableError: A primitive cannot be read at exact points.
            BudgetError: The deadline has passed.
        """
        params = [self._dyadic(s.shape, far) for s in jax.tree.leaves(self._structures[0])]
        sample = self._sample()
        constants = [self._dyadic(s.shape) for s in jax.tree.leaves(self._structures[2])]
        inputs = [*params, *sample, *constants]
        domain = Residues(self._enclosed)
        outputs = evaluate(self._program, domain, inputs, self._deadline)
        n = len(params)
        loss, gradients = outputs[0], outputs[1:]
        theta, gradient = self._flat(params), self._flat(gradients[:n])
        others, other = self._flat([*sample, *constants]), self._flat(gradients[n:])
        points = Points(theta, others[:, self.free], domain.lift(loss), gradient,
                        other[:, self.free])  # fmt: skip
        self._drawn += self._count
        if not self._enclosed:
            return points
        parts = [points.loss.reshape(self._count, 1), points.gradient]
        good = np.logical_and.reduce(
            [np.all(np.isfinite(x.errors) & np.isfinite(x.values), axis=1) for x in parts]
        )
        self._leave_out(inputs, ~good)
        return Points(*(getattr(points, f.name)[good] for f in dataclasses.fields(points)))

    def _leave_out(self, inputs: list[Any], bad: np.ndarray) -> None:
        self._count_left += int(np.sum(bad))
        if np.any(bad) and sum(len(x[0]) for x in self._left) < _LOOKED_AT:
            floats = [x.values if isinstance(x, Numbers) else x.astype(float) for x in inputs]
            self._left.append([x[bad][:_LOOKED_AT] for x in floats])

    def left_out(self) -> float:
        """Return about which share of the points was left out although the loss is finite there.

        Those are points at which a comparison ties. If they are more than a few, the others may be
        special.
        """
        if not self._left:
            return 0.0
        parts = [np.concatenate(column) for column in zip(*self._left, strict=True)]
        found = len(parts[0])
        padded = [np.concatenate([x, np.repeat(x[:1], self._count, 0)])[: self._count]
                  for x in parts]  # fmt: skip
        with jax.enable_x64(True):
            tree = jax.tree.unflatten(jax.tree.structure(tuple(self._many)), padded)
            flat = [np.asarray(x).reshape(self._count, -1)
                    for x in jax.tree.leaves(self._function(*tree))]  # fmt: skip
        finite = np.all(np.isfinite(np.concatenate(flat, axis=1)), axis=1)[:found]
        return float(np.mean(finite)) * self._count_left / self._drawn

    def _flat(self, leaves: list[Any]) -> Numbers:
        domain = Residues(self._enclosed)
        parts = [domain.lift(leaf) for leaf in leaves]
        parts = [x.reshape(self._count, x.size // self._count) for x in parts]
        return concatenate([domain.constant(np.zeros((self._count, 0))), *parts], 1)

    def _dyadic(self, shape: tuple[int, ...], far: bool = False) -> Numbers:
        steps = self._rng.integers(1, _STEPS + 1, (self._count, *shape))
        steps *= self._rng.choice(np.array([-1, 1]), steps.shape)
        residues = steps * pow(_SCALE, -1, PRIME) % PRIME
        values = steps / _SCALE
        if far:
            powers = self._rng.integers(-_FARTHEST, _FARTHEST + 1, self._count)
            powers = powers.reshape(-1, *(1 for _ in shape))
            factors = [pow(2, int(n), PRIME) for n in powers.reshape(-1)]
            residues = residues * np.array(factors).reshape(powers.shape) % PRIME
            values = np.ldexp(values, powers)
        if not self._enclosed:
            return Numbers(residues, None)
        return varying(Numbers(residues, Enclosure(values, np.zeros(steps.shape))))

    def _sample(self) -> list[Any]:
        drawn = {}
        for name, law in self._model.laws.items():
            if is_everywhere(law):
                drawn[name] = self._dyadic(tuple(int(n) for n in law.shape))
            else:
                draws = [law.exact_draw(self._exact) for _ in range(self._count)]
                varies = not isinstance(law, (Empirical, Rademacher))
                enter = lambda *xs, varies=varies: self._enter(np.stack(xs), varies)
                drawn[name] = jax.tree.map(enter, *draws)
        tree = drawn[""] if list(drawn) == [""] else drawn
        leaves = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, Numbers))
        first = len(jax.tree.leaves(self._structures[0]))
        return [_label(x) if k in self._labels else x for k, x in enumerate(leaves, first)]

    def _enter(self, fractions: np.ndarray, varies: bool) -> Numbers:
        return from_fractions(fractions, self._enclosed, varies)


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

    def draw(self, far: bool = False) -> Points:
        """Return new points; the error bounds are estimates of rounding, not rigorous.

        Args:
            far: Draw parameters of many magnitudes.
        """
        with jax.enable_x64(True):
            self._key, *keys = jax.random.split(self._key, 3)
            params, _, _ = self._model.structure(np.float64)
            leaves, tree = jax.tree.flatten(params)
            drawn = [
                jax.random.normal(k, (self._count, *s.shape), np.float64)
                for k, s in zip(jax.random.split(keys[0], len(leaves)), leaves, strict=True)
            ]
            if far:
                powers = jax.random.randint(keys[1], (self._count,), -_FARTHEST, _FARTHEST + 1)
                drawn = [
                    x * 2.0 ** jax.random.permutation(k, powers).reshape(-1, *(1,) * (x.ndim - 1))
                    for k, x in zip(jax.random.split(keys[0], len(leaves)), drawn, strict=True)
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
            (theta, 0 * theta), (empty, empty),
            (np.asarray(loss, dtype=float), np.zeros(self._count)),
            (slope, 1e-14 * size + 0 * slope), (empty, empty),
        ]  # fmt: skip
        return Points(*(Numbers(None, Enclosure(*part))[good] for part in parts))

    def left_out(self) -> float:
        """Return 0: floats compare everything."""
        return 0.0


def _label(x: Numbers) -> Any:
    """Return whole numbers as known integers."""
    return x.values.astype(np.int64) if np.all(x.values % 1 == 0) else x


def _is_polynomial(program: Program) -> bool:
    """Tell whether a program is a polynomial, for which residues are all that is needed."""
    divides = any(
        operation.name == "power" and operation.params["exponent"] < 0
        for operation in all_operations(program)
    )
    return not (divides or compares(program) or irrational(program))


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
