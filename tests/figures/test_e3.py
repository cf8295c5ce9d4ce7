"""E3: a small bias leaves the accuracy of a small CNN as it is."""

import numpy as np
import pytest

from figures import Spec, e3_compatibility

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return e3_compatibility.data(Spec(fast=True))


def test_data(dataset):
    assert dataset["accuracy"].shape == dataset["loss"].shape == (8, 5)
    assert all(np.isfinite(values).all() for values in dataset.values())
    assert dataset["accuracy"].min() > 0.9
    assert dataset["loss"].max() < 0.3


def test_numbers(dataset):
    numbers = e3_compatibility.numbers(dataset)
    assert numbers.theory == ()  # no theorem says how large a bias is small
    assert len(numbers.rows) == 8 and len(numbers.claims) == 4


def test_a_loss_of_accuracy_is_refuted(dataset):
    worse = dataset["accuracy"].copy()
    worse[4] -= 0.1
    numbers = e3_compatibility.numbers({**dataset, "accuracy": worse})
    assert str(numbers.claims[0].status) == "refuted"


def test_picture(dataset):
    figure = e3_compatibility.draw(dataset)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    assert len(figure.axes) == 2 and len(figure.legends[0].get_texts()) == 5
