"""A wrong constant planted in the library makes the check of its statement fail."""

import jax
import jax.numpy as jnp
import pytest

import proofs_check
from proofs_check import Budget, Spec
from symtheory import Status, Verdict, syre
from symtheory.verdict import Arithmetic, Derivation, prove


def measured(name, seconds=0.3):
    """The measurement of a statement, in the precision of the runner."""
    [statement] = proofs_check.find([name])
    with jax.enable_x64(True):
        return statement.module.empirical(jax.random.key(3), Budget(seconds))


@pytest.fixture
def fresh():
    """Functions compiled with a planted constant are not kept."""
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.parametrize("factor", [2.0, 0.5, 1.2])
def test_a_wrong_constant_of_the_strength(monkeypatch, factor):
    true = syre.strength_bound
    monkeypatch.setattr(syre, "strength_bound", lambda *numbers: factor * true(*numbers))
    assert measured("P2.6").status is Status.REFUTED


@pytest.mark.parametrize("name", ["P2.6", "P2.7"])
def test_a_strength_that_forgets_the_number_of_mirrors(monkeypatch, name):
    true = syre.strength_bound
    monkeypatch.setattr(syre, "strength_bound", lambda *numbers: true(*numbers[:3], 1))
    assert measured(name).status is Status.REFUTED


@pytest.mark.parametrize("name", ["P2.4", "P2.5", "P2.6", "P2.7", "P2.8"])
def test_half_the_decay(monkeypatch, fresh, name):
    """gamma |theta|^2 / 2, the decay as frameworks count it."""
    true = syre.reparametrize
    halved = lambda loss, center, gamma, *rest: true(loss, center, gamma / 2, *rest)
    monkeypatch.setattr(syre, "reparametrize", halved)
    assert measured(name).status is Status.REFUTED


def test_a_wrong_mean_square(monkeypatch):
    monkeypatch.setattr(syre, "expected_square", lambda gamma, sigma, rank: gamma**2 * sigma**2)
    assert measured("P2.8").status is Status.REFUTED


def test_a_wrong_pitchfork(monkeypatch, fresh):
    true = syre.decay_towards
    halved = lambda gamma, **options: true(gamma / 2, **options)
    monkeypatch.setattr(syre, "decay_towards", halved)
    assert measured("P2.9", seconds=1.0).status is Status.REFUTED


def test_a_bias_that_is_not_there(monkeypatch, fresh):
    """Decay towards 0 under the name of syre."""
    true = syre.decay_towards
    monkeypatch.setattr(
        syre, "decay_towards", lambda gamma, *, center: true(gamma, center=jnp.zeros_like(center))
    )
    assert measured("P2.9", seconds=1.0).status is Status.REFUTED


@pytest.mark.parametrize("name", ["P1.4", "P2.6", "P2.7", "P2.8", "P2.9", "P2.10"])
def test_a_budget_too_small_to_conclude(name, monkeypatch):
    [statement] = proofs_check.find([name])
    monkeypatch.setattr(
        statement.module, "exact", lambda: prove("not now", Derivation("by hand"), Arithmetic(1, 1))
    )
    monkeypatch.setattr(statement.module, "control", lambda: Verdict(Status.REFUTED, "not now"))
    monkeypatch.setattr(statement.module, "twin", lambda: Verdict(Status.SUPPORTED, "not now"))
    [outcome] = proofs_check.check([statement], Spec(seed=3, seconds=1e-4))
    assert outcome.status == "inconclusive"
    assert "--budget" in outcome.data["empirical"]["how"]
