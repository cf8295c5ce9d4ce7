"""Pairs of factors that meet in a hidden space: U g and g^-1 W give the same function."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory import shapes
from symtheory.errors import InputError, did_you_mean

Index = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Factor:
    """One leaf of a pair: which of its axes is the hidden one, and which are batch axes.

    Attributes:
        leaf: Dotted name of the leaf ("layers.0.Wq").
        axis: The hidden axis; negative counts from the last.
        batch: Axes over which there is one independent pair per index (heads).
    """

    leaf: str
    axis: int
    batch: Index = ()

    def resolve(self, shape: Index) -> Factor:
        """Return the factor with axes counted from the front.

        Raises:
            InputError: An axis is not there, or is named twice.
        """
        axes = (self.axis, *self.batch)
        if any(not -len(shape) <= axis < len(shape) for axis in axes):
            raise InputError(
                f"{self.leaf!r} has shape {shape}, which has no axes {axes}; give the hidden axis "
                "and batch axes of that leaf"
            )
        hidden, *batch = (axis % len(shape) for axis in axes)
        if len({hidden, *batch}) < len(axes):
            raise InputError(f"the axes {axes} of {self.leaf!r} are not different from each other")
        return Factor(self.leaf, hidden, tuple(batch))

    def matrices(self, array: Any) -> Any:
        """Return the leaf as a stack of matrices (batch, outer, hidden); axes must be resolved."""
        front = jnp.moveaxis(array, (*self.batch, self.axis), (*range(len(self.batch)), -1))
        count = math.prod(front.shape[: len(self.batch)])
        outer = math.prod(front.shape[len(self.batch) : -1])
        return jnp.reshape(front, (count, outer, front.shape[-1]))

    def restore(self, stack: Any, shape: Index) -> Any:
        """Return a stack of matrices in the leaf's shape, the inverse of `matrices`."""
        rest = [k for k in range(len(shape)) if k not in (*self.batch, self.axis)]
        order = (*self.batch, *rest, self.axis)
        back = tuple(order.index(k) for k in range(len(shape)))
        return jnp.transpose(jnp.reshape(stack, [shape[k] for k in order]), back)


@dataclasses.dataclass(frozen=True)
class GLPair:
    """Leaves that a hidden space of width h joins: left ones U -> U g, right ones W -> g^-1 W.

    Args:
        left: The factors U, contracted on their hidden axis: names, (name, axis), or
            (name, axis, batch axes). A bare name stands for its last axis. Several leaves may
            share the hidden space (a weight and its bias).
        right: The factors W. A bare name stands for its first axis. In a query/key pair
            (x Wq)(x Wk)^T both hidden axes are the last: `right=("Wk", -1)`.

    Raises:
        InputError: A leaf is named twice.

    >>> GLPair("U", "W").right
    (Factor(leaf='W', axis=0, batch=()),)
    >>> GLPair(("Wq", -1, (0,)), ("Wk", -1, (0,))).left
    (Factor(leaf='Wq', axis=-1, batch=(0,)),)
    """

    left: Any
    right: Any

    def __post_init__(self) -> None:
        for side, axis in (("left", -1), ("right", 0)):
            object.__setattr__(self, side, _factors(getattr(self, side), axis, side))
        names = [factor.leaf for factor in (*self.left, *self.right)]
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"the leaf {name!r} occurs twice in a pair; a pair has two factors"
                )

    def resolve(self, leaves: dict[str, shapes.Shape]) -> GLPair:
        """Return the pair with axes counted from the front, checked against the leaves' shapes.

        Raises:
            InputError: A leaf is not there, or hidden widths or batch sizes differ.
        """
        sides = []
        width: tuple[str, int] | None = None
        heads: tuple[str, Index] | None = None
        for side in (self.left, self.right):
            resolved = []
            for factor in side:
                if factor.leaf not in leaves:
                    hint = did_you_mean(factor.leaf, list(leaves))
                    raise InputError(f"the parameters have no leaf {factor.leaf!r}; {hint}")
                shape = shapes.fixed(leaves[factor.leaf])
                one = factor.resolve(shape)
                size, batch = shape[one.axis], tuple(shape[k] for k in one.batch)
                width, heads = width or (one.leaf, size), heads or (one.leaf, batch)
                if size != width[1]:
                    raise InputError(
                        f"the hidden axis of {width[0]!r} has size {width[1]}, but axis {one.axis} "
                        f"of {one.leaf!r} has size {size}; name the axes that are contracted"
                    )
                if batch != heads[1]:
                    raise InputError(
                        f"the batch axes of {heads[0]!r} have sizes {heads[1]}, but those of "
                        f"{one.leaf!r} have {batch}; every leaf needs the same heads"
                    )
                resolved.append(one)
            sides.append(tuple(resolved))
        return GLPair(*sides)

    def stacks(self, leaves: dict[str, Any]) -> tuple[Any, Any]:
        """Return U and W^T as stacks (batch, outer, hidden); the pair must be resolved."""
        left, right = (
            jnp.concatenate([f.matrices(jnp.asarray(leaves[f.leaf])) for f in side], axis=1)
            for side in (self.left, self.right)
        )
        return left, right

    def unstack(self, left: Any, right: Any, leaves: dict[str, Any]) -> dict[str, Any]:
        """Return new leaves of the shapes and types of the old ones, by name."""
        out = {}
        for side, stack in ((self.left, left), (self.right, right)):
            start = 0
            for factor in side:
                old = leaves[factor.leaf]
                shape = tuple(np.shape(old))
                count = math.prod(shape) // (stack.shape[0] * stack.shape[2])
                part = factor.restore(stack[:, start : start + count], shape)
                out[factor.leaf] = part.astype(jnp.asarray(old).dtype)
                start += count
        return out


def _factors(given: Any, axis: int, side: str) -> tuple[Factor, ...]:
    if isinstance(given, (str, Factor)) or _is_one(given):
        given = (given,)
    if not isinstance(given, Sequence) or not given:
        raise InputError(
            f"{side} is {given!r}; give a leaf's name, (name, axis) or a list of these"
        )
    return tuple(_factor(item, axis, side) for item in given)


def _is_one(item: Any) -> bool:
    return (
        isinstance(item, tuple)
        and 2 <= len(item) <= 3
        and isinstance(item[0], str)
        and isinstance(item[1], int)
    )


def _factor(item: Any, axis: int, side: str) -> Factor:
    if isinstance(item, Factor):
        return item
    if isinstance(item, str):
        return Factor(item, axis)
    if _is_one(item):
        return Factor(item[0], item[1], tuple(item[2]) if len(item) > 2 else ())
    raise InputError(
        f"{side} holds {item!r}; give a leaf's name, (name, axis) or (name, axis, axes)"
    )


def leaves_of(params: Any) -> dict[str, Any]:
    """Return the arrays of a pytree by dotted name, in order."""
    names = [name for name, _ in shapes.leaves(params)]
    return dict(zip(names, jax.tree.leaves(params), strict=True))
