"""Every statement has the five functions and a docstring in the fixed order."""

import dataclasses
import json

import jax
import pytest

import proofs_check
from proofs_check import Spec
from proofs_check._outcome import citations, exact_status, overall
from proofs_check._readme import README, text
from proofs_check._steps import cited, same, sign, textbook
from symtheory import InputError, Status, Verdict
from symtheory.verdict import Arithmetic, Derivation, NormalForm, prove

ORDER = ("Statement:", "Assumptions:", "Relation:", "Reference:", "Proof idea:", "Example output:")
ALL = proofs_check.statements()


def proved(claim):
    """Return a proved verdict on 1 = 1, under any claim."""
    return prove(claim, NormalForm("exact arithmetic", ring="Q"), Arithmetic(1.0, 1.0))


@pytest.mark.parametrize("statement", ALL, ids=lambda s: s.id)
def test_the_file_says_what_it_is(statement):
    module = statement.module
    claim = module.claim()
    assert claim.id == statement.id
    assert module.__doc__.startswith(f"{claim.id}: ")
    places = [module.__doc__.index(word) for word in ORDER]
    assert places == sorted(places)
    assert claim.relation in module.__doc__.split("Relation:")[1].split("Reference:")[0]
    assert claim.assumptions and claim.reference
    assert all(callable(getattr(module, f)) for f in ("exact", "empirical", "control", "twin"))


def test_the_list_is_fresh():
    assert README.read_text() == text(), "write it anew: python -m proofs_check._readme"


def test_ids_are_found_and_suggested():
    assert [s.id for s in proofs_check.find(["p1.5", "P1.1"])] == ["P1.1", "P1.5"]
    with pytest.raises(InputError, match=r"did you mean P1\.1"):
        proofs_check.find(["P1.01"])


@pytest.mark.parametrize(
    ("exact", "empirical", "control", "want"),
    [
        ("proved", "supported", "refuted", "proved"),
        ("proved", "not_applicable", "refuted", "proved"),
        ("not_applicable", "supported", "refuted", "supported"),
        ("proved", "supported", "supported", "refuted"),
        ("proved", "supported", "inconclusive", "refuted"),
        ("proved", "refuted", "refuted", "refuted"),
        ("proved", "inconclusive", "refuted", "inconclusive"),
        ("supported", "supported", "refuted", "supported"),
        ("not_applicable", "not_applicable", "refuted", "inconclusive"),
    ],
)
def test_how_the_three_answers_are_joined(exact, empirical, control, want):
    assert str(overall(Status(exact), Status(empirical), Status(control))) == want


def test_a_proof_that_cites_is_not_called_proved():
    data = {
        "status": "proved",
        "claim": "a",
        "parts": [cited("b", "a book").to_json(), {"status": "proved", "claim": "c"}],
    }
    assert exact_status(data) == "proved up to citations" and citations(data) == ["b (a book)"]
    assert overall(exact_status(data), "supported", "refuted") is Status.SUPPORTED
    assert exact_status({**data, "parts": data["parts"][1:]}) == "proved"
    assert exact_status({**data, "status": "refuted"}) == "refuted"


def test_textbook_facts_have_hypotheses():
    one = proved("f is continuous")
    assert textbook("a zero", "intermediate value theorem", one).status is Status.PROVED
    assert not citations(textbook("a zero", "chain rule", given="f is smooth").to_json())
    with pytest.raises(InputError, match="hypotheses of 'chain rule' are missing"):
        textbook("a zero", "chain rule")
    bad = Verdict(Status.REFUTED, "f is continuous")
    assert textbook("a zero", "intermediate value theorem", bad).status is Status.REFUTED


@pytest.mark.parametrize("twin", ["refuted", "inconclusive", "not_applicable"])
def test_a_statement_without_a_good_twin_fails(monkeypatch, twin):
    assert overall("proved", "supported", "refuted", twin) is Status.REFUTED
    yes, no = proved("yes"), Verdict(Status.REFUTED, "no")
    fake(ALL[0], monkeypatch, exact=lambda: yes, empirical=lambda k, b: yes, control=lambda: no)
    fake(ALL[0], monkeypatch, twin=lambda: Verdict(Status(twin), "twin"))
    [outcome] = proofs_check.check([ALL[0]])
    assert outcome.status == "refuted" and outcome.twin == twin


def test_a_missing_twin_is_one_sentence(monkeypatch):
    monkeypatch.delattr(ALL[0].module, "twin")
    with pytest.raises(InputError, match=r"has no twin\(\): write one"):
        list(proofs_check.check([ALL[0]]))


def test_the_power_of_a_measurement_is_its_weakest_part(monkeypatch):
    yes, no = proved("yes"), Verdict(Status.REFUTED, "no")
    sharp = Verdict(Status.SUPPORTED, "sharp", detectable=1e-9, effect=1.0)
    dull = Verdict(Status.SUPPORTED, "dull", detectable=0.2, effect=4.0)
    both = Verdict(Status.SUPPORTED, "both", parts=(sharp, dull))
    fake(ALL[0], monkeypatch, exact=lambda: yes, empirical=lambda k, b: both, control=lambda: no)
    fake(ALL[0], monkeypatch, twin=lambda: yes)
    [outcome] = proofs_check.check([ALL[0]])
    assert outcome.to_json()["smallest_refuted"] == 0.05


def test_what_is_only_measured_says_nothing_without_measurements():
    none, no = Status.NOT_APPLICABLE, Status.REFUTED
    assert overall(none, none, no, exact_only=True) is Status.NOT_APPLICABLE
    assert overall(none, none, none, exact_only=True) is Status.REFUTED


def test_runs_too_short_to_evaluate_decide_nothing(monkeypatch):
    yes, no = prove("yes", Derivation("by hand"), Arithmetic(1, 1)), Verdict(Status.REFUTED, "no")

    def short(key, budget):
        raise InputError("a mean needs two replicas")

    fake(ALL[0], monkeypatch, exact=lambda: yes, empirical=short, control=lambda: no)
    fake(ALL[0], monkeypatch, twin=lambda: yes)
    [outcome] = proofs_check.check([ALL[0]], Spec(seconds=0.0))
    assert outcome.status == "inconclusive"
    assert "a mean needs two replicas" in outcome.data["empirical"]["how"]


def test_the_steps_can_fail():
    import sympy

    x = sympy.Symbol("x", positive=True)
    assert str(same("", x * (x + 1), x**2 + x).status) == "proved"
    wrong = same("", x * (x + 1), x**2 + 2 * x)
    assert str(wrong.status) == "refuted" and wrong.witness
    assert str(same("", sympy.exp(x) * sympy.exp(-x), 1).status) == "proved"
    assert str(sign("", -x, "positive").status) == "refuted"
    assert str(sign("", x - 1, "positive").status) == "inconclusive"
    assert str(cited("a", "b").status) == "not_applicable"


def test_steps_are_exact_and_points_keep_the_assumptions():
    import sympy

    x = sympy.Symbol("x")
    for step in (
        lambda: same("", 1e-20 * x + 1.0 * x, 1.0 * x),
        lambda: sign("", sympy.Float("0.1") + sympy.Float("0.2") - sympy.Float("0.3"), "positive"),
        lambda: same("", "x", "x"),
        lambda: sign("", sympy.Matrix([[1]]), "positive"),
    ):
        with pytest.raises(InputError, match=r"floating-point|SymPy expressions"):
            step()
    n = sympy.Symbol("n", integer=True)
    halves = same("", sympy.floor(n / 2) + sympy.ceiling(n / 2), n)
    assert str(halves.status) == "inconclusive"  # at n = 7/3 it would be refuted
    assert str(same("", sympy.nan, 0).status) == "inconclusive"


def fake(statement, monkeypatch, **functions):
    """Replace functions of a statement's module."""
    for name, function in functions.items():
        monkeypatch.setattr(statement.module, name, function)


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    chosen = list(ALL[:2])
    ran = []

    def counted(original, name):
        def exact():
            ran.append(name)
            if len(ran) == 2:
                raise KeyboardInterrupt
            return original()

        return exact

    yes = prove("yes", Derivation("by hand"), Arithmetic(1, 1))
    no = Verdict(Status.REFUTED, "no")
    for statement in chosen:
        fake(
            statement,
            monkeypatch,
            exact=counted(lambda: yes, statement.id),
            empirical=lambda key, budget: yes,
            control=lambda: no,
            twin=lambda: yes,
        )
    with pytest.raises(KeyboardInterrupt):
        list(proofs_check.check(chosen, folder=tmp_path))
    assert [path.name for path in tmp_path.glob("*.json")] == [f"{chosen[0].id}.json"]
    outcomes = list(proofs_check.check(chosen, folder=tmp_path))
    assert [o.resumed for o in outcomes] == [True, False]
    assert ran == [chosen[0].id, chosen[1].id, chosen[1].id]
    # Another seed is another experiment, and is not taken over.
    again = list(proofs_check.check(chosen, Spec(seed=1), folder=tmp_path))
    assert not any(o.resumed for o in again)


def test_a_damaged_result_is_checked_again(tmp_path, monkeypatch):
    yes, no = prove("yes", Derivation("by hand"), Arithmetic(1, 1)), Verdict(Status.REFUTED, "no")
    fake(ALL[0], monkeypatch, exact=lambda: yes, empirical=lambda k, b: yes, control=lambda: no)
    fake(ALL[0], monkeypatch, twin=lambda: yes)
    list(proofs_check.check([ALL[0]], folder=tmp_path))
    path = tmp_path / f"{ALL[0].id}.json"
    path.write_text(path.read_text()[:50])
    [outcome] = proofs_check.check([ALL[0]], folder=tmp_path)
    assert not outcome.resumed and json.loads(path.read_text())


def test_a_control_that_holds_fails_the_check(monkeypatch):
    yes = prove("yes", Derivation("by hand"), Arithmetic(1, 1))
    fake(ALL[0], monkeypatch, exact=lambda: yes, empirical=lambda k, b: yes, control=lambda: yes)
    fake(ALL[0], monkeypatch, twin=lambda: yes)
    [outcome] = proofs_check.check([ALL[0]])
    assert outcome.status == "refuted" and outcome.exact == "proved"


def test_bad_specs_and_folders(tmp_path):
    for seconds in (float("nan"), -1.0, float("inf")):
        with pytest.raises(InputError, match="number of seconds per statement, 0 or more"):
            Spec(seconds=seconds)
    with pytest.raises(InputError, match="seed is not negative"):
        Spec(seed=-1)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        list(proofs_check.check([ALL[0]], folder=file / "below"))


def test_outcomes_have_the_keys_others_read(monkeypatch):
    yes, no = prove("yes", Derivation("by hand"), Arithmetic(1, 1)), Verdict(Status.REFUTED, "no")
    fake(ALL[0], monkeypatch, exact=lambda: yes, empirical=lambda k, b: yes, control=lambda: no)
    fake(ALL[0], monkeypatch, twin=lambda: yes)
    [outcome] = proofs_check.check([ALL[0]])
    data = outcome.to_json()
    assert {"id", "status", "control_status", "twin_status", "seconds"} <= data.keys()
    assert json.dumps(data)
    assert dataclasses.asdict(outcome)


def test_the_key_depends_on_seed_and_statement(monkeypatch):
    seen = []
    yes, no = prove("yes", Derivation("by hand"), Arithmetic(1, 1)), Verdict(Status.REFUTED, "no")

    def remember(key, budget):
        seen.append(tuple(jax.random.key_data(key).tolist()))
        return yes

    for statement in ALL[:2]:
        fake(statement, monkeypatch, exact=lambda: yes, empirical=remember, control=lambda: no)
        fake(statement, monkeypatch, twin=lambda: yes)
    for seed in (0, 1):
        list(proofs_check.check(list(ALL[:2]), Spec(seed=seed)))
    assert len(set(seen)) == 4
