"""P2.9: syre is an imperfect pitchfork; it removes traps and not what the decay prefers (R9).

Statement: for l = (u w - m)^2 with decay gamma |(u, w) - (theta_0, theta_0)|^2, theta_0 > 0,
training from the collapsed state u = w = 0 goes to the only positive root of w^3 = (m - gamma) w +
gamma theta_0: w = gamma theta_0/(gamma - m) to leading order for m < gamma, (gamma theta_0)^(1/3)
at m = gamma, sqrt(m - gamma) to leading order for m > gamma. With theta_0 = 0 it stays at 0.

Assumptions: gamma > 0; gradient flow, or descent at a small learning rate.

Relation: equality.

Reference: section 10 of the theory, R9; beyond arXiv 2408.15495.

Proof idea: the swap keeps u = w; there the velocity over w falls, so that it has one positive zero,
which attracts from 0.

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


def claim() -> Claim:
    return Claim(
        "P2.9",
        "syre turns a collapse into an imperfect pitchfork: w = gamma theta_0/(gamma - m) for "
        "m < gamma, (gamma theta_0)^(1/3) at m = gamma, sqrt(m - gamma) for m > gamma",
        ("l = (u w - m)^2", "decay towards (theta_0, theta_0), gamma > 0", "start at u = w = 0"),
        "equality",
        "theory, section 10, R9; beyond arXiv 2408.15495",
    )


def exact() -> st.Verdict:
    """Every m, gamma > 0 and theta_0 > 0; the expansions to the next order."""
    u, m = sympy.symbols("u m", real=True)
    gamma, b, w, excess = sympy.symbols("gamma theta_0 w e", positive=True)
    x = sympy.Symbol("w", real=True)
    energy = (u * x - m) ** 2 + gamma * ((u - b) ** 2 + (x - b) ** 2)
    slope = sympy.diff(energy, x)
    root = lambda z, e: z**3 - e * z - gamma * b  # w^3 - (m - gamma) w - gamma theta_0
    fork = st.syre.Pitchfork(-0.6, 1.0, 0.1, 2**0.5 * 0.01)  # m = .3, gamma = .1, theta_0 = .01
    condition, regimes = fork.symbolic()
    t, kappa, beta, decay, bias = sympy.symbols("t kappa beta gamma b", real=True)
    held = gamma * b / excess
    held_next = held - held**3 / excess
    free = sympy.sqrt(excess) + gamma * b / (2 * excess)
    order = lambda expression, n: sympy.series(sympy.expand(expression), b, 0, n + 1).removeO()
    steps = [
        same(
            "u = w is kept: there both components of the gradient agree",
            (sympy.diff(energy, u) - slope).subs(u, x),
            0,
        ),
        same(
            "on u = w it is 2 (w^3 - (m - gamma) w - gamma theta_0)",
            slope.subs(u, x),
            2 * root(x, m - gamma),
        ),
        same("at w = 0 it is -2 gamma theta_0", 2 * root(sympy.Integer(0), m), -2 * gamma * b),
        sign("so 0 is left on the side of theta_0", -2 * gamma * b, "negative"),
        same(
            "divided by w > 0 it rises: its derivative is 2 (2 w + gamma theta_0/w^2)",
            sympy.diff(2 * root(w, m - gamma) / w, w),
            2 * (2 * w + gamma * b / w**2),
        ),
        sign("which is positive", 2 * (2 * w + gamma * b / w**2), "positive"),
        textbook(
            "it goes from -infinity to +infinity, so there is one positive root, and the flow from "
            "0 rises to it",
            "intermediate value theorem", given="continuous in w",
        ),
        same(
            "m < gamma, e = gamma - m: gamma theta_0/e - (gamma theta_0)^3/e^4 solves it up to "
            "theta_0^5",
            order(root(held_next, -excess), 4),
            0,
        ),
        same(
            "m = gamma: (gamma theta_0)^(1/3) solves it",
            root(sympy.cbrt(gamma * b), 0),
            0,
        ),
        same(
            "m > gamma, e = m - gamma: sqrt(e) + gamma theta_0/(2 e) solves it up to theta_0^2",
            order(root(free, excess), 1),
            0,
        ),
        same(
            "the general pitchfork kappa t^2/2 + beta t^4/4 + gamma (t - b)^2 is stationary where "
            "the library says",
            condition.lhs,
            sympy.diff(kappa * t**2 / 2 + beta * t**4 / 4 + decay * (t - bias) ** 2, t),
        ),
        same(
            "with kappa = -2m, beta = 1, t = sqrt(2) w, b = sqrt(2) theta_0 it is this one",
            condition.lhs.subs(
                {kappa: -2 * m, beta: 1, decay: gamma, t: sympy.sqrt(2) * x,
                 bias: sympy.sqrt(2) * b}
            ),
            2 * sympy.sqrt(2) * root(x, m - gamma),
        ),
        same(
            "and its regime m < gamma is the one above",
            regimes["held"].subs({kappa: 2 * (excess - decay)}),
            decay * bias / excess,
        ),
    ]  # fmt: skip
    return proof("an imperfect pitchfork", steps, claim().reference)


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
