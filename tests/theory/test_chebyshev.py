"""The integrator of flows whose gradients are averages over samples, against SciPy's Radau."""

import numpy as np
import pytest
import scipy.integrate

from symtheory.theory._chebyshev import Chebyshev

TARGET = np.linspace(0.5, 2.0, 6)


def bowl(stiffness):
    """Gradient flow in a narrow bowl with a slow direction."""
    rates = np.array([stiffness, stiffness / 3, 10.0, 3.0, 1.0, 0.1])
    return lambda t, y: -rates * (y - TARGET * np.cos(t / 5))


@pytest.mark.parametrize("stiffness", [10.0, 1e3, 1e5])
def test_it_agrees_with_an_implicit_method(stiffness):
    field, times = bowl(stiffness), np.linspace(0, 5, 11)
    truth = scipy.integrate.solve_ivp(
        field, (0, 5), np.zeros(6), "Radau", times, rtol=1e-9, atol=1e-11
    )
    for tolerance in (1e-3, 1e-5):
        found = scipy.integrate.solve_ivp(
            field, (0, 5), np.zeros(6), Chebyshev, times, rtol=tolerance, atol=tolerance / 10
        )
        assert found.success
        assert np.max(np.abs(found.y - truth.y)) < 30 * tolerance


def test_it_needs_far_fewer_evaluations_than_an_explicit_method():
    field = bowl(1e4)
    options = {"rtol": 1e-3, "atol": 1e-4}
    ours = scipy.integrate.solve_ivp(field, (0, 5), np.zeros(6), Chebyshev, **options)
    plain = scipy.integrate.solve_ivp(field, (0, 5), np.zeros(6), "RK23", **options)
    assert ours.nfev < plain.nfev / 5


def test_a_gradient_with_jumps_is_no_obstacle():
    """The mean of |y - s| over samples: its gradient jumps at every sample."""
    samples = np.random.default_rng(0).normal(size=501)
    field = lambda t, y: -np.mean(np.sign(y - samples))[None] * 50
    found = scipy.integrate.solve_ivp(field, (0, 2), [3.0], Chebyshev, rtol=2e-3, atol=2e-4)
    assert abs(found.y[0, -1] - np.median(samples)) < 0.02  # samples stand 0.005 apart there
    assert found.nfev < 10_000  # an implicit method does not come to an end


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="unknown options"):
        Chebyshev(lambda t, y: -y, 0.0, np.ones(1), 1.0, jac=None)
