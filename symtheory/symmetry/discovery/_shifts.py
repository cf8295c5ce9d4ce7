"""Prove shifts along an axis at any size: what a common term does on its way through the loss.

Let a leaf change to W + T, where T is any array that is constant along one axis (and may depend on
everything else). Every intermediate value then changes to v + c T' or to v exp(c T') for some T'
that follows from T, or not at all; T' and c are followed through the loss, operation by operation.
In x - mean(x), x - max(x) or log(sum(exp(x))) - x_k the terms cancel. Where the loss comes out
unchanged, all these shifts are symmetries, those by multiples of other parameters included.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from symtheory.symmetry.discovery._shift_rules import Change, NotFollowedError, Rules, fixed


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
    loss: ClosedJaxpr, leaves: int, places: Sequence[tuple[int, int]],
    sums: Mapping[int, Mapping[int, Fraction]],
) -> Cancelled | None:  # fmt: skip
    """Prove that adding terms constant along axes leaves the loss unchanged; None if not proved.

    Args:
        loss: The loss, traced; its first arguments are the leaves.
        leaves: How many leaves there are.
        places: (leaf, axis) of what is shifted, every leaf by a term of its own; axis -1 for any
            change of the leaf.
        sums: By argument and axis, what its entries along that axis sum to, where that is known.

    >>> import jax.numpy as jnp
    >>> import jax
    >>> struct = jax.ShapeDtypeStruct((3,), float)
    >>> loss = jax.make_jaxpr(lambda x: -jax.nn.log_softmax(x)[1])(struct)
    >>> cancelled(loss, 1, [(0, 0)], {}).logit
    True
    >>> cancelled(jax.make_jaxpr(lambda x: jnp.sum(x))(struct), 1, [(0, 0)], {}) is None
    True
    """
    rules = Rules()
    arguments = []
    for k, variable in enumerate(loss.jaxpr.invars):
        shape = tuple(variable.aval.shape)
        axes = {axis for leaf, axis in places if leaf == k}
        if k < leaves and axes:
            varying = [axis for axis in range(len(shape)) if axis not in axes]
            arguments.append(rules.new(("leaf", k), "sum", varying, shape))
        else:
            arguments.append(dataclasses.replace(fixed(shape), sums=dict(sums.get(k, {}))))
    try:
        constants = [fixed(np.shape(value)) for value in loss.consts]
        [out] = _walk(loss.jaxpr, constants, arguments, rules)
    except NotFollowedError:
        return None
    if out.kind:
        return None
    return Cancelled(rules.exponentials > 0 and not rules.others, rules.met)


_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_CALLS = frozenset({
    "jit", "pjit", "closed_call", "remat", "remat2", "checkpoint", "custom_jvp_call",
    "custom_vjp_call",
})  # fmt: skip


def _walk(
    jaxpr: Any, constants: Sequence[Change], arguments: Sequence[Change], rules: Rules
) -> list[Change]:
    values: dict[Any, Change] = {}
    values.update(zip(jaxpr.constvars, constants, strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))

    def look_up(atom: Any) -> Change:
        if isinstance(atom, Literal):
            return dataclasses.replace(fixed(np.shape(atom.val)), number=atom.val)
        return values[atom]

    for equation in jaxpr.eqns:
        inputs = [look_up(atom) for atom in equation.invars]
        shapes = [tuple(variable.aval.shape) for variable in equation.outvars]
        name, params = equation.primitive.name, equation.params
        body = next((params[key] for key in _BODIES if key in params), None)
        if name in _CALLS and body is not None:
            closed = body if isinstance(body, ClosedJaxpr) else None
            inner = closed.jaxpr if closed else body
            held = [fixed(np.shape(value)) for value in closed.consts] if closed else []
            outputs = _walk(inner, held, inputs, rules)
        else:
            types = [variable.aval.dtype for variable in equation.outvars]
            outputs = rules.apply(name, params, inputs, shapes, types)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [look_up(atom) for atom in jaxpr.outvars]
