"""The general steps of the charge law, replayed in exact arithmetic for a given generator."""

from __future__ import annotations

from symtheory.domains import Element, Ring, Symbols
from symtheory.model import Model
from symtheory.symmetry import Exponential, Generator
from symtheory.theory._evaluated import batch_claim, generator_actions, quadratic_claims
from symtheory.theory._gradient_noise import Matrix, quadratic_form
from symtheory.verdict import (
    Claim,
    Derivation,
    Flows,
    NormalForm,
    Status,
    Subject,
    Verdict,
    prove,
)


def identity_steps(generator: Generator, model: Model, symmetry: Exponential) -> list[Verdict]:
    """Return the steps from "g . A theta = 0 for every sample" to the laws of the charge.

    1. A = A^T.
    2. One step of SGD: C(a theta - eta g) = a^2 C - 2 a eta g . A theta + eta^2 g^T A g; the
       middle term vanishes by the symmetry.
    3. S independent samples: E[g_B^T A g_B] = grad L^T A grad L + Tr[Sigma A]/S.
    4. Ito's formula: the gradient of C is 2 A theta and its Hessian 2 A, so the drift is
       -2 (grad L + 2 gamma theta) . A theta + 2 sigma^2 Tr[Sigma A], and the diffusion
       8 sigma^2 (A theta)^T Sigma (A theta) vanishes by the symmetry.
    """
    actions = generator_actions(model, symmetry)
    claims = quadratic_claims(actions[0])
    no_diffusion = Derivation(
        "g.A theta = 0 for every sample gives Sigma A theta = 0 and grad L.A theta = 0"
    )
    return [
        _identity("A = A^T", 0 if generator.is_symmetric else 1, claims["symmetric"]),
        _identity(
            "C(a theta - eta g) = a^2 C - 2 a eta g.A theta + eta^2 g^T A g",
            _step(generator),
            claims["step"],
        ),
        _identity("E[g_B^T A g_B] = grad L^T A grad L + Tr[Sigma A]/S", _batch(), batch_claim()),
        _identity(
            "grad C = 2 A theta and Hess C = 2 A", _derivatives(generator), claims["derivatives"]
        ),
        prove(
            "the charge has no diffusion and no drift from grad L",
            no_diffusion,
            Flows(Subject.of(model), actions),
        ),
    ]


def _identity(claim: str, residual: int, recheck: Claim) -> Verdict:
    how = "exact polynomial identity"
    if residual:
        return Verdict(Status.REFUTED, claim, how=how, residual=residual)
    return prove(claim, NormalForm(how, ring="Q[A, theta, g]"), recheck, residual=0)


def _formal(generator: Generator) -> tuple[Ring, Symbols, list[Element], list[Element], Matrix]:
    """Return a fresh ring with formal theta and g, and the generator's matrix in it."""
    ring = Ring()
    symbols = Symbols(ring)
    n = len(generator.theta)
    theta = list(symbols.array("param", "theta", (n,)))
    gradient = list(symbols.array("sample", "g", (n,)))
    source = generator.symbols.ring
    names = {index: text for text, index in source.names.items()}
    matrix: Matrix = {}
    for place, element in generator.matrix.items():
        total = ring.constant(0)
        for exponents, coefficient in element.numerator.to_dict().items():
            term = ring.constant(coefficient)
            for i, power in enumerate(exponents):
                if power:
                    term = term * ring.symbol(names[i]) ** int(power)
            total = total + term
        matrix[place] = total
    return ring, symbols, theta, gradient, matrix


def _step(generator: Generator) -> int:
    ring, _, theta, gradient, matrix = _formal(generator)
    a, eta = ring.symbol("a"), ring.symbol("eta")
    moved = [a * t - eta * g for t, g in zip(theta, gradient, strict=True)]
    cross = ring.constant(0)
    for (i, j), entry in matrix.items():
        cross = cross + gradient[i] * entry * theta[j]
    left = quadratic_form(matrix, moved, ring)
    right = (
        a * a * quadratic_form(matrix, theta, ring)
        - 2 * a * eta * cross
        + eta * eta * quadratic_form(matrix, gradient, ring)
    )
    return len((left - right).numerator)


def _batch() -> int:
    """The mean of S independent gradients: q = E[g^T A g], m = grad L^T A grad L."""
    ring = Ring(["S", "q", "m"])
    size, q, m = (ring.symbol(name) for name in ("S", "q", "m"))
    pairs = (size * q + size * (size - 1) * m) / (size * size)
    return len((pairs - (m + (q - m) / size)).numerator)


def _derivatives(generator: Generator) -> int:
    ring, symbols, theta, _, matrix = _formal(generator)
    charge = quadratic_form(matrix, theta, ring)
    texts = list(symbols.of_kind("param"))
    residual = 0
    image = [ring.constant(0)] * len(theta)
    for (i, j), entry in matrix.items():
        image[i] = image[i] + entry * theta[j]
    for i, text in enumerate(texts):
        first = charge.derivative(text)
        residual += len((first - 2 * image[i]).numerator)
        for (row, j), entry in matrix.items():
            if row == i:
                residual += len((first.derivative(texts[j]) - 2 * entry).numerator)
    return residual
