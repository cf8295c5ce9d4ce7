"""A run that diverges says where, and never hides it in a mean."""

import jax
import numpy as np
import pytest

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.simulation import SDE, SGD, GradientFlow, simulate

KEY = jax.random.key(0)
QUARTIC = Model(lambda p, z: p**4 / 4, params=())
QUADRATIC = Model(lambda p, z: p**2 / 2 + 0 * z["e"], params=(), random={"e": Normal(())})


def first_failure(p, rate, force, steps=5000):
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(steps):
            p = p - rate * force(p)
            if not np.isfinite(p):
                return step
    return None


@pytest.mark.parametrize("bad", [0, 5, 299])
def test_the_right_replica_and_step(bad):
    starts = np.full(300, 0.5)
    starts[bad] = 50.0
    run = simulate(
        QUARTIC, SGD(0.1), params=starts, steps=400, replicas=300, key=KEY,
        observe={"p": lambda p: p}, record_every=1,
    )  # fmt: skip
    found = run.divergence
    want = first_failure(np.float64(50.0), 0.1, lambda p: p**3)
    assert (found.replica, found.step) == (bad, want)
    assert run.completed == want and run.observables["p"].shape == (300, want)
    assert np.all(np.isfinite(run.params)) and np.all(np.isfinite(run.observables["p"]))
    stable = found.largest_stable_rate
    assert first_failure(np.float64(50.0), stable, lambda p: p**3, found.tried_steps) is None
    assert (
        first_failure(np.float64(50.0), 2 * stable, lambda p: p**3, found.tried_steps) is not None
    )
    assert f"replica {bad} became non-finite at step {want}" in found.describe()
    assert f"{stable:.4g}" in run.describe()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slow_divergence_is_found_exactly(dtype):
    def run(steps, every=1000):
        return simulate(
            QUADRATIC, SGD(2.1), params=dtype(1), steps=steps, replicas=2, key=KEY,
            record_every=every, observe={"p": lambda p: p},
        )  # fmt: skip

    diverged = run(100_000)
    found = diverged.divergence
    # It grows by 10 % a step; how the last product rounds and overflows is the compiler's.
    assert abs(found.step - np.log(np.finfo(dtype).max) / np.log(1.1)) < 10
    assert found.largest_stable_rate == 2.1 / 2
    assert diverged.record_steps.tolist() == list(range(0, found.step, 1000))
    assert diverged.observables["p"].shape == (2, len(diverged.record_steps))
    assert not run(found.step, every=7).diverged
    assert run(found.step + 1, every=7).divergence.step == found.step


def test_divergence_at_the_first_step():
    run = simulate(QUARTIC, SGD(1e300), params=1e10, steps=5, key=KEY, observe=lambda p: p)
    assert run.divergence.step == 0 and run.completed == 0
    assert run.params == 1e10 and run.observables.get("<lambda>", np.zeros((1, 0))).shape == (1, 0)


@pytest.mark.parametrize("dynamics", [GradientFlow(3.0)])
def test_other_dynamics(dynamics):
    run = simulate(QUADRATIC, dynamics, params=1.0, steps=5000, key=KEY)
    assert run.diverged and run.divergence.largest_stable_rate == 1.5


def test_no_rate_helps():
    # At rest the step is finite for no rate: the gradient itself overflows.
    run = simulate(QUARTIC, SGD(0.1), params=1e200, steps=5, key=KEY)
    assert run.divergence.largest_stable_rate is None
    assert "every smaller rate tried" in run.divergence.describe()


def test_sde_is_tamed_instead():
    assert not simulate(QUADRATIC, SDE(0.1, 3.0), params=1.0, steps=5000, key=KEY).diverged
