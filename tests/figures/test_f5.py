"""F5: norms of normalized nets under SGD and gradient descent."""

import numpy as np
import pytest

import symtheory as st
from figures import Spec
from figures import f5_norms_of_nets as figure

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return figure.data(Spec(seed=0, fast=True))


def test_every_layer_starts_at_norm_one(dataset):
    for name in ("global SGD", "layer-wise SGD", "global GD", "layer-wise GD", "plain GD"):
        size = dataset[f"{name} size"]
        assert size.shape[0] == 6 and size.shape[1:] == dataset[f"{name} push"].shape[1:]
        np.testing.assert_allclose(size[:, 0], 1)
        assert np.isfinite(size).all()


def test_all_weights_grow_under_sgd_only(dataset):
    grown = dataset["global SGD size"].sum(axis=-1)
    assert (np.diff(grown, axis=1) > 0).all() and grown[:, -1].min() > 1.2 * grown[0, 0]
    kept = dataset["global GD size"].sum(axis=-1)
    np.testing.assert_allclose(kept, 2, rtol=1e-3)
    # The layers of the net with one common norm have no symmetry of their own.
    assert np.abs(dataset["global GD size"][:, -1] - 1).max() > 0.05


def test_each_layer_grows_where_it_has_a_symmetry_of_its_own(dataset):
    assert dataset["layer-wise SGD size"][:, -1].min() > 1.05
    np.testing.assert_allclose(dataset["layer-wise GD size"], 1, rtol=1e-3)


def test_theory_and_claims_hold(dataset):
    numbers = figure.numbers(dataset)
    assert {v.status for v in (*numbers.theory, *numbers.claims)} == {st.Status.SUPPORTED}
    assert len(numbers.claims) == 6 and len(numbers.rows) == 4


def test_a_net_without_symmetry_is_refuted(dataset):
    """The control: without normalization gradient descent changes the norm."""
    swapped = {**dataset, "global GD size": dataset["plain GD size"]}
    statuses = [verdict.status for verdict in figure.numbers(swapped).claims]
    assert statuses.count(st.Status.REFUTED) == 1


def test_picture(dataset):
    drawn = figure.draw(dataset)
    assert len(drawn.axes) == 2
    assert all(panel.get_xlabel() and panel.get_ylabel() for panel in drawn.axes)
    assert len(drawn.axes[0].get_legend().get_texts()) == 4
