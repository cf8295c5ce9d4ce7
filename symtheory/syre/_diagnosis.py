"""How collapsed trained weights are: near which mirrors, of which rank, with which idle units."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from symtheory import shapes
from symtheory.errors import InputError
from symtheory.symmetry import FoundReflections, Reflection
from symtheory.syre._rank import THRESHOLDS, Rank, rank


@dataclasses.dataclass(frozen=True)
class MirrorDistance:
    """How near weights are to the symmetric states of a family of reflections.

    Attributes:
        name: The family.
        smallest: The smallest distance over its members, relative to the size of one unit (or of
            all weights, for a single reflection).
        within: How many members are nearer than each threshold.
        members: How many members there are; 0 stands for a continuum.
    """

    name: str
    smallest: float
    within: dict[float, int]
    members: int


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes:
        mirrors: Distance to the symmetric states, family by family.
        weights: Rank of every weight matrix, by name.
        features: Rank of every matrix of features, by name.
        dead: Units that are (nearly) zero, by threshold, for every group of units and features.
        duplicated: Units that (nearly) repeat an earlier one, likewise.
    """

    mirrors: tuple[MirrorDistance, ...]
    weights: dict[str, Rank]
    features: dict[str, Rank]
    dead: dict[str, dict[float, int]]
    duplicated: dict[str, dict[float, int]]

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as JSON-ready data."""
        return dataclasses.asdict(self)


def diagnose(
    params: Any,
    reflections: Sequence[FoundReflections | Reflection] = (),
    *,
    features: dict[str, Any] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Diagnosis:
    """Tell how collapsed weights are, at several thresholds.

    A count of collapsed directions depends on its threshold beside sigma_0: what syre holds at
    about gamma sigma_0 / (gamma - m) counts as collapsed at a large threshold and not at a small
    one. All counts are therefore given at every threshold.

    Args:
        params: The weights w (not theta = w - theta_0).
        reflections: What `st.reflections` found in the model, or single reflections.
        features: Features by name, each an array of samples x units.
        thresholds: Relative to the largest singular value, or to the size of a typical unit.

    Raises:
        InputError: Weights or features are not finite, or a threshold is not positive.

    >>> twice = {"W": np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]]), "u": np.array([1.0, 1.0, 2])}
    >>> rank = diagnose(twice).weights["W"]
    >>> rank.above, rank.full
    ({0.001: 2, 0.01: 2, 0.1: 2}, 2)
    """
    limits = [float(t) for t in thresholds]
    if not limits or not all(0 < t < np.inf for t in limits):
        raise InputError(f"thresholds are {list(thresholds)}; give positive numbers")
    named = {
        shapes.path_text(path): _finite(shapes.path_text(path), leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
    }
    leaves = list(named.values())
    sizes = [leaf.shape for leaf in leaves]
    mirrors = []
    dead: dict[str, dict[float, int]] = {}
    duplicated: dict[str, dict[float, int]] = {}
    for item in reflections:
        if isinstance(item, FoundReflections) and item.moves_rows(sizes):
            table = rows_of(leaves, item)
            mirrors.append(_of_rows(item, leaves, limits))
            group = ", ".join(item.leaves)
            dead[group], duplicated[group] = _idle(table, limits)
        else:
            mirror = item.reflection if isinstance(item, FoundReflections) else item
            mirrors.append(_of_one(params, mirror, item.name, limits))
    ranks = {name: rank(array, limits) for name, array in named.items() if array.ndim == 2}
    outputs = {}
    for name, array in (features or {}).items():
        array = _finite(f"features {name}", array)
        if array.ndim != 2:
            raise InputError(f"the features {name!r} have the shape {array.shape}; give 2 axes")
        outputs[name] = rank(array, limits)
        dead[name], duplicated[name] = _idle(array.T, limits)
    return Diagnosis(tuple(mirrors), ranks, outputs, dead, duplicated)


def rows_of(leaves: list[np.ndarray], found: FoundReflections) -> np.ndarray:
    """Return one row per unit: all weights that belong to it."""
    blocks = [
        np.moveaxis(leaves[leaf], axis, 0).reshape(leaves[leaf].shape[axis], -1)
        if leaves[leaf].ndim
        else leaves[leaf].reshape(1, 1)
        for leaf, axis in dict(found.axes).items()
    ]
    return np.concatenate(blocks, axis=1)


def _of_rows(
    found: FoundReflections, leaves: list[np.ndarray], limits: list[float]
) -> MirrorDistance:
    table = rows_of(leaves, found)
    scale = _typical(table)
    if found.kind == "flip":
        distances = np.linalg.norm(table, axis=1)
    elif found.kind in ("swap", "signed swap"):
        upper = np.triu_indices(len(table), 1)
        other = table * _signs(found, leaves)
        distances = _pairwise(table, other)[upper] / np.sqrt(2)
    else:  # the direction a with the smallest |a^T w|
        distances = np.linalg.svd(table, compute_uv=False)
        distances = np.append(distances, np.zeros(len(table) - len(distances)))
    distances = distances / scale
    members = 0 if found.kind == "rotation" else len(distances)
    return MirrorDistance(found.name, float(distances.min()), _below(distances, limits), members)


def _signs(found: FoundReflections, leaves: list[np.ndarray]) -> np.ndarray:
    """Return -1 for the weights of a unit whose sign changes when it is exchanged."""
    axes = dict(found.axes).items()
    sizes = [leaves[leaf].size // (leaves[leaf].shape or (1,))[axis] for leaf, axis in axes]
    return np.repeat([-1.0 if axis in found.signed else 1.0 for axis in axes], sizes)


def _of_one(params: Any, reflection: Reflection, name: str, limits: list[float]) -> MirrorDistance:
    away = params
    if reflection.center is not None:
        away = jax.tree.map(lambda w, c: w - c, params, reflection.center)
    with jax.enable_x64(True):
        image = [np.ravel(leaf) for leaf in jax.tree.leaves(reflection.project(away))]
    size = np.linalg.norm(np.concatenate([np.ravel(x) for x in jax.tree.leaves(away)]))
    distance = float(np.linalg.norm(np.concatenate(image)) / (size or 1.0))
    label = name or "the given reflection"
    return MirrorDistance(label, distance, _below(np.array([distance]), limits), 1)


def _idle(table: np.ndarray, limits: list[float]) -> tuple[dict[float, int], dict[float, int]]:
    """Count rows that are nearly zero, and rows that nearly repeat an earlier one (zeros aside)."""
    scale = _typical(table)
    norms = np.linalg.norm(table, axis=1) / scale
    apart = _pairwise(table, table) / scale
    dead = _below(norms, limits)
    twice = {}
    for limit in limits:
        alive = norms >= limit
        close = (apart < limit) & alive[:, None] & alive[None, :]
        twice[limit] = int(np.sum(np.any(np.tril(close, -1), axis=1)))
    return dead, twice


def _pairwise(table: np.ndarray, other: np.ndarray) -> np.ndarray:
    # Differences row by row, not by Gram: duplicates have to come out at exactly 0.
    return np.stack([np.linalg.norm(other - row, axis=1) for row in table])


def _typical(table: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.sum(table**2, axis=1)))) or 1.0


def _below(distances: np.ndarray, limits: list[float]) -> dict[float, int]:
    return {limit: int(np.sum(distances < limit)) for limit in limits}


def _finite(name: str, leaf: Any) -> np.ndarray:
    array = np.asarray(leaf, dtype=float)
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name!r} has entries that are NaN or infinite; diagnose finite weights")
    return array
