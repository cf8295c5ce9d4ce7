"""B.1: with momentum the charge drifts as under SGD at the rate eta/(1 - beta).

Statement: for v' = beta v + g, theta' = theta - eta v' with white gradient noise and gamma = 0, the
charge changes in the mean by (eta/(1 - beta))^2 Tr[Sigma A]/S per step.

Assumptions: exponential symmetry with symmetric A; gradient noise white, with grad L = 0 and Sigma
slowly varying (a minimum, eta/(1 - beta) small against 1/curvature); gamma = 0; after about
1/(1 - beta) steps.

Relation: equality.

Reference: beyond arXiv 2402.07193.

Proof idea: with x = v . A theta (before the update that made theta) and q = v^T A v, one step is
linear in (C, x, q); x and q settle.

Example output:

    B.1    proved        supported     refuted
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._intervals import tends_to
from proofs_check._paths import size, uniform
from proofs_check._steps import from_statement, proof, same, sign
from proofs_check._symbols import Symbols


def claim() -> Claim:
    return Claim(
        "B.1",
        "Heavy-ball momentum, white noise, gamma = 0: C changes by (eta/(1 - beta))^2 "
        "Tr[Sigma A]/S per step",
        ("exponential symmetry", "A = A^T", "white noise at grad L = 0", "gamma = 0"),
        "equality",
        "beyond arXiv 2402.07193",
    )


def exact() -> st.Verdict:
    """Any size, any symmetric A; then the linear recursion of the three means."""
    symmetric = st.SymmetricMatrix("d")
    arrays = {"A": symmetric, "p": "d", "v": "d", "g": "d", "eta": (), "beta": ()}
    form = lambda a, v, w: v @ a["A"] @ w
    after = lambda a: a["beta"] * a["v"] + a["g"]
    now = lambda a: a["p"] - a["eta"] * a["v"]
    eta, beta, noise, size = sympy.symbols("eta beta s S", positive=True)
    room = sympy.Symbol("r", positive=True)
    square = noise / size / (1 - beta**2)
    cross = -beta * eta * square / (1 - beta)
    steps = [
        st.identity(
            "C' = C - 2 eta v' . A theta + eta^2 v'^T A v'",
            lambda a: (
                form(a, a["p"] - a["eta"] * a["v"], a["p"] - a["eta"] * a["v"])
                - form(a, a["p"], a["p"])
                + 2 * a["eta"] * form(a, a["v"], a["p"])
                - a["eta"] ** 2 * form(a, a["v"], a["v"])
            ),
            arrays,
        ),
        st.identity(
            "x' = v' . A theta with theta = p - eta v: x' = beta (x - eta q) + g . A theta, where "
            "x = v . A p and q = v^T A v",
            lambda a: (
                form(a, after(a), now(a))
                - a["beta"] * (form(a, a["v"], a["p"]) - a["eta"] * form(a, a["v"], a["v"]))
                - form(a, a["g"], now(a))
            ),
            arrays,
        ),
        st.identity(
            "q' = v'^T A v' = beta^2 q + 2 beta g . A v + g^T A g",
            lambda a: (
                form(a, after(a), after(a))
                - a["beta"] ** 2 * form(a, a["v"], a["v"])
                - 2 * a["beta"] * form(a, a["g"], a["v"])
                - form(a, a["g"], a["g"])
            ),
            arrays,
        ),
        from_statement("g . A theta = 0 for every sample", "P1.1"),
        from_statement(
            "E[g | theta, v] = grad L = 0, so E[g . A v] = 0 and E[g^T A g] = Tr[Sigma A]/S",
            "P1.4",
        ),
        same("q = s/(S (1 - beta^2)) is stationary", beta**2 * square + noise / size, square),
        same("x = -beta eta q/(1 - beta) is stationary", beta * (cross - eta * square), cross),
        sign(
            "the recursion contracts: 1 - beta^2 > 0 with beta = 1/(1 + r)",
            sympy.factor(1 - (1 / (1 + room)) ** 2),
            "positive",
        ),
        same(
            "E[C' - C] = -2 eta x + eta^2 q = (eta/(1 - beta))^2 s/S",
            -2 * eta * cross + eta**2 * square,
            (eta / (1 - beta)) ** 2 * noise / size,
        ),
        *_derived(),
    ]
    return proof("momentum rescales the learning rate of the charge law", steps)


def _derived() -> list[st.Verdict]:
    example = st.zoo.load("scalar-factor")
    law: Any = st.derive(example.model, example.symmetries["rescaling"])
    found = law.momentum_drift.sympy()
    names = Symbols(found)
    written = (names["eta"] / (1 - names["beta"])) ** 2 / names["S"] * law.noise_trace.sympy()
    return [law.verdict, same("derive's change per step with momentum", found, written)]


@functools.cache
def _layer() -> st.Model:
    return st.zoo.load("scale-invariant").bound(d=8)


def _grows(weight_decay: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Follow |theta|^4 of a scale-invariant layer, whose loss has no gradient in the mean.

    With n = |theta|^2 and Tr Sigma = s/n, n^2 grows by 2 (eta/(1 - beta))^2 s/S per step.
    """
    keys = jax.random.split(key, 5)
    beta = uniform(keys[0], 0.4, 0.8)
    batch, model = 2, _layer()
    start = jax.random.normal(keys[2], (8,))
    start = {"w": start / jnp.linalg.norm(start) * uniform(keys[3], 1.2, 1.6)}
    replicas, effective, ratios = 256, 0.1, []
    steps = budget.steps(replicas, nanoseconds=1000.0, share=0.5, most=600, least=150)
    for rate, count in ((effective, steps), (effective / 2, 4 * steps)):
        run = st.simulate(
            model, st.SGD(rate * (1 - beta), batch, weight_decay, beta), params=start,
            steps=count, replicas=replicas, key=keys[4], observe=size,
        )  # fmt: skip
        # The velocity is zero at first; growth is taken from when it has settled.
        late = int(np.searchsorted(run.record_steps, count / 5))
        passed = count - run.record_steps[late]
        grown = run.final["size"] ** 2 - np.asarray(run.observables["size"])[:, late] ** 2
        ratios.append((rate, st.mean_over_replicas(grown / (2 * rate**2 / batch * 7 * passed))))
    claim = "n^2 grows by 2 (eta/(1 - beta))^2 s/S per step as eta/(1 - beta) -> 0 (as a ratio)"
    return tends_to(f"beta = {beta:.3f}, S = {batch}: {claim}", 1.0, ratios, 0.06)


@functools.cache
def _net() -> tuple[Any, st.Model]:
    example = st.zoo.load("two-layer-linear")
    return (
        st.derive(example.sized(dy=1, h=1, dx=2), example.symmetries["rescaling"]),
        example.bound(dy=1, h=1, dx=2),
    )


def _forgets(key: jax.Array, budget: Budget) -> st.Verdict:
    """Compare momentum with plain SGD at the rate eta/(1 - beta) on a net with curvature."""
    keys = jax.random.split(key, 3)
    law, model = _net()
    beta, flow = uniform(keys[0], 0.4, 0.7), uniform(keys[1], 0.4, 0.7)
    teacher = model.values["V"]
    start = {"U": np.full((1, 1), math.exp(flow)), "W": math.exp(-flow) * teacher}
    observe = {"charge": law.observables()["charge"], "size": size}
    replicas = 512
    line, shown = [], []
    for rate, length in ((0.01, 400), (0.005, 1600)):
        steps = budget.steps(replicas, nanoseconds=400.0, share=0.4, most=length)
        ends = []
        for number, dynamics in enumerate((st.SGD(rate * (1 - beta), momentum=beta), st.SGD(rate))):
            run = st.simulate(
                model, dynamics, params=start, steps=steps, replicas=replicas,
                key=jax.random.fold_in(keys[2], number), observe=observe,
            )  # fmt: skip
            ends.append(run.final["charge"][:, 0])
            scale = float(run.final["size"].mean())
        line.append((rate, st.mean_over_replicas(ends[0] - ends[1])))
        shown.append(f"{ends[0].mean():.4f} and {ends[1].mean():.4f}")
    claim = "as eta -> 0 the charge is where SGD at eta/(1 - beta) takes it"
    found = tends_to(claim, 0.0, line, 0.06 * scale, scale)
    how = f"beta = {beta:.3f}, on the way to the equilibrium: {'; '.join(shown)}"
    return st.conjunction("a net with momentum, against plain SGD", [found], how=how)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    keys = jax.random.split(key)
    return proof("momentum", [_grows(0.0, keys[0], budget), _forgets(keys[1], budget)])


def control() -> st.Verdict:
    """With weight decay."""
    return _grows(0.2, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """Without weight decay."""
    return _grows(0.0, jax.random.key(1), Budget(1.0))
