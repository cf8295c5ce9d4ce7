"""The command `symtheory figures`: the figures of both papers, with their numbers."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from symtheory.commands._beside import beside
from symtheory.commands._options import Json, Seed
from symtheory.commands._outputs import finish, marked, note, plain


def command(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Such as F2 or E1.")
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Minutes instead of hours; wider intervals.")
    ] = False,
    out: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Folder of pictures, manifests and cache, where a rerun goes on; figures-out, or "
            "figures-fast with --fast, if omitted."
        ),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Also one page, index.html, with everything in it.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Figures at a time.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw the figures of both papers: PDF, PNG, a manifest and a table of numbers for each.

    Lines are theory, bands are ensembles, controls are dashed. Data are kept in the cache of the
    output folder, so that an interrupted run goes on and a second one only draws.

    Examples: symtheory figures --fast --html; symtheory figures F2 E1
    """
    figures = beside("figures")
    chosen = figures.find(ids or [])
    spec = figures.Spec(seed=seed, fast=fast)
    out = out or pathlib.Path("figures-fast" if fast else "figures-out")
    workers = jobs or min(os.cpu_count() or 1, len(chosen))
    made: dict[str, Any] = {}
    note(f"{len(chosen)} figures into {out}; finished work is kept there")
    for one in figures.make(chosen, spec, out, jobs=workers, progress=note):
        made[one.id] = one
        for text in one.warnings:
            note(text)
        if one.problem:
            note(f"figure {one.id} could not be made: {one.problem}")
        elif not as_json:
            _show(one, figures.said, len(chosen) - len(made))
    ordered = [made[entry.id] for entry in chosen]
    lost = [one.id for one in ordered if one.problem]
    lines = ["", f"[bold]{len(ordered) - len(lost)} figures[/] in {plain(str(out))}"]
    if lost:
        lines.append(f"[yellow]could not be made[/]: {', '.join(lost)}")
    page = figures.write_page(ordered, out / "index.html") if html else None
    if page is not None:
        lines.append(f"page: {plain(str(page))}")
    status = figures.conclusion(ordered)
    data = {
        "seed": seed,
        "fast": fast,
        "figures": [one.to_json() for one in ordered],
        "page": None if page is None else str(page),
        "status": str(status),
    }
    finish(as_json, "figures", data, lines, status)


def _show(one: Any, said: Callable[[Any], str], left: int) -> None:
    """Print the table of a figure as it is there."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    how = "from the cache" if one.cached else f"{one.seconds:.1f} s"
    console.print(f"\n[bold]{one.id}[/] {plain(one.title)} [dim]({how})[/]")
    for verdict in (*one.numbers.theory, *one.numbers.claims):
        mark = marked(verdict.status, f"{verdict.status:<13}")
        console.print(f"  {mark} {plain(said(verdict))}")
    for line in _table(one.numbers.rows):
        console.print(f"  {plain(line)}")
    if left and console.is_terminal:
        console.print(f"[dim]{left} left[/]", end="\r")


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return rows of named values as lines, never shortened: numbers cut off would mislead."""
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    pairs = [zip(line, widths, strict=True) for line in cells]
    return ["  ".join(text.ljust(width) for text, width in line).rstrip() for line in pairs]
