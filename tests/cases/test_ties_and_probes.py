"""Points thrown away where they tie, NaN that passes `x > tol`, probes of one size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import (
    assert_laws_right,
    assert_right,
    change,
    conservation_laws,
    discover,
    draw,
    kinds,
    reflections,
)


def assert_only_true(found, model, right):
    """Swaps and flips are the right ones, and whatever is listed besides holds where l is finite."""
    points = []
    for seed in range(40):
        params, sample = draw(model, seed=seed)
        params = {k: np.abs(v) if k in ("s", "var") else v for k, v in params.items()}
        points.append((params, sample))
    for item in found:
        for params, sample in points:
            after = item.reflection.apply(jax.tree.map(jnp.asarray, params))
            assert change(model.loss, params, after, sample) < 1e-6, item.name
    listed = kinds(found)
    assert {k: listed.get(k) for k in ("swap", "flip", "rotation")} == {
        k: right.get(k) for k in ("swap", "flip", "rotation")
    }


def test_case_ties_bias_points():
    # where(any(h > 0, h < 0), h, 0) is h, so this is the plain net of four relu units.
    def loss(p, z):
        h = jax.nn.relu(p["W"] @ z["x"])
        inside = jnp.any(jnp.stack([h > 0, h < 0]).T, axis=-1)
        return (p["u"] @ jnp.where(inside, h, 0.0) - z["y"]) ** 2

    model = st.Model(loss, {"W": (4, 3), "u": (4,)}, {"x": st.Normal(3), "y": st.Normal(())})
    found = discover(model)
    assert found is not None and found.total == 4
    assert found.status.holds


@pytest.mark.parametrize("name", ["written out", "tie"])
def test_case_constant_tie(name):
    receivers = jnp.array([0, 1, 1])

    def factor():
        if name == "written out":
            return 1.0
        degrees = jax.ops.segment_sum(jnp.ones(3), receivers, 2)
        return jax.lax.rsqrt(jnp.maximum(degrees, 1.0))[0]

    model = st.Model(
        lambda p, z: (jax.nn.relu(z["x"] @ p["W"]) @ p["u"] * factor() - z["y"]) ** 2,
        {"W": (3, 5), "u": (5,)},
        {"x": st.Normal(3), "y": st.Normal(())},
    )
    found = discover(model)
    assert_right(found, 5)
    assert_laws_right(conservation_laws(model, found=found), 5)


def test_case_nan_reflections():
    # log(s) is NaN where s is drawn negative; softplus is neither odd nor linear: swaps only.
    def loss(p, z):
        mean = p["u"] @ jax.nn.softplus(p["W"] @ z["x"])
        return 0.5 * ((z["y"] - mean) / p["s"]) ** 2 + jnp.log(p["s"])

    model = st.Model(
        loss, {"u": (10,), "W": (10, 8), "s": ()}, {"x": st.Normal(8), "y": st.Normal(())}
    )
    found = reflections(model)
    assert_only_true(found, model, {"swap": [(45, 9)]})


def test_case_bn_statistics():
    def loss(p, z):
        h = p["gain"] * (p["W"] @ z["x"] - p["mean"]) / jnp.sqrt(p["var"] + 1e-3) + p["shift"]
        return (p["u"] @ jnp.log1p(jnp.exp(h)) - z["y"]) ** 2

    shapes = {"W": (8, 8)} | {k: (8,) for k in ("gain", "mean", "var", "shift", "u")}
    model = st.Model(loss, shapes, {"x": st.Normal(8), "y": st.Normal(())})
    found = reflections(model)
    assert_only_true(found, model, {"swap": [(28, 13)], "flip": [(8, 10)]})
