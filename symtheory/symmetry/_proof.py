"""Prove a symmetry for all parameters and samples at once: by degrees, or in normal form."""

from __future__ import annotations

import math
from fractions import Fraction

import jax
import numpy as np

from symtheory.errors import UnreadableError
from symtheory.model import Model
from symtheory.readings import (
    HALVINGS,
    Deadline,
    Degrees,
    Element,
    LieDerivative,
    NotHomogeneousError,
    Polynomials,
    Ring,
    Symbols,
    read_function,
    scaled,
    trace,
)
from symtheory.symmetry._arguments import directional_derivative, exact_arguments, structures
from symtheory.symmetry._continuity import is_continuous, pruned
from symtheory.symmetry._faithful import redefines_derivatives
from symtheory.symmetry._generator import Generator, read_generator
from symtheory.symmetry._symmetry import Exponential

_LARGEST_DEGREE = 2**32


def prove_by_degrees(
    model: Model, symmetry: Exponential, generator: Generator, deadline: Deadline
) -> str | None:
    """Prove a diagonal symmetry by homogeneity; None if this route says nothing.

    Degrees speak of the loss's value. Where a program stops or redefines derivatives the gradient
    that SGD follows is another thing, and the normal form decides on both.
    """
    if redefines_derivatives(model):
        return None
    params, sample, constants = model.structure()
    zeros = [
        jax.tree.map(lambda s: scaled(np.zeros(s.shape, dtype=np.int64)), node)
        for node in (sample, constants)
    ]
    tree = jax.tree.structure(params)
    sizes = [int(np.prod(leaf.shape, dtype=int)) for leaf in jax.tree.leaves(params)]
    try:
        for rates in _diagonals(generator, sum(sizes)):
            common = math.lcm(*(rate.denominator for rate in rates))
            degrees = [int(rate * common) * HALVINGS for rate in rates]
            if max(map(abs, degrees)) > _LARGEST_DEGREE:  # sums of degrees must stay exact
                return None
            flat = np.array(degrees, dtype=np.int64)
            pieces = np.split(flat, np.cumsum(sizes)[:-1])
            leaves = [
                scaled(piece.reshape(leaf.shape))
                for piece, leaf in zip(pieces, jax.tree.leaves(params), strict=True)
            ]
            out = read_function(
                lambda p, z, c: model.evaluate(p, z, c),
                [params, sample, constants],
                Degrees(),
                [jax.tree.unflatten(tree, leaves), *zeros],
                deadline,
            )
            if not out.is_invariant:
                return None
    except (NotHomogeneousError, UnreadableError):
        return None
    return "every intermediate value is homogeneous in exp(lambda), the loss of degree 0"


def _diagonals(generator: Generator, dimension: int) -> list[list[Fraction]]:
    """Return the diagonal of A for every member of a basis of the family."""
    ring = generator.symbols.ring
    family = [ring.names[text] for text in generator.symbols.of_kind("family")]
    out = []
    for chosen in family or [None]:
        rates = [Fraction(0)] * dimension
        for (i, _), entry in generator.matrix.items():
            for exponents, coefficient in entry.numerator.to_dict().items():
                if chosen is None or exponents[chosen]:
                    rates[i] += Fraction(int(coefficient.p), int(coefficient.q))
        out.append(rates)
    return out


def prove_by_normal_form(
    model: Model, symmetry: Exponential, deadline: Deadline
) -> tuple[str, str | None]:
    """Prove in an exact ring that the loss is constant along the generator.

    Both the loss itself (its value, differentiated in the ring) and the derivative that JAX takes
    of it along the generator must vanish identically; they differ for losses that stop or redefine
    a derivative. Where the loss is pieced together, it must not jump along the flow.

    Returns:
        How it was proved and None, or where it was tried and what is missing.

    Raises:
        UnreadableError: The ring cannot read the loss.
        BudgetError: It took too long or grew too large.
    """
    ring = Ring(deadline=deadline)
    symbols = Symbols(ring)
    arguments = exact_arguments(model, symmetry, symbols)
    domain = Polynomials(ring)
    derivative = read_function(
        directional_derivative(model, symmetry),
        structures(model, symmetry),
        domain,
        arguments,
        deadline,
    )
    value = read_function(
        lambda p, z, c: model.evaluate(p, z, c),
        model.structure(),
        domain,
        arguments[:3],
        deadline,
    )
    closed, _ = trace(lambda p, z, c: model.evaluate(p, z, c), *model.structure())
    missing = _what_is_missing(
        ring.coerce(derivative[()]),
        ring.coerce(value[()]),
        read_generator(model, symmetry, symbols),
        is_continuous(pruned(closed), len(model.leaves)),
    )
    kernels = sorted({kernel.function for kernel in ring.kernels.values()})
    where = "Q(theta, z)" + (f"[{', '.join(kernels)}]" if kernels else "")
    return f"the normal form in {where} is 0", missing


def _what_is_missing(
    derivative: Element, value: Element, generator: Generator, continuous: bool
) -> str | None:
    if not derivative.is_zero():
        return f"the normal form of its derivative has {len(derivative.numerator)} terms"
    ring = value.ring
    names = ring.names
    texts = generator.symbols.of_kind("param")
    speeds = zip(texts, generator.tangent, strict=True)
    along = LieDerivative(ring, {names[text]: speed for text, speed in speeds})
    change = along(value)
    if not change.is_zero():
        return (
            "the derivative JAX takes vanishes, but that of the loss itself has "
            f"{len(change.numerator)} terms"
        )
    return None if continuous else along.obstruction(value)
