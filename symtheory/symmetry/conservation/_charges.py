"""Linear generators found by structure (one matrix per axis of a leaf), and proved all at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.errors import UnreadableError
from symtheory.linear_algebra import floats, modular
from symtheory.linear_algebra._exact import whole_multiple
from symtheory.linear_algebra._modular import PRIME
from symtheory.symmetry._structural import structural
from symtheory.symmetry._symmetry import Exponential
from symtheory.symmetry._verify import verify
from symtheory.symmetry.conservation._enclosed import float_gradients
from symtheory.symmetry.conservation._fields import Fields
from symtheory.symmetry.discovery._proof import Prover
from symtheory.verdict import Status

_LARGEST_NUMBER = 1000
_GAP = 1e-9
"""Relative singular values up to this count as zero."""
_LARGEST_SEARCH = 1500
_LARGEST_VERIFIED = 60
_SECONDS = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class AxisGenerator:
    """theta -> A theta, acting on each axis of a leaf by one matrix.

    Attributes:
        parts: Integer matrices by (leaf number, axis); a scalar leaf has one axis of length 1.
        antisymmetric: Whether all of them are antisymmetric (otherwise symmetric).
    """

    parts: dict[tuple[int, int], np.ndarray]
    antisymmetric: bool = False

    def tangent(self, leaves: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return A theta for residues, leaf by leaf."""
        out = []
        for number, leaf in enumerate(leaves):
            whole = leaf.reshape(leaf.shape or (1,))
            total = np.zeros_like(whole)
            for (owner, axis), part in self.parts.items():
                if owner == number:
                    moved = np.moveaxis(whole, axis, 0).reshape(len(part), -1)
                    image = modular.product(part % PRIME, moved)
                    rest = [s for i, s in enumerate(whole.shape) if i != axis]
                    total = total + np.moveaxis(image.reshape(len(part), *rest), 0, axis)
            out.append((total % PRIME).reshape(leaf.shape))
        return out


def proved_generators(
    fields: Fields, kind: str, antisymmetric: bool = False
) -> list[AxisGenerator]:
    """Return generators of the loss that act axis by axis, each one proved.

    grad l(theta; z) . A theta = 0 is linear in the matrices: candidates are its solutions at
    random points mod a prime; they are proved where the inference contains them.

    Args:
        fields: The gradient fields.
        kind: "diagonal" matrices or any "matrix".
        antisymmetric: Look for antisymmetric matrices instead of symmetric ones.
    """
    places = _unknowns(fields, kind, antisymmetric)
    if not places or len(places) > _LARGEST_SEARCH:
        return []
    count = len(places) + 8
    if fields.readable:
        leaves, rows = fields.gradients(count)
        equations = _equations(leaves, rows, places, antisymmetric) % PRIME
        candidates = modular_candidates(equations)
    else:
        leaves, rows = float_gradients(fields.model, count, fields.seed)
        equations = _equations(leaves, rows, places, antisymmetric)
        candidates = float_candidates(equations)
    found = [
        _generator(fields, places, numbers, antisymmetric)
        for numbers in candidates
        if numbers is not None and any(numbers)
    ]
    return _proved(fields, found)


def _unknowns(fields: Fields, kind: str, antisymmetric: bool) -> list[tuple[int, int, int, int]]:
    """Return (leaf, axis, i, j); a multiple of the leaf itself belongs to its first axis."""
    out = []
    for leaf, shape in enumerate(fields.points.shapes):
        for axis, size in enumerate(shape or (1,)) if math.prod(shape) else ():
            for i in range(size):
                for j in range(i, size if kind == "matrix" else i + 1):
                    if not (antisymmetric and i == j) and not (axis and i == j == 0):
                        out.append((leaf, axis, i, j))
    return out


def _equations(
    theta: Sequence[np.ndarray],
    rows: np.ndarray,
    places: Sequence[tuple[int, int, int, int]],
    antisymmetric: bool,
) -> np.ndarray:
    """Return the coefficients of the unknown matrix entries in grad l . A theta."""
    points = len(rows)
    products: dict[tuple[int, int], np.ndarray] = {}
    cuts = np.cumsum([math.prod(x.shape[1:]) for x in theta])[:-1]
    for leaf, (x, slope) in enumerate(zip(theta, np.split(rows, cuts, axis=1), strict=True)):
        shape = x.shape[1:] or (1,)
        for axis, size in enumerate(shape):
            rest = math.prod(shape) // max(size, 1)
            left, right = (
                np.moveaxis(part.reshape(points, *shape), axis + 1, 1).reshape(points, size, rest)
                for part in (slope, x)
            )
            products[leaf, axis] = _matmul(left, np.swapaxes(right, 1, 2))
    columns = []
    for leaf, axis, i, j in places:
        table = products[leaf, axis]
        if i == j:
            columns.append(table[:, i, i])
        else:
            columns.append(table[:, i, j] + (-1 if antisymmetric else 1) * table[:, j, i])
    return np.stack(columns, axis=1)


def _matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a @ b if a.dtype.kind == "f" else modular.product(a, b)


def _generator(
    fields: Fields, places: Sequence[Any], numbers: Sequence[int], antisymmetric: bool
) -> AxisGenerator:
    parts: dict[tuple[int, int], np.ndarray] = {}
    for (leaf, axis, i, j), number in zip(places, numbers, strict=True):
        if number:
            size = (fields.points.shapes[leaf] or (1,))[axis]
            part = parts.setdefault((leaf, axis), np.zeros((size, size), dtype=np.int64))
            part[i, j] = number
            if i != j:
                part[j, i] = -number if antisymmetric else number
    for leaf, shape in enumerate(fields.points.shapes):
        for axis in range(1, len(shape)):
            _simplify(parts, (leaf, 0), (leaf, axis), shape)
    return AxisGenerator(parts, antisymmetric)


def _simplify(parts: dict[Any, np.ndarray], one: Any, other: Any, shape: Sequence[int]) -> None:
    """Move a multiple of the identity from one axis of a leaf to another if that saves entries."""
    if one not in parts:
        return
    first = parts[one]
    second = parts.get(other, np.zeros((shape[other[1]],) * 2, dtype=np.int64))
    values, counts = np.unique(np.diagonal(first), return_counts=True)
    common = values[np.argmax(counts)]
    moved = [first - common * np.eye(len(first), dtype=np.int64)]
    moved.append(second + common * np.eye(len(second), dtype=np.int64))
    if sum(map(np.count_nonzero, moved)) < np.count_nonzero(first) + np.count_nonzero(second):
        parts[one], parts[other] = moved
        for place in (one, other):
            if not np.any(parts[place]):
                del parts[place]


def _proved(fields: Fields, found: list[AxisGenerator]) -> list[AxisGenerator]:
    """Return those generators that pass through the loss, tried together and else one by one."""
    if not found or _pass(fields, found):
        return found
    return [g for g in found if _pass(fields, [g]) or _verified(fields, g)]


def _verified(fields: Fields, generator: AxisGenerator) -> bool:
    """Prove one generator of a small model by `verify`."""
    if fields.size > _LARGEST_VERIFIED:
        return False

    def action(params: Any) -> Any:
        leaves, tree = jax.tree.flatten(params)
        out = [0 * leaf for leaf in leaves]
        for (leaf, axis), part in generator.parts.items():
            whole = jnp.reshape(leaves[leaf], jnp.shape(leaves[leaf]) or (1,))
            image = jnp.moveaxis(jnp.tensordot(part.astype(float), whole, (1, axis)), 0, axis)
            out[leaf] = out[leaf] + jnp.reshape(image, jnp.shape(leaves[leaf]))
        return jax.tree.unflatten(tree, out)

    remaining = min(fields.deadline.remaining(), _SECONDS)
    try:
        verdict = verify(fields.model, Exponential(action), seconds=max(remaining, 0.1))
    except UnreadableError:
        return False
    return verdict.status is Status.PROVED


def _pass(fields: Fields, generators: list[AxisGenerator]) -> bool:
    known = structural(fields.model)
    return all(
        known.contains(generator.parts) or known.contains(_without_shifts(fields, generator.parts))
        for generator in generators
    )


def _without_shifts(
    fields: Fields, parts: dict[tuple[int, int], np.ndarray]
) -> dict[tuple[int, int], np.ndarray]:
    """Return an action less what it adds to all entries along an axis, where that cancels.

    A matrix whose entries are all equal adds the same term to every entry along its axis.
    """
    prover = Prover(fields.model, fields.deadline)
    out = {}
    for place, part in parts.items():
        common = part[0, 1] if len(part) > 1 else 0
        alike = np.all(part - np.diag(np.diagonal(part)) == common * (1 - np.eye(len(part))))
        if common and alike and prover.shift([place]) is not None:
            part = part - common
        out[place] = part
    return out


def modular_candidates(equations: np.ndarray) -> list[list[int] | None]:
    """Return null vectors mod the prime as small integers, None for one that is no such vector."""
    out: list[list[int] | None] = []
    for vector in modular.echelon(modular.null_space(equations)):
        fractions = modular.reconstructed(vector, _LARGEST_NUMBER)
        out.append(None if fractions is None else whole_multiple(fractions, _LARGEST_NUMBER**2))
    return out


def float_candidates(equations: np.ndarray) -> list[list[int] | None]:
    """Return null vectors in floats as small integers, None for one that is not near any."""
    found = floats.null_space(floats.unit_rows(equations), _GAP)
    out: list[list[int] | None] = []
    for vector in floats.echelon(found.basis):
        fractions = floats.simple_fractions(vector)
        out.append(None if fractions is None else whole_multiple(fractions, _LARGEST_NUMBER**2))
    return out
