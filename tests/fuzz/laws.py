"""Claims about numbers: that there are no others, how many laws are conserved, what noise does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tests.fuzz import points
from tests.fuzz.losses import Candidate
from tests.fuzz.oracle import AGREES, FALSE, UNDECIDED, Answer, Oracle

_SIGMA = 6.0
_DRAWS = 20_000
_ETA, _GAMMA = 0.05, 0.03


def completeness(oracle: Oracle, linear: int, affine: int, dead: Sequence[int] = ()) -> Answer:
    """Judge "there are `linear` linear and `affine` affine generators, and no others".

    What moves only the parameters in `dead`, on which the loss does not depend, is not counted.
    """
    for kind, claimed in (("affine", affine), ("linear", linear)):
        values, fields = oracle.null_space(kind, dead)
        if values is None:
            return Answer(UNDECIDED, "no clear gap of singular values")
        if len(fields) <= claimed:
            continue
        hold = [f for f in fields if oracle.generator(*f).outcome == AGREES]
        if len(hold) > claimed:
            text = "; ".join(f"A = {a.tolist()}, b = {b.tolist()}" for a, b in hold)
            return Answer(FALSE, f"{claimed} {kind} generators claimed, {len(hold)} hold: {text}")
        return Answer(UNDECIDED, f"{len(fields)} {kind} null vectors, {len(hold)} hold")
    return Answer(AGREES, "the floats have no further null vector")


def count(oracle: Oracle, lower: int, upper: int) -> Answer:
    """Judge "between `lower` and `upper` independent functions are conserved"."""
    d = oracle.d
    ranks = oracle.lie_ranks()
    # A law holds on all pieces of a loss, so any point bounds their number; two guard against a
    # bracket taken across a kink.
    if sum(lower > d - rank for rank in ranks) > 1:
        return Answer(FALSE, f"at least {lower} claimed, fields and brackets have ranks {ranks}")
    charges = []
    theta = oracle.rng.normal(size=d)
    for kind in ("symmetric", "shift"):
        _, fields = oracle.null_space(kind)
        hold = [f for f in fields if oracle.generator(*f, value_only=False).outcome == AGREES]
        charges += [a @ theta + b for a, b in hold]
    known = np.linalg.matrix_rank(np.array(charges), tol=1e-6) if charges else 0
    if known > upper:
        return Answer(FALSE, f"at most {upper} claimed, {known} independent charges hold")
    return Answer(AGREES, f"{known} charges known; ranks {ranks} of {d}")


_TERM = re.compile(r"([+-]\d+) (?:\|([^|]+)\|\^2|<([^,>]+(?:\[[^\]]*\])?), ([^>]+)>)")
_LEAF = re.compile(r"(.+)\[axis (\d+): (\d+)\]")
_ENTRY = re.compile(r"([+-]\d+) ([^\s\[]+)\[([\d, ]*)\]")


def charge(oracle: Oracle, law: str) -> Answer:
    """Judge "the function that a text gives is conserved": its gradient is orthogonal to all."""
    case, d = oracle.case, oracle.d
    places = case.unflatten(np.arange(d))
    matrix, shift = np.zeros((d, d)), np.zeros(d)

    def slice_of(text: str) -> np.ndarray:
        name, axis, index = _LEAF.fullmatch(text).groups()  # type: ignore[union-attr]
        leaf = places[name]
        leaf = leaf if leaf.ndim else leaf.reshape(1)
        return np.take(leaf, int(index) - 1, axis=int(axis)).ravel()

    if "axis" in law:
        for number, square, left, right in _TERM.findall(law):
            i, j = (slice_of(text) for text in ((square, square) if square else (left, right)))
            matrix[i, j] += float(number) / 2
            matrix[j, i] += float(number) / 2
    else:
        for number, name, index in _ENTRY.findall(law):
            shift[places[name][tuple(int(i) - 1 for i in index.split(",") if i.strip())]] += float(
                number
            )
    if not np.any(matrix) and not np.any(shift):
        return Answer(UNDECIDED, "the text is not understood")
    return oracle.generator(matrix, shift)


def noise(oracle: Oracle, candidate: Candidate, law: Any) -> Iterator[tuple[str, Answer]]:
    """Judge charge, noise trace, drift and discrete drift of a law by averages over samples."""
    a = (candidate.matrix + candidate.matrix.T) / 2
    b = candidate.shift
    formal = "Tr_Sigma_A" in str(law.noise_trace) if law.noise_trace is not None else False
    for theta in oracle.rng.normal(size=(2, oracle.d)):
        params = oracle.case.unflatten(theta)
        charge = theta @ a @ theta + b @ theta
        got = float(law.charge.callable()(params))
        yield "charge", _close(got, charge, 1e-9 * (abs(charge) + np.sum(np.abs(theta)) ** 2))
        if formal:
            continue
        settings = {"learning_rate": _ETA, "batch_size": 1, "weight_decay": _GAMMA}
        for name, want, error in _averages(oracle, theta, a, b):
            expression = getattr(law, name)
            if expression is None or want is None:
                continue
            value = float(expression.callable()(params, **settings))
            yield name, _close(value, want, error)


def _averages(
    oracle: Oracle, theta: np.ndarray, a: np.ndarray, b: np.ndarray
) -> list[tuple[str, float | None, float]]:
    """Return noise trace, drift and discrete drift with what they may be wrong by."""
    case = oracle.case
    exact = _weighted(oracle, theta, 9)
    again = _weighted(oracle, theta, 12)
    out = []
    for name in ("noise_trace", "drift", "discrete_drift"):
        if exact is not None and again is not None:
            one, two = (_value(name, theta, a, b, g, w)[0] for g, w in (exact, again))
            size = _value(name, theta, np.abs(a), b, *exact)[2]
            if abs(one - two) <= 1e-9 * size:
                out.append((name, one, 1e-7 * size))
                continue
        z = points.samples(oracle.rng, case, _DRAWS)
        gradient = oracle.values(np.repeat(theta[None], _DRAWS, axis=0), z).gradient
        value, error, size = _value(name, theta, a, b, gradient, np.full(_DRAWS, 1 / _DRAWS))
        out.append((name, value, _SIGMA * error + 1e-7 * size))
    return out


def _weighted(oracle: Oracle, theta: np.ndarray, order: int) -> tuple[np.ndarray, Any] | None:
    rule = points.nodes(oracle.case, order)
    if rule is None:
        return None
    z, weights = rule
    gradient = oracle.values(np.repeat(theta[None], len(weights), axis=0), z).gradient
    return gradient, weights


def _value(
    name: str, theta: np.ndarray, a: np.ndarray, b: np.ndarray, gradient: np.ndarray, weights: Any
) -> tuple[float, float, float]:
    """Return a value of a law, the standard error of its estimate, and the size of its terms."""
    mean = weights @ gradient
    squares = np.einsum("ni,ij,nj->n", gradient, a, gradient)
    trace = weights @ squares - mean @ a @ mean
    spread = squares - 2 * gradient @ a @ mean
    center = weights @ spread
    error = float(np.sqrt((weights @ (spread - center) ** 2) / len(weights)))
    size = float(weights @ np.sum(gradient**2, axis=1)) * float(np.max(np.abs(a), initial=1.0))
    charge = theta @ a @ theta
    if name == "noise_trace":
        return float(trace), error, size
    if name == "drift":
        return -4 * _GAMMA * charge - 2 * _GAMMA * b @ theta + _ETA * trace, _ETA * error, size + 1
    step = -4 * _ETA * _GAMMA * (1 - _ETA * _GAMMA) * charge - 2 * _ETA * _GAMMA * b @ theta
    return float(step + _ETA**2 * weights @ squares), _ETA**2 * 3 * error, size + 1


def _close(got: float, want: float, error: float) -> Answer:
    if not np.isfinite(want) or not np.isfinite(error):
        return Answer(UNDECIDED, "the average is not finite")
    fine = abs(got - want) <= error + 1e-12
    return Answer(AGREES if fine else FALSE, f"{got:.9g} claimed, {want:.9g} +- {error:.2g}")
