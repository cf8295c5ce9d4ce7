"""Random exact points of parameters and samples, many at once, for ranks mod a prime."""

from __future__ import annotations

import random
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from symtheory import shapes
from symtheory.data import Law, Normal
from symtheory.exact import rational_array
from symtheory.model import Model
from symtheory.symmetry.conservation._modular import MODULUS, Lanes, exact_lanes

_COMPARING = frozenset({
    "max", "min", "gt", "lt", "ge", "le", "eq", "ne", "abs", "sign", "select_n", "clamp",
    "reduce_max", "reduce_min", "sort", "argmax", "argmin",
})  # fmt: skip


def compares(jaxpr: Jaxpr) -> bool:
    """Tell whether a jaxpr compares values, so that its pieces depend on the point."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in _COMPARING:
            return True
        for value in equation.params.values():
            inner = value.jaxpr if isinstance(value, ClosedJaxpr) else value
            if isinstance(inner, Jaxpr) and compares(inner):
                return True
    return False


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
            return [self.rng.integers(1, MODULUS, (count, *shape)) for shape in self.shapes]
        return [self._mixed(count, shape) for shape in self.shapes]

    def _mixed(self, count: int, shape: tuple[int, ...]) -> np.ndarray:
        """Integers whose signs are mixed in every row and column, so that no unit is dead."""
        size = self.rng.integers(1, 60, (count, *shape))
        if len(shape) != 2:
            return size * np.where(self.rng.random((count, *shape)) < 0.6, 1, -1)
        rows, columns = (np.argsort(self.rng.random((count, n)), axis=1) for n in shape)
        return size * (-1) ** (rows[:, :, None] + columns[:, None, :])

    def lanes(self, integers: list[np.ndarray]) -> list[Lanes]:
        """Return integers as lanes."""
        return [exact_lanes(array, self.enclosed) for array in integers]

    def samples(self, count: int) -> list[Lanes]:
        """Return `count` samples in the support of the law, leaf by leaf of the sample."""
        model = self.model
        drawn = {name: self._draw(law, count) for name, law in model.laws.items()}
        tree = drawn[""] if list(drawn) == [""] else drawn
        return [exact_lanes(leaf, self.enclosed) for leaf in jax.tree.leaves(tree)]

    def _draw(self, law: Law, count: int) -> Any:
        if isinstance(law, Normal) and (
            law.cov is None or isinstance(law.cov, str) or (np.ndim(law.cov) == 0 and law.cov)
        ):
            shape = (count, *shapes.fixed(law.shape))  # every real array is in the support
            if not self.enclosed:
                return self.rng.integers(1, MODULUS, shape)
            size = np.exp2(self.rng.uniform(0, 8, shape)).astype(np.int64)
            return size * self.rng.choice([-1, 1], shape)
        draws = [law.exact_draw(self._random) for _ in range(count)]
        return jax.tree.map(lambda *xs: np.stack(xs), *draws)

    def constants(self) -> list[Any]:
        """Return the constants in the order of their names: bound values, else random ones."""
        out = []
        for name in sorted(self.model.constants):
            if name in self.model.values:
                value = rational_array(self.model.values[name])[None]
            else:
                size = 97 if self.enclosed else MODULUS - 1
                shape = shapes.fixed(self.model.constants[name])
                value = self.rng.integers(1, size, (1, *shape))
            out.append(exact_lanes(value, self.enclosed))
        return out
