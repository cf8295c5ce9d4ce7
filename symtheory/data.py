"""Laws of the random arrays: how to draw them, and their exact moments of every order.

Every law has a `structure` (the shapes a draw has), `arrays` (its named, still symbolic
covariances and means), `bind`, `sample` and `moment`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import flint
import jax
import jax.numpy as jnp
import numpy as np

from symtheory import shapes
from symtheory.errors import InputError
from symtheory.exact import rational, rational_array

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


@dataclasses.dataclass(frozen=True, eq=False)
class Normal(Law):
    """Gaussian array; with n entries (row-major), mean in R^n and covariance in R^{n x n}.

    Args:
        shape: A size or a tuple of sizes (integers or names).
        mean: A number for every entry, an array of the given shape, or a name bound later.
        cov: None for independent entries of variance one, a number for independent entries of
            that variance, an (n, n) array, or a name bound later. For shape () a variance.

    Raises:
        InputError: The covariance is not symmetric, not positive semidefinite, not finite, or
            does not have the shape (n, n); the mean does not have the given shape.

    >>> Normal(2, cov=[[2, 1], [1, 3]]).moment((2, 2), lambda name: None)   # ac + 2 b^2
    Fraction(8, 1)
    >>> Normal((), mean=1, cov=4).moment((3,), lambda name: None)           # m^3 + 3 m s^2
    Fraction(13, 1)
    """

    mean: Any = 0
    cov: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.mean, str) and self.mean == self.cov:
            raise InputError(f"mean and covariance have the same name {self.mean!r}; use two names")
        if not isinstance(self.mean, str) and not np.ndim(self.mean):
            shapes.check_array("mean", self.mean, ())
        if shapes.names(self.shape):
            return
        if not isinstance(self.mean, str) and np.ndim(self.mean):
            shapes.check_array("mean", self.mean, self.shape)
        if self.cov is not None and not isinstance(self.cov, str):
            object.__setattr__(self, "cov", _checked_covariance(self.cov, self.count))

    @property
    def arrays(self) -> dict[str, shapes.Shape]:
        """The mean and the covariance, as far as they are still names."""
        out: dict[str, shapes.Shape] = {}
        if isinstance(self.mean, str):
            out[self.mean] = self.shape
        if isinstance(self.cov, str):
            out[self.cov] = self._cov_shape()
        return out

    def _cov_shape(self) -> shapes.Shape:
        if len(self.shape) <= 1:
            return self.shape * 2
        size = shapes.product(self.shape)
        return (size, size)

    def bind(self, sizes: Mapping[str, int], arrays: Mapping[str, Any]) -> Law:
        """Fill in sizes, mean and covariance; a covariance may be given as one number."""
        given = {
            field: arrays[value]
            for field in ("mean", "cov")
            if isinstance(value := getattr(self, field), str) and value in arrays
        }
        try:
            return dataclasses.replace(self, shape=shapes.bind(self.shape, sizes), **given)
        except InputError as error:
            names = ", ".join(str(getattr(self, field)) for field in given)
            raise InputError(f"{names}: {error}" if names else str(error)) from None

    def sample(self, key: jax.Array, batch: tuple[int, ...], dtype: Any) -> jax.Array:
        """Draw an array of shape `batch + shape`."""
        for name in self.arrays:
            raise InputError(
                f"the covariance or mean {name!r} is not bound; bind it with model.bind({name}=...)"
            )
        shape = shapes.fixed(self.shape)
        noise = jax.random.normal(key, (*batch, *shape), dtype)
        if self.cov is not None:
            root = _square_root(np.asarray(self.cov, dtype=float))
            if np.count_nonzero(root - np.diag(np.diagonal(root))) == 0:
                noise = noise * jnp.asarray(np.diagonal(root).reshape(shape), dtype)
            else:
                flat = noise.reshape(*batch, self.count)
                noise = (flat @ jnp.asarray(root.T, dtype)).reshape(*batch, *shape)
        if isinstance(self.mean, (int, float)) and self.mean == 0:
            return noise
        return noise + jnp.asarray(self.mean, dtype)

    @property
    def has_density(self) -> bool:
        """Whether the covariance is known to be regular."""
        if self.cov is None:
            return True
        if isinstance(self.cov, str):
            return False
        exact = rational_array(self.cov)
        rows = [[flint.fmpq(x.numerator, x.denominator) for x in row] for row in exact]
        return bool(flint.fmpq_mat(rows).det() != 0)

    def exact_draw(self, rng: random.Random) -> np.ndarray:
        """Return a rational point of the support (the mean plus the range of the covariance)."""
        draw = super().exact_draw(rng)
        if self.cov is not None and not isinstance(self.cov, str):
            draw = (rational_array(self.cov) @ draw.reshape(-1)).reshape(draw.shape)
        if not isinstance(self.mean, str):
            draw = draw + rational_array(self.mean)
        return np.asarray(draw, dtype=object)

    def moment(self, powers: tuple[int, ...], lookup: Lookup) -> Any:
        """Return E[prod x_i^powers_i] exactly, by Wick pairing (Stein's identity)."""
        mean, cov = self._exact(lookup)
        cache: dict[tuple[int, ...], Any] = {}

        def expect(rest: tuple[int, ...]) -> Any:
            first = next((i for i, power in enumerate(rest) if power), None)
            if first is None:
                return Fraction(1)
            if rest not in cache:
                lowered = _lower(rest, first)
                total = mean[first] * expect(lowered) if _is_not_zero(mean[first]) else Fraction(0)
                for j, power in enumerate(lowered):
                    if power and _is_not_zero(cov[first, j]):
                        total = total + cov[first, j] * (power * expect(_lower(lowered, j)))
                cache[rest] = total
            return cache[rest]

        return expect(tuple(powers))

    def _exact(self, lookup: Lookup) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(self.mean, str):
            mean = lookup(self.mean).reshape(-1)
        else:
            mean = np.broadcast_to(rational_array(self.mean).reshape(-1), (self.count,))
        if isinstance(self.cov, str):
            cov = lookup(self.cov).reshape(self.count, self.count)
        elif self.cov is None:
            cov = rational_array(np.eye(self.count, dtype=int))
        else:
            cov = rational_array(self.cov)
        return mean, cov


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
        arrays = {str(name): np.asarray(values) for name, values in self.columns.items()}
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


def random_rational(rng: random.Random) -> Fraction:
    """Return a rational of moderate size that is not zero, for exact trials.

    >>> random_rational(random.Random(0)) != 0
    True
    """
    return Fraction(rng.choice((-1, 1)) * rng.randrange(1, 200), rng.randrange(20, 100))


def _lower(powers: tuple[int, ...], index: int) -> tuple[int, ...]:
    return (*powers[:index], powers[index] - 1, *powers[index + 1 :])


def _is_not_zero(value: Any) -> bool:
    return not (isinstance(value, Fraction) and value == 0)


def _checked_covariance(cov: Any, count: int) -> np.ndarray:
    # Single precision is kept: its floats stand for wider intervals of reals than doubles do.
    array = np.asarray(cov)
    if array.dtype != object and array.dtype.kind != "f":
        array = array.astype(float)
    if array.ndim == 0:
        array = np.diag(np.full(count, array[()], dtype=array.dtype))
    if array.shape != (count, count):
        raise InputError(
            f"a covariance of {count} entries has shape ({count}, {count}), got {array.shape}"
        )
    numbers = array.astype(float)
    if not np.all(np.isfinite(numbers)):
        raise InputError("the covariance has entries that are not finite")
    scale = float(np.max(np.abs(numbers), initial=0.0))
    if not np.allclose(numbers, numbers.T, rtol=0, atol=1e-12 * scale):
        i, j = max(
            itertools.product(range(count), repeat=2),
            key=lambda ij: abs(numbers[ij] - numbers[ij[::-1]]),
        )
        raise InputError(
            f"the covariance is not symmetric: entry ({i + 1}, {j + 1}) is {numbers[i, j]:g} but "
            f"({j + 1}, {i + 1}) is {numbers[j, i]:g}; use (C + C^T)/2 if that is meant"
        )
    smallest = float(np.min(np.linalg.eigvalsh(numbers), initial=0.0))
    if smallest < -1e-12 * scale:
        raise InputError(
            f"the covariance is not positive semidefinite: its smallest eigenvalue is {smallest:g}"
        )
    return array


def _is_exact(values: Any) -> bool:
    return np.asarray(values).dtype == object


def _square_root(cov: np.ndarray) -> np.ndarray:
    if np.count_nonzero(cov - np.diag(np.diagonal(cov))) == 0:
        return np.diag(np.sqrt(np.diagonal(cov)))
    values, vectors = np.linalg.eigh(cov)
    return vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
