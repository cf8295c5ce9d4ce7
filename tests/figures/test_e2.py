"""E2: how many coordinates stay collapsed, at every threshold, as theory says."""

import numpy as np
import pytest

from figures import Spec, e2_reparametrized_regression


@pytest.fixture(scope="module")
def dataset():
    return e2_reparametrized_regression.data(Spec(fast=True))


def test_distances_are_those_of_the_theory(dataset):
    assert all(np.isfinite(values).all() for values in dataset.values())
    assert dataset["generic_distance"].shape == (5, 20, 16)
    for start in ("generic", "zero"):
        ratio = dataset[f"{start}_distance"][4] / dataset["theory"]
        # To first order in the bias; near |m| = gamma the next order is larger.
        assert np.median(np.abs(ratio - 1)) < 0.003
        assert np.abs(ratio - 1).max() < 0.15
    assert dataset["zero_distance"][:3].max() == 0


def test_numbers(dataset):
    numbers = e2_reparametrized_regression.numbers(dataset)
    assert [str(v.status) for v in numbers.theory] == ["supported"] * 9
    # What is removed is removed below sigma_0 only.
    assert [str(v.status) for v in numbers.claims] == ["supported", "supported", "refuted"]


def test_a_wrong_bias_is_refuted(dataset):
    wrong = {**dataset, "theory": dataset["theory"] / 5}
    numbers = e2_reparametrized_regression.numbers(wrong)
    assert "refuted" in [str(v.status) for v in numbers.theory]


def test_picture(dataset):
    figure = e2_reparametrized_regression.draw(dataset)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    assert len(figure.axes) == 2 and len(figure.legends[0].get_texts()) == 6
