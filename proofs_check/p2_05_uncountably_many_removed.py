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
from proofs_check._steps import from_statement, proof, same, small, textbook


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
    steps = [*_change(), *_coordinates(), *_centres(), *_plain()]
    return proof("no reflection is left with a diagonal", steps, claim().reference)


def _across(a: Any, x: Any, y: Any) -> Any:
    """|s - u - b|_D^2 - |s + u - b|_D^2 for u = P x, s = (I - P) y."""
    inside, outside = a["P"] @ x, y - a["P"] @ y
    return _norm(a, outside - inside - a["b"]) - _norm(a, outside + inside - a["b"])


_ARRAYS = {"P": st.ProjectionMatrix("d"), "D": "d", "b": "d", "x": "d", "y": "d"}


def _change() -> list[st.Verdict]:
    """What l_r changes by across the mirror, and what follows if that is 0 everywhere."""

    def block(a: Any) -> Any:
        """P D (I - P)."""
        weighted = a["P"] * a["D"]
        return weighted - weighted @ a["P"]

    return [
        from_statement("l(. + theta_0) has the mirror (theta' - theta_0, P)", "P2.1"),
        st.identity(
            "so across it l_r changes by gamma times |s - u - b|_D^2 - |s + u - b|_D^2 = "
            "-4 u^T D (s - b), b = theta_0 - theta', u = P x, s = (I - P) y",
            lambda a: (
                _across(a, a["x"], a["y"])
                + 4 * jnp.sum(a["P"] @ a["x"] * a["D"] * (a["y"] - a["P"] @ a["y"] - a["b"]))
            ),
            _ARRAYS,
        ),
        st.identity(
            "from y = 0 to y = D P x this falls by 4 |(I - P) D P x|^2: if it is 0 for all x and "
            "y, (I - P) D P = 0",
            lambda a: (
                _across(a, a["x"], a["D"] * (a["P"] @ a["x"]))
                - _across(a, a["x"], 0 * a["y"])
                + 4 * jnp.sum((a["x"] @ block(a)) ** 2)
            ),
            _ARRAYS,
        ),
        st.identity(
            "at x = D b and y = 0 it is 4 |P D b|^2: P D b = 0",
            lambda a: (
                _across(a, a["D"] * a["b"], 0 * a["y"])
                - 4 * jnp.sum((a["P"] @ (a["D"] * a["b"])) ** 2)
            ),
            _ARRAYS,
        ),
        st.identity(
            "2 |P D (I - P)|^2 = |[P, D]|^2 = sum_ij P_ij^2 (D_i - D_j)^2, so P_ij = 0 wherever "
            "D_i and D_j differ",
            lambda a: (
                2 * jnp.sum(block(a) ** 2)
                - jnp.sum((a["P"] * a["D"] - a["D"][:, None] * a["P"]) ** 2),
                2 * jnp.sum(block(a) ** 2)
                - jnp.sum(a["P"] ** 2 * (a["D"][:, None] - a["D"][None, :]) ** 2),
            ),
            _ARRAYS,
        ),
    ]


def _coordinates() -> list[st.Verdict]:
    """A diagonal projection has the entries 0 and 1."""
    entry = sympy.Symbol("P_ii", real=True)
    diagonal = sympy.solve(entry**2 - entry, entry)
    return [
        st.identity(
            "P_ii = sum_j P_ij^2, which is P_ii^2 for diagonal P",
            lambda a: jnp.trace(a["x"][:, None] * a["P"]) - jnp.sum(a["x"] @ a["P"] ** 2),
            _ARRAYS,
        ),
        same("p = p^2 has two solutions", len(diagonal), 2),
        same("of sum 1", sum(diagonal), 1),
        same("and product 0: they are 0 and 1", diagonal[0] * diagonal[-1], 0),
        textbook(
            "so P is the projection on one of the 2^d - 1 sets of coordinates that are not empty",
            "a set of d elements has 2^d subsets, one of them empty",
            given="P is not 0, the D_ii are distinct",
        ),
    ]


def _centres() -> list[st.Verdict]:
    offset = sympy.Symbol("theta_0i - theta'_i", real=True)
    weight = sympy.Symbol("D_ii", positive=True)
    [root] = sympy.solve(weight * offset, offset)
    return [
        same("P D b = 0 is D_ii b_i = 0 for the coordinates i of P, which leaves b_i = 0", root, 0),
        textbook(
            "so P theta_0 = P theta' for one of finitely many P and countably many theta': "
            "probability 0",
            "affine subspaces of lower dimension have Lebesgue measure 0",
            given="theta_0 has a density, P is not 0",
        ),
    ]


def _plain() -> list[st.Verdict]:
    """Rotations of the units, P = a a^T for a unit vector a."""
    return [
        st.identity(
            "theta^T theta is the same at (I - 2P) theta: a loss of it has these mirrors",
            lambda a: (
                (a["t"] - 2 * a["P"] @ a["t"]).T @ (a["t"] - 2 * a["P"] @ a["t"])
                - a["t"].T @ a["t"]
            ),
            {"P": st.ProjectionMatrix("h"), "t": ("h", "k")},
        ),
        st.identity(
            "(a a^T)^2 - a a^T = (|a|^2 - 1) a a^T: a projection if |a| = 1",
            lambda a: (
                jnp.outer(a["a"], a["a"]) @ jnp.outer(a["a"], a["a"])
                - jnp.sum(a["a"] ** 2) * jnp.outer(a["a"], a["a"])
            ),
            {"a": "h"},
        ),
        st.identity(
            "without D, |t - b|^2 is the same at (I - 2P) t if P b = 0",
            lambda a: (
                jnp.sum((a["t"] - 2 * a["P"] @ a["t"] - _kept(a)) ** 2)
                - jnp.sum((a["t"] - _kept(a)) ** 2)
            ),
            {"P": st.ProjectionMatrix("h"), "t": ("h", "k"), "b": ("h", "k")},
        ),
        textbook(
            "there are directions a with a^T theta_0 = 0, a sphere of dimension h - k - 1 or more",
            "rank and nullity", given="theta_0 has k < h columns",
        ),
    ]  # fmt: skip


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
