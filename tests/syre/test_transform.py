"""The optax transformation: conventions, reproducibility, and the two training paths."""

import pickle
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import symtheory as st
from symtheory import syre

PARAMS = {"W": jnp.linspace(-1, 1, 12).reshape(4, 3), "b": jnp.ones(4), "u": jnp.linspace(0, 1, 4)}


def loss(p, batch):
    x, y = batch
    h = jnp.tanh(x @ p["W"].T + p["b"])
    return jnp.mean((h @ p["u"] - y) ** 2)


def data(seed=0, n=16):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(n, 3))), jnp.asarray(rng.normal(size=n))


def train(loss, params, optimizer, steps=200):
    batch = data()

    def step(carry, _):
        p, s = carry
        updates, s = optimizer.update(jax.grad(loss)(p, batch), s, p)
        return (optax.apply_updates(p, updates), s), None

    run = jax.jit(lambda c: jax.lax.scan(step, c, None, length=steps)[0])
    return run((params, optimizer.init(params)))


def far(a, b):
    gaps = jax.tree.map(lambda x, y: jnp.max(jnp.abs(x - y)), a, b)
    return max(float(g) for g in jax.tree.leaves(gaps))


OPTIMIZERS = {
    "sgd": optax.sgd(0.05),
    "momentum": optax.sgd(0.02, momentum=0.9),
    "nesterov": optax.sgd(0.02, momentum=0.9, nesterov=True),
    "adam": optax.adam(0.01),
    "clipped": optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.01)),
}


@pytest.mark.parametrize(
    ("inner", "sigma_d"), [*((name, None) for name in OPTIMIZERS), ("adam", 0.1)]
)
def test_both_paths_agree_to_rounding(inner, sigma_d):
    """w under decay_towards before the optimizer, theta under l_r: w = theta + theta_0."""
    gamma, inner = 0.05, OPTIMIZERS[inner]
    optimizer = optax.chain(syre.decay_towards(gamma, key=3, sigma0=0.3, sigma_d=sigma_d), inner)
    state = optimizer.init(PARAMS)
    center, diagonal = syre.center_of(state), syre.diagonal_of(state)
    weights, _ = train(loss, PARAMS, optimizer)
    changed = syre.reparametrize(loss, center, gamma, diagonal)
    theta, _ = train(changed, syre.to_offsets(PARAMS, center), inner)
    assert far(weights, syre.to_weights(theta, center)) < 1e-11
    assert far(weights, PARAMS) > 0.1
    # The control: towards 0 the path is another one.
    plain, _ = train(loss, PARAMS, optax.chain(optax.add_decayed_weights(2 * gamma), inner))
    assert far(weights, plain) > 1e-3


def test_both_paths_agree_under_a_mask():
    optimizer = optax.chain(
        syre.decay_towards(0.05, key=3, sigma0=0.3, mask=syre.weights_only), optax.adam(0.01)
    )
    center = syre.center_of(optimizer.init(PARAMS))
    weights, _ = train(loss, PARAMS, optimizer)
    changed = syre.reparametrize(loss, center, 0.05)
    theta, _ = train(changed, syre.to_offsets(PARAMS, center), optax.adam(0.01))
    assert far(weights, syre.to_weights(theta, center)) < 1e-11


def test_where_the_decay_enters():
    """Decoupled inside and after agree; under SGD all three agree, under Adam coupled differs."""
    towards = lambda **options: syre.decay_towards(0.05, key=3, sigma0=0.3, **options)
    inside = optax.chain(optax.scale_by_adam(), towards(), optax.scale_by_learning_rate(0.01))
    after = optax.chain(optax.adam(0.01), towards(learning_rate=0.01))
    before = optax.chain(towards(), optax.adam(0.01))
    runs = [train(loss, PARAMS, optimizer)[0] for optimizer in (inside, after, before)]
    assert far(runs[0], runs[1]) < 1e-12
    assert far(runs[0], runs[2]) > 1e-3
    sgd = [
        train(loss, PARAMS, optimizer)[0]
        for optimizer in (
            optax.chain(towards(), optax.sgd(0.05)),
            optax.chain(optax.sgd(0.05), towards(learning_rate=0.05)),
        )
    ]
    assert far(*sgd) < 1e-12


def test_bitwise_reproducible_from_the_key():
    runs = [
        train(loss, PARAMS, optax.chain(syre.decay_towards(0.1, key=key), optax.adam(0.01)))
        for key in (7, jax.random.key(7), 8)
    ]
    same = jax.tree.map(lambda a, b: np.array_equal(a, b), runs[0], runs[1])
    assert all(jax.tree.leaves(same))
    assert far(runs[0][0], runs[2][0]) > 0


def test_state_survives_save_and_load():
    optimizer = optax.chain(
        syre.decay_towards(0.1, key=1, sigma0=0.2, sigma_d=0.1), optax.adam(0.01)
    )
    params, state = train(loss, PARAMS, optimizer, steps=10)
    loaded = pickle.loads(pickle.dumps(jax.device_get(state)))
    leaves, tree = jax.tree.flatten(state)
    rebuilt = jax.tree.unflatten(tree, [np.array(leaf) for leaf in leaves])
    gradient = jax.grad(loss)(params, data())
    results = [optimizer.update(gradient, s, params)[0] for s in (state, loaded, rebuilt)]
    for other in results[1:]:
        assert all(jax.tree.leaves(jax.tree.map(np.array_equal, results[0], other)))
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)


def test_masks_exclude_biases_and_do_not_change_the_rest():
    gradient = jax.tree.map(jnp.zeros_like, PARAMS)
    whole = syre.decay_towards(0.1, key=1)
    masked = syre.decay_towards(0.1, key=1, mask=syre.weights_only)
    by_tree = syre.decay_towards(0.1, key=1, mask={"W": True, "b": False, "u": False})
    out = [t.update(gradient, t.init(PARAMS), PARAMS)[0] for t in (whole, masked, by_tree)]
    assert np.array_equal(out[0]["W"], out[1]["W"]) and np.array_equal(out[1]["W"], out[2]["W"])
    assert np.any(out[0]["b"]) and not np.any(out[1]["b"]) and not np.any(out[2]["b"])


def test_nothing_changes_without_decay():
    with pytest.warns(UserWarning, match="removal needs gamma > 0"):
        none = syre.decay_towards(0.0, key=1)
    gradient = jax.grad(loss)(PARAMS, data())
    updates, _ = none.update(gradient, none.init(PARAMS), PARAMS)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, updates, gradient)))
    with_it, _ = train(loss, PARAMS, optax.chain(none, optax.adam(0.01)))
    without, _ = train(loss, PARAMS, optax.adam(0.01))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, with_it, without)))


def test_schedule():
    schedule = lambda count: jnp.where(count < 2, 0.5, 0.0)
    towards = syre.decay_towards(schedule, center={"w": jnp.zeros(2)})
    params, zero = {"w": jnp.ones(2)}, {"w": jnp.zeros(2)}
    state, seen = towards.init(params), []
    for _ in range(4):
        updates, state = towards.update(zero, state, params)
        seen.append(float(updates["w"][0]))
    assert seen == [1.0, 1.0, 0.0, 0.0]


def test_vmap_over_keys():
    def first(key):
        towards = syre.decay_towards(0.5, key=key, sigma0=1.0)
        updates, _ = towards.update(jnp.zeros(5), towards.init(jnp.zeros(5)), jnp.zeros(5))
        return updates

    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(first))(keys)
    for row, key in zip(together, keys, strict=True):
        np.testing.assert_array_equal(row, first(key))
    assert len(np.unique(np.asarray(together)[:, 0])) == 3


def test_updates_that_are_none_and_extra_arguments():
    towards = syre.decay_towards(0.5, center={"a": jnp.zeros(2), "b": jnp.zeros(2)})
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    updates, _ = towards.update({"a": None, "b": jnp.zeros(2)}, towards.init(params), params, v=1)
    assert updates["a"] is None and updates["b"][0] == 1.0


def test_low_precision_keeps_its_type():
    params = {"w": jnp.ones((3, 2), jnp.bfloat16)}
    towards = syre.decay_towards(0.1, key=0)
    updates, _ = towards.update(params, towards.init(params), params)
    assert updates["w"].dtype == jnp.bfloat16


def test_bias_by_fan_in():
    big = {"W": jnp.zeros((50, 400)), "u": jnp.zeros(900)}
    bias = syre.draw_bias(0, big)
    assert np.std(bias["W"]) == pytest.approx(0.01 / 20, rel=0.03)
    assert np.std(bias["u"]) == pytest.approx(0.01 / 30, rel=0.1)
    flax = syre.draw_bias(0, big, in_axis=-2)
    assert np.std(flax["W"]) == pytest.approx(0.01 / 50**0.5, rel=0.03)
    by_name = syre.draw_bias(0, big, lambda name, shape: 2.0 if name == "u" else 1.0)
    assert np.std(by_name["u"]) == pytest.approx(2.0, rel=0.1)


def test_bias_is_the_same_in_both_precisions_and_beside_other_leaves():
    single = syre.draw_bias(5, {"W": jnp.zeros((4, 3), jnp.float32)}, 0.1)
    double = syre.draw_bias(5, {"W": jnp.zeros((4, 3), jnp.float64), "v": jnp.zeros(2)}, 0.1)
    np.testing.assert_array_equal(np.asarray(single["W"], float), np.asarray(double["W"]))


def test_hyperparameters_of_optax():
    """optax.inject_hyperparams: gamma in the state, to be changed while training."""
    injected = optax.inject_hyperparams(syre.decay_towards, static_args=("key", "in_axis"))
    towards = injected(weight_decay=0.1, key=0)
    plain = syre.decay_towards(0.3, key=0)
    state = towards.init(PARAMS)
    state.hyperparams["weight_decay"] = jnp.asarray(0.3)
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    got, _ = jax.jit(towards.update)(zero, state, PARAMS)
    want, _ = plain.update(zero, plain.init(PARAMS), PARAMS)
    assert far(got, want) < 1e-15


def test_torch_is_imported_only_when_asked_for():
    code = (
        "import sys, symtheory, symtheory.syre as s; s.decay_towards\n"
        "assert 'torch' not in sys.modules\n"
        "sys.modules['torch'] = None\n"
        "try:\n    import symtheory.syre.pytorch\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'symtheory[torch]'" in done.stdout


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma0", [0, -1.0, float("nan"), float("inf"), lambda name, shape: 0.0])
def test_sigma_must_be_positive(sigma0):
    with pytest.raises(st.InputError, match="give a positive number"):
        syre.decay_towards(0.1, key=0, sigma0=sigma0).init(PARAMS)


@pytest.mark.parametrize("gamma", [-0.1, float("nan"), float("inf")])
def test_decay_must_not_be_negative(gamma):
    with pytest.raises(st.InputError, match="removal needs gamma > 0"):
        syre.decay_towards(gamma, key=0)


def test_no_warning_with_decay():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        syre.decay_towards(0.1, key=0).init(PARAMS)


@pytest.mark.parametrize(
    ("diagonal", "message"),
    [
        (jnp.array([1.0, 1.0, 2.0]), "more than once"),
        (jnp.array([1.0, 0.0, 2.0]), "must be positive"),
        (jnp.array([1.0, -1.0, 2.0]), "must be positive"),
    ],
)
def test_diagonal(diagonal, message):
    with pytest.raises(st.InputError, match=message):
        syre.decay_towards(0.1, key=0, diagonal=diagonal)


@pytest.mark.parametrize("sigma_d", [0.0, 1.0, -0.5])
def test_spread_of_the_diagonal(sigma_d):
    with pytest.raises(st.InputError, match="between 0 and 1"):
        syre.decay_towards(0.1, key=0, sigma_d=sigma_d).init(PARAMS)


def test_integer_parameters():
    params = {"W": jnp.ones(2), "n": jnp.ones(2, int)}
    with pytest.raises(st.InputError, match="'n' has the type int"):
        syre.decay_towards(0.1, key=0).init(params)
    syre.decay_towards(0.1, key=0, mask={"W": True, "n": False}).init(params)


def test_update_without_params():
    towards = syre.decay_towards(0.1, key=0)
    with pytest.raises(ValueError, match="needs the current parameters"):
        towards.update(PARAMS, towards.init(PARAMS))


def test_a_tree_that_changed_since_init():
    towards = syre.decay_towards(0.1, key=0)
    state = towards.init(PARAMS)
    wider = {**PARAMS, "W": jnp.zeros((4, 5))}
    with pytest.raises(st.InputError, match=r"'W' has the shape \(4, 5\)"):
        towards.update(wider, state, wider)
    fewer = {"W": PARAMS["W"]}
    with pytest.raises(st.InputError, match="call init again"):
        jax.jit(towards.update)(fewer, state, fewer)


def test_key_or_center():
    with pytest.raises(st.InputError, match="either key"):
        syre.decay_towards(0.1)
    with pytest.raises(st.InputError, match="either key"):
        syre.decay_towards(0.1, key=0, center=PARAMS)
    with pytest.raises(st.InputError, match="center was given as"):
        syre.decay_towards(0.1, center={"W": PARAMS["W"]}).init(PARAMS)


def test_state_without_the_transformation():
    with pytest.raises(st.InputError, match="0 states"):
        syre.center_of(optax.adam(0.1).init(PARAMS))
