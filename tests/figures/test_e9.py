"""E9: what the compiler counts is exact; the clock is only looked at for being there."""

import numpy as np
import pytest

from figures import Spec, e9_overhead

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return e9_overhead.data(Spec(fast=True))


def test_data(dataset):
    assert dataset["seconds"].shape == (6, 3, 15)
    assert all(np.all(dataset[name] > 0) for name in ("flops", "bytes", "memory", "seconds"))
    extra = (dataset["memory"][:, 2] - dataset["memory"][:, 1]) / (4 * dataset["size"])
    np.testing.assert_allclose(extra, np.where(dataset["setting"][:, 3], 1, 2), atol=0.01)


def test_numbers(dataset):
    numbers = e9_overhead.numbers(dataset)
    assert [str(v.status) for v in numbers.theory] == ["supported"] * 3
    assert len(numbers.claims) == len(numbers.rows) == 6
    assert sum("kept" in claim.claim for claim in numbers.claims) == 2
    assert len({claim.claim for claim in numbers.claims}) == 6


def test_memory_is_judged_by_the_setting_that_is_furthest_off(dataset):
    memory = dataset["memory"].copy()
    memory[0, 2] += 4 * dataset["size"][0] * 0.1
    numbers = e9_overhead.numbers({**dataset, "memory": memory})
    assert str(numbers.theory[0].status) == "refuted"


def test_the_claim_follows_the_clock(dataset):
    seconds = dataset["seconds"].copy()
    for factor, status in ((1.01, "supported"), (1.2, "refuted")):
        seconds[:, 2] = factor * seconds[:, 1]
        numbers = e9_overhead.numbers({**dataset, "seconds": seconds})
        assert {str(v.status) for v in numbers.claims} == {status}


def test_picture(dataset):
    figure = e9_overhead.draw(dataset)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    assert len(figure.axes) == 2
