"""`proved` comes from one place: nothing else can make it, and no recheck lets NaN pass."""

import ast
import copy
import dataclasses
import pickle
import re
from pathlib import Path

import pytest

from symtheory.errors import ProofError
from symtheory.verdict import (
    All,
    Arithmetic,
    Cited,
    Claim,
    Claims,
    Conjunction,
    Derivation,
    Enclosure,
    Identity,
    Moments,
    NormalForm,
    Outcome,
    RankBound,
    Status,
    Unchecked,
    Verdict,
    conjunction,
    prove,
    prove_each,
    worst,
)
from symtheory.verdict._certificates import Certificate
from symtheory.verdict._verdict import Proof

ROOT = Path(__file__).resolve().parents[2]
EXACT = NormalForm("exact arithmetic", ring="Q")
HOLDS = Arithmetic(1.0, 1.0)


def proved(claim="c", **fields):
    return prove(claim, EXACT, HOLDS, **fields)


CERTIFICATES = [
    NormalForm("h", ring="Q"), Enclosure("h", lower=1, upper=2), Derivation("h", ("a", "b")),
    RankBound("h", lower=3, upper=3), Moments("h", ("x: Normal",)), Identity("h", ("n",)),
    Cited("h", source="a book"),
]  # fmt: skip


@pytest.mark.parametrize("certificate", CERTIFICATES, ids=lambda c: type(c).__name__)
def test_every_certificate_says_how_and_has_a_json_form(certificate):
    verdict = prove("c", certificate, HOLDS)
    assert verdict.status is Status.PROVED and verdict.certificate is certificate
    assert verdict.how == certificate.how == "h" and verdict.rechecked
    assert certificate.to_json()["kind"] == type(certificate).__name__
    with pytest.raises(dataclasses.FrozenInstanceError):
        certificate.how = "otherwise"


def test_certificates_that_say_nothing_are_refused():
    for make in (
        lambda: Certificate("h"), lambda: NormalForm(" "), lambda: Cited("h"),
        lambda: RankBound("h", lower=1, upper=2), lambda: RankBound("h"),
        lambda: Enclosure("h", lower=2, upper=1),
        lambda: Enclosure("h", lower=float("nan"), upper=1),
    ):  # fmt: skip
        with pytest.raises(ProofError):
            make()


def test_nothing_else_makes_a_proof():
    with pytest.raises(ProofError, match="by hand"):
        Verdict(Status.PROVED, "c")
    with pytest.raises(ProofError, match="by hand"):
        Verdict("proved", "c")
    with pytest.raises(ProofError, match="by hand"):
        Verdict(Status.PROVED, "c", proof=EXACT)
    with pytest.raises(ProofError, match="by hand"):
        Proof(EXACT, "c", True, "", object())
    with pytest.raises(ProofError, match="by hand"):
        Verdict(Status.PROVED, "c", how="exact arithmetic", residual=0)
    with pytest.raises(ProofError, match="no certificate"):
        prove("c", Conjunction("h", ("a",)), HOLDS)
    for wrong in (None, "exact arithmetic", object()):
        with pytest.raises(ProofError, match="no certificate"):
            prove("c", wrong, HOLDS)
        with pytest.raises(ProofError, match="no claim to recheck"):
            prove("c", EXACT, wrong)


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.PROVED])
def test_replacing_fields_never_makes_a_proof(status):
    other = Verdict(status, "c")
    with pytest.raises(ProofError):
        dataclasses.replace(other, status=Status.PROVED)
    # A proof speaks for its own claim only.
    with pytest.raises(ProofError, match="the proof is about"):
        dataclasses.replace(Verdict(status, "d"), status=Status.PROVED, proof=proved("c").proof)
    with pytest.raises(ProofError, match="the proof is about"):
        dataclasses.replace(proved("c"), claim="d")
    # ValueError up to Python 3.12, TypeError from 3.13 on.
    with pytest.raises((ValueError, TypeError), match="seal"):
        dataclasses.replace(proved("c").proof, claim="d")


def test_words_may_change_and_a_status_may_be_lowered():
    verdict = dataclasses.replace(proved("c"), claim="start 1: c", how="said otherwise")
    assert verdict.status is Status.PROVED and verdict.certificate is EXACT
    lowered = dataclasses.replace(verdict, status=Status.SUPPORTED)
    assert lowered.proof is None and lowered.certificate is None and lowered.rechecked is None
    with pytest.raises(ProofError):
        dataclasses.replace(lowered, status=Status.PROVED)


def test_copies_are_as_good():
    verdict = conjunction("both", [proved("a"), proved("b")])
    for same in (copy.copy(verdict), copy.deepcopy(verdict), pickle.loads(pickle.dumps(verdict))):
        assert same == verdict and same.to_json() == verdict.to_json()


def test_a_conjunction_is_proved_from_proved_parts_alone():
    whole = conjunction("both", [proved("a"), proved("b")], how="step by step")
    assert whole.status is Status.PROVED and whole.rechecked
    assert whole.certificate == Conjunction("step by step", ("a", "b"))
    for other in (Status.SUPPORTED, Status.INCONCLUSIVE, Status.REFUTED):
        with pytest.raises(ProofError, match="rests on the parts"):
            dataclasses.replace(whole, parts=(Verdict(other, "a"), Verdict(other, "b")))
    with pytest.raises(ProofError, match="rests on the parts"):
        dataclasses.replace(whole, parts=())
    assert conjunction("none", []).status is Status.NOT_APPLICABLE
    assert conjunction("said", [Verdict(Status.NOT_APPLICABLE, "a")]).certificate is None
    unchecked = prove("b", EXACT, Unchecked("shapes alone"))
    assert conjunction("both", [proved("a"), unchecked]).rechecked is False


def test_what_cannot_be_evaluated_by_design_is_said():
    verdict = prove("c", EXACT, Unchecked("a model of shapes alone"))
    assert verdict.status is Status.PROVED and verdict.rechecked is False
    assert "not evaluated in floats: a model of shapes alone" in verdict.how
    assert verdict.to_json()["rechecked"] is False


class Given(Claim):
    def __init__(self, outcome):
        self.outcome = outcome

    def test(self):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_a_recheck_that_disagrees_refutes_with_its_witness():
    found = Outcome(False, "it is 2", {"u": 1.0}, 2.0, 5)
    verdict = prove("c", EXACT, Given(found), residual=0, reference="a paper")
    assert verdict.status is Status.REFUTED and verdict.proof is None
    assert verdict.witness == {"u": 1.0} and verdict.residual == 2.0
    assert "it is 2" in verdict.how and verdict.reference == "a paper"


@pytest.mark.parametrize(
    "outcome",
    [Outcome(None, "rounding"), ValueError("bad shape"), ZeroDivisionError("1/0"), TypeError("no")],
)
def test_a_recheck_that_decides_nothing_leaves_it_open(outcome):
    verdict = prove("c", EXACT, Given(outcome))
    assert verdict.status is Status.INCONCLUSIVE and verdict.certificate is None


def test_outcomes_that_are_not_true_are_no_agreement():
    import numpy as np

    for odd in (1, "yes", np.bool_(True)):
        assert prove("c", EXACT, Given(Outcome(odd, "odd"))).status is Status.INCONCLUSIVE


class Several(Claims):
    def test_each(self):
        return [Outcome(True, "fine"), Outcome(False, "wrong", {"n": 1}), Outcome(None, "unclear")]


def test_several_claims_are_decided_one_by_one():
    found = prove_each(["a", "b", "c"], [EXACT, EXACT, EXACT], Several(), reference="r")
    assert [v.status for v in found] == [Status.PROVED, Status.REFUTED, Status.INCONCLUSIVE]
    assert {v.reference for v in found} == {"r"}
    some = prove_each(["a", "b", "c"], [EXACT, None, None], Several())
    assert some[0].status is Status.PROVED and some[1:] == [None, None]


def test_all_is_the_worst_of_its_claims():
    yes, no, open_ = (Given(Outcome(x, str(x))) for x in (True, False, None))
    assert All((yes, open_, no)).test().agrees is False
    assert All((yes, open_)).test().agrees is None
    assert All((yes, yes)).test().agrees is True
    assert All(()).test().agrees is None
    assert All((yes, Unchecked("r"))).test().rechecked


def test_worst():
    assert worst([Status.PROVED, Status.REFUTED]) is Status.REFUTED
    assert worst([]) is Status.NOT_APPLICABLE


# --- the sources ---

_COMPARED = re.compile(r"(==|!=|\bis|\bis not|\bnot in|\bin) \(?(st\.)?Status\.PROVED\b")


def made_by_hand(source):
    """Lines that name Status.PROVED other than to compare with it."""
    lines = source.splitlines()
    named = {
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr == "PROVED"
    }
    return [lines[n - 1].strip() for n in sorted(named) if not _COMPARED.search(lines[n - 1])]


def test_only_the_verdicts_name_the_status_proved():
    found = {}
    for folder in ("symtheory", "proofs_check", "figures"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.parent != ROOT / "symtheory" / "verdict":
                found[str(path.relative_to(ROOT))] = made_by_hand(path.read_text())
    assert len(found) > 100
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("line", "caught"),
    [
        ("v = Verdict(Status.PROVED, 'c')", True),
        ("status = st.Status.PROVED if x else y", True),
        ("return Status.PROVED", True),
        ("order = [Status.REFUTED, Status.PROVED]", True),
        ("ok = v.status is Status.PROVED", False),
        ("ok = v.status != st.Status.PROVED", False),
        ("ok = v.status is not Status.PROVED and x", False),
    ],
)
def test_the_search_catches(line, caught):
    assert bool(made_by_hand(line)) is caught
