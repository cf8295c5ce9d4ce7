"""E4: what a strong decay collapses is lifted by syre to the height of its bias only."""

import numpy as np
import pytest

from figures import Spec, e4_rank_of_features

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return e4_rank_of_features.data(Spec(fast=True))


def test_data(dataset):
    assert dataset["accuracy"].shape == (4, 5, 5)
    assert dataset["last"].shape == (4, 5, 5, 32)
    assert all(np.isfinite(values).all() for values in dataset.values())
    # No decay is the same at any gamma; plain decay collapses at the largest.
    assert np.ptp(dataset["accuracy"][:, 0], axis=0).max() == 0
    assert dataset["accuracy"][:, 0].min() > 0.95
    assert dataset["accuracy"][-1, 1].max() < 0.2
    assert dataset["last"][-1, 1].max() < 1e-3


def test_numbers(dataset):
    numbers = e4_rank_of_features.numbers(dataset)
    assert [str(v.status) for v in numbers.theory] == ["supported"] * 3
    assert len(numbers.rows) == 20
    # The finding: at the default bias and a decay this strong, syre does not save the accuracy.
    assert str(numbers.claims[3].status) == "refuted"


def test_a_rank_that_is_kept_is_seen(dataset):
    kept = {**dataset, "last": dataset["last"][:, [0, 1, 2, 3, 2]]}
    numbers = e4_rank_of_features.numbers(kept)
    assert [str(v.status) for v in numbers.claims[:3]] == ["supported"] * 3
    assert str(numbers.theory[2].status) == "refuted"


def test_picture(dataset):
    figure = e4_rank_of_features.draw(dataset)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    assert len(figure.axes) == 3 and len(figure.legends[0].get_texts()) == 5
