"""E5: posterior collapse; the data of the fast version."""

import numpy as np
import pytest

from figures import Spec, _style
from figures import e5_posterior_collapse as e5
from figures._methods import METHODS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return e5.data(Spec(fast=True))


def test_shapes_and_ranges(dataset):
    for number, name in ((0, "betas"), (1, "low"), (2, "low")):
        shape = (len(METHODS), len(dataset[name]), 5)
        assert dataset[f"variance {number}"].shape == (*shape, e5.LATENT)
        assert dataset[f"kl {number}"].shape == shape
        assert np.all(dataset[f"kl {number}"] > -1e-5)
        assert np.all(dataset[f"reconstruction {number}"] > 0)


def test_collapse_grows_with_beta(dataset):
    counts = e5._collapsed(dataset["variance 0"], e5.SHOWN).mean(axis=2)
    assert np.all(np.diff(counts, axis=1) >= 0)
    assert np.all(np.diff(dataset["reconstruction 0"].mean(axis=2), axis=1) > 0)


def test_paired_noise_keeps_the_mirror_exactly_but_for_syre_and_w_fix(dataset):
    moved = dataset["variance 2"].max(axis=(1, 2, 3)) > 0
    assert dict(zip(METHODS, moved.tolist(), strict=True)) == {
        "none": False, "plain decay": False, "decay to init": False, "W-fix": True, "syre": True
    }  # fmt: skip
    assert np.all(dataset["variance 1"][METHODS.index("plain decay")].max(axis=-1) > 0)


def test_numbers(dataset):
    numbers = e5.numbers(dataset)
    assert numbers.status.holds
    assert len(numbers.claims) == 4
    assert len(numbers.rows) == 5 * (len(dataset["betas"]) + 2 * len(dataset["low"]))
    assert numbers.theory[0].measured == 0.0
    moved = {**dataset, "variance 2": dataset["variance 2"] + 1e-9}
    assert str(e5.numbers(moved).theory[0].status) == "refuted"


def test_means_leave_out_where_the_collapse_is_forced(dataset):
    other = {name: values.copy() for name, values in dataset.items()}
    other["reconstruction 0"][METHODS.index("syre"), -1] /= 2
    found, wanted = (e5.numbers(each).claims[1].measured for each in (other, dataset))
    assert found == wanted


def test_picture(dataset):
    with _style.applied():
        figure = e5.draw(dataset)
    assert len(figure.axes) == 3
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in figure.axes)
    assert len(figure.legends[0].get_texts()) == len(METHODS)
