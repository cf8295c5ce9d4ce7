"""The slow flow of a model with 200 parameters, against a dense solver on sampled moments."""

import statistics
import time

import jax
import jax.flatten_util
import numpy as np
import pytest
import scipy.linalg

from symtheory.theory import deep_linear_equilibrium, slow_flow
from symtheory.zoo import load

pytestmark = pytest.mark.benchmark

SIZE = 10
SAMPLES = 16_384


def problem(seed):
    """A two-layer linear net of 200 parameters: a new model each time, to be compiled anew."""
    rng = np.random.default_rng(seed)

    def covariance():
        a = rng.normal(size=(SIZE, SIZE))
        return a @ a.T / SIZE + 0.3 * np.eye(SIZE)

    example = load("two-layer-linear")
    teacher = rng.normal(size=(SIZE, SIZE))
    model = example.sized(dy=SIZE, h=SIZE, dx=SIZE).bind(
        Sigma_x=covariance(), Sigma_eps=covariance(), V=teacher
    )
    w = rng.normal(size=(SIZE, SIZE)) / 3 + np.eye(SIZE)
    return model, {"U": teacher @ np.linalg.inv(w), "W": w}, example.symmetries["double-rotation"]


def seconds(function):
    wall, cpu = time.perf_counter(), time.process_time()
    out = function()
    return out, time.perf_counter() - wall, time.process_time() - cpu


def by_hand(model, params, generators):
    """What one would write: sampled moments, a dense Lyapunov solver, dense generators."""
    flat, back = jax.flatten_util.ravel_pytree(params)
    draws = model.sample(jax.random.key(0), (SAMPLES,))
    slopes = jax.vmap(jax.grad(lambda v, z: model.evaluate(back(v), z)), (None, 0))(flat, draws)
    loss = lambda v: jax.vmap(lambda z: model.evaluate(back(v), z))(draws).mean()
    hessian = np.asarray(jax.hessian(loss)(flat))
    noise = np.cov(np.asarray(slopes), rowvar=False)
    shift = 1e-6 * np.trace(hessian) / len(flat) * np.eye(len(flat))  # H is singular
    k = scipy.linalg.solve_continuous_lyapunov(hessian + shift, noise)
    return np.array([np.trace(a.T @ hessian @ k) for a in generators])


def test_200_parameters(capsys):
    slow_flow(*problem(99))  # loads what is loaded once
    cold, warm, rest = [], [], []
    for seed in range(3):
        case = problem(seed)
        flow, wall, cpu = seconds(lambda c=case: slow_flow(*c))
        cold.append((wall, cpu))
        warm.append(seconds(lambda c=case: slow_flow(*c))[1:])
        rest.append(seconds(flow.stationary)[1:])
        assert flow.hessian_rank == 100 and flow.orbit_dimension == 100
    stack = flow._algebra.stack.toarray()[: flow._algebra.given]
    generators = stack.reshape(-1, 200, 200)
    model, params, _ = case
    peer, wall, cpu = seconds(lambda: by_hand(model, params, generators))
    error = np.abs(peer - flow.rates).max() / np.abs(flow.rates).max()
    middle = lambda rows, k: statistics.median(row[k] for row in rows)
    with capsys.disabled():
        print("\nslow flow of 200 parameters: wall and processor seconds")
        for name, rows in (("compiled anew", cold), ("again", warm), ("stationary state", rest)):
            print(f"  {name:18s} {middle(rows, 0):7.3f} {middle(rows, 1):7.3f}")
        print(f"  {'by hand, sampled':18s} {wall:7.3f} {cpu:7.3f}  off by {error:.1%}")
    # Processor time: the machine may be shared.
    assert min(row[1] for row in cold) < 2.0
    assert min(row[1] for row in warm) < 1.0
    assert min(row[1] for row in warm) < cpu / 3
    assert error < 0.3


def test_deep_linear(capsys):
    rng = np.random.default_rng(0)
    a, b, v = rng.normal(size=(3, 64, 64))
    covariances = (a @ a.T / 64 + 0.1 * np.eye(64), b @ b.T / 64 + 0.1 * np.eye(64))
    net, *_ = seconds(lambda: deep_linear_equilibrium(v, *covariances, 6))
    times = [seconds(lambda: deep_linear_equilibrium(v, *covariances, 6))[2] for _ in range(5)]
    with capsys.disabled():
        print(f"\ndeep linear net, depth 6, width 64: {min(times) * 1e3:.1f} ms", end=", ")
        print(f"residual {max(*net.residuals, net.product_error):.1e}")
    assert max(*net.residuals, net.product_error) < 1e-12
    assert min(times) < 0.1
