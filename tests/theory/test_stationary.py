"""Stationary law of the scalar two-layer net: densities from the loss, moments, collapse, SGD."""

import json
import math
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import sympy
from hypothesis import given, settings
from hypothesis import strategies as hst

import symtheory as st
from symtheory.errors import InputError
from symtheory.theory.stationary._drift import polynomial, scalar_diffusion
from symtheory.theory.stationary._stationary import _zero_flux
from symtheory.verdict import Status
from symtheory.zoo import load

VALUES = json.loads(
    (Path(__file__).resolve().parent.parent / "reference" / "values.json").read_text()
)
EXAMPLE = load("scalar-factor")


def labels_only(mean=1.0, cov: float | str = 1.0, loss=None):
    return st.Model(
        loss or (lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2),
        {"u": (), "w": ()},
        random={"y": st.Normal((), mean=mean, cov=cov)},
    )


def general(a=1.0, noise=1.0, cov_x=1.0):
    return EXAMPLE.model.bind(a=a, Sigma_eps=noise, Sigma_x=cov_x)


def test_the_diffusion_of_v_comes_from_the_loss():
    # theory.md: dv = [-4 v (b1 v - b2) + 4 T v g] dt + 4 v sqrt(T g) dW, with symbolic moments.
    v = sympy.Symbol("v", positive=True)
    a, sx, se = (sympy.Symbol(n, real=True) for n in ("a", "Sigma_x", "Sigma_eps"))
    found = scalar_diffusion(EXAMPLE.sized(), 60.0)
    g = 2 * sx**2 * v**2 - 4 * a * sx**2 * v + 2 * a**2 * sx**2 + sx * se
    for series, expected in (
        (found.descent, 4 * v * (sx * v - a * sx)),
        (found.push, 4 * v * g),
        (found.spread, 16 * v**2 * g),
    ):
        assert sympy.expand(polynomial(series, v) - expected) == 0
    assert [step.status for step in found.steps] == [Status.PROVED] * 2


def test_the_gamma_law_with_symbols():
    law = st.stationary_law(labels_only("m", "s2"))
    assert law.status is Status.PROVED and law.kind == "gamma"
    m, s2 = (sympy.Symbol(n, real=True) for n in ("m", "s2"))
    t = law.temperature
    assert sympy.expand(law.shape - (m / (2 * t * s2) - sympy.Rational(1, 2))) == 0
    assert sympy.expand(law.rate - 1 / (2 * t * s2)) == 0
    assert sympy.expand(law.mean - (m - t * s2)) == 0
    assert law.collapse_temperature == m / s2
    assert law.tail_exponent == -sympy.oo and law.caution == ""
    assert r"\Gamma" in law.latex()


def test_the_gamma_example_of_the_reference():
    wanted = VALUES["gamma_law mu=1 T*s^2=0.08"]
    law = st.stationary_law(labels_only(), temperature=0.08)
    assert law.mean == sympy.Rational(str(wanted["mean"]))
    assert law.variance == sympy.Rational(str(wanted["variance"]))
    assert law.moment(1)[0] <= Fraction(23, 25) <= law.moment(1)[1]
    pdf = law.callable()
    v = np.linspace(0.05, 3, 7)
    expected = scipy.stats.gamma.pdf(v, float(law.shape), scale=1 / float(law.rate))
    np.testing.assert_allclose(pdf(v), expected, rtol=1e-12)
    assert law.mode == pytest.approx((float(law.shape) - 1) / float(law.rate))


def test_the_gaussian_example_of_the_reference():
    wanted = VALUES["gaussian_x_law (a,s^2,T)=(1,1,0.05)"]
    law = st.stationary_law(general(), temperature=0.05)
    assert law.status is Status.PROVED and law.kind == "power tail"
    assert law.coefficients.alpha == (2, 2, 3) and law.coefficients.beta == (1, 1)
    proved = law.moment_verdict(1, digits=6)
    assert proved.status is Status.PROVED
    assert round(law.mean, 6) == wanted["mean"]
    assert round(law.mode, 5) == wanted["mode"]
    low, high = law.moment(1)
    assert high - low < Fraction(1, 10**12)
    # Digits beyond what the bounds decide are not claimed.
    assert law.moment_verdict(1, digits=25).status is Status.INCONCLUSIVE
    # SciPy's quadrature of the density as a second witness.
    pdf = law.callable()
    for order, expected in ((0, 1.0), (1, law.mean), (2, law.variance + law.mean**2)):
        found = scipy.integrate.quad(
            lambda s, k=order: float(math.exp(s * (k + 1)) * pdf(math.exp(s))), -40, 80, limit=400
        )[0]
        assert found == pytest.approx(expected, rel=1e-7)


@settings(max_examples=5, deadline=None)
@given(
    a=hst.fractions(Fraction(1, 2), 2, max_denominator=5),
    noise=hst.fractions(Fraction(1, 2), 2, max_denominator=5),
    share=hst.fractions(Fraction(1, 10), Fraction(9, 10), max_denominator=10),
)
def test_the_mean_solves_the_balance_of_its_drift(a, noise, share):
    # E[drift] = 0 in the stationary state: E[v (b1 v - b2)] = T E[v g] would need the third
    # moment; E[d log v] = 0 needs the second only: b1 E[v] - b2 = -T E[g].
    collapse = a / (2 * a**2 + noise)
    law = st.stationary_law(general(float(a), float(noise)), temperature=share * collapse)
    (a1, a2, a3), (b1, b2) = law.coefficients.alpha, law.coefficients.beta
    assert law.collapse_temperature == law.coefficients.beta[1] / a3
    first, second = law.mean, law.variance + law.mean**2
    t = float(law.temperature)
    g = float(a1) * second - 2 * float(a2) * first + float(a3)
    assert float(b1) * first - float(b2) == pytest.approx(-t * g, rel=1e-9)


def test_the_tail_and_what_can_be_tested():
    law = st.stationary_law(EXAMPLE.sized())  # all symbols
    assert law.tail_exponent == sympy.Rational(-7, 2)
    assert law.finite_moments == 2 and law.testable_moments == 1
    assert "do not test the variance" in law.caution
    numbers = st.stationary_law(general(), temperature=0.05)
    pdf = numbers.callable()
    slope = math.log(float(pdf(1e7)) / float(pdf(1e6))) / math.log(10)
    assert slope == pytest.approx(-3.5, abs=1e-4)
    with pytest.raises(InputError, match="E\\[v\\^3\\] is infinite"):
        numbers.moment(3)
    with pytest.raises(InputError, match="order of a moment"):
        numbers.moment(-1)


def test_collapse():
    model = labels_only()
    assert not st.stationary_law(model, temperature=0.99).collapsed
    for temperature in (1, 2.5):
        law = st.stationary_law(model, temperature=temperature)
        assert law.collapsed and law.mean == 0 and law.variance == 0 and law.mode == 0.0
        with pytest.raises(InputError, match="not below the collapse temperature 1"):
            law.callable()
    # A mean label on the other side of zero: v = 0 is as close as the line u = w comes.
    assert st.stationary_law(labels_only(-1.0), temperature=0.01).collapsed
    assert st.stationary_law(general(), temperature=Fraction(1, 3)).mean == 0
    just_below = st.stationary_law(general(), temperature=Fraction(33, 100))
    assert 0 < just_below.mean < 0.03


def test_weight_decay_lowers_the_collapse():
    law = st.stationary_law(labels_only(), temperature=0.08, weight_decay=0.25)
    assert law.status is Status.PROVED
    assert law.collapse_temperature == sympy.Rational(3, 4)
    assert law.mean == sympy.Rational(67, 100)  # (1 - 0.25) - 0.08


def test_the_check_of_zero_flux_refutes_another_density():
    law = st.stationary_law(general(), temperature=0.05)
    v, slope = law.coefficients.v, law.coefficients.slope()
    assert _zero_flux(slope, law.drift, law.diffusion, v).status is Status.PROVED
    wrong = slope + sympy.Rational(1, 1000) / v
    assert _zero_flux(wrong, law.drift, law.diffusion, v).status is Status.REFUTED
    # Dropping Ito's term gives the density one would guess from the drift alone.
    push = 4 * law.temperature * v * law.coefficients.g
    assert _zero_flux(slope, law.drift - push, law.diffusion, v).status is Status.REFUTED


def test_other_ways_to_write_the_loss():
    def written(p, z):
        return p["u"] ** 2 * p["w"] ** 2 + z["y"] ** 2 - 2 * p["w"] * z["y"] * p["u"]

    law = st.stationary_law(labels_only(loss=written), temperature=0.08)
    assert law.mean == sympy.Rational(23, 25) and law.kind == "gamma"
    data = st.Empirical({"x": np.array([1.0, 1.0]), "y": np.array([0.0, 2.0])})
    model = st.Model(
        lambda p, z: (p[0] * p[1] * z["x"] - z["y"]) ** 2, [(), ()], random=data
    )  # E[y] = 1, Var y = 1
    assert st.stationary_law(model, temperature=0.08).mean == sympy.Rational(23, 25)
    # Names of the model that look like T and v are other symbols.
    named = st.stationary_law(labels_only("v", "T"))
    assert str(named.temperature) == "T'" and str(named.coefficients.v) == "v'"


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (labels_only(loss=lambda p, z: (p["u"] + p["w"] - z["y"]) ** 2), {}, "product of its"),
        (labels_only(loss=lambda p, z: (p["u"] * p["w"]) ** 4 - z["y"]), {}, "degree 3"),
        (labels_only(loss=lambda p, z: (p["u"] * p["w"] * z["y"]) ** 2), {}, "vanishes at v = 0"),
        (general(noise=0.0), {}, "vanishes at v = 1: every sample"),
        (load("two-layer-linear").bound(), {}, "two scalar parameters"),
        (labels_only(), {"temperature": 0}, "temperature must be positive"),
        (labels_only(), {"temperature": -1.0}, "temperature must not be negative"),
        (labels_only(), {"temperature": float("nan")}, "temperature must be a finite number"),
        (labels_only(), {"temperature": "hot"}, "temperature must be a finite number"),
        (labels_only(), {"weight_decay": -0.1}, "weight_decay must not be negative"),
    ],
)
def test_bad_input(model, options, message):
    with pytest.raises(InputError, match=message):
        st.stationary_law(model, **options)


def test_symbols_have_no_numbers():
    law = st.stationary_law(labels_only(cov="s2"))
    for ask in (lambda: law.callable(), lambda: law.mode, lambda: law.moment(1)):
        with pytest.raises(InputError, match="T, s2 is still a symbol"):
            ask()
    with pytest.raises(InputError, match="no Gamma law"):
        _ = st.stationary_law(general(), temperature=0.05).shape


@pytest.mark.slow
def test_sgd_at_two_learning_rates():
    law = st.stationary_law(labels_only(cov=8.0), temperature=0.01)  # T s^2 = 0.08
    mean, variance = float(law.mean), float(law.variance)
    assert (mean, variance) == pytest.approx((0.92, 0.1472))
    found = {}
    for rate in (0.02, 0.005):
        # T = eta/S at fixed T: the label noise stands for the batch, s^2 = 0.08/eta.
        model = labels_only(cov=0.08 / rate)
        steps = int(400 / rate)
        observe = lambda p: p["u"] * p["w"]
        run = st.simulate(
            model, st.SGD(learning_rate=rate), params={"u": 1.0, "w": 1.0}, steps=steps,
            replicas=512, key=jax.random.key(1), observe=observe, record_every=int(1 / rate),
        )  # fmt: skip
        v = next(iter(run.observables.values()))[:, 40:]
        # Replicas are independent, records of one replica are not.
        means, squares = v.mean(1), ((v - mean) ** 2).mean(1)
        found[rate] = [(x.mean(), x.std() / math.sqrt(len(x))) for x in (means, squares)]
    for k, predicted in enumerate((mean, variance)):
        values = {rate: found[rate][k] for rate in found}
        for rate, (value, error) in values.items():
            # First order in eta: measured deviations are about -0.2 eta and 0.3 eta.
            assert abs(value - predicted) < 4 * error + 0.5 * rate
        (coarse, e1), (fine, e2) = values[0.02], values[0.005]
        assert abs(fine - predicted) < abs(coarse - predicted) + 3 * math.hypot(e1, e2)
    # The control: the mean without Ito's term is 16 standard errors or more away.
    assert abs(found[0.005][0][0] - 1.0) > 10 * found[0.005][0][1]
