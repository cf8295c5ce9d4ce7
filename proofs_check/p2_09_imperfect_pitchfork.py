"""P2.9: syre is an imperfect pitchfork; it removes traps and not what the decay prefers (R9).

Statement: for l = (u w - m)^2 with decay gamma |(u, w) - (theta_0, theta_0)|^2, theta_0 > 0,
training from the collapsed state u = w = 0 goes to the only positive root w of w^3 = (m - gamma) w
+ gamma theta_0. With c = gamma theta_0 and e = |m - gamma|, whatever the size of theta_0:
c/e - c^3/e^4 < w < c/e for m < gamma; w = c^(1/3) for m = gamma; sqrt(e) < w < sqrt(e) + c/(2 e)
for m > gamma. With theta_0 = 0 it stays at 0. Gradient descent does the same at every learning rate
eta with 2 eta (3 w^2 + gamma - m) <= 1. The root is a strict minimum of the loss if
w^2 < m + gamma, and a saddle, to which only starts at u = w lead, if w^2 > m + gamma.

Assumptions: gamma > 0; gradient flow, or descent at a learning rate as above.

Relation: equality.

Reference: section 10 of the theory, R9; beyond arXiv 2408.15495.

Proof idea: the swap keeps u = w; there the velocity over w falls, so that it has one positive zero,
which attracts from 0. The cubic has opposite signs at the two bounds.

Example output:

    P2.9   proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._mirrors import generator, too_short
from proofs_check._steps import proof, same, sign, small, textbook
from symtheory.verdict import Derivation, Unchecked, prove


def claim() -> Claim:
    return Claim(
        "P2.9",
        "syre turns a collapse into an imperfect pitchfork: w = gamma theta_0/(gamma - m) for "
        "m < gamma, (gamma theta_0)^(1/3) at m = gamma, sqrt(m - gamma) for m > gamma",
        (
            "l = (u w - m)^2",
            "decay towards (theta_0, theta_0), gamma > 0",
            "start at u = w = 0",
            "gradient flow, or descent at 2 eta (3 w^2 + gamma - m) <= 1",
        ),
        "equality",
        "theory, section 10, R9; beyond arXiv 2408.15495",
    )


_U, _W, _M = sympy.symbols("u w m", real=True)
_GAMMA, _BIAS = sympy.symbols("gamma theta_0", positive=True)
_ENERGY = (_U * _W - _M) ** 2 + _GAMMA * ((_U - _BIAS) ** 2 + (_W - _BIAS) ** 2)


def _root_of(w: Any, excess: Any, pull: Any) -> Any:
    """w^3 - (m - gamma) w - gamma theta_0, from m - gamma and gamma theta_0."""
    return w**3 - excess * w - pull


def exact() -> st.Verdict:
    """Every m, gamma > 0 and theta_0 > 0, of any size."""
    steps = [*_one_root(), *_regimes(), *_descends(), *_minimum(), *_general()]
    return proof("an imperfect pitchfork", steps, claim().reference)


def _one_root() -> list[st.Verdict]:
    w = sympy.Symbol("w", positive=True)
    slope = sympy.diff(_ENERGY, _W)
    cubic = _root_of(_W, _M - _GAMMA, _GAMMA * _BIAS)
    over = _root_of(w, _M - _GAMMA, _GAMMA * _BIAS) / w
    rises = sympy.expand(sympy.diff(over, w))
    return [
        same(
            "u = w is kept: there both components of the gradient agree",
            (sympy.diff(_ENERGY, _U) - slope).subs(_U, _W), 0,
        ),
        same(
            "on u = w each is 2 (w^3 - (m - gamma) w - gamma theta_0)",
            slope.subs(_U, _W), 2 * cubic,
        ),
        same("at w = 0 it is -2 gamma theta_0", slope.subs({_U: 0, _W: 0}), -2 * _GAMMA * _BIAS),
        sign("so 0 is left on the side of theta_0", slope.subs({_U: 0, _W: 0}), "negative"),
        same("with theta_0 = 0 the gradient vanishes at 0: it stays there",
             slope.subs({_U: 0, _W: 0, _BIAS: 0}), 0),
        textbook(
            "divided by w > 0 it goes from -infinity to +infinity and rises: one positive root, "
            "below which it is negative; the flow from 0 rises to it",
            "intermediate value theorem",
            sign("its derivative is positive", rises, "positive"),
            _tends("at 0", over, w, 0, -sympy.oo),
            _tends("at infinity", over, w, sympy.oo, sympy.oo),
            given="continuous in w",
        ),
    ]  # fmt: skip


def _tends(what: str, term: Any, symbol: sympy.Symbol, at: Any, wanted: Any) -> st.Verdict:
    found = sympy.limit(term, symbol, at)
    claim, how = f"{what} it tends to {wanted}", f"its limit is {found}"
    if found != wanted:
        return st.Verdict(st.Status.REFUTED, claim, how=how)
    return prove(claim, Derivation(how), Unchecked("a limit is the value at no point"))


def _regimes() -> list[st.Verdict]:
    """Bounds for every theta_0, with e = |m - gamma| and c = gamma theta_0."""
    e, c = sympy.symbols("e c", positive=True)
    held = c / e
    lower = held - held**3 / e
    free, shift = sympy.sqrt(e), c / (2 * e)
    # With h = c/e and r = h^3/e the cubic is (h - r)^3 - h^3 = -r (3 h^2 - 3 h r + r^2) there.
    h, r = sympy.symbols("h r", positive=True)
    return [
        sign("m < gamma: the cubic is positive at c/e", sympy.expand(_root_of(held, -e, c)),
             "positive"),
        same(
            "and at c/e - r, r = (c/e)^3/e, it is -r ((3/2 h - r)^2 + 3/4 h^2), h = c/e",
            _root_of(lower, -e, c),
            (-r * ((3 * h / 2 - r) ** 2 + 3 * h**2 / 4)).subs({r: held**3 / e}).subs({h: held}),
        ),
        sign("which is negative", -r * (sympy.Symbol("z", real=True) ** 2 + 3 * h**2 / 4),
             "negative"),
        same("so the relative error of c/e is less than c^2/e^3", (held - lower) / held,
             c**2 / e**3),
        same("m = gamma: c^(1/3) is the root", _root_of(sympy.cbrt(c), 0, c), 0),
        sign("m > gamma: the cubic is negative at sqrt(e)", sympy.expand(_root_of(free, e, c)),
             "negative"),
        sign("and positive at sqrt(e) + c/(2 e)", sympy.expand(_root_of(free + shift, e, c)),
             "positive"),
        same("so the relative error of sqrt(e) is less than c/(2 e^(3/2))", shift / free,
             c / (2 * e ** sympy.Rational(3, 2))),
    ]  # fmt: skip


def _descends() -> list[st.Verdict]:
    """Descent at w = r - d below the root r, where gamma theta_0 = r^3 - (m - gamma) r =: c."""
    w, d, c = sympy.symbols("w d c", positive=True)
    eta, excess = sympy.symbols("eta", positive=True), sympy.Symbol("m-gamma", real=True)
    root = w + d
    pull = root**3 - excess * root
    moved = w - 2 * eta * _root_of(w, excess, pull)
    rate = 2 * eta * (w**2 + w * root + root**2 - excess)
    least = (w**2 + w * root + root**2 - excess).subs(excess, root**2 - c / root)
    most = 2 * eta * (3 * root**2 - excess)
    return [
        same("one step leaves the share 1 - 2 eta (w^2 + w r + r^2 - (m - gamma)) of r - w",
             root - moved, d * (1 - rate)),
        sign("the factor of 2 eta is positive, as r^2 - (m - gamma) = c/r",
             sympy.expand(least), "positive"),
        same("and 1 - 2 eta (3 r^2 - (m - gamma)) <= the share: their difference",
             most - rate, 2 * eta * d * (2 * root + w)),
        sign("is positive: w rises to r without passing it",
             2 * eta * d * (2 * root + w), "positive"),
        textbook(
            "so descent from 0 tends to r",
            "a sequence that shrinks by a factor below 1 tends to 0",
            same(
                "the share is at most 1 - 2 eta c/r: what it is short by",
                (rate - 2 * eta * c / root).subs(excess, root**2 - c / root),
                2 * eta * w * (w + root),
            ),
            sign("is positive", 2 * eta * w * (w + root), "positive"),
            given="2 eta (3 r^2 + gamma - m) <= 1",
        ),
    ]  # fmt: skip


def _minimum() -> list[st.Verdict]:
    """The Hessian at a root, along u = w and across."""
    w, c = sympy.symbols("w c", positive=True)
    hessian = sympy.hessian(_ENERGY, (_U, _W)).subs(_U, _W)
    along, across = sympy.Matrix([1, 1]), sympy.Matrix([1, -1])
    curvature = lambda v: sympy.expand((v.T * hessian * v)[0] / (v.T * v)[0])
    at_root = curvature(along).subs(_M, _GAMMA + w**2 - c / w).subs(_W, w)
    return [
        same("u = w and across are its axes", sympy.expand((along.T * hessian * across)[0]), 0),
        sign("along u = w it is positive at the root", sympy.expand(at_root), "positive"),
        same("across it is 2 (m + gamma - w^2): a minimum if w^2 < m + gamma, else a saddle",
             curvature(across), 2 * (_M + _GAMMA - _W**2)),
    ]  # fmt: skip


def _general() -> list[st.Verdict]:
    """The pitchfork of the library."""
    excess = sympy.Symbol("e", positive=True)
    fork = st.syre.Pitchfork(-0.6, 1.0, 0.1, 2**0.5 * 0.01)  # m = .3, gamma = .1, theta_0 = .01
    condition, regimes = fork.symbolic()
    t, kappa, beta, decay, bias = sympy.symbols("t kappa beta gamma b", real=True)
    return [
        same(
            "the general pitchfork kappa t^2/2 + beta t^4/4 + gamma (t - b)^2 is stationary where "
            "the library says",
            condition.lhs,
            sympy.diff(kappa * t**2 / 2 + beta * t**4 / 4 + decay * (t - bias) ** 2, t),
        ),
        same(
            "with kappa = -2m, beta = 1, t = sqrt(2) w, b = sqrt(2) theta_0 it is this one",
            condition.lhs.subs(
                {kappa: -2 * _M, beta: 1, decay: _GAMMA, t: sympy.sqrt(2) * _W,
                 bias: sympy.sqrt(2) * _BIAS}
            ),
            2 * sympy.sqrt(2) * _root_of(_W, _M - _GAMMA, _GAMMA * _BIAS),
        ),
        same(
            "and its regime m < gamma is the one above",
            regimes["held"].subs({kappa: 2 * (excess - decay)}),
            decay * bias / excess,
        ),
    ]  # fmt: skip


@jax.jit
def _descend(m: Any, gamma: Any, center: Any, rate: Any, steps: Any) -> Any:
    """Gradient descent from u = w = 0 for many problems at once; return w."""

    def one(m: Any, gamma: Any, center: Any) -> Any:
        optimizer = optax.chain(
            st.syre.decay_towards(gamma, center=jnp.stack([center, center])), optax.sgd(rate)
        )
        slope = jax.grad(lambda p: (p[0] * p[1] - m) ** 2)

        def step(_: Any, carry: Any) -> Any:
            p, state = carry
            updates, state = optimizer.update(slope(p), state, p)
            return optax.apply_updates(p, updates), state

        start = jnp.zeros(2)
        return jax.lax.fori_loop(0, steps, step, (start, optimizer.init(start)))[0][1]

    return jax.vmap(one)(m, gamma, center)


_LEADING = {
    "m < gamma": lambda m, gamma, b: gamma * b / (gamma - m),
    "m = gamma": lambda m, gamma, b: np.cbrt(gamma * b),
    "m > gamma": lambda m, gamma, b: np.sqrt(m - gamma),
}


def _root(m: float, gamma: float, b: float) -> float:
    return st.syre.Pitchfork.of_two_factors(m, gamma, b).attractor / 2**0.5


def _escapes(tilt: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Train from the collapsed state in all three regimes; halve the bias to see the trend.

    Args:
        tilt: Factor on the bias that training uses (1, or 0 for plain decay).
        key: Everything is drawn from it.
        budget: How many steps.
    """
    rng, count, rate = generator(key), 32, 0.1
    steps = budget.steps(6 * count, nanoseconds=100.0, most=20_000)
    if steps < 15_000:
        return too_short("where the collapsed state goes", steps, 15_000)
    gamma = rng.uniform(0.05, 0.15, size=count)
    ratio = {"m < gamma": rng.uniform(-0.9, 0.5, size=count), "m = gamma": np.ones(count)}
    ratio["m > gamma"] = rng.uniform(3.0, 8.0, size=count)
    bias = rng.uniform(0.005, 0.01, size=count) * rng.choice([-1, 1], size=count)
    parts = []
    for regime, leading in _LEADING.items():
        m, off = ratio[regime] * gamma, []
        for share in (1.0, 0.5):
            b = share * bias
            w = np.asarray(_descend(m, gamma, tilt * b, rate, steps))
            told = np.sign(b) * leading(m, gamma, np.abs(b))
            off.append(float(np.max(np.abs(w / told - 1))))
            root = [_root(*map(float, n)) for n in zip(m, gamma, b, strict=True)]
            gap = float(np.max(np.abs(w / np.array(root) - 1)))
        how = f"{count} draws of m, gamma and theta_0, both signs, {steps} steps at {rate:g}"
        parts.append(small(f"{regime}: w is the root", gap, 1e-4, how))
        halved = f"{how}; with theta_0 {off[0]:.2g}, with half of it {off[1]:.2g}"
        parts.append(small(f"{regime}: leading order, relative", off[0], 0.05, halved))
        if regime != "m = gamma":
            parts.append(
                small(f"{regime}: the error falls with theta_0", off[1] / off[0], 0.6, how)
            )
    return st.conjunction("where the collapsed state goes", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _escapes(1.0, key, budget)


def control() -> st.Verdict:
    """Plain decay: no bias, so nothing tilts the pitchfork."""
    return _escapes(0.0, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """With the bias."""
    return _escapes(1.0, jax.random.key(1), Budget(1.0))
