"""Is a function traced at symbolic sizes the same at numbers? Python code may ask for sizes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from symtheory import shapes
from symtheory.domains._numbers import from_fractions
from symtheory.domains._rationals import as_fraction
from symtheory.domains._residues import Residues
from symtheory.domains.tensors._contraction import contract
from symtheory.domains.tensors._indexed import Indexed
from symtheory.errors import InputError, UnreadableError
from symtheory.linear_algebra._modular import PRIME, residue
from symtheory.program import read_function

_MAKES_NO_SENSE = (TypeError, ValueError, IndexError, ZeroDivisionError, InputError)


def differing_sizes(
    function: Callable[..., Any],
    structures: Sequence[Any],
    inputs: Sequence[Indexed],
    outputs: Sequence[Indexed],
    names: Sequence[str],
) -> dict[str, int] | None:
    """Return sizes at which a function is not what was read at symbolic sizes, None if none found.

    A comparison such as `n == m` or `n == 1` is false for symbolic sizes, so that a function that
    asks is read as if sizes were always different. Sizes at which it cannot be read are passed
    over.

    Args:
        function: A JAX function.
        structures: Its arguments as pytrees of shapes.
        inputs: Its flattened arguments as they were read.
        outputs: Its flattened outputs as they were read.
        names: The named sizes.
    """
    for sizes in _patterns(names):
        if not _same_at(sizes, function, structures, inputs, outputs):
            return sizes
    return None


def _same_at(
    sizes: dict[str, int],
    function: Callable[..., Any],
    structures: Sequence[Any],
    inputs: Sequence[Indexed],
    outputs: Sequence[Indexed],
) -> bool:
    """Compare what was read with the function itself, at random entries mod a large prime."""
    rng, domain = random.Random(0), Residues(enclosed=False)
    arrays = {}
    for tensor in sorted({t for value in inputs for t in value.tensors}):
        shape = _bound(tensor.sizes, sizes)
        entries = [rng.randrange(PRIME) for _ in range(math.prod(shape))]
        array = np.array(entries, dtype=object).reshape(shape)
        arrays[tensor] = array + array.T if tensor.symmetric else array

    def at(value: Indexed) -> np.ndarray:
        number = lambda c: residue(as_fraction(c))
        entries = np.asarray(contract(value, sizes, arrays, number=number), dtype=object)
        return np.asarray(entries % PRIME, dtype=np.int64)

    structs = [
        shapes.map_tree(lambda s: jax.ShapeDtypeStruct(_bound(s, sizes), np.float64), node)
        for node in structures
    ]
    try:
        numbers = [from_fractions(at(value), enclosed=False) for value in inputs]
        values = read_function(function, structs, domain, [numbers])
    except (UnreadableError, *_MAKES_NO_SENSE):
        return True
    return all(
        np.array_equal(have.residues, at(read))
        for have, read in zip(jax.tree.leaves(values), outputs, strict=True)
    )


def _patterns(names: Sequence[str]) -> Iterator[dict[str, int]]:
    """Yield sizes that are all one, all equal, and all different."""
    for size in (1, 2):
        yield dict.fromkeys(names, size)
    if len(names) > 1:
        yield {name: 2 + k for k, name in enumerate(names)}


def _bound(node: Any, sizes: dict[str, int]) -> tuple[int, ...]:
    return shapes.fixed(shapes.bind(shapes.as_shape(node), sizes))
