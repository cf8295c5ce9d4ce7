"""B.2: the equilibrium of a whole GL(h) orbit is one matrix geometric mean away.

Statement: from any (U, W) the noise equilibrium on the orbit (U g, g^-1 W) is at g = X^(1/2), where
X = N1^-1 # N2 is the only positive definite solution of X N1 X = N2, with N1 = U^T M_U U,
N2 = W M_W W^T and M = sigma^2 Gamma + 2 gamma 1. It is unique up to rotations of the hidden basis
and leaves U W as it is.

Assumptions: l depends on U and W through U W only; N1 and N2 positive definite.

Relation: equality.

Reference: beyond arXiv 2402.07193, section on matrix factorization.

Proof idea: multiply the balance g^T N1 g = g^-1 N2 g^-T by g and g^T; N1^(1/2) X N1^(1/2) is then
the positive root of N1^(1/2) N2 N1^(1/2).

Example output:

    B.2    proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._intervals import at_rest, measured, tends_to
from proofs_check._steps import proof, textbook
from proofs_check._two_layer import generator, minimum, net, spread, teacher

_RATES = (0.016, 0.008)
_LEAST = 0.8
"""Slow time, in which a step is eta^2: several relaxation times, a third of them left out."""
_DECAY = 0.5
"""gamma/T: weight decay as strong as the noise."""


def claim() -> Claim:
    return Claim(
        "B.2",
        "The equilibrium of the orbit (U g, g^-1 W) is at g = X^(1/2), X = N1^-1 # N2 the only "
        "solution of X N1 X = N2",
        ("l depends on U W only", "N1, N2 positive definite"),
        "equality",
        "beyond arXiv 2402.07193, matrix factorization",
    )


def exact() -> st.Verdict:
    """All sizes. k stands for g^-1: what has to vanish is a sum of terms with g k - 1."""
    symmetric, square = st.SymmetricMatrix("h"), ("h", "h")
    one = lambda a: jnp.eye(a.shape[0])

    def off(a: Any) -> Any:
        return a["g"] @ a["k"] - one(a["g"])

    def left_over(a: Any) -> Any:
        e = off(a)
        return e @ a["N2"] @ (one(e) + e.T) + a["N2"] @ e.T

    steps = [
        st.identity(
            "dQ/dt = -4 gamma Q + 2 sigma^2 (W Gamma_W W^T - U^T Gamma_U U) is 2 (N2 - N1)",
            lambda a: (
                -4 * a["gamma"] * (a["U"].T @ a["U"] - a["W"] @ a["W"].T)
                + 2 * a["T"] * (a["W"] @ a["C"] @ a["W"].T - a["U"].T @ a["B"] @ a["U"])
                - 2 * (_form(a["W"].T, a["C"], a) - _form(a["U"], a["B"], a))
            ),
            {
                "U": ("dy", "h"), "W": ("h", "dx"), "B": st.SymmetricMatrix("dy"),
                "C": st.SymmetricMatrix("dx"), "gamma": (), "T": (),
            },
        ),
        st.identity(
            "with M constant on the orbit N1 becomes g^T N1 g and N2 becomes k N2 k^T",
            lambda a: [
                (a["U"] @ a["g"]).T @ a["M"] @ (a["U"] @ a["g"])
                - a["g"].T @ (a["U"].T @ a["M"] @ a["U"]) @ a["g"],
                (a["k"] @ a["W"]) @ a["L"] @ (a["k"] @ a["W"]).T
                - a["k"] @ (a["W"] @ a["L"] @ a["W"].T) @ a["k"].T,
            ],
            {
                "U": ("dy", "h"), "W": ("h", "dx"), "M": st.SymmetricMatrix("dy"),
                "L": st.SymmetricMatrix("dx"), "g": square, "k": square,
            },
        ),
        st.identity(
            "U g k W = U W when g k = 1: the function stays",
            lambda a: a["U"] @ a["g"] @ a["k"] @ a["W"] - a["U"] @ a["W"]
            - a["U"] @ off(a) @ a["W"],
            {"U": ("dy", "h"), "W": ("h", "dx"), "g": square, "k": square},
        ),
        st.identity(
            "g (g^T N1 g - k N2 k^T) g^T = X N1 X - N2 with X = g g^T, when g k = 1",
            lambda a: (
                a["g"] @ (a["g"].T @ a["N1"] @ a["g"] - a["k"] @ a["N2"] @ a["k"].T) @ a["g"].T
                - (a["g"] @ a["g"].T @ a["N1"] @ a["g"] @ a["g"].T - a["N2"])
                + left_over(a)
            ),
            {"g": square, "k": square, "N1": symmetric, "N2": symmetric},
        ),
        st.identity(
            "(R X R)^2 = R N2 R where X N1 X = N2 and R R = N1",
            lambda a: (
                (a["R"] @ a["X"] @ a["R"]) @ (a["R"] @ a["X"] @ a["R"])
                - a["R"] @ a["X"] @ (a["R"] @ a["R"]) @ a["X"] @ a["R"]
            ),
            {"R": symmetric, "X": symmetric},
        ),
        st.identity(
            "X = T Y T, T = R^-1, Y Y = R N2 R solves X N1 X = N2: what is left has T R - 1",
            lambda a: (
                a["T"] @ a["Y"] @ a["T"] @ a["R"] @ a["R"] @ a["T"] @ a["Y"] @ a["T"]
                - a["T"] @ a["Y"] @ a["Y"] @ a["T"]
                - a["T"] @ a["Y"] @ _twice(a["T"] @ a["R"] - one(a["R"])) @ a["Y"] @ a["T"]
            ),
            {"R": symmetric, "T": symmetric, "Y": symmetric},
        ),
        st.identity(
            "T (R N2 R) T = N2 when T R = 1",
            lambda a: (
                a["T"] @ a["R"] @ a["N2"] @ a["R"] @ a["T"] - a["N2"]
                - (a["T"] @ a["R"] - one(a["R"])) @ a["N2"] @ a["R"] @ a["T"]
                - a["N2"] @ (a["R"] @ a["T"] - one(a["R"]))
            ),
            {"R": symmetric, "T": symmetric, "N2": symmetric},
        ),
        textbook(
            "a positive definite matrix has exactly one positive definite root: R X R = "
            "(R N2 R)^(1/2) exists and is the only one, so X is",
            "the positive root of a positive definite matrix", given="N1, N2 positive definite",
        ),
        textbook(
            "g g^T = X gives g = X^(1/2) O with an orthogonal O, a rotation of the hidden basis",
            "polar decomposition", given="X positive definite",
        ),
    ]  # fmt: skip
    return proof("the equilibrium of the whole orbit", steps, claim().reference)


def _form(factor: Any, gamma: Any, a: Any) -> Any:
    return factor.T @ (a["T"] * gamma + 2 * a["gamma"] * jnp.eye(gamma.shape[0])) @ factor


def _twice(e: Any) -> Any:
    """Return (1 + e)(1 + e^T) - 1."""
    return e + e.T + e @ e.T


def _norms(p: Any) -> Any:
    return jnp.sum(p["U"] ** 2) - jnp.sum(p["W"] ** 2)


@measured
def _reached(
    model: st.Model, V: Any, cov_x: Any, decays: tuple[float, ...], key: jax.Array, budget: Budget
) -> st.Verdict:
    """Compare |U|^2 - |W|^2 in SGD, eta to 0, with the point that the geometric mean gives."""
    start, rows, replicas = minimum(generator(key), V), len(V), 64
    gammas = 4 * np.trace(cov_x) * np.eye(rows), 4 * rows * cov_x
    parts = []
    for decay in decays:
        there = st.rebalance(
            start, ("U", "W"), noise=gammas, temperature=1.0, weight_decay=decay
        ).params
        size = float(np.sum(there["U"] ** 2) + np.sum(there["W"] ** 2))
        points = []
        for n, rate in enumerate(_RATES):
            steps = budget.steps(
                replicas, nanoseconds=250.0, share=(0.12, 0.38)[n], most=int(4 / rate**2),
                least=int(_LEAST / rate**2),
            )  # fmt: skip
            run = st.simulate(
                model, st.SGD(rate, weight_decay=decay * rate), params=start, steps=steps,
                replicas=replicas, key=jax.random.fold_in(key, n), observe=_norms,
            )  # fmt: skip
            records = run.observables["_norms"]
            points.append((rate, at_rest(records, 0.06 * size, 1 / 3)))
        claim = f"|U|^2 - |W|^2 at gamma/T = {decay:g} as eta -> 0"
        parts.append(tends_to(claim, float(_norms(there)), points, 0.03 * size))
    return st.conjunction("SGD goes to the point that the geometric mean gives", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    """Isotropic label noise, for which SGD goes to the matrix equilibrium (P1.10)."""
    rng = generator(key)
    V, cov_x = teacher(rng), spread(rng, 3)
    return _reached(net(V, cov_x, np.eye(2)), V, cov_x, (0.0, _DECAY), key, budget)


def _plain(p: Any, z: Any, c: Any) -> Any:
    return jnp.sum((p["U"] @ (p["W"] @ z["x"]) - c["V"] @ z["x"] - z["eps"]) ** 2)


def _biased(p: Any, z: Any, c: Any) -> Any:
    return _plain(p, z, c) + jnp.sum(p["U"] ** 2) / 20


def control() -> st.Verdict:
    """The loss sees U by itself too, not the product alone."""
    return _controlled(_biased)


def twin() -> st.Verdict:
    """The loss sees the product alone."""
    return _controlled(_plain)


def _controlled(loss: Any) -> st.Verdict:
    V, cov_x = np.eye(2, 3), np.diag([0.5, 1.0, 2.0])
    model = st.Model(
        loss, {"U": (2, 2), "W": (2, 3)}, {"x": st.Normal(3, cov=cov_x), "eps": st.Normal(2)},
        {"V": (2, 3)}, name="two layers",
    ).bind(V=V)  # fmt: skip
    return _reached(model, V, cov_x, (0.0,), jax.random.key(0), Budget(1.0))
