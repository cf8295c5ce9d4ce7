"""Runs over several hosts: the process that computes, and one that says why it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import typer

from symtheory.commands._outputs import explain, internal_error, note

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

    _end_with(int(os.environ.pop(_MARK)))
    names = None if hosts == "auto" else [name for name in hosts.split(",") if name.strip()]
    connect(names, process, timeout=timeout)
    try:
        work()
    except (typer.Exit, SystemExit):  # all processes come to the end together
        raise
    except BaseException as error:
        code = explain(error)
        if code is None:
            code = internal_error(error, sys.argv[1:])
        sys.stdout.flush()
        sys.stderr.flush()
        # At once: JAX would wait for the others, and they for this one.
        os._exit(_LOST if isinstance(error, LostProcess) else code)


def _end_with(watcher: int) -> None:
    """End this process when the one that watches it is gone; there is nobody else to stop it."""

    def look() -> None:
        while os.getppid() == watcher:
            time.sleep(1)
        os._exit(_LOST)

    if os.name != "nt":  # there the parent stays the same
        threading.Thread(target=look, daemon=True).start()


def _watched() -> int:
    command = [sys.executable, "-m", "symtheory", *sys.argv[1:]]
    child = subprocess.Popen(command, env=os.environ | {_MARK: str(os.getpid())})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the child as well
    asked: list[int] = []

    def forward(number: int, frame: Any) -> None:
        asked.append(number)
        child.terminate()

    signal.signal(signal.SIGTERM, forward)
    code = child.wait()
    if code >= 0:
        return code
    if asked:  # before it could save anything
        note("ended as asked (SIGTERM)")
        return 128 + signal.SIGTERM
    name = signal.Signals(-code).name
    note(
        f"this process was ended ({name}): another process of the run died or never came (see "
        "above); start all again with the same command: a run with --checkpoint goes on from there"
    )
    return _LOST
