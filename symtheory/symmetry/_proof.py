"""Prove a symmetry for all parameters and samples at once: by degrees, or in normal form."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from symtheory.domains import LieDerivative, Polynomials, Ring, Symbols
from symtheory.domains._degrees import DEGREE, Degrees, NotHomogeneousError, Scaled, scaled
from symtheory.errors import UnreadableError
from symtheory.model import Model
from symtheory.program import Deadline, evaluate, whole_number_inputs
from symtheory.symmetry._arguments import (
    exact_arguments,
    rows_to_read,
    sample_at_row,
    shaped_like,
)
from symtheory.symmetry._generator import Generator, read_generator
from symtheory.symmetry._loss import Loss, loss_of
from symtheory.symmetry._symmetry import Exponential

_LARGEST_DEGREE = 2**32


def prove_by_degrees(model: Model, generator: Generator, deadline: Deadline) -> str | None:
    """Prove a diagonal symmetry by homogeneity; None if this route says nothing.

    Degrees speak of the loss's value. Where a program stops or redefines derivatives the gradient
    that SGD follows is another thing, and the normal form decides on both.
    """
    loss = loss_of(model)
    if loss.redefines_derivatives:
        return None
    for rates in _diagonals(generator, model.dimension):
        common = math.lcm(*(rate.denominator for rate in rates))
        degrees = [int(rate * common) * DEGREE for rate in rates]
        if max(map(abs, degrees), default=0) > _LARGEST_DEGREE:  # sums must stay exact
            return None
        degree = degree_of(loss, np.array(degrees, dtype=np.int64), None, deadline)
        if degree != 0:
            return None
    return "every intermediate value is homogeneous in exp(lambda), the loss of degree 0"


def degree_of(
    loss: Loss, params: np.ndarray, rest: np.ndarray | None, deadline: Deadline
) -> int | None:
    """Return the degree of a loss when its arguments have given degrees, None if it has none.

    Args:
        loss: The loss.
        params: Degrees of the flattened parameters.
        rest: Degrees of the flattened sample and unbound constants (0 if omitted).
        deadline: A time limit.
    """
    shapes = [tuple(s.shape) for s in jax.tree.leaves(loss.inputs)]
    sizes = [math.prod(shape) for shape in shapes]
    missing = np.zeros(sum(sizes) - len(params), dtype=np.int64)
    flat = np.concatenate([params, missing if rest is None else rest])
    pieces = np.split(flat, np.cumsum(sizes)[:-1])
    inputs = [scaled(x.reshape(shape)) for x, shape in zip(pieces, shapes, strict=True)]
    try:
        [out] = evaluate(loss.program, Degrees(), inputs, deadline)
    except (NotHomogeneousError, UnreadableError):
        return None
    if not isinstance(out, Scaled) or out.is_invariant:
        return 0
    return int(out.degrees[()])


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

    Where that fails for samples as symbols and the law is a small data set, it is tried at each of
    its rows.

    Returns:
        How it was proved and None, or where it was tried and what is missing.

    Raises:
        UnreadableError: The ring cannot read the loss.
        BudgetError: It took too long or grew too large.
    """
    how, missing = _normal_form(model, symmetry, deadline, None)
    rows = rows_to_read(model)
    if missing is None or rows is None:
        return how, missing
    for row in range(rows):
        how, missing = _normal_form(model, symmetry, deadline, row)
        if missing is not None:
            return how, f"at row {row} of the data {missing}"
    return f"at each of the {rows} rows of the data {how}", None


def _normal_form(
    model: Model, symmetry: Exponential, deadline: Deadline, row: int | None
) -> tuple[str, str | None]:
    loss = loss_of(model)
    ring = Ring(deadline=deadline)
    symbols = Symbols(ring)
    params, sample, constants, _ = exact_arguments(model, symmetry, symbols)
    if row is not None:
        labels = {k - loss.parameters for k in whole_number_inputs(loss.program)}
        sample = sample_at_row(model, sample, ring, labels, row)
    generator = read_generator(model, symmetry, symbols)
    leaves = jax.tree.leaves(params)
    tangent = shaped_like(leaves, generator.tangent)
    rest = jax.tree.leaves((sample, {n: constants[n] for n in loss.inputs[2]}))
    missing = missing_in(loss, ring, symbols, leaves, tangent, rest, deadline)
    return f"the normal form in {ring_text(ring)} is 0", missing


def missing_in(
    loss: Loss, ring: Ring, symbols: Symbols, leaves: list[Any], tangent: list[Any],
    rest: list[Any], deadline: Deadline,
) -> str | None:  # fmt: skip
    """Return what is missing for a proof that a loss is constant along a tangent field, or None.

    Args:
        loss: The loss.
        ring: The ring of the arguments.
        symbols: Its symbols.
        leaves: The parameters as symbols.
        tangent: The field A theta + b, leaf by leaf.
        rest: Sample and unbound constants, flattened.
        deadline: A time limit.
    """
    domain = Polynomials(ring)
    inputs = [*leaves, *tangent, *rest]
    [derivative] = evaluate(loss.derivative, domain, inputs, deadline)
    slope = ring.coerce(domain.lift(derivative)[()])
    if not slope.is_zero():
        return f"the normal form of its derivative has {len(slope.numerator)} terms"
    if loss.is_smooth and loss.is_continuous:  # the value has that derivative and cannot jump
        return None
    [out] = evaluate(loss.program, domain, [*leaves, *rest], deadline)
    value = ring.coerce(domain.lift(out)[()])
    speeds = [x for leaf in tangent for x in leaf.reshape(-1)]
    texts = symbols.of_kind("param")
    along = LieDerivative(ring, {ring.names[t]: x for t, x in zip(texts, speeds, strict=True)})
    change = along(value)
    if not change.is_zero():
        return (
            "the derivative JAX takes vanishes, but that of the loss itself has "
            f"{len(change.numerator)} terms"
        )
    return None if loss.is_continuous else along.obstruction(value)


def ring_text(ring: Ring) -> str:
    """Return the ring of a proof in words: Q(theta, z)[exp, positive]."""
    kernels = sorted({kernel.function for kernel in ring.kernels.values()})
    return "Q(theta, z)" + (f"[{', '.join(kernels)}]" if kernels else "")
