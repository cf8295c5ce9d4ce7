"""Derive a law for all sizes at once, in the index domain."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection, Mapping
from typing import Any

import jax
import sympy

from symtheory import shapes
from symtheory.data import Law as DataLaw
from symtheory.domains.tensors import Indexed, Tensor, einsum, read_indexed, vanishes_at_random
from symtheory.errors import InputError, UnreadableError
from symtheory.model import Model
from symtheory.symmetry import Affine, Exponential, verify
from symtheory.theory._evaluated import (
    invariance_for_sizes,
    matrix_moments_claim,
    size_names,
    step_for_sizes,
)
from symtheory.theory._settings import settings_symbols
from symtheory.theory.matrices._expression import TensorExpression
from symtheory.theory.matrices._law import MatrixEquilibrium, MatrixLaw
from symtheory.theory.matrices._moments import expectation, sample_tensors
from symtheory.theory.matrices._noise import ProductNoise, fresh, product_noise
from symtheory.verdict import (
    Claim,
    Identity,
    Moments,
    Status,
    Unchecked,
    Verdict,
    conjunction,
    prove,
)

_ASSUMPTIONS = (
    "samples are independent and have the stated law",
    "minibatch of S samples with replacement, loss L + gamma |theta|^2",
)
_HOW = "index normal form, for all sizes; also zero mod a prime at random sizes and entries"


def derive_for_all_sizes(model: Model, symmetry: Exponential, *, seed: int = 0) -> MatrixLaw:
    """Derive the law of a (matrix) charge with sizes left symbolic.

    Args:
        model: A model whose loss is made of sums, products, contractions and traces.
        symmetry: A symmetry, or a family of them over one matrix or vector.
        seed: Seed of the random sizes and entries that try to refute each identity.

    Raises:
        InputError: The symmetry has several families, is affine or does not fit the model.
        UnreadableError: The loss is not a polynomial in its arrays; the message names the
            primitive. Bind all sizes for the entry-by-entry derivation.
    """
    name = symmetry.name or "the given symmetry"
    if isinstance(symmetry, Affine) or len(symmetry.family or {}) > 1:
        raise InputError(
            f"laws at symbolic sizes are for linear generators with at most one family; bind all "
            f"sizes of {model.name} to derive the law of {name}"
        )
    try:
        reading = _read(model, symmetry)
    except UnreadableError as error:
        sizes = [size for size, shape in model.unbound.items() if shape is None]
        given = ", ".join(f"{size}=..." for size in sizes)
        raise UnreadableError(
            f"{error}. At fixed sizes the law can be derived entry by entry: model.bind({given})"
        ) from error
    invariance = reading.pairing(reading.gradients)
    proof = _identity(
        f"the loss of {model.name} is invariant under {name}: grad l . A theta = 0",
        invariance, seed, invariance_for_sizes(model, symmetry), size_names(model),
        reference="arXiv 2402.07193, exponential symmetry",
    )  # fmt: skip
    if proof.status is not Status.PROVED and invariance.is_zero:
        return MatrixLaw(model, symmetry, name, conjunction(f"law of {name}", [proof]))
    if not invariance.is_zero:
        refuted = _refuted_at_some_size(model, symmetry, seed)
        return MatrixLaw(model, symmetry, name, conjunction(f"law of {name}", [refuted]))
    probes = {t: Indexed.of(t._replace(kind="probe")) for t in reading.params}
    symmetric = reading.pairing(probes) - reading.swapped_pairing(probes)
    if not symmetric.is_zero:
        how = "its matrix A is not symmetric, so theta^T A theta is not its charge"
        none = Verdict(Status.NOT_APPLICABLE, f"{name} has a charge", how=how)
        return MatrixLaw(model, symmetry, name, none)
    return _law(model, symmetry, name, reading, proof, seed)


@dataclasses.dataclass(frozen=True)
class _Reading:
    """A loss and a generator in the index domain.

    Attributes:
        params: The parameters.
        names: Kind and user's name of each tensor.
        laws: The random tensors and their laws.
        gradients: The per-sample gradient, by parameter.
        tangents: A theta, by parameter.
        member: The free array of the family, if there is one.
    """

    params: tuple[Tensor, ...]
    names: dict[Tensor, tuple[str, str]]
    laws: dict[Tensor, DataLaw]
    gradients: dict[Tensor, Indexed]
    tangents: dict[Tensor, Indexed]
    member: Tensor | None

    def pairing(self, left: Mapping[Tensor, Indexed], right: Any = None) -> Indexed:
        """Return <left, A right> as a matrix over the family; right is theta unless given."""
        total = Indexed(())
        for tensor, tangent in self.tangents.items():
            moved = tangent if right is None else tangent.substituted(right)
            axes = range(len(tensor.sizes))
            total = total + einsum([(left[tensor], axes), (moved, axes)], ())
        return total if self.member is None else total.derivative(self.member)

    def swapped_pairing(self, probes: Mapping[Tensor, Indexed]) -> Indexed:
        """Return <theta, A probes>."""
        return self.pairing({t: Indexed.of(t) for t in self.params}, probes)

    def quadratic(self, at: Mapping[Tensor, Indexed]) -> Indexed:
        """Return Q(v) = v^T A v, as a matrix over the family."""
        return self.pairing(at, at)


def _read(model: Model, symmetry: Exponential) -> _Reading:
    # Means and covariances keep their names; what else has one of those is shown with a prime.
    taken = {name for law in model.laws.values() for name in law.arrays}
    taken |= {size for size, shape in model.unbound.items() if shape is None}
    names: dict[Tensor, tuple[str, str]] = {}

    def shown(name: str, others: Collection[str] = ()) -> str:
        taken.add(unique := fresh(name, taken.union(others)))
        return unique

    constants = {n: Tensor("constant", shown(n), shape) for n, shape in model.constants.items()}
    names |= {t: ("constant", n) for n, t in constants.items()}
    drawn = sample_tensors(model.laws)
    settings = {symbol.name for symbol in settings_symbols(()).values()}
    samples = {t.name: t._replace(name=shown(t.name, settings)) for t in drawn}
    laws = {samples[t.name]: law for t, law in drawn.items()}
    params = []
    for leaf, shape in model.leaves.items():
        params.append(Tensor("param", shown(leaf or "theta"), shape))
        names[params[-1]] = ("param", leaf)
    for law in model.laws.values():
        for array, shape in law.arrays.items():
            symmetric = array == getattr(law, "cov", None) and len(shape) == 2
            names[Tensor("moment", array, shape, symmetric)] = ("moment", array)

    def shape_tree(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        return {name: tensor.sizes for name, tensor in tensors.items()}

    structure = jax.tree.structure(shapes.map_tree(lambda _: 0, model.params))
    theta = jax.tree.unflatten(structure, [Indexed.of(t) for t in params])
    loss = read_indexed(
        lambda p, z, c: model.evaluate(p, z, c),
        [model.params, shape_tree(samples), shape_tree(constants)],
        [theta, *({n: Indexed.of(t) for n, t in ts.items()} for ts in (samples, constants))],
        differentiated=True,
    )
    if loss.sizes:
        raise InputError(f"the loss must return a scalar per sample, but it has axes {loss.sizes}")
    member, arguments = None, []
    for family, space in (symmetry.family or {}).items():
        member = Tensor("family", family, space.sizes, space.symmetric)
        arguments = [member]
    tangent = _read_action(model, symmetry, params, theta, arguments)
    return _Reading(
        tuple(params), names, laws, {t: loss.derivative(t) for t in params}, tangent, member
    )


def _read_action(
    model: Model, symmetry: Exponential, params: list[Tensor], theta: Any, members: list[Tensor]
) -> dict[Tensor, Indexed]:
    label = symmetry.name or "symmetry"
    families = dict.fromkeys(symmetry.family or {})
    try:
        out = read_indexed(
            lambda p, *m: symmetry.tangent(p, dict(zip(families, m, strict=True))),
            [model.params, *(t.sizes for t in members)],
            [theta, *(Indexed.of(t) for t in members)],
        )
    except UnreadableError:
        raise
    except InputError as error:
        fit = "".join(f", and the family has shape {t.sizes}" for t in members)
        raise InputError(
            f"the action of the {label} cannot be evaluated on the parameters {model.leaves}{fit}: "
            f"{error}"
        ) from error
    leaves = jax.tree.leaves(out)
    if len(leaves) != len(params) or jax.tree.structure(out) != jax.tree.structure(theta):
        raise InputError(
            f"the action of the {label} returns {len(leaves)} leaves, but the model has "
            f"{len(params)}; return one entry per leaf"
        )
    for tensor, value in zip(params, leaves, strict=True):
        if value.sizes != tensor.sizes:
            raise InputError(
                f"the action of the {label} returns shape {value.sizes} for the parameter "
                f"{tensor.name!r}, which has shape {tensor.sizes}"
            )
    tangents = dict(zip(params, leaves, strict=True))
    scaled = {t: Indexed.of(t).scaled(2) for t in params}
    if any(v.substituted(scaled) != v.scaled(2) for v in tangents.values()):
        raise InputError(f"the action of the {label} is not linear in the parameters")
    if members:
        doubled = {members[0]: Indexed.of(members[0]).scaled(2)}
        if any(v.substituted(doubled) != v.scaled(2) for v in tangents.values()):
            raise InputError(f"the action of the {label} is not linear in {members[0].name}")
    return tangents


def _identity(
    claim: str, residual: Indexed, seed: int, recheck: Claim, sizes: list[str], **fields: Any
) -> Verdict:
    """Return the verdict on residual = 0, decided twice: in normal form and at random entries."""
    if not vanishes_at_random(residual, seed):
        how = "not zero mod a prime at random entries"
        return Verdict(Status.REFUTED, claim, how=how, residual=str(residual), **fields)
    if residual.is_zero:
        return prove(claim, Identity(_HOW, tuple(sizes)), recheck, residual=0, **fields)
    # Identities of the sizes that are numbers (1, say) have no normal form.
    how = "zero at random entries, but not in normal form; bind all sizes"
    return Verdict(Status.INCONCLUSIVE, claim, how=how, **fields)


def _refuted_at_some_size(model: Model, symmetry: Exponential, seed: int) -> Verdict:
    """Return a witness; a symmetry at the sizes that were tried is none for all sizes."""
    rng = random.Random(seed)
    sizes = [size for size, shape in model.unbound.items() if shape is None]
    tried = []
    for least in (2, 4):
        tried.append({size: rng.randint(least, least + 1) for size in sizes})
        verdict = verify(model.bind(**tried[-1]), symmetry, seed=seed)
        if verdict.status is Status.REFUTED:
            return verdict
    how = f"the index normal form does not vanish, but no witness was found at the sizes {tried}"
    return Verdict(Status.INCONCLUSIVE, verdict.claim, how=how)


def _law(
    model: Model,
    symmetry: Exponential,
    name: str,
    reading: _Reading,
    proof: Verdict,
    seed: int,
) -> MatrixLaw:
    theta = {t: Indexed.of(t) for t in reading.params}
    settings = settings_symbols(
        [*model.leaves, *model.constants, *model.unbound, *(symmetry.family or {})]
    )
    eta, size, gamma, beta, _ = settings.values()
    charge = reading.quadratic(theta)
    squares = reading.quadratic(reading.gradients)
    moved = {t: theta[t] + reading.gradients[t] for t in reading.params}
    step = _identity(
        "C(theta - eta g) = C(theta) + eta^2 g^T A g: the charge feels no first-order noise",
        reading.quadratic(moved) - charge - squares, seed, step_for_sizes(model, symmetry),
        size_names(model),
    )  # fmt: skip
    mean = {t: expectation(g, reading.laws) for t, g in reading.gradients.items()}
    of_mean = reading.quadratic(mean)
    noise = expectation(squares, reading.laws) - of_mean

    def make(*terms: tuple[Any, Indexed]) -> TensorExpression:
        return TensorExpression(terms, model, reading.names, settings)

    one = sympy.Integer(1)
    moments = prove(
        "E[g^T A g] in closed form for all sizes",
        Moments(
            "Wick pairing (Isserlis' theorem) in the index domain",
            tuple(f"{name}: {type(law).__name__}" for name, law in model.laws.items()),
        ),
        matrix_moments_claim(model, symmetry, make((one, of_mean), (one, noise)).value),
    )
    parts = [proof, step, moments]
    product = product_noise(
        reading.gradients, reading.laws, reading.tangents, reading.quadratic, noise
    )
    if product is not None:
        # The sum they make up, E[g^T A g], is evaluated just above.
        whole = Unchecked("a rewriting of E[g^T A g], which is evaluated as a whole")
        parts += [
            _identity(claim, residual, seed, whole, size_names(model))
            for claim, residual in product.identities
        ]

    drift = make((-4 * gamma, charge), (eta / size, noise))
    return MatrixLaw(
        model,
        symmetry,
        name,
        conjunction(
            f"charge law of {name} for {model.name}, for all sizes",
            parts,
            reference="arXiv 2402.07193",
        ),
        _ASSUMPTIONS,
        charge=make((one, charge)),
        noise_trace=make((one, noise)),
        drift=drift,
        discrete_drift=make(
            (-4 * eta * gamma * (1 - eta * gamma), charge),
            (eta**2, of_mean),
            (eta**2 / size, noise),
        ),
        momentum_drift=make(((eta / (1 - beta)) ** 2 / size, noise)),
        equilibrium=_equilibrium(drift, product, charge, make),
        product=product,
    )


def _equilibrium(
    drift: TensorExpression, product: ProductNoise | None, charge: Indexed, make: Any
) -> MatrixEquilibrium:
    minimum = None
    if product is not None and product.noise_at_minimum is not None:
        minimum = make((sympy.Integer(1), product.noise_at_minimum))
    return MatrixEquilibrium(drift, product, charge, minimum)
