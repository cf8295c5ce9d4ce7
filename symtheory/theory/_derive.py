"""Derive the law of a charge from the loss: for all sizes at once, or entry by entry."""

from __future__ import annotations

from symtheory.model import Model
from symtheory.readable import require_readable
from symtheory.symmetry import Exponential
from symtheory.theory._entry_derive import derive_entries
from symtheory.theory._law import Law
from symtheory.theory.matrices._derive import derive_for_all_sizes
from symtheory.theory.matrices._law import MatrixLaw


def derive(
    model: Model, symmetry: Exponential, *, seconds: float | None = 60.0, seed: int = 0
) -> Law | MatrixLaw:
    """Derive the charge of a symmetry, its drift, its exact discrete drift and its equilibrium.

    While a size of the model is still a name, the law is derived for all sizes at once, in whole
    matrices (`MatrixLaw`): this takes a loss made of sums, products, contractions and traces. With
    all sizes bound it is derived entry by entry (`Law`), for any loss that can be read: the
    symmetry is verified first, moments of the gradient noise are exact (Isserlis' theorem) where
    the loss is polynomial in the sample, and otherwise E[.] stays formal and `callable()`
    evaluates it on a pool of samples.

    Args:
        model: A model; covariances and constants may stay symbolic, and so may sizes.
        symmetry: The symmetry, or a family of them.
        seconds: Time limit for the proof and the moments, each (entry by entry).
        seed: Seed of the random points, sizes and entries that try to refute each step.

    Returns:
        A law; if the symmetry is refuted its `verdict` carries the witness and it has no charge.

    Raises:
        InputError: The action or its family does not fit the model; the loss cannot be read (it
            draws random numbers, has no gradient, is nowhere finite).
        UnreadableError: Sizes are symbolic and the loss has a primitive that the index domain
            cannot read; the message names it. Bind the sizes.

    Source: arXiv 2402.07193, sections on charges, matrix factorization and the noise equilibrium.

    >>> from symtheory.zoo import load
    >>> example = load("two-layer-linear")
    >>> law = derive(example.model, example.symmetries["double-rotation"])
    >>> print(law.charge)
    U^T U - W W^T
    >>> example = load("scalar-factor")
    >>> law = derive(example.model, example.symmetries["rescaling"])
    >>> str(law.status), law.charge.sympy()
    ('proved', u**2 - w**2)
    """
    require_readable(model)
    if any(shape is None for shape in model.unbound.values()):
        return derive_for_all_sizes(model, symmetry, seed=seed)
    return derive_entries(model, symmetry, seconds=seconds, seed=seed)
