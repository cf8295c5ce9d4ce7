"""E6: contrastive learning; the data of the fast version."""

import numpy as np
import pytest

from figures import Spec, _pictures, _style
from figures import e6_contrastive as e6
from figures._digits import CLASSES, digits
from figures._methods import METHODS

SYRE, PLAIN, NONE = (METHODS.index(name) for name in ("syre", "plain decay", "none"))


def test_a_probe_reads_what_is_there_and_nothing_else():
    images = digits()
    classes = lambda labels: np.eye(CLASSES)[labels]
    assert _pictures.probe(classes(images.train_y), classes(images.test_y)) == 1.0
    empty = np.zeros((len(images.train_y), 3)), np.zeros((len(images.test_y), 3))
    assert _pictures.probe(*empty) < 0.15


@pytest.fixture(scope="module")
def dataset():
    return e6.data(Spec(fast=True))


@pytest.mark.slow
def test_shapes_and_ranges(dataset):
    shape = (len(dataset["gammas"]), len(METHODS), 5)
    assert dataset["probe"].shape == dataset["loss"].shape == shape
    assert dataset["singular"].shape == (*shape, e6.FEATURES)
    assert np.all((dataset["probe"] >= 0) & (dataset["probe"] <= 1))
    assert np.all(np.diff(dataset["singular"], axis=-1) <= 0)


@pytest.mark.slow
def test_no_decay_is_the_same_at_every_gamma_and_learns(dataset):
    assert np.all(dataset["loss"][:, NONE] == dataset["loss"][0, NONE])
    assert np.all(dataset["loss"][:, NONE] < e6.CHANCE - 0.5)
    assert dataset["probe"][0, NONE].mean() > 0.85


@pytest.mark.slow
def test_what_counts_as_full_rank_depends_on_the_scale(dataset):
    relative, absolute = (e6._low(dataset, absolute=flag)[-1, ..., e6.SHOWN] for flag in (0, 1))
    assert np.all(relative[PLAIN] == 1) and np.all(absolute[PLAIN] == 1)
    assert np.all(relative[SYRE] == 0) and np.all(absolute[SYRE] == 1)


@pytest.mark.slow
def test_numbers(dataset):
    numbers = e6.numbers(dataset)
    assert numbers.status.holds
    assert len(numbers.claims) == 7
    assert len(numbers.rows) == 5 * len(dataset["gammas"]) + 1


def test_bars_of_shares_and_of_seeds_stay_in_their_range():
    shares = np.array([[0.0] * 5, [1.0] * 5])
    low, high = e6._around(shares, exact=True)
    np.testing.assert_allclose([low[0], high[1]], 0, atol=1e-12)
    np.testing.assert_allclose([high[0], low[1]], 1 - 0.025 ** (1 / 5))  # Clopper and Pearson
    values = np.array([[0.1, 0.2, 0.9]])
    np.testing.assert_allclose(e6._around(values, exact=False), [[0.3], [0.5]])


@pytest.mark.slow
def test_picture(dataset):
    with _style.applied():
        figure = e6.draw(dataset)
    assert len(figure.axes) == 4
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in figure.axes)
    assert len(figure.legends[0].get_texts()) == len(METHODS)
