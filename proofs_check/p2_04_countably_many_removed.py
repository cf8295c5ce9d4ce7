"""P2.4: syre keeps none of countably many reflection symmetries and gains none (R4).

Statement: with probability 1 over theta_0 ~ N(0, sigma_0^2 I), l_r(theta) = l(theta + theta_0) +
gamma |theta|^2 has none of the reflection symmetries of l, and none that l does not have. More
precisely: if the odd part of l across (m, P) is linear, l(w) - l(mirror image of w) =
2 a.P(w - m), then l_r has the moved mirror only if P theta_0 = P m + P a/(2 gamma). Symmetries of
l are the mirrors with a = 0.

Assumptions: gamma > 0; the mirrors across which the odd part of l is linear are countably many
(which excludes linear objectives, for which all of them are).

Relation: equality.

Reference: arXiv 2408.15495, the removal theorem; R4.

Proof idea: across a mirror at c, |theta|^2 changes by -4 u.Pc, linear in u; to cancel it theta_0
has to lie in an affine subspace that is not everything.

Example output:

    P2.4   proved        supported     refuted
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._mirrors import generator
from proofs_check._steps import cited, proof, small, textbook


def claim() -> Claim:
    return Claim(
        "P2.4",
        "With probability 1 l(theta + theta_0) + gamma |theta|^2 has none of countably many "
        "reflection symmetries of l and gains none",
        (
            "gamma > 0",
            "theta_0 has a density",
            "the mirrors across which the odd part of l is linear are countably many",
        ),
        "equality",
        "arXiv 2408.15495, removal theorem; R4",
    )


def _change(a: Any, odd: Any) -> Any:
    """Change of l_r across the mirror at c, u = t - c, when that of l is -2 odd.P u."""
    across, u = a["P"], a["t"] - a["P"] @ a["c"]
    image = a["t"] - 2 * across @ u
    decay = jnp.sum(a["gamma"] * image * image) - jnp.sum(a["gamma"] * a["t"] * a["t"])
    return decay - 2 * odd @ (across @ u)


def _at_witness(a: Any) -> Any:
    """The same at u = P(odd + 2 gamma c)."""
    pull = a["P"] @ (a["odd"] + 2 * a["gamma"] * (a["P"] @ a["c"]))
    moved = {**a, "t": a["P"] @ a["c"] + pull}
    return _change(moved, a["odd"]) + 2 * pull @ pull


def _linear_objective(a: Any) -> Any:
    """Change of a.(t + theta_0) + gamma |t|^2 across (-a/(2 gamma), P), times gamma."""
    gamma, slope = a["gamma"], a["odd"]
    image = gamma * a["t"] - a["P"] @ (2 * gamma * a["t"] + slope)  # gamma times the image
    return (
        slope @ image + jnp.sum(image * image) - gamma * (slope @ a["t"])
        - gamma * gamma * jnp.sum(a["t"] * a["t"])
    )  # fmt: skip


def exact() -> st.Verdict:
    """Any projection, mirror and gamma; l enters only through its odd part."""
    arrays = {"P": st.ProjectionMatrix("d"), "t": "d", "c": "d"}
    wide = {**arrays, "odd": "d", "gamma": ()}
    steps = [
        st.identity(
            "|(I - 2P) t + Pc|^2 - |t + Pc|^2 = -4 t.Pc",
            lambda a: (
                jnp.sum((a["t"] - 2 * a["P"] @ a["t"] + a["P"] @ a["c"]) ** 2)
                - jnp.sum((a["t"] + a["P"] @ a["c"]) ** 2)
                + 4 * a["t"] @ a["P"] @ a["c"]
            ),
            arrays,
        ),
        st.identity(
            "the change of l_r across (c, P) is -2 u.P(a + 2 gamma c), if that of l is -2 a.Pu",
            lambda a: (
                _change(a, a["odd"])
                + 2
                * (a["t"] - a["P"] @ a["c"])
                @ a["P"]
                @ (a["odd"] + 2 * a["gamma"] * (a["P"] @ a["c"]))
            ),
            wide,
        ),
        st.identity(
            "at u = P(a + 2 gamma c) it is -2 |P(a + 2 gamma c)|^2, so it vanishes everywhere only "
            "if P(a + 2 gamma c) = 0",
            _at_witness,
            wide,
        ),
        cited(
            "if l_r has (c, P), the change of l has to be linear in u, -2 a.Pu: otherwise nothing "
            "cancels -4 gamma u.Pc; with a = 0 exactly for the mirrors of l",
            "the display above, read backwards",
        ),
        st.identity(
            "c = P m - P theta_0 (P2.1), so P(a + 2 gamma c) = 0 is "
            "P theta_0 = P m + P a/(2 gamma)",
            lambda a: (
                a["P"] @ (a["odd"] + 2 * a["gamma"] * (a["P"] @ (a["m"] - a["b"])))
                - (a["P"] @ a["odd"] + 2 * a["gamma"] * (a["P"] @ a["m"]))
                + 2 * a["gamma"] * (a["P"] @ a["b"])
            ),
            {"P": arrays["P"], "odd": "d", "gamma": (), "m": "d", "b": "d"},
        ),
        textbook(
            "for P != 0 these theta_0 form an affine subspace of dimension d - rank P < d, which "
            "has probability 0; so has a countable union",
            "affine subspaces of lower dimension have Lebesgue measure 0",
            given="theta_0 has a density",
        ),
        st.identity(
            "the assumption is needed: for l = a.w, l_r has every reflection with the centre "
            "-a/(2 gamma)",
            _linear_objective,
            {"P": arrays["P"], "t": "d", "odd": "d", "gamma": ()},
        ),
    ]
    return proof("none of countably many mirrors is kept or gained", steps, claim().reference)


_INPUTS, _UNITS, _SAMPLES = 3, 4, 8


def _loss(p: Any, x: Any, y: Any) -> Any:
    return jnp.mean((jnp.tanh(x @ p["W"].T) @ p["u"] - y) ** 2)


def _directions() -> np.ndarray:
    """Directions of the units whose mirrors the net has: flips and swaps."""
    unit = np.eye(_UNITS)
    swaps = [unit[i] - unit[j] for i in range(_UNITS) for j in range(i)]
    return np.concatenate([unit, np.array(swaps) / 2**0.5])


@functools.partial(jax.jit, static_argnums=0)
def _changes(gamma: float, bias: Any, theta: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Return the change of l_r across every moved mirror, and -4 gamma u.Pc."""

    def one(bias: Any, theta: Any, x: Any, y: Any) -> Any:
        changed = st.syre.reparametrize(_loss, bias, gamma)

        def across(direction: Any) -> Any:
            project = lambda leaf: jnp.multiply.outer(direction, direction @ leaf)
            center = jax.tree.map(lambda b: -project(b), bias)
            away = jax.tree.map(lambda t, c: t - c, theta, center)
            image = jax.tree.map(lambda t, u: t - 2 * project(u), theta, away)
            told = jax.tree.map(lambda u, c: -4 * gamma * jnp.sum(u * c), away, center)
            return changed(image, x, y) - changed(theta, x, y), sum(jax.tree.leaves(told))

        return jax.vmap(across)(jnp.asarray(_directions()))

    points = jax.vmap(one, (None, 0, None, None))
    return jax.vmap(points)(bias, theta, x, y)


def _removed(gamma: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Draw nets and biases; no mirror may be left, at any of some points."""
    rng, points = generator(key), 8
    draws = budget.steps(points, nanoseconds=100_000.0, most=1000)
    keys = jax.random.split(key, draws)
    drawn = lambda *shape: {
        "u": rng.normal(size=(*shape, _UNITS)),
        "W": rng.normal(size=(*shape, _UNITS, _INPUTS)),
    }
    like = {"u": jnp.zeros(_UNITS), "W": jnp.zeros((_UNITS, _INPUTS))}
    bias = jax.vmap(lambda k: st.syre.draw_bias(k, like))(keys)
    x, y = rng.normal(size=(draws, _SAMPLES, _INPUTS)), rng.normal(size=(draws, _SAMPLES))
    found, told = map(np.asarray, _changes(gamma, bias, drawn(draws, points), x, y))
    size = float(np.max(np.abs(told))) or 1.0
    kept = int(np.sum(np.max(np.abs(found), axis=1) < 1e-12))
    mirrors = found.shape[0] * found.shape[2]
    how = f"{draws} tanh nets, biases of the default spread, {points} points; only rounding"
    off = float(np.max(np.abs(found - told))) / size
    parts = [
        small("l_r changes across the moved mirrors by -4 gamma u.Pc", off, 1e-8, how),
        small(f"mirrors that l_r keeps, of {mirrors}", kept, 0, "no change above 1e-12 anywhere"),
    ]
    return st.conjunction("no mirror of l is one of l_r", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    gamma = float(generator(jax.random.fold_in(key, 1)).uniform(0.01, 0.1))
    return _removed(gamma, key, budget)


def control() -> st.Verdict:
    """Without weight decay every mirror is kept, moved along with the bias."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of just this
        return _removed(0.0, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """With weight decay."""
    return _removed(0.05, jax.random.key(1), Budget(1.0))
