"""P1.5: there is exactly one noise equilibrium on every orbit, whatever the initialization.

Statement: G(lambda) = -4 gamma C(theta_lambda) + 2 sigma^2 Tr[Sigma(theta_lambda) A] falls
monotonically. Either it vanishes identically, or there is exactly one lambda* in R or at +-infinity
with G(lambda*) = 0; theta_lambda* depends on the orbit alone.

Assumptions: exponential symmetry with A = sum_i mu_i n_i n_i^T; weight decay gamma >= 0. That SGD
ends there takes more: its minima are a single orbit (else it goes from orbit to orbit), eta -> 0.

Relation: equality.

Reference: arXiv 2402.07193, main theorem.

Proof idea: in the eigenbasis of A, G is a sum of mu_i (-4 gamma c_i exp(2 mu_i lambda) + 2 sigma^2
s_i exp(-2 mu_i lambda)), c_i, s_i >= 0; each summand falls.

Example output:

    P1.5   proved        supported     refuted
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
from proofs_check._intervals import at_rest, measured, near, tends_to
from proofs_check._paths import size, tail, uniform
from proofs_check._steps import proof, same, sign, small, textbook
from proofs_check._symbols import Symbols
from symtheory.verdict import Derivation, Unchecked, prove


def claim() -> Claim:
    return Claim(
        "P1.5",
        "Exactly one noise equilibrium on every orbit: G(lambda) falls, its zero lambda* does not "
        "depend on the initialization",
        (
            "exponential symmetry",
            "A = A^T",
            "weight decay gamma >= 0",
            "for SGD: the minima are one orbit, eta -> 0",
        ),
        "equality",
        "arXiv 2402.07193, main theorem",
    )


def exact() -> st.Verdict:
    """The i-th of any number of summands; sums of falling functions fall."""
    lam, mu, shift = sympy.symbols("lambda mu_i a", real=True)
    gamma, variance, c, s = sympy.symbols("gamma sigma2 c_i s_i", nonnegative=True)
    summand = mu * (
        -4 * gamma * c * sympy.exp(2 * mu * lam) + 2 * variance * s * sympy.exp(-2 * mu * lam)
    )
    slope = -(mu**2) * (
        8 * gamma * c * sympy.exp(2 * mu * lam) + 4 * variance * s * sympy.exp(-2 * mu * lam)
    )
    moved = {c: c * sympy.exp(2 * mu * shift), s: s * sympy.exp(-2 * mu * shift)}
    steps = [
        st.identity(
            "C(theta) = sum_i mu_i (n_i.theta)^2 in the eigenbasis O of A",
            lambda a: (
                a["t"] @ (a["O"] * a["mu"]) @ a["O"].T @ a["t"]
                - jnp.sum(a["mu"] * (a["t"] @ a["O"]) ** 2)
            ),
            {"O": st.OrthogonalMatrix("d"), "mu": "d", "t": "d"},
        ),
        st.identity(
            "Tr[Sigma A] = sum_i mu_i n_i^T Sigma n_i",
            lambda a: (
                jnp.trace(a["S"] @ (a["O"] * a["mu"]) @ a["O"].T)
                - jnp.einsum("i,ai,ab,bi->", a["mu"], a["O"], a["S"], a["O"])
            ),
            {"O": st.OrthogonalMatrix("d"), "mu": "d", "S": st.SymmetricMatrix("d")},
        ),
        same("each summand's derivative by lambda", sympy.diff(summand, lam), slope),
        sign("each summand falls", slope, "nonpositive"),
        same(
            "from another point of the orbit the same function, shifted",
            summand.subs(moved, simultaneous=True),
            summand.subs(lam, lam + shift),
        ),
        *_zeros(),
        *_closed_form(),
    ]
    return proof("existence, uniqueness and independence of the initialization", steps)


def _zeros() -> list[st.Verdict]:
    """Existence, strictness and the case G = 0, from the four kinds of summands."""
    lam = sympy.Symbol("lambda", real=True)
    mu, gamma, variance, c, s = sympy.symbols("mu gamma sigma2 c s", positive=True)
    up, down = sympy.oo, -sympy.oo
    kinds = {
        "noise where mu_i > 0": (2 * variance * mu * s * sympy.exp(-2 * mu * lam), up, 0),
        "decay where mu_i < 0": (4 * gamma * mu * c * sympy.exp(-2 * mu * lam), up, 0),
        "noise where mu_i < 0": (-2 * variance * mu * s * sympy.exp(2 * mu * lam), 0, down),
        "decay where mu_i > 0": (-4 * gamma * mu * c * sympy.exp(2 * mu * lam), 0, down),
    }
    falls, ends = [], []
    for name, (term, left, right) in kinds.items():
        falls.append(sign(f"{name}: it falls strictly", sympy.diff(term, lam), "negative"))
        ends.append(_limit(f"{name}: at -infinity", term, lam, down, left))
        ends.append(_limit(f"{name}: at +infinity", term, lam, up, right))
    plus = [sign(f"{n}: positive", t, "positive") for n, (t, at, _) in kinds.items() if at == up]
    minus = [sign(f"{n}: negative", t, "negative") for n, (t, at, _) in kinds.items() if at == 0]
    return [
        textbook(
            "where some term is not zero G falls strictly: at most one zero",
            "a sum of falling functions falls",
            *falls,
        ),
        textbook(
            "with a term of either sign G runs from +infinity to -infinity and has a zero: lambda* "
            "is finite",
            "intermediate value theorem",
            *ends,
            given="G is a sum of exponentials, continuous",
        ),
        textbook(
            "with positive terms alone G > 0 falls to 0 at +infinity, lambda* = +infinity; with "
            "negative ones alone lambda* = -infinity",
            "a sum of numbers of one sign has it",
            *plus,
            *minus,
            *ends,
        ),
        st.identity(
            "Tr[A Sigma A] = sum_i mu_i^2 n_i^T Sigma n_i",
            lambda a: (
                jnp.trace(_spectral(a) @ a["S"] @ _spectral(a))
                - jnp.einsum("i,ai,ab,bi->", a["mu"] ** 2, a["O"], a["S"], a["O"])
            ),
            {"O": st.OrthogonalMatrix("d"), "mu": "d", "S": st.SymmetricMatrix("d")},
        ),
        st.identity(
            "|A theta|^2 = sum_i mu_i^2 (n_i.theta)^2",
            lambda a: (
                jnp.sum((_spectral(a) @ a["t"]) ** 2)
                - jnp.sum(a["mu"] ** 2 * (a["t"] @ a["O"]) ** 2)
            ),
            {"O": st.OrthogonalMatrix("d"), "mu": "d", "t": "d"},
        ),
        textbook(
            "so G = 0 on the whole orbit iff A Sigma A = 0 and gamma A theta = 0: a positive "
            "semidefinite matrix of trace 0 is 0",
            "positive semidefinite matrices",
            given="Sigma is a covariance, A = A^T",
        ),
    ]


def _spectral(a: Any) -> Any:
    return (a["O"] * a["mu"]) @ a["O"].T


def _limit(what: str, term: Any, symbol: sympy.Symbol, at: Any, wanted: Any) -> st.Verdict:
    found = sympy.limit(term, symbol, at)
    claim, how = f"{what} it tends to {wanted}", f"its limit is {found}"
    if found != wanted:
        return st.Verdict(st.Status.REFUTED, claim, how=how)
    return prove(claim, Derivation(how), Unchecked("a limit is the value at no point"))


def _closed_form() -> list[st.Verdict]:
    """What the package derives for A with eigenvalues 1 and -1, in s_+-, c_+-."""
    example = st.zoo.load("scalar-factor")
    law: Any = st.derive(example.model, example.symmetries["rescaling"])
    best = law.equilibrium.solution
    names = Symbols(best)
    eta, size, gamma = names["eta"], names["S"], names["gamma"]
    up, down = names["s_+"], names["s_-"]
    above, below = names["c_+"], names["c_-"]
    ratio = (eta / size * up + 4 * gamma * below) / (eta / size * down + 4 * gamma * above)
    power = sympy.Symbol("e", positive=True)  # exp(2 lambda)
    drift = (-4 * gamma * above * power + eta / size * up / power) - (
        -4 * gamma * below / power + eta / size * down * power
    )
    return [
        law.verdict,
        same("derive's lambda* at eigenvalues 1, -1: exp(4 lambda*) = (T s_+ + 4 gamma c_-)/(T s_- "
             "+ 4 gamma c_+), T = 2 sigma^2", sympy.exp(4 * best), ratio),
        same("there G = 0", (drift * power).subs(power, sympy.sqrt(ratio)), 0),
    ]  # fmt: skip


@functools.cache
def _law() -> tuple[Any, st.Model]:
    example = st.zoo.load("two-layer-linear")
    model = example.sized(dy=1, h=1, dx=2)
    return st.derive(model, example.symmetries["rescaling"]), model


@measured
def _same_end(spread: tuple[float, float], key: jax.Array, budget: Budget) -> st.Verdict:
    """Start SGD at two points of one orbit and compare where it ends, with lambda* and alike.

    Args:
        spread: Variances of the two inputs. With both positive the minima u w = V are one orbit.
        key: What teacher, points and noise are drawn from.
        budget: How long.
    """
    law, model = _law()
    keys = jax.random.split(key, 5)
    angle = uniform(keys[0], 0.6, 1.0)
    teacher = uniform(keys[1], 0.8, 1.2) * np.array([[math.cos(angle), math.sin(angle)]])
    values = {"V": teacher, "Sigma_x": np.diag(spread), "Sigma_eps": np.eye(1)}
    bound = model.bind(**values)
    flow = uniform(keys[2], 0.4, 0.7)
    starts = [
        {"U": np.full((1, 1), math.exp(t)), "W": math.exp(-t) * teacher} for t in (flow, -flow)
    ]
    replicas, rate = 256, 0.02
    observe = {"charge": law.observables()["charge"], "size": size}

    def ends(eta: float, steps: int) -> list[st.Run]:
        return [
            st.simulate(bound, st.SGD(eta), params=start, steps=steps, replicas=replicas, key=k,
                        observe=observe)
            for start, k in zip(starts, jax.random.split(keys[3]), strict=True)
        ]  # fmt: skip

    settings = {"learning_rate": rate, "batch_size": 1, "weight_decay": 0.0}
    points = [law.equilibrium.at(start, **settings, **values) for start in starts]
    first, second = (float(p.charge) for p in points)
    off = abs(first - second) / max(abs(first), 1e-12)
    how = f"two points {2 * flow:.2f} apart, certified brackets of lambda*"
    parts = [*(p.verdict for p in points),
             small("lambda* is the same point of the orbit from both", off, 1e-8, how)]  # fmt: skip
    # Slow time, in which a step is eta^2: most of it is left out, several relaxation times.
    least = int(0.6 / rate**2)
    steps = budget.steps(replicas, nanoseconds=200.0, share=0.5, most=4000, least=least)
    line = []
    for eta, count in ((rate, steps), (rate / 2, 4 * steps)):
        runs = ends(eta, count)
        tails = [tail(run, share=0.3)[:, 0] for run in runs]
        scale = float(np.mean([tail(run, "size") for run in runs]))
        for run in runs:
            at_rest(run.observables["charge"][..., 0], 0.1 * scale, 0.7)
        claim = f"SGD ends at the same charge from both points, eta = {eta:g}"
        parts.append(near(claim, 0.0, tails[0] - tails[1], 0.05 * scale, scale))
        line.append((eta, st.mean_over_replicas(np.concatenate(tails))))
    claim = "as eta -> 0 SGD ends at C(theta at lambda*)"
    parts.append(tends_to(claim, first, line, 0.05 * scale, scale))
    return proof("the same equilibrium from two initializations of one orbit", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _same_end((1.0, 2.0), key, budget)


def control() -> st.Verdict:
    """The second input is always 0, so that the minima are many orbits, and SGD leaves its own."""
    return _same_end((1.0, 0.0), jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """Both inputs vary, so that the minima are one orbit."""
    return _same_end((1.0, 2.0), jax.random.key(1), Budget(1.0))
