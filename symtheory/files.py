"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yield a path beside `path`; what is written there takes its place when the block ends.

    The new file is synced to disk before it is renamed, so that after a kill or a loss of power
    there is the old one or the new one, also where two processes write it at a time. When the block
    fails, the old one stays and the new one is removed; a kill leaves it, under a hidden name.

    Args:
        path: The file to write; its folder must exist.

    Raises:
        OSError: It cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = pathlib.Path(folder) / "a.txt"
    ...     with replacing(target) as new:
    ...         _ = new.write_text("whole")
    ...     target.read_text(), [p.name for p in target.parent.iterdir()]
    ('whole', ['a.txt'])
    """
    path = pathlib.Path(path)
    # The suffix stays: some writers go by it. Nobody else has the name, on whatever host.
    new = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.partial{path.suffix}")
    try:
        yield new
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(new, path)
        _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def _sync_folder(folder: pathlib.Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
