"""E1: copies stay copies without syre and part with it."""

import numpy as np
import pytest

from figures import Spec, e1_duplicate_neurons

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return e1_duplicate_neurons.data(Spec(fast=True))


def test_data(dataset):
    assert dataset["loss"].shape == (5, 8, 120)
    assert all(np.isfinite(values).all() for values in dataset.values())
    # R3 along the whole path, to rounding.
    for same in range(2):
        np.testing.assert_allclose(dataset["loss"][same], dataset["reduced"][same], rtol=2e-3)
    assert np.all(
        dataset["loss"][4, :, -10:].mean(1) < 0.8 * dataset["reduced"][1, :, -10:].mean(1)
    )


def test_numbers(dataset):
    numbers = e1_duplicate_neurons.numbers(dataset)
    assert [str(v.status) for v in numbers.theory] == ["supported"] * 2
    assert [str(v.status) for v in numbers.claims] == ["supported"] * 3
    assert [row["never"] for row in numbers.rows[-3:]] == [0, 0, 0]


def test_a_loss_that_stays_high_is_refuted(dataset):
    swapped = {**dataset, "loss": dataset["loss"][[4, 1, 2, 3, 0]]}
    numbers = e1_duplicate_neurons.numbers(swapped)
    assert str(numbers.theory[0].status) == "refuted"
    assert str(numbers.claims[0].status) == "refuted"


def test_picture(dataset):
    figure = e1_duplicate_neurons.draw(dataset)
    assert [axes.get_xlabel() != "" and axes.get_ylabel() != "" for axes in figure.axes] == [
        True
    ] * 2
    shown = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(shown) == 7 and "syre" in shown
