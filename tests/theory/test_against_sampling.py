"""The laws against the model itself: gradients of drawn samples, single steps, momentum runs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symtheory.data import Empirical, Normal, Rademacher, Uniform
from symtheory.model import Model
from symtheory.symmetry import Exponential, Vector
from symtheory.theory import derive
from symtheory.zoo import load, names

CASES = [(name, symmetry) for name in names() for symmetry in load(name).symmetries]
SAMPLES = 100_000
POOL = 4096  # samples behind laws whose moments stay formal


@functools.cache
def bound_law(name, symmetry):
    example = load(name)
    return derive(example.bound(), example.symmetries[symmetry])


def random_params(model, seed=0):
    keys = iter(jax.random.split(jax.random.key(seed), 20))
    structure, _, _ = model.structure()
    return jax.tree.map(lambda s: jax.random.normal(next(keys), s.shape, jnp.float64), structure)


def forms(law, vector):
    """v^T A v written out member by member: X with X(B) = Tr[B^T X], independent of the layout."""
    symmetry = law.symmetry
    if not symmetry.family:
        return dot(vector, symmetry.action(vector))
    [(family, shape)] = [
        (f, symmetry.member_shapes(law.model)[n]) for n, f in symmetry.family.items()
    ]
    out = []
    for index in np.ndindex(shape):
        member = np.zeros(shape)
        member[index] += 0.5
        member[index[::-1] if family.symmetric else index] += 0.5
        out.append(dot(vector, symmetry.action(vector, jnp.asarray(member))))
    return jnp.stack(out).reshape(shape)


def dot(a, b):
    return sum(jnp.sum(x * y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def per_sample_gradients(model, params, key, count):
    draws = model.sample(key, (count,), jnp.float64)
    return jax.vmap(jax.grad(model.evaluate), in_axes=(None, 0))(params, draws)


def standard_error(values):
    return np.std(values, axis=0) / np.sqrt(len(values))


@pytest.mark.parametrize(("name", "symmetry"), CASES)
def test_drift_of_the_sde(name, symmetry):
    law = bound_law(name, symmetry)
    params = random_params(law.model)
    gradients = per_sample_gradients(law.model, params, jax.random.key(1), SAMPLES)
    mean = jax.tree.map(lambda g: g.mean(0), gradients)
    centred = jax.tree.map(lambda g, m: g - m, gradients, mean)
    values = np.asarray(jax.vmap(lambda v: forms(law, v))(centred))
    plain = error = standard_error(values)
    if law.steps[-1].status == "not_applicable":
        error = error * np.sqrt(1 + SAMPLES / POOL)
    for decay in (0.0, 0.1):
        numbers = {"learning_rate": 0.1, "batch_size": 2, "weight_decay": decay}
        measured = -4 * decay * forms(law, params) + 0.05 * values.mean(0)
        predicted = law.drift.callable()(params, **numbers)
        assert np.all(np.abs(predicted - measured) < 4 * 0.05 * error + 1e-12)
    # Control: the check is sharp enough to tell the law from one with twice the noise.
    assert np.any(np.abs(values.mean(0)) > 5 * plain)


@pytest.mark.parametrize(("name", "symmetry"), CASES)
def test_drift_of_one_step(name, symmetry):
    """Many single steps of SGD with weight decay from one point, no approximation anywhere."""
    law = bound_law(name, symmetry)
    model = law.model
    params = random_params(model, seed=3)
    eta, size, decay, repeats = 0.2, 3, 0.15, SAMPLES // 2

    @jax.jit
    def step(key):
        gradients = per_sample_gradients(model, params, key, size)
        moved = jax.tree.map(lambda p, g: p - eta * (g.mean(0) + 2 * decay * p), params, gradients)
        return forms(law, moved) - forms(law, params)

    changes = np.asarray(
        jax.lax.map(step, jax.random.split(jax.random.key(2), repeats), batch_size=5000)
    )
    error = standard_error(changes)
    numbers = {"learning_rate": eta, "batch_size": size, "weight_decay": decay}
    predicted = law.discrete_drift.callable()(params, **numbers)
    if law.steps[-1].status == "not_applicable":
        error = error * np.sqrt(1 + repeats / POOL * size)
    assert np.all(np.abs(predicted - changes.mean(0)) < 4 * error)
    # Control: without grad L^T A grad L, or (where grad L = 0) without the noise, it fails.
    charge, trace = law.charge.callable()(params), law.noise_trace.callable()(params)
    step_decay = -4 * eta * decay * (1 - eta * decay) * charge
    other = step_decay + (0 if name == "scale-invariant" else eta**2 * trace / size)
    formal = law.steps[-1].status == "not_applicable"  # there the pool's own error hides it
    assert formal or np.any(np.abs(other - changes.mean(0)) > 4 * error)


@settings(deadline=None, max_examples=15)
@given(
    case=st.sampled_from(CASES),
    seed=st.integers(0, 2**20),
    size=st.sampled_from([1, 2, 5]),
    eta=st.sampled_from([0.001, 0.03, 0.4]),
    decay=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_the_exact_identity_of_one_step(case, seed, size, eta, decay):
    law = bound_law(*case)
    observables = law.observables()
    params = random_params(law.model, seed)
    draws = law.model.sample(jax.random.key(seed + 1), (size,), jnp.float64)
    gradient = jax.tree.map(lambda g: g.mean(0), gradients_of(case)(params, draws))
    moved = jax.tree.map(lambda p, g: p - eta * (g + 2 * decay * p), params, gradient)
    before, after = (np.asarray(observables["charge"](p)) for p in (params, moved))
    form = np.asarray(observables["gradient_form"](params, gradient))
    predicted = (1 - 2 * eta * decay) ** 2 * before + eta**2 * form
    size_of_terms = dot(params, params) + dot(moved, moved) + eta**2 * dot(gradient, gradient)
    assert np.all(np.abs(after - predicted) <= 1e-14 * size_of_terms)
    if decay and np.any(np.abs(before) > 0.1):  # control: first order in eta is not exact
        first_order = (1 - 4 * eta * decay) * before + eta**2 * form
        assert np.any(np.abs(after - first_order) > 1e-14 * size_of_terms)


@functools.cache
def gradients_of(case):
    model = load(case[0]).bound()
    return jax.jit(jax.vmap(jax.grad(model.evaluate), in_axes=(None, 0)))


def test_momentum():
    """Heavy ball from a stationary velocity: charges change at the rate eta/(1 - beta)."""
    law = bound_law("scalar-factor", "rescaling")
    eta, beta, burn, steps, replicas = 2e-4, 0.9, 100, 200, 20_000
    start = {"u": jnp.array(2.0), "w": jnp.array(0.5)}  # a minimum: u w = a = 1

    def run(key):
        def step(state, z):
            params, velocity = state
            gradient = jax.grad(law.model.evaluate)(params, z)
            velocity = jax.tree.map(lambda v, g: beta * v + g, velocity, gradient)
            params = jax.tree.map(lambda p, v: p - eta * v, params, velocity)
            return (params, velocity), forms(law, params)

        draws = law.model.sample(key, (burn + steps,), jnp.float64)
        zero = jax.tree.map(jnp.zeros_like, start)
        _, charges = jax.lax.scan(step, (start, zero), draws)
        return charges[-1] - charges[burn - 1]

    keys = jax.random.split(jax.random.key(0), replicas)
    changes = np.asarray(jax.jit(jax.vmap(run))(keys)) / steps
    numbers = {"learning_rate": eta, "batch_size": 1}
    predicted = float(law.momentum_drift.callable()(start, momentum=beta, **numbers))
    error = standard_error(changes)
    # The law holds to first order in the rate; what it leaves out is a few per cent here.
    assert abs(changes.mean() - predicted) < 4 * error + 0.04 * abs(predicted)
    without = float(law.momentum_drift.callable()(start, momentum=0.0, **numbers))
    assert abs(changes.mean() - without) > 10 * error


# --- laws of the sample other than Gaussian ----------------------------------------------------


ROWS = np.random.default_rng(5).normal(size=(7, 2))


@pytest.mark.parametrize(
    "random",
    [
        {"x": Rademacher(2), "y": Normal(())},
        {"x": Uniform(2, -0.5, 2.0), "y": Rademacher(())},
        {"x": Normal((2,), mean=[1.0, -0.5], cov=[[2.0, 0.5], [0.5, 1.0]]), "y": Uniform(())},
        Empirical({"x": ROWS, "y": ROWS[:, 0] ** 2}),
        {"d": Empirical({"x": ROWS, "y": ROWS[:, 0]})},
    ],
    ids=["rademacher", "uniform", "correlated", "empirical", "empirical-by-name"],
)
def test_other_laws_of_the_sample(random):
    def loss(p, z):
        z = z.get("d", z)
        return (p["u"] * (p["w"] @ z["x"]) - z["y"]) ** 2

    model = Model(loss, {"u": (), "w": (2,)}, random)
    law = derive(model, Exponential(lambda p: {"u": p["u"], "w": -p["w"]}))
    assert law.steps[-1].status == "proved"
    params = random_params(model)
    gradients = per_sample_gradients(model, params, jax.random.key(4), SAMPLES)
    mean = jax.tree.map(lambda g: g.mean(0), gradients)
    values = np.asarray(
        jax.vmap(lambda v: forms(law, v))(jax.tree.map(lambda g, m: g - m, gradients, mean))
    )
    predicted = law.noise_trace.callable()(params)
    assert abs(values.mean() - predicted) < 4 * standard_error(values)
    error = standard_error(gradients["w"])
    assert np.all(np.abs(law.noise.mean_gradient(params, {})["w"] - mean["w"]) < 4 * error)


def test_formal_laws_of_a_family_with_vectors():
    """Where the sample sits inside tanh the moments are formal, and the numbers are averages."""
    model = Model(
        lambda p, z: jnp.sum(jnp.tanh(p["u"] * p["w"] * z["x"])),
        {"u": ("n",), "w": ("n",)},
        {"x": Normal("n")},
    ).bind(n=3)
    law = derive(
        model, Exponential(lambda p, a: {"u": a * p["u"], "w": -a * p["w"]}, {"a": Vector("n")})
    )
    assert law.charge.sympy().shape == (3, 1)
    params = random_params(model)
    gradients = per_sample_gradients(model, params, jax.random.key(4), SAMPLES)
    values = np.asarray(jax.vmap(lambda v: forms(law, v))(
        jax.tree.map(lambda g: g - g.mean(0), gradients)))  # fmt: skip
    error = standard_error(values) * np.sqrt(1 + SAMPLES / POOL)
    assert np.all(np.abs(law.noise_trace.callable()(params) - values.mean(0)) < 4 * error)
