"""P1.13: warmup. A small rate lets noise balance a rank-1 net, after which a large one is stable.

Statement: for l = |u w^T x - y|^2 with label noise s^2 1, at a minimum,
d(|u|^2 - |w|^2)/dt = -4 T s^2 (a |u|^2 - d_y w^T Sx w), a = Tr Sx, T = eta/S. On the orbit
(y^(1/2) u, y^(-1/2) w) this moves y monotonically towards the only y* with a |u|^2 y =
d_y w^T Sx w/y, and the trace of the Hessian falls until y*, where it is least. If the start has
y_0 > (1 + d_x/d_y) y* or y_0 < y*/(1 + d_y), the largest eigenvalue of the Hessian is smaller at y*
than at y_0, and on the way at most what it was at y_0: a rate between 2 over the one and 2 over the
other is unstable for gradient descent at the start and stable at y*. From nearer starts the largest
eigenvalue can rise.

Assumptions: squared loss; a minimum; isotropic label noise independent of x; stability is that of
gradient descent on the quadratic part of the loss.

Relation: equality.

Reference: arXiv 2402.07193, section on warmup.

Proof idea: the trace is 2 (p y + q/y), whose derivative by ln y is the drift of the charge, which
grows with y. The largest eigenvalue is convex in y, at least that of each of the two diagonal
blocks of the Hessian, and at most their sum.

Example output:

    P1.13  proved        supported     refuted
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._exactly import reads
from proofs_check._intervals import tends_to
from proofs_check._steps import from_statement, proof, same, sign, textbook
from proofs_check._two_layer import generator, spread

_RATES = (0.008, 0.004)
_REPLICAS = 64


def claim() -> Claim:
    return Claim(
        "P1.13",
        "d(|u|^2 - |w|^2)/dt = -4 T s^2 (Tr[Sx] |u|^2 - d_y w^T Sx w): noise balances a rank-1 net "
        "and lowers the trace of its Hessian, and the largest eigenvalue of one that starts more "
        "than 1 + d_x/d_y or 1 + d_y away, so that warmup makes a large learning rate stable",
        (
            "squared loss at a minimum",
            "isotropic label noise independent of x",
            "stable: gradient descent on the quadratic part of the loss",
        ),
        "equality",
        "arXiv 2402.07193, warmup",
    )


def exact() -> st.Verdict:
    """Any sizes and covariances; the flow on the orbit in one variable."""
    steps = [
        *_noise(),
        *_trace(),
        *_largest(),
        *_thresholds(),
        *_can_rise(),
        *_descent(),
    ]
    return proof("warmup on a rank-1 factorization", steps, claim().reference)


def _loss(p: Any, z: Any, c: Any) -> Any:
    """The loss of one sample with the teacher u w^T, so that (u, w) is a minimum."""
    off = p[0] * (p[1] @ z["x"]) - c["u"] * (c["w"] @ z["x"]) - c["s"] * z["e"]
    return jnp.sum(off**2)


def _squared(leaf: int) -> Any:
    """E|gradient|^2 by u (0) or w (1) at the minimum."""
    noises = {"x": st.Normal("dx", cov="Sx"), "e": st.Normal("dy")}
    return st.expectation(
        lambda z, c: jnp.sum(jax.grad(_loss)((c["u"], c["w"]), z, c)[leaf] ** 2),
        noises, {"u": "dy", "w": "dx", "s": ()},
    )  # fmt: skip


def _noise() -> list[st.Verdict]:
    return [
        reads("at a minimum E|grad_u l|^2 = 4 s^2 dy w^T Sx w", _squared(0),
              "4 * dy (w^T Sx w) s^2"),
        reads("and E|grad_w l|^2 = 4 s^2 a |u|^2", _squared(1), "4 * s^2 Tr[Sx] |u|^2"),
        from_statement("dC/dt = T Tr[Sigma A] = T (E|grad_u|^2 - E|grad_w|^2)", "P1.3"),
    ]  # fmt: skip


def _trace() -> list[st.Verdict]:
    """On the orbit: p = a |u|^2, q = dy w^T Sx w, so that E|grad_u|^2 = 4 s^2 q/y."""
    p, q, y, pu, qw, T, s2 = sympy.symbols("p q y |u|^2 |w|^2 T s2", positive=True)
    trace, charge = 2 * (p * y + q / y), pu * y - qw / y
    drift = T * (4 * s2 * q / y - 4 * s2 * p * y)
    rises = sympy.diff(charge, y)
    rest = sympy.sqrt(q / p)
    return [
        from_statement("the trace of the Hessian is 2 a |u|^2 + 2 dy w^T Sx w", "P1.12"),
        same(
            "on the orbit y the trace is S = 2 (p y + q/y), p = a |u|^2, q = dy w^T Sx w, and "
            "y dS/dy = -(dC/dt)/(2 T s^2)",
            y * sympy.diff(trace, y), -drift / (2 * T * s2),
        ),
        sign("the charge C = |u|^2 y - |w|^2/y grows with y", rises, "positive"),
        same(
            "so dS/dt = -8 T s^2 (p y - q/y)^2/(y dC/dy)",
            sympy.diff(trace, y) * drift / rises,
            -8 * T * s2 * (p * y - q / y) ** 2 / (y * rises),
        ),
        sign(
            "which is not positive: the trace never grows",
            -8 * T * s2 * sympy.Symbol("z", real=True) ** 2 / y, "nonpositive",
        ),
        sign("the drift of the charge falls with y", sympy.diff(drift, y), "negative"),
        same("and vanishes at y* = sqrt(q/p)", drift.subs(y, rest), 0),
        textbook(
            "so y moves monotonically towards y*",
            "the sign of the velocity of an autonomous equation in one variable",
            given="the flow stays at minima",
        ),
        sign("S is convex in y, so least at y*", sympy.diff(trace, y, 2), "positive"),
    ]  # fmt: skip


def _along(a: Any) -> Any:
    """Second derivative of L along (A, B) at the minimum (r u, s w)."""
    point, along = (a["r"] * a["u"], a["s"] * a["w"]), (a["A"], a["B"])

    def loss(p: Any) -> Any:
        off = jnp.outer(p[0], p[1]) - jnp.outer(*point)
        return jnp.trace(off @ a["X"] @ a["X"] @ off.T)

    slope = lambda p: jax.jvp(loss, (p,), (along,))[1]
    return jax.jvp(slope, (point,), (along,))[1]


_ARRAYS = {
    "u": "dy", "w": "dx", "A": "dy", "B": "dx", "X": st.SymmetricMatrix("dx"), "r": (), "s": (),
}  # fmt: skip


def _curvatures() -> list[st.Verdict]:
    """The Hessian as a quadratic form, Sx = X X."""
    return [
        st.identity(
            "at (r u, s w) the Hessian along (A, B) is 2 (s^2 |A|^2 |Xw|^2 + 2 r s (A.u)(Xw.XB) + "
            "r^2 |u|^2 |XB|^2)",
            lambda a: (
                _along(a)
                - 2 * a["s"] ** 2 * jnp.sum(a["A"] ** 2) * jnp.sum((a["X"] @ a["w"]) ** 2)
                - 4 * a["r"] * a["s"] * (a["A"] @ a["u"]) * ((a["X"] @ a["w"]) @ (a["X"] @ a["B"]))
                - 2 * a["r"] ** 2 * jnp.sum(a["u"] ** 2) * jnp.sum((a["X"] @ a["B"]) ** 2)
            ),
            _ARRAYS,
        ),
        st.identity(
            "|A|^2 |u|^2 = (A.u)^2 + a sum of squares, so |A.u| <= |A| |u|",
            lambda a: (
                jnp.sum(a["A"] ** 2) * jnp.sum(a["u"] ** 2)
                - (a["A"] @ a["u"]) ** 2
                - jnp.sum((jnp.outer(a["A"], a["u"]) - jnp.outer(a["u"], a["A"])) ** 2) / 2
            ),
            {"A": "n", "u": "n"},
        ),
    ]  # fmt: skip


def _largest() -> list[st.Verdict]:
    """The largest eigenvalue at y: r = y^(1/2), s = y^(-1/2), f = w^T Sx w, k = |u|^2 mu."""
    hessian, cauchy = _curvatures()
    f, k, y, square, other = sympy.symbols("f k y |A|^2 |B|^2", positive=True)
    first, second = sympy.symbols("|A| |B|", nonnegative=True)
    mixed = sympy.Symbol("m", real=True)
    form = 2 * (square * f / y + 2 * mixed + y * other)
    most = 2 * (f / y + k * y)
    bound = 2 * (sympy.sqrt(f / y) * first + sympy.sqrt(k * y) * second) ** 2
    return [
        textbook(
            "the largest eigenvalue is at least 2 f/y (B = 0) and at least 2 k y (A = 0, B the "
            "leading eigenvector of Sx), f = w^T Sx w, k = |u|^2 mu, mu the largest eigenvalue "
            "of Sx",
            "the largest eigenvalue is the largest Rayleigh quotient",
            hessian,
        ),
        cauchy,
        same(
            "with |A.u| <= |A| |u|, Xw.XB <= |Xw| |XB| and |XB|^2 <= mu |B|^2 the form is at most "
            "2 ((f/y)^(1/2) |A| + (k y)^(1/2) |B|)^2, short of 2 (f/y + k y) (|A|^2 + |B|^2) by a "
            "square: the largest eigenvalue is at most 2 (f/y + k y)",
            most * (first**2 + second**2) - bound,
            2 * (sympy.sqrt(f / y) * second - sympy.sqrt(k * y) * first) ** 2,
        ),
        textbook(
            "so it is convex in y, and between y_0 and y* at most the larger of its values there",
            "the largest of convex functions is convex",
            sign("the form along fixed (A, B) is convex in y", sympy.diff(form, y, 2), "positive"),
        ),
    ]


def _thresholds() -> list[st.Verdict]:
    """From where the largest eigenvalue is smaller at y* than at y_0."""
    w, norm, mu, dx, dy, rank = sympy.symbols("f |u|^2 mu d_x d_y a/mu", positive=True)
    more = sympy.Symbol("e", positive=True)
    slack, short = sympy.symbols("e_1 e_2", nonnegative=True)  # d_x - a/mu and a/mu - 1
    f, k, total = w, norm * mu, rank * mu
    rest = sympy.sqrt(dy * w / (total * norm))  # sqrt(q/p)
    most = 2 * (f / rest + k * rest)
    above = (2 * k * (1 + dx / dy + more) * rest - most) / (2 * k * rest)
    below = (2 * f * (1 + dy + more) / rest - most) / (2 * f / rest)
    return [
        textbook(
            "mu <= a <= d_x mu",
            "the trace of a positive semidefinite matrix is the sum of its eigenvalues",
            given="Sx is a covariance",
        ),
        same(
            "y_0 = (1 + d_x/d_y + e) y*: 2 k y_0 exceeds the bound at y* by 2 k y* (e + (d_x - "
            "a/mu)/d_y)",
            sympy.simplify(above.subs(dx, rank + slack)),
            more + slack / dy,
        ),
        sign("which is positive", more + slack / dy, "positive"),
        same(
            "y_0 = y*/(1 + d_y + e): 2 f/y_0 exceeds the bound by 2 f/y* (e + d_y - d_y mu/a)",
            sympy.simplify(below.subs(rank, 1 + short)),
            more + dy * short / (1 + short),
        ),
        sign("which is positive", more + dy * short / (1 + short), "positive"),
    ]


def _can_rise() -> list[st.Verdict]:
    """Sx = 1, |u| = |w| = 1, so f = k = 1: nearer starts are no part of the claim."""
    y, ratio, above = sympy.symbols("y sqrt(d_y/d_x) e", positive=True)
    first, second = 1 / sympy.sqrt(y), sympy.sqrt(y)  # (A, B) = (first u, second w)
    form = 2 * (first**2 / y + 2 * first * second + y * second**2)
    largest = form / (first**2 + second**2)
    risen = sympy.factor(sympy.together(largest.subs(y, ratio) - largest.subs(y, 1)))
    return [
        same("Sx = 1: along (y^(-1/2) u, y^(1/2) w) the form reaches the bound 2 (1/y + y)",
             sympy.simplify(largest), 2 * (1 / y + y)),
        sign(
            "so from y_0 = 1 it rises to y* = sqrt(d_y/d_x) where d_y > d_x, while S falls",
            risen.subs(ratio, 1 + above), "positive",
        ),
    ]  # fmt: skip


def _descent() -> list[st.Verdict]:
    eta, curvature, less = sympy.symbols("eta h e", positive=True)
    factor = 1 - eta * curvature
    grows = sympy.factor((factor**2 - 1).subs(eta, (2 + less) / curvature))
    kept = (1 - factor**2).subs(curvature, 2 / (eta * (1 + less)))
    return [
        sign("eta h > 2: (1 - eta h)^2 - 1 is positive", grows, "positive"),
        sign("0 < eta h < 2: 1 - (1 - eta h)^2 is positive", sympy.factor(kept), "positive"),
        textbook(
            "gradient descent near the minimum diverges if eta times the largest eigenvalue is "
            "above 2, and stays if it is below",
            "powers of a symmetric matrix by its eigenvalues",
            given="the loss is its quadratic part; H is positive semidefinite at a minimum",
        ),
    ]


def _model(V: Any, cov_x: Any, noise: float) -> st.Model:
    rows, columns = np.shape(V)
    example = st.zoo.load("two-layer-linear").sized(dx=columns, dy=rows, h=1)
    return example.bind(V=V, Sigma_x=cov_x, Sigma_eps=noise * np.eye(rows))


def _charge(p: Any) -> Any:
    return jnp.sum(p["U"] ** 2) - jnp.sum(p["W"] ** 2)


def _warms_up(noise: float, V: Any, cov_x: Any, key: jax.Array, budget: Budget) -> st.Verdict:
    """Predict with label noise 1; simulate with `noise`: the balancing, and what it makes stable.

    The start is unbalanced as after an initialization that makes u large. The large rate is the
    geometric mean of the stable rates of gradient descent before and after.
    """
    left, sizes, right = np.linalg.svd(V)
    start = {"U": 2.6 * left[:, :1] * np.sqrt(sizes[0]), "W": right[:1] * np.sqrt(sizes[0]) / 2.6}
    model, expected = _model(V, cov_x, noise), _model(V, cov_x, 1.0)
    points, runs, found = [], [], []
    for n, rate in enumerate(_RATES):
        law = st.warmup(expected, start, ("U", "W"), learning_rate=rate, within=0.2)
        most = round(law.steps)
        steps = budget.steps(_REPLICAS, nanoseconds=250.0, share=(0.2, 0.8)[n], most=most)
        if steps < most:
            how = f"the budget pays for {steps} of {most} steps"
            return st.Verdict(st.Status.INCONCLUSIVE, "noise balances the net in time", how=how)
        run = st.simulate(
            model, st.SGD(rate), params=start, steps=steps, replicas=_REPLICAS,
            key=jax.random.fold_in(key, n), observe=_charge,
        )  # fmt: skip
        points.append((rate, st.mean_over_replicas(run.final["_charge"])))
        runs.append(run)
        found.append(law)
    law = found[-1]
    gap = law.charge - law.balanced_charge
    balanced = tends_to(
        "|u|^2 - |w|^2 at the predicted time to 80 % of its way as eta -> 0",
        law.balanced_charge + 0.2 * gap, points, 0.05 * abs(gap),
    )  # fmt: skip
    stable = _becomes_stable(model, law, start, runs[-1].params, key)
    return st.conjunction(
        "a small rate balances the net, after which a large one is stable", [balanced, stable]
    )


def _becomes_stable(model: st.Model, law: Any, start: Any, warm: Any, key: Any) -> st.Verdict:
    """Run at a rate between those that gradient descent bears before and after.

    Above its stable rate a net leaves its minimum: it diverges, or is thrown over to a flatter
    one. So the largest excess loss on the way counts, beside the loss that label noise leaves.
    """
    large = (law.before.stable_learning_rate * law.after.stable_learning_rate) ** 0.5
    V, cov_x = (jnp.asarray(model.values[name]) for name in ("V", "Sigma_x"))
    floor = float(np.trace(model.values["Sigma_eps"]))

    def excess(p: Any) -> Any:
        off = p["U"] @ p["W"] - V
        return jnp.trace(off @ cov_x @ off.T)

    cold, kept = (
        st.simulate(
            model, st.SGD(large, 64), params=p, steps=steps, replicas=_REPLICAS, key=key,
            observe=excess, record_every=1,
        )
        for p, steps in ((start, 12), (warm, 100))
    )  # fmt: skip
    least = np.inf if cold.diverged else float(np.median(cold.observables["excess"].max(axis=1)))
    worst = np.inf if kept.diverged else float(kept.observables["excess"].max())
    return st.Verdict(
        st.Status.SUPPORTED if worst < floor < least else st.Status.REFUTED,
        f"at the rate {large:.3g} the net leaves its minimum from the start, not after warmup",
        how=f"batches of 64, {_REPLICAS} replicas, label noise leaves a loss of {floor:g}; largest "
        f"excess from the start, in 12 steps: {least:.3g} (median); after warmup, in 100: "
        f"{worst:.3g} (all)",
    )


def _drawn(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    first, second = rng.normal(size=2), rng.normal(size=3)
    V = rng.uniform(0.9, 1.1) * np.outer(first, second)
    return V / np.linalg.norm(first) / np.linalg.norm(second), spread(rng, 3)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    """A drawn teacher of rank one and drawn inputs."""
    return _warms_up(1.0, *_drawn(generator(key)), key, budget)


def control() -> st.Verdict:
    """A hundredth of the label noise: nothing is balanced in the same time."""
    return _warms_up(0.01, *_drawn(np.random.default_rng(0)), jax.random.key(0), Budget(2.0))


def twin() -> st.Verdict:
    """The label noise of the prediction."""
    return _warms_up(1.0, *_drawn(np.random.default_rng(0)), jax.random.key(0), Budget(2.0))
