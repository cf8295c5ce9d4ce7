"""Refute a symmetry: a rational point at which the loss certainly changes along it."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from flint import arb, arb_mat

from symtheory.model import Model
from symtheory.readings import (
    Balls,
    Deadline,
    Element,
    UndecidedError,
    ball,
    precision,
    read_function,
)
from symtheory.symmetry._arguments import (
    as_object_array,
    directional_derivative,
    random_point,
    structures,
)
from symtheory.symmetry._generator import Generator
from symtheory.symmetry._symmetry import Exponential

_TRIALS = 6
_SCALES = (Fraction(1), Fraction(1), Fraction(1, 10), Fraction(12))
_BITS = 200
_LARGEST_EXPONENTIAL = 64


def refute(
    model: Model, symmetry: Exponential, generator: Generator, seed: int, deadline: Deadline
) -> dict[str, Any] | None:
    """Return a rational point at which the loss certainly changes along the symmetry, or None.

    Two enclosures are tried at every point: of the derivative that JAX takes along the generator
    (what SGD sees), and of the change of the loss under the finite transformation exp(A) (what the
    symmetry says; it also sees jumps, and derivatives that a program stops or redefines).

    Raises:
        PrimitiveError: The loss uses a primitive that balls cannot read.
    """
    rng = random.Random(seed)
    trials = 0
    for _ in range(5 * _TRIALS):
        scale, positive = rng.choice(_SCALES), rng.random() < 0.3
        point = random_point(model, symmetry, rng, scale=scale, positive=positive)
        balls = jax.tree.map(lambda array: as_object_array(np.frompyfunc(ball, 1, 1)(array)), point)
        try:
            with precision(_BITS):
                change = _derivative(model, symmetry, balls, deadline)
                kind = "derivative"
                if not _is_not_zero(change) and model.dimension <= _LARGEST_EXPONENTIAL:
                    change = _displacement(model, generator, balls, deadline)
                    kind = "change under exp(A)"
        except UndecidedError:
            continue
        if _is_not_zero(change):
            params, sample, constants, members = point
            return {
                "params": _readable(params),
                "sample": _readable(sample),
                **({"constants": _readable(constants)} if constants else {}),
                **({"family": _readable(members)} if members else {}),
                kind: float(change.mid()),
            }
        trials += bool(change.is_finite())
        if trials == _TRIALS:
            break
    return None


def _is_not_zero(value: arb) -> bool:
    return bool(value.is_finite() and not value.contains(0))


def _derivative(model: Model, symmetry: Exponential, balls: Any, deadline: Deadline) -> arb:
    value = read_function(
        directional_derivative(model, symmetry),
        structures(model, symmetry),
        Balls(),
        balls,
        deadline,
    )
    return arb(value[()])


def _displacement(model: Model, generator: Generator, balls: Any, deadline: Deadline) -> arb:
    """Enclose l(exp(A) theta) - l(theta), with the shift of an affine generator included."""
    params, sample, constants, members = balls
    values = {
        text: members[label.name][label.index]
        for text, label in generator.symbols.of_kind("family").items()
    }
    d = model.dimension
    rows = [[arb(0)] * (d + 1) for _ in range(d + 1)]
    entries = {**generator.matrix, **{(i, d): entry for i, entry in generator.shift.items()}}
    for (i, j), entry in entries.items():
        # Halved so that exponentials of random rationals stay of moderate size.
        rows[i][j] = _number(entry, values) / 2
    leaves, tree = jax.tree.flatten(params)
    theta = [entry for leaf in leaves for entry in leaf.reshape(-1)]
    moved = arb_mat(rows).exp() * arb_mat([[entry] for entry in [*theta, arb(1)]])
    flat = as_object_array(np.array([None] * d, dtype=object))
    for i in range(d):
        flat[i] = moved[i, 0]
    pieces = np.split(flat, np.cumsum([leaf.size for leaf in leaves])[:-1])
    image = jax.tree.unflatten(
        tree, [piece.reshape(leaf.shape) for piece, leaf in zip(pieces, leaves, strict=True)]
    )

    def loss(at: Any) -> arb:
        value = read_function(
            lambda p, z, c: model.evaluate(p, z, c),
            model.structure(),
            Balls(),
            [at, sample, constants],
            deadline,
        )
        return arb(value[()])

    return loss(image) - loss(params)


def _number(entry: Element, values: dict[str, arb]) -> arb:
    ring = entry.ring
    names = {index: text for text, index in ring.names.items()}
    total = arb(0)
    for exponents, coefficient in entry.numerator.to_dict().items():
        term = arb(coefficient)
        for i, n in enumerate(exponents):
            if n:
                term = term * values[names[i]] ** int(n)
        total = total + term
    return total


def _readable(tree: Any) -> Any:
    def text(array: np.ndarray) -> Any:
        return np.asarray(np.frompyfunc(str, 1, 1)(array), dtype=object).tolist()

    return jax.tree.map(text, tree)
