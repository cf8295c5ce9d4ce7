"""The command `symtheory cite`."""

from __future__ import annotations

from typing import Annotated

import typer

from symtheory.commands._inputs import load
from symtheory.commands._options import Json
from symtheory.commands._outputs import finish


def command(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None, as_json: Json = False
) -> None:
    """Print BibTeX of the papers behind the package, or behind one model."""
    from symtheory.references import cite

    keys = None
    if model is not None:
        example = load(model).example
        keys = [*(example.references if example else ("ziyin2024noise",)), "symtheory"]
    lines = cite(keys).replace("[", "\\[").splitlines()
    finish(as_json, "cite", {"bibtex": cite(keys)}, lines, None)
