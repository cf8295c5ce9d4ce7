"""Whether the gradient that JAX takes of a loss is the derivative of its value."""

from __future__ import annotations

from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr

from symtheory import program


def redefines_derivatives(model: Any) -> bool:
    """Tell whether a loss (a model, or a traced one) redefines derivatives."""
    if isinstance(model, (ClosedJaxpr, Jaxpr)):
        return program.redefines_derivatives(model)
    from symtheory.symmetry._loss import loss_of

    return loss_of(model).redefines_derivatives
