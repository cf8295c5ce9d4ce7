"""The gradient noise of a loss in exact form: per-sample gradient, its mean, and Tr[Sigma A]."""

from __future__ import annotations

import dataclasses
import operator

import jax
import numpy as np

from symtheory.domains import Element, Polynomials, Ring, Symbols
from symtheory.model import Model
from symtheory.program import NO_DEADLINE, Deadline, read_function
from symtheory.symmetry import exact_arguments
from symtheory.theory._moments import Moments, Split

Matrix = dict[tuple[int, int], Element]


@dataclasses.dataclass(frozen=True)
class GradientNoise:
    """Per-sample gradient g(theta; z) and its mean, as ring elements.

    Attributes:
        symbols: The ring's symbols.
        theta: Parameters, flattened.
        gradient: Per-sample gradient, flattened.
        split: The same by monomials of the sample.
        mean: Its expectation, grad L.
        moments: The expectation over samples.
    """

    symbols: Symbols
    theta: list[Element]
    gradient: list[Element]
    split: list[Split]
    mean: list[Element]
    moments: Moments

    def second_moment(self, matrix: Matrix) -> Element:
        """Return E[g^T A g] for a matrix given by its non-zero entries.

        Products are taken coefficient by coefficient of the sample's monomials, so that the
        per-sample quadratic form is never expanded.
        """
        total: Split = {}
        for row, right in _rows(matrix, self.split).items():
            for left_powers, left in self.split[row].items():
                for right_powers, factor in right.items():
                    powers = tuple(map(operator.add, left_powers, right_powers))
                    product = left * factor
                    total[powers] = total[powers] + product if powers in total else product
        return self.moments.expect_split(total)

    def drift_term(self, matrix: Matrix) -> Element:
        """Return grad L^T A grad L."""
        return quadratic_form(matrix, self.mean, self.symbols.ring)

    def trace(self, matrix: Matrix) -> Element:
        """Return Tr[Sigma A] = E[g^T A g] - grad L^T A grad L (the centred covariance)."""
        return self.second_moment(matrix) - self.drift_term(matrix)


def read_gradient_noise(
    model: Model, symbols: Symbols | None = None, deadline: Deadline = NO_DEADLINE
) -> GradientNoise:
    """Read the per-sample gradient of a model with all sizes bound, and take its mean.

    Raises:
        UnreadableError: The loss is not polynomial in the sample (its moments stay formal).
        BudgetError: The deadline was reached.
    """
    symbols = symbols or Symbols(Ring(deadline=deadline))
    ring = symbols.ring
    arguments = exact_arguments(model, None, symbols)
    domain = Polynomials(ring)
    gradient = read_function(
        jax.grad(lambda p, z, c: model.evaluate(p, z, c)),
        model.structure(),
        domain,
        arguments,
        deadline,
    )
    flat = [
        ring.coerce(entry)
        for leaf in jax.tree.leaves(gradient)
        for entry in domain.lift(np.asarray(leaf)).reshape(-1)
    ]
    theta = [entry for leaf in jax.tree.leaves(arguments[0]) for entry in leaf.reshape(-1)]
    moments = Moments(model, symbols)
    split = [moments.split(g) for g in flat]
    mean = [moments.expect_split(parts) for parts in split]
    return GradientNoise(symbols, theta, flat, split, mean, moments)


def _rows(matrix: Matrix, vectors: list[Split]) -> dict[int, Split]:
    """Return A v, for a vector of splits, by rows that are not zero."""
    rows: dict[int, Split] = {}
    for (i, j), entry in matrix.items():
        row = rows.setdefault(i, {})
        for powers, part in vectors[j].items():
            term = part * entry
            row[powers] = row[powers] + term if powers in row else term
    return rows


def quadratic_form(matrix: Matrix, vector: list[Element], ring: Ring) -> Element:
    """Return v^T A v, grouped by rows so that each entry of v is multiplied once."""
    rows: dict[int, Element] = {}
    for (i, j), entry in matrix.items():
        term = vector[j] * entry
        rows[i] = rows[i] + term if i in rows else term
    total = ring.constant(0)
    for i, row in rows.items():
        total = total + vector[i] * row
    return total
