"""Precision set after the numbers were made, underflow with error 0, estimates printed as exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import (
    ask,
    assert_never_wrong,
    discover,
    is_proved,
    status,
    verify,
)


def test_case_lanes_underflow_false_completeness():
    # tiny is a square: positive as a real number for u != 0, and 0 in double precision.
    def loss(p, z):
        tiny = (p["u"] * 1e-200) * (p["u"] * 1e-200)
        return (p["u"] * p["v"] - z["y"]) ** 2 + jnp.where(tiny > 0, 0.0, p["a"] ** 2)

    model = st.Model(loss, {"u": (), "v": (), "a": ()}, {"y": st.Normal(())})
    found = discover(model)
    if is_proved(found):
        assert "a" in found.trivial and found.total == 1


def test_case_sharpness_of_a_data_set():
    # The population loss of a data set is the average over its rows: the Hessian of that mean.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=40)
    loss = lambda p, z: (p["u"] @ jax.nn.relu(p["W"] @ z["x"]) - z["y"]) ** 2
    model = st.Model(loss, {"W": (2, 2), "u": 2}, st.Empirical({"x": x, "y": y}))
    p = {"W": jnp.array([[1.0, 0.5], [-0.3, 0.8]]), "u": jnp.array([0.7, -1.0])}

    def mean(v):
        params = {"W": v[:4].reshape(2, 2), "u": v[4:]}
        return jnp.mean(jax.vmap(lambda a, b: loss(params, {"x": a, "y": b}))(x, y))

    hessian = jax.hessian(mean)(jnp.concatenate([p["W"].ravel(), p["u"]]))
    found = st.sharpness(model, p)
    assert found.trace == pytest.approx(float(jnp.trace(hessian)), rel=1e-9)
    assert found.largest == pytest.approx(float(jnp.linalg.eigvalsh(hessian)[-1]), rel=1e-9)


def test_case_stationary_mode_not_highest():
    # The density is unbounded at 0, so the mode is 0 and not the local maximum inside.
    model = st.Model(
        lambda p, z: (p["u"] * p["w"] * z["x"] - z["x"] - z["e"]) ** 2,
        {"u": (), "w": ()},
        {"x": st.Normal(()), "e": st.Normal(())},
    )
    law = st.stationary_law(model, temperature=0.15)
    density = law.callable()
    assert float(density(1e-9)) > float(density(1e-6)) > float(density(0.9))
    assert law.mode == 0.0


# --- numbers that are positive and underflow, or finite and overflow ---
#
# l = (u v - y)^2 + (0 if condition else a^2), with a condition that holds for all real u, v that
# are not 0: the loss does not depend on a.

HOLDS = {
    "square_of_tiny": lambda u, v: (u * 1e-200) * (u * 1e-200) > 0,
    "power_of_tiny": lambda u, v: (u * 1e-170) ** 2 > 0,
    "product_of_three": lambda u, v: (u * 1e-150) * (v * 1e-150) * (u * 1e-150) * (v * 1e-10) > 0,
    "exp_of_large": lambda u, v: jnp.exp(-1e4 - u**2) > 0,
    "exp_of_square": lambda u, v: jnp.exp(-1e3 * (1 + u**2)) > 0,
    "divided": lambda u, v: (u**2 / 1e200) / 1e200 > 0,
    "denormal": lambda u, v: u**2 * 5e-324 > 0,
    "sum_of_tiny": lambda u, v: jnp.sum(jnp.stack([u, v]) ** 2 * 1e-320 * 1e-10) > 0,
    "overflow_below_infinity": lambda u, v: (u * 1e200) ** 2 < jnp.inf,
    "overflow_difference": lambda u, v: (u * 1e200) ** 2 + 1 > (u * 1e200) ** 2,
    "absorbed": lambda u, v: 1.0 + u**2 * 1e-30 > 1.0,
    "absorbed_log": lambda u, v: jnp.log(1.0 + u**2 * 1e-30) > 0,
    "absorbed_exp": lambda u, v: jnp.exp(u**2 * 1e-30) > 1.0,
    "absorbed_large": lambda u, v: (1e30 + u**2) - 1e30 > 0,
    "cosh": lambda u, v: jnp.cosh(u * 1e-10) > 1.0,
    "saturated_tanh": lambda u, v: jnp.tanh(50 + u**2) < 1.0,
    "saturated_sigmoid": lambda u, v: jax.nn.sigmoid(60 + u**2) < 1.0,
    "saturated_erf": lambda u, v: jax.lax.erf(30 + u**2) < 1.0,
    "softplus_tail": lambda u, v: jax.nn.softplus(-1e3 - u**2) > 0,
    "third": lambda u, v: 3.0 * (u**2 / 3.0) <= u**2,
}


@pytest.mark.parametrize("name", HOLDS)
def test_a_condition_that_holds_for_real_numbers(name):
    holds = HOLDS[name]

    def loss(p, z):
        more = jnp.where(holds(p["u"], p["v"]), 0.0, p["a"] ** 2)
        return (p["u"] * p["v"] - z["y"]) ** 2 + more

    model = st.Model(loss, {"u": (), "v": (), "a": ()}, {"y": st.Normal(())})
    found = discover(model)
    if is_proved(found):
        assert "a" in found.trivial and found.total == 1
    rescaling = st.Exponential(lambda p: {"u": p["u"], "v": -p["v"], "a": 0 * p["a"]})
    verdict = verify(model, rescaling)
    assert verdict is None or verdict.status is not st.Status.REFUTED


@pytest.mark.parametrize("name", HOLDS)
def test_a_condition_that_fails_for_real_numbers(name):
    # The same with the branches exchanged: now the loss depends on a, for all u and v.
    holds = HOLDS[name]

    def loss(p, z):
        more = jnp.where(holds(p["u"], p["v"]), p["a"] ** 2, 0.0)
        return (p["u"] * p["v"] - z["y"]) ** 2 + more

    model = st.Model(loss, {"u": (), "v": (), "a": ()}, {"y": st.Normal(())})
    found = discover(model)
    assert found is None or not is_proved(found.trivial.get("a"))
    shift = st.Affine(lambda p: {"u": 0 * p["u"], "v": 0 * p["v"], "a": 1.0 + 0 * p["a"]})
    assert not is_proved(verify(model, shift))


# --- small terms that break a symmetry ---


@pytest.mark.parametrize("size", [1e-3, 1e-9, 1e-15, 1e-30, 1e-100, 1e-300, 1e30, 1e200])
@pytest.mark.parametrize(
    "term",
    [lambda p: p["u"] ** 2, lambda p: jnp.tanh(p["u"]), lambda p: jax.nn.relu(p["u"])],
    ids=["square", "tanh", "relu"],
)
def test_no_rescaling_with_a_term_of_any_size(size, term):
    loss = lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2 + size * term(p)
    model = st.Model(loss, {"u": (), "w": ()}, {"y": st.Normal(())})
    rescaling = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")
    assert not is_proved(verify(model, rescaling))
    assert_never_wrong(discover(model), 0, 0)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e-9, 1e9, 1e30, 1e200])
def test_a_symmetry_at_any_size(size):
    # A factor in front of everything changes nothing.
    for act in (lambda h: h, jnp.tanh):
        loss = lambda p, z, act=act: size * (act(p["u"] * p["w"]) - z["y"]) ** 2
        model = st.Model(loss, {"u": (), "w": ()}, {"y": st.Normal(())})
        rescaling = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")
        assert status(verify(model, rescaling)) != "refuted"
        found = discover(model)
        assert found is not None and found.total == 1


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1e4, 1e8])
def test_parameters_of_very_different_size(scale):
    # Units of measurement: W is read as scale * W. The rescalings are the same two.
    def loss(p, z):
        return (p["u"] @ jax.nn.relu(scale * p["W"] @ z["x"]) / scale - z["y"]) ** 2

    model = st.Model(loss, {"W": (2, 2), "u": (2,)}, {"x": st.Normal(2), "y": st.Normal(())})
    found = discover(model)
    assert found is not None and (found.total, str(found.status)) == (2, "proved")


CANCELLING = {
    "pythagoras": lambda t: jnp.sin(t) ** 2 + jnp.cos(t) ** 2 - 1,
    "double_angle": lambda t: jnp.sin(2 * t) - 2 * jnp.sin(t) * jnp.cos(t),
    "exp_and_inverse": lambda t: jnp.exp(t) * jnp.exp(-t) - 1,
    "log_of_exp": lambda t: jnp.log(jnp.exp(t)) - t,
    "square_of_sum": lambda t: (t + 1) ** 2 - t**2 - 2 * t - 1,
    "thirds": lambda t: t / 3 + t / 3 + t / 3 - t,
    "hyperbolic": lambda t: jnp.cosh(t) ** 2 - jnp.sinh(t) ** 2 - 1,
    "logistic": lambda t: jax.nn.sigmoid(t) + jax.nn.sigmoid(-t) - 1,
    "tenths": lambda t: 0.1 * t + 0.2 * t - 0.3 * t,
}


@pytest.mark.parametrize("name", CANCELLING)
def test_a_large_multiple_of_zero_refutes_nothing(name):
    # 1e25 times what is exactly 0: rounding there must not be taken for a witness.
    zero = CANCELLING[name]
    loss = lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2 + 1e25 * zero(p["u"])
    model = st.Model(loss, {"u": (), "w": ()}, {"y": st.Normal(())})
    rescaling = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")
    for seed in range(3):
        assert status(verify(model, rescaling, seed=seed)) != "refuted"
    found = discover(model)
    if is_proved(found):
        assert found.total == 1


# --- averages over a data set are exact ---


@pytest.mark.parametrize("rows", [1, 2, 40])
@pytest.mark.parametrize(
    "act", [lambda h: h, jax.nn.relu, jnp.tanh], ids=["linear", "relu", "tanh"]
)
def test_noise_of_a_data_set_is_an_average_over_its_rows(rows, act):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=rows), rng.normal(size=rows)
    loss = lambda p, z: (p["u"] * act(p["w"]) * z["x"] - z["y"]) ** 2
    if act is jnp.tanh:
        loss = lambda p, z: (jnp.tanh(p["u"] * p["w"]) * z["x"] - z["y"]) ** 2
    model = st.Model(loss, {"u": (), "w": ()}, st.Empirical({"x": x, "y": y}))
    law = ask(st.derive, model, st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}))
    assert law is not None
    p = {"u": jnp.array(0.7), "w": jnp.array(1.3)}
    g = jax.vmap(lambda a, b: jnp.stack([*jax.grad(loss)(p, {"x": a, "y": b}).values()]))(x, y)
    centred = np.asarray(g) - np.asarray(g).mean(0)
    right = np.mean(centred[:, 0] ** 2) - np.mean(centred[:, 1] ** 2)
    assert float(law.noise_trace.callable()(p)) == pytest.approx(right, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rows", [1, 3, 25])
def test_sharpness_of_small_data_sets(rows):
    rng = np.random.default_rng(rows)
    x, y = rng.normal(size=rows), rng.normal(size=rows)
    loss = lambda p, z: (jnp.tanh(p["u"] * p["w"]) * z["x"] - z["y"]) ** 2
    model = st.Model(loss, {"u": (), "w": ()}, st.Empirical({"x": x, "y": y}))
    p = {"u": jnp.array(0.4), "w": jnp.array(0.9)}
    mean = lambda v: jnp.mean(
        jax.vmap(lambda a, b: loss({"u": v[0], "w": v[1]}, {"x": a, "y": b}))(x, y)
    )
    hessian = jax.hessian(mean)(jnp.array([0.4, 0.9]))
    found = st.sharpness(model, p)
    assert found.trace == pytest.approx(float(jnp.trace(hessian)), rel=1e-9)
    assert found.largest == pytest.approx(float(jnp.linalg.eigvalsh(hessian)[-1]), rel=1e-9)


@pytest.mark.parametrize("temperature", [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.6])
def test_the_mode_is_where_the_density_is_highest(temperature):
    # x and e normal: the density is a power at 0, unbounded from some temperature on.
    model = st.Model(
        lambda p, z: (p["u"] * p["w"] * z["x"] - z["x"] - z["e"]) ** 2,
        {"u": (), "w": ()},
        {"x": st.Normal(()), "e": st.Normal(())},
    )
    law = ask(st.stationary_law, model, temperature=temperature)
    if law is None:
        return
    density = ask(law.callable)
    if density is None:  # above the temperature of collapse there is none
        return
    grid = np.concatenate([np.logspace(-12, -3, 40), np.linspace(1e-3, 4, 4000)])
    values = np.array([float(density(v)) for v in grid])
    if values[0] > values[1] > values[2] and values[0] > values[-4000:].max():
        assert law.mode == 0.0
    else:
        assert law.mode == pytest.approx(grid[int(np.argmax(values))], abs=2e-3)


# --- float32 and integers as parameters or data ---


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_the_type_of_the_arrays_changes_no_symmetry(dtype):
    model = st.Model(
        lambda p, z: (p["u"] @ jax.nn.relu(p["W"] @ z["x"]) - z["y"]) ** 2,
        {"W": np.ones((2, 2), dtype), "u": np.ones(2, dtype)},
        {"x": st.Normal(2), "y": st.Normal(())},
    )
    found = discover(model)
    assert found is not None and (found.total, str(found.status)) == (2, "proved")


@pytest.mark.parametrize("cast", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_a_cast_inside_the_loss_is_not_an_identity_to_build_on(cast):
    # Read as real numbers a cast to floats changes nothing; either is said, or refused.
    model = st.Model(
        lambda p, z: ((p["u"].astype(cast) * p["w"].astype(cast)).astype(float) - z["y"]) ** 2,
        {"u": (), "w": ()},
        {"y": st.Normal(())},
    )
    found = discover(model)
    assert_never_wrong(found, 1, 1)


@pytest.mark.parametrize("kind", ["int32", "int8", "uint8"])
def test_a_cast_to_integers_is_no_identity(kind):
    model = st.Model(
        lambda p, z: (
            ((p["u"] * p["w"]).astype(kind).astype(float) + p["u"] * 0 - z["y"]) ** 2
            + (p["a"] - z["y"]) ** 2
        ),
        {"u": (), "w": (), "a": ()},
        {"y": st.Normal(())},
    )
    shift = st.Affine(lambda p: {"u": 1.0 + 0 * p["u"], "w": 0 * p["w"], "a": 0 * p["a"]})
    before, after = {"u": 1.2, "w": 1.1, "a": 0.3}, {"u": 9.7, "w": 1.1, "a": 0.3}
    assert float(model.loss(jax.tree.map(jnp.asarray, before), {"y": 0.1})) != float(
        model.loss(jax.tree.map(jnp.asarray, after), {"y": 0.1})
    )
    verdict = verify(model, shift)
    text = "" if verdict is None else " ".join([verdict.claim, verdict.how, *verdict.assumptions])
    assert not is_proved(verdict) or "side" in text or "piece" in text
