"""Files: datasets and manifests on disk, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from figures._spec import Dataset


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only once it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.chmod(file.name, 0o644)  # a temporary file is the owner's alone
    os.replace(file.name, path)


_NAMES = "names of all arrays"


def save(dataset: Dataset, path: pathlib.Path) -> None:
    """Write a dataset as a NumPy archive, with a list of what is in it."""
    arrays: Any = {name: np.asarray(value) for name, value in dataset.items()}
    with whole(path) as file:
        np.savez_compressed(file, **{_NAMES: np.array(sorted(arrays))}, **arrays)


def load(path: pathlib.Path) -> Dataset | None:
    """Return a dataset; None if there is none, or if it is damaged, with a warning."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        if sorted(found) == sorted([_NAMES, *found[_NAMES].tolist()]):
            return {name: value for name, value in found.items() if name != _NAMES}
    except FileNotFoundError:
        return None
    except Exception:
        # Whatever a damaged archive makes the reader raise, the answer is the same.
        pass
    warnings.warn(f"{path} is damaged and will be computed again", stacklevel=2)
    return None


def kept(path: pathlib.Path, run: Callable[[], Dataset]) -> Dataset:
    """Return a dataset from disk, or compute and write it."""
    known = load(path)
    if known is None:
        known = {name: np.asarray(value) for name, value in run().items()}
        save(known, path)
    return known


def digest(dataset: Dataset) -> str:
    """Return a hash of the data; times of the clock do not count."""
    out = hashlib.sha256()
    for name in sorted(dataset):
        if not name.startswith("seconds"):
            value = np.ascontiguousarray(dataset[name])
            out.update(f"{name} {value.dtype.str} {value.shape} ".encode())
            out.update(value.tobytes())
    return out.hexdigest()


def write_json(data: Any, path: pathlib.Path) -> None:
    """Write JSON, whole or not at all."""
    with whole(path) as file:
        file.write((json.dumps(data, indent=1) + "\n").encode())
