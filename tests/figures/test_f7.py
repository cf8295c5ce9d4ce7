"""F7: the way to the noise equilibrium at several learning rates, batch sizes and dimensions."""

import numpy as np
import pytest

import symtheory as st
from figures import Spec
from figures import f7_robustness as figure

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return figure.data(Spec(fast=True))


def test_all_settings_are_there_and_finite(dataset):
    assert sorted(dataset["panels"]) == ["batch"] * 3 + ["dimension"] * 3 + ["rate"] * 3
    for n in range(9):
        for name in ("square_mean", "line", "slow"):
            assert np.all(np.isfinite(dataset[f"run{n}_{name}"]))
            assert np.all(dataset[f"run{n}_{name}"] >= 0)


def test_the_fluctuations_are_proportional_to_the_temperature(dataset):
    runs = [n for n in range(9) if dataset["dimensions"][n] == 4]
    left = {}
    for n in runs:
        temperature = dataset["rates"][n] / dataset["batches"][n]
        left[temperature] = (dataset[f"run{n}_line"] - dataset[f"run{n}_slow"])[-1] / temperature
    assert len(left) >= 4
    np.testing.assert_allclose(list(left.values()), next(iter(left.values())), rtol=1e-3)


def test_the_slow_flow_does_not_depend_on_the_learning_rate(dataset):
    first, last = (
        np.interp(np.linspace(0, 5, 11), dataset[f"run{n}_times"], dataset[f"run{n}_slow"])
        for n in (0, 2)
    )
    np.testing.assert_allclose(first, last, rtol=0.01)


def test_agrees_with_theory_and_comes_nearer_with_smaller_temperature(dataset):
    found = figure.numbers(dataset)
    assert found.status is st.Status.SUPPORTED and len(found.theory) == 2
    assert {claim.status for claim in found.claims} == {st.Status.SUPPORTED}
    ratios = [float(dataset[f"run{n}_late_mean"]) for n in range(3)]
    assert ratios[0] > ratios[1] > ratios[2] > 1


def test_the_last_row_is_the_setting_furthest_from_theory(dataset):
    *rows, last = figure.numbers(dataset).rows
    ratio = lambda row: float(row["measured^2 / predicted^2 at the end (95 %)"].split()[0])
    assert ratio(last) == max(map(ratio, rows)) and "furthest" in last["setting"]


def test_fluctuations_left_out_are_refuted(dataset):
    changed = dict(dataset)
    for n in range(3):
        factor = dataset[f"run{n}_late_line"] / dataset[f"run{n}_slow"][-50:].mean()
        changed[f"run{n}_late_mean"] = dataset[f"run{n}_late_mean"] * factor
        changed[f"run{n}_late_error"] = dataset[f"run{n}_late_error"] * factor
    assert figure.numbers(changed).theory[1].status is st.Status.REFUTED


def test_picture(dataset):
    drawn = figure.draw(dataset)
    assert len(drawn.axes) == 4
    assert all(panel.get_xlabel() and panel.get_ylabel() for panel in drawn.axes)
    assert all(panel.get_legend() is not None for panel in drawn.axes)
