"""The equilibrium on a generator's orbit, from its eigenspaces and the noise in each."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax
import numpy as np
import sympy
from flint import arb

from symtheory.domains import Element, Ring, Symbols, as_fmpq, ball, enclose
from symtheory.errors import InputError
from symtheory.exact import rational_array
from symtheory.model import Model
from symtheory.symmetry import Generator
from symtheory.theory._equilibrium import Equilibrium, closed_form
from symtheory.theory._expression import Expression, Formal, Term
from symtheory.theory._gradient_noise import quadratic_form
from symtheory.theory._layout import Layout
from symtheory.theory._spectrum import Eigenspace


def equilibrium_of(
    drift: Expression,
    generator: Generator,
    spectral: list[Eigenspace] | None,
    member: str,
    noises: list[Element] | None,
    model: Model,
) -> Equilibrium:
    """Return the equilibrium; `spectral` is None where an eigenvalue is irrational."""
    spaces = spectral or []
    rates = tuple(space.value for space in spaces)
    ring = generator.symbols.ring
    squares = [quadratic_form(projection(s, ring), generator.theta, ring) for s in spaces]
    zero = [False] * len(spaces) if noises is None else [s.is_zero() for s in noises]
    solution, roles, fixed = closed_form(rates, drift.settings, zero)
    where = {}
    for role, symbol in roles.items():
        k = 0 if role.endswith("+") else 1
        element = squares[k] if role.startswith("c") else (noises[k] if noises else None)
        if element is not None:
            body: Any = [element]
        else:
            sign = role[-1]
            body = Formal(f"Tr_Sigma_P{sign}", rf"\mathrm{{Tr}}[\Sigma P_{{{sign}}}]")
        scalar = Expression(
            (Term(sympy.Integer(1), body, _not_callable),), generator.symbols, Layout(), {}
        )
        where[symbol] = scalar

    def evaluate(params: Any, values: Any) -> tuple[list[arb], list[arb]] | None:
        if spectral is None:
            raise InputError(
                "the generator has irrational eigenvalues, so the equilibrium on its orbit is not "
                "certified; use law.noether_flow(...) for a numerical one"
            )
        if noises is None:
            return None
        balls = _point(model, generator.symbols, params, values)
        return [enclose(e, balls) for e in squares], [enclose(e, balls) for e in noises]

    return Equilibrium(
        condition=drift,
        member=member,
        solution=solution,
        where=where,
        kind="unknown" if spectral is None else _kind(rates, zero, noises is not None),
        rates=rates,
        evaluate=evaluate,
        fixed_charge=fixed,
    )


def projection(space: Eigenspace, ring: Ring) -> dict[tuple[int, int], Element]:
    """Return the projection onto an eigenspace as ring elements."""
    return {place: ring.constant(as_fmpq(value)) for place, value in space.projection.items()}


def _not_callable(params: Any, values: Any) -> Any:
    raise InputError("take the closed form with .sympy(), or numbers with law.noether_flow")


def _kind(rates: tuple[Fraction, ...], zero: list[bool], exact: bool) -> str:
    """Say where the noise alone leads (gamma = 0)."""
    if not exact and len({rate > 0 for rate in rates}) > 1:
        return "unknown"
    raises = any(rate > 0 and not z for rate, z in zip(rates, zero, strict=True))
    lowers = any(rate < 0 and not z for rate, z in zip(rates, zero, strict=True))
    if raises and lowers:
        return "finite"
    return "+infinity" if raises else "-infinity" if lowers else "everywhere"


def distinguished_member(
    generator: Generator, layout: Layout
) -> tuple[dict[tuple[int, int], Element], str]:
    """Return the generator itself, or the family's member of identity (or all-ones) entries."""
    if not layout.texts:
        return generator.matrix, ""
    ring = generator.symbols.ring
    diagonal = [len(place) == 1 or place[0] == place[1] for place in layout.places]
    index = {ring.names[t]: int(d) for t, d in zip(layout.texts, diagonal, strict=True)}
    out: dict[tuple[int, int], Element] = {}
    for place, element in generator.matrix.items():
        total = as_fmpq(0)
        for exponents, coefficient in element.numerator.to_dict().items():
            chosen = next(i for i in index if i < len(exponents) and exponents[i])
            total = total + coefficient * index[chosen]
        if total != 0:
            out[place] = ring.constant(total)
    return out, "identity" if len(layout.shape) == 2 else "ones"


def _point(model: Model, symbols: Symbols, params: Any, values: Any) -> dict[str, arb]:
    """Return balls for all symbols at the simplest rationals that round to the given numbers."""
    arrays: dict[tuple[str, str], np.ndarray] = {}
    leaves = jax.tree.leaves(model.check_params(params))
    for name, leaf in zip(model.leaves, leaves, strict=True):
        arrays["param", name] = rational_array(leaf)
    for name, value in model.bind(**values).values.items():
        arrays["constant", name] = arrays["moment", name] = rational_array(value)
    out = {}
    for text, label in symbols.labels.items():
        if (label.kind, label.name) in arrays:
            out[text] = ball(arrays[label.kind, label.name][label.index])
        elif label.kind in ("constant", "moment"):
            raise InputError(f"no value is given for {label.name!r}; pass {label.name}=...")
    return out
