"""Random exact points of parameters and samples, many at once, for ranks mod a prime."""

from __future__ import annotations

import random
from typing import Any

import jax
import numpy as np

from symtheory import shapes
from symtheory.data import Empirical, Law, Normal, Rademacher
from symtheory.domains import Numbers, from_fractions
from symtheory.linear_algebra._modular import PRIME
from symtheory.model import Model
from symtheory.symmetry._loss import loss_of


class Points:
    """Draws parameters, samples and unbound constants of a model.

    Args:
        model: A model with all sizes bound.
        enclosed: Integers of moderate size with enclosures (where values are compared), instead
            of arbitrary residues.
        seed: Seed of the draws.
    """

    def __init__(self, model: Model, enclosed: bool, seed: int) -> None:
        self.model = model
        self.enclosed = enclosed
        self.rng = np.random.default_rng(seed)
        self._random = random.Random(seed)
        self.shapes = [shapes.fixed(shape) for shape in model.leaves.values()]

    def params(self, count: int) -> list[np.ndarray]:
        """Return `count` parameter vectors, leaf by leaf, as integers."""
        if not self.enclosed:
            return [self.rng.integers(1, PRIME, (count, *shape)) for shape in self.shapes]
        return [self._mixed(count, shape) for shape in self.shapes]

    def _mixed(self, count: int, shape: tuple[int, ...]) -> np.ndarray:
        """Integers whose signs are mixed in every row and column, so that no unit is dead."""
        size = self.rng.integers(1, 60, (count, *shape))
        if len(shape) != 2:
            return size * np.where(self.rng.random((count, *shape)) < 0.6, 1, -1)
        rows, columns = (np.argsort(self.rng.random((count, n)), axis=1) for n in shape)
        return size * (-1) ** (rows[:, :, None] + columns[:, None, :])

    def numbers(self, integers: list[np.ndarray]) -> list[Numbers]:
        """Return points of a continuum."""
        return [from_fractions(array, self.enclosed, varies=True) for array in integers]

    def samples(self, count: int) -> list[Numbers]:
        """Return `count` samples in the support of the law, leaf by leaf of the sample."""
        model = self.model
        drawn = {name: self._draw(law, count) for name, law in model.laws.items()}
        tree = drawn[""] if list(drawn) == [""] else drawn
        return jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, Numbers))

    def _draw(self, law: Law, count: int) -> Any:
        if isinstance(law, Normal) and (
            law.cov is None or isinstance(law.cov, str) or (np.ndim(law.cov) == 0 and law.cov)
        ):
            shape = (count, *shapes.fixed(law.shape))  # every real array is in the support
            if not self.enclosed:
                return self.numbers([self.rng.integers(1, PRIME, shape)])[0]
            size = np.exp2(self.rng.uniform(0, 8, shape)).astype(np.int64)
            return self.numbers([size * self.rng.choice([-1, 1], shape)])[0]
        draws = [law.exact_draw(self._random) for _ in range(count)]
        varies = not isinstance(law, (Empirical, Rademacher))
        return jax.tree.map(lambda *xs: from_fractions(np.stack(xs), self.enclosed, varies), *draws)

    def constants(self) -> list[Numbers]:
        """Return the unbound constants, the same at all points."""
        size = 97 if self.enclosed else PRIME - 1
        leaves = jax.tree.leaves(loss_of(self.model).inputs[2])
        return self.numbers([self.rng.integers(1, size, (1, *leaf.shape)) for leaf in leaves])
