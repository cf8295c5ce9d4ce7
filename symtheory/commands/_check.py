"""The command `symtheory check`: the theorems of both papers, proved, measured and controlled."""

from __future__ import annotations

import os
import pathlib
from typing import Annotated, Any

import typer

from symtheory.commands._beside import beside
from symtheory.commands._options import Json, Seed
from symtheory.commands._outputs import finish, marked, note, plain

_FAST_SECONDS = 1.0
_UP_TO_CITATIONS = " up to citations"
_CITING = f"proved{_UP_TO_CITATIONS}"
_SHORT = {"not_applicable": "-", _CITING: "proved*"}


def command(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Such as P1.4.")
    ] = None,
    exact_only: Annotated[
        bool, typer.Option("--exact-only", help="Proofs, no simulation.")
    ] = False,
    fast: Annotated[bool, typer.Option("--fast", help="A small budget; wider intervals.")] = False,
    budget: Annotated[
        float | None, typer.Option(help="Seconds of simulation for each statement.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Statements at a time.")] = None,
    results: Annotated[
        pathlib.Path, typer.Option(help="Folder of finished checks; a rerun goes on from there.")
    ] = pathlib.Path("check-results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Check again what is there.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Check the theorems of both papers: each proved, measured, and refuted where it should fail.

    Every statement is one file of proofs_check with a proof in exact arithmetic, a simulation
    drawn from the seed, and a control that violates an assumption and must come out refuted,
    beside its twin: the same run with the assumption restored, which must come out supported.
    """
    from symtheory.verdict import Status, worst

    checks = beside("proofs_check")
    chosen = checks.find(ids or [])
    seconds = budget if budget is not None else _FAST_SECONDS if fast else checks.Spec().seconds
    spec = checks.Spec(seed=seed, seconds=seconds, exact_only=exact_only)
    workers = jobs or min(os.cpu_count() or 1, len(chosen))
    outcomes: dict[str, Any] = {}
    run = checks.check(chosen, spec, folder=results, jobs=workers, fresh=fresh)
    if as_json:
        outcomes = {outcome.id: outcome for outcome in run}
    else:
        outcomes = _shown(run, len(chosen), str(results))
    ordered = [outcomes[statement.id] for statement in chosen]
    status = worst(Status(outcome.status) for outcome in ordered)
    data = {
        "seed": seed,
        "budget": seconds,
        "verdicts": [outcome.to_json() for outcome in ordered],
        "status": str(status),
    }
    finish(as_json, "check", data, _summary(ordered), status)


def _shown(run: Any, total: int, folder: str) -> dict[str, Any]:
    """Print a row as each statement is done; on a terminal also how many are left."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"[bold]{'ID':<6} {'exact':<13} {'empirical':<13} {'control':<13} {'twin':<13} {'s':>6}[/]"
    )
    note(f"{total} statements; finished ones are kept in {folder}")
    outcomes: dict[str, Any] = {}
    for outcome in run:
        outcomes[outcome.id] = outcome
        shown = (outcome.exact, outcome.empirical, outcome.control, outcome.twin)
        cells = [_cell(x) for x in shown]
        again = "  [dim](kept)[/]" if outcome.resumed else ""
        title = plain(outcome.statement.split(". ")[0].split(": ")[0])
        console.print(
            f"{outcome.id:<6} {' '.join(cells)} {outcome.seconds:>6.1f}  {title[:90]}{again}"
        )
        for line in _details(outcome):
            console.print(f"       [dim]{plain(line)}[/]")
        if outcome.status in ("refuted", "inconclusive"):
            console.print(f"       {_cell(outcome.status)} {plain(_why(outcome))}")
        left = total - len(outcomes)
        if left and console.is_terminal:
            console.print(f"[dim]{left} left[/]", end="\r")
    return outcomes


def _details(outcome: Any) -> list[str]:
    """Say what the proof cites, and how small a deviation the measurement would have refuted."""
    lines = [f"* cites: {text}" for text in outcome.data.get("citations", ())]
    share = outcome.data.get("smallest_refuted")
    if share is not None:
        lines.append(f"a deviation of {share:.2g} of the effect would have been refuted")
    return lines


def _cell(status: str) -> str:
    return marked(status.removesuffix(_UP_TO_CITATIONS), f"{_SHORT.get(status, status):<13}")


def _why(outcome: Any) -> str:
    if outcome.control != "refuted":
        return f"the control came out {outcome.control}, so the check proves nothing"
    if outcome.twin not in ("supported", "proved"):
        return (
            f"the control's twin came out {outcome.twin}: the control does not tell a broken "
            "assumption from too short a run"
        )
    for part in ("exact", "empirical"):
        if getattr(outcome, part) in ("refuted", "inconclusive"):
            return _deepest(outcome.data[part])
    return ""


def _deepest(verdict: dict[str, Any]) -> str:
    """Say which part of a verdict did not hold, and why."""
    for part in verdict.get("parts", ()):
        if part["status"] in ("refuted", "inconclusive"):
            return _deepest(part)
    return f"{verdict['claim']}: {verdict.get('how', '')}"


def _summary(outcomes: list[Any]) -> list[str]:
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    refuted = sum(outcome.control == "refuted" for outcome in outcomes)
    twins = sum(outcome.twin in ("supported", "proved") for outcome in outcomes)
    cited = sum(outcome.exact == _CITING for outcome in outcomes)
    shown = ", ".join(f"{n} {status}" for status, n in counts.items())
    return [
        "",
        f"[bold]{len(outcomes)} statements[/]: {shown}; {refuted} controls refuted, {twins} "
        f"twins supported; {cited} proved up to citations (*)",
    ]
