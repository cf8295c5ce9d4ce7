"""The command `symtheory derive`."""

from __future__ import annotations

from typing import Annotated

import typer

from symtheory.commands._inputs import bind, double_precision, load, shapes_text
from symtheory.commands._options import Json, ModelName, Seed, Sizes, Symmetry, Values
from symtheory.commands._outputs import finish


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

    Covariances and constants stay symbolic unless given with --value. Without --symmetry all known
    symmetries of the model are derived.
    """
    double_precision()
    from symtheory import report
    from symtheory.errors import InputError
    from symtheory.symmetry import discover
    from symtheory.theory import derive
    from symtheory.verdict import conjunction

    source = load(model)
    sized, bound = bind(source, size, value, symbolic=True)
    selected = source.select(symmetry, sized)
    if not selected:
        found = discover(bound, seed=seed).family()
        if found is None:
            raise InputError(
                f"{source.name} defines no symmetry and no symmetric linear generator was found; "
                "define one with symtheory.Exponential in the same file"
            )
        selected = [found]
    laws = [derive(sized, item, seconds=seconds, seed=seed) for item in selected]
    verdict = conjunction("all laws", [law.verdict for law in laws])
    lines = [f"[bold]Model[/]     {sized.name}: {shapes_text(sized)}"]
    for law in laws:
        lines += ["", *report.law_lines(law, latex=latex)]
    data = {"model": source.name, "laws": [report.law_data(law) for law in laws]}
    finish(as_json, "derive", {**data, "status": str(verdict.status)}, lines, str(verdict.status))
