"""What some tensors satisfy: P P = P for a projection, O^T O = I for an orthogonal matrix."""

from __future__ import annotations

import dataclasses

from flint import fmpq

from symtheory.domains.tensors._indexed import Indexed, unfolded
from symtheory.domains.tensors._terms import Factor, IndexTerm, Tensor, normal_term


@dataclasses.dataclass(frozen=True)
class Relation:
    """A contraction of a tensor with itself that is something shorter.

    Attributes:
        tensor: A symmetric idempotent matrix, or one with orthonormal rows and columns.
        orthogonal: Which of the two.
    """

    tensor: Tensor
    orthogonal: bool = False


def reduced(value: Indexed, relations: list[Relation]) -> Indexed:
    """Apply the relations until none applies; each application leaves fewer factors."""
    out: dict[IndexTerm, fmpq] = {}
    open_terms = list(value.terms.items())
    while open_terms:
        term, c = open_terms.pop()
        shorter = _step(term, value, relations)
        if shorter is None:
            out[term] = out.get(term, fmpq(0)) + c
        else:
            number, result = shorter
            open_terms.append((result, c * number))
    return Indexed(value.sizes, out)


def _step(
    term: IndexTerm, value: Indexed, relations: list[Relation]
) -> tuple[fmpq, IndexTerm] | None:
    factors, sizes = unfolded(term, value.sizes)
    axes = range(len(value.sizes))
    for relation in relations:
        places = [k for k, (tensor, _) in enumerate(factors) if tensor == relation.tensor]
        for i, k in enumerate(places):
            for m in places[i + 1 :]:
                found = _contracted(factors, k, m, relation.orthogonal)
                if found is None:
                    continue
                label, ends = found
                rest = [f for n, f in enumerate(factors) if n not in (k, m)]
                pairs = list(term.deltas)
                if relation.orthogonal:
                    pairs.append(ends)
                else:
                    rest.append((relation.tensor, ends))
                del sizes[label]
                return normal_term(rest, pairs, axes, sizes, dict(term.powers))
    return None


def _contracted(
    factors: list[Factor], k: int, m: int, orthogonal: bool
) -> tuple[int, tuple[int, int]] | None:
    """Return the summed label that joins two factors and nothing else, and their other ends."""
    first, second = factors[k][1], factors[m][1]
    for p, label in enumerate(first):
        if label >= 0 or second.count(label) != 1 or first.count(label) != 1:
            continue
        q = second.index(label)
        if orthogonal and p != q:
            continue
        if any(label in labels for n, (_, labels) in enumerate(factors) if n not in (k, m)):
            continue
        return label, (first[1 - p], second[1 - q])
    return None
