"""F4: sharpness of a rank-1 net from four ways to train it."""

import numpy as np
import pytest

import symtheory as st
from figures import Spec
from figures import f4_warmup as figure

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return figure.data(Spec(seed=0, fast=True))


def test_bands_are_ordered_and_as_long_as_the_runs(dataset):
    for name in ("warmup", "Xavier", "GD"):
        low, middle, high = dataset[f"band {name}"]
        assert len(low) == len(dataset["steps"]) and (low <= middle).all()
        assert (middle <= high).all() and np.isfinite(high).all()


def test_the_four_ways_end_in_the_order_of_the_paper(dataset):
    ends = {name: np.median(dataset[f"end {name}"]) for name in ("warmup", "Xavier", "GD")}
    lost = ~np.isfinite(dataset["cold"][:, -1])
    assert lost.mean() > 0.25  # above everything
    assert ends["GD"] > 3 * ends["warmup"]
    np.testing.assert_allclose(ends["warmup"], ends["Xavier"], rtol=0.1)
    # At a minimum the largest eigenvalue is the trace over the size.
    assert ends["warmup"] < ends["GD"] < figure._SIZE * 2 / figure._SMALL


def test_a_run_that_diverged_stays_so(dataset):
    gone = ~np.isfinite(dataset["cold"])
    assert (np.diff(gone.astype(int), axis=1) >= 0).all() and not gone[:, 0].any()


def test_theory_and_claims_hold(dataset):
    numbers = figure.numbers(dataset)
    assert numbers.status is st.Status.SUPPORTED
    # No run of 64 diverges after warmup: too few for an upper bound below 0.05.
    assert [str(v.status) for v in numbers.claims] == [
        "supported", "inconclusive", "supported", "supported"
    ]  # fmt: skip
    assert len(numbers.rows) == 5


def test_claims_about_divergence_can_be_refuted(dataset):
    kept = {**dataset, "cold": np.ones((128, figure._COLD))}
    assert figure.numbers(kept).claims[0].status is st.Status.REFUTED
    assert figure.numbers(kept).claims[1].status is st.Status.SUPPORTED
    one = {**dataset, "completed": dataset["completed"] - [1, 0]}
    assert figure.numbers(one).claims[1].status is st.Status.REFUTED


def test_runs_without_noise_are_refuted(dataset):
    """The control: gradient descent has not balanced anything by the end of warmup."""
    swapped = {**dataset, "end of warmup": dataset["end GD"]}
    assert figure.numbers(swapped).status == st.Status.REFUTED


def test_picture(dataset):
    drawn = figure.draw(dataset)
    assert len(drawn.axes) == 2
    assert all(panel.get_xlabel() and panel.get_ylabel() for panel in drawn.axes)
    assert [len(panel.get_legend().get_texts()) for panel in drawn.axes] == [6, 3]
