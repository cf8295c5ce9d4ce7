"""Refute a symmetry: a rational point at which the loss certainly changes along it."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from flint import arb, arb_mat

from symtheory.domains import Balls, Element, UndecidedError, ball, precision
from symtheory.model import Model
from symtheory.program import Deadline, evaluate
from symtheory.symmetry._arguments import as_object_array, random_point, shaped_like
from symtheory.symmetry._generator import Generator
from symtheory.symmetry._loss import Loss, loss_of
from symtheory.symmetry._symmetry import Exponential

_TRIALS = 8
_SCALES = (1, 1, Fraction(1, 10), 12, 1, 400, Fraction(1, 1000), 6)
"""Sizes of the parameters, so that clips, saturations and far-away pieces are reached."""
_TIMES = (Fraction(1, 2), Fraction(-1, 2), Fraction(3, 2), Fraction(-3), Fraction(12))
"""How far the flow is followed, so that it crosses what it may not cross."""
_BITS = 200
_LARGEST_EXPONENTIAL = 64


def refute(
    model: Model, symmetry: Exponential, generator: Generator, seed: int, deadline: Deadline
) -> dict[str, Any] | None:
    """Return a rational point at which the loss certainly changes along the symmetry, or None.

    Two enclosures are tried at every point: of the derivative that JAX takes along the generator
    (what SGD sees), and of the change of the loss under the finite transformation exp(t A) for
    several t (what the symmetry says; it also sees jumps, and derivatives that a program stops or
    redefines).

    Raises:
        PrimitiveError: The loss uses a primitive that balls cannot read.
    """
    rng, loss = random.Random(seed), loss_of(model)
    trials = 0
    for attempt in range(4 * _TRIALS):
        scale = Fraction(_SCALES[attempt % len(_SCALES)])
        point = random_point(model, symmetry, rng, scale=scale, positive=rng.random() < 0.3)
        params, sample, constants, members = point
        leaves = [_balls(leaf) for leaf in jax.tree.leaves(params)]
        open_constants = {n: constants[n] for n in loss.inputs[2]}
        rest = [_balls(leaf) for leaf in jax.tree.leaves((sample, open_constants))]
        values = {
            text: ball(members[label.name][label.index])
            for text, label in generator.symbols.of_kind("family").items()
        }
        with precision(_BITS):
            found = _change(loss, generator, leaves, rest, values, deadline)
        if found is None:
            continue
        kind, change = found
        if kind:
            return {
                "params": _readable(params),
                "sample": _readable(sample),
                **({"constants": _readable(constants)} if constants else {}),
                **({"family": _readable(members)} if members else {}),
                kind: float(change.mid()),
            }
        trials += 1
        if trials == _TRIALS:
            break
    return None


def _change(
    loss: Loss, generator: Generator, leaves: list[Any], rest: list[Any],
    values: dict[str, arb], deadline: Deadline,
) -> tuple[str, arb] | None:  # fmt: skip
    """Return how the loss changes at a point ("" for not at all), None if it cannot be told."""
    domain, told = Balls(), False
    entries = _numbers(generator, values)
    theta = [x for leaf in leaves for x in leaf.reshape(-1)]
    try:
        moved = [arb(0)] * len(theta)
        for (i, j), a in entries.items():
            moved[i] = moved[i] + a * (theta[j] if j < len(theta) else 1)
        [slope] = evaluate(
            loss.derivative, domain, [*leaves, *shaped_like(leaves, moved), *rest], deadline
        )
        change = arb(domain.lift(slope)[()])
        told = bool(change.is_finite())
        if _is_not_zero(change):
            return "derivative", change
    except UndecidedError:
        pass
    if len(theta) > _LARGEST_EXPONENTIAL:
        return ("", arb(0)) if told else None
    try:
        before = _value(loss, domain, [*leaves, *rest], deadline)
    except UndecidedError:
        return ("", arb(0)) if told else None
    for time in _TIMES if before.is_finite() else ():
        try:
            image = _flow(entries, theta, time)
            after = _value(loss, domain, [*shaped_like(leaves, image), *rest], deadline)
        except UndecidedError:
            continue
        if _is_not_zero(after - before):
            return f"change under exp({time} A)", after - before
        told = told or bool(after.is_finite())
    return ("", arb(0)) if told else None


def _is_not_zero(value: arb) -> bool:
    return bool(value.is_finite() and not value.contains(0))


def _value(loss: Loss, domain: Balls, inputs: list[Any], deadline: Deadline) -> arb:
    [out] = evaluate(loss.program, domain, inputs, deadline)
    return arb(domain.lift(out)[()])


def _numbers(generator: Generator, values: dict[str, arb]) -> dict[tuple[int, int], arb]:
    """Return A with b as one more column, as balls."""
    d = len(generator.tangent)
    entries = {**generator.matrix, **{(i, d): entry for i, entry in generator.shift.items()}}
    return {place: _number(entry, values) for place, entry in entries.items()}


def _flow(entries: dict[tuple[int, int], arb], theta: list[arb], time: Fraction) -> list[arb]:
    """Return exp(t A) theta, with the shift of an affine generator included."""
    d = len(theta)
    rows = [[arb(0)] * (d + 1) for _ in range(d + 1)]
    for (i, j), a in entries.items():
        rows[i][j] = a * ball(time)
    moved = arb_mat(rows).exp() * arb_mat([[entry] for entry in [*theta, arb(1)]])
    return [moved[i, 0] for i in range(d)]


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


def _balls(array: np.ndarray) -> np.ndarray:
    return as_object_array(np.frompyfunc(ball, 1, 1)(array))


def _readable(tree: Any) -> Any:
    def text(array: np.ndarray) -> Any:
        return np.asarray(np.frompyfunc(str, 1, 1)(array), dtype=object).tolist()

    return jax.tree.map(text, tree)
