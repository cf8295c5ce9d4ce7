"""The gradient of l_r at the symmetric states of a reflection, in exact arithmetic."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from symtheory.exact import rational
from symtheory.program import Deadline
from symtheory.symmetry import Reflection
from symtheory.syre._exact import center_of, combine, project, random_data, random_tree, vanishes
from symtheory.syre._model import RemovedModel
from symtheory.syre._units import exact_tree
from symtheory.verdict import Claim, Equality, NormalForm, Status, Subject, Verdict, prove

_REFERENCE = "arXiv 2408.15495; the identity behind R6"
_LARGEST_GRADIENT = 400


def symmetric_gradient(
    model: RemovedModel, reflection: Reflection, *, seconds: float | None = 60.0, seed: int = 0
) -> Verdict:
    """Check P grad l_r = 2 gamma P D (theta' + s - theta_0) at a random symmetric state, exactly.

    Without D this is 2 gamma (theta' - P theta_0), whatever s in the complement of range P.

    Args:
        model: What `remove_symmetries` returned.
        reflection: A reflection of the original loss.
        seconds: Time limit.
        seed: Seed of the random state and sample.

    Source: arXiv 2408.15495; the identity behind R6.
    """
    base, rng = model.base, random.Random(seed)
    claim = "at the symmetric states P grad l_r = 2 gamma (theta' - P theta_0)"
    if base.dimension > _LARGEST_GRADIENT:
        how = f"not evaluated: more than {_LARGEST_GRADIENT} parameters"
        return Verdict(Status.NOT_APPLICABLE, claim, how=how)
    bias, gamma = exact_tree(model.bias), rational(model.weight_decay)
    center = project(base, reflection, center_of(base, reflection))
    point = random_tree(base, rng)
    aside = combine(lambda x, y: x - y, point, project(base, reflection, point))
    state = combine(lambda c, s: c + s, center, aside)
    pull = combine(lambda w, b: 2 * gamma * (w - b), state, bias)
    if model.diagonal is not None:
        pull = combine(lambda d, x: d * x, exact_tree(model.diagonal), pull)
        claim = "at the symmetric states P grad l_r = 2 gamma P D (theta' + s - theta_0)"
    target = project(base, reflection, pull)
    theta = combine(lambda w, b: w - b, state, bias)
    sample, constants = random_data(base, rng)
    arguments = [theta, sample, constants, target]
    structures = [*model.structure(), model.structure()[0]]
    gap = gradient_gap(model, reflection)
    zero, how = vanishes(gap, structures, arguments, Deadline(seconds))
    how = f"the difference at a random rational symmetric state and sample is {how}"
    if not zero:
        return Verdict(Status.REFUTED, claim, how=how, reference=_REFERENCE)
    recheck = _in_floats(model, reflection)
    return prove(claim, NormalForm(how, ring="Q"), recheck, residual=0, reference=_REFERENCE)


def _in_floats(model: RemovedModel, reflection: Reflection) -> Claim:
    """Return the same at several symmetric states and samples, in plain JAX."""
    subject, base = Subject.of(model), model.base
    known = {n: v for n, v in model.values.items() if n in model.constants}

    def theta_of(params: Any) -> Any:
        center = reflection.center
        aside = jax.tree.map(lambda x, y: x - y, params, reflection.project(params))
        if center is not None:
            aside = jax.tree.map(lambda x, y: x + y, aside, reflection.project(center))
        return jax.tree.map(lambda x, b: x - b, aside, model.bias)

    def slope(flat: Any, data: Any) -> Any:
        theta, constants = theta_of(subject.pack(flat)), {**known, **data[1]}
        loss = lambda p: model.evaluate(p, data[0], constants)
        weights = jax.tree.map(lambda x, b: x + b, theta, model.bias)
        # The gradient of l at the same weights, so that what cancels in P stays in sight. Rounding
        # is relative to its largest entry: where 1 - tanh(h)^2 is near 0, few of its digits hold.
        plain = jax.grad(lambda p: base.evaluate(p, data[0], constants))(weights)
        return reflection.project(jax.grad(loss)(theta)), _largest(plain)

    def pull(flat: Any, data: Any) -> Any:
        theta = theta_of(subject.pack(flat))
        pulled = jax.tree.map(lambda x: 2 * model.weight_decay * x, theta)
        if model.diagonal is not None:
            pulled = jax.tree.map(lambda x, d: d * x, pulled, model.diagonal)
        return reflection.project(pulled), slope(flat, data)[1]

    def draw(rng: np.random.Generator, count: int) -> tuple[Any, ...]:
        return rng.normal(size=(count, subject.dimension)), subject.data(rng, count)

    total = lambda parts: jax.tree.map(lambda x, size: x + size, *parts)
    return Equality(
        lambda p, z: total(slope(p, z)), lambda p, z: total(pull(p, z)), draw, points=24
    )


def _largest(tree: Any) -> Any:
    """Return the size of the largest entry of a pytree, at all of its entries."""
    sizes = [jax.numpy.max(jax.numpy.abs(leaf), initial=0.0) for leaf in jax.tree.leaves(tree)]
    largest = jax.numpy.max(jax.numpy.stack(sizes))
    return jax.tree.map(lambda leaf: jax.numpy.full_like(leaf, largest), tree)


def gradient_gap(model: RemovedModel, reflection: Reflection) -> Callable[..., Any]:
    """Return (params, sample, constants, target) -> P grad l_r - target, a function to be read."""

    def gap(params: Any, sample: Any, constants: Any, target: Any) -> Any:
        slope = jax.grad(lambda p: model.evaluate(p, sample, constants))(params)
        return jax.tree.map(lambda g, t: g - t, reflection.project(slope), target)

    return gap
