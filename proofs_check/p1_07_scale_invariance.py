"""P1.7: weight decay holds a scale-invariant layer at a norm set by the noise.

Statement: under the SDE |theta|^4 -> sigma^2 s/(2 gamma), s = Tr Sigma(theta/|theta|). Under SGD at
grad L = 0, E[|theta|^2]/E[1/|theta|^2] = u = eta s/(4 S gamma (1 - eta gamma)) exactly; |theta|^4
is u up to the relative spread v = Var|g_B|^2/(E|g_B|^2)^2, which adds v (1 - a^2)/(2 a^2) to first
order, a = 1 - 2 eta gamma.

Assumptions: scale invariance; grad L = 0; s and v the same in all directions; 0 < eta gamma < 1.

Relation: equality.

Reference: arXiv 2402.07193, scale invariance; the discrete statements go beyond it.

Proof idea: n = |theta|^2 obeys dn/dt = -4 gamma n + 2 sigma^2 s/n, and n' = a^2 n + eta^2 q/n with
q = |g_B|^2 on the unit sphere in discrete time.

Example output:

    P1.7   proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._intervals import at_rest, measured, near, tends_to
from proofs_check._paths import size, tail, uniform
from proofs_check._steps import from_statement, proof, same, textbook
from proofs_check._symbols import Symbols

_WIDTH = 8


def claim() -> Claim:
    return Claim(
        "P1.7",
        "Scale invariance with weight decay: |theta|^4 -> sigma^2 s/(2 gamma); for SGD eta s/(4 S "
        "gamma (1 - eta gamma)), plus the spread of |g|^2",
        ("scale invariance", "grad L = 0", "s and v constant", "0 < eta gamma < 1"),
        "equality",
        "arXiv 2402.07193, scale invariance; discrete statements beyond it",
    )


def exact() -> st.Verdict:
    """The law of n = |theta|^2 in continuous and in discrete time, its moments and fixed points."""
    time, s, variance, gamma, first, eta, size = sympy.symbols(
        "t s sigma2 gamma m_0 eta S", positive=True
    )
    rest = variance * s / (2 * gamma)
    path = rest + (first - rest) * sympy.exp(-8 * gamma * time)
    keep = 1 - 2 * eta * gamma
    fixed = eta * s / (4 * size * gamma * (1 - eta * gamma))
    steps = [
        from_statement("dn/dt = -4 gamma n + 2 sigma^2 Tr Sigma for n = |theta|^2", "P1.3"),
        from_statement("Tr Sigma = s/n", "P1.6"),
        same(
            "m = n^2 = sigma^2 s/(2 gamma) + (m_0 - ...) exp(-8 gamma t) solves dm/dt = -8 gamma m "
            "+ 4 sigma^2 s",
            sympy.diff(path, time),
            -8 * gamma * path + 4 * variance * s,
        ),
        same("and tends to sigma^2 s/(2 gamma)", sympy.limit(path, time, sympy.oo), rest),
        st.identity(
            "|a theta - eta g|^2 = a^2 |theta|^2 + eta^2 |g|^2 - 2 a eta g . theta",
            lambda a: (
                jnp.sum((a["a"] * a["t"] - a["eta"] * a["g"]) ** 2)
                - a["a"] ** 2 * jnp.sum(a["t"] ** 2)
                - a["eta"] ** 2 * jnp.sum(a["g"] ** 2)
                + 2 * a["a"] * a["eta"] * (a["g"] @ a["t"])
            ),
            {"t": "d", "g": "d", "a": (), "eta": ()},
        ),
        from_statement(
            "g . theta = 0, and g(theta) = g(theta/|theta|)/|theta|: n' = a^2 n + eta^2 q/n", "P1.1"
        ),
        textbook("q is independent of n, so E n' = E n is (1 - a^2) E n = eta^2 E[q] E[1/n]",
              "expectation of a product of independent variables",
              given="E n' = E n at stationarity; the batch is drawn independently of theta"),
        same("E n/E[1/n] = eta^2 (s/S)/(1 - a^2) = u", eta**2 * s / size / (1 - keep**2), fixed),
        *_spread(),
        *_derived(),
    ]  # fmt: skip
    return proof("the norm that weight decay and noise hold", steps, claim().reference)


def _spread() -> list[st.Verdict]:
    """E n^2 to first order in the spread, from n = sqrt(u) (1 + d)."""
    keep, d, v, xi = sympy.symbols("a d v xi")
    square = keep**2
    # n'/sqrt(u) = a^2 (1 + d) + (1 - a^2) (1 + xi)/(1 + d), E xi = 0, E xi^2 = v.
    moved = square * (1 + d) + (1 - square) * (1 + xi) / (1 + d) - 1
    second = sympy.series(moved.subs(xi, 0), d, 0, 3).removeO()
    variance = v * (1 - square) / (4 * square)
    return [
        same("to second order d' = (2 a^2 - 1) d + (1 - a^2) (d^2 + xi)", second,
             (2 * square - 1) * d + (1 - square) * d**2),
        same("E d^2 = v (1 - a^2)/(4 a^2) is stationary", variance,
             (2 * square - 1) ** 2 * variance + (1 - square) ** 2 * v),
        same("E d = E d^2/2 is stationary", (2 * square - 1) * variance / 2
             + (1 - square) * variance, variance / 2),
        same("E n^2 = u (1 + 2 E d + E d^2) = u (1 + v (1 - a^2)/(2 a^2))",
             2 * variance / 2 + variance, v * (1 - square) / (2 * square)),
    ]  # fmt: skip


def _derived() -> list[st.Verdict]:
    """What the package derives for a layer, in the symbols s_+ = Tr Sigma and c_+ = |theta|^2."""
    example = st.zoo.load("scale-invariant")
    law: Any = st.derive(example.bound(), example.symmetries["scale"])
    equilibrium = law.equilibrium
    names = Symbols(equilibrium.solution)
    eta, size, gamma, s, c = (names[n] for n in ("eta", "S", "gamma", "s_+", "c_+"))
    point = sympy.Symbol("n", positive=True)
    decay = sympy.Symbol("g", positive=True)
    positive: Any = {s: sympy.Symbol("s", positive=True), c: point, gamma: decay}
    fixed = equilibrium.fixed_charge.subs(positive)
    moved = (sympy.exp(4 * equilibrium.solution) * c**2).subs(positive)
    sphere = positive[s] * point
    return [
        law.verdict,
        same("derive's lambda*: |theta|^4 there is sigma^2 s/(2 gamma), s = n Tr Sigma", moved,
             eta / size * sphere / (4 * decay)),
        same("derive's fixed point of SGD, squared, is u", fixed**2,
             eta * sphere / (4 * size * decay * (1 - eta * decay))),
    ]  # fmt: skip


def _inverse(params: Any) -> Any:
    """Observe 1/|theta|^2."""
    return 1 / size(params)


@measured
def _settles(model: st.Model, key: jax.Array, budget: Budget) -> st.Verdict:
    """Measure stationary moments of |theta|^2 and compare them with the fixed points."""
    keys = jax.random.split(key, 5)
    gamma, rate = uniform(keys[0], 0.15, 0.25), uniform(keys[1], 0.15, 0.25)
    batch = int(jax.random.randint(keys[2], (), 1, 4))
    start = {"w": uniform(keys[3], 0.5, 1.5) * jax.random.normal(keys[3], (_WIDTH,))}
    # g = -y (x - w (w.x)) on the unit sphere: S |g_B|^2 is chi^2 with d - 1 degrees of freedom.
    noise, spread = _WIDTH - 1.0, 2 / (_WIDTH - 1)
    replicas = 256
    steps = budget.steps(replicas, nanoseconds=1000.0, share=0.3, most=1000, least=200)
    parts, line = [], []
    for eta, count in ((rate, steps), (rate / 2, 2 * steps)):
        dynamics = st.SGD(eta, batch, gamma)
        want = st.scale_fixed_point(
            noise, spread, learning_rate=eta, weight_decay=gamma, batch_size=batch
        )
        run = st.simulate(
            model, dynamics, params=start, steps=count, replicas=replicas, key=keys[4],
            observe={"size": size, "inverse": _inverse, "fourth": _fourth}, record_every=5,
        )  # fmt: skip
        mean, inverse, fourth = (tail(run, name, 0.7) for name in ("size", "inverse", "fourth"))
        at_rest(run.observables["fourth"], 0.1 * float(fourth.mean()), 0.3)
        at = f", eta = {eta:.3f}, gamma = {gamma:.3f}, S = {batch}"
        parts += [
            near(f"E[n] = u E[1/n]{at}", 0.0, mean - want.discrete * inverse,
                 0.02 * float(mean.mean()), float(mean.mean())),
            near(f"E[n^2] with the spread of |g|^2{at}", want.with_spread, fourth,
                 0.03 * want.with_spread),
        ]  # fmt: skip
        line.append((eta, st.mean_over_replicas(fourth / want.continuous)))
    claim = "as eta -> 0, |theta|^4 is sigma^2 s/(2 gamma) (as a ratio)"
    parts.append(tends_to(claim, 1.0, line, 0.04))
    return proof("noise and weight decay balance", parts)


def _fourth(params: Any) -> Any:
    """Observe |theta|^4."""
    return size(params) ** 2


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _settles(st.zoo.load("scale-invariant").bound(d=_WIDTH), key, budget)


def control() -> st.Verdict:
    """The loss depends on the norm too."""
    kind = st.zoo.load("scale-invariant").bound(d=_WIDTH)
    linear = lambda p, z: -z["y"] * (z["x"] @ p["w"])
    broken = st.Model(linear, kind.params, kind.random, name="linear layer")
    return _settles(broken, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """The loss depends on the direction alone."""
    return _settles(st.zoo.load("scale-invariant").bound(d=_WIDTH), jax.random.key(1), Budget(1.0))
