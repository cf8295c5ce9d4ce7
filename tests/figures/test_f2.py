"""F2: what SGD and gradient descent do to the balance of the noise of two factors."""

import numpy as np
import pytest

import symtheory as st
from figures import Spec
from figures import f2_matrix_factorization as figure

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return figure.data(Spec(seed=0, fast=True))


def test_entries_are_symmetric_and_finite(dataset):
    for rate in figure._RATES:
        entries = dataset[f"D {rate}"]
        assert entries.shape[2:] == (2, 2) and np.isfinite(entries).all()
        np.testing.assert_allclose(entries, np.swapaxes(entries, -1, -2), atol=1e-12)


def test_sgd_loses_its_imbalance_and_gradient_descent_keeps_it(dataset):
    size = lambda d: np.linalg.norm(d, axis=(-2, -1))
    for rate in figure._RATES:
        assert np.median(size(dataset[f"D {rate}"][:, -1])) < 0.15
    kept = size(dataset["GD D"])
    assert np.median(kept[:, -1]) > 0.4
    np.testing.assert_allclose(kept[:, -1], kept[:, -20], rtol=0.05)


def test_fluctuations_shrink_with_the_learning_rate(dataset):
    late = [np.square(dataset[f"D {rate}"][:, 50:]).mean() for rate in figure._RATES]
    assert 1.4 < late[0] / late[1] < 3  # the variance is of order eta


def test_theory_holds_and_each_claim_names_its_rate(dataset):
    numbers = figure.numbers(dataset)
    assert {v.status for v in numbers.theory} == {st.Status.SUPPORTED}
    for rate, claim in zip(figure._RATES, numbers.claims, strict=True):
        assert f"eta = {rate}:" in claim.claim
    # About ten at the larger rate, where 48 runs leave it open.
    assert [str(claim.status) for claim in numbers.claims] == ["inconclusive", "supported"]
    assert [row["method"] for row in numbers.rows] == ["SGD, eta = 0.012", "SGD, eta = 0.006", "GD"]


def test_records_of_gradient_descent_are_refuted_as_a_balance(dataset):
    """The control: what holds for SGD does not for gradient descent."""
    swapped = {**dataset}
    each = int(dataset["each"])
    for rate in figure._RATES:
        swapped[f"D {rate}"] = np.concatenate(
            [np.repeat(dataset["GD D"][: figure._FAMILIES], each, axis=0), dataset["GD D"][4:]]
        )
    assert figure.numbers(swapped).status == st.Status.REFUTED


def test_picture(dataset):
    drawn = figure.draw(dataset)
    assert len(drawn.axes) == 2
    assert all(panel.get_xlabel() and panel.get_ylabel() for panel in drawn.axes)
    assert all(len(panel.get_legend().get_texts()) == 3 for panel in drawn.axes)
