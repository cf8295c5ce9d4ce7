"""Where the matrix noise equilibrium is exact: what the noise turns at a rational minimum."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import flint
import jax
import numpy as np

from symtheory.errors import BudgetError, InputError, UnreadableError
from symtheory.model import Model
from symtheory.symmetry import Exponential, read_generator
from symtheory.theory._evaluated import sampled_claim
from symtheory.theory.slow._exact import REFERENCE, as_numbers, exact_minimum
from symtheory.verdict import Arithmetic, Claim, NormalForm, Status, Verdict, conjunction, prove

_MOST_RANK = 12


def rotation_criterion(
    model: Model, params: Any, symmetries: Sequence[Exponential], seconds: float | None = 60.0
) -> Verdict:
    """Decide exactly whether the noise turns a minimum along antisymmetric generators.

    Where it does not, the matrix noise equilibrium is where SGD goes. Sufficient: Sigma = c H,
    which then holds on the whole orbit; or H Sigma = Sigma H at the point. Otherwise the Lyapunov
    equation is solved over the rationals, and Tr[A^T H K] for the antisymmetric part of every
    generator and bracket is a number that is zero or is not.

    Args:
        model: A model whose loss is polynomial, with everything bound.
        params: A minimum, exactly: floats stand for the simplest rationals that round to them.
        symmetries: The symmetries.
        seconds: Time limit for the moments.
    """
    claim = "the noise turns nothing at this minimum: Tr[A^T H K] = 0 for antisymmetric A"
    try:
        exact = exact_minimum(model, params, seconds)
    except (UnreadableError, BudgetError, InputError) as error:
        return Verdict(Status.INCONCLUSIVE, claim, how=str(error), reference=REFERENCE)
    slope = max(exact.gradient, key=abs)
    exactly = NormalForm("exact arithmetic", ring="Q")
    if slope == 0:
        still = sampled_claim(
            model,
            lambda bound, p, z: jax.grad(bound.evaluate)(p, z),
            jax.tree.map(lambda s: np.zeros(s.shape), model.structure()[0]),
            jax.tree.map(lambda x: np.asarray(x, dtype=float), params),
            {},
        )
        stationary = prove("grad L = 0", exactly, still, residual=0)
    else:
        stationary = Verdict(
            Status.REFUTED, "grad L = 0", how="exact arithmetic", residual=_text(slope)
        )
    if slope != 0:
        how = "the parameters, read as simple rationals, are not a minimum; give rational ones"
        return Verdict(
            Status.INCONCLUSIVE, claim, how=how, parts=(stationary,), reference=REFERENCE
        )
    h, s = exact.hessian, exact.noise
    proportional = _ratio(s, h)
    if proportional is not None:
        ratio = float(proportional.p) / float(proportional.q)
        step = prove(
            f"Sigma = {_text(proportional)} H, and so on the whole orbit: both become g^-T . g^-1",
            exactly,
            Arithmetic(as_numbers(s), ratio * as_numbers(h)),
            residual=0,
        )
        return conjunction(claim, [stationary, step], how="Sigma = c H", reference=REFERENCE)
    if h * s == s * h:
        both = as_numbers(h) @ as_numbers(s), as_numbers(s) @ as_numbers(h)
        size = np.abs(as_numbers(h)) @ np.abs(as_numbers(s))
        step = prove(
            "H Sigma = Sigma H, so H K = K H", exactly, Arithmetic(*both, size), residual=0
        )
        return conjunction(claim, [stationary, step], how="H Sigma = Sigma H", reference=REFERENCE)
    turning = _turning(h, s)
    if isinstance(turning, str):
        return Verdict(
            Status.INCONCLUSIVE, claim, how=turning, parts=(stationary,), reference=REFERENCE
        )
    parts = [stationary]
    for name, matrix in _generators(model, symmetries):
        rate = _trace_product(matrix, turning)
        words = f"Tr[A^T (HK - KH)]/2 = 0 for {name}, at temperature 1"
        how = "Lyapunov equation solved over the rationals"
        if rate == 0:
            part = prove(
                words, NormalForm(how, ring="Q"), _rate_in_floats(h, s, matrix),
                predicted=0, measured=_text(rate), residual=0,
            )  # fmt: skip
        else:
            part = Verdict(
                Status.REFUTED, words, how=how, predicted=0, measured=_text(rate),
                residual=float(rate),
            )  # fmt: skip
        parts.append(part)
    return conjunction(claim, parts, how="exact rates", reference=REFERENCE)


def _turning(h: Any, s: Any) -> Any:
    """Return (HK - KH)/2 with HK + KH = Sigma on range(H), exactly; a text where that fails.

    With B some independent columns of H and C = (H_SS)^-1, H = B C B^T; K = B Y B^T.
    """
    reduced, rank = h.rref()
    if rank > _MOST_RANK:
        return f"the Hessian has rank {rank}; exact rates are computed up to {_MOST_RANK}"
    d = h.nrows()
    chosen = [next(j for j in range(d) if reduced[i, j] != 0) for i in range(rank)]
    b = flint.fmpq_mat(d, rank, [h[i, j] for i in range(d) for j in chosen])
    inverse = _pick(h, chosen).inv()
    middle = inverse * _pick(s, chosen) * inverse
    if b * middle * b.transpose() != s:
        return "the noise has a part along flat directions"
    left = inverse * (b.transpose() * b)
    pairs = list(itertools.combinations_with_replacement(range(rank), 2))
    number = {pair: n for n, pair in enumerate(pairs)}
    system = flint.fmpq_mat(len(pairs), len(pairs))
    for (i, j), row in number.items():
        for k in range(rank):
            for factor, place in ((left[i, k], (k, j)), (left[j, k], (k, i))):
                column = number[min(place), max(place)]
                system[row, column] = system[row, column] + factor
    source = flint.fmpq_mat(len(pairs), 1, [middle[i, j] for i, j in pairs])
    solved = system.solve(source)
    y = flint.fmpq_mat(
        rank, rank,
        [solved[number[min(i, j), max(i, j)], 0] for i in range(rank) for j in range(rank)],
    )  # fmt: skip
    k = b * y * b.transpose()
    return (h * k - k * h) * flint.fmpq(1, 2)


def _rate_in_floats(h: Any, s: Any, matrix: dict[tuple[int, int], Any]) -> Claim:
    """Return "the rate is 0", with the Lyapunov equation solved by eigenvalues in floats."""
    hessian, noise = as_numbers(h), as_numbers(s)
    values, frame = np.linalg.eigh(hessian)
    pairs = values[:, None] + values[None, :]
    seen = np.abs(pairs) > 1e-9 * np.max(np.abs(values))
    rotated = frame.T @ noise @ frame
    k = frame @ np.where(seen, rotated / np.where(seen, pairs, 1.0), 0.0) @ frame.T
    turning = (hessian @ k - k @ hessian) / 2
    terms = np.array([float(v) * turning[i, j] for (i, j), v in matrix.items()])
    size = np.linalg.norm(hessian) * np.linalg.norm(k) * sum(abs(float(v)) for v in matrix.values())
    return Arithmetic(np.sum(terms), 0.0, max(size, 1e-300))


def _generators(
    model: Model, symmetries: Sequence[Exponential]
) -> Iterable[tuple[str, dict[tuple[int, int], flint.fmpq]]]:
    """Yield every generator (one for each entry of a family) and every bracket that is not zero."""
    found = []
    for symmetry in symmetries:
        generator = read_generator(model, symmetry)
        names = {i: text for text, i in generator.symbols.ring.names.items()}
        family = {names[generator.symbols.ring.names[t]]: t
                  for t in generator.symbols.of_kind("family")}  # fmt: skip
        members: dict[str, dict[tuple[int, int], Any]] = {t: {} for t in family} or {"": {}}
        for place, entry in generator.matrix.items():
            for exponents, value in entry.numerator.to_dict().items():
                used = [names[i] for i, n in enumerate(exponents) if n and names.get(i) in family]
                members[used[0] if used else ""][place] = flint.fmpq(value)
        label = symmetry.name or "the symmetry"
        found += [(f"{label}, {t}" if t else label, m) for t, m in members.items()]
    yield from found
    for (name, x), (other, y) in itertools.combinations(found, 2):
        bracket: dict[tuple[int, int], flint.fmpq] = {}
        for sign, (first, second) in ((1, (x, y)), (-1, (y, x))):
            for (i, j), v in first.items():
                for (k, l), w in second.items():
                    if j == k:
                        bracket[i, l] = bracket.get((i, l), flint.fmpq(0)) + sign * v * w
        bracket = {place: v for place, v in bracket.items() if v != 0}
        if bracket:
            yield f"the bracket of {name} and {other}", bracket


def _trace_product(matrix: dict[tuple[int, int], Any], dense: Any) -> flint.fmpq:
    return sum((v * dense[i, j] for (i, j), v in matrix.items()), flint.fmpq(0))


def _ratio(s: Any, h: Any) -> flint.fmpq | None:
    """Return c with S = c H, or None."""
    d = h.nrows()
    place = next((i for i in range(d) if h[i, i] != 0), None)
    if place is None:
        return None
    c = s[place, place] / h[place, place]
    return c if s == h * c else None


def _pick(matrix: Any, chosen: list[int]) -> Any:
    n = len(chosen)
    return flint.fmpq_mat(n, n, [matrix[i, j] for i in chosen for j in chosen])


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{float(value):.12g} (exact, {len(text)} digits)"
