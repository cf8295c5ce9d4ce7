"""The closed form of deep linear nets, proved for every depth, width and rank at once.

Matrices are words in letters, with scalar factors whose exponents are rational functions of the
layer i and the depth D; the only relations used are those of orthonormal columns and of the two
equations to be solved. So one short computation covers all sizes and depths.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from symtheory.domains import Element, Ring
from symtheory.theory.deep._evaluated import relation
from symtheory.verdict import NormalForm, Status, Verdict, conjunction, prove

_REFERENCE = "arXiv 2402.07193, deep linear nets; this derivation is ours"
_OWN_TRANSPOSE = {"D", "S"}  # S^(1/2) and S are diagonal


@dataclasses.dataclass(frozen=True)
class Word:
    """A product of scalars raised to powers and of matrices: factors by name, letters in order."""

    factors: Mapping[str, Any]
    letters: tuple[str, ...] = ()

    def __mul__(self, other: Word) -> Word:
        factors = dict(self.factors)
        for name, power in other.factors.items():
            factors[name] = factors[name] + power if name in factors else power
        return Word(factors, self.letters + other.letters)

    @property
    def T(self) -> Word:
        """The transpose."""
        return Word(self.factors, tuple(_transposed(x) for x in reversed(self.letters)))

    def reduced(self, rules: Mapping[tuple[str, ...], Word]) -> Word:
        """Return the word with every occurrence of a rule's left side replaced, until none is."""
        for n in range(len(self.letters)):
            for pattern, value in rules.items():
                if self.letters[n : n + len(pattern)] == pattern:
                    before = Word(self.factors, self.letters[:n])
                    after = Word({}, self.letters[n + len(pattern) :])
                    return (before * value * after).reduced(rules)
        return self

    def trace(self, rules: Mapping[tuple[str, ...], Word]) -> Word:
        """Return the trace, as the scalar t where cyclic order turns the word into S.

        Raises:
            ValueError: It does not.
        """
        for n in range(len(self.letters)):
            turned = Word(self.factors, self.letters[n:] + self.letters[:n]).reduced(rules)
            if turned.letters == ("S",):
                return Word(turned.factors) * Word({"t": 1})
        raise ValueError(f"the trace of {self.letters} is not a multiple of t")

    def equals(self, other: Word) -> bool:
        """Tell whether letters and all exponents agree, exactly."""
        names = {*self.factors, *other.factors}
        return self.letters == other.letters and all(
            self.factors.get(n, 0) - other.factors.get(n, 0) == 0 for n in names
        )


def _transposed(letter: str) -> str:
    if letter in _OWN_TRANSPOSE:
        return letter
    return letter[:-1] if letter.endswith("'") else letter + "'"


def deep_linear_proof() -> Verdict:
    """Prove the closed form of `deep_linear_equilibrium` at weight decay zero, for all sizes.

    Existence: by induction over layers, A_i = Q_i sqrt(Sx) and B_i = sqrt(Se) P_i have the forms
    sqrt(a/t) c^i U_i S^(1/2) R and sqrt(b/t) c^(D-i) L S^(1/2) U_i^T; every balance and the product
    follow. Uniqueness: A_i A_i^T = k_i B_i^T B_i and B_i A_i = V' give (A_i^T A_i)^2 = k_i V'^T V',
    so that traces make ln k_i affine in i.

    Returns:
        A verdict whose parts are the steps; what is cited rather than computed stands in
        `assumptions`.

    >>> str(deep_linear_proof().status), len(deep_linear_proof().parts)
    ('proved', 2)
    """
    ring = Ring(["i", "D"])
    i, depth = ring.symbol("i"), ring.symbol("D")
    return conjunction(
        "the closed form balances every pair of layers, has the product V, and is the only one",
        [_existence(i, depth, ring.constant(1)), _uniqueness(i, depth, ring.constant(1))],
        how="words with symbolic depth, layer and sizes; exact exponents",
        reference=_REFERENCE,
    )


def _scales(depth: Element, one: Element) -> tuple[Word, Word, Any]:
    """Return alpha = sqrt(a/t), beta = sqrt(b/t), and powers of c = (t/sqrt(ab))^(1/D)."""
    half = one / 2
    alpha = Word({"a": half, "t": -half})
    beta = Word({"b": half, "t": -half})

    def c(power: Any) -> Word:
        each = one * power / depth
        return Word({"t": each, "a": -each / 2, "b": -each / 2})

    return alpha, beta, c


_ORTHONORMAL = {
    ("U'", "U"): Word({}),
    ("U+'", "U+"): Word({}),
    ("L'", "L"): Word({}),
    ("R", "R'"): Word({}),
    ("D", "D"): Word({}, ("S",)),
}


def _existence(i: Element, depth: Element, one: Element) -> Verdict:
    alpha, beta, c = _scales(depth, one)

    def inner(n: Any, frame: str = "U") -> Word:
        return alpha * c(n) * Word({}, (frame, "D", "R"))

    def outer(n: Any, frame: str = "U") -> Word:
        return beta * c(depth - n) * Word({}, ("L", "D", frame + "'"))

    def square(word: Word) -> Word:
        return word.reduced(_ORTHONORMAL)

    layer = c(1) * Word({}, ("U+", "U'"))
    lower = square(outer(i + 1) * outer(i + 1).T).trace(_ORTHONORMAL) * square(
        inner(i) * inner(i).T
    )
    upper = square(inner(i - 1) * inner(i - 1).T).trace(_ORTHONORMAL) * square(
        outer(i).T * outer(i)
    )
    first, last = Word({"a": 1}), Word({"b": 1})
    steps = [
        ("inner",
         "W_{i+1} A_i = A_{i+1}: A_i = sqrt(a/t) c^i U_i S^(1/2) R for i = 1 ... D-1",
         square(layer * inner(i)).equals(inner(i + 1, "U+"))),
        ("outer",
         "B_{i+1} W_{i+1} = B_i: B_i = sqrt(b/t) c^(D-i) L S^(1/2) U_i^T for i = 1 ... D-1",
         square(outer(i + 1, "U+") * layer).equals(outer(i))),
        ("ends", "Tr A_0 A_0^T = a and Tr B_D B_D^T = b have the same form",
         square(inner(0 * i) * inner(0 * i).T).trace(_ORTHONORMAL).equals(first)
         and square(outer(depth) * outer(depth).T).trace(_ORTHONORMAL).equals(last)),
        ("balance",
         "Tr[B_{i+1} B_{i+1}^T] A_i A_i^T = Tr[A_{i-1} A_{i-1}^T] B_i^T B_i, i = 1 ... D-1",
         lower.equals(upper)),
        ("product", "B_i A_i = L S R, the product",
         square(outer(i) * inner(i)).equals(Word({}, ("L", "S", "R")))),
    ]  # fmt: skip
    return conjunction(
        "the closed form balances every pair and has the product V",
        [_step(*step) for step in steps],
        assumptions=("U_i^T U_i = 1, L^T L = 1, R R^T = 1, S diagonal and positive",),
    )


def _uniqueness(i: Element, depth: Element, one: Element) -> Verdict:
    alpha, _, c = _scales(depth, one)
    product = {("B", "A"): Word({}, ("V",)), ("A'", "B'"): Word({}, ("V'",))}
    forward = {("A", "A'"): Word({"k": one}, ("B'", "B"))} | product
    backward = {("B'", "B"): Word({"k": -one}, ("A", "A'"))} | product
    a_word, b_word = Word({}, ("A'", "A")), Word({}, ("B", "B'"))

    def root(n: Any) -> Word:
        """Return sqrt(k_n) = (a/t)^(1 - n/D) (t/b)^(n/D)."""
        part = one * n / depth
        return Word({"a": one - part, "t": part - one}) * Word({"t": part, "b": -part})

    closed = alpha * alpha * c(2 * i)
    steps = [
        ("left root", "A A^T = k B^T B and B A = V' give (A^T A)^2 = k V'^T V'",
         (a_word * a_word).reduced(forward).equals(Word({"k": one}, ("V'", "V")))),
        ("right root", "and (B B^T)^2 = V' V'^T / k",
         (b_word * b_word).reduced(backward).equals(Word({"k": -one}, ("V", "V'")))),
        ("affine", "with Tr A_i^T A_i = sqrt(k_i) t, Tr B_i B_i^T = t/sqrt(k_i), the balance is "
         "k_i = sqrt(k_{i-1} k_{i+1}); ln k_i affine in i solves it",
         (root(i) * root(i)).equals(root(i - 1) * root(i + 1))),
        ("ends of k", "with the ends sqrt(k_0) = a/t, sqrt(k_D) = t/b",
         root(0 * i).equals(Word({"a": 1, "t": -1}))
         and root(depth).equals(Word({"t": 1, "b": -1}))),
        ("closed", "this is the closed form: k_i = (a/t)^2 c^(4i)", root(i).equals(closed)),
    ]  # fmt: skip
    return conjunction(
        "every balanced net with the product V is the closed form, up to rotations of hidden bases",
        [_step(*step) for step in steps],
        assumptions=(
            "cited: a positive semidefinite matrix has one positive semidefinite root, so "
            "A^T A = sqrt(k) (V'^T V')^(1/2) and B B^T = (V' V'^T)^(1/2)/sqrt(k)",
            "cited: a sequence without second differences is given by its two ends",
            "cited: A^T A determines A up to orthonormal columns (polar decomposition); hidden "
            "units outside their span carry no output and stay as they are at gamma = 0",
        ),
    )


def _step(name: str, claim: str, holds: bool) -> Verdict:
    how = "exact identity of words"
    if not holds:
        return Verdict(Status.REFUTED, claim, how=how, residual=1)
    return prove(claim, NormalForm(how, ring="words in letters"), relation(name), residual=0)
