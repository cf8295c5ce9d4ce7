"""P1.9: matrix factorization has a matrix charge, every entry of which obeys the charge law.

Statement: for l(U W; z), Q = U^T U - W W^T obeys dQ/dt = -4 gamma Q + 2 sigma^2 (W Gamma_W W^T -
U^T Gamma_U U) with no diffusion in any entry, where G = dl/d(U W), Gamma_U = E[G G^T] - E[G] E[G]^T
and Gamma_W = E[G^T G] - E[G]^T E[G]. One step of SGD is exactly
Q' = (1 - 2 eta gamma)^2 Q + eta^2 (g_U^T g_U - g_W g_W^T).

Assumptions: the loss depends on U W only.

Relation: equality.

Reference: arXiv 2402.07193, matrix factorization; the exact step goes beyond it.

Proof idea: g_U = G W^T and g_W = U^T G, so that U^T g_U = g_W W^T for every sample.

Example output:

    P1.9   proved        supported     refuted
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._draws import covariance, point
from proofs_check._intervals import near
from proofs_check._paths import noise_size, size, step_law, uniform
from proofs_check._steps import from_statement, proof, same, small, textbook
from proofs_check._symbols import Symbols


def claim() -> Claim:
    return Claim(
        "P1.9",
        "Matrix factorization: dQ/dt = -4 gamma Q + 2 sigma^2 (W Gamma_W W^T - U^T Gamma_U U) for "
        "Q = U^T U - W W^T, without diffusion",
        ("the loss depends on U W only",),
        "equality",
        "arXiv 2402.07193, matrix factorization",
    )


def _charge(u: Any, w: Any) -> Any:
    return u.T @ u - w @ w.T


def exact() -> st.Verdict:
    """Any sizes, any loss of U W, any samples; then the squared loss with Gaussian data."""
    factors = {"U": ("dy", "h"), "W": ("h", "dx")}
    samples = {**factors, "G": ("samples", "dy", "dx"), "w": "samples"}
    steps = [
        st.identity(
            "the gradients of T . (U W): g_U = G W^T and g_W = U^T G with G = T",
            lambda a: (
                jax.grad(lambda u: jnp.sum(a["T"] * (u @ a["W"])))(a["U"]) - a["T"] @ a["W"].T,
                jax.grad(lambda w: jnp.sum(a["T"] * (a["U"] @ w)))(a["W"]) - a["U"].T @ a["T"],
            ),
            {**factors, "T": ("dy", "dx")},
        ),
        textbook("for any loss of U W, with G its derivative by U W", "chain rule",
        given="l differentiable in U W"),
        st.identity(
            "Q' = a^2 Q + eta^2 (g_U^T g_U - g_W g_W^T), a = 1 - 2 eta gamma",
            lambda a: (
                _charge(
                    a["a"] * a["U"] - a["eta"] * a["G"] @ a["W"].T,
                    a["a"] * a["W"] - a["eta"] * a["U"].T @ a["G"],
                )
                - a["a"] ** 2 * _charge(a["U"], a["W"])
                - a["eta"] ** 2 * _charge(a["G"] @ a["W"].T, a["U"].T @ a["G"])
            ),
            {**factors, "G": ("dy", "dx"), "a": (), "eta": ()},
        ),
        st.identity(
            "the term of first order in dU, dW vanishes entry by entry: no drift from grad L and "
            "no diffusion",
            lambda a: (
                jax.jvp(
                    _charge, (a["U"], a["W"]), (a["G"] @ a["W"].T, a["U"].T @ a["G"])
                )[1]
            ),
            {**factors, "G": ("dy", "dx")},
        ),
        st.identity(
            "the centred second moments of g_U^T g_U - g_W g_W^T are W Gamma_W W^T - U^T Gamma_U U",
            lambda a: _centred(a) - _written(a),
            samples,
        ),
        from_statement("Ito's formula, as for one charge", "P1.3"),
        from_statement("the mean over minibatches, as for one charge", "P1.4"),
        *_derived(),
    ]  # fmt: skip
    return proof("the matrix charge law", steps, claim().reference)


def _centred(a: Any) -> Any:
    """E[g_U^T g_U - g_W g_W^T] less the same of the means, over weighted samples."""
    outer = jnp.einsum("sij,kj->sik", a["G"], a["W"])
    inner = jnp.einsum("ji,sjk->sik", a["U"], a["G"])
    mean = jnp.einsum("s,sij->ij", a["w"], a["G"])
    second = jnp.einsum("s,sik,sil->kl", a["w"], outer, outer) - jnp.einsum(
        "s,skj,slj->kl", a["w"], inner, inner
    )
    return second - _charge(mean @ a["W"].T, a["U"].T @ mean)


def _written(a: Any) -> Any:
    mean = jnp.einsum("s,sij->ij", a["w"], a["G"])
    left = jnp.einsum("s,sij,skj->ik", a["w"], a["G"], a["G"]) - mean @ mean.T
    right = jnp.einsum("s,sji,sjk->ik", a["w"], a["G"], a["G"]) - mean.T @ mean
    return a["W"] @ right @ a["W"].T - a["U"].T @ left @ a["U"]


def _gammas(gap: Any, inputs: Any, labels: Any, trace: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Gamma_U and Gamma_W of |U W x - V x - eps|^2, x and eps Gaussian, gap = U W - V."""
    spread = gap @ inputs @ gap.T
    left = trace(inputs) * (spread + labels) + gap @ inputs @ inputs @ gap.T
    right = (trace(spread) + trace(labels)) * inputs + inputs @ gap.T @ gap @ inputs
    return 4 * left, 4 * right


def _derived() -> list[st.Verdict]:
    """The package's laws: for all sizes, at sizes, and in formulas written down by hand."""
    example = st.zoo.load("two-layer-linear")
    symmetry = example.symmetries["double-rotation"]
    law: Any = st.derive(example.model, symmetry)
    found, stepped = (e.entries(dy=1, h=1, dx=2)[0, 0] for e in (law.drift, law.discrete_drift))
    names = Symbols(found, stepped)
    eta, size, gamma = names["eta"], names["S"], names["gamma"]
    one = lambda name: sympy.Matrix([[names[name]]])
    row = lambda name: sympy.Matrix([[names[f"{name}_11"], names[f"{name}_12"]]])
    u, w, labels = one("U_11"), row("W"), one("Sigma_eps_11")
    inputs = sympy.Matrix(2, 2, lambda i, j: names[f"Sigma_x_{min(i, j) + 1}{max(i, j) + 1}"])
    gap = u * w - row("V")
    left, right = _gammas(gap, inputs, labels, lambda m: m.trace())
    noise = (w * right * w.T - u.T * left * u)[0, 0]
    charge = (u.T * u - w * w.T)[0, 0]
    mean = 2 * gap * inputs
    descent = (w * mean.T * mean * w.T - u.T * mean * mean.T * u)[0, 0]
    step = -4 * eta * gamma * (1 - eta * gamma) * charge + eta**2 * (descent + noise / size)
    return [
        law.verdict,
        law.check_at(dy=2, h=1, dx=1),
        same("derive's dQ/dt, at dy = h = 1, dx = 2, is the formula for Gaussian data", found,
             -4 * gamma * charge + eta / size * noise),
        same("derive's mean of Q' - Q there is that of the exact step", stepped, step),
    ]  # fmt: skip


@functools.cache
def _law() -> Any:
    example = st.zoo.load("two-layer-linear")
    return st.derive(example.sized(), example.symmetries["double-rotation"])


def _matrix(params: Any) -> Any:
    """Observe Q."""
    return _charge(params["U"], params["W"])


def _form(params: Any, gradient: Any) -> Any:
    """Observe g_U^T g_U - g_W g_W^T of the minibatch."""
    del params
    return _matrix(gradient)


_form.needs_gradient = True  # type: ignore[attr-defined]


def _follows(loss: Callable[..., Any], key: jax.Array, budget: Budget) -> st.Verdict:
    """Train with a loss and compare Q with the law: every step, and in the mean every entry."""
    keys = jax.random.split(key, 8)
    kind = st.zoo.load("two-layer-linear").model
    values = {
        "Sigma_x": covariance(keys[0], 2, 2.0),
        "Sigma_eps": covariance(keys[1], 2, 3.0),
        "V": np.asarray(jax.random.normal(keys[2], (2, 2))),
    }
    bound = st.Model(loss, kind.params, kind.random, kind.constants, name="two factors")
    bound = bound.bind(dy=2, h=2, dx=2, **values)
    eta, gamma = uniform(keys[3], 0.005, 0.01), uniform(keys[4], 0.01, 0.1)
    batch = int(jax.random.randint(keys[5], (), 1, 4))
    settings = {"learning_rate": eta, "batch_size": batch, "weight_decay": gamma}
    law = _law()
    mean = law.discrete_drift.callable()
    start = point(bound, keys[6], 0.8)
    observe = {
        "charge": _matrix, "gradient_form": _form, "size": size, "push": noise_size,
        "drift": lambda p: mean(p, **settings, **values),
    }  # fmt: skip
    replicas = 512
    steps = budget.steps(replicas, nanoseconds=4000.0, most=300)
    run = st.simulate(
        bound, st.SGD(**settings), params=start, steps=steps, replicas=replicas, key=keys[7],
        observe=observe, record_every=1,
    )  # fmt: skip
    flat = {**run.observables, "charge": run.observables["charge"].reshape(replicas, -1, 4)}
    flat["gradient_form"] = run.observables["gradient_form"].reshape(replicas, -1, 4)
    charge = run.observables["charge"]
    left = charge[:, -1] - charge[:, 0] - run.observables["drift"][:, :-1].sum(axis=1)
    scale = eta**2 * float(run.observables["push"][:, :-1].sum(axis=1).mean())
    parts = [
        step_law(_replaced(run, flat)),
        near("the mean change of every entry of Q is the sum of the predicted ones", 0.0, left,
             0.1 * scale, scale),
        _formula(law, start, values),
    ]  # fmt: skip
    return proof("Q under SGD", parts)


def _replaced(run: st.Run, observables: Any) -> st.Run:
    return dataclasses.replace(run, observables=observables)


def _formula(law: Any, params: Any, values: Any) -> st.Verdict:
    """Tr[Sigma A] of the law at a random point against the formula with Gammas."""
    u, w = (np.asarray(params[name]) for name in ("U", "W"))
    left, right = _gammas(u @ w - values["V"], values["Sigma_x"], values["Sigma_eps"], np.trace)
    written = w @ right @ w.T - u.T @ left @ u
    found = np.asarray(law.noise_trace.callable()(params, **values))
    off = float(np.abs(found - written).max() / np.abs(written).max())
    return small("derive's noise is W Gamma_W W^T - U^T Gamma_U U", off, 1e-10, "a random point")


def _squared(p: Any, z: Any, c: Any) -> Any:
    return jnp.sum(((p["U"] @ p["W"] - c["V"]) @ z["x"] - z["eps"]) ** 2)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _follows(_squared, key, budget)


def _skipped(p: Any, z: Any, c: Any) -> Any:
    output = (p["U"] @ p["W"] - c["V"] + 0.3 * p["W"]) @ z["x"]
    return jnp.sum((output - z["eps"]) ** 2)


def control() -> st.Verdict:
    """A skip connection: the loss depends on W beside U W."""
    return _follows(_skipped, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """No skip connection."""
    return _follows(_squared, jax.random.key(1), Budget(1.0))
