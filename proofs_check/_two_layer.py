"""Two-layer linear nets drawn from a key: y = V x + eps, and minima U W = V far from balance."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import symtheory as st
from proofs_check._claim import Budget
from proofs_check._intervals import CONFIDENCE

SYMMETRY = st.zoo.load("two-layer-linear").symmetries["double-rotation"]


def generator(key: jax.Array) -> np.random.Generator:
    """Return a NumPy generator seeded with a key: single draws by JAX are compiled one by one."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def axes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw an orthogonal matrix."""
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def spread(rng: np.random.Generator, size: int, low: float = 0.5, high: float = 2.0) -> np.ndarray:
    """Draw a covariance with random axes and eigenvalues in a range, both ends included."""
    turned = axes(rng, size)
    values = np.concatenate([[low, high], rng.uniform(low, high, size=max(size - 2, 0))])[:size]
    return (turned * values) @ turned.T


def teacher(rng: np.random.Generator, rows: int = 2, columns: int = 3) -> np.ndarray:
    """Draw V with singular values between 0.7 and 1.3 and random axes."""
    values = rng.uniform(0.7, 1.3, size=rows)
    return (axes(rng, rows) * values) @ axes(rng, columns)[:rows]


def net(V: Any, cov_x: Any, cov_eps: Any) -> st.Model:
    """Return l = |U W x - y|^2 with as many hidden units as outputs."""
    rows, columns = np.shape(V)
    example = st.zoo.load("two-layer-linear").sized(dx=columns, dy=rows, h=rows)
    return example.bind(V=V, Sigma_x=cov_x, Sigma_eps=cov_eps)


def minimum(rng: np.random.Generator, V: np.ndarray, size: float = 0.3) -> dict[str, np.ndarray]:
    """Draw a point of the orbit U W = V, for V of full rank, where U is larger than W."""
    left, values, right = np.linalg.svd(V, full_matrices=False)
    root, rank = np.sqrt(values), len(values)
    noise = np.clip(rng.normal(size=(rank, rank)), -1, 1)
    moved = np.diag(np.linspace(1.4, 1.1, rank)) @ (np.eye(rank) + size * noise)
    return {"U": (left * root) @ moved, "W": np.linalg.solve(moved, root[:, None] * right)}


def misaligned(rng: np.random.Generator) -> tuple[st.Model, np.ndarray]:
    """Draw a net whose label noise and inputs lie askew to V: the noise turns it visibly."""
    V = axes(rng, 2) @ np.diag(rng.uniform([1.1, 0.7], [1.3, 0.9])) @ axes(rng, 2)
    left, _, right = np.linalg.svd(V)
    angle = np.pi / 4 + rng.uniform(0.05, 0.2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inputs = np.diag(rng.uniform([0.25, 2.2], [0.35, 2.8]))
    labels = np.diag(rng.uniform([0.08, 1.8], [0.12, 2.2]))
    inputs = right.T @ turn @ inputs @ turn.T @ right
    labels = left @ turn.T @ labels @ turn @ left.T
    return net(V, (inputs + inputs.T) / 2, (labels + labels.T) / 2), V


def comes_to_rest(
    flow: Any,
    predicted: Any,
    start: Any,
    key: jax.Array,
    budget: Budget,
    margin: float,
    units: float = 2.0,
) -> Any:
    """Run SGD at two learning rates from one start and compare its rest with predictions.

    It takes `units` of slow time, of which a step is eta^2: long enough to come to rest, and short
    enough that replicas still turn together.
    """
    replicas = 64 if budget.seconds < 4 else 256
    runs = []
    for n, rate in enumerate((0.012, 0.006)):
        steps = budget.steps(
            replicas, nanoseconds=200.0, share=(0.2, 0.8)[n], most=int(units / rate**2)
        )
        runs.append(
            st.simulate(
                flow.model, st.SGD(rate, weight_decay=flow.weight_decay * rate), params=start,
                steps=steps, replicas=replicas, key=jax.random.fold_in(key, n), observe=flow,
            )
        )  # fmt: skip
    return st.compare_slow_flow(predicted, runs, margin=margin, confidence=CONFIDENCE)
