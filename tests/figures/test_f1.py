"""F1: norms under SGD and gradient descent in the plane."""

import numpy as np
import pytest

import symtheory as st
from figures import Spec
from figures import f1_scale_invariance as figure


@pytest.fixture(scope="module")
def dataset():
    return figure.data(Spec(seed=0, fast=True))


def test_paths_start_where_they_should(dataset):
    starts, records = dataset["places"].shape[:2]
    assert starts == 3 and dataset["times"].shape == (records,)
    np.testing.assert_array_equal(dataset["places"][:, 0], dataset["places_gd"][:, 0])
    assert all(np.isfinite(value).all() for value in dataset.values() if value.dtype.kind == "f")


def test_norms_grow_under_sgd_at_every_step_recorded_and_hardly_under_gd(dataset):
    assert (np.diff(dataset["fourth"], axis=-1) > 0).all()
    sizes = np.linalg.norm(dataset["places_gd"], axis=-1)
    np.testing.assert_allclose(sizes, np.repeat(sizes[:, :1], sizes.shape[1], axis=1), rtol=0.01)


def test_arrows_are_tangential(dataset):
    points, slopes = dataset["arrows"]
    assert np.linalg.norm(slopes, axis=1).max() > 0.1
    np.testing.assert_allclose(np.sum(points * slopes, axis=1), 0, atol=1e-12)


def test_theory_and_claims_hold(dataset):
    numbers = figure.numbers(dataset)
    assert numbers.theory[0].status == st.Status.PROVED
    assert {v.status for v in (*numbers.theory[1:], *numbers.claims)} == {st.Status.SUPPORTED}
    assert len(numbers.rows) == 3


def test_a_wrong_noise_is_refuted(dataset, monkeypatch):
    monkeypatch.setattr(figure, "_NOISE", 1.2)
    assert figure.numbers(dataset).status == st.Status.REFUTED


def test_picture(dataset):
    drawn = figure.draw(dataset)
    assert len(drawn.axes) == 2
    assert all(panel.get_xlabel() and panel.get_ylabel() for panel in drawn.axes)
    assert len(drawn.axes[1].get_legend().get_texts()) == 5
