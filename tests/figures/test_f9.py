"""F9: one certified equilibrium, from every start."""

import numpy as np
import pytest

import symtheory as st
from figures import Spec
from figures import f9_noise_equilibrium as figure

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return figure.data(Spec(fast=True))


def test_the_drift_falls_strictly_through_its_certified_root(dataset):
    assert np.all(np.diff(dataset["drifts"], axis=1) < 0)
    for drift, root in zip(dataset["drifts"], dataset["roots"], strict=True):
        crossing = np.interp(0, -drift, dataset["flows"])
        assert crossing == pytest.approx(root, abs=2e-3)
    assert set(dataset["status"]) == {"proved"} and dataset["widths"].max() < 1e-12


def test_the_closed_form_of_the_root(dataset):
    # At a minimum s_+ = 4 Tr[Se] w Sx w^T and s_- = 4 Tr[Sx] u^T Se u: lambda* = ln(s_+/s_-)/4.
    wanted = np.log(1.1 * (1 + 0.25 * 0.25) / (1.25 * (0.1 + 0.25))) / 4
    assert float(dataset["roots"][0]) == pytest.approx(wanted, rel=1e-12)
    u2, w2 = 1.25 * np.exp(2 * wanted), 1.25 * np.exp(-2 * wanted)
    assert float(dataset["charges"][0]) == pytest.approx(u2 - w2, rel=1e-12)


def test_the_predicted_charges_meet_at_the_root(dataset):
    ends = dataset["predicted"][:, -1]
    np.testing.assert_allclose(ends, float(dataset["charges"][0]), atol=0.01)
    assert np.ptp(dataset["predicted"][:, 0]) > 5


def test_sgd_agrees_and_gradient_flow_stays(dataset):
    found = figure.numbers(dataset)
    assert found.status is st.Status.SUPPORTED
    assert len(found.theory) == 2 + 4 * 5 + len(dataset["decays"]) + 1
    assert found.theory[0].status is st.Status.PROVED


def test_the_margin_of_final_charges_is_the_same_from_every_start(dataset):
    final = [v for v in figure.numbers(dataset).theory if "final charge from" in v.claim]
    assert len(final) == 5 and "standard errors" in final[0].how
    assert {v.margin for v in final} == {0.05 * float(dataset["charges"][0])}


def test_another_equilibrium_is_refuted(dataset):
    wrong = {**dataset, "charges": 1.1 * dataset["charges"]}
    assert figure.numbers(wrong).status is st.Status.REFUTED


def test_picture(dataset):
    drawn = figure.draw(dataset)
    assert len(drawn.axes) == 3
    assert all(panel.get_xlabel() and panel.get_ylabel() for panel in drawn.axes)
    assert all(len(panel.get_legend().get_texts()) == 3 for panel in drawn.axes)
