"""Keys, replicas, records, precision and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.data import Empirical, Normal, Rademacher
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.simulation import SDE, SGD, GradientFlow, simulate

KEY = jax.random.key(7)


def factorization(d=3):
    return Model(
        lambda p, z: jnp.sum((p["U"] @ (p["W"] @ z["x"]) - z["x"] - z["eps"]) ** 2),
        params={"U": (d, d), "W": (d, d)},
        random={"x": Normal(d), "eps": Normal(d, cov=0.25)},
        name="factorization",
    )


MODEL = factorization()
START = {"U": np.eye(3) * 0.5, "W": np.eye(3) + 0.1}
DYNAMICS = [
    SGD(0.01),
    SGD(0.01, batch_size=3, weight_decay=0.01, momentum=0.5),
    SDE(0.01, 0.01, samples=4),
    GradientFlow(0.02, samples=16),
]


def same(a, b):
    return all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def entry(p):
    return p["U"][0, 1]


@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda d: type(d).__name__)
def test_results_do_not_depend_on_the_frame(dynamics):
    def run(steps=75, replicas=3, record_every=7):
        return simulate(
            MODEL, dynamics, params=START, steps=steps, replicas=replicas, key=KEY,
            observe=entry, record_every=record_every,
        )  # fmt: skip

    base = run()
    assert same(run().params, base.params)
    more = run(replicas=150)
    assert same(jax.tree.map(lambda x: x[:3], more.params), base.params)
    assert np.array_equal(more.observables["entry"][:3], base.observables["entry"])
    assert same(run(record_every=1).params, base.params)
    every = run(record_every=1).observables["entry"]
    assert np.array_equal(every[:, ::7], base.observables["entry"])
    # A longer run begins with the shorter one.
    assert np.array_equal(run(steps=1100, record_every=1).observables["entry"][:, :75], every)
    assert np.array_equal(
        run(steps=76, record_every=1).observables["entry"][:, 75], base.final["entry"]
    )
    if not isinstance(dynamics, GradientFlow):
        assert len(np.unique(base.params["U"][:, 0, 0])) == 3


def test_another_key_gives_other_trajectories():
    a, b = (
        simulate(MODEL, SGD(0.01), params=START, steps=5, key=jax.random.key(k), observe=entry)
        for k in (0, 1)
    )
    assert not same(a.params, b.params)


def test_old_style_keys():
    old = simulate(
        MODEL, SGD(0.01), params=START, steps=5, key=jax.random.PRNGKey(7), observe=entry
    )
    assert same(
        old.params, simulate(MODEL, SGD(0.01), params=START, steps=5, key=KEY, observe=entry).params
    )


def test_records():
    def form(params, gradient):
        return jnp.vdot(params["U"], gradient["U"]) - jnp.vdot(params["W"], gradient["W"])

    def tripled(params, gradient):
        return gradient["U"]

    form.needs_gradient = tripled.needs_gradient = True
    observe = {
        "Q": lambda p: p["U"].T @ p["U"],
        "form": form,
        "gradient": tripled,
        "U": lambda p: p["U"],
    }
    run = simulate(
        MODEL, SGD(0.01), params=START, steps=23, replicas=2, key=KEY, observe=observe,
        record_every=1,
    )  # fmt: skip
    assert run.record_steps.tolist() == list(range(23))
    np.testing.assert_allclose(run.times, 0.01 * np.arange(23))
    assert run.observables["Q"].shape == (2, 23, 3, 3)
    assert set(run.final) == {"Q", "U"}
    np.testing.assert_allclose(run.observables["form"], 0, atol=1e-12)  # the rescaling symmetry
    # The recorded gradient is the one that was applied.
    path = np.concatenate([run.observables["U"], run.final["U"][:, None]], axis=1)
    np.testing.assert_allclose(
        np.diff(path, axis=1), -0.01 * run.observables["gradient"], atol=1e-14
    )
    np.testing.assert_array_equal(run.final["U"], run.params["U"])
    np.testing.assert_array_equal(run.initial["U"], np.broadcast_to(START["U"], (2, 3, 3)))


def test_an_object_with_observables():
    class Law:
        def observables(self):
            return {"entry": entry}

    run = simulate(MODEL, SGD(0.01), params=START, steps=1000, key=KEY, observe=Law())
    assert run.observables["entry"].shape == (1, 200)
    assert run.record_every == 5


def test_matches_a_plain_loop():
    """One replica of SGD with momentum and decay, step by step in NumPy from recorded gradients."""

    def gradient(params, gradient):
        return gradient["W"]

    gradient.needs_gradient = True
    dynamics = SGD(0.02, batch_size=2, weight_decay=0.1, momentum=0.7)
    run = simulate(
        MODEL, dynamics, params=START, steps=50, key=KEY, observe={"g": gradient}, record_every=1
    )
    w, v = START["W"].copy(), 0.0
    for g in run.observables["g"][0]:
        v = 0.7 * v + g + 2 * 0.1 * w
        w = w - 0.02 * v
    np.testing.assert_allclose(run.params["W"][0], w, rtol=1e-12)


@pytest.mark.parametrize("dynamics", [DYNAMICS[0], *DYNAMICS[2:]], ids=lambda d: type(d).__name__)
def test_precision_follows_the_parameters(dynamics):
    model = Model(
        lambda p, z, c: jnp.sum((c["V"] @ p["w"] * z["x"] - 1) ** 2),
        params={"w": 2},
        random={"x": Normal(2)},
        constants={"V": np.eye(2)},  # double precision must not leak in
    )
    seen = {"charge": lambda p: p["w"] @ p["w"]}
    start = {"w": np.ones(2, np.float32)}
    run = simulate(model, dynamics, params=start, steps=9, key=KEY, observe=seen)
    assert run.params["w"].dtype == run.observables["charge"].dtype == np.float32


def test_one_start_for_each_replica():
    starts = jax.tree.map(lambda x: np.stack([x, 2 * x, x]), START)
    run = simulate(MODEL, SGD(0.01), params=starts, steps=10, replicas=3, key=KEY, observe=entry)
    alone = simulate(MODEL, SGD(0.01), params=START, steps=10, replicas=3, key=KEY, observe=entry)
    assert np.array_equal(run.params["U"][2], alone.params["U"][2])
    assert not np.array_equal(run.params["U"][1], alone.params["U"][1])
    np.testing.assert_array_equal(run.initial["W"], starts["W"])


def test_a_large_model_runs_replica_by_replica():
    model = factorization(12)
    start = {"U": np.eye(12), "W": np.eye(12)}
    run = simulate(model, SGD(1e-3), params=start, steps=20, replicas=3, key=KEY)
    assert run.params["U"].shape == (3, 12, 12) and not run.diverged


def test_data_set_and_bare_parameters():
    data = Empirical({"x": np.arange(6.0).reshape(3, 2), "y": np.ones(3)})
    model = Model(lambda p, z: (p @ z["x"] - z["y"]) ** 2, params=2, random=data)
    run = simulate(
        model, SGD(1e-3, batch_size=4), params=jnp.zeros(2), steps=300, replicas=2, key=KEY
    )
    assert run.params.shape == (2, 2) and np.all(np.isfinite(run.params))


def test_a_model_without_randomness():
    model = Model(lambda p, z: p**2, params=())
    run = simulate(model, SGD(0.25), params=1.0, steps=3, replicas=2, key=KEY)
    np.testing.assert_allclose(run.params, [0.125, 0.125])


def test_a_scalar_sample():
    model = Model(lambda p, z: p * z["s"], params=(), random={"s": Rademacher(())})
    run = simulate(model, SGD(1.0), params=0.0, steps=9, replicas=2, key=KEY)
    assert np.all(run.params % 2 == 1)


def test_progress():
    seen = []
    simulate(
        MODEL, SGD(0.01), params=START, steps=3000, key=KEY, observe=entry,
        progress=lambda done, steps: seen.append((done, steps)),
    )  # fmt: skip
    assert seen[-1] == (3000, 3000) and seen == sorted(seen)


def test_a_sweep_compiles_once():
    from symtheory.simulation._engine import engine

    calls = []

    def loss(p, z):
        calls.append(None)
        return (p * z["x"]) ** 2

    model = Model(loss, params=(), random={"x": Normal(())})
    for rate in (0.01, 0.02, 0.05):
        simulate(model, SGD(rate, weight_decay=rate), params=1.0, steps=4, replicas=2, key=KEY)
        calls, counted = [], len(calls)
    assert counted == 0
    assert engine.cache_info().hits


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SGD(0.0), "learning_rate must be positive, got 0.0"),
        (lambda: SGD(float("nan")), "learning_rate must be finite, got nan"),
        (lambda: SGD("fast"), "learning_rate must be a number, got 'fast'"),
        (lambda: SGD(0.1, batch_size=0), "batch_size must be an integer of at least 1, got 0"),
        (lambda: SGD(0.1, batch_size=1.5), "batch_size must be an integer"),
        (lambda: SGD(0.1, weight_decay=-1), "weight_decay must not be negative, got -1"),
        (lambda: SGD(0.1, momentum=1.0), "momentum must be in"),
        (lambda: SDE(-1, 0.1), "temperature must be positive, got -1"),
        (lambda: SDE(1, float("inf")), "step must be finite, got inf"),
        (lambda: SDE(1, 0.1, samples=1), "samples must be an integer of at least 2, got 1"),
        (lambda: GradientFlow(0), "step must be positive, got 0"),
        (lambda: GradientFlow(0.1, samples=True), "samples must be an integer"),
    ],
)
def test_bad_settings(make, text):
    with pytest.raises(InputError, match=text):
        make()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ({"steps": 2**31}, "steps must be below"),
        ({"replicas": 0}, "replicas must be"),
        ({"record_every": 0}, "record_every must be"),
        ({"key": 3}, "key must be one JAX random key"),
        ({"key": jax.random.split(KEY)}, "key must be one JAX random key"),
        ({"observe": 3}, "observe must be"),
        ({"observe": {"a": 3}}, "observable 'a' is 3"),
        ({"params": {"U": np.eye(3)}}, "structure"),
        ({"params": {"U": np.eye(3), "W": np.eye(2)}}, "parameter 'W' has shape"),
        ({"params": {"U": np.eye(3), "W": np.full((3, 3), np.nan)}}, "NaN or infinite"),
        ({"dynamics": "sgd"}, "dynamics must be"),
    ],
)
def test_bad_calls(change, text):
    given = {"params": START, "steps": 5, "key": KEY, "dynamics": SGD(0.1)} | change
    with pytest.raises(InputError, match=text):
        simulate(MODEL, **given)


def test_unbound_models_are_refused():
    model = Model(lambda p, z: (p @ z["x"]) ** 2, params="n", random={"x": Normal("n")})
    with pytest.raises(InputError, match="'n' is not bound"):
        simulate(model, SGD(0.1), params=np.zeros(2), steps=5, key=KEY)
