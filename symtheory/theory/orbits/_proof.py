"""Whether a pair of factors is a symmetry of a loss: refuted at random points, or proved."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory import shapes
from symtheory.errors import BudgetError, UnreadableError
from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.symmetry._evaluated import axes_claim
from symtheory.symmetry._structural import structural
from symtheory.symmetry.discovery._proof import Prover
from symtheory.theory.orbits._gl_pair import GLPair, leaves_of
from symtheory.verdict import Claim, Derivation, Status, Verdict, prove

_POINTS = 8
_CLEARLY = 1e-3
"""Relative derivatives above this are no rounding, whatever the loss."""
_ROUNDING = 1e-9


@functools.lru_cache(maxsize=32)
def verify_pair(model: Model, pair: GLPair, seconds: float | None = 60.0) -> Verdict:
    """Decide whether the loss is invariant under U -> U g, W -> g^-1 W for every g.

    Args:
        model: The model, with everything bound.
        pair: The pair, with axes resolved.
        seconds: Time limit of the proof.

    Returns:
        `refuted` with the derivative along a random direction at a random point, `proved` when the
        matrices cancel on their way through the loss, else `supported` (zero at random points).
    """
    leaves = {name: shapes.fixed(shape) for name, shape in model.leaves.items()}
    names = [factor.leaf for factor in (*pair.left, *pair.right)]
    claim = f"the loss of {model.name} depends on {' and '.join(names)} through their product"
    worst = _derivative(model, pair)
    if worst > _CLEARLY:
        how = f"its derivative along U B, -B W at a random point is {worst:.2g} of its terms"
        return Verdict(Status.REFUTED, claim, how=how, residual=worst)
    deadline = Deadline(seconds)
    try:
        how = _proof(model, pair, leaves, deadline)
    except (BudgetError, UnreadableError):
        how = ""
    if how:
        return prove(claim, Derivation(how), _in_floats(model, pair, leaves), residual=0)
    status = Status.SUPPORTED if worst <= _ROUNDING else Status.INCONCLUSIVE
    how = f"relative derivatives along it at {_POINTS} random points are at most {worst:.1e}"
    return Verdict(status, claim, how=how, residual=worst)


def _derivative(model: Model, pair: GLPair) -> float:
    """Return the largest |sum_i g_i t_i| / sum_i |g_i t_i| over random points and directions."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), _POINTS)
        structure, _, constants = model.structure()
        unbound = [name for name in constants if name not in model.values]

        def at(key: Any) -> Any:
            first, second, third = jax.random.split(key, 3)
            leaves, tree = jax.tree.flatten(structure)
            drawn = jax.tree.unflatten(
                tree,
                [
                    jax.random.normal(jax.random.fold_in(first, k), leaf.shape, jnp.float64)
                    for k, leaf in enumerate(leaves)
                ],
            )
            values = {
                name: jnp.asarray(model.values[name]) for name in constants if name not in unbound
            }
            values |= {
                name: jax.random.normal(jax.random.fold_in(second, k), constants[name].shape)
                for k, name in enumerate(unbound)
            }
            sample = model.sample(second, dtype=jnp.float64)
            gradient = leaves_of(jax.grad(model.evaluate)(drawn, sample, values))
            named = leaves_of(drawn)
            (left, right), (g_left, g_right) = pair.stacks(named), pair.stacks(gradient)
            b = jax.random.normal(third, (left.shape[0], left.shape[2], left.shape[2]))
            parts = [g_left * (left @ b), -g_right * (right @ jnp.swapaxes(b, -1, -2))]
            total = sum(jnp.sum(part) for part in parts)
            size = sum(jnp.sum(jnp.abs(part)) for part in parts)
            return jnp.where(size > 0, jnp.abs(total) / size, 0.0)

        worst = np.asarray(jax.jit(jax.vmap(at))(keys))
    return float(np.max(np.where(np.isfinite(worst), worst, 0.0)))


def _proof(model: Model, pair: GLPair, leaves: dict[str, Any], deadline: Deadline) -> str:
    """Return how invariance was proved, "" if it was not."""
    prover = Prover(model, deadline)
    position = {name: k for k, name in enumerate(leaves)}
    sides = [(f, side) for side, row in ((1, pair.left), (-1, pair.right)) for f in row]
    shape = leaves[sides[0][0].leaf]
    width = shape[sides[0][0].axis]
    places = {(position[f.leaf], f.axis): side for f, side in sides}
    unit = np.zeros((width, width), dtype=int)
    unit[0, 0] = 1
    known = structural(model)
    # What is inferred of one unit, or one pair, is so of all: the class moves as a whole.
    if not known.contains({place: side * unit for place, side in places.items()}):
        return ""
    if width > 1:
        # B = E_qp acts on the axis of a left factor as E_pq, on that of a right one as -E_qp.
        pair_of_units = np.roll(unit, 1, axis=1)
        both = {p: pair_of_units if side > 0 else -pair_of_units.T for p, side in places.items()}
        if not known.contains(both):
            return ""
    for head in np.ndindex(*(shape[k] for k in sides[0][0].batch)):
        if head and not prover.invariant(_one_unit(sides, head, leaves)):
            return ""
    return (
        "the matrices are inferred to cancel on their way through the loss, operation by operation"
    )


def _in_floats(model: Model, pair: GLPair, leaves: dict[str, Any]) -> Claim:
    """Return "the loss is constant along U B, -B W", with matrices B of their own for each head."""
    rng = np.random.default_rng(0)
    first = (*pair.left, *pair.right)[0]
    width = leaves[first.leaf][first.axis]
    heads = tuple(leaves[first.leaf][k] for k in first.batch)
    # The same matrix for all heads, and how much of it each gets.
    b, weights = rng.normal(size=(width, width)) / width, rng.normal(size=heads)

    def tangent(points: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        out = {name: np.zeros_like(x) for name, x in points.items()}
        for side, row in ((1, pair.left), (-1, pair.right)):
            for factor in row:
                array, axis = points[factor.leaf], factor.axis + 1
                matrix = b.T if side == 1 else -b
                image = np.moveaxis(np.tensordot(matrix, array, (1, axis)), 0, axis)
                order = [1] * array.ndim
                for place, size in zip(factor.batch, heads, strict=True):
                    order[place + 1] = size
                across = np.transpose(weights, np.argsort(factor.batch))
                out[factor.leaf] = out[factor.leaf] + image * across.reshape(order)
        return out

    return axes_claim(model, [tangent])


def _one_unit(sides: Any, head: tuple[int, ...], leaves: dict[str, Any]) -> list[Fraction]:
    """Return the rates of the rescaling of the first unit of one head."""
    rates = {name: np.zeros(shape, dtype=int) for name, shape in leaves.items()}
    for factor, side in sides:
        index: list[Any] = [slice(None)] * len(leaves[factor.leaf])
        index[factor.axis] = 0
        for axis, place in zip(factor.batch, head, strict=True):
            index[axis] = place
        rates[factor.leaf][tuple(index)] = side
    return [Fraction(int(r)) for array in rates.values() for r in array.reshape(-1)]
