"""What a loss is read with: symbols, rational points, its derivative along a symmetry."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from symtheory import shapes
from symtheory.data import Empirical, random_rational
from symtheory.domains import Ring, Symbols
from symtheory.exact import rational_array
from symtheory.model import Model
from symtheory.symmetry._symmetry import Exponential

_MOST_ROWS = 64
"""Rows of a data set up to which a loss is read at each of them."""


def directional_derivative(model: Model, symmetry: Exponential) -> Callable[..., Any]:
    """Return (params, sample, constants, members) -> grad l . (A theta + b)."""

    def derivative(params: Any, sample: Any, constants: Any, members: Any) -> Any:
        tangent = symmetry.tangent(params, members)
        along = jax.tree.map(lambda p, t: t + 0 * p, params, tangent)
        return jax.jvp(lambda p: model.evaluate(p, sample, constants), (params,), (along,))[1]

    return derivative


def structures(model: Model, symmetry: Exponential) -> list[Any]:
    """Return the arguments of the derivative: params, sample, constants, members."""
    members = {
        name: jax.ShapeDtypeStruct(shape, float)
        for name, shape in symmetry.member_shapes(model).items()
    }
    return [*model.structure(), members]


def random_point(
    model: Model,
    symmetry: Exponential,
    rng: random.Random,
    *,
    scale: Fraction = Fraction(1),
    positive: bool = False,
) -> tuple[Any, Any, Any, Any]:
    """Return rational parameters, sample, constants and family members, as fractions.

    Args:
        model: The model.
        symmetry: The symmetry, for the members of its family.
        rng: Source of randomness.
        scale: Factor on the parameters, to reach pieces of the loss far from the origin.
        positive: Take parameters positive, where the loss may be defined there only.
    """

    def draw(shape: shapes.Shape) -> np.ndarray:
        out = np.empty(shapes.fixed(shape), dtype=object)
        for index in np.ndindex(out.shape):
            out[index] = random_rational(rng)
        return out

    def place(shape: shapes.Shape) -> np.ndarray:
        entries = scale * draw(shape)
        return as_object_array(np.frompyfunc(abs, 1, 1)(entries) if positive else entries)

    params = shapes.map_tree(place, model.params)
    laws = {name: law.exact_draw(rng) for name, law in model.laws.items()}
    sample = laws[""] if list(laws) == [""] else laws
    constants = {
        name: rational_array(model.values[name]) if name in model.values else draw(shape)
        for name, shape in model.constants.items()
    }
    members = {}
    for name, shape in symmetry.member_shapes(model).items():
        member = draw(shape)
        if (symmetry.family or {})[name].symmetric:
            member = member + member.T
        members[name] = member
    return params, sample, constants, members


def law_names(model: Model) -> list[str]:
    """Return the name of the law that each leaf of the flattened sample belongs to."""
    if list(model.laws) == [""]:
        return [""] * len(jax.tree.leaves(model.structure()[1]))
    marked = {
        name: shapes.map_tree(lambda _, name=name: name, law.structure)
        for name, law in model.laws.items()
    }
    return jax.tree.leaves(marked)


def data_columns(model: Model) -> list[np.ndarray | None]:
    """Return the rows of a data set for each leaf of the flattened sample, None for other laws."""
    columns = {
        name: jax.tree.leaves(dict(law.columns))
        for name, law in model.laws.items()
        if isinstance(law, Empirical)
    }
    return [columns[name].pop(0) if name in columns else None for name in law_names(model)]


def rows_to_read(model: Model) -> int | None:
    """Return the number of rows of a model's only data set if they are few enough to read each."""
    data = [law for law in model.laws.values() if isinstance(law, Empirical)]
    return data[0].rows if len(data) == 1 and data[0].rows <= _MOST_ROWS else None


def sample_at_row(model: Model, sample: Any, ring: Ring, labels: set[int], row: int) -> Any:
    """Return a symbolic sample with the columns of a data set at one row.

    Args:
        model: The model.
        sample: The sample as symbols.
        ring: Their ring.
        labels: Leaves of the sample that are only ever cut to integers; they stay integers.
        row: Number of the row.
    """
    leaves, tree = jax.tree.flatten(sample)
    for k, column in enumerate(data_columns(model)):
        if column is None:
            continue
        values = np.asarray(column[row])
        if k in labels and np.all(values == np.rint(values.astype(float))):
            leaves[k] = values.astype(np.int64)
        else:
            exact = rational_array(values)
            leaves[k] = as_object_array(np.frompyfunc(ring.constant, 1, 1)(exact))
    return jax.tree.unflatten(tree, leaves)


def exact_arguments(model: Model, symmetry: Exponential | None, symbols: Symbols) -> list[Any]:
    """Return symbols for parameters, sample, unbound constants and members, as loss arguments."""
    ring = symbols.ring
    params, sample, constants = model.structure()

    # Laws are independent, so the entries of those with a density have one given all the rest.
    dense = [model.laws[name].has_density for name in law_names(model)]

    def symbolic(kind: str, node: Any, generic: Sequence[bool] | None = None) -> Any:
        found = list(shapes.leaves(node))
        leaves = [
            symbols.array(kind, name, shapes.fixed(shape), generic=dense_here)
            for (name, shape), dense_here in zip(
                found, generic or [False] * len(found), strict=True
            )
        ]
        return jax.tree.unflatten(jax.tree.structure(node), leaves)

    known = {
        name: np.frompyfunc(ring.constant, 1, 1)(rational_array(value))
        for name, value in model.values.items()
        if name in model.constants
    }
    values = {
        name: as_object_array(known[name])
        if name in known
        else symbols.array("constant", name, tuple(struct.shape))
        for name, struct in constants.items()
    }
    out = [symbolic("param", params), symbolic("sample", sample, dense), values]
    if symmetry is not None:
        out.append(
            {
                name: symbols.array(
                    "family", name, shape, bool((symmetry.family or {})[name].symmetric)
                )
                for name, shape in symmetry.member_shapes(model).items()
            }
        )
    return out


def as_object_array(value: Any) -> np.ndarray:
    """Return an object array, also for a single entry."""
    out = np.empty(np.shape(value), dtype=object)
    out[...] = value
    return out


def shaped_like(leaves: list[Any], entries: Sequence[Any]) -> list[np.ndarray]:
    """Return flattened entries as arrays of the shapes of leaves."""
    out, start = [], 0
    for leaf in leaves:
        piece = np.empty(leaf.size, dtype=object)
        piece[:] = entries[start : start + leaf.size]
        out.append(piece.reshape(leaf.shape))
        start += leaf.size
    return out
