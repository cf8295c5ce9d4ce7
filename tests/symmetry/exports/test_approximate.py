"""Symmetries without small constants: what appears, which constant stands against it, where."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.symmetry.exports import networks
from tests.symmetry.exports.networks import EPS, NETWORKS, draw, losses


def line_of(function, text):
    lines, start = inspect.getsourcelines(function)
    return f"networks.py:{start + next(n for n, line in enumerate(lines) if text in line)}"


def test_the_eps_of_a_normalization_with_its_line():
    found = st.approximate_symmetries(NETWORKS["rms norm"].model, 1e-4)
    [constant] = found.constants
    assert (constant.value, constant.where) == (EPS, "under a root")
    assert constant.location == line_of(networks.rms_norm, "rsqrt")
    assert [(f.kind, f.leaves, f.count) for f in found.families] == [("rescaling", ("W",), 1)]
    assert found.families[0].constants == (constant,)
    assert (found.counts.total, found.counts.affine) == (1, 0)
    # It is approximate: small, and not rounding.
    assert 1e-9 < found.deviation < 1e-2


def test_the_exact_symmetries_are_not_listed():
    model = NETWORKS["rms norm"].model
    found = st.approximate_symmetries(model, 1e-4)
    params = draw(model, 0)
    for family in found.families:
        for leaf in family.leaves:
            scaled = {**params, leaf: 3 * params[leaf]}
            assert not np.allclose(losses(model, scaled), losses(model, params), rtol=1e-12)
    assert not st.approximate_symmetries(NETWORKS["mlp"].model).families


def test_each_constant_stands_against_what_it_breaks():
    def loss(p, z):
        a = z["x"] @ p["A"]
        a = a / (jnp.linalg.norm(a, axis=-1, keepdims=True) + 1e-6)
        b = z["x"] @ p["B"]
        b = b / jnp.maximum(jnp.linalg.norm(b, axis=-1, keepdims=True), 1e-8)
        return jnp.sum((a * b - z["y"]) ** 2)

    model = st.Model(loss, {"A": (3, 4), "B": (3, 4)},
                     random={"x": st.Normal((5, 3)), "y": st.Normal((5, 4))})  # fmt: skip
    found = st.approximate_symmetries(model, 1e-4)
    against = {f.leaves: [(c.value, c.where) for c in f.constants] for f in found.families}
    assert against == {
        ("A",): [(1e-6, "in a denominator")], ("B",): [(1e-8, "as the least denominator")],
    }  # fmt: skip
    # A smaller limit leaves the larger constant alone.
    assert [f.leaves for f in st.approximate_symmetries(model, 1e-7).families] == [("B",)]


def test_a_constant_in_a_loop():
    def loss(p, z):
        def step(h, x):
            h = h + x @ p["W"]
            return h / jnp.sqrt(jnp.sum(h**2) + 1e-6), None

        h, _ = jax.lax.scan(step, jnp.zeros(4), z["x"])
        return jnp.sum((h - z["y"]) ** 2)

    model = st.Model(loss, {"W": (3, 4)}, random={"x": st.Normal((5, 3)), "y": st.Normal(4)})
    found = st.approximate_symmetries(model)
    assert [c.value for c in found.constants] == [1e-6]
    assert not found.families  # the first state has another scale than the later ones


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, z: jnp.sum(p["w"] * z["x"] + 1e-6) ** 2,  # no root, no denominator
        lambda p, z: jnp.log(jnp.sum(p["w"] ** 2) + 1e-6) * z["x"][0],
        lambda p, z: jnp.sum(z["x"]) / jnp.sqrt(jnp.sum(p["w"] ** 2) + 1e-2),  # not small
        lambda p, z: jnp.sum(z["x"]) / jnp.sqrt(jnp.sum(p["w"] ** 2) - 1e-6),  # not positive
    ],
)
def test_other_constants_stay(loss):
    model = st.Model(loss, {"w": (3,)}, random={"x": st.Normal(3)})
    found = st.approximate_symmetries(model, 1e-4)
    assert not found.constants and not found.families


@pytest.mark.parametrize("limit", [0, -1e-4, 1.0, float("nan")])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(st.InputError, match=r"ignore_below is .*1e-4"):
        st.approximate_symmetries(NETWORKS["mlp"].model, limit)


def test_a_discovery_lists_them_apart():
    model = st.Model(
        lambda p, z: jnp.sum(z["x"] @ p["w"] / jnp.sqrt(jnp.sum(p["w"] ** 2) + 1e-5)) ** 2,
        {"w": (3,)}, random={"x": st.Normal(3)},
    )  # fmt: skip
    found = st.discover(model, ignore_below=1e-4)
    assert found.total == 0
    assert [f.leaves for f in found.approximate.families] == [("w",)]
    data = found.to_json()["approximate"]
    assert data["families"][0]["constants"][0]["value"] == 1e-5
    assert data["families"][0]["constants"][0]["location"].startswith("test_approximate.py:")
    [row] = found.parameter_table().rows
    assert (row.kind, row.without_constants) == ("neither", "invariant")
