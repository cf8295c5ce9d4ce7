"""R9: the imperfect pitchfork against simulation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy

import symtheory as st
from symtheory import syre
from symtheory.syre import Pitchfork

GAMMA = 0.1


def descend(m, gamma, center, rate, steps, start=(0.0, 0.0)):
    """Gradient descent on (u w - m)^2 with decay towards `center`, from the collapsed state."""
    optimizer = optax.chain(syre.decay_towards(gamma, center=jnp.asarray(center)), optax.sgd(rate))
    slope = jax.grad(lambda p: (p[0] * p[1] - m) ** 2)

    def step(carry, _):
        p, s = carry
        updates, s = optimizer.update(slope(p), s, p)
        p = optax.apply_updates(p, updates)
        return (p, s), p

    p = jnp.asarray(start)
    return np.asarray(jax.lax.scan(step, (p, optimizer.init(p)), None, length=steps)[1])


@pytest.mark.parametrize(
    ("m", "regime", "steps"),
    [(0.05, "held", 20_000), (0.1, "critical", 100_000), (0.3, "free", 20_000)],
)
@pytest.mark.parametrize("bias", [1e-3, 1e-2])
def test_three_regimes(m, regime, steps, bias, capsys):
    """State within 5 % of the forecast of theory.md, and escape time within a factor 1.05."""
    fork = Pitchfork.of_two_factors(m, GAMMA, bias)
    assert fork.regime == regime
    rate = 0.02
    path = descend(m, GAMMA, (bias, bias), rate, steps)
    w = path[-1, 1]
    if regime == "held":
        told = GAMMA * bias / (GAMMA - m)
    elif regime == "critical":
        told = (GAMMA * bias) ** (1 / 3)
    else:
        told = math.sqrt(m - GAMMA)
    assert fork.leading / 2**0.5 == pytest.approx(told, rel=1e-12)
    reached = int(np.argmax(path[:, 1] > 0.5 * fork.attractor / 2**0.5)) + 1
    forecast = fork.escape_time(0.5) / rate
    with capsys.disabled():
        print(
            f"\n  m = {m}, gamma = {GAMMA}, theta_0 = {bias}: w = {w:.6f}, "
            f"leading order {told:.6f}, root {fork.attractor / 2**0.5:.6f}; "
            f"half-way after {reached} steps, forecast {forecast:.1f}"
        )
    assert w == pytest.approx(told, rel=0.05)
    assert w == pytest.approx(fork.attractor / 2**0.5, rel=1e-6)
    assert 1 / 1.05 < reached / forecast < 1.05


def test_without_a_bias_or_without_decay_it_stays():
    """The controls: plain decay towards 0, and no decay at all."""
    assert not np.any(descend(1.0, GAMMA, (0.0, 0.0), 0.02, 1000))
    assert not np.any(descend(1.0, 0.0 + 1e-300, (0.0, 0.0), 0.02, 1000))
    assert Pitchfork.of_two_factors(1.0, GAMMA, 0.0).attractor == 0
    with pytest.raises(st.InputError, match="for ever"):
        Pitchfork.of_two_factors(1.0, GAMMA, 0.0).escape_time()


def test_a_collapse_that_the_decay_prefers_stays():
    """m < gamma: syre does not overturn it, and the count depends on the threshold."""
    w = descend(0.05, GAMMA, (0.01, 0.01), 0.02, 20_000)[-1, 1]
    assert 0.01 < w < 0.1
    table = {"u": np.array([w, 1.0]), "W": np.array([[w], [1.0]])}
    model = st.Model(
        lambda p, z: (p["u"] @ p["W"] @ z["x"] - z["y"]) ** 2,
        {"u": 2, "W": (2, 1)},
        {"x": st.Normal(1), "y": st.Normal(())},
    )
    found = syre.diagnose(table, st.reflections(model))
    assert list(found.dead["W, u"].values()) == [0, 0, 1]


def test_default_spread_and_an_uneven_bias():
    """theta_0 drawn at the default .01: out of the trap, in the time of its mean component."""
    bias = np.asarray(syre.draw_bias(4, {"u": jnp.zeros(()), "w": jnp.zeros(())})["u"])
    other = 0.3 * float(bias)
    center = (float(bias), other)
    fork = Pitchfork.of_two_factors(1.0, GAMMA, (center[0] + other) / 2)
    path = descend(1.0, GAMMA, center, 0.01, 3000)
    along = path.sum(1) / 2**0.5
    assert along[-1] == pytest.approx(fork.attractor, rel=1e-3)
    reached = np.argmax(abs(along) > abs(fork.attractor) / 2) + 1
    assert reached * 0.01 == pytest.approx(fork.escape_time(), rel=0.1)


def test_halving_the_bias_costs_ln_2_over_the_growth():
    one, half = (Pitchfork.of_two_factors(1.0, GAMMA, b) for b in (1e-5, 5e-6))
    assert half.escape_time() - one.escape_time() == pytest.approx(
        math.log(2) / one.excess, rel=1e-3
    )


def test_roots_and_symbols_agree():
    rng = np.random.default_rng(0)
    for _ in range(50):
        fork = Pitchfork(rng.normal(), rng.uniform(0.1, 2), rng.uniform(0.01, 1), rng.normal())
        for root in fork.roots:
            assert abs(fork.velocity(root)) < 1e-9 * (1 + abs(root) ** 3)
        exact = np.roots([fork.quartic, 0, -fork.excess, -2 * fork.weight_decay * fork.bias])
        assert sorted(np.round(fork.roots, 6), key=lambda z: (z.real, z.imag)) == pytest.approx(
            sorted(np.round(exact, 6), key=lambda z: (z.real, z.imag)), abs=1e-5
        )
        assert abs(fork.velocity(fork.attractor)) < 1e-9
        assert fork.attractor * fork.bias > 0
    condition, regimes = Pitchfork(-2.0, 1.0, 0.1, 0.1).symbolic()
    kappa, beta, gamma, b, t = sympy.symbols("kappa beta gamma b t", real=True)
    left = condition.lhs
    assert sympy.expand(left.subs(t, regimes["critical"]).subs(kappa, -2 * gamma)).equals(0)
    assert left.subs(t, regimes["free"]).subs(b, 0).equals(0)
    assert left.subs(t, regimes["held"]).subs(beta, 0).equals(0)


# --- a whole model -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scalar-factor", "low-rank-adapter"])
def test_forecast_of_a_model_against_its_training(name, capsys):
    """Gradient descent on the samples of the forecast: the state within 5 %, time within 1.25."""
    base = st.zoo.load(name).bound()
    model = st.remove_symmetries(base, weight_decay=0.05, key=2)
    flip = next(r for r in st.reflections(base) if r.kind == "flip")
    told = syre.forecast(model, flip.reflection, key=0)
    assert told.gradient < 1e-6 and told.pitchfork.regime == "free"
    pool = base.sample(jax.random.split(jax.random.key(0))[0], (512,))
    rate, direction = 0.01, told.direction
    loss = lambda t: jnp.mean(jax.vmap(lambda z: model.evaluate(t, z))(pool))
    slope = jax.grad(loss)

    def step(theta, _):
        theta = jax.tree.map(lambda p, g: p - rate * g, theta, slope(theta))
        away = jax.tree.map(
            lambda w, s, n: jnp.sum((w - s) * n), model.to_weights(theta), told.state, direction
        )
        return theta, sum(jax.tree.leaves(away))

    start = model.to_offsets(told.state)
    last, along = jax.lax.scan(step, start, None, length=4000)
    far = float(told.pitchfork.attractor)
    reached = int(np.argmax(np.asarray(along) > far / 2)) + 1
    forecast = told.pitchfork.escape_time() / rate
    with capsys.disabled():
        print(
            f"\n  {name}: t = {float(along[-1]):.4f} against {far:.4f}, "
            f"half-way after {reached} steps against {forecast:.0f}"
        )
    assert float(along[-1]) == pytest.approx(far, rel=0.05)
    assert 1 / 1.25 < reached / forecast < 1.25
    gap = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), model.to_weights(last), told.weights())
    assert max(float(g) for g in jax.tree.leaves(gap)) < 0.05 * far


@pytest.mark.slow
def test_a_runaway_and_a_kink():
    base = st.zoo.load("deep-linear").bound()
    model = st.remove_symmetries(base, weight_decay=0.01, key=1)
    mirror = next(r for r in st.reflections(base) if r.kind == "flip").reflection
    told = syre.forecast(model, mirror, steps=2000)
    assert told.to_json()["regime"] == "runaway" and told.growth > 0
    with pytest.raises(st.InputError, match="does not end near the mirror"):
        told.weights()
    relu = st.zoo.load("relu-rescaling").bound()
    model = st.remove_symmetries(relu, weight_decay=0.01, key=1)
    with pytest.raises(st.InputError, match="four derivatives"):
        syre.forecast(model, st.reflections(relu)[0].reflection)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((-1.0, 0.0, 0.1, 0.1), "beta > 0"),
        ((-1.0, 1.0, -0.1, 0.1), "must not be negative"),
        ((float("nan"), 1.0, 0.1, 0.1), "finite"),
    ],
)
def test_bad_pitchforks(numbers, message):
    with pytest.raises(st.InputError, match=message):
        Pitchfork(*numbers)


@pytest.mark.parametrize("fraction", [0, 1, -0.5])
def test_bad_fractions(fraction):
    with pytest.raises(st.InputError, match="between 0 and 1"):
        Pitchfork.of_two_factors(1.0, 0.1, 0.1).escape_time(fraction)
