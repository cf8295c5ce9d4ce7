"""Sums of products of named tensors: the values of the index domain."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flint import fmpq

from symtheory.domains._rationals import as_fmpq
from symtheory.domains.tensors._terms import ONE, Factor, IndexTerm, Tensor, normal_term
from symtheory.shapes import Size


class Indexed:
    """An array of symbolic sizes: a sum of terms with rational coefficients.

    Equal expressions are equal objects: terms are in normal form and zero has no terms.

    >>> u = Indexed.of(Tensor("param", "U", ("m", "n")))
    >>> w = Indexed.of(Tensor("param", "W", ("n", "k")))
    >>> product = einsum([(u, "ij"), (w, "jk")], "ik")
    >>> transposed = einsum([(w, "jk"), (u, "ij")], "ki")
    >>> (product - einsum([(transposed, "ki")], "ik")).is_zero
    True
    """

    __slots__ = ("sizes", "terms")

    def __init__(
        self, sizes: Sequence[Size], terms: Mapping[IndexTerm, fmpq] | None = None
    ) -> None:
        self.sizes = tuple(sizes)
        self.terms = {term: c for term, c in (terms or {}).items() if c != 0}

    @classmethod
    def of(cls, tensor: Tensor) -> Indexed:
        """Return a tensor as a value."""
        axes = tuple(range(len(tensor.sizes)))
        number, term = normal_term([(tensor, axes)], (), axes, dict(enumerate(tensor.sizes)), {})
        return cls(tensor.sizes, {term: number})

    @classmethod
    def constant(cls, value: Any, sizes: Sequence[Size] = ()) -> Indexed:
        """Return an array all of whose entries are one rational number."""
        return cls(sizes, {ONE: as_fmpq(value)})

    @classmethod
    def size(cls, name: str, power: int = 1) -> Indexed:
        """Return a power of a named size."""
        return cls((), {IndexTerm(powers=((name, power),)): fmpq(1)})

    @classmethod
    def delta(cls, size: Size) -> Indexed:
        """Return the identity matrix."""
        return cls((size, size), {IndexTerm(deltas=((0, 1),)): fmpq(1)})

    @property
    def is_zero(self) -> bool:
        """Whether the value vanishes for all sizes and all tensors."""
        return not self.terms

    @property
    def tensors(self) -> set[Tensor]:
        """The tensors that occur."""
        return {t for term in self.terms for part in term.components for t, _ in part}

    @property
    def named_sizes(self) -> set[str]:
        """The sizes with names, of the axes, of the tensors and as factors."""
        sizes = {*self.sizes, *(size for tensor in self.tensors for size in tensor.sizes)}
        powers = {name for term in self.terms for name, _ in term.powers}
        return {size for size in sizes if isinstance(size, str)} | powers

    def __add__(self, other: Indexed) -> Indexed:
        terms = dict(self.terms)
        for term, c in other.terms.items():
            terms[term] = terms.get(term, fmpq(0)) + c
        return Indexed(self.sizes, terms)

    def __neg__(self) -> Indexed:
        return self.scaled(-1)

    def __sub__(self, other: Indexed) -> Indexed:
        return self + -other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Indexed):
            return NotImplemented
        return self.sizes == other.sizes and self.terms == other.terms

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self.terms)} terms of sizes {self.sizes}>"

    def scaled(self, number: Any) -> Indexed:
        """Return a rational multiple."""
        c = as_fmpq(number)
        return Indexed(self.sizes, {term: c * value for term, value in self.terms.items()})

    def transposed(self) -> Indexed:
        """Return a matrix with its axes exchanged."""
        return einsum([(self, (0, 1))], (1, 0))

    def derivative(self, tensor: Tensor) -> Indexed:
        """Return the derivative by a tensor; its axes follow those of the value.

        The derivative by a symmetric matrix is the symmetric one: d Tr[X B] gives (X + X^T)/2.
        """
        n, m = len(self.sizes), len(tensor.sizes)
        out: dict[IndexTerm, fmpq] = {}
        new = tuple(range(n, n + m))
        orders = [new, new[::-1]] if tensor.symmetric else [new]
        for term, c in self.terms.items():
            factors, sizes = unfolded(term, self.sizes)
            sizes |= dict(zip(new, tensor.sizes, strict=True))
            for k, (found, labels) in enumerate(factors):
                if found != tensor:
                    continue
                rest = [*factors[:k], *factors[k + 1 :]]
                for order in orders:
                    pairs = [*term.deltas, *zip(labels, order, strict=True)]
                    axes = (*range(n), *new)
                    number, result = normal_term(rest, pairs, axes, sizes, dict(term.powers))
                    out[result] = out.get(result, fmpq(0)) + c * number / len(orders)
        return Indexed((*self.sizes, *tensor.sizes), out)

    def substituted(self, values: Mapping[Tensor, Indexed]) -> Indexed:
        """Replace tensors by values of the same sizes, everywhere."""
        total = Indexed(self.sizes)
        axes = tuple(range(len(self.sizes)))
        for term, c in self.terms.items():
            factors, sizes = unfolded(term, self.sizes)
            kept = [factor for factor in factors if factor[0] not in values]
            operands = [(values[t], labels) for t, labels in factors if t in values]
            product = _multiply(operands, axes, sizes, kept, term.deltas, dict(term.powers))
            total = total + product.scaled(c)
        return total


def unfolded(
    term: IndexTerm, axes: Sequence[Size], start: int = 0
) -> tuple[list[Factor], dict[int, Size]]:
    """Return the factors of a term with distinct summed labels, and the size of every label.

    Args:
        term: The term.
        axes: Sizes of the value's axes, which keep their labels 0, 1, ...
        start: Summed labels count downwards from here.
    """
    sizes: dict[int, Size] = dict(enumerate(axes))
    factors = []
    offset = start
    for part in term.components:
        lowest = 0
        for tensor, labels in part:
            shifted = tuple(i if i >= 0 else i + offset for i in labels)
            lowest = min(lowest, *labels, 0)
            factors.append((tensor, shifted))
            sizes.update(zip(shifted, tensor.sizes, strict=True))
        offset += lowest
    return factors, sizes


Labels = Sequence[Any]


def einsum(
    operands: Iterable[tuple[Indexed, Labels]], out: Labels, sizes: Mapping[Any, Size] | None = None
) -> Indexed:
    """Multiply values along named axes and sum over the names that are not in `out`.

    Args:
        operands: Values with a name for each axis; names may repeat.
        out: Names of the axes of the result.
        sizes: Sizes of names that no operand has; they are summed over too, if not in `out`.
    """
    numbers: dict[Any, int] = {}
    known: dict[int, Size] = {}

    def number(name: Any, size: Size | None) -> int:
        label = numbers.setdefault(name, len(numbers))
        if size is not None:
            known[label] = size
        return label

    labelled = [
        (value, tuple(number(n, s) for n, s in zip(names, value.sizes, strict=True)))
        for value, names in operands
    ]
    for name, size in (sizes or {}).items():
        if name not in numbers or numbers[name] not in known:
            number(name, size)
    axes = tuple(number(n, None) for n in out)
    return _multiply(labelled, axes, known, (), (), {})


def _multiply(
    operands: Sequence[tuple[Indexed, tuple[int, ...]]],
    axes: tuple[int, ...],
    sizes: Mapping[int, Size],
    factors: Sequence[Factor],
    deltas: Sequence[tuple[int, int]],
    powers: Mapping[str, int],
) -> Indexed:
    """Multiply values, and a product that is given, and sum over all labels but `axes`."""
    out: dict[IndexTerm, fmpq] = {}
    below = min([0, *sizes, *(i for _, labels in operands for i in labels)])
    for choice in itertools.product(*(value.terms.items() for value, _ in operands)):
        all_factors, pairs = list(factors), list(deltas)
        all_sizes, exponents = dict(sizes), dict(powers)
        coefficient, start = fmpq(1), below
        for (value, labels), (term, c) in zip(operands, choice, strict=True):
            coefficient *= c
            found, known = unfolded(term, value.sizes, start)
            start = min(start, *known, 0) if known else start
            place = dict(enumerate(labels))
            all_factors += [(t, tuple(place.get(i, i) for i in idx)) for t, idx in found]
            pairs += [(place[a], place[b]) for a, b in term.deltas]
            all_sizes |= {place.get(i, i): size for i, size in known.items()}
            for name, n in term.powers:
                exponents[name] = exponents.get(name, 0) + n
        number, term = normal_term(all_factors, pairs, axes, all_sizes, exponents)
        out[term] = out.get(term, fmpq(0)) + coefficient * number
    return Indexed(tuple(sizes[a] if a in sizes else _size(operands, a) for a in axes), out)


def _size(operands: Sequence[tuple[Indexed, tuple[int, ...]]], label: int) -> Size:
    return next(value.sizes[labels.index(label)] for value, labels in operands if label in labels)
