"""Generators proved because they are combinations of inferred ones; what is not one is not."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import pytest

import symtheory as st
from symtheory.symmetry._inferred_span import INFERRED, is_inferred

ONE = Fraction(1)


def attention(p, z):
    """Two heads would not change what is tested: one layer of softmax attention on three tokens."""
    x = z["x"]
    scores = jax.nn.softmax((x @ p["Q"]) @ (x @ p["K"]).T)
    return jnp.sum((scores @ x @ p["V"] - z["y"]) ** 2)


SHAPES = {"Q": (2, 2), "K": (2, 2), "V": (2, 2)}
DATA = {"x": st.Normal((3, 2)), "y": st.Normal((3, 2))}


@pytest.fixture(scope="module")
def model():
    return st.Model(attention, SHAPES, DATA)


# Leaves come in the order K, Q, V; entry (i, j) of a leaf of shape (2, 2) is 2 i + j.
K, Q = 0, 4


def rotation(sign):
    """K -> K M, Q -> Q M^-T for M = 1 + E_01: an element of GL(2) if the signs are opposite."""
    matrix = {(K + 2 * i + 1, K + 2 * i): ONE for i in range(2)}
    return matrix | {(Q + 2 * i, Q + 2 * i + 1): sign * ONE for i in range(2)}


def test_an_element_of_the_group_is_recognized_and_its_mirror_image_is_not(model):
    assert is_inferred(model, rotation(-1), {})
    assert not is_inferred(model, rotation(1), {})
    assert not is_inferred(model, rotation(-1), {0: ONE})
    assert not is_inferred(model, {(8, 8): ONE}, {})  # a scale of one entry of V


def test_attention_is_complete_and_quick(model):
    found = st.discover(model, seconds=60)
    assert (found.total, found.symmetric, found.status) == (4, 3, "proved")
    assert {g.verdict.how for g in found.generators} == {INFERRED}
    family = found.family()
    verdict = st.verify(model, family)
    assert verdict.status == "proved" and verdict.how == INFERRED


def test_a_near_miss_is_not_proved():
    """A little of one weight beside the loss breaks what was inferred without it."""
    broken = lambda p, z: attention(p, z) + 1e-6 * p["Q"][0, 0] ** 2
    model = st.Model(broken, SHAPES, DATA)
    assert not is_inferred(model, rotation(-1), {})


def test_stopped_gradients_prove_nothing():
    stopped = lambda p, z: attention({**p, "K": jax.lax.stop_gradient(p["K"])}, z)
    model = st.Model(stopped, SHAPES, DATA)
    assert not is_inferred(model, rotation(-1), {})
