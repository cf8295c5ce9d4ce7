"""Evaluating a jaxpr over a trailing replica axis agrees with the function itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.simulation._lanes import largest_small_product, over_replicas


def cnn_like(p, x):
    padded = jnp.pad(x, 1)
    return jnp.stack([padded[i : i + 3] @ p[:3] for i in range(4)]).cumsum()


def scanned(p, x):
    return jax.lax.scan(lambda c, row: (jnp.tanh(c + row), c * row), p, jnp.outer(x, p))[1]


FUNCTIONS = {
    "bilinear": lambda p, x: jnp.outer(p, x) @ x + p @ p,
    "batched product": lambda p, x: jnp.einsum(
        "bij,bjk->bik", jnp.outer(p, x).reshape(2, 2, 4), jnp.outer(x, p).reshape(2, 4, 2)
    ),
    "transposed product": lambda p, x: jnp.outer(x, p).T @ jnp.outer(x, p * 2) @ p,
    "double contraction": lambda p, x: jnp.einsum(
        "ij,jik->k", jnp.outer(p, x), jnp.ones((4, 4, 3))
    ),
    "large product": lambda p, x: jnp.outer(jnp.tile(p, 8), x) @ jnp.outer(x, jnp.tile(p, 8)),
    "activations": lambda p, x: jax.nn.gelu(p) + jax.nn.relu(x) + jax.nn.softmax(p * x),
    "gathers": lambda p, x: p[jnp.argsort(x)] + jnp.where(x > 0, p, x).sum() ** 2,
    "loops": scanned,
    "slices": cnn_like,
    "constant": lambda p, x: jnp.eye(3),
    "condition": lambda p, x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, p),
    "distances": lambda p, x: jnp.linalg.norm(p[:, None] - x[None], axis=1) / jnp.mean(x**2),
    "jit": jax.jit(lambda p, x: jnp.prod(p) * jnp.max(x) - jnp.logaddexp(p, x)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("differentiate", [False, True])
def test_agrees_with_vmap(name, differentiate):
    function = FUNCTIONS[name]
    if differentiate:
        inner = function
        function = jax.grad(lambda p, x: jnp.sum(jnp.sin(inner(p, x))))
    p, x = jax.random.normal(jax.random.key(1), (2, 4, 5))
    one = jax.ShapeDtypeStruct((4,), p.dtype)
    got = jax.jit(over_replicas(function, (one, one)))(p, x)
    want = jax.vmap(function, in_axes=-1, out_axes=-1)(p, x)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-10)


def test_shared_argument():
    one = jax.ShapeDtypeStruct((4,), jnp.float64)
    settings = {"rate": jax.ShapeDtypeStruct((), jnp.float64)}
    function = over_replicas(lambda p, s: p - s["rate"] * p**2, (one,), settings)
    p = jnp.arange(8.0).reshape(4, 2)
    np.testing.assert_allclose(function(p, {"rate": 0.5}), p - 0.5 * p**2)


def test_largest_product():
    one = jax.ShapeDtypeStruct((4,), jnp.float64)
    assert largest_small_product(lambda p: jnp.outer(p, p) @ p, (one,)) == 16
    assert largest_small_product(lambda p: p + 1, (one,)) == 1
    assert largest_small_product(FUNCTIONS["large product"], (one, one)) == 0
