"""P1.15: an approximate symmetry obeys the charge law up to the size of its breaking.

Statement: for any symmetric A, symmetry or not, d(theta^T A theta) has the drift
-2 theta^T A grad L - 4 gamma C + 2 sigma^2 Tr[Sigma A] and the diffusion 8 sigma^2 Var(g . A
theta). With l = l_0 + eps l_1, A a symmetry of l_0, the extra terms are of order eps and eps^2; one
step of SGD is exactly C' = a^2 C - 2 a eta g . A theta + eta^2 g^T A g, a = 1 - 2 eta gamma.

Assumptions: l twice differentiable; A symmetric; for the size of the terms, l_1 bounded along A.

Relation: equality.

Reference: arXiv 2402.07193, approximate symmetry.

Proof idea: Ito's formula as for the charge law, with g . A theta = eps g_1 . A theta kept.

Example output:

    P1.15  proved        supported     refuted
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._intervals import near
from proofs_check._paths import noise_size, uniform
from proofs_check._steps import from_statement, proof, small, textbook


def claim() -> Claim:
    return Claim(
        "P1.15",
        "Approximate symmetry: d(theta^T A theta)/dt = -2 theta^T A grad L - 4 gamma C + 2 sigma^2 "
        "Tr[Sigma A]; the first term and the diffusion vanish with the breaking",
        ("A = A^T", "l = l_0 + eps l_1 with A a symmetry of l_0"),
        "equality",
        "arXiv 2402.07193, approximate symmetry",
    )


def exact() -> st.Verdict:
    """Any size, any symmetric A, any samples with any weights."""
    symmetric = st.SymmetricMatrix("d")
    quadratic = lambda a: jax.grad(lambda v: v @ a["A"] @ v)
    samples = {"G": ("samples", "d"), "F": ("samples", "d"), "w": "samples", "t": "d"}
    keep = lambda a: 1 - 2 * a["eta"] * a["gamma"]
    form = lambda a, v: v @ a["A"] @ v
    steps = [
        textbook(
            "drift grad C . b + sigma^2 Tr[Hess C Sigma], diffusion 2 sigma^2 (grad C)^T Sigma "
              "grad C, b = -grad L - 2 gamma theta", "Ito's formula",
              given="C is a polynomial; the SDE has a solution"),
        st.identity(
            "grad C = 2 A theta and Hess C v = 2 A v",
            lambda a: (
                quadratic(a)(a["t"]) - 2 * a["A"] @ a["t"],
                jax.jvp(quadratic(a), (a["t"],), (a["v"],))[1] - 2 * a["A"] @ a["v"],
            ),
            {"A": symmetric, "t": "d", "v": "d"},
        ),
        st.identity(
            "the drift is -2 theta^T A m - 4 gamma C + 2 sigma^2 Tr[Sigma A], m = grad L",
            lambda a: (
                2 * (a["A"] @ a["t"]) @ (-a["m"] - 2 * a["gamma"] * a["t"])
                + a["s2"] * jnp.trace(2 * a["A"] @ a["S"])
                + 2 * a["t"] @ a["A"] @ a["m"]
                + 4 * a["gamma"] * form(a, a["t"])
                - 2 * a["s2"] * jnp.trace(a["S"] @ a["A"])
            ),
            {"A": symmetric, "S": st.SymmetricMatrix("d"), "t": "d", "m": "d", "gamma": (),
             "s2": ()},
        ),
        st.identity(
            "(A theta)^T Sigma A theta = E[(g . A theta)^2] - (E[g . A theta])^2",
            lambda a: (
                (moved := a["A"] @ a["t"]) @ (a["G"].T * a["w"]) @ a["G"] @ moved
                - (a["w"] @ a["G"] @ moved) ** 2
                - a["w"] @ (a["G"] @ moved) ** 2
                + (a["w"] @ (a["G"] @ moved)) ** 2
            ),
            {**samples, "A": symmetric},
        ),
        st.identity(
            "g = g_0 + eps g_1: g . A theta = g_0 . A theta + eps g_1 . A theta",
            lambda a: (
                (a["G"] + a["eps"] * a["F"]) @ a["A"] @ a["t"]
                - a["G"] @ a["A"] @ a["t"]
                - a["eps"] * (a["F"] @ a["A"] @ a["t"])
            ),
            {**samples, "A": symmetric, "eps": ()},
        ),
        from_statement("g_0 . A theta = 0 for every sample", "P1.1"),
        st.identity(
            "C' = a^2 C - 2 a eta g . A theta + eta^2 g^T A g for one step of SGD",
            lambda a: (
                form(a, keep(a) * a["t"] - a["eta"] * a["g"])
                - keep(a) ** 2 * form(a, a["t"])
                + 2 * a["eta"] * keep(a) * (a["g"] @ a["A"] @ a["t"])
                - a["eta"] ** 2 * form(a, a["g"])
            ),
            {"A": symmetric, "t": "d", "g": "d", "eta": (), "gamma": ()},
        ),
    ]  # fmt: skip
    return proof("the law of a quadratic form", steps, claim().reference)


def _loss(p: Any, z: Any) -> Any:
    """Return (u phi(w x) - a x - e)^2 with phi(h) = tanh(k h)/k, k^2 = eps: h at eps = 0.

    The slope a and eps are parameters that do not train, so that replicas may have their own.
    """
    slope, sharp = jax.lax.stop_gradient((p["slope"], p["sharp"]))
    return (p["u"] * jnp.tanh(sharp * p["w"] * z["x"]) / sharp - slope * z["x"] - z["e"]) ** 2


_MODEL = st.Model(
    _loss,
    {"u": (), "w": (), "slope": (), "sharp": ()},
    {"x": st.Normal(()), "e": st.Normal(())},
    name="tanh net",
)


def _charge(params: Any) -> Any:
    return params["u"] ** 2 - params["w"] ** 2


def _size(params: Any) -> Any:
    return params["u"] ** 2 + params["w"] ** 2


def _form(params: Any, gradient: Any) -> Any:
    del params
    return _charge(gradient)


def _cross(params: Any, gradient: Any) -> Any:
    return gradient["u"] * params["u"] - gradient["w"] * params["w"]


for _function in (_form, _cross):
    _function.needs_gradient = True  # type: ignore[attr-defined]

_SHARE = 6.0
"""How far the charge law may be off for breaking eps, as a share of the noise."""

_OBSERVE = {"charge": _charge, "form": _form, "cross": _cross, "push": noise_size, "size": _size}


def _nearly(breaking: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Train nets with breaking eps and eps/2: the exact step, and the size of the broken terms."""
    keys = jax.random.split(key, 4)
    slope, flow = uniform(keys[0], 0.8, 1.2), uniform(keys[1], 0.2, 0.3)
    eta, half = uniform(keys[2], 0.01, 0.02), 512
    eps = np.repeat([breaking, breaking / 2], half)
    start = {
        "u": np.full(2 * half, math.sqrt(slope) * math.exp(-flow)),
        "w": np.full(2 * half, math.sqrt(slope) * math.exp(flow)),
        "slope": np.full(2 * half, slope),
        "sharp": np.sqrt(eps),
    }
    steps = budget.steps(2 * half, nanoseconds=1000.0, most=400)
    run = st.simulate(
        _MODEL, st.SGD(eta), params=start, steps=steps, replicas=2 * half, key=keys[3],
        observe=_OBSERVE, record_every=1,
    )  # fmt: skip
    seen = {name: np.asarray(values)[:, :-1] for name, values in run.observables.items()}
    left = np.diff(np.asarray(run.observables["charge"]), axis=1) - eta**2 * seen["form"]
    off = np.abs(left + 2 * eta * seen["cross"]) / seen["size"]
    parts = [
        small("one step: C' = C - 2 eta g . A theta + eta^2 g^T A g", float(off.max()), 1e-12,
              f"{off.size} steps at gamma = 0; relative to |theta|^2")
    ]  # fmt: skip
    noise = eta**2 * seen["push"].sum(axis=1)
    pair = lambda values: (values[:half], values[half:])
    broken = [b / n.mean() for b, n in zip(pair(left.sum(axis=1)), pair(noise), strict=True)]
    swings = pair((seen["cross"] ** 2).mean(axis=1))
    parts += [
        *(
            near(f"the charge law is off by at most {_SHARE:g} eps of the noise, eps = {eps:g}",
                 0.0, found, _SHARE * eps, 1.0)
            for eps, found in zip((breaking, breaking / 2), broken, strict=True)
        ),
        near("the diffusion falls as eps^2: its ratio at eps and eps/2 is near 4", 0.0,
             swings[0] - 4 * swings[1], 0.6 * float(swings[0].mean()), float(swings[0].mean())),
    ]  # fmt: skip
    how = f"off by {broken[0].mean():.3g}, {broken[1].mean():.3g} of the noise; "
    how += f"E[(g . A theta)^2] {swings[0].mean():.3g}, {swings[1].mean():.3g}"
    return st.conjunction("a slightly broken symmetry", parts, how=how)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _nearly(0.01, key, budget)


def control() -> st.Verdict:
    """A saturated net is far from the symmetry."""
    return _nearly(4.0, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """A slightly bent net."""
    return _nearly(0.01, jax.random.key(1), Budget(1.0))
