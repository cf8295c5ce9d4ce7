"""The slow flow: its identity, its stationary state, and the numbers of the reference."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from symtheory.data import Empirical, Normal, Rademacher, Uniform
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.symmetry import Affine, Exponential, Matrix, discover
from symtheory.theory import deep_linear_equilibrium, slow_flow
from symtheory.theory.slow._criterion import rotation_criterion
from symtheory.theory.slow._exact import as_numbers, exact_minimum, prove_identity
from symtheory.theory.slow._lyapunov import lyapunov_on_range
from symtheory.theory.slow._minimum import read_minimum
from symtheory.theory.slow._points import points_of
from symtheory.zoo import load

REFERENCE = json.loads(
    (Path(__file__).parent.parent / "reference" / "values.json").read_text()
)["slow_flow_example"]  # fmt: skip
EXAMPLE = load("two-layer-linear")
DOUBLE = EXAMPLE.symmetries["double-rotation"]
TEACHER = np.array([[1.0, 0.3], [-0.2, 0.7]])
TURNED = {"U": np.round(TEACHER @ [[1, -1], [0, 1]], 9), "W": np.array([[1.0, 1.0], [0.0, 1.0]])}


def two_layers(noise=(0.25, 2.25), teacher=TEACHER):
    return EXAMPLE.sized().bind(Sigma_x=np.diag([1.0, 4.0]), Sigma_eps=np.diag(noise), V=teacher)


def deep(noise=(0.25, 2.25), teacher=TEACHER):
    example = load("deep-linear")
    model = example.sized().bind(Sigma_eps=np.diag(noise), V=teacher)
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 2, 2)) + np.eye(2)
    last = teacher @ np.linalg.inv(second @ first)
    params = {"W1": first, "W2": second, "W3": last}
    return model, params, list(example.symmetries.values())


def covariance(rng, n):
    a = rng.normal(size=(n, n))
    return a @ a.T / n + 0.3 * np.eye(n)


def test_reference_values():
    assert REFERENCE["V"] == TEACHER.tolist()
    flow = slow_flow(two_layers(), {"U": TEACHER, "W": np.eye(2)}, DOUBLE)
    rest = flow.stationary()
    [drift] = rest.relative_drifts.values()
    values = np.linalg.eigvalsh(drift)
    np.testing.assert_allclose(values, REFERENCE["relative_imbalance_eigenvalues"], atol=5e-6)
    assert rest.rotation_rate == pytest.approx(
        REFERENCE["stationary_rotation_rate_per_eta2_step"], abs=5e-5
    )
    # D as theory.md writes it, from the layers themselves.
    u, w = rest.params["U"], rest.params["W"]
    sx, se = np.diag(REFERENCE["Sigma_x"]), np.diag(REFERENCE["Sigma_eps"])
    upper, lower = np.trace(sx) * u.T @ se @ u, np.trace(se) * w @ sx @ w.T
    np.testing.assert_allclose(drift, (lower - upper) / np.trace(lower + upper), atol=1e-12)
    low, high = REFERENCE["sgd_measured"]
    assert low - 3 * REFERENCE["sgd_standard_error"] < values[1] < high
    # The stationary state turns: its matrix charge has dQ/dt = [Q, Omega] for the turn of U.
    charge = u.T @ u - w @ w.T
    tangent = rest.rotation @ np.concatenate([u.ravel(), w.ravel()])
    turn_u, turn_w = tangent[:4].reshape(2, 2), tangent[4:].reshape(2, 2)
    change = turn_u.T @ u + u.T @ turn_u - turn_w @ w.T - w @ turn_w.T
    omega = np.linalg.solve(u, turn_u)
    np.testing.assert_allclose(omega, -omega.T, atol=1e-10)
    np.testing.assert_allclose(change, charge @ omega - omega @ charge, atol=1e-10)
    drift_of_charge = np.trace(lower + upper) * 4 * drift
    np.testing.assert_allclose(change, drift_of_charge, atol=1e-8)


def test_any_start_and_any_form_of_the_algebra_leads_there():
    everything = Exponential(
        lambda p, B: {"U": p["U"] @ B, "W": -B @ p["W"]}, family={"B": Matrix("h")}
    )
    model = two_layers()
    rng = np.random.default_rng(1)
    for symmetry in (DOUBLE, everything, discover(model), None):
        w = rng.normal(size=(2, 2)) + np.eye(2)
        flow = slow_flow(model, {"U": TEACHER @ np.linalg.inv(w), "W": w}, symmetry)
        rest = flow.stationary()
        assert rest.rotation_rate == pytest.approx(0.524312358, abs=1e-7)
        assert rest.violation == pytest.approx(0.018335674, abs=1e-7)
        assert rest.residual < 1e-8 and rest.relaxation > 0
        np.testing.assert_allclose(rest.params["U"] @ rest.params["W"], TEACHER, atol=1e-10)


def test_the_flow_in_time_ends_at_the_stationary_state():
    model, params, symmetries = deep()
    flow = slow_flow(model, params, symmetries)
    rest = flow.stationary()
    path = flow.integrate([0.0, 1.0, 5.0])
    assert path.violations[0] == pytest.approx(flow.violation)
    assert path.violations[-1] == pytest.approx(rest.violation, rel=1e-2)
    products = path.params["W3"] @ path.params["W2"] @ path.params["W1"]
    np.testing.assert_allclose(products, np.broadcast_to(TEACHER, products.shape), atol=1e-12)
    # Twice the temperature is twice the speed, and weight decay enters beside it.
    twice = slow_flow(model, params, symmetries, temperature=2.0).integrate([0.5])
    np.testing.assert_allclose(twice.params["W1"][0], path.params["W1"][1], rtol=1e-4)


@pytest.mark.parametrize("case", ["two", "three"])
def test_the_identity(case):
    model, params, symmetries = deep() if case == "three" else (two_layers(), TURNED, [DOUBLE])
    flow = slow_flow(model, params, symmetries)
    assert flow.exact_moments and flow.flat_directions == flow.orbit_dimension
    assert flow.identity().status == "supported" and flow.identity().residual < 1e-12
    assert flow.proof().status == "proved"
    # Controls: the Hessian of another point of the orbit, and a generator that is no symmetry.
    moved = flow._minimum.moved(flow._algebra.combine(0.1 * flow._algebra.across[0]))
    assert dataclasses.replace(flow, _minimum=moved).identity().residual < 1e-12
    mixed = dataclasses.replace(flow._minimum, theta=moved.theta)
    assert dataclasses.replace(flow, _minimum=mixed).identity().status == "refuted"
    no_symmetry = Exponential(lambda p: p, name="scaling")
    assert prove_identity(model, [no_symmetry]).status == "refuted"


def test_rates_are_the_charge_law_and_more():
    """Symmetric generators: T Tr[Sigma A]/2. The velocity has all the products, whatever A."""
    everything = Exponential(
        lambda p, B: {"U": p["U"] @ B, "W": -B @ p["W"]}, family={"B": Matrix("h")}
    )
    model = two_layers()
    flow = slow_flow(model, TURNED, everything, temperature=0.3)
    exact = exact_minimum(model, TURNED)
    h, s = as_numbers(exact.hessian), as_numbers(exact.noise)
    k = lyapunov_on_range(h, 0.3 * s)
    np.testing.assert_allclose(h @ k + k @ h, 0.3 * s, atol=1e-10)
    velocity = np.concatenate([flow.velocity["U"].ravel(), flow.velocity["W"].ravel()])
    theta = np.concatenate([TURNED["U"].ravel(), TURNED["W"].ravel()])
    for rate, row in zip(flow.rates, np.eye(4), strict=True):
        b = row.reshape(2, 2)
        a = np.zeros((8, 8))
        a[:4, :4], a[4:, 4:] = np.kron(np.eye(2), b.T), -np.kron(b, np.eye(2))
        assert rate == pytest.approx(np.trace(a.T @ h @ k), abs=1e-10)
        assert a @ theta @ velocity == pytest.approx(rate, abs=1e-10)
        sym = (a + a.T) / 2
        assert np.trace(sym @ h @ k) == pytest.approx(0.15 * np.trace(s @ a), abs=1e-10)


# --- when the matrix equilibrium is exact ---------------------------------------------------------


def test_the_criterion_is_decided_exactly():
    isotropic = slow_flow(two_layers(noise=(1.0, 1.0)), TURNED, DOUBLE).criterion()
    assert isotropic.status == "proved" and isotropic.how == "Sigma = c H"
    diagonal = {"U": np.diag([2.0, 1.0]), "W": np.diag([1.0, 0.5])}
    aligned = slow_flow(two_layers(teacher=np.diag([2.0, 0.5])), diagonal, DOUBLE).criterion()
    assert aligned.status == "proved" and aligned.how == "H Sigma = Sigma H"
    generic = slow_flow(two_layers(), TURNED, DOUBLE).criterion()
    assert generic.status == "refuted" and generic.how == "exact rates"
    refuted = [part for part in generic.parts if part.status == "refuted"]
    assert refuted and all("bracket" in part.claim for part in refuted)
    # The exact rate is the one of the Lyapunov equation in floats.
    exact = exact_minimum(two_layers(), TURNED)
    h, s = as_numbers(exact.hessian), as_numbers(exact.noise)
    k = lyapunov_on_range(h, s)
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    a = np.zeros((8, 8))
    a[:4, :4], a[4:, 4:] = np.kron(np.eye(2), turn.T), -np.kron(turn, np.eye(2))
    assert abs(np.trace(a.T @ h @ k)) == pytest.approx(abs(refuted[0].residual), rel=1e-10)
    moved = {"U": TURNED["U"] + 0.1, "W": TURNED["W"]}
    assert rotation_criterion(two_layers(), moved, [DOUBLE]).status == "inconclusive"


@settings(deadline=None, max_examples=4)
@given(seed=some.integers(0, 2**30))
def test_isotropic_label_noise_never_turns(seed):
    rng = np.random.default_rng(seed)
    teacher = rng.normal(size=(2, 2)) + 2 * np.eye(2)
    model = EXAMPLE.sized().bind(Sigma_x=covariance(rng, 2), Sigma_eps=np.eye(2), V=teacher)
    w = rng.normal(size=(2, 2)) + 2 * np.eye(2)
    flow = slow_flow(model, {"U": teacher @ np.linalg.inv(w), "W": w}, DOUBLE)
    rest = flow.stationary()
    assert rest.rotation_rate < 1e-7 and rest.violation < 1e-7
    for leaf, same in zip(
        jax.tree.leaves(rest.params), jax.tree.leaves(rest.matrix_equilibrium), strict=True
    ):
        np.testing.assert_allclose(leaf, same, atol=1e-6)


def test_the_matrix_equilibrium_is_the_closed_form():
    for decay in (0.0, 0.4):
        model, params, symmetries = deep()
        flow = slow_flow(model, params, symmetries, weight_decay=decay, temperature=0.25)
        point = flow.matrix_equilibrium()
        net = deep_linear_equilibrium(
            TEACHER, np.eye(2), np.diag([0.25, 2.25]), 3, weight_decay=decay, temperature=0.25
        )
        for name, w in zip(("W1", "W2", "W3"), net.layers, strict=True):
            size = np.linalg.svd(w, compute_uv=False)
            np.testing.assert_allclose(np.linalg.svd(point[name], compute_uv=False), size, 1e-6)


# --- other models and moments ---------------------------------------------------------------------


def scalar(law):
    return Model(lambda p, z: (p["u"] * p["w"] - 1.0 - z["x"]) ** 2,
                 {"u": (), "w": ()}, {"x": law}, name="scalar")  # fmt: skip


RESCALING = Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")


@pytest.mark.parametrize(
    ("law", "variance"),
    [(Normal((), cov=0.5), 0.5), (Rademacher(()), 1.0), (Uniform((), low=-2, high=2), 4 / 3)],
)
def test_moments_by_cubature(law, variance):
    flow = slow_flow(scalar(law), {"u": 2.0, "w": 0.5}, RESCALING)
    assert flow.exact_moments and flow.rate_errors is None
    # Sigma = 4 s^2 (w, u)(w, u)^T, so T Tr[Sigma A]/2 = 2 s^2 (w^2 - u^2).
    assert flow.rates[0] == pytest.approx(2 * variance * (0.25 - 4.0))
    rest = flow.stationary()
    assert rest.params["u"] == pytest.approx(1.0) and rest.rotation_rate == 0


@pytest.mark.parametrize("law", [Normal(2, cov=[[2, 1], [1, 3]], mean=0.7), Uniform(2, low=0)])
def test_cubature_agrees_with_exact_rationals(law):
    """Quadratic in a shifted, correlated sample: Hessian and noise to rounding."""
    model = Model(
        lambda p, z: (p["u"] * (p["w"] @ z["x"]) - 1.0) ** 2 + z["x"] @ z["x"],
        {"u": (), "w": (2,)}, {"x": law}, name="regression",
    )  # fmt: skip
    params = {"u": 1.5, "w": np.array([0.5, -0.25])}
    exact = exact_minimum(model, params)
    points = points_of(model, 64, 0)
    assert not points.drawn
    slopes = np.stack(
        [
            jax.flatten_util.ravel_pytree(jax.grad(model.evaluate)(params, {"x": jnp.asarray(x)}))[
                0
            ]
            for x in points.samples["x"]
        ]
    )
    mean = points.weights @ slopes
    noise = (slopes.T * points.weights) @ slopes - np.outer(mean, mean)
    np.testing.assert_allclose(noise, as_numbers(exact.noise), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(mean, [float(x) for x in exact.gradient], atol=1e-12)


def test_empirical_data_and_lanczos():
    rng = np.random.default_rng(2)
    x, e = rng.normal(size=(40, 3)), rng.normal(size=(40, 2)) * [0.5, 1.5]
    e -= x @ np.linalg.lstsq(x, e, rcond=None)[0]  # so that the teacher is the minimum
    teacher = rng.normal(size=(2, 3))
    data = Empirical({"x": x, "y": x @ teacher.T + e})
    model = Model(
        lambda p, z: jnp.sum((p["U"] @ p["W"] @ z["x"] - z["y"]) ** 2),
        {"U": (2, "h"), "W": ("h", 3)}, data, name="data",
    ).bind(h=2)  # fmt: skip
    w = rng.normal(size=(2, 3))
    w = np.linalg.svd(teacher)[2][:2] + 0.1 * (w @ teacher.T @ teacher)
    params = {"U": teacher @ np.linalg.pinv(w), "W": w}
    assert np.allclose(params["U"] @ params["W"], teacher)
    flow = slow_flow(model, params, DOUBLE)
    assert flow.exact_moments and flow.hessian_rank == 6 and flow.identity().status == "supported"
    other = slow_flow(model, params, DOUBLE, method="lanczos")
    np.testing.assert_allclose(other.rates, flow.rates, rtol=1e-8)
    assert flow.stationary().rotation_rate > 1e-4


def test_drawn_samples_come_with_errors():
    """A cubic in the sample: drawn, and within its standard errors of the exact rates."""

    def build(power):
        return Model(lambda p, z: (p["u"] * p["w"] - 1.0 - z["x"] ** power) ** 2,
                     {"u": (), "w": ()}, {"x": Normal(())}, name="cube")  # fmt: skip

    flow = slow_flow(build(3), {"u": 2.0, "w": 0.5}, RESCALING, samples=40_000)
    assert not flow.exact_moments and flow.rate_errors is not None
    expected = 2 * 15.0 * (0.25 - 4.0)  # E x^6 = 15
    assert abs(flow.rates[0] - expected) < 4 * flow.rate_errors[0]
    assert 0 < flow.rate_errors[0] < 0.2 * abs(expected)


def test_wide_layers_keep_a_frozen_block():
    """Width 3 for a teacher of rank 1, hidden units two and three empty: flat but not moving."""
    teacher = np.array([[1.0, 0.5], [0.4, 0.2]])
    model = EXAMPLE.sized(h=3).bind(
        Sigma_x=np.diag([1.0, 4.0]), Sigma_eps=np.diag([0.25, 2.25]), V=teacher
    )
    u, w = np.zeros((2, 3)), np.zeros((3, 2))
    u[:, 0], w[0] = [1.0, 0.4], [1.0, 0.5]
    flow = slow_flow(model, {"U": u, "W": w}, DOUBLE)
    assert flow.flat_directions > flow.orbit_dimension
    rest = flow.stationary()
    np.testing.assert_allclose(rest.params["U"] @ rest.params["W"], teacher, atol=1e-9)
    sx, se = np.diag([1.0, 4.0]), np.diag([0.25, 2.25])
    upper = 5 * rest.params["U"].T @ se @ rest.params["U"]
    lower = 2.5 * rest.params["W"] @ sx @ rest.params["W"].T
    np.testing.assert_allclose(upper, lower, atol=1e-6)  # one active unit: nothing to turn


# --- bad input ------------------------------------------------------------------------------------


def test_not_a_minimum():
    with pytest.raises(InputError, match=r"not a minimum: \|grad L\| = 13.9"):
        slow_flow(two_layers(), {"U": TEACHER, "W": 2 * np.eye(2)}, DOUBLE)
    with pytest.raises(InputError, match="saddle"):
        slow_flow(two_layers(), {"U": np.zeros((2, 2)), "W": np.zeros((2, 2))}, DOUBLE)


@pytest.mark.parametrize(
    ("symmetry", "text"),
    [
        (Exponential(lambda p: p, name="scaling"), "scaling is not a symmetry at this minimum"),
        (Affine(lambda p: {"U": 1 + 0 * p["U"], "W": 0 * p["W"]}, name="shift"), "has a shift"),
        ([], "no symmetry is given"),
        ("rescaling", "a list of Exponential"),
        (3, "a list of Exponential"),
    ],
)
def test_bad_symmetries(symmetry, text):
    with pytest.raises(InputError, match=text):
        slow_flow(two_layers(), TURNED, symmetry)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"temperature": -1.0}, "temperature must be"),
        ({"weight_decay": float("nan")}, "weight_decay must be"),
        ({"samples": 3}, "samples must be"),
        ({"method": "magic"}, "method is"),
    ],
)
def test_bad_settings(change, text):
    with pytest.raises(InputError, match=text):
        slow_flow(two_layers(), TURNED, DOUBLE, **change)


def test_no_equilibrium_at_a_finite_distance():
    """Scale invariance has noise on one side only; weight decay holds it."""
    model = Model(
        lambda p, z: z["a"] * p["v"][0] / jnp.sqrt(p["v"] @ p["v"])
        + p["v"][0] ** 2 / (p["v"] @ p["v"]),
        {"v": (2,)}, {"a": Normal(())}, name="scale",
    )  # fmt: skip
    scaling = Exponential(lambda p: {"v": p["v"]}, name="scaling")
    point = {"v": np.array([0.0, 1.5])}
    flow = slow_flow(model, point, scaling)
    with pytest.raises(InputError, match="no equilibrium at a finite distance"):
        flow.stationary()
    held = slow_flow(model, point, scaling, weight_decay=0.1).stationary()
    radius = np.linalg.norm(held.params["v"])
    # Tr Sigma = 1/r^2 and C = r^2: T/r^2 = 4 gamma r^2.
    assert radius**4 == pytest.approx(1 / 0.4, rel=1e-8)
    with pytest.raises(InputError, match="times must be increasing"):
        flow.integrate([1.0, 0.5])


def test_internal_reading_says_what_it_dropped():
    points = points_of(two_layers(), 64, 0)
    theta = np.concatenate([TURNED["U"].ravel(), TURNED["W"].ravel()])
    reading = read_minimum(two_layers(), theta, points, 1e-6, "dense")
    assert reading.gap[0] > 1e-3 and abs(reading.gap[1]) < 1e-12 and reading.off_range < 1e-12
