"""What commands print: progress and notes to stderr, one result to stdout, an exit code."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from symtheory.verdict import Status

INTERNAL = 70
"""Exit code of an internal error (EX_SOFTWARE of sysexits.h)."""


def plain(text: str) -> str:
    """Return a text in which brackets are brackets, not styles."""
    return text.replace("[", "\\[")


@functools.cache
def _styles() -> dict[str, str]:
    from symtheory.verdict import Status  # not at import: --help loads nothing heavy

    return dict(zip(Status, ("bold green", "green", "bold red", "yellow", "dim"), strict=True))


def marked(status: str, text: str = "") -> str:
    """Return a status, or a text that stands for it, in its colour."""
    return f"[{_styles().get(status, 'yellow')}]{text or status}[/]"


def _exit_code(status: Status) -> int:
    from symtheory.verdict import Status

    return {Status.REFUTED: 1, Status.INCONCLUSIVE: 3}.get(status, 0)


def stop_quietly() -> NoReturn:
    """Leave when whoever reads the output has seen enough; nothing was refuted."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def note(text: str) -> None:
    """Print one line to stderr."""
    print(f"symtheory: {text}", file=sys.stderr)


def explain(error: BaseException) -> int | None:
    """Print what a user can do about an error; return the exit code, None for a bug of ours."""
    from symtheory.errors import SymtheoryError

    if isinstance(error, KeyboardInterrupt):
        note("interrupted")
        return 130
    if isinstance(error, SymtheoryError):
        note(str(error))
        return 2
    if isinstance(error, OSError):
        where = f" {str(error.filename)!r}" if error.filename else ""
        note(f"cannot use{where}: {error.strerror or error}; give another path")
        return 2
    return None


def internal_error(error: BaseException, arguments: Sequence[str]) -> int:
    """Say that an error is a bug of symtheory and no answer, with what a report needs; return 70.

    Args:
        error: What was raised.
        arguments: The command line, where `--json` asks for an object.
    """
    from symtheory import __version__

    where = traceback.extract_tb(error.__traceback__)
    place = f"{os.path.basename(where[-1].filename)}:{where[-1].lineno}" if where else "unknown"
    cause = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if "--json" in arguments:
        head = {"schema_version": 1, "version": __version__, "exit_code": INTERNAL}
        print(json.dumps({**head, "error": {"kind": "internal", "message": cause, "at": place}}))
    traceback.print_exception(error)
    note(
        f"internal error ({cause}, at {place}): this is a bug of symtheory {__version__}, and no "
        "answer; please report it where you have symtheory from, with the traceback above and the "
        f"command: symtheory {' '.join(arguments)}"
    )
    return INTERNAL


@contextlib.contextmanager
def reporting(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows progress on stderr, a line per stage where it is no terminal."""
    if quiet or not sys.stderr.isatty():
        seen: set[str] = set()

        def line(stage: str, done: int, total: int) -> None:
            if stage not in seen and not quiet:
                seen.add(stage)
                note(f"{stage} ...")

        yield line
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total or None)
            bar.update(tasks[stage], completed=done, total=total or None)

        yield show


def finish(
    as_json: bool, command: str, data: dict[str, Any], lines: list[str], status: Status | None
) -> NoReturn:
    """Print the result to stdout and leave with the exit code of its status.

    Args:
        as_json: Print an object instead of the lines.
        command: Which command ran.
        data: The result as JSON-ready data.
        lines: The result as marked-up text.
        status: What became of the command's claim, None for a command that claims nothing.
    """
    if as_json:
        from symtheory import __version__
        from symtheory.verdict import jsonable

        head = {"schema_version": 1, "command": command, "version": __version__}
        print(json.dumps({**head, **jsonable(data)}))
    else:
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        console.on_broken_pipe = stop_quietly
        for line in lines:
            console.print(line)
    raise typer.Exit(0 if status is None else _exit_code(status))
