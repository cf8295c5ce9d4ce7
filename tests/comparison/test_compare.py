"""Laws against simulations, on models where the outcome is known, each with its control."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from symtheory.comparison import experiment, initialization_independence, plan, starting_points
from symtheory.errors import BudgetError
from symtheory.program import Deadline
from symtheory.zoo import load


@pytest.fixture(scope="module")
def scalar():
    """The scalar net, its law, and a run that approaches the equilibrium."""
    model = load("scalar-factor").bound()
    law = st.derive(model, load("scalar-factor").symmetries["rescaling"])
    run = st.simulate(
        model,
        st.SGD(learning_rate=0.01),
        params={"u": 1.6, "w": 0.6},
        steps=4000,
        replicas=64,
        key=jax.random.key(0),
        observe=law,
    )
    return law, run


def test_correct_law_is_supported(scalar):
    verdict = st.compare(*scalar)
    assert verdict.status == "supported", verdict.parts


def test_wrong_temperature_is_refuted(scalar):
    law, run = scalar
    assert st.compare(law, run, temperature=3 * run.dynamics.temperature).status == "refuted"
    assert st.compare(law, run, temperature=run.dynamics.temperature / 3).status == "refuted"


def test_too_tight_a_margin_is_not_supported(scalar):
    law, run = scalar
    assert st.compare(law, run, margin=1e-9).status != "supported"


def test_run_without_the_law_is_refused(scalar):
    law, run = scalar
    other = st.simulate(
        run.model,
        run.dynamics,
        params={"u": 1.0, "w": 1.0},
        steps=10,
        replicas=2,
        key=jax.random.key(0),
    )
    with pytest.raises(st.InputError, match="observe=law"):
        st.compare(law, other)


def test_law_of_other_sizes_is_refused(scalar):
    _, run = scalar
    example = load("two-layer-linear")
    law = st.derive(example.bound(), example.symmetries["rescaling"])
    with pytest.raises(st.InputError, match="same sizes"):
        st.compare(law, run)


def test_diverging_run_is_inconclusive(scalar):
    law, run = scalar
    wild = st.simulate(
        run.model,
        st.SGD(learning_rate=2.0),
        params={"u": 3.0, "w": 3.0},
        steps=200,
        replicas=4,
        key=jax.random.key(0),
        observe=law,
    )
    verdict = st.compare(law, wild)
    assert verdict.status == "inconclusive"
    assert "replica" in verdict.how and "rate" in verdict.how


@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
def test_exact_discrete_identity_along_a_path(weight_decay):
    """C' = (1 - 2 eta gamma)^2 C + eta^2 g_B^T A g_B at every step, to rounding."""
    example = load("two-layer-linear")
    model = example.bound()
    law = st.derive(model, example.symmetries["double-rotation"])
    sgd = st.SGD(learning_rate=0.01, batch_size=2, weight_decay=weight_decay)
    run = st.simulate(
        model,
        sgd,
        params=starting_points(model, 1)[0],
        steps=300,
        replicas=4,
        key=jax.random.key(1),
        observe=law,
        record_every=1,
    )
    charge, form = run.observables["charge"], run.observables["gradient_form"]
    shrink = (1 - 2 * sgd.learning_rate * weight_decay) ** 2
    predicted = shrink * charge[:, :-1] + sgd.learning_rate**2 * form[:, :-1]
    size = np.abs(charge).max()
    assert np.abs(charge[:, 1:] - predicted).max() < 1e-12 * size
    # Control: without the second-order term the identity fails far above rounding.
    assert np.abs(charge[:, 1:] - shrink * charge[:, :-1]).max() > 1e-6 * size


def test_discrete_fixed_point_of_a_wide_scale_invariant_layer():
    """|theta|^4 = eta s/(4 S gamma (1 - eta gamma)) is supported, the continuous one refuted."""
    model = load("scale-invariant").bound(d=512)
    eta, gamma = 0.1, 0.4
    fixed = st.scale_fixed_point(511.0, 2 / 511, learning_rate=eta, weight_decay=gamma)
    start = np.full(512, (fixed.discrete**0.25) / np.sqrt(512))
    run = st.simulate(
        model,
        st.SGD(learning_rate=eta, weight_decay=gamma),
        params={"w": start},
        steps=600,
        replicas=32,
        key=jax.random.key(2),
        observe=lambda p: jnp.sum(p["w"] ** 2) ** 2,
    )
    fourth = next(iter(run.observables.values()))
    estimate = st.mean_over_replicas(fourth[:, fourth.shape[1] // 4 :].mean(axis=1))
    margin = 0.01 * fixed.discrete
    discrete = st.equivalence("discrete", fixed.discrete, estimate, margin)
    assert discrete.status == "supported", discrete
    assert st.equivalence("continuous", fixed.continuous, estimate, margin).status == "refuted"


@pytest.mark.slow
def test_spread_of_the_gradient_norm_in_few_dimensions():
    """In 4 dimensions the spread shifts E|theta|^4; E[n]/E[1/n] stays at the discrete value."""
    model = load("scale-invariant").bound(d=4)
    eta, gamma = 0.1, 0.4
    fixed = st.scale_fixed_point(3.0, 2 / 3, learning_rate=eta, weight_decay=gamma)
    run = st.simulate(
        model,
        st.SGD(learning_rate=eta, weight_decay=gamma),
        params={"w": np.full(4, fixed.discrete**0.25 / 2)},
        steps=2000,
        replicas=1536,
        key=jax.random.key(3),
        observe={
            "n": lambda p: jnp.sum(p["w"] ** 2),
            "inverse": lambda p: 1 / jnp.sum(p["w"] ** 2),
            "square": lambda p: jnp.sum(p["w"] ** 2) ** 2,
        },
        record_every=5,
    )
    late = {name: values[:, 100:].mean(axis=1) for name, values in run.observables.items()}
    square = st.mean_over_replicas(late["square"])
    margin = 0.01 * fixed.discrete
    assert st.equivalence("spread", fixed.with_spread, square, margin).status == "supported"
    assert st.equivalence("no spread", fixed.discrete, square, margin).status == "refuted"
    # E[n] - u E[1/n] = 0 exactly in the stationary state.
    defect = st.mean_over_replicas(late["n"] - fixed.discrete * late["inverse"])
    small = 0.01 * float(late["n"].mean())
    assert st.equivalence("E[n] = u E[1/n]", 0.0, defect, small).status == "supported"


@pytest.mark.slow
def test_momentum_is_plain_sgd_at_the_effective_rate():
    """Momentum .9 at eta and plain SGD at 10 eta: the same decay of the charge within 1 %."""
    model = load("scalar-factor").bound()
    law = st.derive(model, load("scalar-factor").symmetries["rescaling"])
    decays = []
    for sgd in (st.SGD(learning_rate=2e-4, momentum=0.9), st.SGD(learning_rate=2e-3)):
        run = st.simulate(
            model,
            sgd,
            params={"u": 1.5, "w": 1 / 1.5},
            steps=8000,
            replicas=2048,
            key=jax.random.key(4),
            observe=law,
        )
        charge = run.observables["charge"][..., 0]
        decays.append(np.log(charge[:, 0].mean() / charge[:, -1].mean()))
        assert st.compare(law, run, margin=0.02).status == "supported"
    assert abs(decays[0] / decays[1] - 1) < 0.01
    # Control: the same momentum at the uncorrected rate would decay ten times faster or slower.
    assert decays[1] > 0.05


@pytest.mark.slow
def test_experiment_finds_one_equilibrium_from_three_starts():
    example = load("two-layer-linear")
    model = example.bound()
    law = st.derive(model, example.symmetries["double-rotation"])
    result = experiment(law, model, plan(law, model, learning_rate=0.01, steps=8000, replicas=32))
    assert result.verdict.status == "supported", result.verdict.parts
    claims = [part.claim for part in result.verdict.parts]
    assert any("initialization" in claim for claim in claims)


def test_different_orbits_are_not_called_one_equilibrium():
    """Control: early in the run the charge still depends on where it started."""
    example = load("two-layer-linear")
    model = example.bound()
    law = st.derive(model, example.symmetries["double-rotation"])
    runs = [
        st.simulate(
            model,
            st.SGD(learning_rate=0.005),
            params=start,
            steps=200,
            replicas=16,
            key=jax.random.key(k),
            observe=law,
        )
        for k, start in enumerate(starting_points(model, 2))
    ]
    assert initialization_independence(law, runs).status == "refuted"


RELU = st.Model(
    lambda p, z: jnp.mean((p["V"] @ jax.nn.relu(p["W"] @ z["x"]) - z["y"]) ** 2),
    {"W": (3, 2), "V": (2, 3)},
    {"x": st.Normal(2), "y": st.Normal(2)},
    name="units",
)


def test_an_experiment_keeps_its_time_limit_and_says_what_is_missing():
    law = st.derive(RELU, st.discover(RELU).family())
    assert law.noise is not None and not law.noise.smooth
    settings = plan(law, RELU, replicas=4, learning_rate=0.01, steps=100, starts=2)
    over = experiment(law, RELU, settings, deadline=Deadline(0.0))
    assert over.verdict.status == "inconclusive" and not over.runs
    assert any("starts 1 to 2" in part.claim for part in over.verdict.parts)
    done = experiment(law, RELU, settings)
    assert len(done.runs) == len(done.predictions) == 2


def test_a_plan_under_a_time_limit_takes_fewer_steps():
    law = st.derive(RELU, st.discover(RELU).family())
    began = time.monotonic()
    hasty = plan(law, RELU, replicas=4, deadline=Deadline(2.0))
    assert time.monotonic() - began < 30  # compilation is not interrupted
    assert hasty.steps >= 1000 and hasty.dynamics.learning_rate > 0
    with pytest.raises(BudgetError, match=r"came to time .* of 1e"):
        law.noether_flow(hasty.starts[0], [1e9], temperature=0.01, deadline=Deadline(0.5))


def test_independence_of_the_start_needs_two_starts():
    example = load("scalar-factor")
    law = st.derive(example.bound(), example.symmetries["rescaling"])
    settings = plan(law, example.bound(), replicas=4, learning_rate=0.01, steps=200, starts=1)
    claims = [part.claim for part in experiment(law, example.bound(), settings).verdict.parts]
    assert not any("initialization" in claim for claim in claims)


def test_sde_agrees_with_the_law_too(scalar):
    law, run = scalar
    sde = st.simulate(
        run.model,
        st.SDE(temperature=0.01, step=0.002, samples=16),
        params={"u": 1.6, "w": 0.6},
        steps=10_000,
        replicas=64,
        key=jax.random.key(5),
        observe=law,
    )
    assert st.compare(law, sde).status == "supported"


def test_gradient_flow_conserves_the_charge(scalar):
    law, run = scalar
    flow = st.simulate(
        run.model,
        st.GradientFlow(step=0.01),
        params={"u": 1.6, "w": 0.6},
        steps=500,
        replicas=2,
        key=jax.random.key(6),
        observe=law,
    )
    charge = flow.observables["charge"]
    assert np.abs(charge - charge[:, :1]).max() < 1e-8
