"""Reflections at exact points: P v for rational v, and functions of a loss that must vanish."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from flint import arb

from symtheory import shapes
from symtheory.data import random_rational
from symtheory.domains import Balls, Element, Polynomials, Ring, UndecidedError, ball, precision
from symtheory.errors import BudgetError, InputError, UnreadableError
from symtheory.exact import rational_array
from symtheory.model import Model
from symtheory.program import Deadline, read_function
from symtheory.symmetry import Reflection

_BITS = 200


def project(model: Model, reflection: Reflection, vector: Any) -> Any:
    """Return P v for a pytree of fractions, exactly: the projection read over the rationals."""
    structure, _, _ = model.structure()
    ring = Ring()
    out = read_function(
        reflection.project, [structure], Polynomials(ring), [constants_of(ring, vector)]
    )
    return jax.tree.map(
        lambda leaf, like: _fractions(ring, leaf).reshape(like.shape), out, structure
    )


def center_of(model: Model, reflection: Reflection) -> Any:
    """Return theta' as a pytree of fractions."""
    if reflection.center is None:
        return shapes.map_tree(lambda shape: zeros(shapes.fixed(shape)), model.params)
    return jax.tree.map(rational_array, reflection.center)


def random_tree(model: Model, rng: random.Random) -> Any:
    """Return random rational parameters."""

    def leaf(shape: shapes.Shape) -> np.ndarray:
        out = np.empty(shapes.fixed(shape), dtype=object)
        for index in np.ndindex(out.shape):
            out[index] = random_rational(rng)
        return out

    return shapes.map_tree(leaf, model.params)


def random_data(model: Model, rng: random.Random) -> tuple[Any, Any]:
    """Return a rational sample of the model's law, and its constants (random where not bound)."""
    laws = {name: law.exact_draw(rng) for name, law in model.laws.items()}
    constants = {}
    for name, shape in model.constants.items():
        if name in model.values:
            constants[name] = rational_array(model.values[name])
        else:
            out = np.empty(shapes.fixed(shape), dtype=object)
            for index in np.ndindex(out.shape):
                out[index] = random_rational(rng)
            constants[name] = out
    return (laws[""] if list(laws) == [""] else laws), constants


def vanishes(
    function: Callable[..., Any], structures: list[Any], arguments: list[Any], deadline: Deadline
) -> tuple[bool, str]:
    """Tell whether all values of a function are 0 at a rational point, and how.

    Raises:
        UnreadableError: Neither the exact ring nor the balls read the function there.
    """
    ring = Ring(deadline=deadline)
    try:
        exact = [jax.tree.map(lambda x: _constants(ring, x), node) for node in arguments]
        out = read_function(function, structures, Polynomials(ring), exact, deadline)
        if all(_is_zero(ring, x) for leaf in jax.tree.leaves(out) for x in np.ravel(leaf)):
            return True, "exactly 0"
    except (UnreadableError, BudgetError, UndecidedError):
        pass
    with precision(_BITS):
        enclosed = [jax.tree.map(_balls, node) for node in arguments]
        try:
            out = read_function(function, structures, Balls(), enclosed, deadline)
        except UndecidedError as error:
            raise UnreadableError(str(error)) from error
        numbers = [arb(x) for leaf in jax.tree.leaves(out) for x in np.ravel(np.asarray(leaf))]
        if not all(x.is_finite() for x in numbers):
            raise UnreadableError("the enclosure of the gradient is not finite")
        worst = max((float(abs(x).upper()) for x in numbers), default=0.0)
        return all(x.contains(0) for x in numbers) and worst < 1e-40, f"below {worst:.0e}"


def dot(left: Any, right: Any) -> Fraction:
    """Return the inner product of two pytrees of fractions."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return sum(
        (a * b for x, y in pairs for a, b in zip(np.ravel(x), np.ravel(y), strict=True)),
        start=Fraction(0),
    )


def combine(function: Callable[..., Any], *trees: Any) -> Any:
    """Apply arithmetic to pytrees of fractions, keeping scalars as arrays."""

    def leaf(*arrays: Any) -> np.ndarray:
        out = np.empty(np.shape(arrays[0]), dtype=object)
        out[...] = function(*arrays)
        return out

    return jax.tree.map(leaf, *trees)


def zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of exact zeros."""
    out = np.empty(shape, dtype=object)
    out[...] = Fraction(0)
    return out


def constants_of(ring: Ring, tree: Any) -> Any:
    """Return a pytree of fractions as constants of a ring."""
    return jax.tree.map(lambda array: _constants(ring, array), tree)


def _constants(ring: Ring, array: Any) -> np.ndarray:
    array = np.asarray(array, dtype=object)
    out = np.empty(array.shape, dtype=object)
    for index, value in np.ndenumerate(array):
        out[index] = ring.constant(value)
    return out


def _balls(array: Any) -> np.ndarray:
    array = np.asarray(array, dtype=object)
    out = np.empty(array.shape, dtype=object)
    for index, value in np.ndenumerate(array):
        out[index] = ball(value)
    return out


def _fractions(ring: Ring, array: Any) -> np.ndarray:
    lifted = np.asarray(Polynomials(ring).lift(np.asarray(array)), dtype=object)
    out = np.empty(lifted.shape, dtype=object)
    for index, value in np.ndenumerate(lifted):
        number = ring.coerce(value)
        exact = number.as_fmpq() if isinstance(number, Element) else None
        if exact is None:
            raise InputError("the projection of a reflection is not linear with rational entries")
        out[index] = Fraction(int(exact.p), int(exact.q))
    return out


def _is_zero(ring: Ring, value: Any) -> bool:
    number = ring.coerce(value)
    return isinstance(number, Element) and number.is_zero()
