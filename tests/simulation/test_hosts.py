"""Two processes over loopback, joined by JAX's own runtime."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

COMMAND = [sys.executable, "-m", "symtheory", "simulate", "scalar-factor"]
HURRY = 60  # seconds within which the other process must have ended


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


def pair(options, number=None, others=None):
    number = number or port()
    hosts = f"127.0.0.1:{number},127.0.0.1:{number}"
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


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(tmp_path):
    options = ["--steps", 600, "--replicas", 200, "--record-every", 10, "--json"]
    together = pair([*options, "--out", tmp_path / "two.npz"])
    ends = [finish(p) for p in together]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert json.loads(ends[0][1])["file"].endswith("two.npz") and ends[1][1] == ""
    code, _, errors = finish(start(*options, "--out", tmp_path / "one.npz"))
    assert code == 0, errors
    one, two = np.load(tmp_path / "one.npz"), np.load(tmp_path / "two.npz")
    assert set(one) == set(two) and len(one) > 4
    for name in set(one) - {"settings"}:
        assert np.array_equal(one[name], two[name]), name


def workers(process):
    """The computing processes that a command started."""
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    return [int(pid) for pid in open(path).read().split()]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_one_process_dies(tmp_path, victim):
    folder = tmp_path / "state"
    options = ["--steps", 400_000, "--replicas", 300, "--checkpoint", folder, "--record-every"]
    options += [2000, "--json", "--out", tmp_path / "two.npz"]
    together = pair(options)
    deadline = time.monotonic() + 120
    while not (folder / "state.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    [pid] = workers(together[victim])
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    code, _, errors = finish(together[1 - victim], HURRY)
    print(f"\nprocess {victim} killed, the other ended after {time.monotonic() - began:.1f} s")
    assert code == 3
    assert re.search(r"(lost another one|died or never came).*start all again", errors), errors
    assert finish(together[victim])[0] == 3
    ends = [finish(p) for p in pair(options)]
    assert [code for code, _, _ in ends] == [0, 0], ends
    one = start(*options[:4], "--record-every", 2000, "--json", "--out", tmp_path / "one.npz")
    assert finish(one)[0] == 0
    one, two = np.load(tmp_path / "one.npz"), np.load(tmp_path / "two.npz")
    for name in set(one) - {"settings"}:
        assert np.array_equal(one[name], two[name]), name


@pytest.mark.slow
def test_different_runs_are_refused(tmp_path):
    common = ["--replicas", 8, "--json", "--out", tmp_path / "x.npz", "--steps"]
    ends = [finish(p) for p in pair([*common, 100], others=[*common, 101])]
    for code, _, errors in ends:
        assert code == 2
        assert "processes 0 and 1 were started with different runs: steps differ" in errors
        assert "(steps is 100 and 101)" in errors


def test_an_unreachable_coordinator():
    number = port()
    hosts = f"127.0.0.1:{number},127.0.0.1:{number}"
    process = start("--hosts", hosts, "--process", 1, "--host-timeout", 1)
    code, _, errors = finish(process)
    assert code == 2
    assert f"the coordinator 127.0.0.1:{number} could not be reached for 1 s" in errors


@pytest.mark.slow
def test_the_others_never_come():
    number = port()
    hosts = f"127.0.0.1:{number},127.0.0.1:{number}"
    code, _, errors = finish(start("--hosts", hosts, "--process", 0, "--host-timeout", 3))
    assert code == 3 and "another process of the run died or never came" in errors


@pytest.mark.parametrize(
    ("hosts", "process", "text"),
    [
        (["127.0.0.1", "127.0.0.1"], None, "several of them are this machine"),
        (["host.invalid", "other.invalid"], None, "none of them is this machine"),
        (["127.0.0.1"], 1, "process is 1, but there are 1 hosts"),
        (["a:b:c"], 0, "name or name:port, got 'a:b:c'"),
        ([], None, "hosts must be addresses"),
    ],
)
def test_bad_hosts(hosts, process, text):
    from symtheory.errors import InputError
    from symtheory.simulation import connect

    with pytest.raises(InputError, match=text):
        connect(hosts, process, timeout=1)


def test_joining_too_late():
    code = (
        "import jax; jax.devices()\n"
        "from symtheory.simulation import connect\n"
        f"connect(['127.0.0.1:{port()}'], 0, timeout=5)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "hosts must be joined once, before JAX is used otherwise" in done.stderr
