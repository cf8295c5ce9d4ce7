"""The command line: what all commands share, and how they end."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from symtheory.commands import COMMANDS
from symtheory.commands._outputs import explain, internal_error, stop_quietly

app = typer.Typer(
    name="symtheory",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Derive, prove and simulate what parameter symmetries and SGD noise do to a loss.\n\n"
    "MODEL is a name from `symtheory models` or path/to/file.py:name.\n\n"
    "Exit codes: 0 everything holds, 1 something is refuted, 2 usage, 3 inconclusive, "
    "70 internal error, 130 interrupted.",
    epilog="Examples:  symtheory run   |   symtheory run my_model.py:model --size h=3   |   "
    "symtheory derive scalar-factor --json",
)


def _print_version(value: bool) -> None:
    if value:
        from symtheory import __version__

        print(f"symtheory {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    pass


for _name in COMMANDS:
    app.command(name=_name)(importlib.import_module(f"symtheory.commands._{_name}").command)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        app()
    except BrokenPipeError:
        stop_quietly()
    except (Exception, KeyboardInterrupt) as error:
        code = explain(error)
        sys.exit(internal_error(error, sys.argv[1:]) if code is None else code)
