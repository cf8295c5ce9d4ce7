"""P2.5: with a diagonal D, syre removes uncountably many reflection symmetries too (R5).

Statement: l_r(theta) = l(theta + theta_0) + gamma |theta|_D^2 with distinct D_ii > 0 can keep a
reflection (theta', P) of l only if [P, D] = 0, so for at most 2^d - 1 coordinate projections P, and
theta_0 removes those with probability 1. Without D (D = I) and with rotations of h units of k < h
weights, l_r keeps the reflections along every direction a of the units with a^T theta_0 = 0.

Assumptions: gamma > 0; D_ii > 0, all distinct; theta_0 has a density; for each coordinate
projection the centres theta' of reflections of l are countably many.

Relation: equality.

Reference: arXiv 2408.15495, the advanced form; R5.

Proof idea: across a mirror |theta|_D^2 changes by -4 u^T D (s - b), u in range P, s in its
complement; it vanishes for all u and s only if P D (I - P) = 0 and P D b = 0.

Example output:

    P2.5   proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._mirrors import generator
from proofs_check._steps import proof, same, sign, small, textbook


def claim() -> Claim:
    return Claim(
        "P2.5",
        "With |theta|_D^2, D diagonal with distinct entries, l_r keeps none of uncountably many "
        "reflection symmetries; plain syre keeps those whose plane contains theta_0",
        (
            "gamma > 0",
            "D_ii > 0, all distinct",
            "theta_0 has a density",
            "for each coordinate projection l has countably many centres",
        ),
        "equality",
        "arXiv 2408.15495, advanced form; R5",
    )


def _norm(a: Any, v: Any) -> Any:
    return jnp.sum(a["D"] * v * v)


def exact() -> st.Verdict:
    """Any projection and any diagonal D; P is of any rank."""
    across = st.ProjectionMatrix("d")
    both = {"P": across, "D": "d"}
    inside = lambda a, name: a["P"] @ a[name]
    outside = lambda a, name: a[name] - a["P"] @ a[name]
    entry, first, second = sympy.symbols("p d_i d_j", real=True)
    weight = sympy.Symbol("D_ii", positive=True)
    steps = [
        st.identity(
            "with b = theta_0 - theta': |s - u - b|_D^2 - |s + u - b|_D^2 = -4 u^T D (s - b), "
            "u = P x, s = (I - P) y",
            lambda a: (
                _norm(a, outside(a, "y") - inside(a, "x") - a["b"])
                - _norm(a, outside(a, "y") + inside(a, "x") - a["b"])
                + 4 * jnp.sum(inside(a, "x") * a["D"] * (outside(a, "y") - a["b"]))
            ),
            {**both, "b": "d", "x": "d", "y": "d"},
        ),
        textbook(
            "it is 0 for all x and y only if P D (I - P) = 0 and P D b = 0",
            "a form that is bilinear in x and y, and one linear in x, vanish with their matrices",
            given="x, y free",
        ),
        st.identity(
            "P D - D P = P D (I - P) - (I - P) D P, so P D (I - P) = 0 (with its transpose) is "
            "[P, D] = 0",
            lambda a: (
                a["P"] * a["D"]
                - a["D"][:, None] * a["P"]
                - (a["P"] * a["D"] - (a["P"] * a["D"]) @ a["P"])
                + (a["D"][:, None] * a["P"] - (a["P"] * a["D"]) @ a["P"])
            ),
            both,
        ),
        st.identity(
            "[P, D]_ij = P_ij (D_j - D_i), so distinct entries leave only diagonal P",
            lambda a: (
                a["P"] * a["D"]
                - a["D"][:, None] * a["P"]
                - a["P"] * (a["D"][None, :] - a["D"][:, None])
            ),
            both,
        ),
        same(
            "a diagonal entry of a projection has p^2 - p = p (p - 1): it is 0 or 1, so P is one "
            "of 2^d, and not 0",
            entry**2 - entry,
            entry * (entry - 1),
        ),
        same(
            "with P diagonal, P D (theta' - theta_0) = 0 entry by entry is "
            "D_ii (theta'_i - theta_0i) = 0",
            weight * (first - second),
            weight * first - weight * second,
        ),
        sign("and D_ii does not vanish", weight, "positive"),
        textbook(
            "so P theta_0 = theta' for one of finitely many P and countably many theta': "
            "probability 0",
            "affine subspaces of lower dimension have Lebesgue measure 0",
            given="theta_0 has a density",
        ),
        st.identity(
            "without D, |t - b|^2 is the same at (I - 2P) t if P b = 0: of rotations of the units, "
            "P = a a^T with a^T b = 0 is kept",
            lambda a: (
                jnp.sum((a["t"] - 2 * a["P"] @ a["t"] - _kept(a)) ** 2)
                - jnp.sum((a["t"] - _kept(a)) ** 2)
            ),
            {"P": st.ProjectionMatrix("h"), "t": ("h", "k"), "b": ("h", "k")},
        ),
    ]
    return proof("no reflection is left with a diagonal", steps, claim().reference)


def _kept(a: Any) -> Any:
    """A bias with P b = 0."""
    return a["b"] - a["P"] @ a["b"]


_UNITS, _WIDTH, _SIGMA, _GAMMA = 4, 2, 0.5, 0.05


def _loss(theta: Any) -> Any:
    """A function of theta^T theta: every rotation of the units leaves it as it is."""
    gram = theta.T @ theta
    return jnp.sum((gram - jnp.eye(_WIDTH)) ** 2) + jnp.sin(gram[0, 1])


@jax.jit
def _changes(center: Any, diagonal: Any, direction: Any, theta: Any) -> Any:
    """Return the change of l_r across the mirror of a direction, moved along with the bias."""

    def one(center: Any, diagonal: Any, a: Any, theta: Any) -> Any:
        changed = st.syre.reparametrize(_loss, center, _GAMMA, diagonal)
        image = theta - 2 * jnp.outer(a, a @ (theta + center))
        return changed(image) - changed(theta)

    points = jax.vmap(one, (None, None, None, 0))
    return jax.vmap(points)(center, diagonal, direction, theta)


def _least(center: np.ndarray, diagonal: np.ndarray, starts: np.ndarray, steps: int) -> Any:
    """Return the least size of the change over all directions a, and where it is.

    With theta ~ N(0, I) the mean square of the change is 16 gamma^2 times
    sum_j (a^T D_j b_j)^2 + |(I - a a^T) D_j a|^2, which gradient descent makes small.
    """
    weighted = diagonal * center
    # Divided by the largest slope, so that steps of this size descend.
    scale = 4 * (np.sum(weighted**2, axis=(1, 2)) + np.sum(diagonal**2, axis=(1, 2)))
    spread = np.sum((diagonal - diagonal.mean(axis=1, keepdims=True)) ** 2, axis=(1, 2))
    scale = np.where(spread == 0, 2 * np.sum(weighted**2, axis=(1, 2)), scale)[:, None, None]
    a = starts
    for _ in range(steps):
        value, slope = _size(a, weighted, diagonal)
        a = a - slope / scale
        a /= np.linalg.norm(a, axis=2, keepdims=True)
    value, _ = _size(a, weighted, diagonal)
    best = np.argmin(value, axis=1)
    rows = np.arange(len(a))
    return np.sqrt(np.maximum(value[rows, best], 0)), a[rows, best]


def _size(a: np.ndarray, weighted: np.ndarray, diagonal: np.ndarray) -> Any:
    """Return the square above and its gradient by a (a: draws x starts x units)."""
    along = a @ weighted
    mean, square = a**2 @ diagonal, a**2 @ diagonal**2
    value = np.sum(along**2 + square - mean**2, axis=2)
    slope = 2 * along @ weighted.swapaxes(1, 2)
    slope += 2 * a * (np.sum(diagonal**2, axis=2)[:, None] - 2 * mean @ diagonal.swapaxes(1, 2))
    return value, slope


def _left(spread: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Look for the direction whose mirror l_r keeps best.

    Args:
        spread: sigma_D; 0 for plain syre.
        key: Everything is drawn from it.
        budget: How many draws.
    """
    rng = generator(key)
    draws = budget.steps(1, nanoseconds=10_000_000.0, most=64)
    center = _SIGMA * rng.normal(size=(draws, _UNITS, _WIDTH))
    diagonal = rng.uniform(1 - spread, 1 + spread, size=(draws, _UNITS, _WIDTH))
    starts = np.concatenate(
        [np.tile(np.eye(_UNITS), (draws, 1, 1)), rng.normal(size=(draws, 12, _UNITS))], axis=1
    )
    starts /= np.linalg.norm(starts, axis=2, keepdims=True)
    size, a = _least(center, diagonal, starts, 3000)
    theta = rng.normal(size=(draws, 50, _UNITS, _WIDTH))
    found = np.asarray(_changes(center, diagonal, a, theta))
    # theta = w - theta_0; the change is linear in a.w, and bilinear with the rest.
    w = theta + center[:, None]
    along = np.einsum("nh,nphk->npk", a, w)
    rest = w - a[:, None, :, None] * along[:, :, None, :]
    gap = np.einsum("nh,nhk,nphk->npk", a, diagonal, rest - center[:, None])
    told = -4 * _GAMMA * np.sum(along * gap, axis=2)
    off = float(np.max(np.abs(found - told)))
    kept = int(np.sum(np.max(np.abs(found), axis=1) < 1e-7))
    how = (
        f"{draws} draws, sigma_D {spread:g}, sigma_0 {_SIGMA:g}, {_UNITS} units of {_WIDTH} "
        f"weights; the mirror that is kept best, by descent from {starts.shape[1]} directions"
    )
    best = f"{how}; the least size is {min(size):.2g}"
    parts = [
        small("l_r changes by -4 gamma u^T D (s - theta_0)", off, 1e-10, "50 points; rounding"),
        small(f"draws of {draws} that keep a mirror", kept, 0, best),
    ]
    return st.conjunction("no reflection of a rotation symmetry is left", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _left(0.2, key, budget)


def control() -> st.Verdict:
    """Plain syre: four units of two weights leave two directions with a^T theta_0 = 0."""
    return _left(0.0, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """A decay whose strength differs between the coordinates."""
    return _left(0.2, jax.random.key(1), Budget(1.0))
