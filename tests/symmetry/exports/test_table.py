"""The parameter table: kinds derived by hand, checked on the function; groups for optimizers."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import symtheory as st
from symtheory.symmetry.exports import _table
from tests.symmetry.exports.networks import NETWORKS, draw, layer_norm, losses


class Tables(dict):
    """Tables by network, made when they are needed."""

    def __missing__(self, name):
        self[name] = st.parameter_table(NETWORKS[name].model)
        return self[name]


@pytest.fixture(scope="module")
def tables():
    return Tables()


@pytest.mark.parametrize("name", NETWORKS)
def test_kinds_are_those_derived_by_hand(tables, name):
    found = {row.name: row.degree for row in tables[name].rows if row.kind != "neither"}
    assert found == NETWORKS[name].degrees
    for row in tables[name].rows:
        assert str(row.verdict.status) == ("supported" if row.kind == "neither" else "proved")


@pytest.mark.parametrize("name", NETWORKS)
def test_kinds_hold_on_the_function(tables, name):
    model = NETWORKS[name].model
    params = draw(model, 0)
    leaves, tree = jax.tree.flatten(params)
    before = losses(model, params)
    for k, row in enumerate(tables[name].rows):
        scaled = [3.0 * x if i == k else x for i, x in enumerate(leaves)]
        ratio = losses(model, jax.tree.unflatten(tree, scaled)) / before
        if row.degree is not None:
            np.testing.assert_allclose(ratio, 3.0 ** float(row.degree), rtol=1e-10)
        else:
            assert np.ptp(ratio) > 1e-8 * np.max(np.abs(ratio))


def test_a_leaf_that_is_nearly_invariant_is_neither():
    for eps in (1e-5, 1e-12):
        model = st.Model(
            lambda p, z, e=eps: jnp.sum((layer_norm(p["W"] @ z["x"], e) - z["y"]) ** 2),
            {"W": (4, 3)}, random={"x": st.Normal(3), "y": st.Normal(4)},
        )  # fmt: skip
        [row] = st.parameter_table(model).rows
        assert row.kind == "neither" and row.degree is None
        assert str(row.verdict.status) == "supported" and row.verdict.witness is not None
    [row] = st.parameter_table(model, ignore_below=1e-4).rows
    assert row.kind == "neither" and row.without_constants == "invariant"
    assert [c.value for c in row.constants] == [1e-12]


def test_a_planted_degree_is_refuted(monkeypatch):
    # Control: were the derivation wrong, the evaluation on the function would notice.
    right = _table.scalings

    def wrong(*arguments, **options):
        found = right(*arguments, **options)
        return [s if s.degree is not None else type(s)(Fraction(0), (), True, "planted")
                for s in found]  # fmt: skip

    monkeypatch.setattr(_table, "scalings", wrong)
    table = st.parameter_table(NETWORKS["rms norm"].model)
    assert {str(row.verdict.status) for row in table.rows} == {"refuted"}
    assert {row.kind for row in table.rows} == {"neither"}


def test_channels_have_factors_of_their_own(tables):
    assert tables["convolution"]["K"].slices == ((3,),)
    assert tables["convolution"]["L"].slices == ((3,),)
    assert not tables["convolution"]["c"].has_influence
    assert tables["layer norm"]["W"].slices == ()


def test_fractional_and_logarithmic_dependence():
    model = st.Model(
        lambda p, z: jnp.sqrt(jnp.linalg.norm(p["w"])) * jnp.log(jnp.sum(p["v"] ** 2)) * z["x"],
        {"w": (3,), "v": (3,)}, random={"x": st.Normal(())},
    )  # fmt: skip
    table = st.parameter_table(model)
    assert table["w"].degree == Fraction(1, 2)
    assert table["v"].kind == "neither"


def test_a_stopped_gradient_is_never_proved():
    stopped = lambda w: w / jax.lax.stop_gradient(jnp.linalg.norm(w))
    model = st.Model(lambda p, z: stopped(p["w"]) @ z["x"], {"w": (3,)},
                     random={"x": st.Normal(3)})  # fmt: skip
    [row] = st.parameter_table(model).rows
    assert row.kind == "invariant" and str(row.verdict.status) == "supported"
    assert "gradients" in row.verdict.how


def test_labels_drive_optax(tables):
    model = NETWORKS["layer norm"].model
    labels = tables["layer norm"].labels()
    decayed = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(1.0))
    optimizer = optax.multi_transform(
        {"invariant": optax.sgd(1.0), "homogeneous": decayed, "neither": decayed}, labels
    )
    params = jax.tree.map(jnp.asarray, draw(model, 0, np.float32))
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    assert not np.any(updates["W"]) and not np.any(updates["U"])
    np.testing.assert_allclose(updates["V"], -0.1 * params["V"], rtol=1e-6)
    mask = tables["layer norm"].mask("homogeneous", "neither")
    masked = optax.add_decayed_weights(0.1, mask=mask)
    updates, _ = masked.update(zero, masked.init(params), params)
    assert not np.any(updates["W"]) and np.all(updates["g"] != 0)


def test_groups_for_torch(tables):
    groups = tables["layer norm"].torch_groups(
        invariant={"weight_decay": 0.0}, neither={"weight_decay": 0.1}
    )
    assert groups == [
        {"name": "invariant", "params": ["U", "W"], "weight_decay": 0.0},
        {"name": "neither", "params": ["V", "b", "g"], "weight_decay": 0.1},
    ]
    with pytest.raises(st.InputError, match="no kind 'invariants'"):
        tables["layer norm"].mask("invariants")


def test_what_a_discovery_says_is_the_table(tables):
    model = NETWORKS["homogeneous"].model
    found = st.discover(model, seconds=60)
    assert [row.degree for row in found.parameter_table().rows] == [2, 2]
    assert found.permutation_specification().axes_to_perm["W"][0] is None
    assert {report.axis for report in found.explain("W")} == {0, 1}
    with pytest.raises(st.InputError, match="no parameter 'V'"):
        found.explain("V")
    assert found.approximate is None
