"""P1.14: in a two-layer tanh net SGD aligns the representations of both layers, GD does not.

Statement: for l = |U tanh(W x) - y|^2 with label noise and moderate inputs, the double rotation is
an approximate symmetry only; still, under SGD W Sx W^T and U^T Se U become similar (cosine of their
parts without trace towards 1), and under gradient descent from the same starts they do not.

Assumptions: label noise, a small learning rate and a long run; inputs that leave tanh moderate.

Relation: lower bound (cosine at least 0.6 under SGD as eta -> 0, at most 0.4 under GD).

Reference: arXiv 2402.07193, experiment on representations.

Proof idea: none for the claim. Without a symmetry d(theta^T A theta)/dt = -2 theta^T A grad L +
2 sigma^2 Tr[Sigma A] - 4 gamma C; an approximate one makes the first term small.

Example output:

    P1.14  not_applicable  supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._exactly import fails
from proofs_check._intervals import measured, tends_to, within
from proofs_check._two_layer import axes, generator, spread

_SIZE = 3
_RATES = (0.03, 0.015)


def claim() -> Claim:
    return Claim(
        "P1.14",
        "Two-layer tanh net: W Sx W^T and U^T Se U align under SGD (cosine at least 0.6 as eta -> "
        "0), and do not under GD (at most 0.4)",
        ("label noise", "small learning rate, long run", "inputs that leave tanh moderate"),
        "lower",
        "arXiv 2402.07193, experiment on representations",
    )


def _loss(p: Any, z: Any, c: Any) -> Any:
    return jnp.sum((p["U"] @ jnp.tanh(p["W"] @ z["x"]) - c["V"] @ z["x"] - z["eps"]) ** 2)


def _model(V: Any, cov_x: Any) -> st.Model:
    return st.Model(
        _loss, {"U": (_SIZE, _SIZE), "W": (_SIZE, _SIZE)},
        {"x": st.Normal(_SIZE, cov=cov_x), "eps": st.Normal(_SIZE)}, {"V": (_SIZE, _SIZE)},
        name="tanh",
    ).bind(V=V)  # fmt: skip


def exact() -> st.Verdict:
    """No proof: what is proved beside the claim stands in the parts."""
    charge = lambda a: lambda t: t @ a["A"] @ t
    ito = st.identity(
        "C = theta^T A theta has the gradient 2 A theta and the Hessian 2 A: Ito's formula gives "
        "dC/dt = -2 theta^T A grad L - 4 gamma C + 2 sigma^2 Tr[Sigma A] with or without symmetry",
        lambda a: [
            jax.grad(charge(a))(a["t"]) - 2 * a["A"] @ a["t"],
            jax.jvp(jax.grad(charge(a)), (a["t"],), (a["k"],))[1] - 2 * a["A"] @ a["k"],
        ],
        {"A": st.SymmetricMatrix("d"), "t": "d", "k": "d"},
    )
    model = _model(np.eye(_SIZE), np.eye(_SIZE))
    rescaling = st.Exponential(lambda p: {"U": p["U"], "W": -p["W"]}, name="rescaling")
    broken = fails(
        "not even the rescaling among the double rotations is an exact symmetry",
        st.verify(model, rescaling),
    )
    return st.Verdict(
        st.Status.NOT_APPLICABLE,
        "representations align under SGD and not under GD",
        how="an observation about an approximate symmetry: the paper has no theorem for it, and "
        "how similar two matrices become depends on the run",
        parts=(ito, broken),
        reference=claim().reference,
    )


@measured
def _align(noisy: Any, steps: Any, key: jax.Array, budget: Budget) -> st.Verdict:
    """Decide whether layers align under the noisy dynamics, eta to 0, and not under gradient flow.

    Every replica has a start of its own.
    """
    rng, replicas = generator(key), 32
    V = (axes(rng, _SIZE) * rng.uniform([0.3, 0.8, 1.5], [0.5, 1.0, 1.7])) @ axes(rng, _SIZE)
    cov_x = 0.3 * spread(rng, _SIZE)
    shape = (replicas, _SIZE, _SIZE)
    starts = {"U": rng.normal(size=shape), "W": rng.normal(size=shape)}
    model = _model(V, cov_x)

    def cosine(p: Any) -> Any:
        pair = (p["W"] @ jnp.asarray(cov_x) @ p["W"].T, p["U"].T @ p["U"])
        first, second = (m - jnp.trace(m) / _SIZE * jnp.eye(_SIZE) for m in pair)
        return jnp.sum(first * second) / jnp.sqrt(jnp.sum(first**2) * jnp.sum(second**2))

    def late(dynamics: Any, count: int, n: int) -> Any:
        run = st.simulate(
            model, dynamics, params=starts, steps=count, replicas=replicas,
            key=jax.random.fold_in(key, n), observe=cosine,
        )  # fmt: skip
        records = run.observables["cosine"]
        return st.mean_over_replicas(records[:, records.shape[1] // 2 :].mean(axis=1))

    points = [
        (rate, late(noisy(rate), steps(rate, (0.2, 0.8)[n], budget), n))
        for n, rate in enumerate(_RATES)
    ]
    flow = late(st.GradientFlow(0.2, samples=64), 200, 2)
    parts = [
        tends_to("the cosine is at least 0.6 (1 up to 0.4) as eta -> 0", 1.0, points, 0.4),
        within(
            f"it is below 0.4 (-0.3 up to 0.7) under gradient flow: {flow}", -0.3, flow, 0.7
        ),
    ]  # fmt: skip
    return st.conjunction("layers align under SGD and not under gradient flow", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _align(st.SGD, _steps, key, budget)


def _steps(rate: float, share: float, budget: Budget) -> int:
    most = int(12 / rate**2)
    return budget.steps(32, nanoseconds=800.0, share=share, most=most, least=int(1 / rate**2))


def control() -> st.Verdict:
    """Gradient flow in place of SGD: no noise."""
    flow = lambda _: st.GradientFlow(0.2, samples=64)
    return _align(flow, lambda *_: 200, jax.random.key(0), _CONTROLLED)


def twin() -> st.Verdict:
    """SGD from the same starts on the same model."""
    return _align(st.SGD, _steps, jax.random.key(0), _CONTROLLED)


_CONTROLLED = Budget(2.0)
