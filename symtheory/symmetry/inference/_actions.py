"""Finite elements of the inferred group, as functions of the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from symtheory.symmetry.inference._generators import copy_sizes
from symtheory.symmetry.inference._read_off import Reading
from symtheory.symmetry.inference._result import AxisClass, Block, Family, Flips, Leaf, Target

Arrays = list[np.ndarray]
Action = Callable[[Arrays], None]
"""Changes parameters in place."""


def generator_of(key: jax.Array) -> np.random.Generator:
    """Return a NumPy generator that a JAX key determines."""
    return np.random.default_rng(np.asarray(jax.random.bits(key, (4,))).tolist())


def random_actions(
    leaves: Sequence[Leaf], found: Reading, rng: np.random.Generator
) -> list[Action]:
    """Return a random element of every class and family, to be applied one after the other."""
    actions: list[Action] = []
    for k, c in enumerate(found.classes):
        if c.group in ("GL", "O"):
            actions.append(matrices(leaves, found, k, _random_matrices(c, found, k, rng)))
        elif c.group == "permutations":
            shape = copy_sizes(found, k)
            order = np.argsort(rng.random((*shape, c.size)), axis=-1)
            actions.append(permutations(leaves, found, k, order))
    for family in (*found.rescalings, *found.shifts):
        largest = max([1, *(abs(r) for _, r in family.rates), *(abs(r) for _, r in family.shifts)])
        array = rng.uniform(-1, 1, family.sizes) / float(largest)
        actions.append(_family(leaves, family, array))
    for flips in found.flips:
        actions.append(signs(leaves, flips, rng.choice([-1.0, 1.0], flips.sizes)))
    return actions


def _random_matrices(
    c: AxisClass, found: Reading, k: int, rng: np.random.Generator
) -> np.ndarray:  # fmt: skip
    shape = (*copy_sizes(found, k), c.size, c.size)
    if c.group == "O":
        return np.linalg.qr(rng.standard_normal(shape))[0]
    left, right = (np.linalg.qr(rng.standard_normal(shape))[0] for _ in range(2))
    stretch = np.exp(rng.uniform(-0.5, 0.5, shape[:-1]))
    return left * stretch[..., None, :] @ right


def _along_class(
    leaves: Sequence[Leaf], found: Reading, k: int, act: Callable[[np.ndarray, int], np.ndarray]
) -> Action:
    """Return an action on every axis of a class; `act` gets (copies, rest, size), orientation."""
    members, along = found.members[k], found.along[k]
    c = found.classes[k]
    orientation = {(a.leaf, a.block, a.axis, a.factor): a.orientation for a in c.axes}

    def action(arrays: Arrays) -> None:
        for leaf, array in zip(leaves, arrays, strict=True):
            for block in leaf.blocks():
                names = [(leaf.path, block.number, a, f) for a, f in block.factors]
                labels = [found.labels[name] for name in names]
                if not set(members) & set(labels):
                    continue
                x = block.read(array)
                places = [[i for i, label in enumerate(labels) if label == m] for m in members]
                copies = [labels.index(label) for label in along]
                for group in zip(*places, strict=True):
                    sign = orientation[names[group[0]]]
                    x = _on_axes(x, copies, group, lambda y, s=sign: act(y, s))
                block.write(array, x)

    return action


def _on_axes(
    x: np.ndarray, copies: Sequence[int], group: Sequence[int], act: Callable[..., np.ndarray]
) -> np.ndarray:
    rest = [i for i in range(x.ndim) if i not in (*copies, *group)]
    order = [*copies, *rest, *group]
    moved = x.transpose(order)
    size = math.prod(x.shape[i] for i in group)
    flat = moved.reshape(*(x.shape[i] for i in copies), -1, size)
    return act(flat).reshape(moved.shape).transpose(np.argsort(order))


def matrices(leaves: Sequence[Leaf], found: Reading, k: int, given: np.ndarray) -> Action:
    """Return the action of matrices, one for each copy of a class."""
    opposite = np.swapaxes(np.linalg.inv(given), -1, -2)

    def act(x: np.ndarray, orientation: int) -> np.ndarray:
        m = given if orientation > 0 else opposite
        return x @ np.swapaxes(m, -1, -2)

    return _along_class(leaves, found, k, act)


def permutations(leaves: Sequence[Leaf], found: Reading, k: int, order: np.ndarray) -> Action:
    """Return the action of permutations, one for each copy of a class."""

    def act(x: np.ndarray, _: int) -> np.ndarray:
        return np.take_along_axis(x, np.broadcast_to(order[..., None, :], x.shape), -1)

    return _along_class(leaves, found, k, act)


def _block(leaves: Sequence[Leaf], target: Target) -> tuple[int, Block]:
    for number, leaf in enumerate(leaves):
        if leaf.path == target.leaf:
            return number, leaf.block(target.block)
    raise KeyError(target.leaf)


def spread(block: Block, target: Target, array: np.ndarray) -> np.ndarray:
    """Return an array along the axes of a target, shaped to be combined with the block."""
    places = [block.factors.index(axis) for axis in target.axes]
    order = np.argsort(places)
    shape = [1] * len(block.shape)
    for place in places:
        shape[place] = block.shape[place]
    return array.transpose(order).reshape(shape)


def _family(leaves: Sequence[Leaf], family: Family, array: np.ndarray) -> Action:
    def action(arrays: Arrays) -> None:
        for targets, shift in ((family.rates, False), (family.shifts, True)):
            for target, rate in targets:
                number, block = _block(leaves, target)
                term = float(rate) * spread(block, target, array)
                x = block.read(arrays[number])
                block.write(arrays[number], x + term if shift else x * np.exp(term))

    return action


def signs(leaves: Sequence[Leaf], flips: Flips, array: np.ndarray) -> Action:
    """Return the action of a family of signs by an array of -1 and 1."""

    def action(arrays: Arrays) -> None:
        for target in flips.targets:
            number, block = _block(leaves, target)
            x = block.read(arrays[number])
            block.write(arrays[number], x * spread(block, target, array))

    return action


def applied(leaves: Sequence[Leaf], actions: Sequence[Action], params: Any) -> Any:
    """Return transformed parameters, in double precision."""
    flat, tree = jax.tree.flatten(params)
    arrays = [
        np.array(x, dtype=np.float64).reshape(leaf.shape)
        for x, leaf in zip(flat, leaves, strict=True)
    ]
    for action in actions:
        action(arrays)
    return jax.tree.unflatten(tree, arrays)
