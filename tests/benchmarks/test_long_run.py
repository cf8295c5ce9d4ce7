"""10^4 replicas x 10^6 steps of the scalar factor within 2 GiB, against its stationary law.

loss (u w - y)^2 with y = 1 + s e: under SGD on the balanced line the product v = u w has, at
learning rate 0, the Gamma law of shape 1/(2 T s^2) - 1/2 and rate 1/(2 T s^2) (arXiv 2308.06671);
here T s^2 = 0.08, so mean 0.92 and variance 0.1472. The numbers of replicas and steps can be
lowered: REPLICAS=1000 STEPS=100000.

Run with: pytest -m benchmark -n 0 -s tests/benchmarks/test_long_run.py
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

RATE, TEMPERATURE = 1e-3, 0.08  # eta and T s^2
REPLICAS = int(os.environ.get("REPLICAS", 10**4))
STEPS = int(os.environ.get("STEPS", 10**6))

RUN = """
import json, resource, sys, time
import jax, numpy as np
from symtheory.data import Normal
from symtheory.model import Model
from symtheory.simulation import SGD, simulate
rate, temperature, replicas, steps, out = *map(float, sys.argv[1:5]), sys.argv[5]
model = Model(
    lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2,
    params={"u": (), "w": ()},
    random={"y": Normal((), mean=1.0, cov=temperature / rate)},
)
start = {"u": np.float32(0.92**0.5), "w": np.float32(0.92**0.5)}
used, began = time.process_time(), time.perf_counter()
run = simulate(
    model, SGD(rate), params=start, steps=int(steps), replicas=int(replicas),
    key=jax.random.key(0), observe={"v": lambda p: p["u"] * p["w"]}, record_every=int(steps),
    average_from=20_000, average_every=100, memory=0.5, progress=True,
)
v = run.averages["v"]
np.save(out, run.final["v"])
print(json.dumps({
    "mean": float(v.estimate), "error": float(v.standard_error), "variance": float(v.variance),
    "cpu": time.process_time() - used, "wall": time.perf_counter() - began,
    "GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
}))
"""


@pytest.mark.benchmark
def test_stationary_law_of_many_long_runs(tmp_path):
    arguments = [RATE, TEMPERATURE, REPLICAS, STEPS, tmp_path / "v.npy"]
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    law = stats.gamma(1 / (2 * TEMPERATURE) - 0.5, scale=2 * TEMPERATURE)
    last = np.load(tmp_path / "v.npy")  # one value of each replica: independent
    distance, p_value = stats.kstest(last, law.cdf)
    wrong = stats.kstest(last, stats.norm(law.mean(), law.std()).cdf)
    print(f"\n{REPLICAS} replicas x {STEPS} steps: {found}")
    print(f"Kolmogorov-Smirnov distance {distance:.4f} (p = {p_value:.3f}); control: {wrong}")
    assert found["GiB"] < 2
    # What a learning rate above 0 adds to the mean is at most 0.3 eta here (measured at .02, .005).
    assert abs(found["mean"] - law.mean()) < 0.3 * RATE + 4 * found["error"]
    assert abs(found["variance"] / law.var() - 1) < 0.02
    assert p_value > 1e-3
    assert wrong.pvalue < 1e-2  # the control: a Gaussian of that mean and variance
