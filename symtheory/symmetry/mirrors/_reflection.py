"""Reflections of the parameters, and their verification."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flint import arb

from symtheory.domains import (
    Balls,
    Element,
    Polynomials,
    Ring,
    Symbols,
    UndecidedError,
    ball,
    precision,
)
from symtheory.errors import BudgetError, InputError, UnreadableError
from symtheory.model import Model
from symtheory.program import Deadline, read_function
from symtheory.symmetry._arguments import exact_arguments, random_point
from symtheory.symmetry._evaluated import reflection_claim
from symtheory.symmetry._generator import read_generator
from symtheory.symmetry._symmetry import Affine, Exponential
from symtheory.verdict import NormalForm, Status, Verdict, prove

_REFERENCE = "arXiv 2408.15495, reflection symmetry"
_TRIALS = 3
_BITS = 200
_LARGEST_FORM = 400


@dataclasses.dataclass(frozen=True, eq=False)
class Reflection:
    """The reflection theta -> theta - 2 P (theta - theta'), P an orthogonal projection.

    A loss has it when l(theta + theta') = l((I - 2P) theta + theta') for all theta; the points
    with P (theta - theta') = 0 are then invariant under training, and cost rank P parameters.

    Args:
        projection: `projection(params)`, a linear JAX function that returns P theta as a pytree
            like `params`; or P as a matrix on the flattened parameters.
        center: theta', a pytree like the parameters (zero if omitted).
        name: How the reflection is called in reports.

    Source: arXiv 2408.15495, definition of the reflection symmetry.

    >>> flip = Reflection(lambda p: {"u": p["u"], "w": p["w"]}, name="flip of u and w")
    >>> flip.apply({"u": 2.0, "w": 3.0})
    {'u': -2.0, 'w': -3.0}
    """

    projection: Any
    center: Any = None
    name: str = ""

    def project(self, params: Any) -> Any:
        """Return P theta."""
        if callable(self.projection):
            return self.projection(params)
        leaves, tree = jax.tree.flatten(params)
        flat = jnp.concatenate([jnp.reshape(leaf, (-1,)) for leaf in leaves])
        image = jnp.asarray(self.projection, flat.dtype) @ flat
        sizes = np.cumsum([leaf.size for leaf in leaves])[:-1]
        parts = jnp.split(image, sizes)
        shaped = [jnp.reshape(part, leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(tree, shaped)

    def apply(self, params: Any) -> Any:
        """Return the reflected parameters."""
        if self.center is None:
            return jax.tree.map(lambda p, q: p - 2 * q, params, self.project(params))
        away = jax.tree.map(lambda p, c: p - c, params, self.center)
        return jax.tree.map(lambda p, q: p - 2 * q, params, self.project(away))

    def rank(self, model: Model) -> int:
        """Return rank P, the parameters that a symmetric point costs.

        Raises:
            InputError: P is not a linear map of the parameters, or no orthogonal projection.
        """
        self._check_center(model)
        label = self.name or "reflection"
        generator = read_generator(model, Exponential(self.project, name=f"projection of {label}"))
        entries = {
            place: Fraction(int(number.p), int(number.q))
            for place, entry in generator.matrix.items()
            if (number := entry.as_fmpq()) is not None
        }
        rows: dict[int, dict[int, Fraction]] = {}
        for (i, j), value in entries.items():
            rows.setdefault(i, {})[j] = value
        square: dict[tuple[int, int], Fraction] = {}
        for (i, k), value in entries.items():
            for j, other in rows.get(k, {}).items():
                square[i, j] = square.get((i, j), Fraction(0)) + value * other
        symmetric = all(entries.get((j, i)) == value for (i, j), value in entries.items())
        if not symmetric or {k: v for k, v in square.items() if v} != entries:
            raise InputError(
                f"the projection of the {label} is not an orthogonal projection: it needs "
                "P = P^T and P P = P, exactly (write 0.5, not 0.5001)"
            )
        return int(sum((v for (i, j), v in entries.items() if i == j), Fraction(0)))

    def _check_center(self, model: Model) -> None:
        if self.center is not None:
            model.check_params(jax.tree.map(np.asarray, self.center))


def verify_reflection(
    model: Model, reflection: Reflection, *, seconds: float | None = 60.0, seed: int = 0
) -> Verdict:
    """Decide whether l(theta + theta') = l((I - 2P) theta + theta') for all theta and samples.

    The difference is enclosed at random rational points: an enclosure that excludes zero refutes.
    Then it is brought to normal form; where that is 0 the symmetry is proved.

    Args:
        model: A model with all sizes bound.
        reflection: The reflection claimed.
        seconds: Time limit.
        seed: Seed of the random points.

    Raises:
        InputError: P is no orthogonal projection of the parameters.
    """
    if model.dimension <= _LARGEST_FORM:
        reflection.rank(model)
    deadline = Deadline(seconds)
    name = reflection.name or "the given reflection"
    map_ = "theta -> theta - 2P(theta - theta')"
    claim = f"the loss of {model.name} is invariant under {name}: {map_}"

    def verdict(status: Status, how: str, **fields: Any) -> Verdict:
        return Verdict(status, claim, how=how, reference=_REFERENCE, **fields)

    difference = difference_of(model, reflection)
    try:
        witness, trials = refuted_at(model, difference, seed, deadline)
        if witness is not None:
            how = "rigorous enclosure at a rational point excludes 0"
            return verdict(Status.REFUTED, how, witness=witness, residual=witness["difference"])
        if model.dimension > _LARGEST_FORM:
            raise BudgetError("too many parameters for a normal form")
        ring = Ring(deadline=deadline)
        arguments = exact_arguments(model, None, Symbols(ring))
        value = read_function(
            difference, model.structure(), Polynomials(ring), arguments, deadline
        )[()]
        value = ring.coerce(value)
        assert isinstance(value, Element)
        if value.is_zero():
            return prove(
                claim,
                NormalForm("the normal form of the difference is 0", ring="Q(theta, z)"),
                reflection_claim(model, reflection, seed),
                residual=0,
                reference=_REFERENCE,
            )
        why = "its normal form is not 0"
    except (BudgetError, UnreadableError) as error:
        why, trials = str(error), _TRIALS
    return verdict(Status.INCONCLUSIVE, f"not refuted at {trials} random rational points; {why}")


def difference_of(model: Model, reflection: Reflection) -> Callable[..., Any]:
    """Return (params, sample, constants) -> l(reflected theta) - l(theta)."""

    def difference(params: Any, sample: Any, constants: Any) -> Any:
        after = model.evaluate(reflection.apply(params), sample, constants)
        return after - model.evaluate(params, sample, constants)

    return difference


def refuted_at(
    model: Model, difference: Callable[..., Any], seed: int, deadline: Deadline
) -> tuple[dict[str, Any] | None, int]:
    """Return a rational point at which the difference is certainly not zero (or None).

    The second value is the number of points at which it may be zero.
    """
    rng = random.Random(seed)
    nothing = Affine(lambda params: params)
    trials = 0
    for _ in range(5 * _TRIALS):
        params, sample, constants, _members = random_point(model, nothing, rng)
        balls = jax.tree.map(_balls, (params, sample, constants))
        try:
            with precision(_BITS):
                value = read_function(
                    difference, model.structure(), Balls(), list(balls), deadline
                )[()]
        except UndecidedError:
            continue
        value = arb(value)
        if value.is_finite() and not value.contains(0):
            witness = {"params": _readable(params), "sample": _readable(sample)}
            return {**witness, "difference": float(value.mid())}, trials
        trials += 1
        if trials == _TRIALS:
            break
    return None, trials


def _balls(array: Any) -> np.ndarray:
    exact = np.asarray(array, dtype=object)
    out = np.empty(exact.shape, dtype=object)
    for index, item in np.ndenumerate(exact):
        out[index] = ball(item)
    return out


def _readable(tree: Any) -> Any:
    largest = 1000

    def text(array: Any) -> Any:
        array = np.asarray(array, dtype=object)
        if array.size > largest:
            return f"{array.size} numbers"
        return np.asarray(np.frompyfunc(str, 1, 1)(array), dtype=object).tolist()

    return jax.tree.map(text, tree)
