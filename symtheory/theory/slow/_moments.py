"""Gradient, Hessian and noise of a model as weighted sums over points of the sample."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from symtheory.model import Model
from symtheory.theory.slow._points import Points

_CHUNK = 1024


@functools.lru_cache(maxsize=16)
def compiled(model: Model) -> dict[str, Any]:
    """Return compiled functions of (flat params, samples, weights), once for each model."""
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), model.structure(np.float64)[0])
    _, back = jax.flatten_util.ravel_pytree(zeros)

    def mean_loss(flat: Any, samples: Any, weights: Any) -> Any:
        values = jax.vmap(lambda z: model.evaluate(back(flat), z))(samples)
        return weights @ values

    gradients = jax.vmap(jax.grad(lambda v, z: model.evaluate(back(v), z)), (None, 0))

    def product(flat: Any, samples: Any, weights: Any, vector: Any) -> Any:
        slope = lambda v: jax.grad(mean_loss)(v, samples, weights)
        return jax.jvp(slope, (flat,), (vector,))[1]

    def third(flat: Any, samples: Any, weights: Any, roots: Any) -> Any:
        """Return grad_theta of Tr[H(theta) R R^T] / 2, for R with columns as rows of `roots`."""

        def half_trace(v: Any) -> Any:
            bend = jax.vmap(lambda u: u @ product(v, samples, weights, u))
            return jnp.sum(bend(roots)) / 2

        return jax.grad(half_trace)(flat)

    return {
        "gradients": jax.jit(gradients),
        "hessian": jax.jit(jax.hessian(mean_loss)),
        "product": jax.jit(product),
        "third": jax.jit(third),
    }


def gradient_moments(model: Model, flat: np.ndarray, points: Points, frame: np.ndarray) -> Any:
    """Return mean gradient, F^T Sigma F for a frame F of shape (d, r), and Tr Sigma."""
    function = compiled(model)["gradients"]
    mean, count = np.zeros(len(flat)), len(points.weights)
    second, trace = np.zeros((frame.shape[1],) * 2), 0.0
    for start in range(0, count, _CHUNK):
        pick = np.minimum(np.arange(start, start + min(_CHUNK, count)), count - 1)
        weight = np.where(np.arange(start, start + len(pick)) < count, points.weights[pick], 0.0)
        rows = np.asarray(function(flat, jax.tree.map(lambda x, p=pick: x[p], points.samples)))
        mean += weight @ rows
        framed = rows @ frame
        second += framed.T @ (framed * weight[:, None])
        trace += float(weight @ np.sum(rows**2, axis=1))
    framed_mean = mean @ frame
    return mean, second - np.outer(framed_mean, framed_mean), trace - float(mean @ mean)
