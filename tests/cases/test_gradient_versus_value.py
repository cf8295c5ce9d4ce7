"""A claim about the gradient that JAX takes, proved for the value (or the other way round)."""

import jax
import jax.numpy as jnp

import symtheory as st
from tests.cases.oracles import discover, is_proved, verify

RESCALING = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")


def test_case_stop_gradient_discover_vs_verify():
    loss = lambda p, z: (p["u"] * jax.lax.stop_gradient(p["w"]) - z["y"]) ** 2
    model = st.Model(loss, {"u": (), "w": ()}, {"y": st.Normal(())})
    p = {"u": 2.0, "w": 3.0}
    d = jax.grad(loss)(p, {"y": 1.0})
    assert abs(d["u"] * p["u"] - d["w"] * p["w"]) > 1
    found = discover(model)
    for g in found.generators if found is not None else ():
        about_gradient = "grad" in g.verdict.claim
        assert not (about_gradient and g.verdict.status is st.Status.PROVED)
    assert not is_proved(verify(model, RESCALING))


def test_case_custom_vjp_loop():
    @jax.custom_vjp
    def root(a):
        body = lambda x: 0.5 * (x + a / x)
        return jax.lax.while_loop(lambda x: jnp.abs(x * x - a) > 1e-12, body, a)

    root.defvjp(lambda a: (root(a), root(a)), lambda x, g: (g / (2 * x),))
    loss = lambda p, z: (root((p["u"] * p["w"]) ** 2 + 1) - z["y"]) ** 2
    model = st.Model(loss, {"u": (), "w": ()}, {"y": st.Normal(())})
    found = discover(model)  # an answer, or a refusal in one sentence
    assert found is None or found.status is st.Status.INCONCLUSIVE or found.total == 1
