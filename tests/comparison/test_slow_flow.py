"""SGD ensembles against the slow flow: where the noise comes to rest, and that it turns."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.comparison import (
    compare_slow_flow,
    difference,
    mean_over_replicas,
    square_of_mean,
    trend,
)
from symtheory.errors import InputError
from symtheory.simulation import SGD, Divergence, simulate
from symtheory.theory import deep_linear_equilibrium, slow_flow
from symtheory.zoo import load

TEACHER = np.array([[1.0, 0.3], [-0.2, 0.7]])
NOISE = np.diag([0.25, 2.25])
RATES = (1e-3, 2e-3)
REPLICAS = 256


@functools.cache
def two_layers(isotropic=False):
    example = load("two-layer-linear")
    noise = np.eye(2) if isotropic else NOISE
    model = example.sized().bind(Sigma_x=np.diag([1.0, 4.0]), Sigma_eps=noise, V=TEACHER)
    start = {"U": TEACHER, "W": np.eye(2)}
    return model, slow_flow(model, start, example.symmetries["double-rotation"])


@functools.cache
def three_layers(isotropic=False):
    example = load("deep-linear")
    teacher = np.array([[0.6, 0.9], [0.3, -0.8]]) @ np.diag([1.0, 2.0])
    noise = np.eye(2) if isotropic else NOISE
    model = example.sized().bind(Sigma_eps=noise, V=teacher)
    net = deep_linear_equilibrium(teacher, np.eye(2), noise, 3)
    start = dict(zip(("W1", "W2", "W3"), net.layers, strict=True))
    return model, slow_flow(model, start, list(example.symmetries.values()))


def ensembles(model, flow, start, slow_times):
    """Runs at both learning rates, `slow_times` units of eta^2 steps long."""
    return [
        simulate(
            model,
            SGD(rate),
            params=start,
            steps=int(slow_times / rate**2),
            replicas=REPLICAS,
            key=jax.random.key(5),
            observe=flow,
            record_every=int(2 / rate),
        )
        for rate in RATES
    ]


def within_three_errors(limit, size):
    return abs(limit.mean - size**2) < 3 * limit.standard_error


@pytest.mark.slow
@pytest.mark.parametrize("build", [two_layers, three_layers])
def test_sgd_comes_to_rest_where_the_slow_flow_says(build, capsys):
    model, flow = build()
    rest = flow.stationary()
    runs = ensembles(model, flow, rest.params, 0.6)
    found = compare_slow_flow(rest, runs, margin=0.002)
    with capsys.disabled():
        for name, line in found.trends.items():
            size = np.linalg.norm(rest.relative_drifts[name])
            print(f"\n{name}: |D|^2 {size**2:.4e} predicted, {line.limit} slope {line.slope}")
    assert found.slow_flow.status == "supported"
    assert found.matrix_equilibrium.status == "refuted"  # the control
    for name, line in found.trends.items():
        assert within_three_errors(line.limit, np.linalg.norm(rest.relative_drifts[name]))
        assert line.limit.mean > 5 * line.limit.standard_error


@pytest.mark.slow
@pytest.mark.parametrize("build", [two_layers, three_layers])
def test_isotropic_label_noise_leaves_the_matrix_equilibrium(build, capsys):
    model, flow = build(isotropic=True)
    rest = flow.stationary()
    assert rest.violation < 1e-8
    found = compare_slow_flow(rest, ensembles(model, flow, rest.params, 0.3), margin=0.002)
    with capsys.disabled():
        for name, line in found.trends.items():
            print(f"\n{name}: |D|^2 0 predicted, {line.limit}")
    assert found.matrix_equilibrium.status == "supported"


@pytest.mark.slow
def test_the_stationary_state_turns_at_the_predicted_rate_from_any_start():
    """Angle of U^T U, whose anisotropy is far above the noise; |D| from an unbalanced start."""
    model, flow = two_layers()
    rest = flow.stationary()

    def frame(p):
        gram = p["U"].T @ p["U"]
        return jnp.stack([gram[0, 0] - gram[1, 1], 2 * gram[0, 1]])

    step = rest.rotation @ np.concatenate([rest.params["U"].ravel(), rest.params["W"].ravel()])
    moved = {"U": rest.params["U"] + 1e-6 * step[:4].reshape(2, 2)}
    here, there = (np.arctan2(*frame(p)[::-1]) / 2 for p in (rest.params, moved))
    predicted = (there - here) / 1e-6
    assert abs(predicted) == pytest.approx(rest.rotation_rate, rel=1e-4)
    points = []
    for rate in RATES:
        run = simulate(
            model, SGD(rate), params=rest.params, steps=int(0.5 / rate**2), replicas=REPLICAS,
            key=jax.random.key(7), observe=frame, record_every=int(4 / rate),
        )  # fmt: skip
        records = run.observables["frame"]
        angles = np.unwrap(np.arctan2(records[..., 1], records[..., 0]), axis=1) / 2
        late = slice(angles.shape[1] // 3, None)
        times = run.record_steps[late] * rate**2
        times = times - times.mean()
        slopes = angles[:, late] @ times / (times @ times)
        points.append((rate, mean_over_replicas(slopes)))
    limit = trend(points).limit
    assert abs(limit.mean - predicted) < 3 * limit.standard_error
    assert abs(limit.mean) > 10 * limit.standard_error
    # From a start far from balance, the ensemble comes to the same |D| at the same rate.
    far = {"U": TEACHER * 2.0, "W": np.eye(2) / 2.0}
    ends = []
    for start in (rest.params, far):
        run = simulate(
            model, SGD(2e-3), params=start, steps=300_000, replicas=REPLICAS,
            key=jax.random.key(8), observe=flow, record_every=1000,
        )  # fmt: skip
        ends.append(square_of_mean(run.observables["double rotation"][:, 200:], 20))
    apart = difference(*ends)
    assert abs(apart.mean) < 3 * apart.standard_error
    assert ends[1].mean > 10 * ends[1].standard_error


def test_squares_of_means_have_no_bias():
    rng = np.random.default_rng(0)
    mean = np.array([[0.03, 0.01], [0.01, -0.03]])
    noise = rng.normal(size=(300, 60, 20, 2, 2))
    found = [square_of_mean(mean + x, 2) for x in noise]
    values = np.array([estimate.mean for estimate in found])
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - np.sum(mean**2)) < 4 * error
    # The control: the plain mean of squares is off by the variance.
    plain = np.mean([np.sum(x.mean(axis=1) ** 2, axis=(1, 2)).mean() for x in mean + noise])
    assert plain > np.sum(mean**2) + 0.1
    reported = np.mean([estimate.standard_error for estimate in found])
    assert 0.8 * values.std() < reported < 2.0 * values.std()


def test_squares_in_windows_see_what_turns():
    angles = np.linspace(0, 2 * np.pi, 400)
    records = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    records = np.broadcast_to(records, (5, 400, 2)) + 0.0
    assert square_of_mean(records, 1).mean < 1e-4
    assert square_of_mean(records, 100).mean == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("values", "windows", "text"),
    [
        (np.zeros((2, 5)), 1, "R >= 3"),
        (np.zeros(5), 1, "R >= 3"),
        (np.zeros((4, 5)), 6, "cannot be cut into 6 windows"),
        (np.zeros((4, 5)), 0, "cannot be cut into 0 windows"),
        (np.full((4, 5), np.nan), 1, "not finite"),
    ],
)
def test_bad_records(values, windows, text):
    with pytest.raises(InputError, match=text):
        square_of_mean(values, windows)


def test_bad_comparisons():
    model, flow = two_layers()
    rest = flow.stationary()
    run = simulate(model, SGD(1e-3), params=rest.params, steps=20, replicas=4,
                   key=jax.random.key(0), observe=lambda p: p["U"])  # fmt: skip
    with pytest.raises(InputError, match="did not record 'double rotation'"):
        compare_slow_flow(rest, [run], margin=0.01)
    with pytest.raises(InputError, match="margin must be positive"):
        compare_slow_flow(rest, [run], margin=0.0)
    with pytest.raises(InputError, match="burn_in in"):
        compare_slow_flow(rest, [run], margin=0.1, burn_in=1.0)
    wild = dataclasses.replace(run, divergence=Divergence(0, 3, 0.05, 100))
    assert compare_slow_flow(rest, [wild], margin=0.1).slow_flow.status == "inconclusive"


def test_too_short_runs_decide_nothing():
    model, flow = two_layers()
    rest = flow.stationary()
    runs = [
        simulate(model, SGD(rate), params=rest.params, steps=400, replicas=8,
                 key=jax.random.key(0), observe=flow, record_every=10)
        for rate in RATES
    ]  # fmt: skip
    found = compare_slow_flow(rest, runs, margin=0.002)
    assert found.slow_flow.status == found.matrix_equilibrium.status == "inconclusive"
