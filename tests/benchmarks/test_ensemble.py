"""An ensemble of SGD trajectories beside what a user would write otherwise.

The loss is |U W x - V x - eps|^2 with 4 x 4 matrices, fresh Gaussian x and eps at every step, 1024
replicas in single precision. Every rival computes the same step, U (W x) from the right, and its
gradient by hand; symtheory differentiates the loss as written. Medians of interleaved repetitions.

Run with: pytest -m benchmark -n 0 -s tests/benchmarks/test_ensemble.py
"""

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.simulation import SGD, simulate
from symtheory.simulation._generator import fused
from symtheory.simulation._lanes import over_replicas

REPLICAS, RATE, SPREAD = 1024, 1e-3, 0.5
V = np.linspace(-1, 1, 16).reshape(4, 4).astype(np.float32)
START = {"U": np.full((4, 4), 0.3, np.float32), "W": np.eye(4, dtype=np.float32)}

MODEL = Model(
    lambda p, z, c: jnp.sum((p["U"] @ (p["W"] @ z["x"]) - c["V"] @ z["x"] - z["eps"]) ** 2),
    params={"U": (4, 4), "W": (4, 4)},
    random={"x": Normal(4), "eps": Normal(4, cov=SPREAD**2)},
    constants={"V": V},
)
LEFT_TO_RIGHT = Model(
    lambda p, z, c: jnp.sum((p["U"] @ p["W"] @ z["x"] - c["V"] @ z["x"] - z["eps"]) ** 2),
    params=MODEL.params,
    random=MODEL.random,
    constants={"V": V},
)


def ours(steps, model=MODEL):
    return simulate(
        model, SGD(RATE), params=START, steps=steps, replicas=REPLICAS, key=jax.random.key(0)
    ).params["U"]


def left_to_right(steps):
    return ours(steps, LEFT_TO_RIGHT)


def numpy_replicas_last(steps):
    """Vectorised over replicas along the last axis, everything in place."""
    rng = np.random.default_rng(0)
    U, W = (np.repeat(START[n][..., None], REPLICAS, axis=2) for n in ("U", "W"))
    for _ in range(steps):
        x = rng.standard_normal((4, REPLICAS), dtype=np.float32)
        e = rng.standard_normal((4, REPLICAS), dtype=np.float32)
        e *= np.float32(SPREAD)
        h = (W * x).sum(axis=1)
        r = (U * h).sum(axis=1)
        r -= V @ x
        r -= e
        r *= np.float32(2 * RATE)
        b = (U * r[:, None]).sum(axis=0)
        U -= r[:, None] * h
        W -= b[:, None] * x
    return np.moveaxis(U, -1, 0)


def numpy_matmul(steps):
    """The same with stacked matrices and `@`."""
    rng = np.random.default_rng(0)
    U, W = (np.repeat(START[n][None], REPLICAS, axis=0) for n in ("U", "W"))
    for _ in range(steps):
        x = rng.standard_normal((REPLICAS, 4, 1), dtype=np.float32)
        e = rng.standard_normal((REPLICAS, 4, 1), dtype=np.float32)
        h = W @ x
        r = np.float32(2 * RATE) * (U @ h - V @ x - np.float32(SPREAD) * e)
        b = U.transpose(0, 2, 1) @ r
        U -= r * h.transpose(0, 2, 1)
        W -= b * x.transpose(0, 2, 1)
    return U


def numba_loops():
    """Parallel over replicas, each with its matrices in registers and cache."""
    numba = pytest.importorskip("numba")
    numba.set_num_threads(min(os.cpu_count() or 1, numba.config.NUMBA_NUM_THREADS))

    @numba.njit(parallel=True, fastmath=True)
    def run(steps, U, W, V, rate, spread):
        for r in numba.prange(U.shape[0]):
            u, w = U[r].copy(), W[r].copy()
            x, h, d = np.empty(4, np.float32), np.empty(4, np.float32), np.empty(4, np.float32)
            for _ in range(steps):
                for i in range(4):
                    x[i] = np.random.standard_normal()
                for i in range(4):
                    s = np.float32(0)
                    for k in range(4):
                        s += w[i, k] * x[k]
                    h[i] = s
                for i in range(4):
                    s = -spread * np.float32(np.random.standard_normal())
                    for k in range(4):
                        s += u[i, k] * h[k] - V[i, k] * x[k]
                    d[i] = 2 * rate * s
                for k in range(4):
                    b = np.float32(0)
                    for i in range(4):
                        b += u[i, k] * d[i]
                        u[i, k] -= d[i] * h[k]
                    for j in range(4):
                        w[k, j] -= b * x[j]
            U[r], W[r] = u, w
        return U

    def numba_parallel(steps):
        U, W = (np.repeat(START[n][None], REPLICAS, axis=0) for n in ("U", "W"))
        return run(steps, U, W, V, np.float32(RATE), np.float32(SPREAD))

    return numba_parallel


def diffrax_euler():
    """Euler steps of the equation that replaces SGD, noise of the right covariance from 8 normals.

    grad = 2 (r h^T, U^T r x^T) has no closed-form root of its covariance, so the driver is the
    sample itself: drift and noise together are one discrete step per unit of time, which diffrax
    advances for all replicas at once.
    """
    diffrax = pytest.importorskip("diffrax")

    def force(t, state, key):
        U, W = state
        x, e = jax.random.normal(jax.random.fold_in(key, jnp.int32(t)), (2, 4), jnp.float32)
        h = W @ x
        r = 2 * RATE * (U @ h - V @ x - SPREAD * e)
        return -jnp.outer(r, h), -jnp.outer(U.T @ r, x)

    @jax.jit
    def run(keys, steps):
        def one(key):
            start = (jnp.asarray(START["U"]), jnp.asarray(START["W"]))
            return diffrax.diffeqsolve(
                diffrax.ODETerm(force), diffrax.Euler(), 0.0, steps, 1.0, start, key,
                max_steps=None, saveat=diffrax.SaveAt(t1=True), adjoint=diffrax.ForwardMode(),
            ).ys[0][0]  # fmt: skip

        return jax.vmap(one)(keys)

    def diffrax_scan(steps):
        keys = jax.random.split(jax.random.key(0), REPLICAS)
        return np.asarray(run(keys, jnp.float32(steps)))

    return diffrax_scan


def numbers_only(as_simulated):
    """The same random numbers in blocks of the same size, and no dynamics."""
    width, chunk = min(128, REPLICAS), 64

    def draw(key, number):
        return MODEL.sample(jax.random.fold_in(key, number), (chunk,), jnp.float32)

    keys = jax.random.split(jax.random.key(0), REPLICAS).reshape(-1, width)
    if as_simulated:
        keys = fused(keys)
        examples = jax.ShapeDtypeStruct((), keys.dtype), jax.ShapeDtypeStruct((), jnp.int32)
        draw_all = over_replicas(draw, examples[:1], examples[1])
    else:
        draw_all = jax.vmap(draw, in_axes=(0, None), out_axes=-1)

    @jax.jit
    def block(keys, chunks):
        zero = jnp.zeros((chunk, 4, width), jnp.float32)
        return jax.lax.fori_loop(
            jnp.int32(0), chunks, lambda i, s: jax.tree.map(jnp.add, s, draw_all(keys, i)),
            {"x": zero, "eps": zero},
        )  # fmt: skip

    def random_numbers(steps):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            chunks = np.int32(steps // chunk)
            list(pool.map(lambda k: jax.block_until_ready(block(k, chunks)), keys))

    return random_numbers


@pytest.mark.benchmark
def test_ensemble_beside_numpy_numba_and_diffrax():
    runs = {
        "symtheory": (ours, 12_800),
        "symtheory, (U W) x": (left_to_right, 12_800),
        "its random numbers": (numbers_only(as_simulated=True), 12_800),
        "jax.random's": (numbers_only(as_simulated=False), 6_400),
        "NumPy, replicas last": (numpy_replicas_last, 3_200),
        "NumPy, matmul": (numpy_matmul, 1_600),
        "numba, parallel": (numba_loops(), 6_400),
        "diffrax, Euler": (diffrax_euler(), 320),
    }
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    wall, cpu = ({name: [] for name in runs} for _ in range(2))
    with jax.enable_x64(False):
        for function, _ in runs.values():
            function(64)  # compile
        for _ in range(7):
            for name, (function, steps) in runs.items():
                began, used = time.perf_counter(), time.process_time()
                function(steps)
                scale = 1e9 / steps / REPLICAS
                wall[name].append((time.perf_counter() - began) * scale)
                cpu[name].append((time.process_time() - used) * scale)
    cost = {name: statistics.median(values) for name, values in wall.items()}
    best = cost["symtheory"]
    print(f"\n{os.cpu_count()} cores, load before {load:.1f}")
    print(
        "ns per replica and step: median of 7 (least, most), relative, time of all cores together"
    )
    for name, values in wall.items():
        print(
            f"{name:22s} {cost[name]:9.1f}  ({min(values):.1f}, {max(values):.1f})"
            f"  {cost[name] / best:6.2f} x  {statistics.median(cpu[name]):9.1f}"
        )
    print(f"share of random numbers: {cost['its random numbers'] / best:.0%}")
    if load > 0.5 * (os.cpu_count() or 1):
        pytest.skip(f"other work is running (load {load:.1f}): the ratios above say little")
    # What a user writes is matmul over a stack; laying replicas last by hand is three times faster.
    assert cost["NumPy, matmul"] / best >= 4
    assert cost["NumPy, replicas last"] / best >= 2
    assert cost["numba, parallel"] / best >= 2


SIZES = (64, 1024, 16_384)
LENGTHS = (1_000, 10_000, 100_000)


def cpu_time(function, steps, replicas, repeat):
    """Median CPU time of all cores together, in ns per replica and step."""
    times = []
    for _ in range(repeat):
        used = time.process_time()
        function(steps)
        times.append((time.process_time() - used) * 1e9 / steps / replicas)
    return statistics.median(times)


@pytest.mark.benchmark
@pytest.mark.parametrize("replicas", SIZES)
def test_share_of_the_random_numbers(monkeypatch, replicas):
    """CPU time, so that other work on the machine matters less; few replicas fill half a block."""
    monkeypatch.setattr(f"{__name__}.REPLICAS", replicas)
    steps = 64 * max(4, 200_000 // replicas)
    with jax.enable_x64(False):
        runs = {
            "symtheory": (ours, steps),
            "its random numbers": (numbers_only(as_simulated=True), steps),
            "jax.random's": (numbers_only(as_simulated=False), steps // 2),
            "NumPy, replicas last": (numpy_replicas_last, max(64, steps // 8)),
            "NumPy, matmul": (numpy_matmul, max(64, steps // 16)),
            "numba, parallel": (numba_loops(), steps // 2),
            "diffrax, Euler": (diffrax_euler(), max(32, steps // 64)),
        }
        for function, _ in runs.values():
            function(64)  # compile
        cost = {name: cpu_time(*run, replicas, 5) for name, run in runs.items()}
    print(f"\n{replicas} replicas, CPU ns per replica and step, load {os.getloadavg()[0]:.1f}")
    for name, value in cost.items():
        print(f"{name:22s} {value:9.1f}  {value / cost['symtheory']:6.2f} x")
    share = cost["its random numbers"] / cost["symtheory"]
    print(f"share of random numbers: {share:.0%}")
    if replicas == 1024:
        assert share >= 0.6
    assert cost["NumPy, matmul"] > cost["symtheory"]
    assert cost["diffrax, Euler"] > cost["symtheory"]


@pytest.mark.benchmark
def test_cost_does_not_depend_on_the_length():
    """CPU time, the least of interleaved repetitions: other work can only add to it."""
    load = os.getloadavg()[0]
    cost = {steps: [] for steps in LENGTHS}
    with jax.enable_x64(False):
        ours(64)  # compile
        for _ in range(5):
            for steps, values in cost.items():
                values.append(cpu_time(ours, steps, REPLICAS, max(1, 10_000 // steps)))
    print(f"\nCPU ns per replica and step: least, median; load before {load:.1f}")
    for steps, values in cost.items():
        print(f"{steps:7d} steps: {min(values):.1f}, {statistics.median(values):.1f}")
    least = [min(values) for values in cost.values()]
    print(f"most by least: {max(least) / min(least):.2f}")
    assert max(least) < 1.2 * min(least)


@pytest.mark.benchmark
def test_rivals_compute_the_same_thing():
    """Means over replicas agree within their errors (the random numbers differ)."""
    with jax.enable_x64(False):
        results = [
            f(640)
            for f in (
                ours,
                left_to_right,
                numpy_replicas_last,
                numpy_matmul,
                numba_loops(),
                diffrax_euler(),
            )
        ]
    want, error = results[0].mean(axis=0), results[0].std(axis=0) / np.sqrt(REPLICAS)
    for other in results[1:]:
        assert np.all(np.abs(other.mean(axis=0) - want) < 6 * error)
