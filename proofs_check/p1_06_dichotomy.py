"""P1.6: without weight decay the equilibrium is finite exactly if noise acts on both sides.

Statement: A has noise in its positive eigenspace if s_+ = Tr[P_+ Sigma P_+] > 0, in its negative
one if s_- = Tr[P_- Sigma P_-] > 0. At gamma = 0 G has exactly one zero lambda* in R if both are
positive; if one alone is, G has no zero in R and tends to 0 at lambda* = +infinity (s_+ > 0) or
-infinity (s_- > 0) alone; if neither is, G = 0 for all lambda. So, with any noise that A sees,
lambda* is finite if and only if there is noise on both sides. With scale invariance (A = I) there
is one side only, and |theta|^4 = |theta_0|^4 + 4 sigma^2 s t, s = Tr Sigma(theta/|theta|): |theta|
grows as t^(1/4).

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
from symtheory.verdict import Derivation, Unchecked, prove


def claim() -> Claim:
    return Claim(
        "P1.6",
        "Without weight decay lambda* is finite iff noise acts on both sides of A, +-infinity if "
        "on one; with scale invariance |theta|^4 = |theta_0|^4 + 4 sigma^2 s t",
        ("exponential symmetry", "gamma = 0", "growth law: A = I, s constant"),
        "equality",
        "arXiv 2402.07193, noise equilibrium",
    )


def exact() -> st.Verdict:
    """The four cases, each for any number of summands; then the growth law."""
    steps = [
        *_sides(),
        *_cases(),
        *_growth(),
        _side("scale-invariant", "scale", "+infinity"),
        _side("scale-invariant", "scale", "-infinity", -1),
        _side("two-layer-linear", "rescaling", "finite"),
    ]
    return proof("finite or not", steps, claim().reference)


def _sides() -> list[st.Verdict]:
    """What noise on a side is, in the summands of G: P the projection on an eigenspace."""
    arrays = {"O": st.OrthogonalMatrix("d"), "keep": "d", "S": ("d", "d")}
    project = lambda a: (a["O"] * a["keep"]) @ a["O"].T
    return [
        st.identity(
            "with P = sum_i k_i n_i n_i^T and Sigma = X^T X: Tr[P Sigma P] = sum_i k_i^2 "
            "|X n_i|^2, k_i = 1 where mu_i has the sign in question, else 0",
            lambda a: (
                jnp.trace(project(a) @ a["S"].T @ a["S"] @ project(a))
                - jnp.sum(a["keep"] ** 2 * jnp.sum((a["S"] @ a["O"]) ** 2, axis=0))
            ),
            arrays,
        ),
        textbook(
            "so s_+ is the sum of s_i = n_i^T Sigma n_i >= 0 over mu_i > 0, and positive if and "
            "only if one of them is; s_- likewise",
            "a sum of squares vanishes only if each does",
            given="Sigma is a covariance",
        ),
        from_statement("G(lambda) = 2 sigma^2 sum_i mu_i s_i exp(-2 mu_i lambda)", "P1.5"),
    ]


def _cases() -> list[st.Verdict]:
    """Noise on both sides, on one, on none; mu = |mu_i|."""
    lam = sympy.Symbol("lambda", real=True)
    mu, variance = sympy.symbols("mu sigma2", positive=True)
    s = sympy.Symbol("s", positive=True)
    term = lambda slope: 2 * variance * slope * s * sympy.exp(-2 * slope * lam)
    plus, minus = term(mu), term(-mu)
    above = sign("a summand with mu_i > 0 and s_i > 0 is positive for all lambda", plus, "positive")
    below = sign("one with mu_i < 0 and s_i > 0 is negative for all lambda", minus, "negative")
    falls = [
        sign(f"{name} falls strictly", sympy.diff(summand, lam), "negative")
        for name, summand in (("the first", plus), ("the second", minus))
    ]
    ends = [
        _tends("the first, at -infinity", plus, lam, -sympy.oo, sympy.oo),
        _tends("the second, at -infinity", minus, lam, -sympy.oo, 0),
        _tends("the first, at +infinity", plus, lam, sympy.oo, 0),
        _tends("the second, at +infinity", minus, lam, sympy.oo, -sympy.oo),
    ]
    return [
        textbook(
            "noise on both sides: G runs from +infinity to -infinity and has a zero",
            "intermediate value theorem", *ends, given="G is a finite sum of exponentials",
        ),
        textbook(
            "and only one",
            "a strictly falling function has at most one zero", *falls,
        ),
        textbook(
            "noise on the positive side alone: G > 0 on R, and G tends to 0 at +infinity and to "
            "+infinity at -infinity; lambda* = +infinity",
            "a sum of positive numbers is positive", above, ends[0], ends[2],
        ),
        textbook(
            "noise on the negative side alone: G < 0 on R, and G tends to 0 at -infinity and to "
            "-infinity at +infinity; lambda* = -infinity",
            "a sum of negative numbers is negative", below, ends[1], ends[3],
        ),
        textbook(
            "noise on neither side: G = 0 for all lambda",
            "a sum of zeros is 0",
            given="s_i = 0 wherever mu_i is not 0",
        ),
        textbook(
            "these are all cases: lambda* is finite and unique if and only if s_+ > 0 and s_- > 0",
            "s_+ and s_- are positive or 0", given="Sigma is a covariance",
        ),
    ]  # fmt: skip


def _growth() -> list[st.Verdict]:
    lam = sympy.Symbol("lambda", real=True)
    s, variance = sympy.symbols("s sigma2", positive=True)
    time, start, norm = sympy.symbols("t n_0 n", positive=True)
    square = sympy.sqrt(start**2 + 4 * variance * s * time)
    return [
        st.identity(
            "A = I: C = |theta|^2 and Tr[Sigma A] = Tr Sigma",
            lambda a: (
                a["t"] @ jnp.eye(a["t"].shape[0]) @ a["t"] - jnp.sum(a["t"] ** 2),
                jnp.trace(a["S"] @ jnp.eye(a["t"].shape[0])) - jnp.trace(a["S"]),
            ),
            {"t": "d", "S": st.SymmetricMatrix("d")},
        ),
        from_statement("dn/dt = 2 sigma^2 Tr Sigma for n = |theta|^2, without diffusion", "P1.3"),
        from_statement("Tr Sigma(exp(lambda) theta) = exp(-2 lambda) Tr Sigma(theta)", "P1.1"),
        same(
            "which is s/n at |theta|^2 = n = exp(2 lambda)",
            (sympy.exp(-2 * lam) * s).subs(lam, sympy.log(norm) / 2),
            s / norm,
        ),
        same(
            "n = sqrt(n_0^2 + 4 sigma^2 s t) solves dn/dt = 2 sigma^2 s/n",
            sympy.diff(square, time) * square,
            2 * variance * s,
        ),
        same("and begins at n_0", square.subs(time, 0), start),
        textbook(
            "it is the only solution",
            "Picard and Lindelof", given="1/n is smooth for n > 0",
        ),
        same(
            "|theta|^4/t tends to 4 sigma^2 s: |theta| grows as t^(1/4)",
            sympy.limit(square**2 / time, time, sympy.oo), 4 * variance * s,
        ),
        sign("which is positive", 4 * variance * s, "positive"),
    ]  # fmt: skip


def _tends(what: str, term: Any, symbol: sympy.Symbol, at: Any, wanted: Any) -> st.Verdict:
    found = sympy.limit(term, symbol, at)
    claim, how = f"{what}, tends to {wanted}", f"its limit is {found}"
    if found != wanted:
        return st.Verdict(st.Status.REFUTED, claim, how=how)
    return prove(claim, Derivation(how), Unchecked("a limit is the value at no point"))


def _side(name: str, symmetry: str, kind: str, factor: int = 1) -> st.Verdict:
    """Say where the derived equilibrium of an example lies, for a multiple of its generator."""
    example = st.zoo.load(name)
    known: Any = example.symmetries[symmetry]
    moved = st.Exponential(lambda p: jax.tree.map(lambda leaf: factor * leaf, known.action(p)))
    law: Any = st.derive(example.bound(), known if factor == 1 else moved)
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
