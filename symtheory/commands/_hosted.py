"""Runs over several hosts: the process that computes, and one that says why it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from symtheory.commands._outputs import note

_MARK = "SYMTHEORY_HOSTED"
_LOST = 3


def hosted(hosts: str, process: int | None, timeout: float, work: Callable[[], None]) -> None:
    """Join the other hosts and do the work, in a process of its own.

    JAX's runtime aborts a process whose coordinator is gone; only another process can then say
    what happened and what to do.
    """
    if _MARK not in os.environ:
        sys.exit(_watched())
    from symtheory.simulation import LostProcess, connect

    names = None if hosts == "auto" else [name for name in hosts.split(",") if name.strip()]
    connect(names, process, timeout=timeout)
    try:
        work()
    except (LostProcess, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        note("interrupted" if interrupted else str(error))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130 if interrupted else _LOST)  # JAX would wait for the others to shut down


def _watched() -> int:
    command = [sys.executable, "-m", "symtheory", *sys.argv[1:]]
    child = subprocess.Popen(command, env=os.environ | {_MARK: "1"})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the child as well
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    code = child.wait()
    if code >= 0:
        return code
    name = signal.Signals(-code).name
    note(
        f"this process was ended ({name}): another process of the run died or never came (see "
        "above); start all again with the same command: a run with --checkpoint goes on from there"
    )
    return _LOST
