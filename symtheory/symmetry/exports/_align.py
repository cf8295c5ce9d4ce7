"""Permute the units of one network so that it comes near to another; its function stays."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.symmetry.exports._matching import Matching
from symtheory.symmetry.exports._specification import (
    PermutationSpecification,
    permutation_specification,
)
from symtheory.verdict import Claim, Derivation, Outcome, Subject, Verdict, prove, samples

_SAMPLES = 32
_ROUNDING = 1e-10
"""Relative to the largest number that computing the loss meets."""


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """A permuted network.

    Attributes:
        params: Parameters b with their units permuted, of the types of b; no entry is changed.
        permutations: For each class (by name), which unit of b each unit is now: an array
            (*copies, units).
        distance_before: |a - b|, the Euclidean norm over all parameters.
        distance_after: |a - params|.
        sweeps: Passes over all classes until nothing changed.
        specification: The classes.
        verdict: That the function is the same: proved by the derivation of the permutations, and
            evaluated at random samples with parameters b.
    """

    params: Any
    permutations: dict[str, np.ndarray]
    distance_before: float
    distance_after: float
    sweeps: int
    specification: PermutationSpecification = dataclasses.field(repr=False)
    verdict: Verdict

    def __str__(self) -> str:
        moved = sum(
            int(np.sum(order != np.arange(order.shape[-1]))) for order in self.permutations.values()
        )
        return (
            f"distance {self.distance_before:.6g} before, {self.distance_after:.6g} after; "
            f"{moved} units moved in {len(self.permutations)} classes; the same function: "
            f"{self.verdict.status}"
        )


def align(model: Model, params_a: Any, params_b: Any, *, seconds: float | None = None) -> Alignment:
    """Permute the units of network b so that its parameters come near to those of network a.

    The permutations pi under which the loss stays the same are read off its program. The squared
    distance |a - pi b|^2 is lowered class by class: with all other classes held, the best
    permutation of one is a linear assignment of the matrix sum of A B^T over the axes of the class.
    This goes on until nothing changes, from two starts: b as it is, and one where the classes are
    matched one after the other, from the fixed axes (inputs, outputs) inwards; the nearer end is
    taken. Heads and experts are permuted as blocks, with their units matched for every pair. The
    result is a local minimum: to find the nearest permutation of all is hard (section 3.2).

    Args:
        model: A model with all sizes bound.
        params_a: Parameters that stay as they are, a pytree of arrays as the model has it.
        params_b: Parameters to be permuted.
        seconds: Time limit.

    Returns:
        The permuted parameters, distances before and after, the permutations, and the verdict that
        the function is the same.

    Raises:
        InputError: The parameters do not have the shapes of the model, or are not finite.
        UnreadableError: The loss cannot be lowered; says where.
        BudgetError: The time limit was reached.

    Source: arXiv 2209.04836 (git re-basin), section 3.2, weight matching.

    >>> import jax.numpy as jnp
    >>> from symtheory.data import Normal
    >>> model = Model(lambda p, z: jnp.sum((p["U"] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2),
    ...               {"U": (2, 4), "W": (4, 3)}, random={"x": Normal(3), "y": Normal(2)})
    >>> keys = jax.random.split(jax.random.key(0))
    >>> a = {"U": jax.random.normal(keys[0], (2, 4)), "W": jax.random.normal(keys[1], (4, 3))}
    >>> order = jnp.array([2, 0, 3, 1])
    >>> found = align(model, a, {"U": a["U"][:, order], "W": a["W"][order]})
    >>> found.distance_after, found.permutations["P0"].tolist(), str(found.verdict.status)
    (0.0, [1, 3, 0, 2], 'proved')
    """
    for name, params in (("params_a", params_a), ("params_b", params_b)):
        try:
            model.check_params(params)
        except InputError as error:
            raise InputError(f"align: {name} does not fit the model: {error}") from error
    deadline = Deadline(seconds)
    specification = permutation_specification(model, seconds=seconds)
    leaves, tree = jax.tree.flatten(params_b)
    b = [np.asarray(x) for x in leaves]
    wide = [[np.asarray(x, dtype=np.float64) for x in side]
            for side in (jax.tree.leaves(params_a), b)]  # fmt: skip
    trials = []
    for starts_anew in (False, True):
        matching = Matching(specification.inferred, *wide)
        if starts_anew:
            matching.start(deadline)
        trials.append((matching, matching.run(deadline)))
    before = Matching(specification.inferred, *wide).distance
    best, sweeps = min(trials, key=lambda trial: trial[0].distance)
    moved = [
        x.reshape(-1)[entries.reshape(-1)].reshape(x.shape)
        for x, entries in zip(b, best.entries, strict=True)
    ]
    out = [
        jax.numpy.asarray(x) if isinstance(leaf, jax.Array) else x
        for x, leaf in zip(moved, leaves, strict=True)
    ]
    orders = {c.name: best.orders[c.number] for c in specification.classes}
    return Alignment(
        jax.tree.unflatten(tree, out), orders, float(np.sqrt(before)),
        float(np.sqrt(best.distance)), sweeps, specification,
        same_function(model, b, moved),
    )  # fmt: skip


def same_function(model: Model, before: list[np.ndarray], after: list[np.ndarray]) -> Verdict:
    """Return the verdict that two parameters, one permuted by the inference, are one function.

    Args:
        model: The model.
        before: Its parameters, flattened.
        after: The permuted ones.
    """
    return prove(
        f"the loss of {model.name} is the same at every sample for the permuted parameters",
        Derivation("every operation of the loss takes the permutations of its inputs along"),
        SameLoss(model, before, after),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class SameLoss(Claim):
    """The loss is the same at two points of the parameters, for all samples."""

    model: Model
    before: list[np.ndarray]
    after: list[np.ndarray]

    def test(self) -> Outcome:
        """Evaluate the loss of both at random samples."""
        subject, rng = Subject.of(self.model), np.random.default_rng(0)
        if self.model.unbound:
            data = subject.data(rng, _SAMPLES)
        else:
            data = (samples(self.model, rng, _SAMPLES), {})
        rows = [
            np.tile(np.concatenate([np.reshape(x, -1) for x in side]).astype(float), (_SAMPLES, 1))
            for side in (self.before, self.after)
        ]
        values = [subject.at(points, data)[0] for points in rows]
        sizes = np.maximum(*(subject.magnitude(points, data) for points in rows))
        good = np.isfinite(values[0]) & np.isfinite(values[1])
        if not np.any(good):
            return Outcome(None, "the loss is finite at no random sample")
        gap = np.abs(values[1] - values[0])[good] / np.maximum(sizes[good], np.finfo(float).tiny)
        worst = float(np.max(gap))
        if worst <= _ROUNDING:
            count = int(np.sum(good))
            text = f"the loss differs by at most {worst:.1e} of its terms at {count} samples"
            return Outcome(True, text, evaluated=count)
        place = int(np.flatnonzero(good)[np.argmax(gap)])
        pair = [float(side[place]) for side in values]
        how = f"the loss is {pair[0]:.6g} before and {pair[1]:.6g} after"
        exact = subject.precise or worst > 1e-3
        return Outcome(False if exact else None, how, {"before": pair[0], "after": pair[1]},
                       pair[1] - pair[0])  # fmt: skip
