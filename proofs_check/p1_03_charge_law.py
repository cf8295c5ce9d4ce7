"""P1.3: under the SDE the charge has no diffusion and drifts by the noise alone.

Statement: under d theta = -(grad L + 2 gamma theta) dt + sqrt(2 sigma^2 Sigma) dW the charge
C = theta^T A theta obeys dC/dt = -4 gamma C + 2 sigma^2 Tr[Sigma A], with no dW term.

Assumptions: l(exp(lambda A) theta; z) = l(theta; z) for every sample; A symmetric; Ito.

Relation: equality.

Reference: arXiv 2402.07193, charge law.

Proof idea: Ito's formula with grad C = 2 A theta and Hess C = 2 A; grad L . A theta = 0 and
Sigma A theta = 0 remove the rest.

Example output:

    P1.3   proved        supported     refuted
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._intervals import near, tends_to
from proofs_check._paths import noise_size, size, uniform
from proofs_check._steps import from_statement, proof, same, textbook
from proofs_check._symbols import Symbols


def claim() -> Claim:
    return Claim(
        "P1.3",
        "Under the SDE the charge has no diffusion and dC/dt = -4 gamma C + 2 sigma^2 Tr[Sigma A]",
        ("exponential symmetry", "A = A^T", "Ito"),
        "equality",
        "arXiv 2402.07193, charge law",
    )


def exact() -> st.Verdict:
    """Any size, any symmetric A, any samples with any weights; then what the package derives."""
    symmetric = st.SymmetricMatrix("d")
    quadratic = lambda a: jax.grad(lambda v: v @ a["A"] @ v)
    steps = [
        textbook(
            "dC = grad C . d theta + (1/2) Tr[Hess C . 2 sigma^2 Sigma] dt, and the dW term has "
            "variance 2 sigma^2 (grad C)^T Sigma grad C per time",
            "Ito's formula",
            given="C is a polynomial; the SDE has a solution",
        ),
        st.identity(
            "grad C = 2 A theta and Hess C v = 2 A v",
            lambda a: (
                quadratic(a)(a["t"]) - 2 * a["A"] @ a["t"],
                jax.jvp(quadratic(a), (a["t"],), (a["v"],))[1] - 2 * a["A"] @ a["v"],
            ),
            {"A": symmetric, "t": "d", "v": "d"},
        ),
        st.identity(
            "2 A theta . (-m - 2 gamma theta) + sigma^2 Tr[2 A Sigma] = -4 gamma C + 2 sigma^2 "
            "Tr[Sigma A] - 2 m . A theta, m = grad L",
            lambda a: (
                2 * (a["A"] @ a["t"]) @ (-a["m"] - 2 * a["gamma"] * a["t"])
                + a["s2"] * jnp.trace(2 * a["A"] @ a["S"])
                + 4 * a["gamma"] * (a["t"] @ a["A"] @ a["t"])
                - 2 * a["s2"] * jnp.trace(a["S"] @ a["A"])
                + 2 * a["m"] @ a["A"] @ a["t"]
            ),
            {
                "A": symmetric,
                "S": st.SymmetricMatrix("d"),
                "t": "d",
                "m": "d",
                "gamma": (),
                "s2": (),
            },
        ),
        st.identity(
            "(A theta)^T Sigma A theta is the variance of g . A theta over the samples, and m . A "
            "theta its mean: both vanish with g . A theta",
            lambda a: (
                (moved := a["A"] @ a["t"]) @ _sigma(a["G"], a["w"]) @ moved
                - a["w"] @ (a["G"] @ moved) ** 2
                + (a["w"] @ (a["G"] @ moved)) ** 2,
                (a["w"] @ a["G"]) @ moved - a["w"] @ (a["G"] @ moved),
            ),
            {"A": symmetric, "t": "d", "G": ("samples", "d"), "w": "samples"},
        ),
        from_statement("g . A theta = 0 for every sample", "P1.1"),
        *_derived(),
    ]
    return proof("the charge law", steps, claim().reference)


def _sigma(gradients: Any, weights: Any) -> Any:
    mean = weights @ gradients
    return (gradients.T * weights) @ gradients - jnp.outer(mean, mean)


def _derived() -> list[st.Verdict]:
    """The law of u -> e^t u, w -> e^-t w from its definition, by exact Gaussian moments."""
    law, parts = _law()
    names = Symbols(law.drift.sympy())
    temperature = names["eta"] / names["S"]
    charge, noise = parts
    written = -4 * names["gamma"] * charge + temperature * noise
    return [
        law.verdict,
        same("derive's drift is -4 gamma C + 2 sigma^2 Tr[Sigma A]", law.drift.sympy(), written),
    ]


@functools.cache
def _law() -> tuple[Any, tuple[Any, Any]]:
    """The package's law of the scalar net, and C and Tr[Sigma A] written down by hand."""
    example = st.zoo.load("scalar-factor")
    law: Any = st.derive(example.model, example.symmetries["rescaling"])
    symbols = Symbols(law.noise_trace.sympy())
    u, w, a, x, e = (symbols[n] for n in ("u", "w", "a", "Sigma_x", "Sigma_eps"))
    # g_u = 2 r w x and g_w = 2 r u x with r = (u w - a) x - eps, E x^4 = 3 Sigma_x^2:
    # Var(2 r x) = 4 (2 (u w - a)^2 Sigma_x^2 + Sigma_x Sigma_eps).
    spread = 4 * (2 * (u * w - a) ** 2 * x**2 + x * e)
    return law, (u**2 - w**2, spread * (w**2 - u**2))


def _tilted(p: Any, z: Any, c: Any) -> Any:
    """Return a loss that u -> e^t u, w -> e^-t w changes."""
    return ((p["u"] * p["w"] + 0.5 * p["u"] - c["a"]) * z["x"] - z["eps"]) ** 2


def _follows(model: st.Model, key: jax.Array, budget: Budget) -> st.Verdict:
    """Integrate the SDE of a model and the law's drift along its paths; measure what is left."""
    law, _ = _law()
    keys = jax.random.split(key, 5)
    values = {"a": uniform(keys[0], 0.6, 1.4), "Sigma_x": 1.0, "Sigma_eps": 0.5}
    temperature, gamma = uniform(keys[1], 0.01, 0.03), uniform(keys[2], 0.02, 0.1)
    balance = uniform(keys[3], 1.3, 1.8)
    start = {"u": balance, "w": values["a"] / balance}
    settings = {"learning_rate": temperature, "batch_size": 1, "weight_decay": gamma}
    drift = law.drift.callable()
    observe = {
        "charge": lambda p: p["u"] ** 2 - p["w"] ** 2,
        "size": size,
        "push": noise_size,
        "drift": lambda p: drift(p, **settings, **values),
    }
    bound = model.bind(**values)
    replicas = 512
    span = 0.001 * budget.steps(replicas, nanoseconds=1000.0, most=300)
    paths, swings, reference = [], [], 0.0
    steps = [0.001, 0.0005]
    for step in steps:
        sde = st.SDE(temperature, step, weight_decay=gamma)
        run = st.simulate(
            bound, sde, params=start, steps=round(span / step), replicas=replicas, key=keys[4],
            observe=observe, record_every=1,
        )  # fmt: skip
        charge, seen = run.observables["charge"], run.observables["drift"]
        change = charge[:, -1] - charge[:, 0]
        time = step * (charge.shape[1] - 1)
        paths.append((change - step * seen[:, :-1].sum(axis=1)) / time)
        swings.append((np.diff(charge, axis=1) ** 2).sum(axis=1) / time)
        # The swings of |theta|^2, which has diffusion, on the same paths.
        reference = float((np.diff(run.observables["size"], axis=1) ** 2).sum() / time / replicas)
        scale = float(np.abs(seen).mean())
    line = [(h, st.mean_over_replicas(s)) for h, s in zip(steps, swings, strict=True)]
    parts = [
        near("C(t) - C(0) is the integral of -4 gamma C + 2 sigma^2 Tr[Sigma A]", 0.0, paths[1],
             0.06 * scale, scale),
        tends_to("the quadratic variation of C vanishes as the step does (relative to |theta|^2's)",
                 0.0, line, 0.01 * reference, reference),
    ]  # fmt: skip
    return proof("the charge law under the SDE", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _follows(st.zoo.load("scalar-factor").model, key, budget)


def control() -> st.Verdict:
    """The rescaling is no symmetry of the loss that is simulated."""
    kind = st.zoo.load("scalar-factor").model
    broken = st.Model(_tilted, kind.params, kind.random, kind.constants, name="tilted factor")
    return _follows(broken, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """The loss that has the rescaling."""
    return _follows(st.zoo.load("scalar-factor").model, jax.random.key(1), Budget(1.0))
