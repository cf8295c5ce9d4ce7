"""B.3: the slow flow along a family of symmetries, and the currents of its stationary state.

Statement: near minima the fluctuations have the covariance K with HK + KH = 2 sigma^2 Sigma on the
range of H, and every generator A of the symmetry algebra, symmetric or not, has
<A theta, d theta/dt> = Tr[A^T H K]. For symmetric A this is sigma^2 Tr[Sigma A], the charge law.
For antisymmetric A it is a rotation of the hidden basis, in general not zero: the stationary state
turns with some Omega, and the charges rest where dQ/dt = [Q, Omega], not where it is 0.

Assumptions: l has every generator of the algebra, rotations too; minima with noise in the range of
H; eta -> 0.

Relation: equality.

Reference: beyond arXiv 2402.07193.

Proof idea: differentiate grad L . A theta = 0 twice, contract with K, and take -grad^3 L[K]/2 as
the averaged drift.

Example output:

    B.3    proved        supported     refuted
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._exactly import fails
from proofs_check._steps import cited, proof, small, textbook
from proofs_check._two_layer import SYMMETRY, comes_to_rest, generator, misaligned, net

_MARGIN = 0.03
"""Deviation of the relative drift of the charges, which is 0.11 to 0.15 here."""


def claim() -> Claim:
    return Claim(
        "B.3",
        "<A theta, d theta/dt> = Tr[A^T H K] for every generator; SGD comes to rest turning, with "
        "dQ/dt = [Q, Omega] not 0 in general",
        (
            "every generator of the algebra, rotations too",
            "minima with noise in the range of H",
            "eta -> 0",
        ),
        "equality",
        "beyond arXiv 2402.07193",
    )


def _cubic(a: Any) -> Any:
    """The loss up to third order: all that occurs below."""

    def loss(t: Any) -> Any:
        return a["b"] @ t + t @ a["M"] @ t + jnp.einsum("ijk,i,j,k->", a["T"], t, t, t)

    return loss


def _twice(a: Any) -> Any:
    """grad L . A t differentiated twice along k, less grad^3 L[A t, k, k] and 2 k^T H A k."""
    slope = jax.grad(_cubic(a))
    along = lambda f: lambda t: jax.jvp(f, (t,), (a["k"],))[1]
    pairing = lambda t: slope(t) @ (a["A"] @ t)
    curved = along(slope)
    third = along(curved)(a["t"]) @ (a["A"] @ a["t"])
    return along(along(pairing))(a["t"]) - third - 2 * curved(a["t"]) @ (a["A"] @ a["k"])


def _pairing(a: Any) -> Any:
    """grad L . A theta in the two-layer net, for U -> U e^B, W -> e^-B W."""

    def loss(p: Any) -> Any:
        off = p[0] @ p[1] - a["V"]
        return jnp.trace(off @ a["Sx"] @ off.T)

    along = (a["U"] @ a["B"], -a["B"] @ a["W"])
    return jax.jvp(loss, ((a["U"], a["W"]),), (along,))[1]


def exact() -> st.Verdict:
    """Any loss and any generator; the two-layer net for all sizes; one model at all parameters."""
    symmetric = st.SymmetricMatrix("d")
    turn = lambda a: a["B"] - a["B"].T
    at = {"U": np.array([[1.0, -1.0], [0.0, 2.0]]), "W": np.array([[1.0, 1.0], [0.0, 1.0]])}
    model = net(at["U"] @ at["W"], np.diag([1.0, 4.0]), np.diag([0.25, 2.25]))
    flow = st.slow_flow(model, at, SYMMETRY)
    steps = [
        st.identity(
            "grad L . A theta differentiated twice along k is grad^3 L[A theta, k, k] + 2 k^T H A k"
            " (any third-order jet, any A)",
            _twice,
            {
                "b": "d", "M": ("d", "d"), "T": ("d", "d", "d"), "A": ("d", "d"), "t": "d",
                "k": "d",
            },
        ),
        textbook(
            "both sides are linear in k k^T, of which K is a sum; where grad L . A theta = 0 "
            "everywhere, -grad^3 L[K] . A theta/2 = Tr[A^T H K]",
            "spectral theorem", given="K symmetric",
        ),
        cited(
            "to leading order the mean of theta drifts by -P grad^3 L[K]/2, K the stationary "
            "covariance of d delta = -H delta dt + sqrt(2 sigma^2 Sigma) dW",
            "G. Katzenberger, Ann. Probab. 19 (1991); Z. Li, T. Wang, S. Arora, arXiv 2110.06914",
        ),
        st.identity(
            "for symmetric A: Tr[A H K] = Tr[A (HK + KH)]/2 = sigma^2 Tr[A Sigma], the charge law",
            lambda a: (
                jnp.trace(a["A"] @ a["H"] @ a["K"])
                - jnp.trace(a["A"] @ (a["H"] @ a["K"] + a["K"] @ a["H"])) / 2
            ),
            {"A": symmetric, "H": symmetric, "K": symmetric},
        ),
        st.identity(
            "for antisymmetric A: Tr[A^T H K] = Tr[A^T (HK - KH)]/2, 0 where H and K commute",
            lambda a: (
                jnp.trace(turn(a).T @ a["H"] @ a["K"])
                - jnp.trace(turn(a).T @ (a["H"] @ a["K"] - a["K"] @ a["H"])) / 2
            ),
            {"B": ("d", "d"), "H": symmetric, "K": symmetric},
        ),
        st.identity(
            "the two-layer net has U -> U e^B, W -> e^-B W for every B, rotations too",
            _pairing,
            {
                "U": ("dy", "h"), "W": ("h", "dx"), "V": ("dy", "dx"), "B": ("h", "h"),
                "Sx": st.SymmetricMatrix("dx"),
            },
        ),
        st.identity(
            "a state turning with Omega = B - B^T has dQ/dt = [Q, Omega]",
            lambda a: (
                jax.jvp(_charge, ((a["U"], a["W"]),), ((a["U"] @ turn(a), -turn(a) @ a["W"]),))[1]
                - _charge((a["U"], a["W"])) @ turn(a)
                + turn(a) @ _charge((a["U"], a["W"]))
            ),
            {"U": ("dy", "h"), "W": ("h", "dx"), "B": ("h", "h")},
        ),
        flow.proof(),
        fails("at some minima the noise turns the hidden basis", flow.criterion()),
    ]  # fmt: skip
    return proof("the slow flow", steps, claim().reference)


def _charge(p: Any) -> Any:
    return p[0].T @ p[0] - p[1] @ p[1].T


def _rests(flow: st.SlowFlow, rest: Any, key: jax.Array, budget: Budget) -> st.Verdict:
    """Decide whether SGD, started at the matrix equilibrium, rests where it is predicted to."""
    return comes_to_rest(flow, rest, rest.matrix_equilibrium, key, budget, _MARGIN).slow_flow


def _drawn(rng: np.random.Generator) -> tuple[st.SlowFlow, Any]:
    model, V = misaligned(rng)
    left, sizes, right = np.linalg.svd(V)
    root = np.diag(np.sqrt(sizes))
    flow = st.slow_flow(model, {"U": left @ root, "W": root @ right}, SYMMETRY)
    return flow, flow.stationary()


def _charge_law(flow: st.SlowFlow) -> st.Verdict:
    """Check the rates of symmetric generators against dQ/dt from the layers (P1.9)."""
    u, w = flow.params["U"], flow.params["W"]
    x, eps = (np.asarray(flow.model.values[name]) for name in ("Sigma_x", "Sigma_eps"))
    change = 4 * (np.trace(eps) * w @ x @ w.T - np.trace(x) * u.T @ eps @ u)
    wanted = np.array([change[0, 0] / 2, change[0, 1], change[1, 1] / 2])
    off = float(np.max(np.abs(flow.rates - wanted)) / np.max(np.abs(wanted)))
    how = "rates from the Lyapunov equation, charges from the layers"
    return small("Tr[A H K] = sigma^2 Tr[A Sigma] for symmetric A", off, 1e-9, how)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    """Teacher, inputs and label noise drawn askew to one another."""
    flow, rest = _drawn(generator(key))
    return st.conjunction(
        "the slow flow", [_charge_law(flow), flow.identity(), _rests(flow, rest, key, budget)]
    )


def control() -> st.Verdict:
    """The prediction of the symmetric generators alone, that all charges are at rest (P1.10)."""
    flow, rest = _drawn(np.random.default_rng(1))
    still = {name: 0 * drift for name, drift in rest.relative_drifts.items()}
    rest = dataclasses.replace(rest, relative_drifts=still)
    return _rests(flow, rest, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """The prediction of all generators."""
    return _rests(*_drawn(np.random.default_rng(1)), jax.random.key(1), Budget(1.0))
