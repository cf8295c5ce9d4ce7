"""Precision set after the numbers were made, underflow with error 0, estimates printed as exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import discover, is_proved


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
