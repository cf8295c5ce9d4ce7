"""Make figures, some at a time: data from the cache or computed, picture, table, manifest."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import shutil
import subprocess
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from figures import _store, _style
from figures._made import Made
from figures._registry import Entry
from figures._spec import Dataset, Numbers, Spec
from figures._stamp import stamp, versions
from proofs_check import prepare, side_by_side

# What is kept with the arrays about them.
_ABOUT = ("seconds that it took", "commit of the code")


def silent(text: str) -> None:
    """Report nothing."""


@dataclasses.dataclass(frozen=True)
class Computed:
    """Data of a figure: the arrays, the seconds and the code that computed them."""

    data: Dataset
    seconds: float
    commit: str
    cached: bool


def dataset(
    entry: Entry, spec: Spec, cache: pathlib.Path, progress: Callable[[str], None] = silent
) -> Computed:
    """Return the data of a figure, computed or from the cache.

    Parts that are finished are kept while the rest is computed, so that an interrupted run loses
    no more than one part.
    """
    now = stamp(entry, spec)
    path, parts = cache / f"{entry.id}-{now}.npz", cache / f"{entry.id}-{now}"
    known = _store.load(path)
    if known is not None:
        data = {name: value for name, value in known.items() if name not in _ABOUT}
        seconds, code = (known[name].item() for name in _ABOUT)
        return Computed(data, seconds, code, True)

    def keep(part: str, run: Callable[[], Dataset]) -> Dataset:
        safe = "".join(c if c.isalnum() else f"_{ord(c):x}_" for c in part)
        result = _store.kept(parts / f"{safe}.npz", run)
        progress(f"{entry.id}: {part} done")
        return result

    progress(f"{entry.id} ...")
    start, code = time.perf_counter(), commit() or ""
    with entry.needing_packages():
        found = entry.module.data(dataclasses.replace(spec, keep=keep))
    data = {name: np.asarray(value) for name, value in found.items()}
    seconds = time.perf_counter() - start
    if stamp(entry, spec) == now:
        about = dict(zip(_ABOUT, (np.asarray(seconds), np.asarray(code)), strict=True))
        _store.save({**data, **about}, path)
        shutil.rmtree(parts, ignore_errors=True)
    else:
        warnings.warn(f"the code changed while {entry.id} was made; not kept", stacklevel=2)
    return Computed(data, seconds, code, False)


def make_one(
    entry: Entry, spec: Spec, out: pathlib.Path, progress: Callable[[str], None] = silent
) -> Made:
    """Make one figure: PDF, PNG and manifest in `out`, the data in its cache.

    What goes wrong with one figure is said in `problem`, with a traceback in a file beside the
    others, and does not stop the rest.
    """
    import jax

    jax.config.update("jax_enable_x64", True)
    module = entry.module
    trouble = out / f"{entry.id}.error.txt"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            made = dataset(entry, spec, out / "cache", progress)
            numbers = module.numbers(made.data)
            files = _drawn(module, made.data, out, entry.id)
        except Exception as error:
            with _store.whole(trouble) as file:
                file.write(traceback.format_exc().encode())
            problem = f"{type(error).__name__}: {error} (more in {trouble})"
            return Made(
                entry.id, module.TITLE, module.CAPTION, (), Numbers(), 0.0, False, spec,
                problem=problem,
            )  # fmt: skip
    trouble.unlink(missing_ok=True)
    _store.write_json(_manifest(entry, spec, made, numbers), out / f"{entry.id}.json")
    return Made(
        entry.id, module.TITLE, module.CAPTION, files, numbers, made.seconds, made.cached, spec,
        tuple(str(item.message) for item in caught),
    )  # fmt: skip


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


def _manifest(entry: Entry, spec: Spec, made: Computed, numbers: Numbers) -> dict[str, Any]:
    module = entry.module
    return {
        "figure": entry.id,
        "title": module.TITLE,
        "caption": module.CAPTION,
        "statements": list(module.STATEMENTS),
        "spec": {"seed": spec.seed, "fast": spec.fast},
        "stamp": stamp(entry, spec),
        "data": _store.digest(made.data),
        "versions": versions(),
        "commit": made.commit or None,
        "seconds": round(made.seconds, 1),
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
    for folder in (out, out / "cache"):
        prepare(folder, "--out")
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
