"""What the others do when one process of a run dies, fails, falls silent or is interrupted."""

import os
import re
import signal
import sys
import time

import numpy as np
import pytest

from tests.simulation.launch import finish, loopback, pair, python, start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]
HURRY = 60  # seconds within which the other process must have ended


def workers(process):
    """The computing processes that a command started."""
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    return [int(pid) for pid in open(path).read().split()]


class Running:
    """Two processes that have saved their first state."""

    def __init__(self, folder):
        self.state = folder / "state"
        common = ["--steps", 200_000, "--replicas", 300, "--record-every", 2000, "--json"]
        self.one = [*common, "--out", folder / "one.npz"]
        self.two = [*common, "--out", folder / "two.npz", "--checkpoint", self.state]
        self.processes = pair(self.two)
        deadline = time.monotonic() + 120
        while not (self.state / "state.npz").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.workers = [workers(process)[0] for process in self.processes]

    def resumed_is_whole(self):
        """Started again it ends as a run of one process that was never cut."""
        ends = [finish(p) for p in pair(self.two)]
        assert [code for code, _, _ in ends] == [0, 0], ends
        assert finish(start(*self.one))[0] == 0
        one, two = np.load(self.one[-1]), np.load(self.two[-3])
        assert len(one) > 4
        for name in set(one) - {"settings"}:
            assert np.array_equal(one[name], two[name]), name


@pytest.fixture
def running(tmp_path):
    run = Running(tmp_path)
    yield run
    for process in run.processes:
        process.kill()


@pytest.mark.parametrize("victim", [0, 1])
def test_one_dies(running, victim):
    os.kill(running.workers[victim], signal.SIGKILL)
    began = time.monotonic()
    code, _, errors = finish(running.processes[1 - victim], HURRY)
    print(f"\nprocess {victim} killed, the other ended after {time.monotonic() - began:.1f} s")
    assert code == 3
    assert re.search(r"(lost another one|died or never came).*start all again", errors), errors
    assert finish(running.processes[victim])[0] == 3
    if victim == 0:
        running.resumed_is_whole()


def test_one_falls_silent(running):
    os.kill(running.workers[1], signal.SIGSTOP)
    began = time.monotonic()
    try:
        code, _, errors = finish(running.processes[0], 2 * HURRY)
    finally:
        os.kill(running.workers[1], signal.SIGKILL)
    print(f"\nprocess 1 stopped, the other ended after {time.monotonic() - began:.1f} s")
    assert code == 3 and re.search(r"(lost another one|died or never came)", errors), errors
    assert finish(running.processes[1])[0] == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_is_interrupted(running, number):
    """Ctrl-C reaches the worker; SIGTERM the process that was started, and often its group."""
    asked = time.time()
    if number == signal.SIGTERM:
        os.kill(running.processes[1].pid, number)
    os.kill(running.workers[1], number)
    began = time.monotonic()
    ends = [finish(p, HURRY) for p in running.processes]
    print(f"\n{number.name} to process 1, both ended after {time.monotonic() - began:.1f} s")
    assert [code for code, _, _ in ends] == [130, 130], ends
    assert all("symtheory: interrupted" in errors for _, _, errors in ends), ends
    assert (running.state / "state.npz").stat().st_mtime > asked


def test_nobody_watches_a_process_any_more(running):
    running.processes[0].kill()
    began = time.monotonic()
    code, _, errors = finish(running.processes[1], HURRY)
    assert code == 3, errors
    while os.path.exists(f"/proc/{running.workers[0]}") and time.monotonic() < began + HURRY:
        time.sleep(0.1)
    print(f"\nwatcher killed, all ended after {time.monotonic() - began:.1f} s")
    assert not os.path.exists(f"/proc/{running.workers[0]}")


def test_what_one_cannot_do_ends_all(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    began = time.monotonic()
    ends = [finish(p, HURRY) for p in pair(["--steps", 10, "--checkpoint", blocked / "state"])]
    print(f"\nboth ended after {time.monotonic() - began:.1f} s, start included")
    assert [code for code, _, _ in ends] == [2, 3], ends
    assert "state' cannot be written: Not a directory" in ends[0][2]
    assert "process 0 of 2 stopped: CheckpointError: the checkpoint in" in ends[1][2]


UNEVEN = """
import sys
import jax
from symtheory.model import Model
from symtheory.simulation import SGD, connect, simulate
hosts, process = sys.argv[1], int(sys.argv[2])
connect(hosts.split(","), process, timeout=60)
if process:
    raise ValueError("only here")
simulate(Model(lambda p, z: p**2, params=()), SGD(0.1), params=1.0, steps=10, key=jax.random.key(0))
"""


def test_an_error_in_the_script_of_one_ends_all():
    hosts = loopback()
    began = time.monotonic()
    ends = [finish(p, HURRY) for p in [python(UNEVEN, hosts, i) for i in (0, 1)]]
    print(f"\nboth ended after {time.monotonic() - began:.1f} s, start included")
    assert ends[1][0] == 1 and "ValueError: only here" in ends[1][2], ends
    assert ends[0][0] != 0, ends


LATE = """
import os, signal, sys
import jax
from symtheory.model import Model
from symtheory.simulation import SGD, connect, sweep
hosts, process = sys.argv[1], int(sys.argv[2])
connect(hosts.split(","), process, timeout=60)
seen = []

def progress(done, steps):
    seen.append(done)
    if done == steps:
        os.kill(os.getpid(), signal.SIGINT)

try:
    sweep(Model(lambda p, z: p**2, params=()), SGD(0.1), {"batch_size": [1, 2]}, params=1.0,
          steps=2000, key=jax.random.key(0), progress=None if process else progress)
except KeyboardInterrupt:
    print("interrupted after", len(seen), "chunks")
"""


def test_an_interruption_at_the_very_end():
    """Progress is asked for in one process only, which is interrupted after its last chunk."""
    hosts = loopback()
    ends = [finish(p, HURRY) for p in [python(LATE, hosts, i) for i in (0, 1)]]
    assert [out for _, out, _ in ends] == [
        "interrupted after 2 chunks\n", "interrupted after 0 chunks\n",
    ], ends  # fmt: skip


def test_a_checkpoint_that_only_one_was_given(tmp_path):
    options = ["--steps", 10]
    ends = [finish(p) for p in pair(options, [*options, "--checkpoint", tmp_path])]
    for code, _, errors in ends:
        assert code == 2 and "(checkpoint is none and given)" in errors, ends
