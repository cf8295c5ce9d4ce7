"""Every statement holds, its control is refuted, and another seed says the same."""

import pytest

import proofs_check
from proofs_check._readme import INTERVALS
from proofs_check._runner import run_one
from symtheory import Status, Verdict
from symtheory.verdict import Arithmetic, Derivation, prove

ALL = proofs_check.statements()
# Statements of which a part rests on a measurement: their proof is at most this.
SUPPORTED = frozenset({"P2.10"})


@pytest.mark.parametrize("statement", ALL, ids=lambda s: s.id)
def test_the_proof_goes_through(statement):
    verdict = statement.module.exact()
    want = "supported" if statement.id in SUPPORTED else "proved"
    assert str(verdict.status) in (want, "not_applicable"), str(verdict)
    assert verdict.parts, "a proof has named steps"
    assert all(part.claim for part in verdict.parts)


@pytest.mark.slow
@pytest.mark.parametrize("statement", ALL, ids=lambda s: s.id)
def test_the_control_is_refuted(statement):
    verdict = statement.module.control()
    assert str(verdict.status) == "refuted", str(verdict)


@pytest.mark.slow
@pytest.mark.parametrize("statement", ALL, ids=lambda s: s.id)
def test_the_twin_of_the_control_is_supported(statement):
    verdict = statement.module.twin()
    assert str(verdict.status) == "supported", str(verdict)


@pytest.mark.slow
@pytest.mark.parametrize("statement", ALL, ids=lambda s: s.id)
@pytest.mark.parametrize("seed", range(3))
def test_another_seed_says_the_same(statement, seed, monkeypatch):
    # Proof, control and twin do not depend on the seed, and are tested above.
    monkeypatch.setattr(
        statement.module,
        "exact",
        lambda: prove("see above", Derivation("by hand"), Arithmetic(1, 1)),
    )
    monkeypatch.setattr(statement.module, "control", lambda: Verdict(Status.REFUTED, "see above"))
    monkeypatch.setattr(statement.module, "twin", lambda: Verdict(Status.SUPPORTED, "see above"))
    outcome = run_one(statement, proofs_check.Spec(seed=seed, seconds=1.0))
    measured = outcome.data["empirical"]
    assert outcome.empirical == "supported", measured
    # The rate of false alarms in the README is counted from these.
    assert sum("interval" in how for how in hows(measured)) == INTERVALS.get(statement.id, 0)


def hows(verdict):
    """How each part that has no parts itself was decided."""
    if "parts" not in verdict:
        return [verdict.get("how", "")]
    return [how for part in verdict["parts"] for how in hows(part)]
