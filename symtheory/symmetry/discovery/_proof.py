"""Prove many generators at once: the loss is traced once, and read with tangents put in by hand."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from symtheory.domains import LieDerivative, Polynomials, Ring, Symbols
from symtheory.domains._degrees import DEGREE
from symtheory.errors import BudgetError, UnreadableError
from symtheory.model import Model
from symtheory.program import (
    Deadline,
    Program,
    evaluate,
    lower,
    pruned,
    trace,
    whole_number_inputs,
    with_value_derivatives,
)
from symtheory.symmetry._arguments import (
    data_columns,
    exact_arguments,
    rows_to_read,
    sample_at_row,
    shaped_like,
)
from symtheory.symmetry._evaluated import fields_claim
from symtheory.symmetry._inferred_span import INFERRED, is_inferred
from symtheory.symmetry._loss import loss_of
from symtheory.symmetry._proof import degree_of, ring_text
from symtheory.symmetry.discovery._cancelled import Cancelled, cancelled
from symtheory.verdict import Derivation, Outcome, Status, Verdict, prove_each

_REFERENCE = "arXiv 2402.07193, exponential symmetry"
_CLAIM = "grad l(theta; z) . (A theta + b) = 0 for all theta and z"
_LARGEST_DEGREE = 2**40
_LARGEST_FORM = 400
"""Parameters up to which expanding the loss in normal form is tried."""


@dataclasses.dataclass(frozen=True)
class Field:
    """A linear or affine vector field A theta + b on the flattened parameters, sparse and exact.

    Attributes:
        matrix: Entries of A that are not zero, by (row, column).
        shift: Entries of b that are not zero, by row.
    """

    matrix: dict[tuple[int, int], Fraction]
    shift: dict[int, Fraction] = dataclasses.field(default_factory=dict)

    @property
    def is_diagonal(self) -> bool:
        """Whether A is diagonal and b is zero."""
        return not self.shift and all(i == j for i, j in self.matrix)

    @property
    def rows(self) -> set[int]:
        """Parameters that move."""
        return {i for i, _ in self.matrix} | set(self.shift)


class Prover:
    """Proves invariance of one model's loss; every method is sound, none is complete.

    Args:
        model: A model with all sizes bound.
        deadline: A time limit; a proof that does not finish in time is none.
    """

    def __init__(self, model: Model, deadline: Deadline) -> None:
        self._model, self._deadline = model, deadline
        self._loss = loss_of(model)
        self.structures = self._loss.inputs
        params = jax.tree.leaves(self.structures[0])
        self._shapes = [tuple(s.shape) for s in params]
        self.dimension = sum(math.prod(shape) for shape in self._shapes)

    @property
    def loss(self) -> ClosedJaxpr:
        """The loss of parameters, sample and open constants, traced."""
        return self._loss.closed

    @functools.cached_property
    def value(self) -> Callable[[Any, Any, Any], Any]:
        """The loss of parameters, sample and open constants, with the derivative of its value.

        Maxima are written as comparisons, so that no tie has to be recognized.
        """
        if self._loss.is_smooth:
            return self._loss.value
        plain = with_value_derivatives(self.loss)
        return lambda p, z, c: plain(*jax.tree.leaves((p, z, c)))

    @functools.cached_property
    def _derivative(self) -> Program:
        def derivative(p: Any, t: Any, z: Any, c: Any) -> Any:
            return jax.jvp(lambda q: self.value(q, z, c), (p,), (t,))[1]

        params, sample, constants = self.structures
        return lower(pruned(trace(derivative, params, params, sample, constants)[0]))

    # --- degrees of homogeneity ---

    def scales(self, mu: np.ndarray, nu: np.ndarray | None = None) -> bool:
        """Prove that the loss is homogeneous, of any degree, for integer weights.

        Args:
            mu: Weights of the parameters.
            nu: Weights of the flattened sample and open constants (0 if omitted).
        """
        return self._degree(mu, nu) is not None

    def invariant(self, rates: Sequence[Fraction] | np.ndarray) -> bool:
        """Prove that the loss does not change under theta_i -> exp(rate_i t) theta_i.

        Degrees speak of the value; where derivatives are redefined they prove nothing.
        """
        if self._loss.redefines_derivatives:
            return False
        common = math.lcm(*(Fraction(rate).denominator for rate in set(rates)))
        return self._degree(np.array([int(rate * common) for rate in rates], dtype=np.int64)) == 0

    def _degree(self, mu: np.ndarray, nu: np.ndarray | None = None) -> int | None:
        mu = np.asarray(mu, dtype=np.int64)
        if np.max(np.abs(mu), initial=0) > _LARGEST_DEGREE // DEGREE:
            return None
        rest = None if nu is None else np.asarray(nu, dtype=np.int64) * DEGREE
        return degree_of(self._loss, mu * DEGREE, rest, self._deadline)

    # --- shifts ---

    def shift(self, places: Sequence[tuple[int, int]]) -> Cancelled | None:
        """Prove that terms constant along axes of leaves, any such terms, cancel in the loss.

        Args:
            places: (leaf, axis); every leaf is shifted by a term of its own.
        """
        if self._loss.redefines_derivatives:
            return None
        shapes = [tuple(s.shape) for s in jax.tree.leaves(self.structures)]
        leaves = len(self._shapes)
        return cancelled(self._loss.program, shapes, leaves, places, self._sums)

    @functools.cached_property
    def _sums(self) -> dict[int, dict[int, Fraction]]:
        """What the entries of an argument sum to along an axis, where it is the same in all data.

        One-hot labels are the example.
        """
        first = len(self._shapes)
        out: dict[int, dict[int, Fraction]] = {}
        for k, column in enumerate(data_columns(self._model), first):
            values = np.zeros(0) if column is None else np.asarray(column, dtype=float)
            if np.any(values != np.rint(values)) or np.any(np.abs(values) >= 2**40):
                continue
            for axis in range(1, values.ndim):
                sums = np.unique(np.sum(values, axis))
                if len(sums) == 1:
                    out.setdefault(k, {})[axis - 1] = Fraction(int(sums[0]))
        return out

    # --- normal form ---

    def vanishes(self, fields: Sequence[Field]) -> str | None:
        """Prove that the derivative along every one of the fields is zero; say how, or None.

        The fields become one family with a symbol each: linear in the symbols, so one normal form
        decides all. If it is not zero for every sample, or cannot be read with samples as symbols,
        and the law is a small data set, it is read row by row.
        """
        if self.dimension > _LARGEST_FORM:
            return None
        how = self._normal_form(fields, None)
        if how is not None or self._rows is None:
            return how
        texts = [self._normal_form(fields, row) for row in range(self._rows)]
        return None if None in texts else f"at each of the {self._rows} rows of the data {texts[0]}"

    @functools.cached_property
    def _rows(self) -> int | None:
        return rows_to_read(self._model)

    def _normal_form(self, fields: Sequence[Field], row: int | None) -> str | None:
        ring = Ring(deadline=self._deadline)
        symbols = Symbols(ring)
        theta_tree, sample, constants = exact_arguments(self._model, None, symbols)
        if row is not None:
            first = len(self._shapes)
            labels = {k - first for k in whole_number_inputs(self._loss.program)}
            sample = sample_at_row(self._model, sample, ring, labels, row)
        constants = {n: constants[n] for n in self.structures[2]}
        leaves = jax.tree.leaves(theta_tree)
        moved = _tangents(fields, leaves, symbols)
        inputs = [*leaves, *moved, *jax.tree.leaves(sample), *jax.tree.leaves(constants)]
        try:
            domain = Polynomials(ring)
            [out] = evaluate(self._derivative, domain, inputs, self._deadline)
        except (UnreadableError, BudgetError):
            return None
        if not ring.coerce(domain.lift(out)[()]).is_zero():
            return None
        if self._loss.redefines_derivatives and not self._is_followed(ring, inputs):
            return None
        if not (self._loss.is_smooth and self._loss.is_continuous):
            values = [*leaves, *jax.tree.leaves(sample), *jax.tree.leaves(constants)]
            if not self._value_is_constant(ring, symbols, moved, values):
                return None
        return f"the normal form of the derivative in {ring_text(ring)} is 0"

    def _is_followed(self, ring: Ring, inputs: list[Any]) -> bool:
        """Prove that the derivative JAX takes vanishes too, where it is not that of the value."""
        domain = Polynomials(ring)
        try:
            [out] = evaluate(self._loss.derivative, domain, inputs, self._deadline)
            return ring.coerce(domain.lift(out)[()]).is_zero()
        except (UnreadableError, BudgetError):
            return False

    def _value_is_constant(
        self, ring: Ring, symbols: Symbols, moved: list[Any], inputs: list[Any]
    ) -> bool:
        """Prove the same for the loss's own value, which stopped derivatives do not change.

        A loss made of continuous functions cannot jump; of another one it must be shown.
        """
        speeds = [x for leaf in moved for x in leaf.reshape(-1)]
        texts = symbols.of_kind("param")
        along = LieDerivative(ring, {ring.names[t]: x for t, x in zip(texts, speeds, strict=True)})
        try:
            domain = Polynomials(ring)
            [out] = evaluate(self._loss.program, domain, inputs, self._deadline)
            value = ring.coerce(domain.lift(out)[()])
            if not along(value).is_zero():
                return False
            return self._loss.is_continuous or along.obstruction(value) is None
        except (UnreadableError, BudgetError):
            return False

    # --- both ---

    def verdicts(self, fields: Sequence[Field], evidence: str) -> list[Verdict]:
        """Return one verdict per field: proved, or supported by the evidence it was found on.

        What is not proved is evaluated as well, at points of many magnitudes: units that are linear
        near the origin need not be so far away. A field that fails there is refuted.
        """
        inferred = [is_inferred(self._model, field.matrix, field.shift) for field in fields]
        how: list[str] = [
            INFERRED if known else self._by_degrees(field)
            for field, known in zip(fields, inferred, strict=True)
        ]
        rest = [k for k, text in enumerate(how) if not text]
        if rest:
            together = self._family([fields[k] for k in rest])
            for k, text in zip(rest, together, strict=True):
                how[k] = text
        return self.told(fields, how, evidence)

    def told(self, fields: Sequence[Field], how: Sequence[str], evidence: str) -> list[Verdict]:
        """Return one verdict per field, given how each was proved (empty where it was not)."""
        if self._loss.redefines_derivatives:
            evidence = (
                f"{evidence}, of the loss's value; its gradient is stopped or redefined, so that "
                "training need not follow the symmetry"
            )
        out = proved(self._model, fields, how)
        left = [k for k, verdict in enumerate(out) if verdict is None]
        unproved = _unproved(evidence, self._loss.redefines_derivatives)
        if self._loss.redefines_derivatives:  # the gradient that is evaluated is another one
            return [verdict or unproved for verdict in out]
        outcomes = fields_claim(self._model, [fields[k] for k in left]).test_each()
        for k, outcome in zip(left, outcomes, strict=True):
            out[k] = unproved if outcome.agrees is not False else refuted(_CLAIM, outcome)
        return [verdict or unproved for verdict in out]

    def _by_degrees(self, field: Field) -> str:
        if not field.is_diagonal:
            return ""
        rates = [Fraction(0)] * self.dimension
        for (i, _), value in field.matrix.items():
            rates[i] = value
        try:
            if self.invariant(rates):
                return "every intermediate value is homogeneous, the loss of degree 0"
        except BudgetError:
            pass
        return ""

    def _family(self, fields: list[Field]) -> list[str]:
        """Prove as many as possible, halving a family that does not go through as a whole."""
        text = self.vanishes(fields)
        if text is not None:
            return [text] * len(fields)
        if len(fields) == 1 or self._deadline.remaining() < 0 or self.dimension > _LARGEST_FORM:
            return [""] * len(fields)
        half = len(fields) // 2
        return [*self._family(fields[:half]), *self._family(fields[half:])]


def proved(model: Model, fields: Sequence[Field], how: Sequence[str]) -> list[Verdict | None]:
    """Return the verdicts on generators, given how each was proved; None where it was not."""
    certificates = [Derivation(text) if text else None for text in how]
    known = [k for k, text in enumerate(how) if text]
    # Only those with a proof are evaluated.
    found = prove_each(
        [_CLAIM] * len(known),
        [certificates[k] for k in known],
        fields_claim(model, [fields[k] for k in known]),
        residual=0,
        reference=_REFERENCE,
    )
    by_place = dict(zip(known, found, strict=True))
    return [by_place.get(k) for k in range(len(fields))]


def refuted(claim: str, outcome: Outcome) -> Verdict:
    """Return the verdict on a claim that fails when it is evaluated."""
    return Verdict(
        Status.REFUTED, claim, how=outcome.how, residual=outcome.residual, witness=outcome.witness,
        reference=_REFERENCE,
    )  # fmt: skip


def _unproved(evidence: str, redefined: bool) -> Verdict:
    return Verdict(
        Status.INCONCLUSIVE if redefined else Status.SUPPORTED, _CLAIM,
        how=evidence + "; no exact proof went through", reference=_REFERENCE,
    )  # fmt: skip


def _tangents(fields: Sequence[Field], leaves: list[Any], symbols: Symbols) -> list[Any]:
    """Return sum_k a_k (A_k theta + b_k), leaf by leaf, with a symbol a_k per field."""
    ring = symbols.ring
    theta = [x for leaf in leaves for x in leaf.reshape(-1)]
    members = symbols.array("family", "a", (len(fields),))
    tangent = [ring.constant(0) for _ in theta]
    for a, field in zip(members, fields, strict=True):
        for (i, j), value in field.matrix.items():
            tangent[i] = tangent[i] + a * ring.constant(value) * theta[j]
        for i, value in field.shift.items():
            tangent[i] = tangent[i] + a * ring.constant(value)
    return shaped_like(leaves, tangent)
