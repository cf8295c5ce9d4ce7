"""The command `symtheory discover`: generators, reflections and conservation laws of a loss."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

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
            bound, seconds=budget, seed=seed, max_memory=max_memory, progress=report
        )
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
