"""P1.7: weight decay holds a scale-invariant layer at a norm set by the noise.

Statement: under the SDE |theta|^4 -> sigma^2 s/(2 gamma), s = Tr Sigma(theta/|theta|). Under SGD at
grad L = 0, E[|theta|^2]/E[1/|theta|^2] = u = eta s/(4 S gamma (1 - eta gamma)) exactly. With
a = 1 - 2 eta gamma, k = (1 - a^2)/(2 a^2) = 2 eta gamma + O(eta^2) and v = Var|g_B|^2/(E|g_B|^2)^2,
E|theta|^4 is u (1 + k v + R), R second order in k: R >= -k^2 v/(1 + k); and R <= k^2 v B/(1 - k B),
B = (1 + v)/sqrt(c) - 1, where |g_B|^2 >= c E|g_B|^2 on the unit sphere, a^2 >= 1/2 and k B < 1.

Assumptions: scale invariance; grad L = 0; s and v the same in all directions; 0 < eta gamma < 1;
E|theta|^4 and E|theta|^-4 finite. Where |g_B|^2 comes arbitrarily near to 0, as that of Gaussian
data in the measurement does, only the lower side of R is proved.

Relation: equality.

Reference: arXiv 2402.07193, scale invariance; the discrete statements go beyond it.

Proof idea: n = |theta|^2 obeys dn/dt = -4 gamma n + 2 sigma^2 s/n, and n' = a^2 n + eta^2 q/n with
q = |g_B|^2 on the unit sphere in discrete time. For x = n/sqrt(u) the means of x' and x'^2 give
E x^2 = 1 + k (v N + N - E x^2), N = E x^-2, exactly, and N - E x^2 is the mean of a third power of
x - 1, bounded by E (x - 1/x)^2.

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
from proofs_check._steps import from_statement, proof, same, sign, textbook
from proofs_check._symbols import Symbols

_WIDTH = 8


def claim() -> Claim:
    return Claim(
        "P1.7",
        "Scale invariance with weight decay: |theta|^4 -> sigma^2 s/(2 gamma); for SGD eta s/(4 S "
        "gamma (1 - eta gamma)) times 1 + k v, v the relative spread of |g|^2, k = 2 eta gamma + "
        "O(eta^2), up to an error of second order in k that is bounded on both sides",
        (
            "scale invariance",
            "grad L = 0",
            "s and v constant",
            "0 < eta gamma < 1",
            "stationary, with finite E|theta|^4 and E|theta|^-4",
            "upper side of the error: |g_B|^2 >= c E|g_B|^2 > 0 on the unit sphere, a^2 >= 1/2",
        ),
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
        *_means(),
        *_third_power(),
        *_never_left(),
        *_bounds(),
        *_derived(),
    ]  # fmt: skip
    return proof("the norm that weight decay and noise hold", steps, claim().reference)


def _mean(expression: Any, x: Any, z: Any, powers: dict[int, Any], v: Any) -> Any:
    """Return the mean of a polynomial in x, 1/x and z, independent, with E z = 1, Var z = v."""
    total = sympy.Integer(0)
    for term in sympy.Add.make_args(sympy.expand(expression)):
        degree = term.as_powers_dict()
        mean = powers[int(degree[x])] * {0: 1, 1: 1, 2: 1 + v}[int(degree[z])]
        total += term * x ** -degree[x] * z ** -degree[z] * mean
    return total


def _means() -> list[st.Verdict]:
    """What stationarity says of x = n/sqrt(u) and z = q/E q, with b = a^2."""
    x, z, u, b = sympy.symbols("x z u b", positive=True)
    v, one, inverse, square, other = sympy.symbols("v X_1 X_-1 M N")
    moved = b * x + (1 - b) * z / x
    powers = {0: 1, 1: one, -1: inverse, 2: square, -2: other}
    k = (1 - b) / (2 * b)
    return [
        same(
            "n' = b n + eta^2 q/n is x' = b x + (1 - b) z/x, as u (1 - b) = eta^2 E q",
            (b * sympy.sqrt(u) * x + u * (1 - b) * z / (sympy.sqrt(u) * x)) / sympy.sqrt(u),
            moved,
        ),
        same(
            "E x' - E x = (1 - b) (E 1/x - E x): stationary where E x = E 1/x",
            _mean(moved, x, z, powers, v) - one, (1 - b) * (inverse - one),
        ),
        same(
            "E x'^2 - E x^2 = 2 b (1 - b) (1 + k (v N + N - M) - M), M = E x^2, N = E x^-2: "
            "stationary where M = 1 + k v N + k (N - M)",
            _mean(moved**2, x, z, powers, v) - square,
            2 * b * (1 - b) * (1 + k * (v * other + other - square) - square),
        ),
    ]  # fmt: skip


def _third_power() -> list[st.Verdict]:
    """T = N - M from both sides by E (x - 1/x)^2 = 2 E + T, where M = 1 + E."""
    x, r, beyond = sympy.symbols("x r e", positive=True)
    square, other, excess, gap = sympy.symbols("M N E T")
    weight = (x - 1 / x) ** 2
    part = (1 - x) / (1 + x)
    most = (1 - r) / (1 + r)
    powers = {0: 1, 2: square, -2: other}
    return [
        same(
            "1/x^2 - x^2 + 2 (x - 1/x) = (x - 1/x)^2 (1 - x)/(1 + x), so T = N - M is the mean of "
            "the right side, as E x = E 1/x",
            sympy.expand(x**-2 - x**2 + 2 * (x - 1 / x)) * (1 + x),
            sympy.expand(weight * (1 - x)),
        ),
        same(
            "E (x - 1/x)^2 = 2 E + T, where M = 1 + E and N = M + T",
            _mean(weight, x, sympy.Symbol("z"), powers, 0).subs({square: 1 + excess,
                                                                  other: 1 + excess + gap}),
            2 * excess + gap,
        ),
        same("(1 - x)/(1 + x) = -1 + 2/(1 + x)", sympy.together(part + 1), 2 / (1 + x)),
        sign("so T >= -(2 E + T), that is T >= -E", 2 / (1 + x), "positive"),
        sign(
            "for x >= r, (1 - x)/(1 + x) is at most m = (1 - r)/(1 + r): T <= m (2 E + T)",
            sympy.factor(sympy.together((most - part).subs(x, r + beyond))), "positive",
        ),
        sign("1 - m is positive", sympy.factor(1 - most), "positive"),
        same(
            "so T <= t E, t = 2 m/(1 - m) = 1/r - 1",
            sympy.simplify(2 * most / (1 - most)), 1 / r - 1,
        ),
    ]  # fmt: skip


def _never_left() -> list[st.Verdict]:
    """x >= r = sqrt(c) is kept for z >= c and b >= 1/2; x = r + e, z = r^2 + f."""
    r, e, f = sympy.symbols("r e f", nonnegative=True)
    lean, rest = sympy.symbols("2b-1 1-b", nonnegative=True)
    b = (1 + lean) / 2
    moved = b * (r + e) + (1 - b) * (r**2 + f) / (r + e)
    left = lambda rest: lean * r * e + (lean + rest) * e**2 + rest * f
    return [
        same(
            "x (x' - r) = (2 b - 1) r e + b e^2 + (1 - b) f",
            sympy.expand(sympy.expand((moved - r) * (r + e))),
            left((1 - lean) / 2),
        ),
        textbook(
            "so x >= r is never left, and holds in the stationary law that is reached from there",
            "a set that is never left has the whole mass of the law of what starts in it",
            sign("which is not negative", left(rest), "nonnegative"),
        ),
    ]


def _bounds() -> list[st.Verdict]:
    """E = k (v (1 + E + T) + T) with T = t E - f or T = -E + f, f >= 0."""
    k, v, t, f, rest, r = sympy.symbols("k v t f 1-kB r", positive=True)
    eta, gamma, excess = sympy.symbols("eta gamma E", positive=True)
    spread = (1 + v) * (1 + t) - 1
    solved = lambda gap: sympy.solve(excess - k * (v * (1 + excess + gap) + gap), excess)[0]
    upper, lower = k * v / (1 - k * spread), k * v / (1 + k)
    keep = (1 - 2 * eta * gamma) ** 2
    factor = (1 - keep) / (2 * keep)
    return [
        same("B = (1 + v) (1 + t) - 1 is (1 + v)/r - 1", spread.subs(t, 1 / r - 1),
             (1 + v) / r - 1),
        same("with T = t E - f, E = k v/(1 - k B) - k (1 + v) f/(1 - k B)",
             sympy.simplify(solved(t * excess - f)), upper - k * (1 + v) * f / (1 - k * spread)),
        sign("so E <= k v/(1 - k B) where k B < 1", k * (1 + v) * f / rest, "positive"),
        same("with T = f - E, E = k v/(1 + k) + k (1 + v) f/(1 + k)",
             sympy.simplify(solved(f - excess)), lower + k * (1 + v) * f / (1 + k)),
        sign("so E >= k v/(1 + k)", k * (1 + v) * f / (1 + k), "positive"),
        same("the upper bound is k v + k^2 v B/(1 - k B)", upper,
             k * v + k**2 * v * spread / (1 - k * spread)),
        same("the lower bound is k v - k^2 v/(1 + k)", lower, k * v - k**2 * v / (1 + k)),
        same("k = (1 - a^2)/(2 a^2) is 2 eta gamma to first order in eta",
             sympy.limit(factor / eta, eta, 0), 2 * gamma),
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
