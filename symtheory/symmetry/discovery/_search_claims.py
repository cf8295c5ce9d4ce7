"""What a structured search found, as claims to be evaluated: actions and shifts along axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from symtheory.model import Model
from symtheory.symmetry._evaluated import axes_claim
from symtheory.symmetry.discovery._measure import Part, Place
from symtheory.verdict import Claim, Flows, Subject, sparse_action


def action_claim(model: Model, parts: Sequence[Part], acting: Mapping[Place, np.ndarray]) -> Claim:
    """Return "the loss is constant under matrices acting along axes".

    Args:
        model: The model.
        parts: The parts that places refer to.
        acting: A matrix, a diagonal or a number (axis -1) for each place.
    """
    names = list(model.leaves)

    def tangent(leaves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        out = {name: np.zeros_like(leaf) for name, leaf in leaves.items()}
        for place, factor in acting.items():
            part = parts[place.part]
            name = names[part.leaf]
            whole = leaves[name] if part.index is None else leaves[name][:, part.index]
            image = _applied(whole, factor, place.axis + 1)
            if part.index is None:
                out[name] += image
            else:
                out[name][:, part.index] += image
        return out

    return axes_claim(model, [tangent])


def _applied(array: np.ndarray, factor: np.ndarray, axis: int) -> np.ndarray:
    if factor.ndim == 0:
        return factor * array
    if factor.ndim == 1:
        return array * factor.reshape([-1 if k == axis else 1 for k in range(array.ndim)])
    return np.moveaxis(np.tensordot(factor, array, axes=(1, axis)), 0, axis)


def shift_claim(model: Model, leaf: int, axis: int, slices: Sequence[int | None]) -> Claim:
    """Return "terms that are constant along an axis of a leaf cancel in the loss".

    Args:
        model: The model.
        leaf: Number of the leaf.
        axis: The axis along which the terms are constant.
        slices: Indices along the first axis of those slices that are shifted; None for all.
    """
    subject = Subject.of(model)
    shape = subject.shapes[leaf]
    start = sum(subject.sizes[:leaf])
    rng = np.random.default_rng(leaf)
    along = rng.normal(size=tuple(1 if k == axis else n for k, n in enumerate(shape)))
    values = np.array(np.broadcast_to(along, shape))
    if None not in slices:
        values[np.setdiff1d(np.arange(shape[0]), np.array(slices, dtype=int))] = 0.0
    values = values.reshape(-1)
    shift = {start + k: float(x) for k, x in enumerate(values) if x}
    return Flows(subject, [sparse_action(subject.dimension, {}, shift)])
