"""Reflections: what is found, what is verified, and what must be refuted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.symmetry.nets import net


def found(model, **options):
    return {
        (r.kind, *r.leaves): (r.count, r.rank, str(r.verdict.status))
        for r in st.reflections(model, **options)
    }


def test_tanh_swaps_and_flips():
    assert found(net([2, 3, 2], jnp.tanh, bias=True)) == {
        ("swap", "W0", "W1", "b0"): (3, 5, "proved"),
        ("flip", "W0", "W1", "b0"): (3, 5, "proved"),
        ("signed swap", "W0", "W1", "b0"): (3, 5, "proved"),
    }


@pytest.mark.parametrize("activation", [jax.nn.relu, jax.nn.silu, jax.nn.gelu])
def test_other_activations_have_swaps_only(activation):
    assert found(net([2, 3, 4, 2], activation)) == {
        ("swap", "W0", "W1"): (3, 6, "proved"),
        ("swap", "W1", "W2"): (6, 5, "proved"),
    }


def test_linear_nets_have_every_direction():
    assert found(net([2, 3, 2])) == {
        ("swap", "W0", "W1"): (3, 4, "proved"),
        ("flip", "W0", "W1"): (3, 4, "proved"),
        ("rotation", "W0", "W1"): (3, 4, "proved"),
    }


def test_scalar_factors():
    model = st.Model(
        lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2, {"u": (), "w": ()}, {"y": st.Normal(())}
    )
    assert found(model) == {
        ("flip", "u", "w"): (1, 2, "proved"),
        ("exchange", "u", "w"): (1, 1, "proved"),
    }


@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.relu])
def test_what_is_found_passes_verify_and_its_rank(activation):
    model = net([2, 3, 1], activation)
    results = st.reflections(model)
    assert results
    for result in results:
        assert str(st.verify(model, result.reflection).status) == "proved"
        assert result.reflection.rank(model) == result.rank


@pytest.mark.slow
def test_a_net_of_a_hundred_thousand_parameters():
    model = net([30, 250, 250, 100], jax.nn.relu, bias=True)
    assert model.dimension > 95_000
    assert found(model) == {
        ("swap", "W0", "W1", "b0"): (250 * 249 // 2, 30 + 1 + 250, "proved"),
        ("swap", "W1", "W2", "b1"): (250 * 249 // 2, 250 + 1 + 100, "proved"),
    }


# --- verify ------------------------------------------------------------------------------------


def shifted(center):
    """u w about a centre: l(theta) = ((u - 1)(w - 2) - y)^2."""
    model = st.Model(
        lambda p, z: ((p["u"] - 1) * (p["w"] - 2) - z["y"]) ** 2,
        {"u": (), "w": ()},
        {"y": st.Normal(())},
    )
    return model, st.Reflection(lambda p: p, center=center, name="flip about a centre")


def test_a_centre():
    assert str(st.verify(*shifted({"u": 1.0, "w": 2.0})).status) == "proved"


@pytest.mark.parametrize("center", [None, {"u": 1.0, "w": 2.001}])
def test_a_wrong_centre_is_refuted_with_a_witness(center):
    verdict = st.verify(*shifted(center))
    assert str(verdict.status) == "refuted"
    assert set(verdict.witness) >= {"params", "sample", "difference"}
    assert verdict.residual != 0


def test_a_matrix_as_projection():
    half = np.full((2, 2), 0.5)
    model = st.Model(lambda p, z: (p[0] + p[1] - z["y"]) ** 2, 2, {"y": st.Normal(())})
    swap = st.Reflection(np.eye(2) - half)
    assert swap.rank(model) == 1
    assert str(st.verify(model, swap).status) == "proved"
    assert str(st.verify(model, st.Reflection(half)).status) == "refuted"


@pytest.mark.parametrize("matrix", [[[1, 1], [0, 0]], [[2, 0], [0, 0]], [[0.5, 0.4], [0.4, 0.5]]])
def test_no_orthogonal_projection(matrix):
    model = st.Model(lambda p, z: (p[0] + p[1] - z["y"]) ** 2, 2, {"y": st.Normal(())})
    with pytest.raises(st.InputError, match="orthogonal projection"):
        st.verify(model, st.Reflection(np.array(matrix)))


# --- controls ----------------------------------------------------------------------------------


def test_fixed_weights_break_the_permutations():
    """W-fix: every row has entries that are frozen at random constants."""
    mask = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 1, 1]], dtype=float)
    frozen = np.round(np.random.default_rng(0).normal(size=(4, 3)), 2)
    loss = lambda p, z: (
        (p["u"] @ jax.nn.relu((mask * p["W"] + (1 - mask) * frozen) @ z["x"]) - z["y"]) ** 2
    )
    model = st.Model(loss, {"u": 4, "W": (4, 3)}, {"x": st.Normal(3), "y": st.Normal(())})
    assert found(model) == {}


def test_units_with_different_activations():
    def loss(p, z):
        h = p["W"] @ z["x"]
        h = jnp.stack([jnp.tanh(h[0]), jnp.tanh(h[1]), jnp.exp(h[2])])
        return (p["u"] @ h - z["y"]) ** 2

    model = st.Model(loss, {"u": 3, "W": (3, 2)}, {"x": st.Normal(2), "y": st.Normal(())})
    results = [r for r in st.reflections(model) if r.verdict.status.holds]
    assert sorted(r.name for r in results) == [
        "sign flip of unit 1 of W, u",
        "sign flip of unit 2 of W, u",
        "swap of units 1 and 2 of W, u",
    ]


def test_a_slightly_broken_flip_is_not_found():
    loss = lambda p, z: (p["u"] @ jnp.tanh(p["W"] @ z["x"] + 1e-6) - z["y"]) ** 2
    model = st.Model(loss, {"u": 2, "W": (2, 2)}, {"x": st.Normal(2), "y": st.Normal(())})
    assert {kind for kind, *_ in found(model)} == {"swap"}
