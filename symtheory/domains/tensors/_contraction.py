"""Index expressions at given sizes and arrays: exact elements, residues, or a JAX program."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
from flint import fmpq

from symtheory.domains._rationals import as_fraction
from symtheory.domains.tensors._indexed import Indexed
from symtheory.domains.tensors._terms import Component, Tensor
from symtheory.linear_algebra._modular import PRIME, residue
from symtheory.shapes import Size


def contract(
    value: Indexed,
    sizes: Mapping[str, int],
    arrays: Mapping[Tensor, Any],
    xp: Any = np,
    number: Any = None,
) -> Any:
    """Return the array a value stands for, one `einsum` per connected component.

    Args:
        value: The expression.
        sizes: Named sizes.
        arrays: The array of every tensor.
        xp: `numpy` (for exact elements in object arrays too) or `jax.numpy`.
        number: Converts a rational coefficient; a float by default.
    """
    convert = number or (lambda c: int(c.p) / int(c.q))
    shape = tuple(_size(size, sizes) for size in value.sizes)
    total: Any = None
    for term, c in value.terms.items():
        factor = convert(c)
        for name, n in term.powers:
            factor = factor * convert(type(c)(sizes[name]) ** n)
        out: Any = factor
        for part in term.components:
            out = out * _component(part, arrays, len(shape), xp)
        for a, b in term.deltas:
            ones = np.eye(shape[a], dtype=int).astype(object if xp is np else float)
            placed = [1] * len(shape)
            placed[a], placed[b] = shape[a], shape[b]
            out = out * xp.asarray(ones).reshape(placed)
        total = out if total is None else total + out
    if total is None:
        total = convert(fmpq(0))
    return xp.broadcast_to(xp.asarray(total), shape) if shape else total


def _size(size: Size, sizes: Mapping[str, int]) -> int:
    return size if isinstance(size, int) else sizes[size]


def _component(part: Component, arrays: Mapping[Tensor, Any], axes: int, xp: Any) -> Any:
    """Return a component's array with one axis per axis of the value, of length 1 where free."""
    labels = sorted({i for _, idx in part for i in idx})
    place = {label: k for k, label in enumerate(labels)}
    operands: list[Any] = []
    for tensor, idx in part:
        operands += [xp.asarray(arrays[tensor]), [place[i] for i in idx]]
    free = [i for i in labels if i >= 0]
    if len(part) == 1 and not free and not part[0][1]:
        return operands[0][()]
    # Without the type NumPy makes an int64 of a product of exact numbers along axes of length one.
    exact = {"dtype": object} if operands[0].dtype == object else {}
    # The best order of a dozen factors takes longer to find than any order takes to compute.
    out = xp.einsum(*operands, [place[i] for i in free], optimize="greedy", **exact)
    where = tuple(slice(None) if axis in free else None for axis in range(axes))
    return out[where] if free else out


def vanishes_at_random(value: Indexed, seed: int = 0, largest: int = 3) -> bool:
    """Tell whether a value vanishes at random sizes and random arrays mod a large prime.

    An independent test of an identity: if it says no, the identity is false.
    """
    rng = random.Random(seed)
    sizes = {name: rng.randint(2, largest) for name in sorted(value.named_sizes)}
    arrays = {}
    for tensor in sorted(value.tensors):
        shape = tuple(_size(size, sizes) for size in tensor.sizes)
        array = np.empty(shape, dtype=object)
        for index in np.ndindex(shape):
            array[index] = rng.randrange(PRIME)
        arrays[tensor] = array + array.T if tensor.symmetric else array
    number = lambda c: residue(as_fraction(c))
    out = np.asarray(contract(value, sizes, arrays, number=number), dtype=object)
    return all(int(entry) % PRIME == 0 for entry in out.reshape(-1))
