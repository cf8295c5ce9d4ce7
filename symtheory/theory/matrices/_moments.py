"""Expectations at symbolic sizes: sums over partitions into cumulants (Wick pairing and beyond)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import comb
from typing import Any

from symtheory import shapes
from symtheory.data import Empirical, Law, Normal
from symtheory.domains.tensors import Indexed, Tensor, einsum, unfolded
from symtheory.errors import UnreadableError
from symtheory.exact import rational


def sample_tensors(laws: Mapping[str, Law]) -> dict[Tensor, Law]:
    """Return the random arrays as tensors, with their laws.

    Raises:
        UnreadableError: The data are rows of a data set, whose moments are numbers.
    """
    out = {}
    for name, law in laws.items():
        if isinstance(law, Empirical):
            raise UnreadableError(
                "the moments of a data set are numbers, not formulas at symbolic sizes; bind all "
                "sizes for the law at these data"
            )
        out[Tensor("sample", name, shapes.as_shape(law.shape))] = law
    return out


def expectation(value: Indexed, laws: Mapping[Tensor, Law]) -> Indexed:
    """Return E[value] over independent random tensors, exactly and for all sizes.

    For Gaussian tensors this is Wick pairing (Isserlis' theorem) with means; for independent
    entries of another law the higher cumulants join equal indices.

    Args:
        value: A polynomial in the random tensors.
        laws: The law of each random tensor.

    Raises:
        UnreadableError: A mean or covariance is an array of numbers while sizes are symbolic.
    """
    total = Indexed(value.sizes)
    axes = range(len(value.sizes))
    for term, c in value.terms.items():
        factors, sizes = unfolded(term, value.sizes)
        kept = [(Indexed.of(t), labels) for t, labels in factors if t not in laws]
        rest = Indexed(value.sizes, {term._replace(components=()): c})
        alternatives = [
            list(_moments(tensor, law, [labels for t, labels in factors if t == tensor]))
            for tensor, law in laws.items()
        ]
        for choice in _products(alternatives):
            operands = [(rest, axes), *kept, *(operand for part in choice for operand in part)]
            total = total + einsum(operands, axes, sizes)
    return total


Operand = tuple[Indexed, Sequence[int]]


def _products(alternatives: list[list[list[Operand]]]) -> Iterator[list[list[Operand]]]:
    if not alternatives:
        yield []
        return
    for rest in _products(alternatives[1:]):
        for first in alternatives[0]:
            yield [first, *rest]


def _moments(tensor: Tensor, law: Law, places: list[tuple[int, ...]]) -> Iterator[list[Operand]]:
    """Yield the terms of E[product of the tensor at these places], one per partition."""
    if not places:
        yield []
        return
    first, *others = places
    for block, rest in _blocks(others):
        cumulant = _cumulant(tensor, law, [first, *block])
        if cumulant is not None:
            for tail in _moments(tensor, law, rest):
                yield [*cumulant, *tail]


def _blocks(items: list[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """Yield the ways to split a list in two."""
    for mask in range(1 << len(items)):
        yield (
            [x for i, x in enumerate(items) if mask >> i & 1],
            [x for i, x in enumerate(items) if not mask >> i & 1],
        )


def _cumulant(tensor: Tensor, law: Law, places: list[tuple[int, ...]]) -> list[Operand] | None:
    """Return a joint cumulant of entries as operands, None if it vanishes."""
    if isinstance(law, Normal):
        if len(places) > 2:
            return None
        if len(places) == 1:
            return _mean(tensor, law, places[0])
        if isinstance(law.cov, str):
            if len(tensor.sizes) > 1:
                raise UnreadableError(
                    f"the covariance {law.cov!r} mixes the axes of {tensor.name!r}, which has the "
                    f"shape {tensor.sizes}; the indices domain reads covariances of vectors and "
                    "independent entries; bind all sizes for the entry-by-entry law"
                )
            covariance = Tensor("moment", law.cov, tensor.sizes * 2, symmetric=bool(tensor.sizes))
            return [(Indexed.of(covariance), (*places[0], *places[1]))]
        number = Fraction(1) if law.cov is None else _number(law.cov, "covariance", tensor.name)
    else:
        number = _entry_cumulants(law, len(places))[-1]
    if number == 0:
        return None
    first = places[0]
    same = [
        (Indexed.delta(size), (a, b))
        for place in places[1:]
        for a, b, size in zip(first, place, tensor.sizes, strict=True)
    ]
    return [(Indexed.constant(number), ()), *same]


def _mean(tensor: Tensor, law: Normal, place: tuple[int, ...]) -> list[Operand] | None:
    if isinstance(law.mean, str):
        return [(Indexed.of(Tensor("moment", law.mean, tensor.sizes)), place)]
    number = _number(law.mean, "mean", tensor.name)
    return [(Indexed.constant(number), ())] if number else None


def _number(value: Any, role: str, name: str) -> Fraction:
    if getattr(value, "ndim", 0) and getattr(value, "size", 1) == 1:
        value = value.reshape(())[()]
    if getattr(value, "ndim", 0) or isinstance(value, (list, tuple)):
        raise UnreadableError(
            f"the {role} of {name!r} is an array of numbers, which the indices domain cannot "
            f"read; leave it a name, or bind all sizes for the entry-by-entry law"
        )
    return rational(value)


def _entry_cumulants(law: Law, order: int) -> tuple[Fraction, ...]:
    """Return the cumulants 1 ... order of one entry, from its moments."""
    moments = [law.moment((n,), _unnamed) for n in range(order + 1)]
    cumulants: list[Fraction] = []
    for n in range(1, order + 1):
        lower = (comb(n - 1, k - 1) * cumulants[k - 1] * moments[n - k] for k in range(1, n))
        cumulants.append(Fraction(moments[n]) - sum(lower))
    return tuple(cumulants)


def _unnamed(name: str) -> Any:
    raise UnreadableError(f"a law of independent entries has no array {name!r}")
