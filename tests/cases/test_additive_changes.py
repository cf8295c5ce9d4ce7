"""Rules that are valid for scalings, reused for additive changes."""

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from tests.cases.oracles import (
    assert_never_wrong,
    assert_proved_generators_hold,
    change,
    discover,
)


def test_case_shift_concat_false_proof():
    def loss(p, z):
        logits = jnp.concatenate([p["W"], jnp.array([-60.0])])  # one more class, a fixed logit
        return (jax.nn.logsumexp(logits) - p["W"][0]) * z["s"]

    model = st.Model(loss, {"W": (3,)}, {"s": st.Normal(())})
    low = ({"W": np.full(3, -60.0)}, {"s": 1.0})
    assert change(loss, low[0], {"W": np.full(3, -100.0)}, low[1]) > 0.1
    found = discover(model)
    assert_proved_generators_hold(found, model, [low])
    assert_never_wrong(found, 0, 0)


def test_case_shift_gather_fill_false_proof():
    labels = np.arange(5000) % 3
    labels[4321] = 7

    def loss(p, z):
        y = z["y"].astype(int)
        return jax.nn.logsumexp(p["W"]) - p["W"].at[y].get(mode="fill", fill_value=0)

    model = st.Model(loss, {"W": (3,)}, st.Empirical({"y": labels.astype(float)}))
    outside = ({"W": np.zeros(3)}, {"y": jnp.asarray(7.0)})
    assert change(loss, outside[0], {"W": np.ones(3)}, outside[1]) > 0.1
    found = discover(model)
    assert_proved_generators_hold(found, model, [outside])
    assert_never_wrong(found, 0, 0)
