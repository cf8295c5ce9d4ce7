"""The command `symtheory derive`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from symtheory.commands._inputs import bind, double_precision, load, shapes_text
from symtheory.commands._options import Json, ModelName, Seed, Sizes, Symmetry, Values
from symtheory.commands._outputs import finish, note

if TYPE_CHECKING:
    from symtheory.model import Model
    from symtheory.source import Source
    from symtheory.theory import Law, MatrixLaw


def command(
    model: ModelName,
    size: Sizes = [],
    value: Values = [],
    symmetry: Symmetry = None,
    latex: Annotated[bool, typer.Option("--latex", help="Print the law as LaTeX.")] = False,
    seconds: Annotated[float, typer.Option(min=0, help="Time limit of each proof.")] = 60.0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Derive charge, drift, exact discrete drift and equilibrium, with their proof.

    Without --size the law is derived in whole matrices, for all sizes at once; with it, entry by
    entry. Covariances and constants stay symbolic unless given with --value. Without --symmetry
    all known symmetries of the model are derived.
    """
    double_precision()
    from symtheory import report
    from symtheory.verdict import conjunction

    source = load(model)
    sized, laws = (None, []) if size else _for_all_sizes(source, value, symmetry, seed)
    if sized is None:
        sized, laws = _entry_by_entry(source, size, value, symmetry, seconds, seed)
    verdict = conjunction("all laws", [law.verdict for law in laws])
    lines = [f"[bold]Model[/]     {sized.name}: {shapes_text(sized)}"]
    for law in laws:
        lines += ["", *report.law_lines(law, latex=latex)]
    data = [report.law_data(law) for law in laws] if as_json else []
    whole = {"model": source.name, "laws": data, "status": str(verdict.status)}
    finish(as_json, "derive", whole, lines, verdict.status)


def _for_all_sizes(
    source: Source, values: list[str], symmetry: str | None, seed: int
) -> tuple[Model | None, list[Law | MatrixLaw]]:
    """Derive laws at symbolic sizes; no model if none is open or the loss cannot be read so."""
    from symtheory.errors import UnreadableError
    from symtheory.source import parse_values
    from symtheory.theory import derive

    model = source.model.bind(**parse_values(values))
    if all(shape is not None for shape in model.unbound.values()):
        return None, []
    selected = source.select(symmetry, model)
    try:
        laws = [derive(model, item, seed=seed) for item in selected]
    except UnreadableError as error:
        if source.example is None:
            raise
        sizes = ", ".join(f"{name} = {n}" for name, n in source.example.sizes.items())
        note(f"{error}. Taken here: {sizes}")
        return None, []
    return (model, laws) if laws else (None, [])


def _entry_by_entry(
    source: Source,
    sizes: list[str],
    values: list[str],
    symmetry: str | None,
    seconds: float,
    seed: int,
) -> tuple[Model, list[Law | MatrixLaw]]:
    """Derive laws at fixed sizes, of a symmetry that is discovered if none is known."""
    from symtheory.errors import InputError
    from symtheory.symmetry import discover
    from symtheory.theory import derive

    sized, bound = bind(source, sizes, values, symbolic=True)
    selected = source.select(symmetry, sized)
    if not selected:
        found = discover(bound, seed=seed).family()
        if found is None:
            raise InputError(
                f"{source.name} defines no symmetry and no symmetric linear generator was found; "
                "define one with symtheory.Exponential in the same file"
            )
        selected = [found]
    return sized, [derive(sized, item, seconds=seconds, seed=seed) for item in selected]
