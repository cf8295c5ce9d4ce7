"""How often is there a false alarm? `python -m tests.rates seeds|budgets|experiments`.

Every finished piece is one line of a file in the folder; a run that is started again goes on.

    python -m tests.rates seeds --count 30         # --fast for 30 seeds of every statement
    python -m tests.rates budgets                  # budgets from 0 to 10 s: nothing is refuted
    python -m tests.rates experiments --count 200  # a true law, and laws whose noise is off
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

import proofs_check
from proofs_check._runner import _measured
from tests.rates.experiments import Laws, table

BUDGETS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.rates")
    parser.add_argument("what", choices=("seeds", "budgets", "experiments"))
    parser.add_argument("ids", nargs="*", help="statements, all of them for none")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("rates"))
    parser.add_argument("--count", type=int, default=30, help="seeds or experiments")
    parser.add_argument("--most", type=float, default=10.0, help="largest budget")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="when to pause")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / f"{options.what}.jsonl"
    pieces = {"seeds": _seeds, "budgets": _budgets, "experiments": _experiments}[options.what]
    rows = _resumed(path, pieces(options), options.seconds)
    if options.what == "experiments":
        print("\n".join(table(rows)))
    else:
        print("\n".join(_counted(rows)))


Piece = tuple[str, Callable[[], dict[str, Any]]]


def _resumed(path: pathlib.Path, pieces: Iterator[Piece], seconds: float) -> list[dict[str, Any]]:
    """Do what is not in the file yet; return all rows."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known, end = {row["piece"] for row in rows}, time.monotonic() + seconds
    for name, work in pieces:
        if name in known:
            continue
        if time.monotonic() > end:
            print(f"paused with {len(rows)} pieces done; start again to go on")
            break
        rows.append({"piece": name, **work()})
        with path.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    return rows


def measured(statement: Any, seed: int, seconds: float) -> dict[str, Any]:
    """Return the status of a statement's measurement, and what was refuted."""
    spec = proofs_check.Spec(seed=seed, seconds=seconds)
    verdict = _measured(statement.module.empirical, statement.id, spec)
    why = "" if verdict.status.holds else str(verdict)[:500]
    return {
        "id": statement.id, "seed": seed, "budget": seconds, "status": str(verdict.status),
        "why": why,
    }  # fmt: skip


def _seeds(options: Any) -> Iterator[Piece]:
    for statement in proofs_check.find(options.ids):
        for seed in range(options.count):
            yield f"{statement.id} {seed}", lambda s=statement, k=seed: measured(s, k, 1.0)


def _budgets(options: Any) -> Iterator[Piece]:
    for statement in proofs_check.find(options.ids):
        for budget in BUDGETS:
            if budget <= options.most:
                name = f"{statement.id} {budget:g}"
                yield name, lambda s=statement, b=budget: measured(s, 0, b)


def _experiments(options: Any) -> Iterator[Piece]:
    laws = Laws()
    for number in range(options.count):
        yield str(number), lambda n=number: laws.experiment(n)


def _counted(rows: list[dict[str, Any]]) -> list[str]:
    out = ["| statement | supported | inconclusive | refuted |", "|---|---|---|---|"]
    for name in dict.fromkeys(row["id"] for row in rows):
        seen = [row["status"] for row in rows if row["id"] == name]
        counts = [seen.count(s) for s in ("supported", "inconclusive", "refuted")]
        out.append(f"| {name} | " + " | ".join(map(str, counts)) + " |")
    return out


if __name__ == "__main__":
    main()
