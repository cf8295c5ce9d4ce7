"""Aligned networks: the same function, recovered permutations, and wrong ones that are noticed."""

import jax
import numpy as np
import pytest

import symtheory as st
from symtheory.symmetry.exports._align import same_function
from symtheory.symmetry.inference._actions import applied, permutations
from symtheory.symmetry.inference._generators import copy_sizes
from tests.symmetry.exports.networks import NETWORKS, draw, losses


def shuffled(model, params, seed):
    """Return parameters with the units of all classes permuted at random."""
    specification = st.permutation_specification(model)
    inferred, rng = specification.inferred, np.random.default_rng(seed)
    actions = []
    for c in specification.classes:
        shape = copy_sizes(inferred.found, c.number)
        order = np.argsort(rng.random((*shape, c.size)), axis=-1)
        actions.append(permutations(inferred.leaves, inferred.found, c.number, order))
    return applied(inferred.leaves, actions, params)


def distance(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return float(np.sqrt(sum(np.sum((np.asarray(x) - np.asarray(y)) ** 2) for x, y in pairs)))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shuffled_network_is_put_back(name):
    model = NETWORKS[name].model
    a = draw(model, 0)
    b = shuffled(model, a, 1)
    assert distance(a, b) > 1.0
    found = st.align(model, a, b)
    assert found.distance_before == pytest.approx(distance(a, b))
    assert found.distance_after == distance(a, found.params) == 0.0
    assert found.verdict.status.holds and str(found.verdict.status) == "proved"


@pytest.mark.parametrize("name", NETWORKS)
def test_two_networks_come_nearer_and_the_function_stays(name):
    model = NETWORKS[name].model
    a, b = draw(model, 2), draw(model, 3)
    found = st.align(model, a, b)
    assert found.distance_after <= found.distance_before
    assert found.distance_after == pytest.approx(distance(a, found.params))
    before, after = losses(model, b), losses(model, found.params)
    np.testing.assert_allclose(after, before, rtol=1e-11)
    assert np.ptp(before) > 0
    # No entry is changed, only moved.
    for x, y in zip(jax.tree.leaves(b), jax.tree.leaves(found.params), strict=True):
        assert np.array_equal(np.sort(x, axis=None), np.sort(y, axis=None))


@pytest.mark.parametrize("name", ["mlp", "residual", "attention", "convolution"])
def test_noise_does_not_hide_the_permutation(name):
    model = NETWORKS[name].model
    a = draw(model, 4)
    rng = np.random.default_rng(5)
    noisy = jax.tree.map(lambda x: x + 0.1 * rng.standard_normal(x.shape), a)
    found = st.align(model, a, shuffled(model, noisy, 6))
    assert found.distance_after == pytest.approx(distance(a, noisy))


def test_the_permutations_are_those_of_the_parameters():
    model = NETWORKS["mlp"].model
    a, b = draw(model, 7), draw(model, 8)
    found = st.align(model, a, b)
    axes = found.specification.axes_to_perm
    assert axes["b1"] == (axes["W1"][1],) == (axes["W2"][0],)
    first, second = (found.permutations[axes[name][0]] for name in ("b1", "b2"))
    np.testing.assert_array_equal(found.params["W2"], b["W2"][first][:, second])
    np.testing.assert_array_equal(found.params["b1"], b["b1"][first])


def test_heads_are_permuted_as_blocks_with_units_of_their_own():
    model = NETWORKS["attention"].model
    a, b = draw(model, 9), draw(model, 10)
    found = st.align(model, a, b)
    axes = found.specification.axes_to_perm
    stream, head, unit = axes["q"]
    assert axes["k"] == (stream, head, unit) and axes["v"][:2] == (stream, head)
    assert axes["o"] == (head, axes["v"][2], stream)
    assert found.permutations[unit].shape == (3, 4)
    moved = b["q"][found.permutations[stream]][:, found.permutations[head]]
    order = found.permutations[unit]
    expected = np.stack([moved[:, h][:, order[h]] for h in range(3)], axis=1)
    np.testing.assert_array_equal(found.params["q"], expected)


def test_types_are_kept():
    model = NETWORKS["mlp"].model
    b = jax.tree.map(jax.numpy.asarray, draw(model, 1, np.float32))
    found = st.align(model, draw(model, 0, np.float32), b)
    for x, y in zip(jax.tree.leaves(b), jax.tree.leaves(found.params), strict=True):
        assert isinstance(y, jax.Array) and x.dtype == y.dtype


def test_a_wrong_permutation_is_noticed():
    # Control: one reader of the units is not permuted with them.
    model = NETWORKS["mlp"].model
    b = draw(model, 0)
    order = np.roll(np.arange(9), 1)
    right = {**b, "W1": b["W1"][:, order], "b1": b["b1"][order], "W2": b["W2"][order]}
    wrong = {**right, "W2": b["W2"]}
    flat = lambda p: jax.tree.leaves(p)
    assert str(same_function(model, flat(b), flat(right)).status) == "proved"
    verdict = same_function(model, flat(b), flat(wrong))
    assert str(verdict.status) == "refuted"
    assert verdict.witness["before"] != verdict.witness["after"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {**p, "W2": p["W2"][:, :-1]}, "params_b does not fit the model: .*'W2'"),
        (lambda p: {k: x for k, x in p.items() if k != "b1"}, "params_b does not fit .*structure"),
        (lambda p: {**p, "b1": p["b1"] * np.nan}, "params_b does not fit the model: .*'b1'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    model = NETWORKS["mlp"].model
    a = draw(model, 0)
    with pytest.raises(st.InputError, match=message) as caught:
        st.align(model, a, change(draw(model, 1)))
    assert "\n" not in str(caught.value)


def test_parts_of_one_matrix_have_names_of_their_own():
    model = NETWORKS["packed attention"].model
    axes = st.permutation_specification(model).axes_to_perm
    assert {"qkv[0]", "qkv[1]", "qkv[2]"} <= set(axes)
    assert axes["qkv[0]"] == axes["qkv[1]"]
    assert axes["qkv[2]"][1] == axes["o"][0]
