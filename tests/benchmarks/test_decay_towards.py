"""The cost of decay towards a drawn bias beside plain Adam and Adam with weight decay."""

import functools
import statistics
import time

import jax
import jax.numpy as jnp
import optax
import pytest

from symtheory import syre

pytestmark = pytest.mark.benchmark

WIDTHS = [64, 680, 680, 680, 10]
BATCH, ROUNDS, STEPS = 512, 15, 4


def net(key):
    keys = jax.random.split(key, len(WIDTHS) - 1)
    return [
        {"W": jax.random.normal(k, (n, m), jnp.float32) / m**0.5, "b": jnp.zeros(n, jnp.float32)}
        for k, m, n in zip(keys, WIDTHS[:-1], WIDTHS[1:], strict=True)
    ]


def loss(params, x, y):
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["W"].T + layer["b"])
    return jnp.mean((x @ params[-1]["W"].T + params[-1]["b"] - y) ** 2)


def stepper(optimizer, params, x, y):
    # Buffers are given back to the step, as in any training loop.
    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    params = jax.tree.map(jnp.copy, params)
    carry = jax.block_until_ready(step(params, optimizer.init(params)))

    def seconds():
        nonlocal carry
        p, s = carry
        start = time.process_time(), time.perf_counter()
        for _ in range(STEPS):
            p, s = step(p, s)
        carry = jax.block_until_ready((p, s))
        return (time.process_time() - start[0]) / STEPS, (time.perf_counter() - start[1]) / STEPS

    return seconds


def test_overhead(capsys):
    params = net(jax.random.key(0))
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    x = jax.random.normal(jax.random.key(1), (BATCH, WIDTHS[0]), jnp.float32)
    y = jnp.zeros((BATCH, WIDTHS[-1]), jnp.float32)
    peers = {
        "adam": optax.adam(1e-3),
        "decay towards a bias": optax.chain(syre.decay_towards(1e-4, key=0), optax.adam(1e-3)),
        "decay towards 0": optax.chain(optax.add_decayed_weights(2e-4), optax.adam(1e-3)),
    }
    steppers = {name: stepper(optimizer, params, x, y) for name, optimizer in peers.items()}
    times = {name: [] for name in peers}
    for _ in range(ROUNDS):  # interleaved, so that a busy machine slows all of them
        for name, seconds in steppers.items():
            times[name].append(seconds())
    middle = {name: statistics.median(t for t, _ in runs) for name, runs in times.items()}
    ratios = {
        name: statistics.median(
            mine[0] / base[0] for mine, base in zip(runs, times["adam"], strict=True)
        )
        for name, runs in times.items()
    }
    with capsys.disabled():
        print(f"\none step of Adam on an MLP of {size} parameters, batch {BATCH}, CPU seconds")
        for name in peers:
            print(f"  {name:22s} {middle[name] * 1e3:8.2f} ms  {100 * (ratios[name] - 1):+6.2f} %")
    assert 0.9e6 < size < 1.1e6
    assert ratios["decay towards a bias"] < 1.05
