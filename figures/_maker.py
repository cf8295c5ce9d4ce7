"""Make figures, some at a time: data from the cache or computed, picture, table, manifest."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import symtheory as st
from figures import _store, _style
from figures._registry import Entry
from figures._spec import Dataset, Numbers, Spec
from figures._stamp import stamp, versions
from proofs_check import side_by_side


@dataclasses.dataclass(frozen=True)
class Made:
    """A figure that is there.

    Attributes:
        id: Which figure.
        title: What it shows.
        caption: What to see in it.
        files: The pictures, PDF and PNG.
        numbers: The table beside it.
        seconds: Time that computing the data took, in the run that finished them.
        cached: Whether the data were there already.
        warnings: What was out of the ordinary.
    """

    id: str
    title: str
    caption: str
    files: tuple[pathlib.Path, ...]
    numbers: Numbers
    seconds: float
    cached: bool
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the figure with the keys that other programs read."""
        return {
            "id": self.id,
            "title": self.title,
            "status": str(self.numbers.status),
            "files": [str(path) for path in self.files],
            "seconds": round(self.seconds, 1),
            "cached": self.cached,
            **self.numbers.to_json(),
        }


def silent(text: str) -> None:
    """Report nothing."""


def dataset(
    entry: Entry, spec: Spec, cache: pathlib.Path, progress: Callable[[str], None] = silent
) -> tuple[Dataset, float, bool]:
    """Return the data of a figure, the seconds they took, and whether they were there already.

    Parts that are finished are kept while the rest is computed, so that an interrupted run loses
    no more than one part.
    """
    name = f"{entry.id}-{stamp(entry, spec)}"
    path, parts = cache / f"{name}.npz", cache / name
    known = _store.load(path)
    if known is not None:
        return known, float(known["seconds_total"]), True

    def keep(part: str, run: Callable[[], Dataset]) -> Dataset:
        safe = "".join(c if c.isalnum() else f"_{ord(c):x}_" for c in part)
        result = _store.kept(parts / f"{safe}.npz", run)
        progress(f"{entry.id}: {part} done")
        return result

    progress(f"{entry.id} ...")
    start = time.perf_counter()
    data = dict(entry.module.data(dataclasses.replace(spec, keep=keep)))
    data["seconds_total"] = np.asarray(time.perf_counter() - start)
    _store.save(data, path)
    shutil.rmtree(parts, ignore_errors=True)
    return data, float(data["seconds_total"]), False


def make_one(
    entry: Entry, spec: Spec, out: pathlib.Path, progress: Callable[[str], None] = silent
) -> Made:
    """Make one figure: PDF, PNG and manifest in `out`, the data in its cache."""
    import jax

    jax.config.update("jax_enable_x64", True)
    module = entry.module
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        data, seconds, cached = dataset(entry, spec, out / "cache", progress)
    numbers = module.numbers(data)
    files = _drawn(module, data, out, entry.id)
    _store.write_json(_manifest(entry, spec, data, numbers, seconds), out / f"{entry.id}.json")
    said = tuple(str(item.message) for item in caught)
    return Made(entry.id, module.TITLE, module.CAPTION, files, numbers, seconds, cached, said)


def _drawn(module: Any, data: Dataset, out: pathlib.Path, name: str) -> tuple[pathlib.Path, ...]:
    files = (out / f"{name}.pdf", out / f"{name}.png")
    with _style.applied():
        figure = module.draw(data)
        for path in files:
            # No date, so that the same data give the same file.
            plain = {"CreationDate": None} if path.suffix == ".pdf" else {}
            with _store.whole(path) as file:
                figure.savefig(file, format=path.suffix[1:], metadata=plain)
    return files


def _manifest(
    entry: Entry, spec: Spec, data: Dataset, numbers: Numbers, seconds: float
) -> dict[str, Any]:
    module = entry.module
    return {
        "figure": entry.id,
        "title": module.TITLE,
        "caption": module.CAPTION,
        "statements": list(module.STATEMENTS),
        "spec": {"seed": spec.seed, "fast": spec.fast},
        "stamp": stamp(entry, spec),
        "data": _store.digest(data),
        "versions": versions(),
        "commit": commit(),
        "seconds": round(seconds, 1),
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "status": str(numbers.status),
        **numbers.to_json(),
    }


def commit() -> str | None:
    """Return the commit of the repository this file is in, with a + if the code has changed."""

    def git(*words: str) -> str:
        words = ("git", "-C", str(pathlib.Path(__file__).parent.parent), *words)
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "figures/_maker.py")  # not somebody else's repository
        changed = git("status", "--porcelain", "figures", "symtheory")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def make(
    chosen: list[Entry],
    spec: Spec,
    out: pathlib.Path,
    *,
    jobs: int = 1,
    progress: Callable[[str], None] = silent,
) -> Iterator[Made]:
    """Make figures and yield each as it is there.

    Args:
        chosen: Which figures.
        spec: Seed and version.
        out: Folder of pictures, manifests and cache.
        jobs: How many are made at a time, each in a process of its own. Figures that measure time
            (`ALONE = True` in their file) are made one by one after the others.
        progress: Called with a line of text as work goes on; a function of a module.
    """
    _store.prepare(out)
    alone = [entry for entry in chosen if getattr(entry.module, "ALONE", False)]
    together = [entry for entry in chosen if entry not in alone]
    if jobs == 1 or len(together) < 2:
        alone, together = chosen, []
    if together:
        yield from side_by_side(
            make_one, [(entry, spec, out, progress) for entry in together], jobs
        )
    for entry in alone:
        yield make_one(entry, spec, out, progress)


def conclusion(made: list[Made]) -> st.Status:
    """Return whether everything that must hold in these figures does."""
    parts = [verdict for one in made for verdict in one.numbers.theory]
    return st.conjunction("the figures agree with theory", parts).status
