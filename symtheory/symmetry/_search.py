"""Find the symmetric linear generators of a small model numerically, for `verify` to prove."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.symmetry._families import Vector
from symtheory.symmetry._symmetry import Exponential

_LARGEST = 40
_GAP = 1e-9


def search_symmetric(model: Model, seed: int = 0) -> Exponential | None:
    """Return the family of all symmetric generators found, or None if there is none.

    grad l(theta; z) . A theta = 0 is linear in A: the null space of the rows it gives at random
    (theta, z), reduced to echelon form and rounded to rationals of small denominator. The result
    is a candidate; `verify` decides.

    Args:
        model: A model with everything bound.
        seed: Seed of the random points.

    Raises:
        InputError: The model has more than 40 parameters.
    """
    if model.dimension > _LARGEST:
        raise InputError(
            f"searching for symmetries takes at most {_LARGEST} parameters, the model has "
            f"{model.dimension}; name a symmetry, or bind smaller sizes"
        )
    with jax.enable_x64(True):
        rows, upper = _rows(model, seed)
    _, values, vectors = np.linalg.svd(rows)
    rank = int(np.sum(values > _GAP * max(values[0], 1e-300)))
    basis = _echelon(vectors[rank:])
    found = [matrix for row in basis if (matrix := _rounded(row, upper))]
    if not found:
        return None
    stack = np.zeros((len(found), model.dimension, model.dimension))
    for k, entries in enumerate(found):
        for (i, j), value in entries.items():
            stack[k, i, j] = stack[k, j, i] = float(value)

    def action(params: Any, a: Any) -> Any:
        flat, back = jax.flatten_util.ravel_pytree(params)
        return back(jnp.einsum("k,kij,j->i", a, jnp.asarray(stack), flat))

    name = "the generator found" if len(found) == 1 else f"the {len(found)} generators found"
    return Exponential(action, family={"a": Vector(len(found))}, name=name)


def _rows(model: Model, seed: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    d = model.dimension
    upper = [(i, j) for i in range(d) for j in range(i, d)]
    count = len(upper) + 20
    keys = jax.random.split(jax.random.key(seed), 2)
    structure, _, _ = model.structure(jnp.float64)
    _, back = jax.flatten_util.ravel_pytree(jax.tree.map(lambda s: jnp.zeros(s.shape), structure))
    theta = jax.random.normal(keys[0], (count, d), jnp.float64)
    samples = model.require_bound().sample(keys[1], (count,), jnp.float64)
    loss = lambda vector, z: model.evaluate(back(vector), z)
    gradient = np.asarray(jax.jit(jax.vmap(jax.grad(loss)))(theta, samples))
    theta = np.asarray(theta)
    gradient = gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-300)
    rows = np.stack(
        [
            gradient[:, i] * theta[:, j] + (gradient[:, j] * theta[:, i] if i != j else 0)
            for i, j in upper
        ],
        axis=1,
    )
    return rows, upper


def _echelon(basis: np.ndarray) -> np.ndarray:
    """Return the reduced row echelon form, with the largest entry as the next pivot."""
    out = np.array(basis)
    free = list(range(out.shape[1]))
    for k in range(len(out)):
        block = np.abs(out[k:][:, free])
        row, column = np.unravel_index(np.argmax(block), block.shape)
        pivot = free[column]
        out[[k, k + row]] = out[[k + row, k]]
        out[k] /= out[k, pivot]
        for other in range(len(out)):
            if other != k:
                out[other] -= out[other, pivot] * out[k]
        free.remove(pivot)
    return out


def _rounded(
    row: np.ndarray, upper: list[tuple[int, int]]
) -> dict[tuple[int, int], Fraction] | None:
    out = {}
    for value, place in zip(row, upper, strict=True):
        exact = Fraction(float(value)).limit_denominator(24)
        if abs(float(exact) - value) > 1e-7:
            return None
        if exact:
            out[place] = exact
    return out or None
