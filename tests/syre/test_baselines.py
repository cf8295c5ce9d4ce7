"""Baselines: one interface, explicit keys, and each does what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import symtheory as st
from symtheory import syre

PARAMS = {"W": jnp.linspace(-1, 1, 12).reshape(4, 3), "b": jnp.ones(4), "u": jnp.ones(4)}
X = jnp.asarray(np.random.default_rng(0).normal(size=(10, 3)))


def loss(p, x, activation=jax.nn.relu):
    return jnp.mean((activation(x @ p["W"].T + p["b"]) @ p["u"] - jnp.sum(x, 1)) ** 2)


def run(method, key, steps=20, inner=None):
    prepared = method.prepare(loss, PARAMS, key=key)
    optimizer = prepared.optimizer(inner or optax.adam(0.01))

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(prepared.loss)(params, X), state, params)
        return (optax.apply_updates(params, updates), state), None

    def descend(params):
        return jax.lax.scan(step, (params, optimizer.init(params)), None, length=steps)[0]

    params, _ = jax.jit(descend)(prepared.params)
    return prepared, prepared.weights(params)


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


KEYED = {"syre", "W-fix", "asymmetric activation", "shrink and perturb"}


@pytest.mark.parametrize("method", syre.baselines(0.05), ids=lambda m: m.name)
def test_one_interface_and_explicit_keys(method):
    if method.name == "shrink and perturb":
        method = syre.ShrinkAndPerturb(every=5)
    first, again, other = (run(method, key)[1] for key in (1, jax.random.key(1), 2))
    assert same(first, again)
    assert same(first, other) == (method.name not in KEYED)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(first))


def test_plain_decay_and_decay_to_init():
    rate, gamma = 0.1, 0.05
    gradient = jax.grad(loss)(PARAMS, X)
    _, plain = run(syre.PlainDecay(gamma), 0, 1, optax.sgd(rate))
    _, to_init = run(syre.DecayToInit(gamma), 0, 1, optax.sgd(rate))
    expected = jax.tree.map(lambda p, g: p - rate * (g + 2 * gamma * p), PARAMS, gradient)
    assert np.allclose(plain["W"], expected["W"], atol=1e-14)
    assert np.allclose(to_init["W"], PARAMS["W"] - rate * gradient["W"], atol=1e-14)


def test_syre_is_decay_towards():
    _, trained = run(syre.Syre(0.05, sigma0=0.2), 3)
    optimizer = optax.chain(syre.decay_towards(0.05, key=3, sigma0=0.2), optax.adam(0.01))
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(20):
        updates, state = optimizer.update(jax.grad(loss)(params, X), state, params)
        params = optax.apply_updates(params, updates)
    gap = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), trained, params)
    assert max(jax.tree.leaves(gap)) < 1e-9


def test_w_fix_freezes_some_entries_of_every_row():
    prepared, trained = run(syre.WFix(per_row=2, weight_decay=0.1), 0)
    begun = prepared.weights(prepared.params)
    frozen = np.asarray(trained["W"] == begun["W"])
    assert np.all(frozen.sum(1) == 2)
    assert not np.any(np.asarray(trained["b"] == PARAMS["b"]))


def test_w_fix_takes_any_pytree():
    """A tuple of two is a node like any other, as in a net with two layers."""
    params = (jnp.ones((3, 4)), {"second": jnp.ones((2, 3))})
    prepared = syre.WFix().prepare(lambda p: jnp.sum(p[0]), params, key=0)
    weights = prepared.weights(params)
    assert jax.tree.structure(weights) == jax.tree.structure(params)
    for leaf in jax.tree.leaves(weights):
        assert np.all(np.sum(np.asarray(leaf) != 1, axis=1) == 1)


def test_w_fix_and_the_activation_break_the_swaps():
    """The loss of the prepared problem, as a model: no reflection is found any more."""
    base = {"W": jnp.zeros((3, 2)), "u": jnp.zeros(3)}
    row = lambda p, x, activation=jnp.tanh: (p["u"] @ activation(p["W"] @ x[:2]) - x[2]) ** 2
    law = {"z": st.Normal(3)}
    model = st.Model(lambda p, z: row(p, z["z"]), base, law)
    assert [r.kind for r in st.reflections(model)] == ["swap", "flip", "signed swap"]
    for method in (syre.WFix(), syre.AsymmetricActivation()):
        changed = method.prepare(row, base, key=0).loss
        model = st.Model(lambda p, z, f=changed: f(p, z["z"]), base, law)
        kinds = {r.kind for r in st.reflections(model) if r.verdict.status.holds}
        assert "swap" not in kinds


def test_shrink_and_perturb_acts_every_so_often():
    method = syre.ShrinkAndPerturb(shrink=0.5, sigma=0.0, every=3)
    prepared = method.prepare(loss, PARAMS, key=0)
    optimizer = prepared.optimizer(optax.sgd(0.0))
    params, state, seen = PARAMS, optimizer.init(PARAMS), []
    for _ in range(6):
        updates, state = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
        params = optax.apply_updates(params, updates)
        seen.append(float(params["b"][0]))
    assert seen == [1, 1, 0.5, 0.5, 0.5, 0.25]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (syre.WFix(per_row=3), "freeze at least one and not all"),
        (syre.ShrinkAndPerturb(shrink=0.0), "0 < shrink"),
        (syre.ShrinkAndPerturb(every=0), "every >= 1"),
        (syre.PlainDecay(-1.0), "removal needs gamma > 0"),
        (syre.Syre(0.1, sigma0=-1.0), "positive number"),
    ],
)
def test_bad_settings(method, message):
    with pytest.raises(st.InputError, match=message):
        run(method, 0, 1)


def test_the_asymmetric_activation_needs_a_loss_that_takes_one():
    with pytest.raises(st.InputError, match="activation="):
        syre.AsymmetricActivation().prepare(lambda p, x: 0.0, PARAMS, key=0)
