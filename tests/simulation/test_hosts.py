"""Two processes over loopback, joined by JAX's own runtime."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.simulation.launch import finish, loopback, pair, port, python, start


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


def slurm(job, process):
    return {
        "SLURM_JOB_ID": str(job), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(process), "SLURM_LOCALID": str(process), "SLURM_STEP_NUM_NODES": "1",
    }  # fmt: skip


def open_mpi(job, process):
    return {
        "OMPI_MCA_orte_hnp_uri": f"{job * 2**12}.0;tcp://127.0.0.1:1", "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(process), "OMPI_COMM_WORLD_LOCAL_RANK": str(process),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [slurm, open_mpi])
def test_what_a_launcher_sets_is_recognized(tmp_path, launcher):
    """The environment that srun and mpirun set; the launchers themselves are not run."""
    options = ["--hosts", "auto", "--steps", 200, "--replicas", 200, "--json"]
    options += ["--out", tmp_path / "two.npz"]
    job = port() % 2**12  # its number makes the port
    ends = [finish(p) for p in [start(*options, **launcher(job, i)) for i in (0, 1)]]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert np.load(tmp_path / "two.npz")["param_u"].shape == (200,)
    assert json.loads(ends[0][1])["file"].endswith("two.npz") and ends[1][1] == ""


def test_no_launcher_is_recognized():
    code, _, errors = finish(start("--hosts", "auto"))
    assert code == 2 and "no cluster was recognized" in errors and "give hosts" in errors


IDLE = """
import sys
import jax, numpy as np
from symtheory.data import Normal
from symtheory.model import Model
from symtheory.simulation import SGD, connect, simulate, sweep
import symtheory.simulation._ensemble as driver
out, state, hosts, process = sys.argv[1:]
driver._PAUSE = driver._WRITING = -1
if hosts:
    connect(hosts.split(","), int(process), timeout=60)
model = Model(lambda p, z: (p["u"] * p["w"][0] - z["e"]) ** 2, params={"u": (), "w": (2,)},
              random={"e": Normal(())})
given = dict(params={"u": np.float32(1), "w": np.ones(2, np.float32)}, replicas=8,
             key=jax.random.key(1), observe={"w": lambda p: p["w"]}, steps=3000)
run = simulate(model, SGD(0.02), record_every=100, average_from=50, average_every=10,
               checkpoint=state, **given)
found = dict(u=run.params["u"], w=run.params["w"], seen=run.observables["w"],
             final=run.final["w"], mean=run.averages["w"].mean, square=run.averages["w"].square)
bad = simulate(model, SGD(30.0), **given)
found |= dict(at=bad.divergence.step, stable=bad.divergence.largest_stable_rate)
grid = sweep(model, SGD(0.02), {"learning_rate": [0.01, 0.02, 0.04]}, **given)
found |= dict(grid=grid.w.values)
np.savez(out, **found)
"""


@pytest.mark.slow
def test_a_process_without_a_block(tmp_path):
    """Eight replicas are one block, which the first of two processes has."""
    hosts = loopback()

    def begin(name, hosts, process):
        out, state = tmp_path / f"{name}.npz", tmp_path / f"state{len(hosts)}"
        return python(IDLE, out, state, hosts, process)

    together = [begin("zero", hosts, 0), begin("first", hosts, 1)]
    ends = [finish(p) for p in together]
    assert [code for code, _, _ in ends] == [0, 0], ends
    code, _, errors = finish(begin("alone", "", 0))
    assert code == 0, errors
    alone = np.load(tmp_path / "alone.npz")
    for name in ("zero", "first"):
        found = np.load(tmp_path / f"{name}.npz")
        assert set(found) == set(alone) and len(found) == 9
        for key in found:
            assert np.array_equal(found[key], alone[key]), (name, key)


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
