"""A wrong constant planted in the theory makes the check of its statement fail."""

import jax
import pytest

import proofs_check
from proofs_check._runner import run_one
from symtheory.theory.deep import _closed_form, _proof
from symtheory.theory.slow import _criterion, _dynamics, _exact


def module(name):
    [statement] = proofs_check.find([name])
    return statement.module


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def test_the_exponents_of_deep_nets_in_the_proof(monkeypatch):
    right = _proof._scales

    def wrong(depth, one):
        return right(depth + 1, one)

    assert module("P1.11").exact().status == "proved"
    monkeypatch.setattr(_proof, "_scales", wrong)
    assert module("P1.11").exact().status == "refuted"


def test_the_exponents_of_deep_nets_in_the_closed_form(monkeypatch):
    right = _closed_form.assemble

    def wrong(left, middle, inputs, scales, frames):
        depth = len(frames) + 1
        return right(
            left, middle, inputs, (*scales[:2], scales[2] ** (depth / (depth + 1))), frames
        )

    monkeypatch.setattr(_closed_form, "assemble", wrong)
    verdicts = [module("P1.11")._residuals(depth) for depth in (2, 3)]
    assert [verdict.status for verdict in verdicts] == ["refuted", "refuted"]


@pytest.mark.slow
def test_a_wrong_closed_form_refutes_the_statement(monkeypatch):
    right = _closed_form.assemble

    def wrong(left, middle, inputs, scales, frames):
        return right(left, middle, inputs, (*scales[:2], scales[2] ** 1.3), frames)

    monkeypatch.setattr(_closed_form, "assemble", wrong)
    [statement] = proofs_check.find(["P1.11"])
    assert run_one(statement, proofs_check.Spec(seconds=0.3)).status == "refuted"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["P1.10", "B.3"])
def test_no_current_where_there_is_one(monkeypatch, name):
    right = _criterion._turning
    monkeypatch.setattr(_criterion, "_turning", lambda h, s: 0 * right(h, s))
    assert module(name).exact().status == "refuted"


def test_a_wrong_sign_in_the_identity_of_the_slow_flow(monkeypatch):
    right = _exact.read_generator

    def wrong(*arguments):
        generator = right(*arguments)
        object.__setattr__(generator, "tangent", [-x for x in generator.tangent])
        return generator

    monkeypatch.setattr(_exact, "read_generator", wrong)
    assert module("B.3").exact().status == "refuted"


def test_a_wrong_constant_in_the_covariance_of_fluctuations(monkeypatch):
    right = _dynamics.lyapunov
    monkeypatch.setattr(_dynamics, "lyapunov", lambda h, s: 2 * right(h, s))
    key = jax.random.key(0)
    statement = module("B.3")
    flow, _ = statement._drawn(statement.generator(key))
    assert statement._charge_law(flow).status == "refuted"


@pytest.mark.slow
def test_twice_the_current_refutes_the_statement(monkeypatch):
    right = _dynamics.Dynamics.noise_rates

    def wrong(self, minimum):
        rates = right(self, minimum)
        rates[self.algebra.given :] *= 2  # the brackets of symmetric generators: rotations
        return rates

    monkeypatch.setattr(_dynamics.Dynamics, "noise_rates", wrong)
    statement = module("B.3")
    verdict = statement.empirical(jax.random.key(0), proofs_check.Budget(1.0))
    assert verdict.status == "refuted"
    assert verdict.parts[-1].status == "refuted"
