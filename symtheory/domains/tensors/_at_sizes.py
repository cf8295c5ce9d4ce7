"""What a function does at sizes that are numbers, beside its trace at symbolic ones."""

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
from symtheory.program import read_function, trace

_MAKES_NO_SENSE = (TypeError, ValueError, IndexError, ZeroDivisionError, InputError)


def differing_sizes(
    function: Callable[..., Any],
    structures: Sequence[Any],
    inputs: Sequence[Indexed],
    outputs: Sequence[Indexed],
    names: Sequence[str],
) -> dict[str, int] | None:
    """Return sizes at which a function is not what was read at symbolic sizes, None if none found.

    Questions about sizes are refused where they are asked; this finds what asks in other ways, such
    as by types. Sizes at which the function cannot be read are passed over.

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

    try:
        numbers = [from_fractions(at(value), enclosed=False) for value in inputs]
        values = read_function(function, _structs(structures, sizes), domain, [numbers])
    except (UnreadableError, *_MAKES_NO_SENSE):
        return True
    return all(
        np.array_equal(have.residues, at(read))
        for have, read in zip(jax.tree.leaves(values), outputs, strict=True)
    )


def traced_at_numbers(
    function: Callable[..., Any], structures: Sequence[Any], names: Sequence[str]
) -> tuple[dict[str, int], Exception | None]:
    """Return sizes at which the function can be traced; if there are none, some and its error.

    Args:
        function: A JAX function.
        structures: Its arguments as pytrees of shapes.
        names: The named sizes.
    """
    failure: Exception | None = None
    sizes: dict[str, int] = {}
    for sizes in _patterns(names):
        try:
            trace(function, *_structs(structures, sizes))
        except Exception as error:  # whatever the user's function raises
            failure = error
        else:
            return sizes, None
    return sizes, failure


def _structs(structures: Sequence[Any], sizes: dict[str, int]) -> list[Any]:
    struct = lambda shape: jax.ShapeDtypeStruct(_bound(shape, sizes), np.float64)
    return [shapes.map_tree(struct, node) for node in structures]


def _patterns(names: Sequence[str]) -> Iterator[dict[str, int]]:
    """Yield sizes that are all one, all equal, one of them one, and all different."""
    yield dict.fromkeys(names, 1)
    if not names:
        return
    yield dict.fromkeys(names, 2)
    if len(names) > 1:
        different = {name: 2 + k for k, name in enumerate(names)}
        yield from ({**different, name: 1} for name in names)
        yield different


def _bound(node: Any, sizes: dict[str, int]) -> tuple[int, ...]:
    return shapes.fixed(shapes.bind(shapes.as_shape(node), sizes))
