"""Rows of a data set."""

from __future__ import annotations

import dataclasses
import functools
import math
import random
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.data._law import Law, Lookup
from symtheory.errors import InputError
from symtheory.exact import rational_array


def _array(values: Any) -> np.ndarray:
    """Return an array; bfloat16 and the like, which NumPy does not compute with, become doubles."""
    array = np.asarray(values)
    coarse = array.dtype.kind == "V" and jnp.issubdtype(array.dtype, jnp.floating)
    return array.astype(float) if coarse else array


@dataclasses.dataclass(frozen=True, eq=False)
class Empirical(Law):
    """Rows of a data set, drawn uniformly with replacement; moments are exact averages.

    Args:
        columns: Arrays by name, all with the same number of rows; a draw is one row of each.

    >>> Empirical({"x": [1.0, 2.0], "y": [3.0, 5.0]}).moment((1, 1), lambda name: None)  # E[xy]
    Fraction(13, 2)
    """

    shape: Any = dataclasses.field(default=(), init=False)
    columns: Mapping[str, Any] = dataclasses.field(kw_only=False, default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {str(name): _array(values) for name, values in self.columns.items()}
        if not arrays:
            raise InputError("Empirical has no columns; give arrays by name")
        rows = {name: len(values) if values.ndim else 0 for name, values in arrays.items()}
        if len(set(rows.values())) > 1 or not min(rows.values()):
            raise InputError(f"the columns of Empirical need the same number of rows, got {rows}")
        for name, values in arrays.items():
            if values.dtype.kind not in "biufO":
                raise InputError(
                    f"column {name!r} of Empirical has entries of type {values.dtype}; give numbers"
                )
            if not np.all(np.isfinite(values.astype(float))):
                raise InputError(f"column {name!r} of Empirical has entries that are not finite")
        object.__setattr__(self, "columns", dict(sorted(arrays.items())))

    @property
    def structure(self) -> Any:
        """Shapes of one row, by column."""
        return {name: tuple(values.shape[1:]) for name, values in self.columns.items()}

    @property
    def rows(self) -> int:
        """Number of rows of the data set."""
        return len(next(iter(self.columns.values())))

    @property
    def count(self) -> int:
        """Number of entries of one row."""
        return sum(math.prod(values.shape[1:]) for values in self.columns.values())

    def bind(self, sizes: Mapping[str, int], arrays: Mapping[str, Any]) -> Law:
        """Return the law itself: a data set has nothing left to fill in."""
        return self

    def sample(self, key: jax.Array, batch: tuple[int, ...], dtype: Any) -> Any:
        """Draw rows; each column comes with shape `batch + its shape`."""
        index = jax.random.randint(key, batch, 0, self.rows)
        return {name: jnp.asarray(values, dtype)[index] for name, values in self.columns.items()}

    @functools.cached_property
    def _exact_rows(self) -> np.ndarray:
        columns = [rational_array(v).reshape(self.rows, -1) for v in self.columns.values()]
        return np.concatenate(columns, axis=1)

    def exact_draw(self, rng: random.Random) -> dict[str, np.ndarray]:
        """Return one row, exactly."""
        row = rng.randrange(self.rows)
        return {name: rational_array(values[row]) for name, values in self.columns.items()}

    def moment(self, powers: tuple[int, ...], lookup: Lookup) -> Fraction:
        """Return the exact average over the rows of prod x_i^powers_i."""
        # Column by column, since the columns may differ in precision.
        exact = self._exact_rows
        used = [i for i, power in enumerate(powers) if power]
        exact = exact[:, used]
        total = Fraction(0)
        for row in exact:
            total += math.prod(
                (x ** powers[i] for x, i in zip(row, used, strict=True)), start=Fraction(1)
            )
        return total / self.rows
