"""F8: the slow flow turns the hidden basis."""

import numpy as np
import pytest

import symtheory as st
from figures import Spec
from figures import f8_slow_flow as figure

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return figure.data(Spec(fast=True))


def test_the_reference_value_of_theory(dataset):
    first = list(dataset["names"]).index("mild")
    assert float(dataset[f"run{first}_eigenvalue"]) == pytest.approx(0.00791, abs=1e-5)
    assert float(dataset[f"run{first}_rotation"]) == pytest.approx(0.5243, abs=1e-4)


def test_the_path_starts_balanced_and_ends_turning_steadily(dataset):
    for n in range(len(dataset["names"])):
        line = dataset[f"run{n}_drift_line"]
        assert line[0] < 1e-6
        assert line[-1] == pytest.approx(float(dataset[f"run{n}_eigenvalue"]), rel=0.01)
        speed = np.gradient(dataset[f"run{n}_angle_line"], dataset[f"run{n}_times"])[-20:]
        np.testing.assert_allclose(speed, float(dataset[f"run{n}_rotation"]), rtol=0.02)


def test_sgd_goes_where_the_slow_flow_says(dataset):
    found = figure.numbers(dataset)
    assert found.status is st.Status.SUPPORTED and len(found.theory) == 6


def test_the_matrix_equilibrium_is_refuted_where_it_is_not_exact(dataset):
    assert [claim.status for claim in figure.numbers(dataset).claims] == [st.Status.REFUTED] * 2


def test_a_still_basis_is_refuted(dataset):
    still = dict(dataset)
    for n in range(len(dataset["names"])):
        still[f"run{n}_spin_mean"] = np.zeros(())
    assert figure.numbers(still).status is st.Status.REFUTED


def test_picture(dataset):
    drawn = figure.draw(dataset)
    assert len(drawn.axes) == 3
    assert all(panel.get_xlabel() and panel.get_ylabel() for panel in drawn.axes)
    assert len(drawn.axes[1].get_legend().get_texts()) == 4
    assert len(drawn.axes[2].get_legend().get_texts()) == 4
