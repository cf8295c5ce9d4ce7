"""Points and weights that stand for the law of a sample.

The rows of a data set; a cubature that is exact for losses quadratic in independent symmetric
entries; or a pool of drawn samples.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory import shapes
from symtheory.data import Empirical, Normal, Rademacher, Uniform
from symtheory.model import Model

_MOST_POINTS = 20_000


@dataclasses.dataclass(frozen=True, eq=False)
class Points:
    """Points of the sample with weights that add up to one.

    Attributes:
        samples: A pytree like the sample, with a leading axis over points.
        weights: Shape (n,); a cubature may have negative ones.
        drawn: Whether they were drawn at random rather than exact.
    """

    samples: Any
    weights: np.ndarray
    drawn: bool

    def part(self, index: int, parts: int) -> Points:
        """Return every `parts`-th point, from `index` on, with equal weights."""
        samples = jax.tree.map(lambda x: x[index::parts], self.samples)
        count = len(self.weights[index::parts])
        return Points(samples, np.full(count, 1 / count), self.drawn)


def points_of(model: Model, samples: int, seed: int) -> Points:
    """Return points that give the model's moments, exactly where that is possible."""
    if isinstance(model.random, Empirical):
        columns = {n: np.asarray(v, np.float64) for n, v in model.random.columns.items()}
        rows = model.random.rows
        return Points(columns, np.full(rows, 1 / rows), False)
    exact = _cubature(model)
    if exact is not None and _is_quadratic(model, exact.samples):
        return exact
    with jax.enable_x64(True):
        draw = model.sample(jax.random.key(seed), (samples,), jnp.float64)
    return Points(jax.tree.map(np.asarray, draw), np.full(samples, 1 / samples), True)


def _cubature(model: Model) -> Points | None:
    """Return points and weights exact for polynomials of degree 5 in the sample, if there are any.

    With xi_a independent, symmetric, of variance one and fourth moment k_a, take r_a = sqrt(k_a):
    the points +-r_a e_a +- r_b e_b with weights 1/(4 k_a k_b), +-r_a e_a with weights
    (1 - sum_b 1/k_b)/(2 k_a), b != a, and 0 with the rest.
    """
    parts = {name: _whitened(law) for name, law in model.laws.items()}
    if any(part is None for part in parts.values()):
        return None
    kurtosis = np.concatenate([part[2] for part in parts.values() if part] or [np.zeros(0)])
    n = len(kurtosis)
    if 1 + 2 * n**2 > _MOST_POINTS:
        return None
    rows, weights = [np.zeros((1, n))], [np.zeros(1)]
    radii = np.sqrt(kurtosis)
    for a in range(n):
        others = np.sum(1 / np.delete(kurtosis, a))
        for sign in (1, -1):
            rows.append(sign * radii[a] * np.eye(n)[a : a + 1])
            weights.append(np.array([(1 - others) / (2 * kurtosis[a])]))
    for a, b in itertools.combinations(range(n), 2):
        for s, t in itertools.product((1, -1), repeat=2):
            rows.append((s * radii[a] * np.eye(n)[a] + t * radii[b] * np.eye(n)[b])[None])
            weights.append(np.array([1 / (4 * kurtosis[a] * kurtosis[b])]))
    nodes, weight = np.concatenate(rows), np.concatenate(weights)
    weight[0] = 1 - weight.sum()
    samples, start = {}, 0
    for name, law in model.laws.items():
        mean, root, own = parts[name]  # type: ignore[misc]
        block = nodes[:, start : start + len(own)] @ root.T + mean
        samples[name] = block.reshape(len(nodes), *shapes.fixed(law.shape))
        start += len(own)
    return Points(samples, weight, False)


def _whitened(law: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return mean, root R and fourth moments with z = mean + R xi; None for other laws."""
    n = law.count
    if isinstance(law, Normal):
        mean = np.broadcast_to(np.asarray(law.mean, float).reshape(-1), (n,))
        if law.cov is None:
            return mean, np.eye(n), np.full(n, 3.0)
        values, vectors = np.linalg.eigh(np.asarray(law.cov, float))
        keep = values > 1e-14 * max(values[-1], 1e-300)
        return mean, vectors[:, keep] * np.sqrt(values[keep]), np.full(int(keep.sum()), 3.0)
    if isinstance(law, Rademacher):
        return np.zeros(n), np.eye(n), np.ones(n)
    if isinstance(law, Uniform):
        spread = (law.high - law.low) / math.sqrt(12)
        mean = np.full(n, (law.high + law.low) / 2)
        return mean, spread * np.eye(n), np.full(n, 9 / 5)
    return None


def _is_quadratic(model: Model, samples: Any) -> bool:
    """Tell whether the loss is quadratic in the sample: third differences vanish on lines."""
    rng = np.random.default_rng(0)
    leaves, tree = jax.tree.flatten(samples)
    with jax.enable_x64(True):
        loss = jax.jit(jax.vmap(jax.vmap(model.evaluate, (None, 0)), (0, None)))
        params = jax.tree.map(
            lambda s: rng.normal(size=(4, *s.shape)), model.structure(np.float64)[0]
        )
        for _ in range(3):
            start, step = ([rng.normal(size=leaf.shape[1:]) for leaf in leaves] for _ in range(2))
            line = [
                np.stack([s + t * d for t in (-1.0, 0.0, 1.0, 2.0, 3.0)])
                for s, d in zip(start, step, strict=True)
            ]
            values = np.asarray(loss(params, jax.tree.unflatten(tree, line)))
            third = np.abs(np.diff(values, n=3, axis=1))
            if not np.all(third <= 1e-10 * np.abs(values).max(axis=1, keepdims=True)):
                return False
    return True
