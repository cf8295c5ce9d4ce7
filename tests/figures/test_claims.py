"""Claims over seeds: supported, refuted or open by the interval, explained where they fail."""

import numpy as np
import pytest

from figures._claims import more_than


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([1.1, 1.2, 1.3], "supported"),
        ([0.1, 0.2, 0.3], "refuted"),
        ([0.8, 1.2, 1.0], "inconclusive"),
        ([2.0, 2.0, 2.0], "supported"),
        ([1.0, 1.0, 1.0], "refuted"),  # exactly `least` is not more than it
    ],
)
def test_status_is_decided_by_the_interval(values, status):
    verdict = more_than("claim", np.array(values), 0.9 if status == "supported" else 1.0)
    assert str(verdict.status) == status
    assert verdict.measured == pytest.approx(np.mean(values))


def test_the_interval_is_the_one_of_student():
    verdict = more_than("claim", np.array([0.0, 1.0, 2.0]), 0.0)
    assert "-1.48 to 3.48 from 3 seeds" in verdict.how
    assert verdict.standard_error == pytest.approx(3**-0.5)


def test_seeds_that_agree_have_no_interval():
    verdict = more_than("claim", np.array([8.0, 8.0, 8.0]), 7.5)
    assert verdict.how == "the same in all 3 seeds" and verdict.standard_error is None


def test_only_what_is_refuted_is_explained():
    assert "because" in more_than("claim", np.array([0.1, 0.2, 0.3]), 1.0, "because").how
    assert "possible reason" not in more_than("claim", np.array([0.0, 1, 2]), 1.0, "because").how
    assert "because" not in more_than("claim", np.array([2.1, 2.2, 2.3]), 1.0, "because").how
