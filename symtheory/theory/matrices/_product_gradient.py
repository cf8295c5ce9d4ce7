"""Peel factors off a gradient: grad_U = G W^T and G = 2 r x^T, read from the terms themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from flint import fmpq

from symtheory.domains.tensors import Indexed, Tensor, einsum, unfolded
from symtheory.domains.tensors._terms import normal_term


@dataclasses.dataclass(frozen=True)
class Peeled:
    """value = rest with its axis contracted with (or, for a vector, multiplied by) a tensor.

    Attributes:
        tensor: The tensor that stood on the axis in every term.
        position: Which of its axes that was.
        rest: What is left; its axis is then the tensor's other one (gone for a vector).
    """

    tensor: Tensor
    position: int
    rest: Indexed

    def restored(self, rest: Indexed, axis: int) -> Indexed:
        """Multiply the tensor back on."""
        names = list(range(len(rest.sizes)))
        if len(self.tensor.sizes) == 1:
            names = [n + (n >= axis) for n in names]
            out = [*names[:axis], axis, *names[axis:]]
            return einsum([(rest, names), (Indexed.of(self.tensor), [axis])], out)
        ends: list[object] = ["new", axis] if self.position == 0 else [axis, "new"]
        out_names: list[object] = ["new" if n == axis else n for n in names]
        return einsum([(rest, names), (Indexed.of(self.tensor), ends)], out_names)


def peel(value: Indexed, axis: int, allowed: Callable[[Tensor], bool]) -> Peeled | None:
    """Take off the tensor that stands on an axis in every term, None if there is no such one."""
    found: tuple[Tensor, int] | None = None
    out: dict[object, fmpq] = {}
    n = len(value.sizes)
    sizes_out = value.sizes
    for term, c in value.terms.items():
        if any(axis in pair for pair in term.deltas):
            return None
        factors, sizes = unfolded(term, value.sizes)
        here = [(k, labels) for k, (_, labels) in enumerate(factors) if axis in labels]
        if len(here) != 1 or here[0][1].count(axis) != 1:
            return None
        [(k, labels)] = here
        tensor, position = factors[k][0], labels.index(axis)
        if tensor.symmetric:
            position = 0
        if not allowed(tensor) or len(labels) > 2 or found not in (None, (tensor, position)):
            return None
        found = (tensor, position)
        rest = [*factors[:k], *factors[k + 1 :]]
        axes = list(range(n))
        if len(labels) == 1:
            axes.remove(axis)
            del sizes[axis]
            sizes_out = (*value.sizes[:axis], *value.sizes[axis + 1 :])
        else:
            other = labels[1 - labels.index(axis)]
            if other >= 0:
                return None
            axes[axis] = other
            del sizes[axis]
            sizes_out = tuple(sizes[a] for a in axes)
        number, result = normal_term(rest, term.deltas, axes, sizes, dict(term.powers))
        out[result] = out.get(result, fmpq(0)) + c * number
    if found is None:
        return None
    return Peeled(*found, Indexed(sizes_out, out))  # type: ignore[arg-type]


def peel_all(value: Indexed, allowed: Callable[[Tensor], bool]) -> tuple[list[Tensor], Indexed]:
    """Peel every axis of a matrix as long as all terms agree on what stands there."""
    taken: list[Tensor] = []
    going = True
    while going:
        going = False
        for axis in range(len(value.sizes)):
            peeled = peel(value, axis, allowed)
            if peeled is not None and len(peeled.tensor.sizes) == 2:
                value, going = peeled.rest, True
                taken.append(peeled.tensor)
    return taken, value


def solve_for(value: Indexed, candidates: Sequence[Tensor]) -> tuple[Tensor, Indexed] | None:
    """Solve value = 0 for a tensor that occurs in it once, alone: return it and what it equals."""
    axes = tuple(range(len(value.sizes)))
    for tensor in candidates:
        if tensor.symmetric or len(tensor.sizes) != len(axes):
            continue
        for order in {axes, axes[::-1]}:
            if tuple(value.sizes[a] for a in order) != tensor.sizes:
                continue
            alone = einsum([(Indexed.of(tensor), order)], axes)
            [(term, one)] = alone.terms.items()
            c = value.terms.get(term)
            rest = value - alone.scaled(c or 0)
            if c is not None and one == 1 and tensor not in rest.tensors:
                solution = rest.scaled(-1 / c)
                return tensor, einsum([(solution, axes)], order)
    return None
