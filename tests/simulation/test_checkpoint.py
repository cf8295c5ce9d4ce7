"""Runs that are cut, killed or interrupted go on as if nothing had happened."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.simulation import SGD, CheckpointError, simulate
from symtheory.simulation import _ensemble as driver
from symtheory.simulation._checkpoint import _BROKEN, Checkpoint, _parse

KEY = jax.random.key(5)
MODEL = Model(
    lambda p, z: (p["u"] * p["w"] - 1 - z["e"]) ** 2,
    params={"u": (), "w": ()},
    random={"e": Normal((), cov=0.25)},
)


def product(p):
    return p["u"] * p["w"]


def run(folder=None, **change):
    given = {
        "params": {"u": 1.0, "w": 1.2}, "steps": 20_000, "replicas": 130, "key": KEY,
        "observe": product, "record_every": 50, "average_from": 7, "average_every": 5,
    }  # fmt: skip
    dynamics = change.pop("dynamics", SGD(0.02, momentum=0.3))
    model = change.pop("model", MODEL)
    return simulate(model, dynamics, checkpoint=folder, **given | change)


def same(a, b):
    one, two = (
        (r.params, dict(r.observables), dict(r.final), r.averages["product"].mean,
         r.averages["product"].square, r.averages["product"].count, r.completed)
        for r in (a, b)
    )  # fmt: skip
    return jax.tree.all(jax.tree.map(np.array_equal, one, two))


class Cut(Exception):
    pass


def cut_after(chunks, error=Cut):
    left = [chunks]

    def progress(done, steps):
        left[0] -= 1
        if not left[0]:
            raise error

    return progress


@pytest.fixture
def saving_always(monkeypatch):
    monkeypatch.setattr(driver, "_PAUSE", -1)
    monkeypatch.setattr(driver, "_WRITING", -1)


def test_a_cut_run_goes_on_to_the_last_bit(tmp_path, saving_always):
    whole = run()
    for chunks in (1, 3, 2):
        with pytest.raises(Cut):
            run(tmp_path, progress=cut_after(chunks))
    seen = []
    resumed = run(tmp_path, progress=lambda done, steps: seen.append(done))
    assert seen[0] > 3 * 1024  # it did not start anew
    assert same(whole, resumed)
    assert same(whole, run(tmp_path))  # nothing left to do
    names = {p.name for p in tmp_path.iterdir()}
    assert names - {"state.lock"} == {"state.npz", "state.previous.npz"}


def test_a_chunk_longer_than_the_pause_is_saved_when_it_ends(tmp_path, monkeypatch):
    """Also the first one: what is lost is never more than the pause and one chunk."""
    monkeypatch.setattr(driver, "_PAUSE", 0.3)
    call = driver.Ensemble._call

    def slow(self, *args):
        time.sleep(0.4)
        return call(self, *args)

    monkeypatch.setattr(driver.Ensemble, "_call", slow)
    with pytest.raises(Cut):
        run(tmp_path, replicas=3, progress=cut_after(1))
    assert (tmp_path / "state.npz").exists()


def test_interrupting_saves(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=cut_after(2, KeyboardInterrupt))
    seen = []
    assert same(run(), run(tmp_path, progress=lambda done, steps: seen.append(done)))
    assert seen[0] > 2 * 1024


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path, saving_always):
    refused = []

    def second(done, steps):
        with pytest.raises(CheckpointError, match=r"is in use by another run; wait until it ends"):
            run(tmp_path)
        refused.append(done)

    first = run(tmp_path, progress=second)
    assert refused and same(first, run())
    assert same(first, run(tmp_path))  # nobody has it any more


def test_a_failed_run_is_remembered(tmp_path, saving_always):
    given = {"dynamics": SGD(3.0), "params": {"u": 1.0, "w": 2.0}}
    first, again = run(tmp_path, **given), run(tmp_path, **given)
    assert first.divergence == again.divergence and first.completed == again.completed


@pytest.mark.parametrize("damage", ["truncated", "emptied", "flipped"])
def test_a_damaged_state_falls_back(tmp_path, saving_always, damage):
    with pytest.raises(Cut):
        run(tmp_path, progress=cut_after(3))
    state = tmp_path / "state.npz"
    data = bytearray(state.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    state.write_bytes({"truncated": data[:-100], "emptied": b"", "flipped": data}[damage])
    with pytest.warns(UserWarning, match=r"state.npz' is damaged .* going back to the one before"):
        resumed = run(tmp_path)
    assert same(run(), resumed)


def test_the_whole_state_outlives_the_next_save(tmp_path, saving_always):
    with pytest.raises(Cut):
        run(tmp_path, progress=cut_after(3))
    state, previous = tmp_path / "state.npz", tmp_path / "state.previous.npz"
    state.write_bytes(b"broken")
    good = previous.read_bytes()
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(Cut):
        run(tmp_path, progress=cut_after(1))
    assert previous.read_bytes() == good
    assert (tmp_path / "state.damaged.npz").read_bytes() == b"broken"
    assert same(run(), run(tmp_path))


def test_a_state_that_cannot_be_read_falls_back(tmp_path, saving_always):
    with pytest.raises(Cut):
        run(tmp_path, progress=cut_after(3))
    state = tmp_path / "state.npz"
    state.unlink()
    state.mkdir()  # reading it is an OSError, whoever does it
    with pytest.warns(UserWarning, match=r"cannot be read: .*; going back to the one before"):
        assert same(run(), run(tmp_path))


def test_no_changed_bit_of_the_list_of_contents_passes(tmp_path):
    """Each flip is noticed, or changes nothing that is read (dates, permissions)."""
    store = Checkpoint(tmp_path, {"a": "b"})
    arrays = {"state_0": np.arange(3.0), "records_0": np.arange(4)}
    store.save({"done": 1, "failed": []}, arrays)
    data = (tmp_path / "state.npz").read_bytes()
    begin = data.index(b"PK\x01\x02")
    noticed = 0
    for place in range(8 * begin, 8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        try:
            meta, found = _parse(bytes(flipped))
        except _BROKEN:
            noticed += 1
        else:
            assert meta["arrays"] == sorted(arrays) == sorted(found)
            assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert noticed > 500


def test_nothing_whole_is_left(tmp_path, saving_always):
    (tmp_path / "state.npz").write_bytes(b"PK")
    with (
        pytest.warns(UserWarning, match="no other is left"),
        pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole; remove the folder"),
    ):
        run(tmp_path)


OTHER = Model(
    lambda p, z: (p["u"] * p["w"] - 2 - z["e"]) ** 2, params=MODEL.params, random=MODEL.random
)
WIDER = Model(MODEL.loss, params=MODEL.params, random={"e": Normal((), cov=0.26)})


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"steps": 20_001}, "steps"),
        ({"replicas": 129}, "replicas"),
        ({"key": jax.random.key(6)}, "key"),
        ({"dynamics": SGD(0.021, momentum=0.3)}, "settings"),
        ({"dynamics": SGD(0.02)}, "model or dynamics"),
        ({"model": OTHER}, "model or dynamics"),
        ({"model": WIDER}, "model or dynamics"),
        ({"params": {"u": 1.0, "w": 1.0}}, "start"),
        ({"params": {"u": np.float32(1), "w": np.float32(1)}}, "precision"),
        ({"observe": {"product": lambda p: p["u"]}}, "observables"),
        ({"record_every": 100}, "record_every"),
        ({"average_from": 8}, "averages"),
    ],
)
def test_the_state_of_another_run_is_refused(tmp_path_factory, change, name):
    folder = tmp_path_factory.getbasetemp() / "one run"
    if not folder.exists():
        run(folder)
    with pytest.raises(CheckpointError, match=f"holds the state of another run: .*{name}"):
        run(folder, **change)


def test_another_version_is_refused(tmp_path, monkeypatch):
    from symtheory.simulation import _fingerprint

    run(tmp_path)
    monkeypatch.setattr(_fingerprint, "versions", lambda: {"version of jax": "0.1"})
    with pytest.raises(CheckpointError, match="version of jax"):
        run(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for folder in (blocked / "inside", pathlib.Path("/sys/symtheory")):
        with pytest.raises(CheckpointError, match=r"cannot be written: .* give another folder"):
            run(folder)


FULL = """
import resource, sys
import test_checkpoint as t, symtheory.simulation._ensemble as driver
driver._PAUSE = driver._WRITING = -1
try:
    t.run(sys.argv[1], progress=t.cut_after(3))
except t.Cut:
    pass
before = open(sys.argv[1] + "/state.npz", "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, resource.RLIM_INFINITY))
try:
    t.run(sys.argv[1])
except t.CheckpointError as error:
    print(error)
assert open(sys.argv[1] + "/state.npz", "rb").read() == before
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert t.same(t.run(), t.run(sys.argv[1]))
print("same")
"""


def script(text, *args):
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parent)}
    environment |= {"JAX_ENABLE_X64": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", text, *map(str, args)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_full_disk(tmp_path):
    out, errors = script(FULL, tmp_path).communicate(timeout=120)
    assert "cannot be written: File too large; what was saved before is whole" in out, errors
    assert out.endswith("same\n"), errors


KILLED = """
import sys
import test_checkpoint as t, symtheory.simulation._ensemble as driver
driver._PAUSE = driver._WRITING = -1
seen = []
def progress(done, steps):
    print(done, flush=True)
result = t.run(sys.argv[1], steps=200_000, record_every=500, progress=progress)
t.np.savez(sys.argv[2], u=result.params["u"], v=result.observables["product"],
           m=result.averages["product"].mean)
"""


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    rng, ended, kills, beyond = random.Random(0), tmp_path / "end.npz", 0, []
    reached = 0
    while not ended.exists():
        process = script(KILLED, tmp_path / "state", ended)
        first = process.stdout.readline()
        if first and reached:
            beyond.append(int(first) > reached)  # at most the chunk under way is done again
        if kills < 20:
            time.sleep(rng.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
            kills += process.poll() is None
        rest = process.communicate()[0].split() or first.split()
        reached = int(rest[-1]) if rest else reached  # printed when it had been saved
    assert kills == 20 and all(beyond), (kills, beyond)
    whole = run(steps=200_000, record_every=500)
    found = np.load(ended)
    assert np.array_equal(found["u"], whole.params["u"])
    assert np.array_equal(found["v"], whole.observables["product"])
    assert np.array_equal(found["m"], whole.averages["product"].mean)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT to send")
def test_the_command_line_saves_when_interrupted(tmp_path):
    def command(name, steps, *more):
        out = tmp_path / name
        options = ["--steps", steps, "--replicas", 300, "--record-every", 2000, "--out", out]
        return subprocess.Popen(
            [sys.executable, "-m", "symtheory", "simulate", "scalar-factor",
             *map(str, [*options, *more])],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    state = tmp_path / "state"
    process = command("a.npz", 400_000, "--checkpoint", state)
    deadline = time.monotonic() + 120
    while not (state / "state.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors == f"symtheory: interrupted; the same command goes on from {str(state)!r}\n"
    for finished in (
        command("a.npz", 400_000, "--checkpoint", state),
        command("b.npz", 400_000),
    ):
        _, errors = finished.communicate(timeout=300)
        assert finished.returncode == 0, errors
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert all(np.array_equal(a[name], b[name]) for name in b)
