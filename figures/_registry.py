"""The figures: files of this folder, found by name."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import pathlib
import re
from collections.abc import Iterator
from types import ModuleType

from proofs_check import chosen
from symtheory import InputError

_FILE = re.compile(r"([fe])(\d)_\w+$")
_ORDER = ("F", "E")  # paper 1, paper 2


@dataclasses.dataclass(frozen=True, order=True)
class Entry:
    """A file of this folder, by its place in the list; the module is loaded when asked for."""

    rank: tuple[int, int]
    id: str
    path: pathlib.Path

    @property
    def module(self) -> ModuleType:
        """The module with the three functions.

        Raises:
            InputError: It needs a package that is not installed.
        """
        with self.needing_packages():
            return importlib.import_module(f"figures.{self.path.stem}")

    @contextlib.contextmanager
    def needing_packages(self) -> Iterator[None]:
        """Name a package that is missing, and the command that installs it."""
        try:
            yield
        except ModuleNotFoundError as error:
            missing = (error.name or "").split(".")[0]
            if missing in ("figures", "symtheory"):
                raise
            raise InputError(
                f"figure {self.id} needs the package {missing!r}, which is not installed; run: "
                "pip install 'symtheory[figures]'"
            ) from error


@functools.cache
def entries() -> tuple[Entry, ...]:
    """Return all figures in order: those of paper 1, those of paper 2."""
    found = []
    for path in pathlib.Path(__file__).parent.glob("*.py"):
        match = _FILE.match(path.stem)
        if match:
            letter, number = match[1].upper(), int(match[2])
            found.append(Entry((_ORDER.index(letter), number), f"{letter}{number}", path))
    return tuple(sorted(found))


def find(ids: list[str]) -> list[Entry]:
    """Return the figures of the given IDs, all of them for none.

    Raises:
        InputError: An ID is unknown; the message suggests the nearest.
    """
    return chosen(ids, {entry.id: entry for entry in entries()}, "figure")
