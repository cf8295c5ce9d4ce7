"""Decide whether a loss has a symmetry: refute at a rational point, or prove in normal form."""

from __future__ import annotations

from typing import Any

from symtheory.errors import BudgetError, PrimitiveError, UnreadableError
from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.readable import require_readable
from symtheory.symmetry._arguments import exact_arguments as exact_arguments
from symtheory.symmetry._evaluated import symmetry_claim
from symtheory.symmetry._generator import read_generator
from symtheory.symmetry._inferred_span import INFERRED, family_is_inferred
from symtheory.symmetry._proof import prove_by_degrees, prove_by_normal_form
from symtheory.symmetry._refutation import refute
from symtheory.symmetry._symmetry import Exponential
from symtheory.symmetry.mirrors._reflection import Reflection, verify_reflection
from symtheory.verdict import Certificate, Derivation, NormalForm, Status, Verdict, prove

_REFERENCE = "arXiv 2402.07193, exponential symmetry"


def verify(
    model: Model,
    symmetry: Exponential | Reflection,
    *,
    seconds: float | None = 60.0,
    seed: int = 0,
) -> Verdict:
    """Decide whether the per-sample loss is invariant: grad l(theta; z) . (A theta + b) = 0.

    First the derivative along the generator, and the change under exp(A), are enclosed at random
    rational points of theta, z (in the support of its law), unbound constants and members of the
    family: an enclosure that excludes zero refutes. Then invariance is proved for all of them at
    once, by degrees of homogeneity for diagonal generators and otherwise in the normal form of an
    exact ring, for the loss itself as well as for the gradient that JAX takes of it.

    Args:
        model: A model with all sizes bound; named covariances may stay symbolic, constants too.
        symmetry: The symmetry claimed; a `Reflection` is verified as l(theta) = l(reflected theta).
        seconds: Time limit; when it is reached the verdict is `inconclusive`.
        seed: Seed of the random rational points.

    Returns:
        A `Verdict`: `proved`, `refuted` (with a witness) or `inconclusive`.

    Raises:
        InputError: The action is not linear or does not fit the model; a size is not bound; the
            loss cannot be read (it draws random numbers, has no gradient, is nowhere finite).
        PrimitiveError: The loss uses a primitive that the exact domains cannot read.

    Source: arXiv 2402.07193, section on exponential symmetries.

    >>> from symtheory.data import Normal
    >>> model = Model(lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2, {"u": (), "w": ()},
    ...               random={"y": Normal(())})
    >>> str(verify(model, Exponential(lambda p: {"u": p["u"], "w": -p["w"]})).status)
    'proved'
    >>> str(verify(model, Exponential(lambda p: {"u": p["u"], "w": 0 * p["w"]})).status)
    'refuted'
    """
    require_readable(model)
    if isinstance(symmetry, Reflection):
        return verify_reflection(model, symmetry, seconds=seconds, seed=seed)
    generator = read_generator(model, symmetry)
    name = symmetry.name or "the given generator"
    claim = f"the loss of {model.name} is invariant under {name}: grad l . (A theta + b) = 0"
    deadline = Deadline(seconds)

    def verdict(status: Status, how: str, **fields: Any) -> Verdict:
        return Verdict(status, claim, how=how, reference=_REFERENCE, **fields)

    def proved(certificate: Certificate) -> Verdict:
        recheck = symmetry_claim(model, symmetry, seed)
        return prove(claim, certificate, recheck, residual=0, reference=_REFERENCE)

    try:
        witness = refute(model, symmetry, generator, seed, deadline)
        if witness is not None:
            return verdict(
                Status.REFUTED,
                "rigorous enclosure at a rational point excludes 0",
                witness=witness,
                residual=list(witness.values())[-1],
            )
        if generator.is_diagonal and not generator.shift:
            homogeneous = prove_by_degrees(model, generator, deadline)
            if homogeneous:
                return proved(Derivation(homogeneous, ("degrees of homogeneity",)))
        if family_is_inferred(model, generator):
            return proved(Derivation(INFERRED, ("inference over the core operations",)))
        how, missing = prove_by_normal_form(model, symmetry, deadline)
        if missing is None:
            return proved(NormalForm(how, ring="Q(theta, z)"))
        return verdict(Status.INCONCLUSIVE, f"zero at random rational points, but {missing}")
    except BudgetError as error:
        return verdict(Status.INCONCLUSIVE, f"not refuted at random rational points; {error}")
    except PrimitiveError:
        raise
    except UnreadableError as error:
        return verdict(Status.INCONCLUSIVE, str(error))
