"""F3: norm balance and sharpness of SGD and gradient descent as inputs become anisotropic."""

import numpy as np
import pytest

import symtheory as st
from figures import Spec
from figures import f3_balance_and_sharpness as figure

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return figure.data(Spec(seed=0, fast=True))


def test_closed_forms_are_those_of_the_theory(dataset):
    np.testing.assert_array_equal(dataset["x"], [1.0, 0.5, 0.1, 0.05])
    np.testing.assert_allclose(dataset["theory x ratio SGD"], [1, 0.971, 0.758, 0.653], atol=5e-4)
    want = [1, 0.986, 0.887, 0.844]
    np.testing.assert_allclose(dataset["theory x sharpness SGD"], want, atol=5e-4)
    labels = figure._theory("eps", np.array([1, 0.5, 0.1, 0.05]), "")
    np.testing.assert_allclose(labels[" sharpness SGD"], [1, 1.015, 1.215, 1.413], atol=5e-4)


def test_weight_decay_pulls_towards_norm_balance(dataset):
    plain, decayed = dataset["line x ratio SGD"], dataset["line x ratio SGD, decay"]
    assert (plain <= decayed + 1e-12).all() and (decayed <= 1 + 1e-12).all()
    np.testing.assert_allclose([plain[-1], decayed[-1]], 1)


def test_theory_and_claims_hold(dataset):
    numbers = figure.numbers(dataset)
    assert {v.status for v in (*numbers.theory, *numbers.claims)} == {st.Status.SUPPORTED}
    assert len(numbers.rows) == 9


def test_gradient_descent_keeps_its_start(dataset):
    """The control: without noise the balance is that of the initialization, which varies."""
    kept = [np.sqrt(v[0] / v[1]) for v in (dataset[f"GD x {phi}"] for phi in dataset["x"])]
    assert np.ptp(kept) > 0.5 and max(kept) > 1.5


def test_swapped_methods_are_refuted(dataset):
    swapped = {**dataset}
    for rate in figure._RATES:
        for phi in dataset["x"]:
            swapped[f"SGD {rate} x {phi}"] = dataset[f"SGD, decay {rate} x {phi}"]
    assert figure.numbers(swapped).status == st.Status.REFUTED


def test_picture(dataset):
    drawn = figure.draw(dataset)
    assert len(drawn.axes) == 2
    assert all(panel.get_xlabel() and panel.get_ylabel() for panel in drawn.axes)
    unrelated = [line for line in drawn.axes[0].lines if line.get_label() == "GD"]
    assert [line.get_linestyle() for line in unrelated] == ["None"]
    assert len(drawn.axes[0].get_legend().get_texts()) == 6
