"""Diagnosis at several thresholds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from symtheory import syre
from tests.symmetry.nets import net
from tests.syre.relu import methods, train


@pytest.fixture(scope="module")
def found():
    return st.reflections(net([2, 5, 1], jnp.tanh))


def weights(seed=0):
    rng = np.random.default_rng(seed)
    return {"W0": rng.normal(size=(5, 2)), "W1": rng.normal(size=(1, 5))}


def test_a_generic_point_is_far_from_all_mirrors(found):
    told = syre.diagnose(weights(), found)
    assert [m.members for m in told.mirrors] == [10, 5, 10]  # swaps, flips, signed swaps
    assert all(m.smallest > 0.01 and m.within[1e-3] == 0 for m in told.mirrors)
    assert told.dead["W0, W1"][1e-3] == told.duplicated["W0, W1"][1e-3] == 0


def test_duplicates_and_dead_units_by_threshold(found):
    w = weights()
    w["W0"][1], w["W1"][:, 1] = w["W0"][0], w["W1"][:, 0]
    w["W0"][2], w["W1"][:, 2] = w["W0"][3] + 0.03, w["W1"][:, 3]
    w["W0"][4], w["W1"][:, 4] = 0.002, 0.0
    told = syre.diagnose(w, found)
    swap, flip, signed = told.mirrors
    assert swap.smallest == 0 and list(swap.within.values()) == [1, 1, 2]
    assert list(told.duplicated["W0, W1"].values()) == [1, 1, 2]
    assert list(told.dead["W0, W1"].values()) == [0, 1, 1]
    assert list(flip.within.values()) == [0, 1, 1]
    assert list(signed.within.values()) == [0, 0, 0]


def test_a_unit_that_is_minus_another_lies_on_the_mirror_of_a_signed_swap(found):
    w = weights()
    w["W0"][3], w["W1"][:, 3] = -w["W0"][0], -w["W1"][:, 0]
    swap, flip, signed = syre.diagnose(w, found).mirrors
    assert signed.smallest == 0 and list(signed.within.values()) == [1, 1, 1]
    assert min(swap.smallest, flip.smallest) > 0.01


def test_distance_is_that_of_the_projection(found):
    """Against |P w| of single reflections, family by family."""
    w = weights(3)
    scale = np.sqrt(np.mean(np.sum(np.hstack([w["W0"], w["W1"].T]) ** 2, axis=1)))
    told = syre.diagnose(w, found, thresholds=[1e-3])
    one = [
        np.linalg.norm(np.concatenate([np.ravel(x) for x in jax.tree.leaves(image)])) / scale
        for image in (r.reflection.project(w) for r in found)
    ]
    for family, distance in zip(told.mirrors, one, strict=True):
        assert family.smallest <= distance + 1e-12
    assert told.mirrors[0].smallest == pytest.approx(
        min(
            np.linalg.norm(np.append(w["W0"][i] - w["W0"][j], w["W1"][0, i] - w["W1"][0, j]))
            for i in range(5)
            for j in range(i)
        )
        / 2**0.5
        / scale
    )


def test_a_single_reflection_with_a_centre():
    center = np.array([1.0, 2.0])
    mirror = st.Reflection(np.diag([1.0, 0.0]), center, name="first")
    [told] = syre.diagnose(np.array([1.5, 2.0]), [mirror]).mirrors
    assert (told.smallest, told.members) == (1.0, 1)
    [told] = syre.diagnose(np.array([1.0, 5.0]), [mirror]).mirrors
    assert told.smallest == 0 and told.within[1e-3] == 1


def test_rotation_by_the_smallest_direction():
    found = st.reflections(net([2, 2, 2]))
    w = {"W0": np.array([[1.0, 2.0], [2.0, 4.0]]), "W1": np.array([[1.0, 2.0], [3.0, 6.0]])}
    by_name = {m.name: m for m in syre.diagnose(w, found).mirrors}
    rotation = next(m for name, m in by_name.items() if "any direction" in name)
    assert rotation.smallest < 1e-12 and rotation.members == 0 and rotation.within[1e-3] == 1


def test_ranks():
    matrix = np.diag([1.0, 0.05, 0.005, 0.0])
    told = syre.rank(matrix)
    assert told.above == {1e-3: 3, 1e-2: 2, 1e-1: 1} and told.full == 4
    assert 1 < told.effective < 1.5 and 1 < told.stable < 1.01
    assert syre.rank(np.zeros((3, 2))).effective == 0


def test_features_that_are_dead_or_repeated():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 6))
    features[:, 1] = 0
    features[:, 2] = features[:, 0]
    told = syre.diagnose(weights(), features={"hidden": features})
    assert told.features["hidden"].above[1e-3] == 4
    assert told.dead["hidden"][1e-3] == 1 and told.duplicated["hidden"][1e-3] == 1


@pytest.mark.slow
def test_before_and_after_training():
    """From duplicates: plain decay keeps all four, syre none, at every threshold."""
    model = st.Model(
        lambda p, z: (p["u"] @ jax.nn.relu(p["W"] @ z["x"]) - z["y"]) ** 2,
        {"W": (8, 4), "u": 8},
        {"x": st.Normal(4), "y": st.Normal(())},
    )
    found = st.reflections(model)
    named = methods(1e-2)
    counts = {}
    for name in ("plain decay", "syre"):
        trained = train(named[name], "duplicated", 1, steps=3000)[2]
        weights = jax.tree.map(lambda leaf: np.asarray(leaf[0]), trained)
        counts[name] = syre.diagnose(weights, found).duplicated["W, u"]
    assert list(counts["plain decay"].values())[:2] == [4, 4]
    assert counts["syre"][1e-3] < 4


@pytest.mark.parametrize("thresholds", [[], [0.0], [-1.0], [float("nan")]])
def test_bad_thresholds(thresholds):
    with pytest.raises(st.InputError, match="positive numbers"):
        syre.diagnose(weights(), thresholds=thresholds)


def test_bad_weights():
    with pytest.raises(st.InputError, match="NaN or infinite"):
        syre.diagnose({"W0": np.full((2, 2), np.nan)})
    with pytest.raises(st.InputError, match="2 axes"):
        syre.diagnose(weights(), features={"h": np.ones(3)})
