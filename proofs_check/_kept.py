"""What a run leaves on disk, so that a killed one goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import tempfile
from typing import Any

import symtheory as st
from proofs_check._outcome import Outcome, Spec
from proofs_check._registry import Statement


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one statement's results are kept: its outcome, before that its finished stages.

    Attributes:
        folder: A folder that can be written.
        id: Which statement.
        stamp: What the results depend on; those of another stamp are as good as not there.
    """

    folder: pathlib.Path
    id: str
    stamp: str

    def outcome(self) -> Outcome | None:
        """Return the outcome of an earlier run."""
        fields = self._read("json")
        return None if fields is None else Outcome(**{**fields, "resumed": True})

    def keep_outcome(self, outcome: Outcome) -> None:
        """Write the outcome; its stages are not needed any more."""
        self._write("json", dataclasses.asdict(outcome))
        self.forget_stages()

    def stages(self) -> dict[str, Any]:
        """Return what an earlier run has finished of this statement."""
        return self._read("part") or {}

    def keep_stages(self, stages: dict[str, Any]) -> None:
        """Write what is finished so far."""
        self._write("part", stages)

    def forget_stages(self) -> None:
        """Remove the finished stages."""
        self._path("part").unlink(missing_ok=True)

    def _path(self, kind: str) -> pathlib.Path:
        return self.folder / f"{self.id}.{kind}"

    def _read(self, kind: str) -> dict[str, Any] | None:
        try:
            found = json.loads(self._path(kind).read_text())
        except (OSError, ValueError):
            return None
        fits = isinstance(found, dict) and found.get("stamp") == self.stamp
        return found["data"] if fits else None

    def _write(self, kind: str, data: dict[str, Any]) -> None:
        """Write a file whole or not at all; what a kill leaves of it is written over."""
        path = self._path(kind)
        with open(f"{path}.new", "w") as file:
            json.dump({"stamp": self.stamp, "data": data}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)


def prepare(folder: pathlib.Path, option: str = "--results") -> None:
    """Make the folder, or say that it cannot be written, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise st.InputError(
            f"the folder {str(folder)!r} cannot be written: {reason}; give another with {option}"
        ) from error


def place(folder: pathlib.Path, statement: Statement, spec: Spec) -> Place:
    """Return where a statement is kept, stamped with its spec and the code it runs."""
    digest = hashlib.sha256()
    roots = (pathlib.Path(st.__file__).parent, pathlib.Path(__file__).parent)
    own = roots[1] / f"{statement.file}.py"
    for path in sorted({*roots[0].rglob("*.py"), *roots[1].glob("_*.py"), own}):
        digest.update(path.read_bytes())
    digest.update(repr(spec).encode())
    return Place(folder, statement.id, digest.hexdigest())
