"""Every statement has the four functions and a docstring in the fixed order."""

import dataclasses
import json

import jax
import pytest

import proofs_check
from proofs_check import Spec
from proofs_check._outcome import overall
from proofs_check._readme import README, text
from proofs_check._steps import cited, same, sign
from symtheory import InputError, Status, Verdict
from symtheory.verdict import Arithmetic, Derivation, prove

ORDER = ("Statement:", "Assumptions:", "Relation:", "Reference:", "Proof idea:", "Example output:")
ALL = proofs_check.statements()


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
    assert all(callable(getattr(module, f)) for f in ("exact", "empirical", "control"))


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


def test_what_is_only_measured_says_nothing_without_measurements():
    none, no = Status.NOT_APPLICABLE, Status.REFUTED
    assert overall(none, none, no, exact_only=True) is Status.NOT_APPLICABLE
    assert overall(none, none, none, exact_only=True) is Status.REFUTED


def test_runs_too_short_to_evaluate_decide_nothing(monkeypatch):
    yes, no = prove("yes", Derivation("by hand"), Arithmetic(1, 1)), Verdict(Status.REFUTED, "no")

    def short(key, budget):
        raise InputError("a mean needs two replicas")

    fake(ALL[0], monkeypatch, exact=lambda: yes, empirical=short, control=lambda: no)
    [outcome] = proofs_check.check([ALL[0]], Spec(seconds=1e-6))
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
    list(proofs_check.check([ALL[0]], folder=tmp_path))
    path = tmp_path / f"{ALL[0].id}.json"
    path.write_text(path.read_text()[:50])
    [outcome] = proofs_check.check([ALL[0]], folder=tmp_path)
    assert not outcome.resumed and json.loads(path.read_text())


def test_a_control_that_holds_fails_the_check(monkeypatch):
    yes = prove("yes", Derivation("by hand"), Arithmetic(1, 1))
    fake(ALL[0], monkeypatch, exact=lambda: yes, empirical=lambda k, b: yes, control=lambda: yes)
    [outcome] = proofs_check.check([ALL[0]])
    assert outcome.status == "refuted" and outcome.exact == "proved"


def test_bad_specs_and_folders(tmp_path):
    for seconds in (0.0, -1.0):
        with pytest.raises(InputError, match="positive number of seconds"):
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
    [outcome] = proofs_check.check([ALL[0]])
    data = outcome.to_json()
    assert {"id", "status", "control_status", "seconds"} <= data.keys()
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
    for seed in (0, 1):
        list(proofs_check.check(list(ALL[:2]), Spec(seed=seed)))
    assert len(set(seen)) == 4
