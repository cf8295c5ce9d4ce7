"""P2.7: for a finite abelian group, log2 of its order stands for the number of mirrors (R7).

Statement: if the reflections of l lie in a finite abelian group U of orthogonal matrices, then with
probability at least 1 - delta, min_i |P_i grad l_r| >= sqrt(2 pi) gamma sigma_0 delta / log2|U| at
their symmetric points, although there may be |U| - 1 of them.

Assumptions: U finite and abelian; gamma > 0; theta_0 ~ N(0, sigma_0^2 I).

Relation: upper.

Reference: arXiv 2408.15495, finite abelian groups; R7.

Proof idea: commuting involutions have a common eigenbasis; log2|U| of its vectors suffice for every
element but 1 to turn one of them round, and that vector lies in the range of its P.

Example output:

    P2.7   proved        supported     refuted
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._intervals import rate_below
from proofs_check._mirrors import closure, generator, invariant, longer_than_along, orthonormal
from proofs_check._steps import from_statement, proof, small, textbook
from symtheory.verdict import Arithmetic, Derivation, Inequality, NormalForm, prove


def claim() -> Claim:
    return Claim(
        "P2.7",
        "For a finite abelian group U the bound of P2.6 holds with log2|U| in place of the number "
        "of reflections",
        ("U finite and abelian", "gamma > 0", "theta_0 ~ N(0, sigma_0^2 I)"),
        "upper",
        "arXiv 2408.15495, finite abelian groups; R7",
    )


def _characters(bits: int) -> st.Verdict:
    """Every sign vector but 1 has a -1 at one of the chosen characters, for any basis of them."""
    words = range(1, 2**bits)
    wrong = 0
    for basis in itertools.combinations(words, bits):
        spanned = {0}
        for word in basis:
            spanned |= {word ^ other for other in spanned}
        if len(spanned) == 2**bits:
            odd = lambda g, word: (g & word).bit_count() % 2
            wrong += sum(not any(odd(g, word) for word in basis) for g in words)
    claim = f"each of the {2**bits - 1} elements g != 1 is -1 on one of {bits} independent signs"
    how = "all bases, exhaustively, for this order"
    if wrong:
        return st.Verdict(st.Status.REFUTED, claim, how=how, residual=wrong)
    return prove(claim, Derivation(how), _covered_in_floats(bits), residual=0)


def _covered_in_floats(bits: int) -> Inequality:
    """Random bases of signs as +-1 tables: no row but the first is +1 throughout."""
    rng = np.random.default_rng(bits)
    elements = np.array(list(itertools.product((0, 1), repeat=bits)))[1:]
    least = []
    while len(least) < 8:
        basis = rng.integers(0, 2, (bits, bits))
        if round(abs(np.linalg.det(basis))) % 2:
            least.append(np.max((-1.0) ** (1 + elements @ basis.T), axis=1))
    return Inequality(np.concatenate(least), "positive")


def _example(signs: list[list[int]]) -> st.Verdict:
    """The same for matrices along no axis, in rational arithmetic."""
    third = [[-1, 2, 2], [2, -1, 2], [2, 2, -1]]  # three times a rational orthogonal matrix
    turn = np.array([[Fraction(x, 3) for x in row] for row in third])
    exact = [turn @ np.diag(np.array([Fraction(x) for x in row])) @ turn.T for row in signs]
    group = st.syre.FiniteGroup.generated(exact)
    chosen = group.generating_projections()
    covered = all(any(p * e == e for e in chosen) for p in group.reflections())
    enough = group.is_abelian and len(chosen) <= group.log2_order and covered
    claim = f"order {group.order}: {len(chosen)} projections stand for {group.order - 1} mirrors"
    how = "P E = E exactly for one of them, for every P"
    if not enough:
        return st.Verdict(st.Status.REFUTED, claim, how=how)
    numbers = lambda m: np.array([[float(x) for x in row] for row in m.tolist()])
    across = [numbers(e) for e in chosen]
    gaps = [min(np.abs(numbers(p) @ e - e).max() for e in across) for p in group.reflections()]
    return prove(claim, NormalForm(how, ring="Q"), Arithmetic(gaps, 0.0, 1.0))


def exact() -> st.Verdict:
    """Any finite abelian group; the characters exhaustively for small orders."""
    across = st.ProjectionMatrix("d")
    steps = [
        textbook(
            "reflections of U are involutions; those of an abelian group and 1 form a subgroup V "
            "of order 2^k <= |U|",
            "involutions of an abelian group and 1 form a subgroup; Lagrange",
            given="U finite and abelian",
        ),
        textbook(
            "commuting orthogonal involutions have a common orthonormal eigenbasis n_j, g n_j = "
            "chi_j(g) n_j with chi_j(g) = +-1; together the chi_j tell the elements of V apart, so "
            "k of them are independent",
            "simultaneous diagonalization; independence over F_2",
            given="they commute and are orthogonal",
        ),
        textbook(
            "an element g != 1 is -1 on one of k independent signs: in F_2^k only 0 is orthogonal "
            "to a basis, for every k",
            "dual basis", *[_characters(bits) for bits in (1, 2, 3, 4)],
            given="k independent signs",
        ),
        st.identity(
            "g n = -n with g = I - 2P gives P n = n: P n - n = -(n + g n)/2",
            lambda a: (
                a["P"] @ a["n"] - a["n"] + (a["n"] + (a["n"] - 2 * a["P"] @ a["n"])) / 2
            ),
            {"P": across, "n": "d"},
        ),
        *longer_than_along(),
        from_statement(
            "so it is enough that k = log2|V| <= log2|U| numbers n_j.theta_0 are not small, which "
            "is the bound of P2.6 with N = k",
            "P2.6",
        ),
        _example([[-1, 1, 1], [1, -1, 1]]),
        _example([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]),
    ]  # fmt: skip
    return proof("log2 of the order is enough", steps, claim().reference)


def _strong(generators: list[np.ndarray], key: jax.Array, budget: Budget) -> st.Verdict:
    """Count how often a mirror of a group repels less than the bound with log2 of its order."""
    rng = generator(key)
    elements = closure(generators)
    size = elements.shape[1]
    square = elements @ elements
    involutions = [g for g, s in zip(elements[1:], square[1:], strict=True)
                   if np.abs(s - np.eye(size)).max() < 1e-6]  # fmt: skip
    across = (np.eye(size) - np.stack(involutions)) / 2
    draws = max(budget.steps(len(across), nanoseconds=5000.0, most=10_000), 500)
    gamma, sigma = rng.uniform(0.01, 0.1), rng.uniform(0.005, 0.02)
    loss = invariant(rng, elements)

    def one(bias: Any, point: Any) -> Any:
        slope = jax.grad(st.syre.reparametrize(loss, bias, gamma))
        return jax.vmap(lambda p: p @ slope(point - p @ point - bias))(across)

    like = jax.ShapeDtypeStruct((size,), jnp.float64)
    keys = jax.random.split(key, draws)
    bias = jax.jit(jax.vmap(lambda k: st.syre.draw_bias(k, like, sigma)))(keys)
    found = np.asarray(jax.jit(jax.vmap(one))(bias, rng.normal(size=(draws, size))))
    told = -2 * gamma * np.einsum("pij,nj->npi", across, np.asarray(bias))
    weakest = np.linalg.norm(found, axis=2).min(axis=1)
    bits = float(np.log2(len(elements)))
    how = f"{draws} draws, {len(across)} mirrors; only rounding is left"
    off = float(np.max(np.abs(found - told)))
    parts = [small("P grad l_r = -2 gamma P theta_0", off, 1e-9, how)]
    for delta in (0.3, 0.5):
        least = st.syre.strength_bound(gamma, sigma, delta, bits)
        name = (
            f"with delta {delta:g} and {bits:g} for {len(across)} mirrors it fails at most so often"
        )
        parts.append(rate_below(name, int(np.sum(weakest < least)), draws, delta))
    return st.conjunction(f"log2 of the order {len(elements)} is enough", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    """(Z/2)^5 along no axis: 31 mirrors, 5 bits."""
    rng, size = generator(jax.random.fold_in(key, 1)), 5
    axes = orthonormal(rng, size)
    flips = [axes @ np.diag(1.0 - 2 * np.eye(size)[i]) @ axes.T for i in range(size)]
    return _strong(flips, key, budget)


def control() -> st.Verdict:
    """The symmetries of a polygon with 16 corners, which do not commute: 17 mirrors, 5 bits."""
    return _polygon(16)


def twin() -> st.Verdict:
    """Those of a polygon with 2 corners, a rectangle, which commute: 3 mirrors, 2 bits."""
    return _polygon(2)


def _polygon(corners: int) -> st.Verdict:
    angle = 2 * np.pi / corners
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return _strong([turn, np.diag([1.0, -1.0])], jax.random.key(1), Budget(0.3))
