"""SGD ensembles against the slow flow: where the noise comes to rest, and that it turns."""

import functools

import jax
import numpy as np
import pytest

from symtheory.comparison import compare_slow_flow
from symtheory.simulation import SGD, simulate
from symtheory.theory import deep_linear_equilibrium, slow_flow
from symtheory.zoo import load

NOISE = np.diag([0.25, 2.25])
RATES = (1e-3, 2e-3)
REPLICAS = 256


@functools.cache
def two_layers(isotropic=False):
    example = load("two-layer-linear")
    teacher = np.array([[1.0, 0.3], [-0.2, 0.7]])
    noise = np.eye(2) if isotropic else NOISE
    model = example.sized().bind(Sigma_x=np.diag([1.0, 4.0]), Sigma_eps=noise, V=teacher)
    start = {"U": teacher, "W": np.eye(2)}
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
