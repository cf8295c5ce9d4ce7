"""Symmetries as claims that can be evaluated in floats on the model's own loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symtheory.model import Model
from symtheory.symmetry._symmetry import Exponential
from symtheory.verdict import (
    Action,
    All,
    Claim,
    Flows,
    Maps,
    Subject,
    linear_action,
    sparse_action,
    traced_actions,
    traced_map,
)

_SINGLE = 6
"""Members of a family with one entry that are tried, beside generic ones."""


def symmetry_claim(model: Model, symmetry: Exponential, seed: int = 0) -> Claim:
    """Return "the loss is constant along the symmetry", for several members of its family."""
    subject = Subject.of(model)
    shapes = symmetry.member_shapes(model)
    rng = np.random.default_rng(seed)

    def member(chosen: int | None) -> dict[str, np.ndarray]:
        out, start = {}, 0
        for name, shape in shapes.items():
            array = rng.normal(size=shape)
            if chosen is not None:
                places = np.arange(array.size).reshape(shape) + start
                array, start = (places == chosen) * 1.0, start + array.size
            symmetric = (symmetry.family or {})[name].symmetric
            out[name] = (array + array.T) / 2 if symmetric else array
        return out

    members = [member(None)]
    if shapes:
        count = sum(int(np.prod(shape, dtype=int)) for shape in shapes.values())
        singles = rng.permutation(count)[:_SINGLE]
        members += [member(None), *(member(int(k)) for k in singles)]
    return Flows(subject, traced_actions(subject, symmetry.tangent, members), seed)


def reflection_claim(model: Model, reflection: Any, seed: int = 0) -> Claim:
    """Return "the loss is the same after the reflection"."""
    subject = Subject.of(model)
    return Maps(subject, [traced_map(subject, reflection.apply)], seed)


def on_axes(
    model: Model, change: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a map of flattened parameters (n, d) from one of leaves by dotted name (n, shape)."""
    subject = Subject.of(model)
    names = list(model.leaves)

    def apply(points: np.ndarray) -> np.ndarray:
        ends = np.cumsum(subject.sizes)[:-1]
        pieces = np.split(points, ends, axis=1)
        shaped = zip(names, pieces, subject.shapes, strict=True)
        leaves = {name: piece.reshape((len(points), *shape)) for name, piece, shape in shaped}
        moved = change(leaves)
        return np.concatenate(
            [np.reshape(moved[name], (len(points), -1)) for name in names], axis=1
        )

    return apply


def fields_claim(model: Model, fields: Sequence[Any], seed: int = 0) -> Flows:
    """Return "the loss is constant along each of some fields", given by entries of A and b."""
    subject = Subject.of(model)
    actions = [sparse_action(subject.dimension, f.matrix, f.shift) for f in fields]
    return Flows(subject, actions, seed)


def axes_claim(
    model: Model,
    tangents: Sequence[Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]],
    seed: int = 0,
) -> Flows:
    """Return "the loss is constant along each of some linear actions on axes of leaves"."""
    subject = Subject.of(model)
    actions: list[Action] = [
        linear_action(subject.dimension, on_axes(model, tangent)) for tangent in tangents
    ]
    return Flows(subject, actions, seed)


def independence_claim(model: Model, places: Sequence[int] | np.ndarray, seed: int = 0) -> Claim:
    """Return "the loss does not depend on some of the flattened parameters"."""
    rng = np.random.default_rng(seed)
    chosen = np.asarray(places, dtype=int)

    def replaced(points: np.ndarray) -> np.ndarray:
        out = np.array(points)
        shape = (len(points), len(chosen))
        out[:, chosen] = rng.choice([-1, 1], shape) * 10 ** rng.uniform(-3, 3, shape)
        return out

    shift = dict.fromkeys(chosen.tolist(), 1.0)
    subject = Subject.of(model)
    action = sparse_action(subject.dimension, {}, shift)
    return All((Maps(subject, [replaced], seed), Flows(subject, [action], seed)))
