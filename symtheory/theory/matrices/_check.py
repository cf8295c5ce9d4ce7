"""A law for all sizes against the entry-by-entry derivation at some sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.symmetry import Exponential
from symtheory.theory._entry_derive import derive_entries
from symtheory.theory._evaluated import drawn_values
from symtheory.theory.matrices._expression import TensorExpression
from symtheory.verdict import All, Arithmetic, Claim, NormalForm, Status, Verdict, prove


def compare_entries(
    model: Model,
    symmetry: Exponential,
    expressions: Mapping[str, TensorExpression],
    sizes: Mapping[str, int],
) -> Verdict:
    """Return whether the expressions equal those derived entry by entry, as exact elements."""
    missing = [n for n, shape in model.unbound.items() if shape is None and n not in sizes]
    if missing:
        raise InputError(f"the size {missing[0]!r} is not given; pass check_at({missing[0]}=...)")
    bound = model.bind(**sizes)
    law = derive_entries(bound, symmetry)
    shown = ", ".join(f"{name} = {value}" for name, value in sizes.items())
    claim = f"at {shown} the law equals the one derived entry by entry"
    if law.charge is None or law.layout is None:
        return Verdict(Status.INCONCLUSIVE, claim, how=f"the law at these sizes is {law.status}")
    layout, symbols = law.layout, law.charge.symbols
    every_size = {**bound.sizes, **sizes}
    compared = 0
    for name, expression in expressions.items():
        reference = getattr(law, name)
        entries = expression.elements(symbols, every_size)
        by_factor = {term.factor: term.body for term in reference.terms}
        if not set(by_factor) <= {factor for factor, _ in entries}:
            return Verdict(Status.INCONCLUSIVE, claim, how=f"{name} has other terms at these sizes")
        for factor, array in entries:
            body = by_factor.get(factor)
            if not isinstance(body, list):
                how = f"{name} has no closed form at these sizes"
                return Verdict(Status.INCONCLUSIVE, claim, how=how)
            for place, want in zip(layout.places or ((),), body, strict=True):
                have = _entry(array, place, layout.symmetric)
                compared += 1
                if not (have - want).is_zero():
                    witness = {"expression": name, "entry": [i + 1 for i in place]}
                    return Verdict(Status.REFUTED, claim, how="exact elements", witness=witness)
    how = f"{compared} entries of {', '.join(expressions)}, as exact polynomials"
    certificate = NormalForm(how, ring="Q(theta, moments)")
    recheck = _in_floats(bound, {name: getattr(law, name) for name in expressions}, expressions)
    return prove(claim, certificate, recheck, residual=0)


def _in_floats(model: Model, one: Mapping[str, Any], other: Mapping[str, Any]) -> Claim:
    """Return "two sets of closed forms have the same values", at a point and settings."""
    rng = np.random.default_rng(0)
    values = drawn_values(model, rng)
    params = jax.tree.map(lambda s: rng.normal(size=s.shape), model.structure()[0])
    settings = {"learning_rate": 0.3, "batch_size": 2.0, "weight_decay": 0.1, "momentum": 0.5}

    def at(expression: Any) -> Any:
        return lambda: expression.callable()(params, **settings, **values)

    return All(tuple(Arithmetic(at(one[name]), at(other[name])) for name in one))


def _entry(array: np.ndarray, place: tuple[int, ...], symmetric: bool) -> Any:
    """Return the component of a matrix along a member of the family's basis."""
    if symmetric and len(place) == 2 and place[0] != place[1]:
        return array[place] + array[place[::-1]]
    return array[place]
