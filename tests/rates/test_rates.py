"""The first pieces of the tables of rates: the long ones are `python -m tests.rates`."""

import jax
import pytest

import proofs_check
from tests.rates.__main__ import _counted, _resumed, measured
from tests.rates.experiments import FACTORS, Laws, table


@pytest.mark.slow
@pytest.mark.parametrize("statement", proofs_check.statements(), ids=lambda s: s.id)
@pytest.mark.parametrize("budget", [0.0, 0.01, 0.1, 0.3])
def test_no_budget_is_so_small_that_it_refutes(statement, budget):
    with jax.enable_x64(True):
        found = measured(statement, 0, budget)
    assert found["status"] != "refuted", found
    assert budget or found["status"] == "inconclusive"


@pytest.mark.slow
def test_true_laws_are_not_refuted_and_wrong_ones_not_supported():
    with jax.enable_x64(True):
        laws = Laws()
        rows = [laws.experiment(number) for number in range(9)]
    assert all(row["statuses"]["1"] != "refuted" for row in rows), rows
    wrong = [row["statuses"][f"{f:g}"] for row in rows for f in FACTORS if f != 1]
    assert "supported" not in wrong and "refuted" in wrong
    assert sum(row["statuses"]["1"] == "supported" for row in rows) >= 3
    assert "| as simulated |" in "\n".join(table(rows))


def test_finished_pieces_are_not_done_again(tmp_path):
    path, ran = tmp_path / "rows.jsonl", []

    def piece(name):
        def work():
            ran.append(name)
            return {"id": name, "status": "supported"}

        return name, work

    _resumed(path, iter([piece("a")]), 10.0)
    rows = _resumed(path, iter([piece("a"), piece("b")]), 10.0)
    assert ran == ["a", "b"] and len(rows) == 2
    assert _counted(rows)[2] == "| a | 1 | 0 | 0 |"
    assert len(_resumed(path, iter([piece("c")]), -1.0)) == 2 and "c" not in ran
