"""What figures decide from ensembles."""

import jax
import numpy as np
import pytest

import symtheory as st
from figures import _decisions


@pytest.mark.parametrize("decide, sign", [(_decisions.above, 1), (_decisions.below, -1)])
def test_one_sided_decisions_mirror_each_other(decide, sign):
    for gap, status in ((1.0, "supported"), (0.1, "inconclusive"), (-1.0, "refuted")):
        found = decide("claim", st.Estimate(2 + sign * gap, 0.1, 40), 2.0, "why")
        assert str(found.status) == status and found.how.startswith("why; 0.99 interval")


@pytest.mark.parametrize(
    ("count", "status"), [(19, "supported"), (3, "inconclusive"), (0, "inconclusive")]
)
def test_shares_are_decided_by_exact_intervals(count, status):
    found = _decisions.share_above("claim", count, 32, 0.05, "why")
    assert str(found.status) == status and found.measured == count / 32
    assert found.how.startswith(f"{count} of 32 runs") and found.how.endswith("; why")
    assert str(_decisions.share_above("claim", 0, 128, 0.05).status) == "refuted"


def test_limits_of_arrays_are_those_of_their_entries():
    rng = np.random.default_rng(0)
    runs = [(rate, rate * np.ones(2) + 0.1 * rng.normal(size=(30, 2))) for rate in (0.2, 0.1)]
    both = _decisions.limit(runs)
    for n in range(2):
        one = _decisions.limit([(rate, values[:, n]) for rate, values in runs])
        assert both.mean[n] == one.mean and both.standard_error[n] == one.standard_error
    assert np.all(np.abs(both.mean) < 5 * both.standard_error)


def test_a_run_that_diverged_makes_no_figure():
    model = st.Model(lambda p, z: p["a"] ** 4, {"a": ()}, {})
    settings = {"params": {"a": 2.0}, "steps": 50, "key": jax.random.key(0)}
    kept = st.simulate(model, st.SGD(0.01), **settings)
    assert _decisions.finished(kept) is kept
    with pytest.raises(ArithmeticError, match="became non-finite at step"):
        _decisions.finished(st.simulate(model, st.SGD(1.0), **settings))
