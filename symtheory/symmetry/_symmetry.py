"""One-parameter symmetries of the parameters, and families of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from symtheory import shapes
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.symmetry._families import Family


@dataclasses.dataclass(frozen=True, eq=False)
class Exponential:
    """The transformations theta -> exp(lambda A) theta, given by the generator theta -> A theta.

    Args:
        action: `action(params)`, a linear JAX function that returns A theta as a pytree like
            `params`; or `action(params, B, ...)`, linear in the members B of the family too.
        family: The free matrices by name, in the order `action` takes them.
        name: How the symmetry is called in reports.

    Source: arXiv 2402.07193, definition of the exponential symmetry.

    >>> rescaling = Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")
    >>> rescaling.action({"u": 2.0, "w": 3.0})
    {'u': 2.0, 'w': -3.0}
    """

    action: Callable[..., Any]
    family: Mapping[str, Family] | None = None
    name: str = ""

    affine = False

    def member_shapes(self, model: Model) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the family's members for a bound model.

        Raises:
            InputError: A size of the family is not a size of the model.
        """
        return {name: space.shape(model.sizes) for name, space in (self.family or {}).items()}

    def tangent(self, params: Any, members: Mapping[str, Any]) -> Any:
        """Return A theta for the given members of the family."""
        return self.action(params, *(members[name] for name in self.family or {}))

    def check(self, model: Model) -> None:
        """Check that the action returns a pytree like the parameters of a bound model.

        Raises:
            InputError: It does not.
        """
        params, _, _ = model.structure()
        members = {
            name: jax.ShapeDtypeStruct(shape, params_dtype(params))
            for name, shape in self.member_shapes(model).items()
        }
        label = self.name or "symmetry"
        try:
            out = jax.eval_shape(self.tangent, params, members)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"the action of the {label} cannot be evaluated on the model's parameters: "
                f"{type(error).__name__}: {reason}; it takes params"
                + "".join(f", {name}" for name in members)
            ) from error
        if jax.tree.structure(out) != jax.tree.structure(params):
            raise InputError(
                f"the action of the {label} returns the structure {jax.tree.structure(out)}, but "
                f"the parameters have {jax.tree.structure(params)}; return one entry per leaf"
            )
        for (leaf, shape), got in zip(model.leaves.items(), jax.tree.leaves(out), strict=True):
            if tuple(got.shape) != shapes.fixed(shape):
                raise InputError(
                    f"the action of the {label} returns shape {tuple(got.shape)} for the "
                    f"parameter {leaf!r}, which has shape {shapes.fixed(shape)}"
                )


@dataclasses.dataclass(frozen=True, eq=False)
class Affine(Exponential):
    """The flows of theta -> A theta + b; with A = 0 the translations theta -> theta + lambda b.

    Args:
        action: An affine JAX function of the parameters.

    >>> shift = Affine(lambda p: {"logits": 1.0 + 0.0 * p["logits"]}, name="logit shift")
    >>> shift.affine
    True
    """

    affine = True


def params_dtype(params: Any) -> Any:
    """Return the floating type of a parameter pytree."""
    return jax.tree.leaves(params)[0].dtype
