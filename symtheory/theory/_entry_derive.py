"""Derive the law of a charge entry by entry, step by step, each step with its proof."""

from __future__ import annotations

import dataclasses
import functools
import math
from fractions import Fraction
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import sympy

from symtheory.domains import Element, Ring, Symbols
from symtheory.errors import BudgetError, InputError, UnreadableError
from symtheory.model import Model
from symtheory.program import NO_DEADLINE, Deadline
from symtheory.symmetry import Affine, Exponential, Generator, read_generator, verify
from symtheory.theory._evaluated import generator_actions, moments_claim
from symtheory.theory._expression import Expression, Formal, Term
from symtheory.theory._gradient_noise import GradientNoise, quadratic_form, read_gradient_noise
from symtheory.theory._identities import identity_steps
from symtheory.theory._law import Law
from symtheory.theory._layout import Layout, layout_of
from symtheory.theory._noise import ExactNoise, SampledNoise, quadratic
from symtheory.theory._orbit import distinguished_member, equilibrium_of, projection
from symtheory.theory._settings import settings_symbols
from symtheory.theory._spectrum import Eigenspace, numeric_entries, spectrum
from symtheory.verdict import (
    Derivation,
    Flows,
    Moments,
    Status,
    Subject,
    Verdict,
    conjunction,
    prove,
)

_EXACT_LIMIT = 64
"""Above this many parameters moments are not expanded; the law keeps them formal."""

_ASSUMPTIONS = (
    "samples are independent and have the stated law",
    "minibatch of S samples with replacement, loss L + gamma |theta|^2",
)


def derive_entries(
    model: Model, symmetry: Exponential, *, seconds: float | None = 60.0, seed: int = 0
) -> Law:
    """Derive a law entry by entry at fixed sizes; see `derive`."""
    if symmetry.family and len(symmetry.family) > 1:
        raise InputError(
            f"the symmetry has {len(symmetry.family)} families; derive one law per family"
        )
    name = symmetry.name or "the given symmetry"
    proof = verify(model, symmetry, seconds=seconds, seed=seed)
    if not proof.status.holds:
        return Law(model, symmetry, name, conjunction(f"law of {name}", [proof], how=proof.how))
    deadline = Deadline(seconds)
    symbols = Symbols(Ring())
    generator = read_generator(model, symmetry, symbols)
    if generator.shift:
        return _linear_law(model, symmetry, name, generator, proof)
    if not generator.is_symmetric:
        symmetric = _symmetric_part(model, symmetry, generator)
        if symmetric is None:
            how = "theta^T A theta vanishes identically for an antisymmetric generator (a rotation)"
            none = Verdict(Status.NOT_APPLICABLE, f"{name} has a charge", how=how)
            return Law(model, symmetry, name, none)
        part = derive_entries(model, symmetric, seconds=seconds, seed=seed)
        if part.status is Status.INCONCLUSIVE:
            return dataclasses.replace(part, name=name)
        if part.charge is None:
            how = "its symmetric part is not itself a symmetry, so it has no charge"
            none = Verdict(Status.NOT_APPLICABLE, f"{name} has a charge", how=how, parts=part.steps)
            return Law(model, symmetry, name, none)
        return part
    return _quadratic_law(model, symmetry, name, generator, proof, deadline)


def _quadratic_law(
    model: Model,
    symmetry: Exponential,
    name: str,
    generator: Generator,
    proof: Verdict,
    deadline: Deadline,
) -> Law:
    symbols = generator.symbols
    layout = layout_of(symmetry, symbols)
    settings = settings_symbols(_user_names(model, symmetry))
    eta, size, gamma, beta, _ = settings.values()
    charge = layout.components(quadratic_form(generator.matrix, generator.theta, symbols.ring))
    matrix, member = distinguished_member(generator, layout)
    spaces = spectrum(numeric_entries(matrix))
    exact, reason = _exact_moments(model, symbols, generator, spaces or [], deadline)
    trace: list[Element] | Formal
    if exact is not None:
        trace = layout.components(exact.trace)
        gradient = layout.components(exact.drift_term)
        noise: Any = ExactNoise(model, exact.noise, trace, gradient)
        moments = prove(
            "Tr[Sigma A] in closed form",
            Moments(
                "Isserlis' theorem, exact arithmetic",
                tuple(f"{name}: {type(law).__name__}" for name, law in model.laws.items()),
            ),
            moments_claim(model, symmetry, layout, noise),
        )
    else:
        trace = Formal("Tr_Sigma_A", r"\mathrm{Tr}[\Sigma A]")
        gradient = Formal("gradL_A_gradL", r"\nabla L^{\top} A\,\nabla L")
        noise = SampledNoise(model, symmetry, layout)
        moments = Verdict(
            Status.NOT_APPLICABLE, "Tr[Sigma A] in closed form", how=f"left formal: {reason}"
        )
    make = functools.partial(Expression, symbols=symbols, layout=layout, settings=settings)
    charge_term = functools.partial(
        Term, body=charge, numbers=lambda p, _: quadratic(symmetry, layout, p)
    )
    trace_term = functools.partial(Term, body=trace, numbers=noise.traces)
    gradient_term = functools.partial(Term, body=gradient, numbers=noise.gradient_terms)
    drift = make((charge_term(-4 * gamma), trace_term(eta / size)))
    steps = [proof, *identity_steps(generator, model, symmetry), moments]
    claim = f"charge law of {name} for {model.name}"
    if exact is None:
        claim += ", with Tr[Sigma A] left formal"
    return Law(
        model,
        symmetry,
        name,
        conjunction(claim, steps, reference="arXiv 2402.07193"),
        _ASSUMPTIONS,
        charge=make((charge_term(sympy.Integer(1)),)),
        noise_trace=make((trace_term(sympy.Integer(1)),)),
        drift=drift,
        discrete_drift=make(
            (
                charge_term(-4 * eta * gamma * (1 - eta * gamma)),
                gradient_term(eta**2),
                trace_term(eta**2 / size),
            )
        ),
        momentum_drift=make((trace_term((eta / (1 - beta)) ** 2 / size),)),
        equilibrium=equilibrium_of(
            drift, generator, spaces, member, None if exact is None else exact.by_space, model
        ),
        noise=noise,
        layout=layout,
    )


@dataclasses.dataclass(frozen=True)
class _ExactMoments:
    noise: GradientNoise
    trace: Element
    drift_term: Element
    by_space: list[Element]


def _exact_moments(
    model: Model,
    symbols: Symbols,
    generator: Generator,
    spaces: list[Eigenspace],
    deadline: Deadline,
) -> tuple[_ExactMoments | None, str]:
    """Return exact moments, or None and why there are none."""
    if model.dimension > _EXACT_LIMIT:
        return None, f"{model.dimension} parameters are too many to expand"
    ring = symbols.ring
    ring.deadline = deadline
    try:
        noise = read_gradient_noise(model, symbols, deadline)
        trace, drift_term = noise.trace(generator.matrix), noise.drift_term(generator.matrix)
        by_space = [noise.trace(projection(space, ring)) for space in spaces]
        return _ExactMoments(noise, trace, drift_term, by_space), ""
    except (UnreadableError, BudgetError) as error:
        return None, str(error)
    finally:
        ring.deadline = NO_DEADLINE


def _user_names(model: Model, symmetry: Exponential) -> list[str]:
    return [*model.leaves, *model.constants, *model.unbound, *(symmetry.family or {})]


# --- other kinds of generator ---------------------------------------------------------------------


def _symmetric_part(
    model: Model, symmetry: Exponential, generator: Generator
) -> Exponential | None:
    """Return the symmetric part of a generator as a symmetry of its own, None if it is zero."""
    if generator.is_antisymmetric:
        return None
    if symmetry.family:
        raise InputError(
            "the generators of this family are not symmetric matrices, so they carry no charge as "
            "they stand; use a family of symmetric matrices (SymmetricMatrix)"
        )
    entries = numeric_entries(generator.matrix)
    # Floats must hold the entries exactly; where they do not, a multiple generates the same flow.
    halves = {place: value / 2 for place, value in entries.items()}
    if any(Fraction(float(value)) != value for value in halves.values()):
        scale = math.lcm(*(value.denominator for value in halves.values()))
        halves = {place: value * scale for place, value in halves.items()}
    dense = np.zeros((model.dimension, model.dimension))
    for (i, j), value in halves.items():
        dense[i, j] += float(value)
        dense[j, i] += float(value)

    def action(params: Any) -> Any:
        flat, back = jax.flatten_util.ravel_pytree(params)
        return back(jnp.asarray(dense, flat.dtype) @ flat)

    return Exponential(action, name=f"symmetric part of {symmetry.name or 'the generator'}")


def _linear_law(
    model: Model, symmetry: Exponential, name: str, generator: Generator, proof: Verdict
) -> Law:
    """A translation theta -> theta + lambda b: its linear charge b . theta feels no noise."""
    if generator.matrix or symmetry.family:
        raise InputError(
            f"{name} mixes a linear generator with a shift; move the origin to its fixed point and "
            "use Exponential, or give the pure translation"
        )
    assert isinstance(symmetry, Affine)
    symbols, ring = generator.symbols, generator.symbols.ring
    settings = settings_symbols(_user_names(model, symmetry))
    eta, _, gamma, _, _ = settings.values()
    charge = ring.constant(0)
    for row, entry in generator.shift.items():
        charge = charge + generator.theta[row] * entry

    def numbers(params: Any, _: Any) -> Any:
        zero = jax.tree.map(lambda leaf: 0.0 * leaf, params)
        pairs = zip(
            jax.tree.leaves(symmetry.tangent(zero, {})), jax.tree.leaves(params), strict=True
        )
        return jnp.asarray(sum((b * leaf).sum() for b, leaf in pairs))[None]

    make = functools.partial(Expression, symbols=symbols, layout=Layout(), settings=settings)
    how = "g . b = 0 for every sample, so a step changes b . theta by weight decay alone"
    recheck = Flows(Subject.of(model), generator_actions(model, symmetry))
    step = prove("C' = (1 - 2 eta gamma) C exactly", Derivation(how), recheck)
    return Law(
        model,
        symmetry,
        name,
        conjunction(f"charge law of {name} for {model.name}", [proof, step]),
        _ASSUMPTIONS,
        charge=make((Term(sympy.Integer(1), [charge], numbers),)),
        drift=make((Term(-2 * gamma, [charge], numbers),)),
        discrete_drift=make((Term(-2 * eta * gamma, [charge], numbers),)),
    )
