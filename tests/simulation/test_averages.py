"""Running moments, thinning and the memory budget."""

import dataclasses

import jax
import numpy as np
import pytest

from symtheory.data import Normal
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.simulation import SGD, simulate
from symtheory.simulation._asked import Asked, cell_of, starting
from symtheory.simulation._engine import engine
from symtheory.simulation._ensemble import Ensemble
from symtheory.simulation._moments import merge

KEY = jax.random.key(11)
MODEL = Model(
    lambda p, z: (p["u"] * p["w"] - 1 - z["e"]) ** 2,
    params={"u": (), "w": ()},
    random={"e": Normal((), cov=0.25)},
)
START = {"u": 1.0, "w": 1.0}
OBSERVE = {"v": lambda p: p["u"] * p["w"], "pair": lambda p: np.float64(1) * p["u"] ** 2}


def run(**change):
    given = {
        "params": START, "steps": 5000, "replicas": 130, "key": KEY, "observe": OBSERVE,
        "record_every": 1,
    }  # fmt: skip
    return simulate(MODEL, SGD(0.02), **given | change)


def test_averages_are_those_of_the_records():
    full = run()
    thin = run(record_every=2000, average_from=100, average_every=2)
    assert thin.record_steps.tolist() == [0, 2000, 4000]
    for name in OBSERVE:
        assert np.array_equal(thin.observables[name], full.observables[name][:, ::2000])
        kept, found = full.observables[name][:, 100::2], thin.averages[name]
        assert found.count == kept.shape[1] == 2450  # merged twice on the way
        np.testing.assert_allclose(found.mean, kept.mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(found.square / found.count, kept.var(axis=1), rtol=1e-10)
        np.testing.assert_allclose(found.variance, kept.var(), rtol=1e-10)
        np.testing.assert_allclose(found.estimate, kept.mean(), rtol=1e-12)
        error = kept.mean(axis=1).std(ddof=1) / np.sqrt(130)
        np.testing.assert_allclose(found.standard_error, error, rtol=1e-10)


def test_averages_in_single_precision_are_as_good():
    start = {name: np.float32(value) for name, value in START.items()}
    single = run(params=start, average_from=0)
    want = single.observables["v"].astype(float)
    found = single.averages["v"]
    assert found.mean.dtype == np.float64 and found.count == 5000
    np.testing.assert_allclose(found.mean, want.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.square / 5000, want.var(axis=1), rtol=1e-5)


def test_merging_is_stable_far_from_zero():
    rng = np.random.default_rng(0)
    data = 1e8 + rng.standard_normal(1000)
    zero = (0, {"a": np.array(0.0)}, {"a": np.array(0.0)})
    for part in np.split(data, [1, 10, 500]):
        one = (len(part), {"a": part.mean()}, {"a": np.sum((part - part.mean()) ** 2)})
        zero = merge(zero, one)
    assert zero[0] == 1000
    assert zero[2]["a"] / 1000 == pytest.approx(data.var(), rel=1e-6)
    assert abs(np.mean(data**2) - np.mean(data) ** 2 - data.var()) > 1e-3  # the naive way


def test_a_small_budget_gives_the_same_numbers():
    free, small = run(), run(memory=0.04)
    assert np.array_equal(free.observables["v"], small.observables["v"])
    assert np.array_equal(free.params["u"], small.params["u"])
    programs = engine.cache_info().currsize
    run(memory=100.0)
    assert engine.cache_info().currsize == programs  # nothing to shrink


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"memory": 1e-4}, r"memory is 0.0001 GiB, but one chunk needs .* raise record_every"),
        ({"memory": 0}, "memory must be positive"),
        ({"average_every": 2}, "average_every needs average_from"),
        ({"average_from": 5000}, "average_from is 5000, but there are only 5000 steps"),
        ({"average_from": -1}, "average_from must be an integer of at least 0"),
        ({"average_from": 0, "observe": None}, "give observe"),
        ({"average_from": 0, "average_every": 3, "record_every": 10}, "must be a multiple of"),
        (
            {"average_from": 2500, "record_every": 10**6},
            "average_from = 2500 on the first multiple of average_every = 5000 is 5000.* most 2500",
        ),
        ({"average_from": 4999, "average_every": 2, "record_every": 2}, "at most 1, or an earlier"),
    ],
)
def test_bad_input(change, text):
    with pytest.raises(InputError, match=text):
        run(**change)


def test_the_last_measurement_that_fits_is_taken():
    found = run(record_every=1, average_from=4998, average_every=1).averages["v"]
    assert found.count == 2
    assert run(record_every=2, average_from=4997, average_every=2).averages["v"].count == 1


def test_averages_without_a_measurement_are_nan():
    """The run diverges before the first of them."""
    found = run(params={"u": 1e3, "w": 1e3}, average_from=4000, record_every=10)
    assert found.diverged
    average = found.averages["v"]
    assert average.count == 0
    for value in (average.mean, average.square, average.estimate, average.standard_error):
        assert np.isnan(value).all()
    assert np.isnan(average.variance)
    data = found.dataset()
    assert np.isnan(data.v_mean).all() and np.isnan(data.v_variance).all()


def test_complex_observables_are_not_averaged():
    observe = {"z": lambda p: p["u"] + 1j * p["w"]}
    with pytest.raises(
        InputError, match=r"'z' is complex and cannot be averaged; observe its real"
    ):
        run(observe=observe, average_from=0)
    assert np.iscomplexobj(run(observe=observe, steps=10).observables["z"])


@pytest.mark.parametrize(
    ("names", "change", "text"),
    [
        (["v", "v_mean"], {"average_from": 0}, "observable 'v_mean' and the mean of 'v'"),
        (["v_variance", "v"], {"average_from": 0}, "the variance of 'v' and observable 'v_var"),
        (["v", "v_final"], {}, "observable 'v_final' and 'v' at the end would both be called"),
        (["param_u"], {}, "observable 'param_u' and the parameter 'u' at the end"),
        (["time"], {}, "observable 'time' and the name 'time' of the result"),
    ],
)
def test_names_that_collide(names, change, text):
    with pytest.raises(InputError, match=f"{text}.*rename observable"):
        run(observe={name: OBSERVE["v"] for name in names}, **change)


def test_names_that_do_not_collide():
    found = run(observe={name: OBSERVE["v"] for name in ("v", "v_mean")}, steps=10).dataset()
    assert {"v", "v_mean", "v_final", "v_mean_final"} <= set(found)


@pytest.mark.parametrize("dynamics", [SGD(0.02), SGD(0.02, batch_size=3)])
def test_the_last_steps_of_the_longest_run(dynamics):
    """Multiples of `every` beyond 2**31 - 1 are never formed."""
    steps = 2**31 - 1
    asked = Asked.of(dynamics, steps, 3, KEY, OBSERVE, steps, 0, 16)
    initial, dtype = starting(MODEL, START, 3)
    program = asked.program(MODEL, dynamics, dtype)
    cells = [cell_of(program, dynamics, initial)]
    ensemble = Ensemble(program, cells, 3, KEY, asked.schedule, jax.devices())
    ensemble.position = dataclasses.replace(ensemble.position, done=steps - 49)
    ensemble.advance()
    assert ensemble.position.done == steps
    assert ensemble.averages()[0]["v"].count == 3  # 48, 32 and 16 before 2**31
    assert np.all(ensemble.params()["u"] != 1.0)
