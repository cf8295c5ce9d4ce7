"""A symmetry algebra as sparse matrices: what the slow flow needs to move along an orbit."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.symmetry import Discovery, Exponential, read_generator
from symtheory.theory._layout import Layout, layout_of
from symtheory.theory.slow._brackets import closed, orthonormal

_DENSE = 2000
"""Parameters up to which products of d x d matrices are formed."""


@dataclasses.dataclass(frozen=True, eq=False)
class Algebra:
    """Matrices A_1 ... A_K on R^d that span a Lie algebra.

    Attributes:
        stack: Row k holds A_k, flattened; sparse, of shape (K, d*d).
        dimension: d.
        given: How many of them were given; the brackets that close the algebra follow.
        labels: For every given symmetry its name, the slice of generators it stands for, and how
            they are arranged (as a matrix for a family of matrices).
    """

    stack: Any
    dimension: int
    given: int
    labels: tuple[tuple[str, slice, Layout], ...]

    @property
    def count(self) -> int:
        """Number of generators K."""
        return self.stack.shape[0]

    @functools.cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        coo = self.stack.tocoo()
        return coo.row, coo.col // self.dimension, coo.col % self.dimension, coo.data

    @functools.cached_property
    def _tall(self) -> Any:
        """All generators on top of one another, shape (K*d, d)."""
        k, i, j, v = self._places
        shape = (self.count * self.dimension, self.dimension)
        return scipy.sparse.csr_array((v, (k * self.dimension + i, j)), shape=shape)

    def pair(self, left: Any, right: Any) -> np.ndarray:
        """Return Tr[A_k^T L R^T] for every k; L and R have shape (d, r)."""
        if self.dimension <= _DENSE:
            return self.stack @ (left @ right.T).ravel()
        k, i, j, v = self._places
        return np.bincount(k, v * np.einsum("nr,nr->n", left[i], right[j]), self.count)

    def directions(self, theta: Any) -> np.ndarray:
        """Return A_k theta for every k, shape (K, d)."""
        return (self._tall @ theta).reshape(self.count, self.dimension)

    def combine(self, coefficients: Any) -> Any:
        """Return sum_k c_k A_k, sparse."""
        k, i, j, v = self._places
        shape = (self.dimension, self.dimension)
        return scipy.sparse.csr_array((v * np.asarray(coefficients)[k], (i, j)), shape=shape)

    @functools.cached_property
    def symmetric(self) -> np.ndarray:
        """Coefficients of an orthonormal basis of the symmetric matrices in the span, (s, K)."""
        return self._of_parity(1)

    @functools.cached_property
    def rotations(self) -> np.ndarray:
        """Coefficients of an orthonormal basis of the antisymmetric ones, shape (a, K)."""
        return self._of_parity(-1)

    @functools.cached_property
    def across(self) -> np.ndarray:
        """Coefficients of an orthonormal basis of what is orthogonal to the rotations."""
        gram = (self.stack @ self.stack.T).toarray()
        if not len(self.rotations):
            return orthonormal(np.eye(self.count), gram)
        away = np.eye(self.count) - (gram @ self.rotations.T) @ self.rotations
        return orthonormal(away, gram)

    def _of_parity(self, sign: int) -> np.ndarray:
        k, i, j, v = self._places
        flipped = scipy.sparse.csr_array(
            (v, (k, j * self.dimension + i)), shape=self.stack.shape
        )  # fmt: skip
        odd = self.stack - sign * flipped
        gram = (self.stack @ self.stack.T).toarray()
        values, vectors = np.linalg.eigh((odd @ odd.T).toarray())
        null = vectors[:, values < 1e-10 * max(float(np.trace(gram)), 1e-300)].T
        return orthonormal(null, gram)


@functools.lru_cache(maxsize=16)
def algebra_of(model: Model, symmetries: tuple[Exponential, ...]) -> Algebra:
    """Return the Lie algebra spanned by linear symmetries and families of them.

    Raises:
        InputError: There is none, one has a shift, or they span too large an algebra.
    """
    rows: list[Any] = []
    labels = []
    dimension = model.dimension
    for symmetry in symmetries:
        name = symmetry.name or "the given symmetry"
        generator = read_generator(model, symmetry)
        if generator.shift:
            raise InputError(
                f"{name} has a shift; move the origin to its fixed point, or leave it out: a "
                "translation has a charge without noise"
            )
        members = _members(generator)
        place = slice(len(rows), len(rows) + len(members))
        taken = sum(label == name or label.startswith(f"{name} (") for label, _, _ in labels)
        label = f"{name} ({taken + 1})" if taken else name
        labels.append((label, place, layout_of(symmetry, generator.symbols)))
        rows += [_row(member, dimension) for member in members]
    if not rows:
        raise InputError("no symmetry is given; a slow flow needs at least one generator")
    stack = scipy.sparse.csr_array(scipy.sparse.vstack(rows))
    return Algebra(closed(stack, dimension), dimension, len(rows), tuple(labels))


def exponentials(symmetries: Any) -> tuple[Exponential, ...]:
    """Return the linear symmetries in a `Discovery`, an `Exponential` or a list of them.

    Raises:
        InputError: Something else is given.
    """
    if isinstance(symmetries, Discovery):
        return tuple(found.symmetry for found in symmetries.generators)
    listed = tuple(symmetries) if isinstance(symmetries, Iterable) else (symmetries,)
    for symmetry in listed:
        if not isinstance(symmetry, Exponential):
            raise InputError(
                f"symmetries are the result of discover or a list of Exponential, got {symmetry!r}"
            )
    return listed


def _members(generator: Any) -> list[dict[tuple[int, int], float]]:
    """Return the matrices of a generator, one for each free entry of its families."""
    ring = generator.symbols.ring
    family = {ring.names[text]: n for n, text in enumerate(generator.symbols.of_kind("family"))}
    out: list[dict[tuple[int, int], float]] = [{} for _ in range(max(len(family), 1))]
    for place, entry in generator.matrix.items():
        for exponents, value in entry.numerator.to_dict().items():
            member = next((n for i, n in family.items() if i < len(exponents) and exponents[i]), 0)
            out[member][place] = int(value.p) / int(value.q)
    return out


def _row(matrix: dict[tuple[int, int], float], dimension: int) -> Any:
    columns = [i * dimension + j for i, j in matrix]
    data = (list(matrix.values()), ([0] * len(matrix), columns))
    return scipy.sparse.csr_array(data, shape=(1, dimension**2))
