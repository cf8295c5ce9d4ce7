"""The slow flow in exact arithmetic: its identity for all parameters, and moments at a point."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import flint
import jax
import numpy as np

from symtheory.domains import Element, Ring, Symbols
from symtheory.errors import BudgetError, UnreadableError
from symtheory.exact import rational_array
from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.symmetry import Exponential, read_generator
from symtheory.theory._evaluated import generator_actions
from symtheory.theory._gradient_noise import GradientNoise, read_gradient_noise
from symtheory.verdict import (
    Claim,
    Equality,
    NormalForm,
    Status,
    Subject,
    Verdict,
    conjunction,
    prove,
)

_MOST = 64
REFERENCE = "beyond arXiv 2402.07193: the slow flow on a family of symmetries"


def prove_identity(
    model: Model, symmetries: Sequence[Exponential], seconds: float | None = 60.0
) -> Verdict:
    """Prove grad^3 L[A theta] + H A + A^T H = 0 for all parameters.

    This is grad L . A theta = 0, differentiated twice. Contracted with -K/2 it says
    <A theta, -grad^3 L[K]/2> = Tr[A^T H K] for every symmetric K, at a minimum and elsewhere.
    """
    claim = "<A theta, -grad^3 L[K]/2> = Tr[A^T H K] for every symmetric K"
    try:
        noise = _read(model, seconds)
        parts = [_identity(model, symmetry, noise) for symmetry in symmetries]
    except (UnreadableError, BudgetError) as error:
        return Verdict(Status.INCONCLUSIVE, claim, how=str(error), reference=REFERENCE)
    return conjunction(claim, parts, reference=REFERENCE)


def _identity(model: Model, symmetry: Exponential, noise: GradientNoise) -> Verdict:
    texts = list(noise.symbols.of_kind("param"))[: len(noise.theta)]
    size = range(len(noise.theta))
    hessian = [[noise.mean[i].derivative(t) for t in texts] for i in size]
    generator = read_generator(model, symmetry, noise.symbols)
    residual = 0
    for j, l in itertools.combinations_with_replacement(size, 2):
        total = noise.symbols.ring.constant(0)
        for i in size:
            if not generator.tangent[i].is_zero():
                total = total + hessian[j][l].derivative(texts[i]) * generator.tangent[i]
        for (i, column), entry in generator.matrix.items():
            if column == j:
                total = total + hessian[i][l] * entry
            if column == l:
                total = total + hessian[j][i] * entry
        residual += len(total.numerator)
    claim = f"grad^3 L[A theta] + H A + A^T H = 0 for {symmetry.name or 'the symmetry'}"
    how = "exact polynomial identity in theta" + (" and the family" if symmetry.family else "")
    if residual:
        return Verdict(Status.REFUTED, claim, how=how, residual=residual)
    return prove(claim, NormalForm(how, ring="Q[theta]"), _in_floats(model, symmetry), residual=0)


def _in_floats(model: Model, symmetry: Exponential) -> Claim:
    """Return "v^T (grad^3 l[A theta] + H A + A^T H) v = 0 for the loss of every sample"."""
    subject = Subject.of(model)
    action = generator_actions(model, symmetry)[0]
    matrix = action.linear(np.eye(subject.dimension)).T

    known = {n: v for n, v in model.values.items() if n in model.constants}

    def forms(flat: Any, vector: Any, data: Any) -> tuple[Any, Any, Any]:
        loss = lambda p: model.evaluate(subject.pack(p), data[0], {**known, **data[1]})
        curvature = lambda p: jax.jvp(lambda q: jax.grad(loss)(q) @ vector, (p,), (vector,))[1]
        third = jax.jvp(curvature, (flat,), (matrix @ flat,))[1]
        hessian, image = jax.hessian(loss)(flat), matrix @ vector
        # What cancels in either is of this size.
        size = 1 + abs(vector) @ abs(hessian) @ (abs(image) + abs(vector))
        return third, 2 * vector @ hessian @ image, size

    def draw(rng: np.random.Generator, count: int) -> tuple[Any, ...]:
        points = rng.normal(size=(2, count, subject.dimension))
        # Of samples of all magnitudes those of about 1: third derivatives cancel.
        data = subject.data(rng, 8 * count)
        sizes = [np.abs(x).reshape(8 * count, -1).max(axis=1) for x in jax.tree.leaves(data)]
        far = np.abs(np.log(np.maximum(np.max(sizes, axis=0), 1e-30))) if sizes else np.ones(count)
        chosen = np.argsort(far)[:count]
        return points[0], points[1], jax.tree.map(lambda x: np.asarray(x)[chosen], data)

    def left(*at: Any) -> Any:
        third, _, size = forms(*at)
        return size + third

    def right(*at: Any) -> Any:
        _, second, size = forms(*at)
        return size - second

    return Equality(left, right, draw)


@dataclasses.dataclass(frozen=True)
class ExactMinimum:
    """Hessian and noise covariance at a rational point, and the gradient there."""

    hessian: flint.fmpq_mat
    noise: flint.fmpq_mat
    gradient: tuple[flint.fmpq, ...]


def exact_minimum(model: Model, params: Any, seconds: float | None = 60.0) -> ExactMinimum:
    """Return H, Sigma and grad L at a rational point, exactly.

    Raises:
        UnreadableError: The loss is not polynomial in the sample and in the parameters.
        BudgetError: The time limit was reached.
    """
    noise = _read(model, seconds)
    symbols = noise.symbols
    texts = list(symbols.of_kind("param"))[: len(noise.theta)]
    flat = [x for leaf in jax.tree.leaves(params) for x in rational_array(leaf).reshape(-1)]
    values = {symbols.ring.names[t]: x for t, x in zip(texts, flat, strict=True)}
    gradient = tuple(_value(g, values) for g in noise.mean)
    d = len(flat)
    hessian = flint.fmpq_mat(
        d, d, [_value(noise.mean[i].derivative(t), values) for i in range(d) for t in texts]
    )
    monomials = sorted({powers for split in noise.split for powers in split})
    zero = flint.fmpq(0)
    rows = flint.fmpq_mat(
        d,
        len(monomials),
        [
            _value(split[p], values) if p in split else zero
            for split in noise.split
            for p in monomials
        ],
    )
    one = symbols.ring.constant(1)
    moments = flint.fmpq_mat(
        len(monomials),
        len(monomials),
        [
            _value(noise.moments.expect_split({tuple(map(sum, zip(a, b, strict=True))): one}), {})
            for a in monomials
            for b in monomials
        ],
    )
    column = flint.fmpq_mat(d, 1, list(gradient))
    covariance = rows * moments * rows.transpose() - column * column.transpose()
    return ExactMinimum(hessian, covariance, gradient)


def _read(model: Model, seconds: float | None) -> GradientNoise:
    if model.dimension > _MOST:
        raise BudgetError(f"{model.dimension} parameters are too many to expand; at most {_MOST}")
    deadline = Deadline(seconds)
    noise = read_gradient_noise(model, Symbols(Ring(deadline=deadline)), deadline)
    for element in noise.mean:
        if element.denominator is not None or noise.symbols.ring.kernels:
            raise UnreadableError("the mean loss is not a polynomial in the parameters")
    return noise


def _value(element: Element, values: dict[int, Fraction]) -> flint.fmpq:
    """Return the value of a polynomial at rational arguments."""
    total = flint.fmpq(0)
    for exponents, coefficient in element.numerator.to_dict().items():
        term = flint.fmpq(coefficient)
        for i, power in enumerate(exponents):
            if power:
                x = values[i]
                term *= flint.fmpq(x.numerator, x.denominator) ** int(power)
        total += term
    return total


def as_numbers(matrix: Any) -> np.ndarray:
    """Return an exact matrix in double precision."""
    rows = [[int(x.p) / int(x.q) for x in row] for row in matrix.tolist()]
    return np.array(rows, dtype=np.float64)
