"""The steps of the closed form of deep linear nets, evaluated on one net in floats."""

from __future__ import annotations

import functools

import numpy as np

from symtheory.verdict import Arithmetic, Claim

_DEPTH, _RANK = 4, 3


@functools.cache
def numbers() -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Return both sides of each relation, for every layer of a net with the closed form."""
    rng = np.random.default_rng(5)
    frame = lambda n: np.linalg.qr(rng.normal(size=(n, _RANK)))[0]
    depth, left, right = _DEPTH, frame(5), frame(4).T
    s = np.diag(rng.uniform(0.5, 2.0, _RANK))
    a, b, t = 3.0, 0.7, float(np.trace(s))
    c = (t / np.sqrt(a * b)) ** (1 / depth)
    hidden = {i: frame(6) for i in range(1, depth)}
    layers = {i: c * hidden[i] @ hidden[i - 1].T for i in range(2, depth)}
    layers[1] = np.sqrt(a / t) * c * hidden[1] @ np.sqrt(s) @ right
    layers[depth] = np.sqrt(b / t) * c * left @ np.sqrt(s) @ hidden[depth - 1].T
    inner = {1: layers[1]}
    for i in range(2, depth + 1):
        inner[i] = layers[i] @ inner[i - 1]
    outer = {depth - 1: layers[depth]}
    for i in range(depth - 2, -1, -1):
        outer[i] = outer[i + 1] @ layers[i + 1]
    # sqrt(Sx) and sqrt(Se) stand in the first and the last layer; alone their squares have trace
    # a and b.
    inner_trace = {0: a, **{i: float(np.sum(x * x)) for i, x in inner.items()}}
    outer_trace = {depth: b, **{i: float(np.sum(x * x)) for i, x in outer.items()}}
    between = range(1, depth)
    k = {i: outer_trace[i] and inner_trace[i] / outer_trace[i] for i in range(depth + 1)}
    k[0], k[depth] = (a / t) ** 2, (t / b) ** 2
    target = left @ s @ right
    return {
        "inner": [(inner[i], np.sqrt(a / t) * c**i * hidden[i] @ np.sqrt(s) @ right)
                  for i in between],
        "outer": [(outer[i], np.sqrt(b / t) * c ** (depth - i) * left @ np.sqrt(s) @ hidden[i].T)
                  for i in between],
        "ends": [(np.trace(right.T @ s @ right) * a / t, np.array(a)),
                 (np.trace(left @ s @ left.T) * b / t, np.array(b))],
        "balance": [(outer_trace[i + 1] * inner[i] @ inner[i].T,
                     inner_trace[i - 1] * outer[i].T @ outer[i]) for i in between],
        "product": [(outer[i] @ inner[i], target) for i in between],
        "left root": [((inner[i].T @ inner[i]) @ (inner[i].T @ inner[i]),
                       k[i] * target.T @ target) for i in between],
        "right root": [((outer[i] @ outer[i].T) @ (outer[i] @ outer[i].T),
                        target @ target.T / k[i]) for i in between],
        "affine": [(np.array(k[i] ** 2), np.array(k[i - 1] * k[i + 1])) for i in between],
        "ends of k": [(np.sqrt(k[0]), np.array(a / t)), (np.sqrt(k[depth]), np.array(t / b))],
        "closed": [(np.array(k[i]), np.array((a / t) ** 2 * c ** (4 * i))) for i in between],
    }  # fmt: skip


def relation(name: str) -> Claim:
    """Return one of the relations as a claim."""
    pairs = numbers()[name]
    flat = [np.concatenate([np.ravel(pair[side]) for pair in pairs]) for side in (0, 1)]
    return Arithmetic(flat[0], flat[1], scale=1.0)
