"""Points and samples at many magnitudes, and averages over a law: in NumPy, from the laws alone."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from tests.fuzz.losses import Case


def parameters(rng: np.random.Generator, count: int, d: int, *, wide: bool = True) -> np.ndarray:
    """Return parameters of shape (count, d): from 1e-3 to 1e3, sparse, tied, of one sign."""
    theta = rng.normal(size=(count, d))
    if not wide:
        return theta * 10.0 ** rng.choice([-0.5, 0.0, 0.0, 0.5, 1.5], size=(count, 1))
    scale = np.where(rng.random((count, 1)) < 0.6, 10 ** rng.uniform(-3, 3, (count, 1)), 1.0)
    own = np.where(rng.random((count, 1)) < 0.2, 10 ** rng.uniform(-2, 2, (count, d)), 1.0)
    one_sign = rng.random((count, 1)) < 0.2
    theta = np.where(one_sign, np.abs(theta) * rng.choice([-1, 1], (count, 1)), theta)
    sparse = (rng.random((count, 1)) < 0.15) & (rng.random((count, d)) < 0.4)
    tied = (rng.random((count, 1)) < 0.12) & (rng.random((count, d)) < 0.6)
    theta = np.where(tied, theta[:, :1] * rng.choice([-1, 1, 1], (count, d)), theta)
    theta = np.where(sparse, 0.0, theta) + 1e-6 * rng.normal(size=theta.shape)
    theta = theta * scale * own
    # Far out on the diagonal, where differences are small beside what a comparison decides.
    far = rng.choice([-1, 1], (count, 1)) * 10 ** rng.uniform(3, 6, (count, 1))
    return np.where(rng.random((count, 1)) < 0.06, far * (1 + 1e-6 * theta / scale), theta)


def samples(rng: np.random.Generator, case: Case, count: int, *, wide: bool = False) -> Any:
    """Return samples of the laws with a leading axis; `wide` reaches into the tails."""
    out = {}
    for name, (kind, args) in case.laws.items():
        if kind == "empirical":
            rows = rng.permutation(np.arange(count) % len(next(iter(args.values()))))
            out[name] = {column: values[rows] for column, values in args.items()}
            continue
        shape = args[0]
        if kind == "rademacher":
            draw = rng.choice([-1.0, 1.0], size=(count, *shape))
        elif kind == "uniform":
            draw = rng.uniform(args[1], args[2], size=(count, *shape))
        else:
            noise = rng.normal(size=(count, *shape))
            if wide:
                tail = rng.choice([1.0, 1.0, 1.0, 0.05, 10.0, 100.0], size=count)
                noise = noise * tail.reshape(count, *([1] * len(shape)))
            draw = _spread(noise, shape, args)
        out[name] = draw
    return out[""] if list(out) == [""] else out


def _spread(noise: np.ndarray, shape: tuple[int, ...], args: Any) -> np.ndarray:
    cov = args[2]
    if np.ndim(cov) == 2:
        values, vectors = np.linalg.eigh(np.asarray(cov, dtype=float))
        root = vectors * np.sqrt(np.clip(values, 0, None))
        noise = (noise.reshape(len(noise), -1) @ root.T).reshape(noise.shape)
    elif cov is not None:
        noise = noise * math.sqrt(cov)
    return noise + args[1]


def nodes(case: Case, order: int, most: int = 6000) -> tuple[Any, np.ndarray] | None:
    """Return samples and weights of a product rule, exact for polynomials of degree 2 order - 1.

    None where that takes more than `most` points.
    """
    parts = []
    for name, (kind, args) in case.laws.items():
        if kind == "empirical":
            rows = len(next(iter(args.values())))
            parts.append([(name, args, np.full(rows, 1.0 / rows))])
            continue
        size = math.prod(args[0])
        if kind == "rademacher":
            points, weights = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
        elif kind == "uniform":
            points, weights = np.polynomial.legendre.leggauss(order)
            points = (args[1] + args[2]) / 2 + points * (args[2] - args[1]) / 2
            weights = weights / 2
        else:
            points, weights = np.polynomial.hermite_e.hermegauss(order)
            weights = weights / math.sqrt(2 * math.pi)
        if len(points) ** size > most:
            return None
        grid = np.array(list(itertools.product(points, repeat=size))).reshape(-1, *args[0])
        chances = np.array([math.prod(w) for w in itertools.product(weights, repeat=size)])
        parts.append(
            [(name, _spread(grid, *[args[0], args]) if kind == "normal" else grid, chances)]
        )
    total = math.prod(len(part[0][2]) for part in parts)
    if total > most:
        return None
    index = np.array(list(itertools.product(*(range(len(part[0][2])) for part in parts))))
    out, chances = {}, np.ones(total)
    for k, [(name, values, weight)] in enumerate(parts):
        rows = index[:, k]
        chances = chances * weight[rows]
        if isinstance(values, dict):
            out[name] = {column: array[rows] for column, array in values.items()}
        else:
            out[name] = values[rows]
    return (out[""] if list(out) == [""] else out), chances
