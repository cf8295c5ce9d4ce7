"""The recheck catches wrong rules, planted one at a time."""

from __future__ import annotations

import pytest

from symtheory.symmetry.inference import infer
from tests.symmetry.inference.models import CASES
from tests.symmetry.inference.mutations import MUTATIONS
from tests.symmetry.inference.near_misses import NEAR_MISSES
from tests.symmetry.inference.recheck import worst_change


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_wrong_rule_is_caught(mutation, monkeypatch):
    name = mutation.caught_by
    case = CASES[name] if name in CASES else NEAR_MISSES[name][0]
    mutation.plant(monkeypatch)
    found = infer(case.loss, case.params, *case.data)
    assert worst_change(case, found, 8) > 1e-8
