"""Verdicts: conjunction is a lattice, and everything has a JSON form."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symtheory.verdict import Arithmetic, NormalForm, Status, Verdict, conjunction, jsonable, prove

EXACT = NormalForm("exact arithmetic", ring="Q")


def made(status, claim, **fields):
    """A verdict of any status; proved ones by the one way there is."""
    if status is Status.PROVED:
        return prove(claim, EXACT, Arithmetic(1.0, 1.0), **fields)
    return Verdict(status, claim, **fields)


statuses = st.sampled_from(list(Status))
verdicts = st.builds(made, statuses, st.text(max_size=5))
ORDER = [Status.REFUTED, Status.INCONCLUSIVE, Status.SUPPORTED, Status.PROVED]


@given(st.lists(verdicts, max_size=6))
def test_a_conjunction_is_as_good_as_its_worst_part(parts):
    status = conjunction("all", parts).status
    ranked = [ORDER.index(p.status) for p in parts if p.status is not Status.NOT_APPLICABLE]
    assert status is (ORDER[min(ranked)] if ranked else Status.NOT_APPLICABLE)


@given(st.lists(verdicts, max_size=6), st.randoms())
def test_the_order_of_the_parts_does_not_matter(parts, rng):
    shuffled = list(parts)
    rng.shuffle(shuffled)
    assert conjunction("all", shuffled).status is conjunction("all", parts).status


@given(st.lists(verdicts, max_size=4), st.lists(verdicts, max_size=4))
def test_conjunctions_nest(first, second):
    nested = conjunction("all", [conjunction("1", first), conjunction("2", second)])
    assert nested.status is conjunction("all", first + second).status


@given(st.lists(verdicts, min_size=1, max_size=4), verdicts)
def test_another_part_never_makes_it_better(parts, extra):
    before, after = conjunction("", parts).status, conjunction("", [*parts, extra]).status
    if before is not Status.NOT_APPLICABLE and after is not before:
        assert ORDER.index(after) < ORDER.index(before)


def test_only_two_statuses_hold():
    assert {s for s in Status if s.holds} == {Status.PROVED, Status.SUPPORTED}


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.fractions(),
    st.sampled_from(list(Status)),
)  # fmt: skip
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.one_of(st.text(), st.integers()), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(trees)
def test_everything_has_a_json_form(value):
    text = json.dumps(jsonable(value), allow_nan=False)
    assert jsonable(json.loads(text)) == json.loads(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.5), 0.5),
        (np.int32(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, np.nan], [np.inf, -np.inf]]), [[1.0, "nan"], ["inf", "-inf"]]),
        (float("nan"), "nan"),
        (Fraction(1, 3), "1/3"),
        (Status.PROVED, "proved"),
        ({1: (2, 3)}, {"1": [2, 3]}),
    ],
)
def test_json_forms(value, expected):
    assert jsonable(value) == expected


def test_to_json_leaves_out_what_is_not_set():
    assert Verdict(Status.SUPPORTED, "c").to_json() == {"status": "supported", "claim": "c"}
    assert made(Status.PROVED, "c").to_json() == {
        "status": "proved",
        "claim": "c",
        "how": "exact arithmetic",
        "certificate": {"kind": "NormalForm", "how": "exact arithmetic", "ring": "Q", "form": "0"},
        "rechecked": True,
    }
    inner = Verdict(Status.REFUTED, "d", residual=0, predicted=0.0, witness={"u": "1/2"})
    whole = conjunction("all", [inner], how="by hand", reference="somewhere")
    assert whole.to_json() == {
        "status": "refuted",
        "claim": "all",
        "how": "by hand",
        "reference": "somewhere",
        "parts": [
            {"status": "refuted", "claim": "d", "predicted": 0.0, "residual": 0,
             "witness": {"u": "1/2"}}
        ],
    }  # fmt: skip
    # A residual of exactly zero and a margin of zero are set.
    kept = made(Status.PROVED, "", residual=0, margin=0.0, standard_error=0.0).to_json()
    assert (kept["residual"], kept["margin"], kept["standard_error"]) == (0, 0.0, 0.0)


def test_an_array_may_be_a_field():
    verdict = Verdict(Status.SUPPORTED, "c", predicted=np.zeros(2), measured=np.array([0.1, 0.2]))
    assert verdict.to_json()["predicted"] == [0.0, 0.0]
    assert verdict.to_json()["measured"] == [0.1, 0.2]


def test_text():
    assert str(Verdict(Status.SUPPORTED, "c")) == "supported: c"
    assert str(made(Status.PROVED, "c", how="h")) == "proved: c [h]"
