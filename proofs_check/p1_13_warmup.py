"""P1.13: warmup. A small rate lets noise balance a rank-1 net, after which a large one is stable.

Statement: for l = |u w^T x - y|^2 with label noise s^2 1, at a minimum,
d(|u|^2 - |w|^2)/dt = -4 T s^2 (a |u|^2 - d_y w^T Sx w), a = Tr Sx, T = eta/S. The sharpness
2 a |u|^2 + 2 d_y w^T Sx w falls along this flow and is least where it rests: an unbalanced start
tolerates a small learning rate only, the balanced net a larger one.

Assumptions: squared loss; a minimum; isotropic label noise independent of x.

Relation: equality.

Reference: arXiv 2402.07193, section on warmup.

Proof idea: on the orbit (y^(1/2) u, y^(-1/2) w) the sharpness is 2 (p y + q/y), whose derivative by
ln y is the drift of the charge, which grows with y.

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
        "and lowers its sharpness, so that warmup makes a large learning rate stable",
        ("squared loss at a minimum", "isotropic label noise independent of x"),
        "equality",
        "arXiv 2402.07193, warmup",
    )


def exact() -> st.Verdict:
    """Any sizes and covariances; the flow on the orbit in one variable."""
    noises = {"x": st.Normal("dx", cov="Sx"), "e": st.Normal("dy")}
    shapes = {"u": "dy", "w": "dx", "s": ()}
    p, q, y, pu, qw, T, s2 = sympy.symbols("p q y |u|^2 |w|^2 T s2", positive=True)
    sharpness, charge = 2 * (p * y + q / y), pu * y - qw / y
    drift = -4 * T * s2 * (p * y - q / y)
    speed = drift / sympy.diff(charge, y)
    steps = [
        reads(
            "the gradient by u is -2 s (w.x) eps at a minimum, with E|.|^2 = 4 s^2 dy w^T Sx w",
            st.expectation(
                lambda z, c: jnp.sum((2 * c["s"] * (c["w"] @ z["x"]) * z["e"]) ** 2),
                noises, shapes,
            ),
            "4 * dy (w^T Sx w) s^2",
        ),
        reads(
            "that by w is -2 s (u.eps) x, with E|.|^2 = 4 s^2 a |u|^2",
            st.expectation(
                lambda z, c: jnp.sum((2 * c["s"] * (c["u"] @ z["e"]) * z["x"]) ** 2),
                noises, shapes,
            ),
            "4 * s^2 Tr[Sx] |u|^2",
        ),
        from_statement("dC/dt = T Tr[Sigma A] = T (E|grad_u|^2 - E|grad_w|^2)", "P1.3"),
        from_statement("the trace of the Hessian is 2 a |u|^2 + 2 dy w^T Sx w", "P1.12"),
        same(
            "on the orbit y the sharpness is S = 2 (p y + q/y), p = a |u|^2, q = dy w^T Sx w, and "
            "y dS/dy = -(dC/dt)/(2 T s^2)",
            y * sympy.diff(sharpness, y), -drift / (2 * T * s2),
        ),
        sign("the charge C = |u|^2 y - |w|^2/y grows with y", sympy.diff(charge, y), "positive"),
        same(
            "so dS/dt = -8 T s^2 (p y - q/y)^2/(y dC/dy)",
            sympy.diff(sharpness, y) * speed,
            -8 * T * s2 * (p * y - q / y) ** 2 / (y * sympy.diff(charge, y)),
        ),
        sign(
            "which is not positive: noise never sharpens",
            -8 * T * s2 * sympy.Symbol("z", real=True) ** 2 / y, "nonpositive",
        ),
        same(
            "S is least at y^2 = q/p, where the drift of the charge vanishes",
            drift.subs(y, sympy.sqrt(q / p)), 0,
        ),
        sign("and convex in y", sympy.diff(sharpness, y, 2), "positive"),
        textbook(
            "the largest curvature is at most the trace S, and at least S over the rank of H",
            "eigenvalues of a positive semidefinite matrix", given="H at a minimum",
        ),
        textbook(
            "gradient descent on a quadratic diverges above 2/(its largest curvature)",
            "powers of a matrix grow with an eigenvalue outside [-1, 1]",
            given="the loss is its quadratic part",
        ),
    ]  # fmt: skip
    return proof("warmup on a rank-1 factorization", steps, claim().reference)


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
