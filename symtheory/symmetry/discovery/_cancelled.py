"""Prove shifts along an axis: terms that are constant along it drop out of the loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction

from symtheory.domains import Changed, NotFollowedError, Shifts
from symtheory.errors import UnreadableError
from symtheory.program import Program, evaluate


@dataclasses.dataclass(frozen=True)
class Cancelled:
    """How a shift drops out of a loss.

    Attributes:
        logit: Whether it does so in a softmax or log-sum-exp, and there only.
        met: Whether it entered the loss at all.
    """

    logit: bool
    met: bool = True

    @property
    def how(self) -> str:
        """The proof in words."""
        where = "in a softmax or log-sum-exp" if self.logit else "on its way through the loss"
        return (
            f"a term common to all entries of the axis cancels {where}"
            if self.met
            else ("it does not enter the loss")
        )


def cancelled(
    loss: Program, shapes: Sequence[tuple[int, ...]], leaves: int,
    places: Sequence[tuple[int, int]], sums: Mapping[int, Mapping[int, Fraction]],
) -> Cancelled | None:  # fmt: skip
    """Prove that adding terms constant along axes leaves the loss unchanged; None if not proved.

    The terms may depend on everything else: shifts by multiples of other parameters are included.
    It takes one pass over the program, and no time limit: what was found before is not lost.

    Args:
        loss: The loss, lowered; its first arguments are the leaves.
        shapes: The shapes of its arguments.
        leaves: How many leaves there are.
        places: (leaf, axis) of what is shifted, every leaf by a term of its own; axis -1 for any
            change of the leaf.
        sums: By argument and axis, what its entries along that axis sum to, where that is known.

    >>> import jax
    >>> from symtheory.program import lower_function
    >>> struct = jax.ShapeDtypeStruct((3,), float)
    >>> prove = lambda f: cancelled(lower_function(f, struct)[0], [(3,)], 1, [(0, 0)], {})
    >>> prove(lambda x: -jax.nn.log_softmax(x)[1]).logit, prove(lambda x: x.sum())
    (True, None)
    """
    domain = Shifts()
    arguments = []
    for k, shape in enumerate(shapes):
        axes = {axis for leaf, axis in places if leaf == k}
        if k < leaves and axes:
            arguments.append(domain.shifted(shape, sorted(axes - {-1})))
        else:
            arguments.append(domain.fixed(shape, sums.get(k)))
    try:
        [out] = evaluate(loss, domain, arguments)
    except (NotFollowedError, UnreadableError):
        return None
    if isinstance(out, Changed) and out.kind:
        return None
    read = {number for operation in loss.operations for number in operation.inputs}
    met = any(loss.inputs[leaf] in read for leaf, _ in places)
    return Cancelled(domain.exponentials > 0 and not domain.others, met)
