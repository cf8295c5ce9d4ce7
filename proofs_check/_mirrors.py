"""What the statements on reflections share: drawn projections, and losses that have a mirror."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st


def generator(key: jax.Array) -> np.random.Generator:
    """Return a generator of numbers for a key; drawing with it needs no compilation."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())


def orthonormal(rng: np.random.Generator, size: int, count: int | None = None) -> np.ndarray:
    """Draw orthonormal columns, along no axis.

    >>> q = orthonormal(np.random.default_rng(0), 5, 2)
    >>> bool(np.allclose(q.T @ q, np.eye(2)))
    True
    """
    return np.linalg.qr(rng.normal(size=(size, count or size)))[0]


def mirrored(
    rng: np.random.Generator, project: np.ndarray, center: np.ndarray
) -> Callable[[Any], Any]:
    """Draw a smooth loss g(w) + g(w - 2 P (w - theta')) of the last axis of w, which is mirrored.

    Args:
        rng: Draws g, the square of a sum of waves in random directions.
        project: P as a matrix.
        center: theta'.
    """
    size = len(project)
    rows = rng.normal(size=(2 * size, size)) / size**0.5
    shifts = rng.uniform(0, 6, 2 * size)
    weights = rng.normal(size=2 * size) / size**0.5

    def wave(w: Any) -> Any:
        sine = jnp.sin if isinstance(w, jax.Array) else np.sin
        return (sine(w @ rows.T + shifts) @ weights) ** 2

    return lambda w: wave(w) + wave(w - 2 * (w - center) @ project)


def largest(values: Any) -> float:
    """Return the largest absolute entry; a NaN stays one."""
    return float(np.max(np.abs(np.asarray(values))))


def closure(generators: list[np.ndarray]) -> np.ndarray:
    """Return all elements of the finite group that some orthogonal matrices generate.

    >>> len(closure([np.array([[0.0, -1.0], [1.0, 0.0]])]))
    4
    """
    elements = [np.eye(len(generators[0]))]
    new = elements
    while new:
        found = [element @ generator for element in new for generator in generators]
        new = []
        for product in found:
            if all(np.abs(product - other).max() > 1e-6 for other in elements):
                elements.append(product)
                new.append(product)
    return np.stack(elements)


def invariant(rng: np.random.Generator, elements: np.ndarray) -> Callable[[Any], Any]:
    """Draw a smooth loss of one vector that is the same for all elements of a finite group."""
    size = elements.shape[1]
    rows = rng.normal(size=(2 * size, size)) / size**0.5
    shifts, weights = rng.uniform(0, 6, 2 * size), rng.normal(size=2 * size) / size**0.5
    turned = (rows @ elements).reshape(-1, size)
    shifts, weights = np.tile(shifts, len(elements)), np.tile(weights, len(elements))
    return lambda w: (
        weights @ jnp.sin(turned @ w + shifts) / len(elements) ** 0.5 + jnp.sum(w * w) ** 2 / size
    )


def longer_than_along() -> list[st.Verdict]:
    """Prove |P v| >= |n.v| for a unit vector n in range P."""

    def lagrange(a: Any) -> Any:
        w = a["P"] @ a["v"]
        turned = jnp.outer(a["n"], w) - jnp.outer(w, a["n"])
        return jnp.sum(a["n"] ** 2) * jnp.sum(w**2) - (a["n"] @ w) ** 2 - jnp.sum(turned**2) / 2

    arrays = {"P": st.ProjectionMatrix("d"), "n": "d", "v": "d"}
    return [
        st.identity(
            "|n|^2 |Pv|^2 = (n.Pv)^2 + a sum of squares, so |Pv| >= |n.Pv| for |n| = 1",
            lagrange,
            arrays,
        ),
        st.identity(
            "n.Pv = (Pn).v, which is n.v for n in range P",
            lambda a: a["n"] @ (a["P"] @ a["v"]) - (a["P"] @ a["n"]) @ a["v"],
            arrays,
        ),
    ]


def too_short(claim: str, steps: int, needed: int) -> st.Verdict:
    """Return the verdict of a budget that does not pay for enough steps."""
    how = f"the budget pays for {steps} steps; this needs {needed}: give more seconds"
    return st.Verdict(st.Status.INCONCLUSIVE, claim, how=how)
