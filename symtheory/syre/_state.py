"""The state of `decay_towards`: a plain pytree, found again in the state of any optimizer."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from symtheory.errors import InputError
from symtheory.syre._bias import dotted


class DecayTowardsState(NamedTuple):
    """The state of `decay_towards`, a plain pytree.

    Attributes:
        count: Updates so far, for schedules.
        center: theta_0, like the parameters.
        diagonal: D, like the parameters, or None for the identity.
    """

    count: Any
    center: Any
    diagonal: Any


def center_of(state: Any) -> Any:
    """Return theta_0 from the state of an optimizer with `decay_towards` somewhere in its chain.

    Leaves that a mask leaves out are `optax.MaskedNode`s.

    Raises:
        InputError: There is no such state.
    """
    return _find(state).center


def diagonal_of(state: Any) -> Any:
    """Return D from the state of an optimizer with `decay_towards` in its chain, or None.

    Raises:
        InputError: There is no such state.
    """
    return _find(state).diagonal


def _find(state: Any) -> DecayTowardsState:
    is_ours = lambda node: isinstance(node, DecayTowardsState)
    found = [node for node in jax.tree.leaves(state, is_leaf=is_ours) if is_ours(node)]
    if len(found) != 1:
        raise InputError(
            f"the optimizer state holds {len(found)} states of decay_towards; one is needed"
        )
    return found[0]


def check_same(tree: Any, params: Any, whose: str) -> None:
    """Compare structure and shapes, which are known also while tracing.

    Raises:
        InputError: Naming what differs.
    """
    was, now = jax.tree.structure(tree), jax.tree.structure(params)
    if was != now:
        raise InputError(
            f"the parameters have the structure {now}, but {whose} {was}; call init again"
        )
    pairs = zip(jax.tree_util.tree_flatten_with_path(params)[0], jax.tree.leaves(tree), strict=True)
    for (path, leaf), other in pairs:
        if np.shape(leaf) != np.shape(other):
            raise InputError(
                f"the parameter {dotted(path)!r} has the shape {np.shape(leaf)}, but {whose} "
                f"{np.shape(other)}; call init again"
            )
