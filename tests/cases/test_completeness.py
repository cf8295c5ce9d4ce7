"""What is said of everything that was not found: "none left", "no others", "does not depend"."""

import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import (
    assert_right,
    discover,
    is_proved,
    verify,
)


def test_case_certify_signed_swap_survives():
    model = st.Model(
        lambda p, z: (p["u"] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2,
        {"u": 2, "W": (2, 2)},
        {"x": st.Normal(2), "y": st.Normal(())},
        name="tanh net",
    )
    bias = {"u": np.array([0.3, -0.3]), "W": np.array([[0.1, 0.2], [-0.1, -0.2]])}
    removed = st.remove_symmetries(model, weight_decay=0.1, bias=bias)
    half = jnp.full((2, 2), 0.5)
    signed = st.Reflection(lambda p: {"u": half @ p["u"], "W": half @ p["W"]}, name="signed swap")
    assert verify(model, signed).status is st.Status.PROVED
    assert verify(removed, signed).status is not st.Status.REFUTED
    assert not is_proved(st.certify(removed))


def test_case_discover_misses_unused_parameter_columns():
    model = st.Model(
        lambda p, z: (p["a"][0] - p["a"][1] - z["y"]) ** 2,
        {"a": (2,), "u": ()},
        {"y": st.Normal(())},
    )
    extra = st.Exponential(
        lambda p: {"a": p["u"] + 0 * p["a"], "u": 0 * p["u"]}, name="a -> a + t u (1, 1)"
    )
    assert verify(model, extra).status is st.Status.PROVED
    found = discover(model)
    columns = {j for g in found.generators for _, j in g.matrix}
    if is_proved(found):
        assert 2 in columns and found.total >= 3, (found.total, columns)


@pytest.mark.parametrize("name", ["plain", "scatter"])
def test_case_scatter_into_broadcast(name):
    places = jnp.array([0, 1])
    act = {"plain": lambda h: h, "scatter": lambda h: jnp.zeros(2).at[places].set(h)}[name]

    def loss(p, z):
        rest = jnp.sum(p["u"] ** 4) * jnp.sum(p["W"] ** 4)
        return (p["u"] @ act(p["W"] @ z["x"]) - z["y"]) ** 2 + rest

    model = st.Model(loss, {"W": (2, 2), "u": 2}, {"x": st.Normal(2), "y": st.Normal(())})
    rescaling = st.Exponential(lambda p: {"W": p["W"], "u": -p["u"]}, name="rescaling")
    assert verify(model, rescaling).status is st.Status.PROVED
    found = discover(model, seconds=40)
    assert_right(found, 1)
