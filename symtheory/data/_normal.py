"""Gaussian arrays: their exact moments by Wick pairing."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import flint
import jax
import jax.numpy as jnp
import numpy as np

from symtheory import shapes
from symtheory.data._law import Law, Lookup
from symtheory.errors import InputError
from symtheory.exact import rational_array


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
        named = isinstance(self.mean, str) and isinstance(self.cov, str)
        if named and self.mean == self.cov:
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
        known: dict[tuple[int, ...], Any] = {(0,) * len(powers): Fraction(1)}

        def terms(rest: tuple[int, ...]) -> list[tuple[Any, tuple[int, ...]]]:
            """Return E[x^rest] as a sum of factors times moments of lower degree."""
            first = next(i for i, power in enumerate(rest) if power)
            lowered = _lower(rest, first)
            out = [(mean[first], lowered)] if _is_not_zero(mean[first]) else []
            return out + [
                (cov[first, j] * power, _lower(lowered, j))
                for j, power in enumerate(lowered)
                if power and _is_not_zero(cov[first, j])
            ]

        open_ = [tuple(powers)]  # a stack: the degree may be larger than Python's own
        while open_:
            rest = open_[-1]
            parts = [] if rest in known else terms(rest)
            missing = [lower for _, lower in parts if lower not in known]
            if missing:
                open_ += missing
                continue
            if rest not in known:
                known[rest] = sum((a * known[lower] for a, lower in parts), Fraction(0))
            open_.pop()
        return known[tuple(powers)]

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


def _square_root(cov: np.ndarray) -> np.ndarray:
    if np.count_nonzero(cov - np.diag(np.diagonal(cov))) == 0:
        return np.diag(np.sqrt(np.diagonal(cov)))
    values, vectors = np.linalg.eigh(cov)
    return vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
