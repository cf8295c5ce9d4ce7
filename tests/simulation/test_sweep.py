"""A grid of settings compiles once and gives what `simulate` gives at each point."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.data import Empirical, Normal
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.simulation import SDE, SGD, simulate, sweep

KEY = jax.random.key(2)
TRACES = []


def loss(p, z, c):
    TRACES.append(None)
    return jnp.sum((p["U"] @ (p["W"] @ z["x"]) - c["V"] @ z["x"] - z["eps"]) ** 2)


MODEL = Model(
    loss,
    params={"U": (2, "h"), "W": ("h", 2)},
    random={"x": Normal(2, cov="S"), "eps": Normal(2, mean="m", cov=[[0.5, 0.1], [0.1, 0.2]])},
    constants={"V": (2, 2)},
)
COVARIANCES = [np.eye(2), np.array([[2.0, 0.5], [0.5, 1.0]])]
MEANS = [np.zeros(2), np.array([0.3, -0.2])]
TEACHERS = [np.eye(2), np.array([[1.0, 2.0], [0.0, -1.0]])]


def start(model):
    h = model.sizes["h"]
    return {"U": np.ones((2, h)) / h, "W": np.arange(2.0 * h).reshape(h, 2) / h}


def size(p):
    return jnp.vdot(p["U"], p["U"])


def test_every_point_is_a_simulation():
    grid = {"learning_rate": [0.01, 0.03], "S": COVARIANCES, "V": TEACHERS, "m": MEANS, "h": [2, 3]}
    common = {"steps": 40, "replicas": 3, "key": KEY, "observe": size, "record_every": 10}
    found = sweep(MODEL, SGD(1.0, 2), grid, params=start, average_from=0, **common)
    assert found.sizes["learning_rate"] == found.sizes["V"] == found.sizes["h"] == 2
    np.testing.assert_array_equal(found.S_value[1], COVARIANCES[1])
    assert "param_U" not in found  # its shape differs from size to size
    for rate, s, v, m, h in [(0, 0, 0, 0, 0), (1, 1, 1, 1, 1), (0, 1, 0, 1, 1)]:
        model = MODEL.bind(h=[2, 3][h], S=COVARIANCES[s], V=TEACHERS[v], m=MEANS[m])
        dynamics = SGD(grid["learning_rate"][rate], 2)
        run = simulate(model, dynamics, params=start(model), average_from=0, **common)
        point = found.isel(learning_rate=rate, S=s, V=v, m=m, h=h)
        np.testing.assert_allclose(point["size"], run.observables["size"], rtol=1e-12)
        np.testing.assert_allclose(point.size_final, run.final["size"], rtol=1e-12)
        np.testing.assert_allclose(point.size_mean, run.averages["size"].mean, rtol=1e-12)
    assert not found.diverged.any()


def test_64_settings_are_traced_once():
    def traces(model, rates, decays):
        grid = {"learning_rate": rates, "weight_decay": decays, "S": COVARIANCES}
        before = len(TRACES)
        found = sweep(
            model, SGD(1.0), grid, params=start(model), steps=5, key=KEY, observe=size
        )  # fmt: skip
        return found.diverged.size, len(TRACES) - before

    one, another = (MODEL.bind(h=2, V=np.eye(2), m=np.zeros(2)) for _ in range(2))
    few = traces(one, [0.01], [0.0])
    many = traces(another, np.geomspace(1e-3, 1e-2, 8), [0, 1e-3, 2e-3, 3e-3])
    again = traces(another, np.geomspace(1e-4, 1e-3, 8), [0.1, 0.2, 0.3, 0.4])
    assert (few[0], many[0]) == (2, 64)
    assert few[1] == many[1]
    assert again[1] == len(COVARIANCES)  # only the checks of the bound models


def test_points_that_diverge_are_marked():
    model = Model(lambda p, z: p**2 / 2 + 0.1 * p * z["e"], params=(), random={"e": Normal(())})
    common = {"params": 1.0, "steps": 3000, "replicas": 5, "key": KEY}
    common |= {"observe": {"p": lambda p: p}, "record_every": 100, "average_from": 0}
    found = sweep(model, SGD(1.0), {"learning_rate": [0.1, 2.5, 0.2, 3.0]}, **common)
    assert found.diverged.values.tolist() == [False, True, False, True]
    for i, rate in enumerate([0.1, 2.5, 0.2, 3.0]):
        run = simulate(model, SGD(rate), **common)
        point = found.isel(learning_rate=i)
        count = run.observables["p"].shape[1]
        assert np.array_equal(point.p.values[:, :count], run.observables["p"])
        assert np.isnan(point.p.values[:, count:]).all()
        assert int(point.diverged_step) == (run.divergence.step if run.diverged else -1)
        if run.diverged:
            assert np.isnan(point.p_final).all() and np.isnan(point.p_mean).all()
        else:
            assert np.array_equal(point.param_theta, run.params)
            assert np.array_equal(point.p_mean, run.averages["p"].mean)


def test_sizes_compile_anew_and_only_they(tmp_path):
    model = Model(lambda p, z: (p - z["x"]) ** 2 / 2, params=(), random={"x": Normal(())})
    grid = {"batch_size": [1, 4], "momentum": [0.0, 0.5], "learning_rate": [0.1, 0.2]}
    common = {"params": 0.0, "steps": 60, "replicas": 200, "key": KEY}
    found = sweep(model, SGD(1.0), grid, checkpoint=tmp_path, **common)
    assert len(list(tmp_path.iterdir())) == 4
    again = sweep(model, SGD(1.0), grid, checkpoint=tmp_path, **common)
    assert found.identical(again)
    run = simulate(model, SGD(0.2, 4, momentum=0.5), **common)
    point = found.sel(batch_size=4, momentum=0.5, learning_rate=0.2)
    assert np.array_equal(point.param_theta, run.params)


def test_an_equation_is_swept_too():
    model = Model(lambda p, z: (p - z["x"]) ** 2 / 2, params=(), random={"x": Normal(())})
    found = sweep(
        model, SDE(0.1, 0.1), {"step": [0.1, 0.05], "temperature": [0.1, 0.4]},
        params=0.0, steps=200, replicas=500, key=KEY,
    )  # fmt: skip
    spread = found.param_theta.var("replica")
    ratio = spread.sel(temperature=0.4) / spread.sel(temperature=0.1)
    assert np.all(abs(ratio - 4) < 1.2)


@pytest.mark.parametrize(
    ("grid", "text"),
    [
        ({}, "grid must be values by name"),
        ({"learning_rat": [1]}, "neither a setting nor left to bind; did you mean 'learning_rate'"),
        ({"learning_rate": []}, "must be a list of at least one value"),
        ({"learning_rate": 0.1}, "must be a list"),
        ({"learning_rate": [0.1, -1], "S": COVARIANCES}, "learning_rate must be positive, got -1"),
        ({"S": [np.eye(2), np.eye(3)]}, "must all have the same shape"),
        ({"S": [-np.eye(2)]}, "not positive semidefinite"),
        ({"learning_rate": [0.1]}, "'S' of shape .* is not bound"),
    ],
)
def test_bad_grids(grid, text):
    model = MODEL.bind(h=2, V=np.eye(2), m=np.zeros(2))
    with pytest.raises(InputError, match=text):
        sweep(model, SGD(0.1), grid, params=start(model), steps=5, key=KEY)


def test_observables_of_different_shapes_are_refused():
    grid = {"h": [2, 3], "S": COVARIANCES}
    with pytest.raises(InputError, match="observable 'U' has shape"):
        sweep(
            MODEL.bind(V=np.eye(2), m=np.zeros(2)), SGD(0.1), grid, params=start, steps=5, key=KEY,
            observe={"U": lambda p: p["U"]},
        )  # fmt: skip


def test_a_saved_run_is_readable_without_this_package(tmp_path):
    model = MODEL.bind(h=2, V=np.eye(2), m=np.zeros(2), S=np.eye(2))
    run = simulate(
        model, SGD(0.01), params=start(model), steps=20, replicas=3, key=KEY, record_every=5,
        observe={"size": size, "U": lambda p: p["U"]}, average_from=0,
    )  # fmt: skip
    run.save(tmp_path / "run.nc")
    code = f"""
import sys, xarray
found = xarray.load_dataset({str(tmp_path / "run.nc")!r}, engine="h5netcdf")
print(dict(found.sizes), found.attrs["dynamics"], found.record.values.tolist())
print(float(found["size"].sum()), float(found.param_U.sum()), float(found.size_mean.sum()))
assert not any(name.startswith(("symtheory", "jax")) for name in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shape, numbers = done.stdout.splitlines()
    assert "'replica': 3, 'record': 4" in shape and "[0, 5, 10, 15]" in shape
    want = [run.observables["size"].sum(), run.params["U"].sum(), run.averages["size"].mean.sum()]
    np.testing.assert_allclose([float(x) for x in numbers.split()], want, rtol=1e-14)


def test_constants_over_a_data_set():
    rows = np.random.default_rng(0).normal(size=(50, 2))
    model = Model(
        lambda p, z, c: (p * c["a"] - z["x"].sum()) ** 2,
        params=(), random=Empirical({"x": rows}), constants={"a": ()},
    )  # fmt: skip
    given = {"params": 1.0, "steps": 50, "replicas": 2, "key": KEY, "observe": {"v": lambda p: p}}
    found = sweep(model, SGD(0.02), {"a": [1.0, 2.0]}, **given)
    for a in (1.0, 2.0):
        alone = simulate(model.bind(a=a), SGD(0.02), **given)
        np.testing.assert_allclose(found.v.sel(a=a), alone.observables["v"], rtol=1e-12)
    assert np.ptp(found.v_final.values) > 0


def test_without_xarray(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    model = Model(lambda p, z: p**2, params=())
    with pytest.raises(InputError, match=r"need xarray, .* install symtheory\[trajectories\]"):
        sweep(model, SGD(0.1), {"learning_rate": [0.1]}, params=1.0, steps=1, key=KEY)


@pytest.mark.parametrize("name", ["learning_rate", "replica", "diverged", "learning_rate_value"])
def test_observables_named_like_something_of_the_result(name):
    model = Model(lambda p, z: (p - z["x"]) ** 2, params=(), random={"x": Normal(())})
    with pytest.raises(InputError, match=f"would both be called '{name}'; rename observable"):
        sweep(
            model, SGD(0.1), {"learning_rate": [0.1, 0.2]}, params=0.0, steps=10, key=KEY,
            observe={name: lambda p: p},
        )  # fmt: skip


@pytest.mark.parametrize("rates", [[1e-9, 0.1], [0.1, 1e-9], [0.1, 0.2, 1e-9]])
def test_a_point_that_single_precision_does_not_resolve_is_refused(rates):
    model = Model(lambda p, z: (p - z["x"]) ** 2 / 2, params=(), random={"x": Normal(())})
    given = {"params": np.float32(1), "steps": 10**7, "key": KEY, "record_every": 10**6}
    with pytest.raises(InputError, match=r"float32 cannot resolve this run: a step of rate 1e-09"):
        sweep(model, SGD(0.1), {"learning_rate": rates}, **given)
