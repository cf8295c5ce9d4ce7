"""The command `symtheory discover`: generators, reflections and conservation laws of a loss."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from symtheory.commands._inputs import bind, double_precision, load
from symtheory.commands._options import Budget, Json, MaxMemory, ModelName, Seed, Sizes, Values
from symtheory.commands._outputs import finish, marked, plain, reporting

_SHOWN = 3


def command(
    model: ModelName,
    size: Sizes = [],
    value: Values = [],
    budget: Budget = 60.0,
    max_memory: MaxMemory = None,
    seed: Seed = 0,
    explain: Annotated[
        bool, typer.Option("--explain", help="What acts on each axis; what excludes the rest.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="What the scale of each parameter does to the loss.")
    ] = False,
    ignore_below: Annotated[
        float | None, typer.Option(help="Take small constants (eps) up to this as 0, apart.")
    ] = None,
    latex: Annotated[
        bool, typer.Option("--latex", help="Print --explain and --table as LaTeX.")
    ] = False,
    picture: Annotated[
        pathlib.Path | None, typer.Option(help="Draw the axes, coloured by class, to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the linear and affine symmetries of a loss and prove that there are no others.

    Also its reflections and the number of conservation laws of gradient flow. Sizes must be
    bound; constants and covariances may stay open, and then the answer holds for all of them.
    """
    double_precision()
    from symtheory import symmetry
    from symtheory.errors import InputError
    from symtheory.verdict import Status

    if not budget > 0:
        raise InputError(f"--budget takes a positive number of seconds, got {budget:g}")
    if max_memory is not None and not max_memory > 0:
        raise InputError(f"--max-memory takes a positive number of GiB, got {max_memory:g}")
    bound = bind(load(model), size, value)[0]
    end = time.monotonic() + budget
    with reporting(quiet=as_json) as report:
        found = symmetry.discover(
            bound, seconds=budget, seed=seed, max_memory=max_memory, ignore_below=ignore_below,
            progress=report,
        )  # fmt: skip
        data: dict[str, Any] = {"model": model, **found.to_json()}
        lines = [f"[bold]Model[/]       {plain(bound.name)}", *discovery_lines(found)]
        search = dict(seed=seed, max_memory=max_memory)
        left = lambda: max(end - time.monotonic(), 1.0)
        report("reflections", 0, 0)
        mirrors = _tried(symmetry.reflections, bound, seconds=left(), **search)
        report("conservation laws", 0, 0)
        laws = _tried(symmetry.conservation_laws, bound, seconds=left(), found=found, **search)
        data["reflections"] = mirrors
        data["conservation_laws"] = laws
        lines += ["", *reflection_lines(mirrors), "", *law_lines(laws)]
        if found.approximate is not None:
            lines += ["", *approximate_lines(found.approximate)]
        if explain or picture is not None:
            report("explanation", 0, 0)
            explanation = symmetry.explain(bound)
            data["explanation"] = explanation.to_json()
            if explain:
                text = explanation.latex() if latex else str(explanation)
                lines += ["", "[bold]Explanation[/]", *_indented(text, latex)]
        if table:
            report("parameter table", 0, 0)
            rows = found.parameter_table()
            data["parameter_table"] = rows.to_json()
            text = rows.latex() if latex else str(rows)
            lines += ["", "[bold]Parameter table[/]", *_indented(text, latex)]
        if picture is not None:
            from symtheory import report as drawing

            data["picture"] = str(drawing.save(drawing.draw_axes(explanation), picture))
            lines += ["", f"[bold]Picture[/]     {plain(str(picture))}"]
    refused = any("refused" in part for part in (mirrors, laws))
    finish(as_json, "discover", data, lines, Status.INCONCLUSIVE if refused else found.status)


def discovery_lines(found: Any) -> list[str]:
    """Return the generators as lines of marked-up text."""
    lines = [
        f"[bold]Generators[/]  {found.total} linear ({found.symmetric} symmetric), "
        f"{found.affine} with translations: {marked(found.status)}",
        f"  [dim]{plain(found.completeness.claim)}; {plain(found.completeness.how)}[/]",
        f"  [dim]searched: {plain(found.scope)}[/]",
    ]
    width = max((len(group.name) for group in found.groups), default=0)
    everything = [*found.generators, *found.translations]
    for group in found.groups:
        lines.append("")
        lines.append(
            f"  {plain(group.name):<{width}}  {group.count:>6}  {marked(group.status)}  "
            f"[dim]{plain(', '.join(name or 'theta' for name in group.leaves))}[/]"
        )
        members = [item for item in everything if item.name == group.name]
        lines += [f"      {plain(item.latex)}" for item in members[:_SHOWN]]
        if members[_SHOWN:]:
            lines.append(f"      [dim]... {len(members) - _SHOWN} more (with --json)[/]")
    for name, verdict in found.trivial.items():
        lines.append(f"  trivial in {plain(name)}: {marked(verdict.status)}")
    gap = found.gap
    if gap and not gap.get("exact"):
        lines.append(
            f"[bold]Gap[/]         relative singular values {gap['kept']:.1e} kept, "
            f"{gap['dropped']:.1e} dropped"
        )
    if found.structure is not None and found.total:
        algebra = found.structure
        centre = "not computed" if algebra.centre is None else str(len(algebra.centre))
        lines.append(
            f"[bold]Algebra[/]     closed under brackets: {marked(algebra.closure.status)}; "
            f"symmetric part {len(algebra.symmetric)}, "
            f"antisymmetric part {len(algebra.antisymmetric)}, "
            f"centre {centre}"
        )
    return lines


def approximate_lines(approximate: Any) -> list[str]:
    """Return what would be symmetries without small constants, as lines of marked-up text."""
    lines = [
        f"[bold]Approximate[/] without constants up to {approximate.ignore_below:g} "
        f"({len(approximate.constants)} found); not symmetries of the loss itself"
    ]
    lines += [f"  {plain(str(family))}" for family in approximate.families]
    if not approximate.families:
        lines.append("  nothing appears")
    elif approximate.deviation is not None:
        lines.append(
            f"  [dim]random elements of the larger group change the loss by up to "
            f"{approximate.deviation:.1e} of its value at parameters of size 1[/]"
        )
    return lines


def _indented(text: str, latex: bool) -> list[str]:
    return [plain(line) if latex else f"  {plain(line)}" for line in text.splitlines()]


def _tried(search: Callable[..., Any], model: Any, **options: Any) -> dict[str, Any]:
    """Return the result of a search as data, or why it was refused."""
    from symtheory.errors import SymtheoryError
    from symtheory.verdict import Status

    try:
        return search(model, **options).to_json()
    except SymtheoryError as error:
        return {"status": str(Status.INCONCLUSIVE), "refused": str(error)}


def reflection_lines(data: dict[str, Any]) -> list[str]:
    """Return reflections as lines of marked-up text, each with its rank."""
    head = "[bold]Reflections[/]"
    if "refused" in data:
        return [f"{head} {marked(data['status'])}  [dim]{plain(data['refused'])}[/]"]
    found = data["found"]
    lines = [f"{head} {len(found) or 'none'}" + (" kinds" if found else " found")]
    for item in found:
        text = f"{item['name']}  {item['count']} x  rank {item['rank']}"
        lines.append(f"  {plain(text)}  {marked(item['status'])}")
    if data["unfinished"]:
        lines.append(f"  {marked('inconclusive')}  [dim]{plain(data['unfinished'])}[/]")
    return lines


def law_lines(data: dict[str, Any]) -> list[str]:
    """Return the count of conservation laws as lines of marked-up text."""
    head = "[bold]Conservation laws of gradient flow[/]"
    if "refused" in data:
        return [f"{head}  {marked(data['status'])}  [dim]{plain(data['refused'])}[/]"]
    low, high = data["lower"], data["upper"]
    count = f"{low}" if low == high else f"at least {low}, at most {high}"
    lines = [f"{head}  {count}: {marked(data['status'])}"]
    return lines if low == high else [*lines, f"  [dim]{plain(data['how'])}[/]"]
