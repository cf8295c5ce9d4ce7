"""P1.6: without weight decay the equilibrium is finite exactly if noise acts on both sides.

Statement: at gamma = 0, lambda* is finite iff Sigma has noise in both the positive and the negative
eigenspace of A. With scale invariance (A = I) there is one side only, and
|theta|^4 = |theta_0|^4 + 4 sigma^2 s t, s = Tr Sigma(theta/|theta|): |theta| grows as t^(1/4).

Assumptions: exponential symmetry; gamma = 0; for the growth law, scale invariance and s the same in
all directions that are visited.

Relation: equality.

Reference: arXiv 2402.07193, section on the noise equilibrium.

Proof idea: G(lambda) = 2 sigma^2 sum_i mu_i s_i exp(-2 mu_i lambda); terms of one sign never
cancel, terms of both signs do once. With A = I, d|theta|^2/dt = 2 sigma^2 s/|theta|^2.

Example output:

    P1.6   proved        supported     refuted
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._intervals import measured, near, tends_to
from proofs_check._paths import size, uniform
from proofs_check._steps import from_statement, proof, same, sign, textbook
from symtheory.verdict import Derivation, Inequality, prove


def claim() -> Claim:
    return Claim(
        "P1.6",
        "Without weight decay lambda* is finite iff noise acts on both sides of A; with scale "
        "invariance |theta|^4 = |theta_0|^4 + 4 sigma^2 s t",
        ("exponential symmetry", "gamma = 0", "growth law: A = I, s constant"),
        "equality",
        "arXiv 2402.07193, noise equilibrium",
    )


def exact() -> st.Verdict:
    """The i-th of any number of summands; then the growth law."""
    lam = sympy.Symbol("lambda", real=True)
    mu, s, variance = sympy.symbols("mu s sigma2", positive=True)
    up = 2 * variance * mu * s * sympy.exp(-2 * mu * lam)
    down = -2 * variance * mu * s * sympy.exp(2 * mu * lam)
    time, start, norm = sympy.symbols("t n_0 n", positive=True)
    square = sympy.sqrt(start**2 + 4 * variance * s * time)
    steps = [
        sign("a summand with mu_i > 0 and noise is positive on the whole orbit", up, "positive"),
        sign("a summand with mu_i < 0 and noise is negative on the whole orbit", down, "negative"),
        textbook(
            "with noise on one side G has no zero in R",
            "a sum of numbers of one sign has it",
            given="a step above for each summand",
        ),
        same("the first vanishes as lambda -> infinity", sympy.limit(up, lam, sympy.oo), 0),
        same("the second vanishes as lambda -> -infinity", sympy.limit(down, lam, -sympy.oo), 0),
        _unbounded("the first has no bound as lambda -> -infinity", up, lam, -sympy.oo),
        _unbounded("the second has no bound as lambda -> infinity", -down, lam, sympy.oo),
        from_statement(
            "with noise on both sides G runs from +infinity to -infinity, falls strictly and has "
            "exactly one zero",
            "P1.5",
        ),
        st.identity(
            "A = I: C = |theta|^2 and Tr[Sigma A] = Tr Sigma",
            lambda a: (
                a["t"] @ jnp.eye(a["t"].shape[0]) @ a["t"] - jnp.sum(a["t"] ** 2),
                jnp.trace(a["S"] @ jnp.eye(a["t"].shape[0])) - jnp.trace(a["S"]),
            ),
            {"t": "d", "S": st.SymmetricMatrix("d")},
        ),
        same(
            "Tr Sigma(exp(lambda) theta) = exp(-2 lambda) Tr Sigma(theta) (P1.1): s/n at |theta|^2 "
            "= n",
            (sympy.exp(-2 * lam) * s).subs(lam, sympy.log(norm) / 2),
            s / norm,
        ),
        same(
            "n = sqrt(n_0^2 + 4 sigma^2 s t) solves dn/dt = 2 sigma^2 s/n",
            sympy.diff(square, time) * square,
            2 * variance * s,
        ),
        same("and begins at n_0", square.subs(time, 0), start),
        _side("scale-invariant", "scale", "+infinity"),
        _side("two-layer-linear", "rescaling", "finite"),
    ]
    return proof("finite or not", steps, claim().reference)


def _unbounded(what: str, expression: Any, symbol: sympy.Symbol, at: Any) -> st.Verdict:
    found = sympy.limit(expression, symbol, at)
    how = f"its limit is {found}"
    if found is not sympy.oo:
        return st.Verdict(st.Status.REFUTED, what, how=how)
    others = dict.fromkeys(expression.free_symbols - {symbol}, 1)
    side = 1 if at is sympy.oo else -1
    values = [float(expression.subs({**others, symbol: side * n})) for n in (1, 10, 100)]
    grows = Inequality([y - 1000 * x for x, y in itertools.pairwise(values)], "positive")
    return prove(what, Derivation(how), grows)


def _side(name: str, symmetry: str, kind: str) -> st.Verdict:
    """Say where the derived equilibrium of an example lies without weight decay."""
    example = st.zoo.load(name)
    law: Any = st.derive(example.bound(), example.symmetries[symmetry])
    found = None if law.equilibrium is None else law.equilibrium.kind
    claim, how = f"the equilibrium of {name} is {kind}", f"derived: {found}"
    if found != kind:
        return st.Verdict(st.Status.REFUTED, claim, how=how, parts=law.steps)
    return st.conjunction(claim, law.steps, how=how)


def _exponent(
    model: st.Model, start: Any, steps: int, predicted: float, key: jax.Array, decay: float
) -> st.Verdict:
    """Measure d ln|theta| / d ln t over the last three quarters of a run."""
    run = st.simulate(
        model,
        st.SGD(0.02, weight_decay=decay),
        params=start,
        steps=steps,
        replicas=256,
        key=key,
        observe=size,
    )
    seen = np.asarray(run.observables["size"])
    quarter = int(np.searchsorted(run.record_steps, steps / 4))
    ratio = run.final["size"] / seen[:, quarter]
    slope = np.log(ratio) / 2 / math.log(steps / run.record_steps[quarter])
    claim = f"|theta| of {model.name} grows as t^{predicted:g}"
    return near(claim, predicted, slope, 0.06)


@functools.cache
def _layer() -> tuple[st.Model, Any]:
    example = st.zoo.load("scale-invariant")
    model = example.bound(d=8)
    return model, st.derive(model, example.symmetries["scale"])


@functools.cache
def _net() -> st.Model:
    return st.zoo.load("two-layer-linear").bound(dy=1, h=1, dx=2)


def _fourth_power(key: jax.Array, budget: Budget, decay: float) -> st.Verdict:
    """Follow |theta|^4 of a scale-invariant layer at two learning rates for the same time."""
    keys = jax.random.split(key, 4)
    model, law = _layer()
    start = jax.random.normal(keys[0], (8,))
    start = {"w": start / jnp.linalg.norm(start) * uniform(keys[1], 1.0, 1.5)}
    noise = float(law.noise_trace.callable()({"w": start["w"] / jnp.linalg.norm(start["w"])}))
    replicas, rate, ratios = 256, 0.1, []
    steps = budget.steps(replicas, nanoseconds=1000.0, share=0.5, most=600)
    for eta, count in ((rate, steps), (rate / 2, 4 * steps)):
        run = st.simulate(
            model, st.SGD(eta, weight_decay=decay), params=start, steps=count,
            replicas=replicas, key=keys[3], observe=size,
        )  # fmt: skip
        grown = run.final["size"] ** 2 - float(jnp.sum(start["w"] ** 2)) ** 2
        # sigma^2 = eta/2 and t = eta k.
        ratios.append((eta, st.mean_over_replicas(grown / (2 * eta**2 * noise * count))))
    claim = "|theta|^4 - |theta_0|^4 = 4 sigma^2 s t as eta -> 0 (as a ratio)"
    return tends_to(claim, 1.0, ratios, 0.04)


def _two_sided(key: jax.Array, decay: float) -> st.Verdict:
    """The exponent of a net whose rescaling has noise on both sides."""
    keys = jax.random.split(key)
    flow = uniform(keys[0], 0.3, 0.6)
    model = _net()
    teacher = model.values["V"]
    start = {"U": np.full((1, 1), math.exp(flow)), "W": math.exp(-flow) * teacher}
    return _exponent(model, start, 8000, 0.0, keys[1], decay)


@measured
def _grows(decay: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Noise on one side runs away, noise on two sides settles."""
    keys = jax.random.split(key, 3)
    layer, _ = _layer()
    start = {"w": 0.2 * jax.random.normal(keys[0], (8,))}
    return proof(
        "one side runs away, two sides settle",
        [_fourth_power(keys[1], budget, decay),
         _exponent(layer, start, 8000, 0.25, keys[2], decay), _two_sided(keys[0], decay)],
    )  # fmt: skip


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _grows(0.0, key, budget)


def control() -> st.Verdict:
    """With weight decay, which holds the side that has no noise."""
    return _grows(0.05, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """Without weight decay."""
    return _grows(0.0, jax.random.key(1), Budget(1.0))
