"""The command `symtheory models`."""

from __future__ import annotations

from symtheory.commands._options import Json
from symtheory.commands._outputs import finish


def command(as_json: Json = False) -> None:
    """List the models of the zoo."""
    from symtheory import zoo

    examples = [zoo.load(name) for name in zoo.names()]
    rows = [
        {
            "name": e.name,
            "summary": e.summary,
            "symmetries": list(e.symmetries),
            "sizes": dict(e.sizes),
        }
        for e in examples
    ]
    width = max(len(e.name) for e in examples)
    finish(as_json, "models", {"models": rows}, [
        f"[bold]{e.name:<{width}}[/]  {e.summary}" for e in examples
    ], None)  # fmt: skip
