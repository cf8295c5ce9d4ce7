"""The statements: files of this folder, found by name."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import pathlib
import re
from collections.abc import Mapping
from types import ModuleType
from typing import TypeVar

from symtheory import InputError

_FILE = re.compile(r"(p1|p2|b)_(\d\d)_\w+$")
_ORDER = ("P1", "B", "P2")
Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True, order=True)
class Statement:
    """A file of this folder, by its place in the list; the module is loaded when asked for."""

    rank: tuple[int, int]
    id: str
    file: str

    @property
    def module(self) -> ModuleType:
        """The module with the four functions."""
        return importlib.import_module(f"proofs_check.{self.file}")


@functools.cache
def statements() -> tuple[Statement, ...]:
    """Return all statements in order: paper 1, what goes beyond it, paper 2.

    >>> statements()[0].id
    'P1.1'
    """
    found = []
    for path in pathlib.Path(__file__).parent.glob("*.py"):
        match = _FILE.match(path.stem)
        if match:
            paper, number = match[1].upper(), int(match[2])
            found.append(Statement((_ORDER.index(paper), number), f"{paper}.{number}", path.stem))
    return tuple(sorted(found))


def find(ids: list[str]) -> list[Statement]:
    """Return the statements of the given IDs, all of them for none.

    Raises:
        InputError: An ID is unknown; the message suggests the nearest.
    """
    return chosen(ids, {statement.id: statement for statement in statements()}, "statement")


def chosen(ids: list[str], known: Mapping[str, Item], kind: str) -> list[Item]:
    """Return what is known under the given IDs, all of it for none, in its order.

    Raises:
        InputError: An ID is unknown; the message suggests the nearest.
    """
    names = {text.upper(): text for text in ids}
    for name, text in names.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise InputError(f"there is no {kind} {text!r}; {hint}")
    return [item for name, item in known.items() if not names or name in names]
