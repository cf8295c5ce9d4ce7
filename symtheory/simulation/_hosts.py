"""Joining the processes of several hosts into one run, by JAX's own runtime."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from symtheory.errors import InputError
from symtheory.simulation._devices import require_same_run
from symtheory.simulation._fingerprint import versions

PORT = 43271
_SILENCE = 30


def connect(
    hosts: Sequence[str] | None = None, process: int | None = None, *, timeout: float = 120.0
) -> None:
    """Join this process to the others of a run; call it first in every one of them.

    Afterwards `jax.devices()` are those of all processes, `simulate` deals the replicas to them,
    and every process gets the same results. A process that ends is noticed by the others after the
    chunk at hand (about a second), one that falls silent after 30 seconds. From now on an exception
    that is not caught ends the process at once, without what is registered with `atexit`: on its
    way out JAX would wait for the others, and they for this one. SIGTERM does what Ctrl-C does: a
    run under way stops in all processes at the same step, saved if it has a checkpoint.

    Args:
        hosts: One address for each process, as "name" or "name:port"; the first one coordinates.
            None under Slurm, Open MPI or Kubernetes, which JAX recognizes by itself.
        process: Which of them this one is, counted from 0; by default the one whose address is
            this machine's.
        timeout: Seconds to wait for the others.

    Raises:
        InputError: The others did not come in time, JAX is in use already, versions differ, or it
            is not clear which of the hosts this one is.
    """
    given: dict[str, Any] = {}
    first = "the coordinator that the cluster names"
    if hosts is not None:
        if not hosts or any(not host.strip() for host in hosts):
            raise InputError(f"hosts must be addresses such as node1,node2, got {list(hosts)!r}")
        index = _index([_parse(host)[0] for host in hosts]) if process is None else process
        if not 0 <= index < len(hosts):
            raise InputError(f"process is {index}, but there are {len(hosts)} hosts: count from 0")
        name, port = _parse(hosts[0])
        first = f"{name}:{port}"
        began = time.monotonic()
        if index:
            _await(name, port, timeout)
        timeout = max(1.0, timeout - (time.monotonic() - began))
        given = {
            "coordinator_address": first,
            "num_processes": len(hosts),
            "process_id": index,
            "cluster_detection_method": "deactivate",
        }
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=round(timeout),
            heartbeat_timeout_seconds=_SILENCE,
            shutdown_timeout_seconds=2 * _SILENCE,
        )
    except ValueError as error:
        raise InputError(
            f"no cluster was recognized ({error}); give hosts, one address for each process"
        ) from error
    except RuntimeError as error:
        if "before any JAX" in str(error) or "only be called once" in str(error):
            raise InputError("hosts must be joined once, before JAX is used otherwise") from error
        raise InputError(
            f"not all processes came to {first} within {timeout:.0f} s: start the same command on "
            "every host, and see that this address can be reached from all of them"
        ) from error
    _end_when_asked()
    with _nothing_on_stdout():
        require_same_run(versions())
    _end_at_once_on_errors()


def _end_when_asked() -> None:
    """Let SIGTERM do what Ctrl-C does; JAX would only note that it came."""
    if threading.current_thread() is not threading.main_thread():
        return

    def end(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a group of processes may hear it twice
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, end)


def _end_at_once_on_errors() -> None:
    """Let an error that nobody catches end this process without a wait for the others.

    JAX waits for them on the way out, and they for this one in their next exchange.
    """
    before = sys.excepthook

    def hook(*error: Any) -> None:
        before(*error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130 if issubclass(error[0], KeyboardInterrupt) else 1)

    sys.excepthook = hook


def _parse(host: str) -> tuple[str, int]:
    name, colon, port = host.strip().rpartition(":")
    if not colon:
        return host.strip(), PORT
    if not port.isdigit() or not name:
        raise InputError(f"a host is given as name or name:port, got {host!r}")
    return name, int(port)


def _index(names: list[str]) -> int:
    mine = [i for i, name in enumerate(names) if _is_here(name)]
    if len(mine) != 1:
        text = "several of them are" if mine else "none of them is"
        raise InputError(
            f"hosts are {', '.join(names)}, and {text} this machine ({socket.gethostname()}); "
            "say which one with --process, counted from 0"
        )
    return mine[0]


def _is_here(name: str) -> bool:
    """Tell whether an address is one of this machine's: only then a socket can be bound to it."""
    try:
        found = socket.getaddrinfo(name, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    for family, kind, protocol, _, address in found:
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as trial:
            trial.bind(address)
            return True
    return False


def _await(name: str, port: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            with socket.create_connection((name, port), max(0.1, min(5, timeout))):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise InputError(
                    f"the coordinator {name}:{port} could not be reached for {timeout:.0f} s "
                    f"({error.strerror or error}); see that process 0 runs there and that no "
                    "firewall is between"
                ) from error
        time.sleep(0.2)


@contextlib.contextmanager
def _nothing_on_stdout() -> Iterator[None]:
    """Send what libraries print to standard output to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
