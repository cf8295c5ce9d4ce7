"""A two-layer ReLU net that starts with duplicated or zeroed neurons, trained by every method."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from symtheory import syre

INPUTS, UNITS, SAMPLES = 4, 8, 128
DEFAULT = jax.nn.relu


def loss(p, batch, activation=DEFAULT):
    x, y = batch
    return jnp.mean((activation(x @ p["W"].T) @ p["u"] - y) ** 2)


def task(key):
    """Data from a teacher with as many neurons as the student."""
    keys = jax.random.split(key, 3)
    x = jax.random.normal(keys[0], (SAMPLES, INPUTS))
    teacher = jax.random.normal(keys[1], (UNITS, INPUTS)) / INPUTS**0.5
    signs = jnp.where(jnp.arange(UNITS) % 2, 1.0, -1.0)
    return x, DEFAULT(x @ teacher.T) @ signs


def start(key, kind):
    """Neurons 2k and 2k+1 the same, or the second half zero."""
    keys = jax.random.split(key, 2)
    half = UNITS // 2
    w = jax.random.normal(keys[0], (half, INPUTS)) / INPUTS**0.5
    u = jax.random.normal(keys[1], (half,)) / UNITS**0.5
    if kind == "duplicated":
        return {"W": jnp.repeat(w, 2, axis=0), "u": jnp.repeat(u, 2)}
    return {"W": jnp.concatenate([w, 0 * w]), "u": jnp.concatenate([u, 0 * u])}


def apart(p, kind):
    """Largest distance between twins, or largest weight of the zeroed neurons."""
    table = jnp.concatenate([p["W"], p["u"][:, None]], axis=1)
    rows = table[::2] - table[1::2] if kind == "duplicated" else table[UNITS // 2 :]
    return jnp.max(jnp.linalg.norm(rows, axis=1))


def train(method, kind, seeds, *, steps=10_000, rate=0.05):
    """Return (distance apart, final loss) for every seed, and the final weights."""

    def one(seed):
        data_key, start_key, method_key = jax.random.split(jax.random.key(seed), 3)
        batch = task(data_key)
        prepared = method.prepare(loss, start(start_key, kind), key=method_key)
        optimizer = prepared.optimizer(optax.sgd(rate))

        def step(carry, _):
            p, s = carry
            updates, s = optimizer.update(jax.grad(prepared.loss)(p, batch), s, p)
            return (optax.apply_updates(p, updates), s), None

        carry = (prepared.params, optimizer.init(prepared.params))
        (p, _), _ = jax.lax.scan(step, carry, None, length=steps)
        return apart(prepared.weights(p), kind), prepared.loss(p, batch), prepared.weights(p)

    out = jax.jit(jax.vmap(one))(jnp.arange(seeds))
    return np.asarray(out[0]), np.asarray(out[1]), out[2]


def methods(gamma):
    return {method.name: method for method in syre.baselines(gamma)}
