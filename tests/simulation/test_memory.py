"""The memory that a run takes stays within what was asked for, saving and loading included."""

import subprocess
import sys

import pytest

RUN = """
import sys
import jax
from symtheory.data import Normal
from symtheory.model import Model
from symtheory.simulation import SGD, simulate
jax.config.update("jax_enable_x64", True)
folder, budget, cut = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
model = Model(lambda p, z: (p - z["x"]) ** 2 / 2, params=(), random={"x": Normal(())})
observe = {"v": lambda p: p}

def gib(name):
    [line] = [line for line in open("/proc/self/status") if line.startswith(name)]
    return int(line.split()[1]) / 2**20

def run(replicas, steps, **more):
    return simulate(model, SGD(0.1), params=1.0, steps=steps, replicas=replicas, observe=observe,
                    key=jax.random.key(0), record_every=1, memory=budget, **more)

class Cut(Exception):
    pass

def progress(done, steps):
    if cut and done > cut:
        raise Cut

run(128, 1000)  # what is compiled is not counted
before = gib("VmRSS")
try:
    run(4000, 5000, checkpoint=folder, progress=progress)
except Cut:
    pass
print(gib("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_saving_and_loading_are_within_the_budget(tmp_path):
    """Records of .149 GiB, which are copied once to be saved or returned."""

    def run(budget, cut):
        command = [sys.executable, "-c", RUN, tmp_path, budget, cut]
        return subprocess.run([*map(str, command)], text=True, capture_output=True)

    peaks = []
    for cut in (3000, 0):  # saves; then loads, saves, returns
        done = run(0.32, cut)
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout))
    print(f"\nGiB above the start, of .32: {peaks}")
    assert peaks[0] < 0.32 and 0.149 < peaks[1] < 0.32
    assert "memory is 0.29 GiB, but one chunk needs" in run(0.29, 0).stderr
