"""Several devices of one host, and precision: the same numbers wherever they are computed."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from symtheory.data import Normal
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.simulation import SGD, GradientFlow, simulate

KEY = jax.random.key(9)
MODEL = Model(
    lambda p, z: (p["u"] * p["w"] - 1 - z["e"]) ** 2,
    params={"u": (), "w": ()},
    random={"e": Normal((), cov=0.25)},
)
ENVIRONMENT = os.environ | {
    "JAX_ENABLE_X64": "1",
    "PYTHONPATH": str(pathlib.Path(__file__).parent),
}


def run(**change):
    given = {
        "params": {"u": 1.0, "w": 1.2}, "steps": 3000, "replicas": 301, "key": KEY,
        "observe": {"v": lambda p: p["u"] * p["w"]}, "record_every": 100, "average_from": 0,
    }  # fmt: skip
    return simulate(MODEL, SGD(0.02), **given | change)


def numbers(result):
    return np.concatenate([
        result.params["u"], result.params["w"], result.observables["v"].ravel(),
        result.averages["v"].mean, result.averages["v"].square,
    ])  # fmt: skip


TWO = """
import sys, jax, numpy as np
import test_devices as t
assert len(jax.devices()) == 2
mesh = jax.sharding.Mesh(np.array(jax.devices()), "replicas")
runs = [t.run(), t.run(devices=1), t.run(devices=mesh), t.run(devices=jax.devices()[::-1])]
assert all(np.array_equal(t.numbers(runs[0]), t.numbers(r)) for r in runs)
def cut(done, steps):
    if done > 1500:
        raise KeyboardInterrupt
try:
    t.run(checkpoint=sys.argv[1], progress=cut)
except KeyboardInterrupt:
    print("cut")
np.save(sys.argv[2], t.numbers(runs[0]))
"""


@pytest.mark.slow
def test_two_devices_give_the_numbers_of_one(tmp_path):
    """301 replicas are three blocks of 128, the last one filled up."""
    flag = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", TWO, tmp_path / "state", tmp_path / "out.npy"]
    done = subprocess.run(command, env=ENVIRONMENT | flag, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "cut\n", done.stderr
    want = numbers(run())
    assert np.array_equal(np.load(tmp_path / "out.npy"), want)
    assert np.array_equal(numbers(run(checkpoint=tmp_path / "state")), want)  # begun on two


@pytest.mark.parametrize(
    ("devices", "text"),
    [
        (0, "devices is 0, but there are 1"),
        (3, r"devices is 3, but there are 1; jax.devices\(\) lists them"),
        ("cpu", "must be a number, a list of JAX devices or a Mesh"),
        ([], "at least one"),
        ([jax.devices()[0]] * 2, "must be different ones"),
        (["cpu:0"], "not a device of this run"),
    ],
)
def test_bad_devices(devices, text):
    with pytest.raises(InputError, match=text):
        run(devices=devices)


def test_single_precision_that_would_stand_still_is_refused():
    start = {"u": np.float32(1), "w": np.float32(1.2)}
    with pytest.raises(InputError, match=r"float32 cannot resolve this run: a step of rate 1e-08"):
        simulate(MODEL, SGD(1e-8), params=start, steps=10**7, key=KEY)
    simulate(MODEL, SGD(1e-8), params=start, steps=10, key=KEY)  # nothing to be seen anyway
    flow = {"params": np.float32(1), "steps": 10**6, "key": KEY}
    model = Model(lambda p, z: p**2 / 2, params=())
    with pytest.raises(InputError, match="give float64 parameters"):
        simulate(model, GradientFlow(1e-8), **flow)


def test_why_it_is_refused():
    """The control: at a rate that is refused single precision does stand still."""
    p, moved = np.float32(1), np.float64(1)
    for _ in range(1000):
        p, moved = np.float32(p - np.float32(1e-8) * p), moved - 1e-8 * moved
    assert p == 1 and moved < 1 - 9e-6
