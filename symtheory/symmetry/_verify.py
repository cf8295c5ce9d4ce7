"""Decide whether a loss has a symmetry: refute at a rational point, or prove in normal form."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import numpy as np
from flint import arb

from symtheory import shapes
from symtheory.data import random_rational
from symtheory.errors import BudgetError, PrimitiveError, UnreadableError
from symtheory.exact import rational_array
from symtheory.model import Model
from symtheory.readings import (
    HALVINGS,
    Balls,
    Deadline,
    Degrees,
    NotHomogeneousError,
    Polynomials,
    Ring,
    Symbols,
    UndecidedError,
    ball,
    precision,
    read_function,
    scaled,
)
from symtheory.symmetry._generator import Generator, read_generator
from symtheory.symmetry._symmetry import Exponential
from symtheory.verdict import Status, Verdict

_REFERENCE = "arXiv 2402.07193, exponential symmetry"
_TRIALS = 4
_BITS = 200
_LARGEST_DEGREE = 2**32


def verify(
    model: Model, symmetry: Exponential, *, seconds: float | None = 60.0, seed: int = 0
) -> Verdict:
    """Decide whether the per-sample loss is invariant: grad l(theta; z) . (A theta + b) = 0.

    First the derivative along the generator is enclosed at random rational points of theta, z
    (in the support of its law), unbound constants and members of the family: an enclosure that
    excludes zero refutes. Then the identity is proved for all of them at once, by degrees of
    homogeneity for diagonal generators and otherwise in the normal form of an exact ring.

    Args:
        model: A model with all sizes bound; named covariances may stay symbolic, constants too.
        symmetry: The symmetry claimed.
        seconds: Time limit; when it is reached the verdict is `inconclusive`.
        seed: Seed of the random rational points.

    Returns:
        A `Verdict`: `proved`, `refuted` (with a witness) or `inconclusive`.

    Raises:
        InputError: The action is not linear or does not fit the model; a size is not bound.
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
    generator = read_generator(model, symmetry)
    name = symmetry.name or "the given generator"
    claim = f"the loss of {model.name} is invariant under {name}: grad l . (A theta + b) = 0"
    deadline = Deadline(seconds)

    def verdict(status: Status, how: str, **fields: Any) -> Verdict:
        return Verdict(status, claim, how=how, reference=_REFERENCE, **fields)

    try:
        witness = _refute(model, symmetry, seed, deadline)
        if witness is not None:
            return verdict(
                Status.REFUTED,
                "rigorous enclosure at a rational point excludes 0",
                witness=witness,
                residual=witness["derivative"],
            )
        if generator.is_diagonal and not generator.shift:
            homogeneous = _prove_by_degrees(model, symmetry, generator, deadline)
            if homogeneous:
                return verdict(Status.PROVED, homogeneous, residual=0)
        return _prove_by_normal_form(model, symmetry, deadline, verdict)
    except BudgetError as error:
        return verdict(Status.INCONCLUSIVE, f"not refuted at random rational points; {error}")
    except PrimitiveError:
        raise
    except UnreadableError as error:
        return verdict(Status.INCONCLUSIVE, str(error))


def directional_derivative(model: Model, symmetry: Exponential) -> Callable[..., Any]:
    """Return (params, sample, constants, members) -> grad l . (A theta + b)."""

    def derivative(params: Any, sample: Any, constants: Any, members: Any) -> Any:
        tangent = symmetry.tangent(params, members)
        along = jax.tree.map(lambda p, t: t + 0 * p, params, tangent)
        return jax.jvp(lambda p: model.evaluate(p, sample, constants), (params,), (along,))[1]

    return derivative


def _structures(model: Model, symmetry: Exponential) -> list[Any]:
    members = {
        name: jax.ShapeDtypeStruct(shape, float)
        for name, shape in symmetry.member_shapes(model).items()
    }
    return [*model.structure(), members]


# --- refutation --------------------------------------------------------------------------------


def _refute(
    model: Model, symmetry: Exponential, seed: int, deadline: Deadline
) -> dict[str, Any] | None:
    """Return a rational point at which the derivative is certainly not zero, or None."""
    rng = random.Random(seed)
    derivative = directional_derivative(model, symmetry)
    structures = _structures(model, symmetry)
    domain = Balls()
    trials = 0
    for _ in range(5 * _TRIALS):
        point = random_point(model, symmetry, rng)
        balls = jax.tree.map(
            lambda array: np.frompyfunc(ball, 1, 1)(array) if array.size else array, point
        )
        balls = jax.tree.map(_as_object_array, balls)
        try:
            with precision(_BITS):
                value = read_function(derivative, structures, domain, balls, deadline)[()]
        except UndecidedError:
            continue
        value = arb(value) if not isinstance(value, arb) else value
        if value.is_finite() and not value.contains(0):
            params, sample, constants, members = point
            return {
                "params": _readable(params),
                "sample": _readable(sample),
                **({"constants": _readable(constants)} if constants else {}),
                **({"family": _readable(members)} if members else {}),
                "derivative": float(value.mid()),
            }
        trials += 1
        if trials == _TRIALS:
            break
    return None


def random_point(
    model: Model, symmetry: Exponential, rng: random.Random
) -> tuple[Any, Any, Any, Any]:
    """Return rational parameters, sample, constants and family members, as fractions."""

    def draw(shape: shapes.Shape) -> np.ndarray:
        out = np.empty(shapes.fixed(shape), dtype=object)
        for index in np.ndindex(out.shape):
            out[index] = random_rational(rng)
        return out

    params = shapes.map_tree(draw, model.params)
    laws = {name: law.exact_draw(rng) for name, law in model.laws.items()}
    sample = laws[""] if list(laws) == [""] else laws
    constants = {
        name: rational_array(model.values[name]) if name in model.values else draw(shape)
        for name, shape in model.constants.items()
    }
    members = {}
    for name, shape in symmetry.member_shapes(model).items():
        member = draw(shape)
        if (symmetry.family or {})[name].symmetric:
            member = member + member.T
        members[name] = member
    return params, sample, constants, members


def _as_object_array(value: Any) -> np.ndarray:
    out = np.empty(np.shape(value), dtype=object)
    out[...] = value
    return out


def _readable(tree: Any) -> Any:
    def text(array: np.ndarray) -> Any:
        return np.asarray(np.frompyfunc(str, 1, 1)(array), dtype=object).tolist()

    return jax.tree.map(text, tree)


# --- proof -------------------------------------------------------------------------------------


def _prove_by_degrees(
    model: Model, symmetry: Exponential, generator: Generator, deadline: Deadline
) -> str | None:
    """Prove a diagonal symmetry by homogeneity; None if this route says nothing."""
    params, sample, constants = model.structure()
    zeros = [
        jax.tree.map(lambda s: scaled(np.zeros(s.shape, dtype=np.int64)), node)
        for node in (sample, constants)
    ]
    tree = jax.tree.structure(params)
    sizes = [int(np.prod(leaf.shape, dtype=int)) for leaf in jax.tree.leaves(params)]
    try:
        for rates in _diagonals(generator, sum(sizes)):
            common = math.lcm(*(rate.denominator for rate in rates))
            degrees = [int(rate * common) * HALVINGS for rate in rates]
            if max(map(abs, degrees)) > _LARGEST_DEGREE:  # sums of degrees must stay exact
                return None
            flat = np.array(degrees, dtype=np.int64)
            pieces = np.split(flat, np.cumsum(sizes)[:-1])
            leaves = [
                scaled(piece.reshape(leaf.shape))
                for piece, leaf in zip(pieces, jax.tree.leaves(params), strict=True)
            ]
            out = read_function(
                lambda p, z, c: model.evaluate(p, z, c),
                [params, sample, constants],
                Degrees(),
                [jax.tree.unflatten(tree, leaves), *zeros],
                deadline,
            )
            if not out.is_invariant:
                return None
    except (NotHomogeneousError, UnreadableError):
        return None
    return "every intermediate value is homogeneous in exp(lambda), the loss of degree 0"


def _diagonals(generator: Generator, dimension: int) -> list[list[Fraction]]:
    """Return the diagonal of A for every member of a basis of the family."""
    ring = generator.symbols.ring
    family = [ring.names[text] for text in generator.symbols.of_kind("family")]
    out = []
    for chosen in family or [None]:
        rates = [Fraction(0)] * dimension
        for (i, _), entry in generator.matrix.items():
            for exponents, coefficient in entry.numerator.to_dict().items():
                if chosen is None or exponents[chosen]:
                    rates[i] += Fraction(int(coefficient.p), int(coefficient.q))
        out.append(rates)
    return out


def _prove_by_normal_form(
    model: Model, symmetry: Exponential, deadline: Deadline, verdict: Callable[..., Verdict]
) -> Verdict:
    ring = Ring(deadline=deadline)
    arguments = exact_arguments(model, symmetry, Symbols(ring))
    value = read_function(
        directional_derivative(model, symmetry),
        _structures(model, symmetry),
        Polynomials(ring),
        arguments,
        deadline,
    )[()]
    value = ring.coerce(value)
    kernels = sorted({kernel.function for kernel in ring.kernels.values()})
    where = "Q(theta, z)" + (f"[{', '.join(kernels)}]" if kernels else "")
    if value.is_zero():
        return verdict(
            Status.PROVED,
            f"the normal form in {where} is 0",
            residual=0,
            assumptions=("grad l is what jax.grad returns, almost everywhere: jumps are not seen",),
        )
    return verdict(
        Status.INCONCLUSIVE,
        f"zero at random rational points, but its normal form in {where} has "
        f"{len(value.numerator)} terms",
    )


def exact_arguments(model: Model, symmetry: Exponential | None, symbols: Symbols) -> list[Any]:
    """Return symbols for parameters, sample, unbound constants and members, as loss arguments."""
    ring = symbols.ring
    params, sample, constants = model.structure()

    def symbolic(kind: str, node: Any, prefix: str = "") -> Any:
        leaves = [
            symbols.array(kind, f"{prefix}{name}", shapes.fixed(shape))
            for name, shape in shapes.leaves(node)
        ]
        return jax.tree.unflatten(jax.tree.structure(node), leaves)

    known = {
        name: np.frompyfunc(ring.constant, 1, 1)(rational_array(value))
        for name, value in model.values.items()
        if name in model.constants
    }
    values = {
        name: _as_object_array(known[name])
        if name in known
        else symbols.array("constant", name, tuple(struct.shape))
        for name, struct in constants.items()
    }
    out = [symbolic("param", params), symbolic("sample", sample), values]
    if symmetry is not None:
        out.append(
            {
                name: symbols.array(
                    "family", name, shape, bool((symmetry.family or {})[name].symmetric)
                )
                for name, shape in symmetry.member_shapes(model).items()
            }
        )
    return out
