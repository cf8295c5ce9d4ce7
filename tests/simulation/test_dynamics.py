"""Every dynamics against something known independently of this package."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.data import Empirical, Normal
from symtheory.model import Model
from symtheory.simulation import SDE, SGD, GradientFlow, simulate

KEY = jax.random.key(3)
SIGMAS = 4.0


def estimate(values):
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def agrees(values, truth):
    mean, error = estimate(values)
    return abs(mean - truth) < SIGMAS * error


def regression(d, s):
    """Half squared error of a linear model at teacher 0, x ~ N(0, I), label noise s."""
    return Model(
        lambda p, z: (jnp.vdot(p, z["x"]) - s * z["e"]) ** 2 / 2,
        params=d,
        random={"x": Normal(d), "e": Normal(())},
    )


@pytest.mark.parametrize("d", [1, 4])
def test_sgd_stationary_spread_of_linear_regression(d):
    eta, s = 0.1, 0.5
    run = simulate(
        regression(d, s), SGD(eta), params=np.zeros(d), steps=300, replicas=8000, key=KEY
    )
    spread = np.sum(run.params**2, axis=1)
    exact = eta * s**2 * d / (2 - eta * (d + 2))
    assert agrees(spread, exact)
    assert estimate(spread)[1] < 0.03 * exact
    assert not agrees(spread, eta * s**2 * d / 2)  # the continuum limit, 5 to 30 % off


LANGEVIN = Model(lambda p, z: p**2 / 2 - p * z["e"], params=(), random={"e": Normal((), cov=4)})
"""Gradient p - e: an autoregressive process."""


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_sgd_with_momentum_decay_and_batches(momentum):
    eta, gamma, batch = 0.2, 0.25, 3
    run = simulate(
        LANGEVIN, SGD(eta, batch, gamma, momentum), params=0.0, steps=120, replicas=4000, key=KEY
    )
    # theta'' = a theta' + b theta + noise: the variance of a second-order autoregression.
    a, b = 1 + momentum - eta * (1 + 2 * gamma), -momentum
    noise = eta**2 * 4 / batch
    exact = noise * (1 - b) / ((1 + b) * ((1 - b) ** 2 - a**2))
    assert agrees(run.params**2, exact)
    assert not agrees(run.params**2, exact * 1.15)


@pytest.mark.parametrize("step", [0.1, 0.02])
def test_sde_stationary_variance(step):
    temperature, gamma, samples = 0.05, 0.25, 4
    dynamics = SDE(temperature, step, gamma, samples)
    run = simulate(LANGEVIN, dynamics, params=0.0, steps=round(6 / step), replicas=8000, key=KEY)
    pull = 1 + 2 * gamma
    scheme = (temperature * step * 4 + step**2 * 4 / samples) / (1 - (1 - pull * step) ** 2)
    assert agrees(run.params**2, scheme)
    ornstein_uhlenbeck = temperature * 4 / (2 * pull)
    assert abs(scheme / ornstein_uhlenbeck - 1) < 7 * step
    assert not agrees(run.params**2, 1.2 * scheme)


FACTORS = Model(
    lambda p, z: (p["u"] * p["w"] - 1 - z["e"]) ** 2,
    params={"u": (), "w": ()},
    random={"e": Normal((), cov=0.25)},
)


def diffrax_ensemble(temperature, u, w, time, steps, replicas):
    """(u, w) at `time` for the same equation, with its noise written down by hand."""

    def drift(t, y, args):
        return -2 * (y[0] * y[1] - 1) * y[::-1]

    def noise(t, y, args):
        return jnp.sqrt(temperature) * 2 * 0.5 * y[::-1]

    def one(key):
        path = diffrax.UnsafeBrownianPath(shape=(), key=key)
        terms = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(noise, path))
        return diffrax.diffeqsolve(
            terms,
            diffrax.Euler(),
            0,
            time,
            time / steps,
            jnp.array([u, w]),
            max_steps=steps + 1,
            adjoint=diffrax.DirectAdjoint(),
        ).ys[-1]

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, replicas)))


def test_sde_agrees_weakly_with_diffrax():
    temperature, time, steps = 0.2, 0.6, 50
    run = simulate(
        FACTORS, SDE(temperature, time / steps), params={"u": 0.5, "w": 1.5}, steps=steps,
        replicas=4000, key=KEY,
    )  # fmt: skip
    ours = np.stack([run.params["u"], run.params["w"]], axis=1)
    other = diffrax_ensemble(temperature, 0.5, 1.5, time, steps, 4000)
    hotter = diffrax_ensemble(2 * temperature, 0.5, 1.5, time, steps, 4000)

    def sigmas(a, b, moment):
        (ma, ea), (mb, eb) = estimate(moment(a)), estimate(moment(b))
        return abs(ma - mb) / np.hypot(ea, eb)

    product, charge = lambda y: y[:, 0] * y[:, 1], lambda y: y[:, 0] ** 2 - y[:, 1] ** 2
    squares = lambda y: (y[:, 0] * y[:, 1]) ** 2
    for moment in (product, charge, squares):
        assert sigmas(ours, other, moment) < SIGMAS
    assert max(sigmas(ours, hotter, moment) for moment in (product, charge, squares)) > 2 * SIGMAS


def test_sde_charge_law():
    """C = u^2 - w^2 obeys dC/dt = T Tr[Sigma A] = -4 T s^2 C."""
    temperature, steps = 0.2, 100
    run = simulate(
        FACTORS, SDE(temperature, 0.01, samples=64), params={"u": 0.5, "w": 1.5}, steps=steps,
        replicas=256, key=KEY,
    )  # fmt: skip
    charge = run.params["u"] ** 2 - run.params["w"] ** 2
    assert charge.mean() == pytest.approx((0.25 - 2.25) * np.exp(-4 * temperature * 0.25), rel=0.01)


def test_tamed_noise_does_not_overflow():
    model = Model(lambda p, z: p**4 * (1 + z["e"]) / 4, params=(), random={"e": Normal(())})
    tamed = simulate(model, SDE(1.0, 0.1), params=10.0, steps=500, replicas=64, key=KEY)
    assert not tamed.diverged
    assert np.max(np.abs(tamed.params)) < 10
    plain = simulate(model, SGD(0.1), params=10.0, steps=500, replicas=64, key=KEY)
    assert plain.diverged


def test_taming_vanishes_at_small_steps_and_never_overflows():
    from symtheory.simulation._sde import tamed

    small = {"a": jnp.array([3e-3, 4e-3]), "b": jnp.zeros(())}
    np.testing.assert_allclose(tamed(small)["a"], small["a"], rtol=2e-10)
    huge = {"a": jnp.array([3e30, 4e30], jnp.float32), "b": jnp.zeros((), jnp.float32)}
    np.testing.assert_allclose(tamed(huge)["a"], [0.6, 0.8], rtol=1e-6)


ROWS = np.random.default_rng(0).standard_normal((2, 20, 2))
NETWORK = Model(
    lambda p, z: jnp.sum((p["U"] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2),
    params={"U": (2, 3), "W": (3, 2)},
    random=Empirical({"x": ROWS[0], "y": ROWS[1]}),
)
NETWORK_START = {
    "U": np.linspace(-1, 1, 6).reshape(2, 3),
    "W": np.linspace(1, -0.5, 6).reshape(3, 2),
}


def exact_flow(time, gamma):
    def loss(p):
        hidden = jnp.tanh(ROWS[0] @ p["W"].T)
        residual = hidden @ p["U"].T - ROWS[1]
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(p))
        return jnp.mean(jnp.sum(residual**2, axis=1)) + gamma * squares

    term = diffrax.ODETerm(lambda t, y, args: jax.tree.map(jnp.negative, jax.grad(loss)(y)))
    start = jax.tree.map(jnp.asarray, NETWORK_START)
    control = diffrax.PIDController(rtol=1e-11, atol=1e-11)
    return diffrax.diffeqsolve(
        term, diffrax.Tsit5(), 0, time, None, start, stepsize_controller=control, max_steps=10_000
    ).ys


def test_gradient_flow_against_diffrax_and_its_order():
    want = exact_flow(2.0, 0.05)

    def error(steps):
        run = simulate(
            NETWORK, GradientFlow(2.0 / steps, 0.05), params=NETWORK_START, steps=steps, key=KEY
        )
        return max(np.max(np.abs(run.params[n][0] - want[n][-1])) for n in ("U", "W"))

    assert error(200) < 1e-6
    assert 12 < error(20) / error(40) < 20  # order four


def test_gradient_flow_on_a_pool_estimates_the_population():
    model = Model(lambda p, z: (p - z["x"]) ** 2 / 2, params=(), random={"x": Normal((), mean=2)})
    run = simulate(
        model, GradientFlow(0.1, samples=64), params=0.0, steps=100, replicas=200, key=KEY
    )
    assert agrees(run.params, 2 * (1 - np.exp(-10)))
    assert run.params.std(ddof=1) == pytest.approx(1 / 8, rel=0.25)
