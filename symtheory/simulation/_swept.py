"""Arrays of a model that a sweep varies without compiling anew: constants, covariances, means."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory import shapes
from symtheory.data import Law, Normal
from symtheory.model import Model


@dataclasses.dataclass(frozen=True, eq=False)
class Coloured(Law):
    """A Gaussian whose mean and root of the covariance may be traced."""

    mean: Any = 0
    root: Any = None

    def sample(self, key: jax.Array, batch: tuple[int, ...], dtype: Any) -> jax.Array:
        shape = shapes.fixed(self.shape)
        out = jax.random.normal(key, (*batch, *shape), dtype)
        if self.root is not None:
            factor = jnp.asarray(self.root, dtype).reshape(self.count, self.count)
            flat = out.reshape(*batch, self.count) @ factor.T
            out = flat.reshape(*batch, *shape)
        return out + jnp.asarray(self.mean, dtype)


@dataclasses.dataclass(frozen=True)
class Swept:
    """Names of arrays of a model, with their shapes, that are arguments of the program."""

    names: tuple[tuple[str, tuple[int, ...]], ...]

    def structure(self, dtype: Any) -> dict[str, Any]:
        return {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape in self.names}

    def arrays(self, model: Model, values: Mapping[str, Any], dtype: Any) -> dict[str, np.ndarray]:
        """Return what the program is called with: a covariance is passed as its root."""
        covariances = [law.cov for law in model.laws.values() if isinstance(law, Normal)]
        covariances = {cov for cov in covariances if isinstance(cov, str)}
        out = {}
        for name, shape in self.names:
            value = root(values[name]) if name in covariances else values[name]
            out[name] = np.asarray(value, dtype).reshape(shape)
        return out

    def model_at(self, model: Model, arrays: Mapping[str, Any]) -> Model:
        """Return the model with these arrays, which may be traced, in place of the names."""
        random: Any = model.random
        for name, law in model.laws.items():
            if not isinstance(law, Normal):
                continue
            if _named(law.mean, arrays) or _named(law.cov, arrays):
                mean = arrays[law.mean] if _named(law.mean, arrays) else law.mean
                if law.cov is None:
                    factor = None
                else:
                    factor = arrays[law.cov] if _named(law.cov, arrays) else root(law.cov)
                random = {**random, name: Coloured(law.shape, mean, factor)}
        values = {name: a for name, a in arrays.items() if name in model.constants}
        return dataclasses.replace(model, values={**model.values, **values}, random=random)


def root(cov: Any) -> np.ndarray:
    """Return a square root R of a covariance R R^T, diagonal if it is."""
    cov = np.asarray(cov, float).reshape(2 * (round(np.size(cov) ** 0.5),))
    if np.count_nonzero(cov - np.diag(np.diagonal(cov))) == 0:
        return np.diag(np.sqrt(np.diagonal(cov)))
    values, vectors = np.linalg.eigh(cov)
    return vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T


def _named(value: Any, arrays: Mapping[str, Any]) -> bool:
    return isinstance(value, str) and value in arrays
