"""The noise of a loss that depends on a product of parameters: grad_U = G W^T, grad_W = U^T G.

The factors are read off the per-sample gradient itself. With Gamma_U = Cov over G G^T and Gamma_W
over G^T G, the noise of all charges at once is W Gamma_W W^T - U^T Gamma_U U. Where the mean of G
vanishes for one value V of a constant, the deviation Delta from it is a shorter variable.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from symtheory.data import Law as DataLaw
from symtheory.domains.tensors import Indexed, Tensor, einsum, unfolded
from symtheory.theory.matrices._expression import content
from symtheory.theory.matrices._moments import expectation
from symtheory.theory.matrices._product_gradient import Peeled, peel, peel_all, solve_for

Values = Mapping[Tensor, Indexed]


@dataclasses.dataclass(frozen=True)
class NoiseCovariance:
    """Gamma_T = E[G G^T] - E[G] E[G]^T, or with G^T, next to the factor T.

    Attributes:
        tensor: Its name in formal laws.
        axis: The axis of G that is summed.
        value: Its closed form.
        in_deviation: The same in terms of Delta, if there is one.
        at_minimum: The same at Delta = 0.
    """

    tensor: Tensor
    axis: int
    value: Indexed
    in_deviation: Indexed | None
    at_minimum: Indexed | None


@dataclasses.dataclass(frozen=True)
class ProductNoise:
    """How noise enters through a product of two factors.

    Attributes:
        symbol: What G, the gradient by the product, is called.
        gradient: G itself.
        outer: (number, r, its value, x) when G = number * r x^T.
        covariances: Gamma next to each factor.
        formal: The noise in terms of them, W Gamma_W W^T - U^T Gamma_U U.
        deviation: The tensor Delta, the constant it replaces, and the value that one has at a
            point where the mean of G vanishes.
        noise_at_minimum: The noise at Delta = 0.
            identities: What was claimed on the way, with residuals that must vanish.
    """

    symbol: Tensor
    gradient: Indexed
    outer: tuple[Any, Tensor, Indexed, Tensor] | None
    covariances: tuple[NoiseCovariance, ...]
    formal: Indexed
    deviation: tuple[Tensor, Tensor, Indexed] | None
    noise_at_minimum: Indexed | None
    identities: tuple[tuple[str, Indexed], ...]


def product_noise(
    gradients: Values,
    laws: Mapping[Tensor, DataLaw],
    tangents: Values,
    quadratic: Callable[[Values], Indexed],
    noise: Indexed,
) -> ProductNoise | None:
    """Read the product structure off the gradients, None if there is none.

    Args:
        gradients: Per-sample gradient by parameter.
        laws: The random tensors.
        tangents: A theta by parameter.
        quadratic: v -> v^T A v over the family.
        noise: The noise E[g^T A g] - E[g]^T A E[g] in closed form.
    """
    moved = [t for t, tangent in tangents.items() if not tangent.is_zero]
    if len(moved) != 2:
        return None
    values = [v for group in (gradients, tangents) for v in group.values()]
    taken = {t.name for v in values for t in v.tensors}
    taken |= {size for v in values for size in v.named_sizes}
    taken |= {name for law in laws.values() for name in law.arrays}
    first, second = moved
    options = [_options(gradients[t]) for t in moved]
    for (axis_a, a), (axis_b, b) in itertools.product(*options):
        if len(a.rest.sizes) != 2 or len(b.rest.sizes) != 2:
            continue
        for flip in (False, True):
            if a.tensor == second and b.tensor == first and a.rest == _turn(b.rest, flip):
                found = _assemble(
                    (first, second), (axis_a, axis_b), (a, b), flip, gradients, laws, tangents,
                    quadratic, noise, taken,
                )  # fmt: skip
                if found is not None:
                    return found
    return None


def _turn(value: Indexed, flip: bool) -> Indexed:
    return value.transposed() if flip else value


def _options(gradient: Indexed) -> list[tuple[int, Peeled]]:
    found = (
        (axis, peel(gradient, axis, lambda t: t.kind == "param"))
        for axis in range(len(gradient.sizes))
    )
    return [(axis, peeled) for axis, peeled in found if peeled is not None]


def _assemble(
    moved: tuple[Tensor, Tensor],
    axes: tuple[int, int],
    peeled: tuple[Peeled, Peeled],
    flip: bool,
    gradients: Values,
    laws: Mapping[Tensor, DataLaw],
    tangents: Values,
    quadratic: Callable[[Values], Indexed],
    noise: Indexed,
    taken: set[str],
) -> ProductNoise | None:
    gradient = peeled[0].rest
    symbol = Tensor("gradient", fresh("G", taken), gradient.sizes)
    formal_gradients = {t: Indexed(t.sizes) for t in gradients}
    for which, (tensor, axis, part) in enumerate(zip(moved, axes, peeled, strict=True)):
        g = _turn(Indexed.of(symbol), flip and which == 1)
        formal_gradients[tensor] = part.restored(g, axis)
    paired = _pair_up(quadratic(formal_gradients), symbol, taken)
    if paired is None:
        return None
    formal, sides = paired
    deviation = _deviation(gradient, laws, taken)
    covariances = tuple(
        _covariance(t, axis, gradient, laws, deviation) for t, axis in sides.items()
    )
    in_full = formal.substituted({c.tensor: c.value for c in covariances})
    noise_at_minimum = None
    if deviation is not None and all(c.at_minimum is not None for c in covariances):
        values = {c.tensor: c.at_minimum for c in covariances if c.at_minimum is not None}
        noise_at_minimum = formal.substituted(values)
    identities = [("the noise is that of the Gammas next to each factor", in_full - noise)]
    for tensor, axis, part in zip(moved, axes, peeled, strict=True):
        back = part.restored(part.rest, axis) - gradients[tensor]
        identities.append((f"grad by {tensor.name} is G times {part.tensor.name}", back))
    along = Indexed(gradient.sizes)
    names = list(range(len(gradient.sizes)))
    for tensor, tangent in tangents.items():
        rows = [("t", k) for k in range(len(tensor.sizes))]
        slope = gradient.derivative(tensor)
        along = along + einsum([(slope, [*names, *rows]), (tangent, rows)], names)
    identities.append(("G is constant on the orbit, and so are the Gammas", along))
    return ProductNoise(
        symbol, gradient, _outer(gradient, laws, taken), covariances, formal, deviation,
        noise_at_minimum, tuple(identities),
    )  # fmt: skip


def _pair_up(
    value: Indexed, symbol: Tensor, taken: set[str]
) -> tuple[Indexed, dict[Tensor, int]] | None:
    """Replace each pair of G that share an index by Gamma; return it and the axes summed."""
    total = Indexed(value.sizes)
    sides: dict[Tensor, int] = {}
    axes = tuple(range(len(value.sizes)))
    for term, c in value.terms.items():
        factors, _ = unfolded(term, value.sizes)
        found = [labels for tensor, labels in factors if tensor == symbol]
        rest = [(t, labels) for t, labels in factors if t != symbol]
        shared = [k for k in (0, 1) if found[0][k] == found[1][k]] if len(found) == 2 else []
        if len(shared) != 1:
            return None
        [axis] = shared
        ends = (found[0][1 - axis], found[1][1 - axis])
        neighbours = {t.name for t, labels in rest if set(labels) & set(ends)}
        if len(neighbours) != 1:
            return None
        size = symbol.sizes[1 - axis]
        name = fresh(f"Gamma_{neighbours.pop()}", taken)
        gamma = Tensor("noise", name, (size, size), symmetric=True)
        if sides.setdefault(gamma, axis) != axis:
            return None
        operands = [(Indexed.of(t), labels) for t, labels in (*rest, (gamma, ends))]
        scale = Indexed((), {term._replace(components=(), deltas=()): c})
        total = total + einsum([(scale, ()), *operands], axes, dict(enumerate(value.sizes)))
    return total, sides


def _covariance(
    tensor: Tensor,
    axis: int,
    gradient: Indexed,
    laws: Mapping[Tensor, DataLaw],
    deviation: tuple[Tensor, Tensor, Indexed] | None,
) -> NoiseCovariance:
    mean = expectation(gradient, laws)
    rows = (("s", "i"), ("s", "j")) if axis == 0 else (("i", "s"), ("j", "s"))

    def square(g: Indexed) -> Indexed:
        return einsum([(g, rows[0]), (g, rows[1])], "ij")

    value = expectation(square(gradient), laws) - square(mean)
    in_deviation = at_minimum = None
    if deviation is not None:
        delta, constant, solution = deviation
        in_deviation = value.substituted({constant: solution - Indexed.of(delta)})
        at_minimum = in_deviation.substituted({delta: Indexed(delta.sizes)})
    return NoiseCovariance(tensor, axis, value, in_deviation, at_minimum)


def _deviation(
    gradient: Indexed, laws: Mapping[Tensor, DataLaw], taken: set[str]
) -> tuple[Tensor, Tensor, Indexed] | None:
    """Return Delta, the constant V it replaces, and the V at which the mean of G vanishes."""
    mean = expectation(gradient, laws)
    constants = sorted(t for t in mean.tensors if t.kind == "constant")
    _, rest = peel_all(mean, lambda t: t.kind in ("param", "moment"))
    solved = solve_for(rest, constants)
    if solved is None:
        return None
    constant, solution = solved
    return Tensor("deviation", fresh("Delta", taken), constant.sizes), constant, solution


def _outer(
    gradient: Indexed, laws: Mapping[Tensor, DataLaw], taken: set[str]
) -> tuple[Any, Tensor, Indexed, Tensor] | None:
    """Read G = number * r x^T with a random vector x."""
    peeled = peel(gradient, 1, lambda t: t in laws)
    if peeled is None or len(peeled.tensor.sizes) != 1:
        return None
    number, residual = content(peeled.rest)
    return number, Tensor("residual", fresh("r", taken), residual.sizes), residual, peeled.tensor


def fresh(name: str, taken: set[str]) -> str:
    """Return a name that the user has not given to anything."""
    while name in taken:
        name += "'"
    return name
