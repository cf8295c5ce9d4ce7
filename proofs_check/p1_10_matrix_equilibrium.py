"""P1.10: the matrix noise equilibrium, where it is exact and where it is not.

Statement: all charges Q = U^T U - W W^T are at rest where U^T Gamma_U U = W Gamma_W W^T; with
weight decay each Gamma becomes Gamma + (2 gamma/sigma^2) 1. SGD goes there as eta -> 0 if the
noise turns no minimum: for isotropic label noise (Sigma = c H), and for jointly aligned V, Sigma_x,
Sigma_eps. Otherwise it comes to rest near it only, where B.3 says.

Assumptions: l depends on U W only; a minimum U W = V with label noise; isotropic or aligned noise.

Relation: equality.

Reference: arXiv 2402.07193, section on matrix factorization.

Proof idea: the charge law is the symmetric part of <A theta, d theta/dt> = Tr[A^T H K]. The
antisymmetric part vanishes if H K is symmetric; an exact counterexample has a matrix equilibrium
where it does not.

Example output:

    P1.10  proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._exactly import fails, reads
from proofs_check._steps import from_statement, proof, same, textbook
from proofs_check._two_layer import (
    SYMMETRY,
    comes_to_rest,
    generator,
    minimum,
    misaligned,
    net,
    spread,
    teacher,
)  # fmt: skip

_DECAY = 0.5
"""gamma/T: weight decay as strong as the noise."""
_MARGIN = 0.025
"""Deviation of the relative drift of the charges that still counts as none."""


def claim() -> Claim:
    return Claim(
        "P1.10",
        "U^T Gamma_U U = W Gamma_W W^T at the noise equilibrium, Gamma + (2 gamma/sigma^2) 1 with "
        "weight decay: where SGD goes for isotropic or aligned noise, and near it only otherwise",
        ("l depends on U W only", "label noise at a minimum", "isotropic or aligned noise"),
        "equality",
        "arXiv 2402.07193, matrix factorization",
    )


def _loss(p: Any, c: Any) -> Any:
    off = p[0] @ p[1] - c["U"] @ c["W"]
    return jnp.trace(off @ c["Sx"] @ off.T)


def _curvature(a: Any) -> Any:
    """Second derivative of L along (A, B) at the minimum (U, W)."""
    point, along = (a["U"], a["W"]), (a["A"], a["B"])
    slope = lambda p: jax.jvp(lambda q: _loss(q, a), (p,), (along,))[1]
    return jax.jvp(slope, (point,), (along,))[1]


def _change(a: Any) -> Any:
    return a["A"] @ a["W"] + a["U"] @ a["B"]


def exact() -> st.Verdict:
    return proof(
        "the matrix equilibrium, when it is exact, and that it is not always",
        [_condition(), _isotropic(), _aligned(), _not_always()],
        claim().reference,
    )


def _condition() -> st.Verdict:
    x, eps = st.Normal("dx", cov="Sx"), st.Normal("dy", cov="Se")
    gradient = lambda z: -2 * z["e"][:, None] * z["x"]
    steps = [
        from_statement("dQ/dt = -4 gamma Q + 2 sigma^2 (W Gamma_W W^T - U^T Gamma_U U)", "P1.9"),
        st.identity(
            "with rho = 2 gamma/sigma^2 this is 2 sigma^2 (W (Gamma_W + rho) W^T - U^T (Gamma_U + "
            "rho) U)",
            lambda a: (
                -2 * a["s"] * a["rho"] * (a["U"].T @ a["U"] - a["W"] @ a["W"].T)
                + 2 * a["s"] * (a["W"] @ a["C"] @ a["W"].T - a["U"].T @ a["B"] @ a["U"])
                - 2 * a["s"] * a["W"] @ (a["C"] + a["rho"] * jnp.eye(a["C"].shape[0])) @ a["W"].T
                + 2 * a["s"] * a["U"].T @ (a["B"] + a["rho"] * jnp.eye(a["B"].shape[0])) @ a["U"]
            ),
            {
                "U": ("dy", "h"), "W": ("h", "dx"), "B": st.SymmetricMatrix("dy"),
                "C": st.SymmetricMatrix("dx"), "s": (), "rho": (),
            },
        ),
        reads(
            "at a minimum Gamma_U = 4 Tr[Sx] Se",
            st.expectation(lambda z: gradient(z) @ gradient(z).T, {"x": x, "e": eps}),
            "4 * Tr[Sx] Se",
        ),
        reads(
            "and Gamma_W = 4 Tr[Se] Sx",
            st.expectation(lambda z: gradient(z).T @ gradient(z), {"x": x, "e": eps}),
            "4 * Tr[Se] Sx",
        ),
        from_statement("every orbit with full-rank factors has such a point", "B.2"),
    ]  # fmt: skip
    return st.conjunction("the charges are at rest at the matrix equilibrium, nowhere else", steps)


def _isotropic() -> st.Verdict:
    shapes = {
        "U": ("dy", "h"), "W": ("h", "dx"), "A": ("dy", "h"), "B": ("h", "dx"), "s": (),
        "Sx": st.SymmetricMatrix("dx"),
    }  # fmt: skip
    steps = [
        reads(
            "the gradient noise along (A, B) is 4 E[(eps^T D x)^2] = 4 Tr[D Sx D^T Se], "
            "D = A W + U B",
            st.expectation(
                lambda z, c: 4 * jnp.sum(z["e"] * (c["D"] @ z["x"])) ** 2,
                {"x": st.Normal("dx", cov="Sx"), "e": st.Normal("dy", cov="Se")},
                {"D": ("dy", "dx")},
            ),
            "4 * Tr[D Sx D^T Se]",
        ),
        st.identity(
            "with Se = s 1 it is 2 s times the curvature along (A, B): Sigma = 2 s H",
            lambda a: (
                4 * a["s"] * jnp.trace(_change(a) @ a["Sx"] @ _change(a).T)
                - 2 * a["s"] * _curvature(a)
            ),
            shapes,
        ),
        st.identity(
            "with Sigma = c H, K = (c T/2) P solves HK + KH = T Sigma, P the projection on the "
            "range of H = P M P; it is the only solution there",
            lambda a: (
                _fluctuation(a) @ _curved(a)
                + _curved(a) @ _fluctuation(a)
                - a["T"] * a["c"] * _curved(a)
            ),
            {
                "P": st.ProjectionMatrix("d"),
                "M": st.SymmetricMatrix("d"),
                "c": (),
                "T": (),
            },
        ),
        st.identity(
            "so Tr[A^T H K] = 0 for A = B - B^T",
            lambda a: jnp.trace((a["B"] - a["B"].T).T @ _curved(a) @ _fluctuation(a)),
            {
                "P": st.ProjectionMatrix("d"),
                "M": st.SymmetricMatrix("d"),
                "c": (),
                "T": (),
                "B": ("d", "d"),
            },
        ),
        st.identity(
            "Sigma = c H stays true on the orbit, where both become g^-T . g^-1",
            lambda a: a["g"].T @ (a["c"] * a["H"]) @ a["g"] - a["c"] * (a["g"].T @ a["H"] @ a["g"]),
            {"g": ("d", "d"), "H": st.SymmetricMatrix("d"), "c": ()},
        ),
    ]
    return st.conjunction("isotropic label noise turns nothing", steps)


def _curved(a: Any) -> Any:
    """H, with its range inside that of P."""
    return a["P"] @ a["M"] @ a["P"]


def _fluctuation(a: Any) -> Any:
    """K = (c T/2) P, the covariance of the fluctuations."""
    return a["c"] * a["T"] / 2 * a["P"]


def _aligned() -> st.Verdict:
    u, w, x, e = sympy.symbols("u_i w_j x_j e_i", positive=True)
    direction = sympy.Matrix([w, u])
    h, s = (n * direction * direction.T for n in (2 * x, 4 * e * x))
    steps = [
        st.identity(
            "with diagonal U, W, Sx, Se both forms are sums over (i, j) of (A_ij w_j + u_i B_ij)^2",
            lambda a: (
                jnp.trace(
                    _diagonal(a) @ (a["x"][:, None] * _diagonal(a).T) * a["e"][None, :]
                )
                - jnp.einsum("ij,ij,j,i->", _diagonal(a), _diagonal(a), a["x"], a["e"])
            ),
            {"A": ("n", "n"), "B": ("n", "n"), "u": "n", "w": "n", "x": "n", "e": "n"},
        ),
        *(
            same(
                f"the blocks 2 x_j v v^T of H and 4 e_i x_j v v^T of Sigma commute: {i + 1}{j + 1}",
                (h * s)[i, j], (s * h)[i, j],
            )
            for i in range(2) for j in range(2)
        ),
        textbook(
            "if Sigma commutes with H so does K, and HK is symmetric",
            "uniqueness of the solution of the Lyapunov equation",
            given="H positive on its range",
        ),
        from_statement(
            "the aligned orbit has its matrix equilibrium at diagonal U, W, up to rotations",
            "P1.11",
        ),
    ]  # fmt: skip
    return st.conjunction(
        "jointly aligned V, Sigma_x, Sigma_eps turn nothing at equilibrium", steps
    )


def _diagonal(a: Any) -> Any:
    return a["A"] * a["w"][None, :] + a["u"][:, None] * a["B"]


def _not_always() -> st.Verdict:
    """An exact matrix equilibrium that the noise turns: Se = P^T Sx P, U = P^-1, W = 2/3."""
    P, Sx = sympy.Matrix([[1, "3/2"], [1, 1]]), sympy.diag(1, 4)
    Se, U, W = P.T * Sx * P, P.inv(), sympy.Rational(2, 3) * sympy.eye(2)
    off = Sx.trace() * U.T * Se * U - Se.trace() * W * Sx * W.T
    charge, turn = U.T * U - W * W.T, sympy.Matrix([[0, 1], [-1, 0]])
    numbers = [np.array(m.tolist(), dtype=float) for m in (U * W, Sx, Se, U, W)]
    flow = st.slow_flow(net(*numbers[:3]), {"U": numbers[3], "W": numbers[4]}, SYMMETRY)
    apart = same("Q commutes with rotations", (charge * turn - turn * charge)[0, 0], 0)
    steps = [
        *(
            same(f"Tr Sx U^T Se U = Tr Se W Sx W^T ({i + 1}{j + 1})", off[i, j], 0)
            for i in range(2) for j in range(2)
        ),
        fails("its hidden basis is turned: Tr[A^T H K] is not 0 for A^T = -A", flow.criterion()),
        fails(
            "but no rotation keeps Q, so the flow, which is not 0 and keeps Q there, leaves the "
            "matrix equilibria",
            apart,
        ),
    ]  # fmt: skip
    return st.conjunction("in general SGD does not rest at the matrix equilibrium (B.3)", steps)


def _rests(
    model: st.Model,
    V: Any,
    decays: tuple[float, ...],
    key: jax.Array,
    budget: Budget,
    units: float = 1.0,
) -> st.Verdict:
    """Decide whether the relative drift of the charges vanishes in SGD as eta -> 0."""
    start = minimum(generator(key), V)
    parts = []
    for decay in decays:
        flow = st.slow_flow(model, start, SYMMETRY, weight_decay=decay)
        share = Budget(budget.seconds / len(decays))
        found = comes_to_rest(flow, flow.stationary(), start, key, share, _MARGIN, units=units)
        parts.append(st.conjunction(f"at gamma/T = {decay:g}", [found.matrix_equilibrium]))
    return st.conjunction("SGD comes to rest at the matrix equilibrium", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    """Isotropic label noise, inputs and teacher drawn: the drifts |E D|^2 extrapolate to 0.

    A small budget is spent on the case with weight decay alone.
    """
    rng = generator(key)
    V = teacher(rng)
    decays = (0.0, _DECAY) if budget.seconds >= 4 else (_DECAY,)
    return _rests(net(V, spread(rng, 3), np.eye(2)), V, decays, key, budget)


def control() -> st.Verdict:
    """Label noise and inputs that lie askew to V: B.3 says where SGD rests then."""
    model, V = misaligned(np.random.default_rng(1))
    return _rests(model, V, (0.0,), jax.random.key(1), Budget(1.2), 2.0)


def twin() -> st.Verdict:
    """The same net and inputs with isotropic label noise."""
    model, V = misaligned(np.random.default_rng(1))
    model = net(V, model.values["Sigma_x"], np.eye(2))
    return _rests(model, V, (0.0,), jax.random.key(1), Budget(1.2), 2.0)
