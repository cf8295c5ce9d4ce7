"""Processes of one run, on this machine."""

import os
import socket
import subprocess
import sys

COMMAND = [sys.executable, "-m", "symtheory", "simulate", "scalar-factor"]


def port():
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def start(*options, **environment):
    environment = os.environ | {"JAX_PLATFORMS": "cpu"} | environment
    return subprocess.Popen(
        [*COMMAND, *map(str, options)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def pair(options, others=None):
    """Start both processes of a run, the second one with other options if any are given."""
    hosts = loopback()
    return [
        start(*given, "--hosts", hosts, "--process", i, "--host-timeout", 60)
        for i, given in enumerate((options, others or options))
    ]


def finish(process, timeout=150):
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, errors


def python(code, *arguments, **environment):
    """Start a process that runs code."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def loopback():
    """Return the addresses of two processes, as --hosts takes them."""
    number = port()
    return f"127.0.0.1:{number},127.0.0.1:{number}"
