"""What all laws have in common, and exact trial points."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from symtheory import shapes

Lookup = Callable[[str], np.ndarray]
"""Gives the entries (any ring elements) that stand for a named, unbound mean or covariance."""


@dataclasses.dataclass(frozen=True, eq=False)
class Law:
    """A random array of the given `shape`: what all laws have in common."""

    shape: Any = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", shapes.as_shape(self.shape))

    @property
    def structure(self) -> Any:
        """The shape of one draw (a pytree of shapes for laws that draw several arrays)."""
        return self.shape

    @property
    def arrays(self) -> dict[str, shapes.Shape]:
        """The named arrays this law still needs, with their shapes."""
        return {}

    @property
    def count(self) -> int:
        """Number of entries of one draw."""
        return math.prod(shapes.fixed(self.shape))

    def bind(self, sizes: Mapping[str, int], arrays: Mapping[str, Any]) -> Law:
        """Return the law with sizes and named arrays filled in."""
        return dataclasses.replace(self, shape=shapes.bind(self.shape, sizes))

    def sample(self, key: jax.Array, batch: tuple[int, ...], dtype: Any) -> Any:
        """Draw an array of shape `batch + shape`."""
        raise NotImplementedError

    @property
    def has_density(self) -> bool:
        """Whether entries have a joint density, so that polynomials vanish on null sets only."""
        return False

    def exact_draw(self, rng: random.Random) -> Any:
        """Return a rational point of the law's support, as an object array of fractions."""
        shape = shapes.fixed(self.shape)
        out = np.empty(shape, dtype=object)
        for index in np.ndindex(shape):
            out[index] = self._exact_entry(rng)
        return out

    def _exact_entry(self, rng: random.Random) -> Fraction:
        return random_rational(rng)

    def moment(self, powers: tuple[int, ...], lookup: Lookup) -> Any:
        """Return E[prod x_i^powers_i] over the flattened entries, exactly."""
        out: Any = Fraction(1)
        for power in powers:
            if power:
                out = out * self._entry_moment(power)
        return out

    def _entry_moment(self, power: int) -> Fraction:
        raise NotImplementedError


def random_rational(rng: random.Random) -> Fraction:
    """Return a rational of moderate size that is not zero, for exact trials.

    >>> random_rational(random.Random(0)) != 0
    True
    """
    return Fraction(rng.choice((-1, 1)) * rng.randrange(1, 200), rng.randrange(20, 100))
