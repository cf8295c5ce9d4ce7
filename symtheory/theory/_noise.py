"""The noise along a symmetry as JAX functions of the parameters: exact, or sampled."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.domains import Element
from symtheory.model import Model
from symtheory.symmetry import Exponential
from symtheory.theory._gradient_noise import GradientNoise
from symtheory.theory._layout import Layout
from symtheory.theory._lower import lower

Values = Mapping[str, Any]
"""Values of constants, covariances and means, by name."""


class Noise(Protocol):
    """What the laws need of the gradient noise, as JAX functions; K counts the components.

    `smooth` tells an integrator whether tight tolerances make sense.
    """

    smooth: ClassVar[bool]

    def traces(self, params: Any, values: Values) -> Any:
        """Return Tr[Sigma A_k], shape (K,)."""
        ...

    def gradient_terms(self, params: Any, values: Values) -> Any:
        """Return grad L^T A_k grad L, shape (K,)."""
        ...

    def mean_gradient(self, params: Any, values: Values) -> Any:
        """Return grad L as a pytree like the parameters."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class ExactNoise:
    """Exact moments, lowered to JAX."""

    smooth: ClassVar[bool] = True

    model: Model
    noise: GradientNoise
    trace_components: list[Element]
    gradient_components: list[Element]

    def _arrays(self, params: Any, values: Values) -> dict[tuple[str, str], Any]:
        leaves = zip(self.model.leaves, jax.tree.leaves(params), strict=True)
        arrays: dict[tuple[str, str], Any] = {("param", name): leaf for name, leaf in leaves}
        for name, value in {**self.model.values, **values}.items():
            arrays["constant", name] = arrays["moment", name] = value
        return arrays

    @functools.cached_property
    def _traces(self) -> Callable[..., Any]:
        return lower(self.trace_components, self.noise.symbols)

    @functools.cached_property
    def _gradient_terms(self) -> Callable[..., Any]:
        return lower(self.gradient_components, self.noise.symbols)

    @functools.cached_property
    def _mean(self) -> Callable[..., Any]:
        return lower(self.noise.mean, self.noise.symbols)

    def traces(self, params: Any, values: Values) -> Any:
        """Return Tr[Sigma A_k], shape (K,)."""
        return self._traces(self._arrays(params, values))

    def gradient_terms(self, params: Any, values: Values) -> Any:
        """Return grad L^T A_k grad L, shape (K,)."""
        return self._gradient_terms(self._arrays(params, values))

    def mean_gradient(self, params: Any, values: Values) -> Any:
        """Return grad L as a pytree like the parameters."""
        return unflatten(params, self._mean(self._arrays(params, values)))


@dataclasses.dataclass(frozen=True, eq=False)
class SampledNoise:
    """Averages over a fixed pool of samples, where the loss is not polynomial in the sample."""

    smooth: ClassVar[bool] = False

    model: Model
    symmetry: Exponential
    layout: Layout
    samples: int = 4096
    seed: int = 0

    def parts(self, count: int) -> list[SampledNoise]:
        """Return averages over `count` smaller pools, independent of this one and one another."""
        size = max(self.samples // 4, 2)
        return [
            dataclasses.replace(self, samples=size, seed=self.seed + 1 + k) for k in range(count)
        ]

    @functools.cached_property
    def _pool(self) -> Any:
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            draw = self.model.require_bound().sample(
                jax.random.key(self.seed), (self.samples,), jnp.float64
            )
            return jax.tree.map(np.asarray, draw)

    def _per_sample(self, params: Any) -> tuple[Any, Any]:
        """Return per-sample gradients and their mean."""
        slope = jax.grad(self.model.evaluate)
        gradient = jax.vmap(slope, in_axes=(None, 0), axis_size=self.samples)(params, self._pool)
        return gradient, jax.tree.map(lambda g: g.mean(0), gradient)

    def per_sample_traces(self, params: Any) -> Any:
        """Return (g - grad L)^T A_k (g - grad L) n/(n-1) per sample, shape (n, K)."""
        gradient, mean = self._per_sample(params)
        centred = jax.tree.map(lambda g, m: g - m, gradient, mean)
        form = jax.vmap(lambda g: quadratic(self.symmetry, self.layout, g))
        return form(centred) * (self.samples / (self.samples - 1))

    def traces(self, params: Any, values: Values) -> Any:
        """Return Tr[Sigma A_k], shape (K,)."""
        return self.per_sample_traces(params).mean(0)

    def gradient_terms(self, params: Any, values: Values) -> Any:
        """Return grad L^T A_k grad L, shape (K,), without the bias that averaging adds."""
        _, mean = self._per_sample(params)
        form = quadratic(self.symmetry, self.layout, mean)
        return form - self.traces(params, values) / self.samples

    def mean_gradient(self, params: Any, values: Values) -> Any:
        """Return grad L as a pytree like the parameters."""
        return self._per_sample(params)[1]


def apply_basis(symmetry: Exponential, layout: Layout, params: Any) -> Any:
    """Return A_k theta for every component k, stacked along a new first axis."""
    if not symmetry.family:
        return jax.tree.map(lambda t: jnp.asarray(t)[None], symmetry.tangent(params, {}))
    stacked = jnp.asarray(layout.basis())
    names = list(symmetry.family)
    if len(names) == 1:
        return jax.vmap(lambda b: symmetry.tangent(params, {names[0]: b}))(stacked)
    raise NotImplementedError("numerical laws of families with several free matrices")


def quadratic(symmetry: Exponential, layout: Layout, vector: Any) -> Any:
    """Return v^T A_k v for every component k."""
    images = jax.tree.leaves(apply_basis(symmetry, layout, vector))
    pairs = zip(images, jax.tree.leaves(vector), strict=True)
    return sum(jnp.sum(image * leaf, axis=tuple(range(1, image.ndim))) for image, leaf in pairs)


def unflatten(params: Any, vector: Any) -> Any:
    """Return a flat vector as a pytree like `params`."""
    leaves, tree = jax.tree.flatten(params)
    sizes = [int(np.prod(np.shape(leaf), dtype=int)) for leaf in leaves]
    pieces = jnp.split(vector, np.cumsum(sizes)[:-1])
    shaped = [p.reshape(np.shape(leaf)) for p, leaf in zip(pieces, leaves, strict=True)]
    return jax.tree.unflatten(tree, shaped)
