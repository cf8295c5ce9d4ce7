"""Equilibria on the orbit of one generator: closed forms, certified brackets, the dichotomy."""

import importlib
import itertools
import math
from fractions import Fraction

import flint
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg
from flint import arb
from hypothesis import given, settings
from hypothesis import strategies as st

from symtheory.data import Normal
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.symmetry import Exponential
from symtheory.theory import derive
from symtheory.theory._equilibrium import certify
from symtheory.verdict import Status
from symtheory.zoo import load

Z = {"z": Normal((), cov="s2")}


def powers_model():
    """Invariant under u -> exp(t) u, w -> exp(-2 t) w."""
    return Model(lambda p, z: (p["u"] ** 2 * p["w"] - z["z"]) ** 2, {"u": (), "w": ()}, Z)


POWERS = Exponential(lambda p: {"u": p["u"], "w": -2 * p["w"]}, name="powers")
RESCALING = Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")


def inside(bracket, value):
    """Whether a bracket contains an mpmath number."""
    low, high = bracket
    exact = Fraction(int(mpmath.floor(value * 2**200)), 2**200)
    return low <= exact <= high


def test_unequal_rates_without_weight_decay():
    law = derive(powers_model(), POWERS)
    assert law.equilibrium.rates == (1, -2)
    u, w, s2 = Fraction(3, 2), Fraction(2, 5), Fraction(7, 3)
    # Var of g_u = 4 r u w and of g_w = 2 r u^2 with r = u^2 w - z.
    plus, minus = 16 * u**2 * w**2 * s2, 4 * u**4 * s2
    values = {s: e.sympy() for s, e in law.equilibrium.where.items()}
    names = {str(s): e for s, e in values.items()}
    point = {"u": u, "w": w, "s2": s2}
    numbers = {k: e.subs({n: point[n.name] for n in e.free_symbols}) for k, e in names.items()}
    assert numbers == {"s_+": plus, "s_-": minus}
    with mpmath.workdps(60):
        # ln(a s_+ / (b s_-)) / (2 (a + b)) with a = 1, b = 2
        ratio = plus / (2 * minus)
        expected = mpmath.log(mpmath.mpf(ratio.numerator) / ratio.denominator) / 6
        found = law.equilibrium.at(
            {"u": np.float64(1.5), "w": np.float64(0.4)}, learning_rate=0.1, s2=s2
        )
        assert found.verdict.status is Status.PROVED
        assert inside(found.bracket, expected)
        assert not inside(found.bracket, -expected)
        assert found.bracket[1] - found.bracket[0] < Fraction(1, 10**15)
    assert "gamma = 0" in law.equilibrium.latex()  # the closed form holds there only
    # With weight decay there is no closed form; here decay and noise balance at the same point.
    held = law.equilibrium.at({"u": 1.5, "w": 0.4}, learning_rate=0.1, weight_decay=0.05, s2=s2)
    assert held.verdict.status is Status.PROVED
    assert held.flow == pytest.approx(found.flow, abs=1e-14)


@pytest.mark.parametrize("decay", [0.0, 0.03])
def test_equal_rates(decay):
    example = load("scalar-factor")
    law = derive(example.sized(), example.symmetries["rescaling"])
    values = {"a": 0.5, "Sigma_x": 2.0, "Sigma_eps": 0.25}
    found = law.equilibrium.at(
        {"u": 2.0, "w": 0.75}, learning_rate=0.1, batch_size=4, weight_decay=decay, **values
    )
    delta = 2.0 * 0.75 - 0.5
    spread = 4 * (2 * delta**2 * 4 + 0.25 * 2)  # every number here is a binary fraction
    with mpmath.workdps(60):
        sigma2, gamma = mpmath.mpf(1) / 80, mpmath.mpf(3) / 100 if decay else mpmath.mpf(0)
        c_plus, c_minus = mpmath.mpf(4), mpmath.mpf("0.5625")
        top = sigma2 * c_minus * spread + 2 * gamma * c_minus
        below = sigma2 * c_plus * spread + 2 * gamma * c_plus
        assert inside(found.bracket, mpmath.log(top / below) / 4)
    assert found.verdict.status is Status.PROVED
    assert found.charge == pytest.approx(0, abs=1e-12)  # u and w see the same noise: balance


# --- the dichotomy -----------------------------------------------------------------------------


def test_one_sided_noise_runs_away():
    example = load("scale-invariant")
    model = example.sized(d=2)
    up = derive(model, example.symmetries["scale"])
    down = derive(model, Exponential(lambda p: {"w": -p["w"]}))
    point = {"w": np.array([3.0, 4.0])}
    assert (up.equilibrium.kind, down.equilibrium.kind) == ("+infinity", "-infinity")
    for law, sign in ((up, 1), (down, -1)):
        found = law.equilibrium.at(point, learning_rate=0.1)
        assert found.flow == sign * math.inf
        assert found.bracket is None
        assert found.verdict.status is Status.PROVED
        # Weight decay holds the missing side.
        held = law.equilibrium.at(point, learning_rate=0.1, weight_decay=0.01)
        fourth = 25.0**2 * math.exp(4 * sign * held.flow)
        assert fourth == pytest.approx(0.05 * 1 / 0.02, rel=1e-12)


def test_no_noise_leaves_every_point_in_equilibrium():
    model = Model(lambda p, z: (p["u"] * p["w"] - 1.0) ** 2 + 0 * z["z"], {"u": (), "w": ()}, Z)
    law = derive(model, RESCALING)
    assert law.equilibrium.kind == "everywhere"
    still = law.equilibrium.at({"u": 2.0, "w": 1.0}, learning_rate=0.1, s2=1)
    assert (still.flow, still.verdict.status) == (0.0, Status.PROVED)
    # Weight decay alone balances: exp(4 lambda) = c_- / c_+.
    held = law.equilibrium.at({"u": 2.0, "w": 1.0}, learning_rate=0.1, weight_decay=0.1, s2=1)
    assert held.flow == pytest.approx(math.log(1 / 4) / 4, abs=1e-15)


def test_noise_on_one_side_at_a_point_of_the_orbit():
    """At w = 0 the gradient in u vanishes: only w feels noise, and nothing pushes u up."""
    example = load("scalar-factor")
    law = derive(example.bound(), example.symmetries["rescaling"])
    assert law.equilibrium.kind == "finite"  # generically
    for decay in (0.0, 0.1):
        found = law.equilibrium.at({"u": 1.0, "w": 0.0}, learning_rate=0.1, weight_decay=decay)
        assert found.flow == -math.inf
        assert found.charge == 0.0  # u dies out, w stays 0
        assert found.verdict.status is Status.PROVED


def test_irrational_eigenvalues_are_not_called_an_equilibrium():
    matrix = jnp.array([[0.0, 1.0], [1.0, 1.0]])
    model = Model(lambda p, z: 0 * p["w"][0] + z["z"], {"w": (2,)}, Z)
    law = derive(model, Exponential(lambda p: {"w": matrix @ p["w"]}))
    assert law.equilibrium.kind == "unknown"
    with pytest.raises(InputError, match="irrational"):
        law.equilibrium.at({"w": np.ones(2)}, learning_rate=0.1, s2=1)


# --- one equilibrium per orbit -----------------------------------------------------------------


def moved(params, symmetry, time):
    """exp(time A) params, by the matrix exponential of the generator."""
    flat, back = jax.flatten_util.ravel_pytree(params)
    matrix = jax.jacobian(
        lambda v: jax.flatten_util.ravel_pytree(symmetry.tangent(back(v), {}))[0]
    )(flat)
    return back(scipy.linalg.expm(time * np.asarray(matrix)) @ flat)


@pytest.mark.parametrize(
    ("name", "symmetry"), [("scalar-factor", "rescaling"), ("two-layer-linear", "rescaling")]
)
@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_the_equilibrium_does_not_depend_on_the_start(name, symmetry, decay):
    example = load(name)
    action = example.symmetries[symmetry]
    law = derive(example.bound(), action)
    flat = np.random.default_rng(1).normal(size=example.bound().dimension)
    start = jax.tree.map(jnp.asarray, unflatten(example.bound(), flat))
    ends = []
    for time in (-0.8, 0.0, 0.3, 1.1):
        here = moved(start, action, time)
        found = law.equilibrium.at(here, learning_rate=0.05, batch_size=2, weight_decay=decay)
        assert found.verdict.status is Status.PROVED
        ends.append(jax.flatten_util.ravel_pytree(moved(here, action, found.flow))[0])
        drift = law.drift.callable()(
            moved(here, action, found.flow), learning_rate=0.05, batch_size=2, weight_decay=decay
        )
        assert abs(drift) < 1e-10
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], rtol=1e-10, atol=1e-10)
    # Control: the equilibrium of another orbit is another point.
    other = jax.tree.map(lambda leaf: leaf * 1.1, start)
    found = law.equilibrium.at(other, learning_rate=0.05, batch_size=2, weight_decay=decay)
    end = jax.flatten_util.ravel_pytree(moved(other, action, found.flow))[0]
    assert np.max(np.abs(end - ends[0])) > 1e-3


def unflatten(model, vector):
    zeros = jax.tree.map(lambda s: np.zeros(s.shape), model.structure()[0])
    return jax.flatten_util.ravel_pytree(zeros)[1](jnp.asarray(vector))


positive = st.fractions(min_value=Fraction(1, 50), max_value=50, max_denominator=50)
weights = st.one_of(st.just(Fraction(0)), positive)


@settings(deadline=None, max_examples=60)
@given(
    spaces=st.lists(
        st.tuples(
            st.fractions(min_value=-3, max_value=3, max_denominator=4).filter(bool),
            weights,
            weights,
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda space: space[0],
    ),
    temperature=positive,
    decay=weights,
)
def test_every_sum_has_one_root_or_runs_away(spaces, temperature, decay):
    """The theorem: exactly one lambda* in R or at +-infinity, unless G vanishes identically."""
    rates = [mu for mu, _, _ in spaces]
    balls = lambda values: [arb(flint.fmpq(v.numerator, v.denominator)) for v in values]
    squares, noises = balls(c for _, c, _ in spaces), balls(s for _, _, s in spaces)
    found = certify(rates, squares, noises, temperature, decay)

    def g(flow):
        with mpmath.workdps(50):
            total = mpmath.mpf(0)
            number = lambda q: mpmath.mpf(q.numerator) / q.denominator
            for mu, c, s in spaces:
                up, down = (mpmath.exp(2 * k * number(mu) * number(flow)) for k in (1, -1))
                total += number(mu) * (
                    -4 * number(decay) * number(c) * up + number(temperature) * number(s) * down
                )
            return total

    assert found.verdict.status is Status.PROVED
    if found.bracket is not None:
        low, high = found.bracket
        assert g(low) > 0 > g(high)
    else:
        signs = {mpmath.sign(g(Fraction(t))) for t in (-2, 0, 2)}
        assert signs == {0 if found.flow == 0 else math.copysign(1, found.flow)}


@settings(deadline=None, max_examples=25)
@given(data=st.data(), decay=st.sampled_from([0.0, 0.1]))
def test_the_drift_decreases_along_every_orbit(data, decay):
    """G'(lambda) <= 0 for the law of a loss, not only for the sum of exponentials."""
    law, action = ORBIT
    number = st.floats(-2, 2, allow_subnormal=False)
    start = {"u": data.draw(number), "w": data.draw(number)}
    times = sorted(data.draw(st.lists(st.floats(-1.5, 1.5), min_size=2, max_size=6)))
    drift = law.drift.callable()
    path = [
        float(
            drift(moved(start, action, time), learning_rate=0.1, batch_size=1, weight_decay=decay)
        )
        for time in times
    ]
    scale = 1e-9 * (1 + max(map(abs, path)))
    assert all(later <= earlier + scale for earlier, later in itertools.pairwise(path))


ORBIT = (derive(powers_model().bind(s2=0.5), POWERS), POWERS)


# --- settings and values -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"batch_size": 0}, "batch_size"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"weight_decay": math.nan}, "weight_decay"),
        ({"s2": -1.0}, "positive semidefinite"),
        ({"other": 1.0}, "known names: s2"),
        ({"params": {"u": 1.0}}, "structure"),
        ({"params": {"u": 1.0, "w": math.nan}}, "'w'.*NaN"),
        ({"params": {"u": 1.0, "w": np.ones(2)}}, "'w'"),
    ],
)
def test_wrong_input_is_refused_not_certified(change, message):
    law = derive(powers_model(), POWERS)
    call = {"params": {"u": 1.0, "w": 1.0}, "learning_rate": 0.1, "s2": 1.0} | change
    with pytest.raises(InputError, match=message):
        law.equilibrium.at(call.pop("params"), **call)


def test_a_missing_value_is_named():
    with pytest.raises(InputError, match="'s2'"):
        derive(powers_model(), POWERS).equilibrium.at({"u": 1.0, "w": 1.0}, learning_rate=0.1)


def test_a_poor_first_guess_does_not_widen_the_bracket(monkeypatch):
    module = importlib.import_module("symtheory.theory._equilibrium")
    monkeypatch.setattr(module, "_float_root", lambda up, down: Fraction(3))
    rates = [Fraction(1), Fraction(-1)]
    point = certify(rates, [arb(1), arb(1)], [arb(16), arb(1)], Fraction(1), Fraction(0))
    low, high = point.bracket
    assert inside(point.bracket, mpmath.log(16) / 4) and high - low < Fraction(1, 10**14)
    assert point.flow == pytest.approx(math.log(16) / 4, abs=1e-14)
    assert point.charge == pytest.approx(4 - 1 / 4, abs=1e-12)


def test_certify_proves_nothing_from_overlapping_balls():
    blurred = arb(0, "1e-5")
    found = certify([Fraction(1)], [arb(1)], [blurred], Fraction(1), Fraction(0))
    assert found.verdict.status is Status.INCONCLUSIVE
    negative = certify([Fraction(1)], [arb(1)], [arb(-1)], Fraction(1), Fraction(0))
    assert negative.verdict.status is Status.INCONCLUSIVE


def test_formal_noise_has_no_certificate():
    example = load("relu-rescaling")
    law = derive(example.bound(), example.symmetries["neuron-rescaling"])
    assert law.equilibrium.kind == "unknown"
    params = {"W": np.ones((2, 2)), "u": np.ones(2)}
    with pytest.raises(InputError, match="noether_flow"):
        law.equilibrium.at(params, learning_rate=0.1)
