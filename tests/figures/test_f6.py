"""F6: a tanh net's representations, alike under SGD and not under GD."""

import numpy as np
import pytest

import symtheory as st
from figures import Spec
from figures import f6_representations as figure


@pytest.fixture(scope="module")
def dataset():
    return figure.data(Spec(fast=True))


def test_every_seed_has_both_methods_from_one_start(dataset):
    assert dataset["sgd_late"].shape == dataset["gd_late"].shape == (10,)
    assert dataset["sgd_cosine_mean"][0] == pytest.approx(dataset["gd_cosine_mean"][0], abs=1e-12)
    for name in ("sgd", "gd"):
        assert np.all(np.abs(dataset[f"{name}_cosine_mean"]) <= 1)


def test_the_matrices_shown_are_symmetric_without_trace(dataset):
    for name in ("sgd", "gd"):
        pair = dataset[f"{name}_pair"]
        assert pair.shape == (2, 5, 5)
        np.testing.assert_allclose(pair, np.swapaxes(pair, 1, 2), atol=1e-12)
        np.testing.assert_allclose(np.trace(pair, axis1=1, axis2=2), 0, atol=1e-12)


def test_alike_under_sgd_only_with_intervals_apart(dataset):
    found = figure.numbers(dataset)
    assert found.status is st.Status.SUPPORTED and len(found.theory) == 1
    assert [str(claim.status) for claim in found.claims] == ["supported"] * 4
    assert "; apart" in found.claims[0].how
    assert all(claim.predicted is None for claim in found.claims)
    assert dataset["sgd_late"].min() > dataset["gd_late"].max()


def test_methods_exchanged_are_refuted(dataset):
    swapped = {**dataset, "sgd_late": dataset["gd_late"], "gd_late": dataset["sgd_late"]}
    found = figure.numbers(swapped)
    assert [str(claim.status) for claim in found.claims] == ["refuted"] * 3 + ["supported"]


def test_picture(dataset):
    drawn = figure.draw(dataset)
    # Four maps, the curves and the colour bar.
    assert len(drawn.axes) == 6
    labels = [panel.get_xlabel() for panel in drawn.axes]
    assert sum("Sigma" in label for label in labels) == 4 and "time" in " ".join(labels)
    curves = next(panel for panel in drawn.axes if "time" in panel.get_xlabel())
    assert [text.get_text() for text in curves.get_legend().get_texts()] == [
        "SGD, linear net",
        "SGD",
        "GD",
    ]
