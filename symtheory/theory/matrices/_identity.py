"""Prove matrix identities for all sizes: one step of a proof, as a verdict."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from flint import fmpq, fmpq_mat

from symtheory import shapes
from symtheory.data import random_rational
from symtheory.domains.tensors import Indexed, Relation, Tensor, contract, read_indexed, reduced
from symtheory.errors import InputError
from symtheory.symmetry import Family
from symtheory.theory.matrices import _print as printing
from symtheory.verdict import Identity, SizedIdentity, Status, Verdict, prove

_LARGEST = 3


@dataclasses.dataclass(frozen=True)
class ProjectionMatrix:
    """An orthogonal projection P = P^T = P P of a given size."""

    size: shapes.Size


@dataclasses.dataclass(frozen=True)
class OrthogonalMatrix:
    """A square matrix with O^T O = O O^T = I of a given size."""

    size: shapes.Size


def identity(
    claim: str,
    residual: Callable[[Mapping[str, Any]], Any],
    arrays: Mapping[str, Any],
    *,
    reference: str = "",
    seed: int = 0,
) -> Verdict:
    """Decide whether residual(a) = 0 for all arrays a of the given shapes, whatever their sizes.

    The residual is read in the index domain and brought to normal form, with P P = P and O^T O = I
    applied; independently it is evaluated at random sizes and random rational arrays.

    Args:
        claim: The statement, in words.
        residual: A JAX function of a dictionary of arrays, made of sums, products, contractions,
            transposes and traces. Its result may be a pytree; every leaf has to vanish.
        arrays: What each array is: a shape, `SymmetricMatrix(n)`, `ProjectionMatrix(n)` or
            `OrthogonalMatrix(n)`; sizes are names or integers.
        reference: Where the statement comes from.
        seed: Seed of the random point.

    Returns:
        `proved`, `refuted` with a witness, or `inconclusive` where neither succeeds.

    Raises:
        UnreadableError: The residual uses a primitive that the index domain cannot read.

    >>> reflected = lambda a: (2 * a["P"] - 1 * jnp.eye(a["P"].shape[0])) @ a["t"]
    >>> import jax.numpy as jnp
    >>> arrays = {"P": ProjectionMatrix("n"), "t": "n"}
    >>> same_length = lambda a: jnp.sum(reflected(a) ** 2) - jnp.sum(a["t"] ** 2)
    >>> print(identity("a reflection keeps lengths", same_length, arrays).status)
    proved
    >>> print(identity("it moves nothing", lambda a: reflected(a) - a["t"], arrays).status)
    refuted
    """
    tensors, relations = {}, []
    for name, kind in arrays.items():
        special = isinstance(kind, (ProjectionMatrix, OrthogonalMatrix))
        if isinstance(kind, Family):
            tensors[name] = Tensor("given", name, kind.sizes, kind.symmetric)
        elif special:
            symmetric = isinstance(kind, ProjectionMatrix)
            tensors[name] = Tensor("given", name, (kind.size, kind.size), symmetric)
            relations.append(Relation(tensors[name], orthogonal=not symmetric))
        else:
            tensors[name] = Tensor("given", name, shapes.as_shape(kind))
    if not tensors:
        raise InputError("identity needs at least one array to be an identity about")
    for name in sorted(
        {size for tensor in tensors.values() for size in shapes.names(tensor.sizes)}
    ):
        if name in tensors:
            raise InputError(
                f"{name!r} names both a size and an array; give one of them another name"
            )
    values = read_indexed(
        residual,
        [{name: tensor.sizes for name, tensor in tensors.items()}],
        [{name: Indexed.of(tensor) for name, tensor in tensors.items()}],
    )
    leaves = [reduced(value, relations) for value in jax.tree.leaves(values)]
    if not leaves:
        raise InputError("the residual returns no array; return what has to vanish")
    witness = _witness(leaves, tensors, relations, seed)
    shown = [printing.text(value) for value in leaves if not value.is_zero]
    if witness is not None:
        how = "not zero at rational arrays"
        residual_text = "; ".join(shown)[:400]
        return Verdict(
            Status.REFUTED, claim, how=how, residual=residual_text, witness=witness,
            reference=reference,
        )  # fmt: skip
    if shown:
        how = f"zero at random arrays, but the normal form is {'; '.join(shown)[:200]}"
        return Verdict(Status.INCONCLUSIVE, claim, how=how, reference=reference)
    how = "index normal form, for all sizes; also zero at random rational arrays"
    sizes = sorted({size for tensor in tensors.values() for size in shapes.names(tensor.sizes)})
    recheck = SizedIdentity(residual, _drawn(arrays, tensors), sizes, seed)
    return prove(claim, Identity(how, tuple(sizes)), recheck, residual=0, reference=reference)


def _drawn(arrays: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """Return (sizes, rng) -> arrays of the given kinds, in floats."""

    def drawn(sizes: Mapping[str, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
        out = {}
        for name, kind in arrays.items():
            shape = shapes.fixed(shapes.bind(tensors[name].sizes, sizes))
            array = rng.normal(size=shape)
            if isinstance(kind, ProjectionMatrix):
                basis = np.linalg.qr(array)[0][:, : max(shape[0] - 1, 1)]
                array = basis @ basis.T
            elif isinstance(kind, OrthogonalMatrix):
                array = np.linalg.qr(array)[0]
            elif tensors[name].symmetric:
                array = (array + array.T) / 2
            out[name] = array
        return out

    return drawn


def _witness(
    values: list[Indexed], tensors: Mapping[str, Tensor], relations: list[Relation], seed: int
) -> dict[str, Any] | None:
    """Return sizes and an entry at which a value is not zero, None if all vanish."""
    rng = random.Random(seed)
    names = {size for value in values for size in value.named_sizes}
    names |= {s for tensor in tensors.values() for s in tensor.sizes if isinstance(s, str)}
    sizes = {name: rng.randint(2, _LARGEST) for name in sorted(names)}
    special = {relation.tensor: relation.orthogonal for relation in relations}
    arrays = {}
    for tensor in tensors.values():
        shape = tuple(s if isinstance(s, int) else sizes[s] for s in tensor.sizes)
        array = np.empty(shape, dtype=object)
        for index in np.ndindex(shape):
            array[index] = random_rational(rng)
        if tensor in special:
            array = _orthogonal(array) if special[tensor] else _projection(array)
        elif tensor.symmetric:
            array = array + array.T
        arrays[tensor] = array
    for value in values:
        exact = contract(value, sizes, arrays, number=lambda c: Fraction(int(c.p), int(c.q)))
        array = np.asarray(exact, dtype=object)
        for index in np.ndindex(array.shape):
            if array[index] != 0:
                return {**sizes, "entry": [i + 1 for i in index], "value": str(array[index])}
    return None


def _projection(array: np.ndarray) -> np.ndarray:
    """Return the projection on the span of all columns but the last."""
    basis = array[:, : max(array.shape[0] - 1, 1)]
    return basis @ _inverse(basis.T @ basis) @ basis.T


def _orthogonal(array: np.ndarray) -> np.ndarray:
    """Return the Cayley transform of the antisymmetric part."""
    turn = array - array.T
    one = np.eye(len(array), dtype=int).astype(object)
    return (one - turn) @ _inverse(one + turn)


def _inverse(array: np.ndarray) -> np.ndarray:
    rows = [[fmpq(x.numerator, x.denominator) for x in map(Fraction, row)] for row in array]
    inverted = fmpq_mat(rows).inv()
    out = np.empty(array.shape, dtype=object)
    for i, j in np.ndindex(array.shape):
        entry = inverted[i, j]
        out[i, j] = Fraction(int(entry.p), int(entry.q))
    return out
