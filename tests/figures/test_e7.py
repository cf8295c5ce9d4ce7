"""E7: continual learning; the data of the fast version."""

import jax
import numpy as np
import pytest

from figures import Spec, _methods, _style
from figures import e7_continual as e7

NONE, PLAIN, SYRE = (e7.NAMES.index(name) for name in ("none", "plain decay", "syre"))


def test_only_one_method_is_perturbed():
    params = {"W": np.ones((2, 4, 3), np.float32)}
    nets = _methods.prepared((*_methods.five(0.1), e7.SHRINK), params, jax.random.key(0))
    after = e7._perturbed(nets, jax.random.key(1))
    assert np.all(np.asarray(after.free["W"][:-1]) == np.asarray(nets.free["W"][:-1]))
    moved = np.asarray(after.free["W"][-1])
    assert np.std(moved) > 0
    assert np.allclose(moved, 0.5, atol=6 * 0.1 / 3**0.5)
    assert not np.any(moved[0] == moved[1])  # every seed has noise of its own


@pytest.fixture(scope="module")
def dataset():
    return e7.data(Spec(fast=True))


@pytest.mark.slow
def test_shapes_and_ranges(dataset):
    shape = (len(dataset["gammas"]), len(e7.NAMES), 5, 5)
    assert all(dataset[name].shape == shape for name in ("accuracy", "loss", "dead"))
    assert dataset["singular"].shape == (*shape, e7.WIDTH)
    assert np.all((dataset["accuracy"] > 0.2) & (dataset["accuracy"] <= 1))


@pytest.mark.slow
def test_every_task_is_learned_without_decay(dataset):
    assert np.all(dataset["accuracy"][:, NONE].mean(axis=1) > 0.85)


@pytest.mark.slow
def test_shrink_and_perturb_is_plain_decay_until_the_second_task(dataset):
    first = dataset["accuracy"][:, :, :, 0]
    assert np.allclose(first[:, -1], first[:, PLAIN], atol=0.05)
    assert np.any(dataset["accuracy"][:, -1, :, 1:] != dataset["accuracy"][:, PLAIN, :, 1:])


@pytest.mark.slow
def test_numbers(dataset):
    numbers = e7.numbers(dataset)
    assert numbers.theory == ()  # thresholds of these nets are no theorem
    assert [str(claim.status) for claim in numbers.claims[:2]] == ["supported"] * 2
    assert len(numbers.claims) == 3 + 6 * len(dataset["gammas"])
    assert len(numbers.rows) == dataset["accuracy"][..., 0, :].size


@pytest.mark.slow
def test_picture(dataset):
    with _style.applied():
        figure = e7.draw(dataset)
    assert len(figure.axes) == 3 * len(dataset["gammas"])
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in figure.axes)
    shares = np.concatenate([path.vertices for band in figure.axes[2].collections
                             for path in band.get_paths()])  # fmt: skip
    assert np.all((shares[:, 1] >= 0) & (shares[:, 1] <= 1))
    assert len(figure.legends[0].get_texts()) == len(e7.NAMES)
