"""P2.1: moving the origin moves a reflection symmetry and does not remove it (R1).

Statement: l has the (theta', P)-reflection if and only if l(. + theta_0) has
(theta' - P theta_0, P). So a bias without weight decay removes nothing.

Assumptions: P an orthogonal projection; P theta' = theta'.

Relation: equality.

Reference: arXiv 2408.15495, section on reflection symmetry; R1.

Proof idea: the two mirror maps are conjugate by the translation.

Example output:

    P2.1   proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._mirrors import generator, mirrored, orthonormal
from proofs_check._steps import proof, small, textbook


def claim() -> Claim:
    return Claim(
        "P2.1",
        "Moving the origin removes no reflection symmetry: l has (theta', P) if and only if "
        "l(. + theta_0) has (theta' - P theta_0, P)",
        ("P = P^T = P^2", "P theta' = theta'"),
        "equality",
        "arXiv 2408.15495, reflection symmetry; R1",
    )


def _across(a: Any, t: Any, center: Any) -> Any:
    return t - 2 * a["P"] @ (t - center)


def exact() -> st.Verdict:
    """Any projection, any loss: only the mirror maps enter."""
    arrays = {"P": st.ProjectionMatrix("d"), "t": "d", "b": "d", "c": "d"}
    steps = [
        st.identity(
            "P theta' = theta' makes (I - 2P) t + theta' the map t + theta' -> its mirror image, "
            "t -> t - 2P(t - theta')",
            lambda a: (
                _across(a, a["t"] + a["P"] @ a["c"], a["P"] @ a["c"])
                - (a["t"] - 2 * a["P"] @ a["t"] + a["P"] @ a["c"])
            ),
            arrays,
        ),
        st.identity(
            "with theta'' = theta' - P b: (mirror image of t at theta'') + b = mirror image of "
            "t + b at theta'",
            lambda a: (
                _across(a, a["t"], a["c"] - a["P"] @ a["b"])
                + a["b"]
                - _across(a, a["t"] + a["b"], a["c"])
            ),
            arrays,
        ),
        textbook(
            "so l(mirror image at theta'' + b) = l(mirror image of t + b at theta') = l(t + b) for "
            "all t: l(. + b) has (theta'', P) if l has (theta', P)",
            "substitution",
            given="l has (theta', P)",
        ),
        st.identity(
            "theta'' is a centre again: P theta'' = theta'' for theta' = P c",
            lambda a: (
                a["P"] @ (a["P"] @ a["c"] - a["P"] @ a["b"]) - (a["P"] @ a["c"] - a["P"] @ a["b"])
            ),
            arrays,
        ),
        st.identity(
            "conversely: moving back by -b leads from theta'' to theta'",
            lambda a: (a["c"] - a["P"] @ a["b"]) - a["P"] @ (-a["b"]) - a["c"],
            arrays,
        ),
    ]
    return proof("a translation moves the mirrors", steps, claim().reference)


def _kept(moves_along: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Compare l(. + theta_0) at points and at their images across the mirror said to be there.

    Args:
        moves_along: 1 for the mirror (theta' - P theta_0, P); 0 for (theta', P).
    """
    rng, size, losses = generator(key), 6, 16
    points = budget.steps(losses, nanoseconds=5_000.0, most=2000)
    off = 0.0
    for _ in range(losses):
        axes = orthonormal(rng, size, int(rng.integers(1, size)))
        project = axes @ axes.T
        center, bias = project @ rng.normal(size=size), rng.normal(size=size)
        loss = mirrored(rng, project, center)
        mirror = center - moves_along * project @ bias
        t = rng.normal(size=(points, size))
        image = t - 2 * (t - mirror) @ project
        there, here = loss(image + bias), loss(t + bias)
        off = max(off, float(np.max(np.abs(there - here)) / np.mean(here)))
    how = f"{losses} losses, {points} points each, rank and direction of P drawn; only rounding"
    return small("l(. + theta_0) has the moved reflection", off, 1e-10, how)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _kept(1.0, key, budget)


def control() -> st.Verdict:
    """The mirror stays where it was."""
    return _kept(0.0, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """The mirror moves along."""
    return _kept(1.0, jax.random.key(1), Budget(1.0))
