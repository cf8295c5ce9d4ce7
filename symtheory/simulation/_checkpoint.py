"""Checkpoints: a file per state, replaced as a whole, and the one before it."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import filelock
import jax
import numpy as np

from symtheory.errors import SymtheoryError
from symtheory.files import replacing
from symtheory.simulation._devices import from_first, together

NAME, PREVIOUS, DAMAGED = "state.npz", "state.previous.npz", "state.damaged.npz"
LOCK = "state.lock"


_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


class CheckpointError(SymtheoryError):
    """A checkpoint cannot be written, or belongs to another run."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A folder that holds the state of one run, identified by `spec`.

    A new state is written beside the old one, synced to disk and then renamed, so that at every
    moment one of the two files is whole. Each array is in NumPy's format and has a checksum. Only
    the first process of a run touches the folder; what it cannot do is raised in all of them.
    """

    folder: pathlib.Path
    spec: Mapping[str, str]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and keep it for this run, before anything is computed for it.

        Raises:
            CheckpointError: It cannot be written, or another run has it.
        """
        lock = filelock.FileLock(self.folder / LOCK, timeout=0, fallback_to_soft=False)
        with together():
            if jax.process_index() == 0:
                self._acquire(lock)
        try:
            yield
        finally:
            lock.release()  # as the system does for a process that is killed

    def _acquire(self, lock: filelock.BaseFileLock) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise CheckpointError(
                f"{str(self.folder)!r} is in use by another run; wait until it ends, or give "
                "another folder"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise self._unwritable(error) from error
            warnings.warn(
                f"{str(self.folder)!r} is on a file system without locks ({error.strerror}): see "
                "that no other run uses it",
                stacklevel=2,
            )
        else:
            for left in self.folder.glob(".state.*.partial.npz"):  # by a run that was killed
                left.unlink(missing_ok=True)

    def save(self, meta: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """Write a state; when that fails, the states before it are still there."""
        with together():
            if jax.process_index() == 0:
                self._write(meta, arrays)

    def _write(self, meta: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        state = self.folder / NAME
        text = json.dumps({"spec": dict(self.spec), "arrays": sorted(arrays), **meta})
        try:
            with replacing(state) as new:
                np.savez(new, meta=np.array(text), **arrays)
                _also_called(state, self.folder / PREVIOUS)
        except OSError as error:
            raise self._unwritable(error) from error

    def load(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """Return (meta, arrays) of the newest whole state, or None if there is none.

        Raises:
            CheckpointError: It is the state of another run, or no state in the folder is whole.
        """
        found, broken = None, None
        with together():
            if jax.process_index() == 0:
                found, broken = self._newest()
        found = from_first(found)
        if found is None:
            return None
        meta, arrays = found
        theirs = meta["spec"]
        different = [n for n in {**theirs, **self.spec} if theirs.get(n) != self.spec.get(n)]
        if different:
            name = different[0]
            raise CheckpointError(
                f"{str(self.folder)!r} holds the state of another run: {', '.join(different)} "
                f"differ ({name} is {theirs.get(name)} there and {self.spec.get(name)} here); "
                "give another folder, or remove this one"
            )
        with together():
            if broken is not None:  # else the next save would put it in place of the whole one
                try:
                    os.replace(broken, self.folder / DAMAGED)
                except OSError as error:
                    raise self._unwritable(error) from error
        return meta, arrays

    def _newest(self) -> tuple[Any, pathlib.Path | None]:
        """Return (meta, arrays) of the newest whole state, and the newer file that is not whole."""
        found = [path for name in (NAME, PREVIOUS) if (path := self.folder / name).exists()]
        for path in found:
            try:
                state = _parse(path)
            except (OSError, *_BROKEN) as error:
                what = "is damaged (cut short or changed)"
                if isinstance(error, OSError):
                    what = f"cannot be read: {error.strerror or error}"
                then = "no other is left" if path == found[-1] else "going back to the one before"
                warnings.warn(f"the checkpoint {str(path)!r} {what}; {then}", stacklevel=2)
            else:
                return state, None if path == found[0] else found[0]
        if found:
            raise CheckpointError(
                f"no checkpoint in {str(self.folder)!r} is whole; remove the folder to start anew"
            )
        return None, None

    def _unwritable(self, error: OSError) -> CheckpointError:
        return CheckpointError(
            f"the checkpoint in {str(self.folder)!r} cannot be written: "
            f"{error.strerror or error}; what was saved before is whole; make room or give another "
            "folder, and start again to go on from there"
        )


def _also_called(state: pathlib.Path, name: pathlib.Path) -> None:
    """Give a file a second name, so that the first is there until another takes its place."""
    if not state.exists():
        return
    try:
        with replacing(name) as new:
            os.link(state, new)
    except OSError:  # a file system without links: for a moment there is only the other name
        os.replace(state, name)


# What zipfile, numpy and json raise for files that were changed somewhere.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError, EOFError, RuntimeError,
    MemoryError, OverflowError, NotImplementedError,
)  # fmt: skip


def _parse(source: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return meta and arrays; the checksums of the archive are compared on the way.

    Its list of contents has no checksum: which arrays there must be is kept in meta.
    """
    with np.load(source, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays.pop("meta")))
    if sorted(arrays) != meta["arrays"]:
        raise ValueError(f"the arrays are {sorted(arrays)}, not {meta['arrays']}")
    return meta, arrays
