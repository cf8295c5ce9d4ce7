"""Drift and diffusion of v = u w on the balanced line of a scalar two-layer net, from its loss."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import sympy

from symtheory.domains import Element, Ring, Symbols
from symtheory.errors import BudgetError, InputError, UnreadableError
from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.symmetry import Exponential, verify
from symtheory.theory._evaluated import drawn_values, sampled_claim
from symtheory.theory._gradient_noise import GradientNoise, read_gradient_noise
from symtheory.verdict import Claim, NormalForm, Status, Verdict, prove

Series = dict[int, sympy.Expr]
"""Coefficients of a polynomial in v, by power."""


@dataclasses.dataclass(frozen=True)
class ScalarDiffusion:
    """dv = (-descent(v) + T push(v)) dt + sqrt(T spread(v)) dW on the line u = w.

    Attributes:
        descent: w dL/du + u dL/dw.
        push: The Ito term Sigma_uw.
        spread: w^2 Sigma_uu + 2 u w Sigma_uw + u^2 Sigma_ww.
        steps: What was proved on the way.
        names: Names that the coefficients use.
    """

    descent: Series
    push: Series
    spread: Series
    steps: tuple[Verdict, ...]
    names: frozenset[str]


def scalar_diffusion(model: Model, seconds: float | None) -> ScalarDiffusion:
    """Derive the diffusion of v = u w on the balanced line by Ito's formula, exactly.

    Raises:
        InputError: The model does not have exactly two scalar parameters, or they are not related
            by u -> e^t u, w -> e^-t w, or its moments are not available exactly.
    """
    if list(model.leaves.values()) != [(), ()]:
        raise InputError(
            f"a stationary law needs a model of two scalar parameters u and w, got {model.leaves}; "
            "use zoo model scalar-factor as a pattern"
        )
    rescaling = Exponential(_rescale, name="rescaling")
    proof = verify(model, rescaling, seconds=seconds)
    if proof.status is not Status.PROVED:
        raise InputError(
            f"the loss of {model.name} is not known to depend on the product of its parameters "
            f"only: {proof}; the law of section 8 is about such losses"
        )
    deadline = Deadline(seconds)
    symbols = Symbols(Ring(deadline=deadline))
    try:
        noise = read_gradient_noise(model, symbols, deadline)
        parts = _ito(noise)
    except (UnreadableError, BudgetError) as error:
        raise InputError(
            f"the moments of {model.name} are not known exactly ({error}); a stationary law needs "
            "a loss that is polynomial in the sample"
        ) from error
    descent, push, spread, imbalance = (_on_the_line(x, noise) for x in parts)
    claim = (
        "the line u = w is invariant: u^2 - w^2 has drift -4 gamma C + T (Sigma_uu - Sigma_ww) = 0 "
        "there and no diffusion"
    )
    if imbalance:
        balanced = Verdict(Status.REFUTED, claim, how="exact arithmetic", residual=str(imbalance))
    else:
        exact = NormalForm("exact arithmetic", ring="Q[v]")
        balanced = prove(claim, exact, _balanced_in_floats(model), residual=0)
    names = frozenset(str(s) for x in (descent, spread) for c in x.values() for s in c.free_symbols)
    return ScalarDiffusion(descent, push, spread, (proof, balanced), names)


def _balanced_in_floats(model: Model) -> Claim:
    """Return "g_u^2 and g_w^2 have the same mean at u = w"."""
    params = jax.tree.map(lambda s: np.array(0.8), model.structure()[0])

    def difference(bound: Model, p: Any, z: Any) -> Any:
        u, w = jax.tree.leaves(jax.grad(bound.evaluate)(p, z))
        return u * u - w * w

    values = drawn_values(model, np.random.default_rng(0))
    return sampled_claim(model, difference, 0.0, params, values)


def _rescale(params: Any) -> Any:
    leaves, tree = jax.tree.flatten(params)
    return jax.tree.unflatten(tree, [leaves[0], -leaves[1]])


def _ito(noise: GradientNoise) -> tuple[Element, Element, Element, Element]:
    one = noise.symbols.ring.constant(1)
    u, w = noise.theta
    uu, ww = noise.trace({(0, 0): one}), noise.trace({(1, 1): one})
    uw = noise.trace({(0, 1): one})
    descent = w * noise.mean[0] + u * noise.mean[1]
    spread = w * w * uu + 2 * (u * w * uw) + u * u * ww
    return descent, uw, spread, uu - ww


def _on_the_line(element: Element, noise: GradientNoise) -> Series:
    """Return an element at u = w = sqrt(v) as a polynomial in v."""
    symbols, ring = noise.symbols, noise.symbols.ring
    u, w = (ring.names[text] for text in symbols.of_kind("param"))
    if element.denominator is not None:
        raise UnreadableError("a denominator occurs in the moments")
    terms: dict[int, dict[tuple[int, ...], Any]] = {}
    for exponents, coefficient in element.numerator.to_dict().items():
        power = int(exponents[u] + exponents[w])
        rest = tuple(0 if k in (u, w) else int(n) for k, n in enumerate(exponents))
        group = terms.setdefault(power, {})
        group[rest] = group.get(rest, 0) + coefficient
    out: Series = {}
    for power, group in terms.items():
        value = ring.from_terms({e: c for e, c in group.items() if c != 0})
        if value.is_zero():
            continue
        if power % 2:
            raise UnreadableError("the moments are not functions of v = u w on the line u = w")
        out[power // 2] = symbols.to_sympy(value)
    return out


def polynomial(series: Series, v: sympy.Symbol) -> sympy.Expr:
    """Return a series as an expression in v."""
    return sympy.Add(*(c * v**n for n, c in sorted(series.items())))
