"""Nets trained together are those that the methods of the package train one by one."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import symtheory as st
from figures import _methods, _spread
from figures._digits import digits, permuted

GAMMA, STEPS = 0.02, 7


class Small(eqx.Module):
    """A convolution and a layer, so that kernels and biases are covered."""

    conv: eqx.nn.Conv2d
    out: eqx.nn.Linear

    def __init__(self, key):
        first, second = jax.random.split(key)
        self.conv = eqx.nn.Conv2d(1, 2, 3, key=first)
        self.out = eqx.nn.Linear(8, 2, key=second)

    def __call__(self, x):
        return self.out(jnp.tanh(self.conv(x)).reshape(-1))


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    data = (rng.normal(size=(6, 1, 4, 4)), rng.normal(size=(6, 2)))
    params, static = _methods.built(Small, jax.random.key(1), 3)

    def loss(params, batch, key):
        x, y = batch
        return jnp.mean((jax.vmap(eqx.combine(params, static))(x) - y) ** 2)

    return params, loss, data


@pytest.mark.parametrize("inner", [optax.sgd(0.1), optax.adam(0.01)], ids=["sgd", "adam"])
def test_each_method_is_the_one_of_the_package(problem, inner):
    params, loss, data = problem
    methods = _methods.five(GAMMA)
    start = _methods.prepared(methods, params, jax.random.key(2))
    end, path = _methods.trained(start, loss, inner, data, jax.random.key(3), steps=STEPS)
    assert path["loss"].shape == (5, 3, 1)
    seen = _methods.weights(end)
    keys = jax.random.split(jax.random.key(2), 3)
    with jax.enable_x64(False):
        batch = jax.tree.map(jnp.asarray, jax.tree.map(np.float32, data))
        for i, method in enumerate(methods):
            one = jax.tree.map(lambda leaf: leaf[1], params)
            rows = jax.tree.map(rows_of, one)
            back = lambda p, one=one: jax.tree.map(lambda a, b: a.reshape(b.shape), p, one)
            found = method.prepare(
                lambda p, back=back: loss(back(p), batch, None), rows, key=keys[1]
            )
            optimizer, p = found.optimizer(inner), found.params

            @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
            def step(p, state, found=found, optimizer=optimizer):
                updates, state = optimizer.update(jax.grad(found.loss)(p), state, p)
                return optax.apply_updates(p, updates), state

            state = optimizer.init(p)
            for _ in range(STEPS):
                p, state = step(p, state)
            expected = back(found.weights(p))
            jax.tree.map(
                lambda a, b, i=i: np.testing.assert_allclose(a[i, 1], b, atol=2e-6), seen, expected
            )


def rows_of(leaf):
    return leaf.reshape(-1) if leaf.size == leaf.shape[0] else leaf.reshape(leaf.shape[0], -1)


def test_methods_share_start_and_batches_and_differ_in_what_they_do(problem):
    params, loss, data = problem
    methods = _methods.five(GAMMA)
    start = _methods.prepared(methods, params, jax.random.key(2))
    both = [
        _methods.trained(
            start, loss, optax.sgd(0.1), data, jax.random.key(3), steps=4, records=2, batch_size=2
        )[1]["loss"]
        for _ in range(2)
    ]
    assert np.array_equal(both[0], both[1])
    assert both[0].shape == (5, 3, 2)
    first = _methods.weights(start)
    assert np.array_equal(first.out.weight[0], first.out.weight[4])
    frozen = np.sum(~np.isnan(np.asarray(start.frozen.conv.weight)[3]), axis=(2, 3, 4))
    assert np.all(frozen == 1)  # one entry of every row of the kernel
    for i in (1, 2, 3, 4):
        assert not np.array_equal(both[0][0, :, 1], both[0][i, :, 1])


def test_going_on_keeps_the_optimizer(problem):
    params, loss, data = problem
    start = _methods.prepared(_methods.five(GAMMA), params, jax.random.key(2))
    inner, key = optax.adam(0.01), jax.random.key(3)
    whole, _ = _methods.trained(start, loss, inner, data, key, steps=6)
    half, _ = _methods.trained(start, loss, inner, data, key, steps=3)
    again, _ = _methods.trained(half, loss, inner, data, key, steps=3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole.free, again.free)


def test_a_sweep_over_gamma_is_each_gamma(problem):
    params, loss, data = problem
    start = _methods.prepared(_methods.five(GAMMA), params, jax.random.key(2))
    both = _methods.swept(start, (2 * GAMMA, GAMMA))
    run = lambda nets: _methods.trained(
        nets, loss, optax.sgd(0.1), data, jax.random.key(3), steps=4
    )[1]["loss"]
    losses = run(both).reshape(2, 5, 3)
    np.testing.assert_allclose(losses[1], run(start)[..., 0], atol=1e-6)
    np.testing.assert_allclose(losses[0, 0], losses[1, 0], atol=1e-6)
    assert np.all(losses[0, 1:] != losses[1, 1:])


def test_uneven_records_are_refused(problem):
    params, loss, data = problem
    start = _methods.prepared(_methods.five(GAMMA), params, jax.random.key(2))
    with pytest.raises(st.InputError, match="7 steps cannot be recorded 2 times"):
        _methods.trained(start, loss, optax.sgd(0.1), data, jax.random.key(3), steps=7, records=2)


def test_interval_covers_the_mean_as_often_as_it_says():
    values = np.random.default_rng(0).normal(size=(4000, 5))
    mean, half = _spread.interval(values)
    assert abs(np.mean(np.abs(mean) < half) - 0.95) < 0.012


def test_ranks_and_counts():
    matrices = np.stack([np.diag([1, 0.5, 0.05, 0.005]), np.eye(4)])
    assert _spread.ranks(matrices).tolist() == [[4, 3, 2], [4, 4, 4]]
    assert _spread.below(np.array([[1e-4, 0.05, 2.0]])).tolist() == [[1, 1, 2]]


def test_digits_are_split_and_permuted():
    plain = digits()
    assert plain.train_x.shape[0] + plain.test_x.shape[0] == 1797
    assert plain.train_x.min() == 0 and plain.train_x.max() == 1
    assert min(np.bincount(plain.test_y)) > 40
    mixed = permuted(np.random.default_rng(0))
    assert np.array_equal(np.sort(mixed.test_x, axis=1), np.sort(plain.test_x, axis=1))
    assert not np.array_equal(mixed.test_x, plain.test_x)
