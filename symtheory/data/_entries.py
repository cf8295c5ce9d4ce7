"""Arrays of independent entries."""

from __future__ import annotations

import dataclasses
import math
import random
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from symtheory import shapes
from symtheory.data._law import Law
from symtheory.errors import InputError
from symtheory.exact import rational


@dataclasses.dataclass(frozen=True, eq=False)
class Rademacher(Law):
    """Independent entries, +1 or -1 with probability one half each.

    >>> Rademacher(2).moment((2, 4), lambda name: None)
    Fraction(1, 1)
    """

    def sample(self, key: jax.Array, batch: tuple[int, ...], dtype: Any) -> jax.Array:
        """Draw an array of shape `batch + shape`."""
        return jax.random.rademacher(key, (*batch, *shapes.fixed(self.shape)), dtype)

    def _exact_entry(self, rng: random.Random) -> Fraction:
        return Fraction(rng.choice((-1, 1)))

    def _entry_moment(self, power: int) -> Fraction:
        return Fraction(1 - power % 2)


@dataclasses.dataclass(frozen=True, eq=False)
class Uniform(Law):
    """Independent entries, uniform on [low, high].

    >>> Uniform((), low=0, high=1).moment((3,), lambda name: None)
    Fraction(1, 4)
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, bound in (("low", self.low), ("high", self.high)):
            if isinstance(bound, (str, bool)) or np.ndim(bound):
                raise InputError(f"Uniform needs numbers, got {name} = {bound!r}")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"Uniform needs finite low < high, got {self.low} and {self.high}")

    def sample(self, key: jax.Array, batch: tuple[int, ...], dtype: Any) -> jax.Array:
        """Draw an array of shape `batch + shape`."""
        shape = (*batch, *shapes.fixed(self.shape))
        return jax.random.uniform(key, shape, dtype, self.low, self.high)

    @property
    def has_density(self) -> bool:
        """Always."""
        return True

    def _exact_entry(self, rng: random.Random) -> Fraction:
        low, high = rational(self.low), rational(self.high)
        return low + (high - low) * Fraction(rng.randrange(1, 97), 97)

    def _entry_moment(self, power: int) -> Fraction:
        low, high = rational(self.low), rational(self.high)
        return (high ** (power + 1) - low ** (power + 1)) / ((power + 1) * (high - low))
