"""P2.10: what syre removes on trained nets, and what it leaves, beside decays of the same strength.

Statement: from symmetric states that the decay does not prefer, syre escapes, while no decay, plain
decay and decay towards the initial weights stay there exactly: twin ReLU neurons part and the loss
falls; regression with weights u * w leaves u = w = 0. Directions that a strong decay prefers to
collapse are lifted to the height of the bias only: counts of collapsed coordinates, and the rank of
the first features of a deep net, recover at thresholds below sigma_0 and are those of plain decay
at thresholds above; so is the rank of the last features at any of them.

Assumptions: gamma > 0, the same for all; gradient descent; the default sigma_0 = .01/sqrt(fan-in).

Relation: lower.

Reference: arXiv 2408.15495, experiments (duplicate neurons, feature rank, reparametrized
regression); the thresholds are beyond it.

Proof idea: what respects a mirror keeps it; across it the pull is -2 gamma P theta_0, which grows
where the loss wins over the decay, and stays below |P theta_0| where the loss does not.

Example output:

    P2.10  supported     supported     refuted
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._intervals import mean_above, near
from proofs_check._mirrors import generator, too_short
from proofs_check._steps import proof, same, sign, small, textbook
from proofs_check._training import table, trained

_LIMITS = (1e-3, 1e-2, 1e-1)


def claim() -> Claim:
    return Claim(
        "P2.10",
        "Trained nets leave symmetric low-capacity states under syre and not under decays of the "
        "same gamma; what the decay prefers to collapse is lifted to the height of the bias only",
        ("gamma > 0, the same for all", "gradient descent", "the default sigma_0"),
        "lower",
        "arXiv 2408.15495, experiments; thresholds beyond it",
    )


def exact() -> st.Verdict:
    """What can be said for every net and every mirror; how far trained nets go is measured."""
    inside = lambda a, name: a[name] - a["P"] @ a[name]
    time = sympy.Symbol("t", nonnegative=True)
    gamma, b, e, kappa = sympy.symbols("gamma b e kappa", positive=True)
    path = 2 * gamma * b / e * (sympy.exp(e * time) - 1)
    rest = 2 * gamma * b / (kappa + 2 * gamma)
    arrays = {"P": st.ProjectionMatrix("d"), "w": "d", "c": "d", "g": "d", "gamma": ()}
    steps = [
        st.identity(
            "on a mirror the gradient and a decay towards a centre on the mirror (0, or symmetric "
            "initial weights) have no part across it",
            lambda a: (
                a["P"] @ (inside(a, "g") + 2 * a["gamma"] * (inside(a, "w") - inside(a, "c")))
            ),
            arrays,
        ),
        st.identity(
            "decay towards theta_0 has -2 gamma P theta_0",
            lambda a: (
                a["P"] @ (inside(a, "g") + 2 * a["gamma"] * (inside(a, "w") - a["c"]))
                + 2 * a["gamma"] * (a["P"] @ a["c"])
            ),
            arrays,
        ),
        textbook(
            "near the mirror x' = -kappa x - 2 gamma (x - b) across it",
            "Taylor's theorem",
            given="l twice differentiable",
        ),
        same(
            "kappa + 2 gamma = -e < 0: x = (2 gamma b/e)(exp(e t) - 1) grows from 0",
            sympy.diff(path, time),
            e * path + 2 * gamma * b,
        ),
        same("and starts at 0", path.subs(time, 0), 0),
        same(
            "kappa > 0: it rests at 2 gamma b/(kappa + 2 gamma)",
            -kappa * rest - 2 * gamma * (rest - b),
            0,
        ),
        same(
            "which is less than b by kappa b/(kappa + 2 gamma)",
            b - rest,
            kappa * b / (kappa + 2 * gamma),
        ),
        sign(
            "so thresholds above |P theta_0| do not see it",
            kappa * b / (kappa + 2 * gamma),
            "positive",
        ),
        st.identity(
            "regression on orthonormal columns is a sum of problems with two factors (P2.9): "
            "|O (u * w) - y|^2 = |u * w - O^T y|^2",
            lambda a: (
                jnp.sum((a["O"] @ (a["u"] * a["w"]) - a["y"]) ** 2)
                - jnp.sum((a["u"] * a["w"] - a["O"].T @ a["y"]) ** 2)
            ),
            {"O": st.OrthogonalMatrix("d"), "u": "d", "w": "d", "y": "d"},
        ),
    ]
    mechanism = proof("mirrors are kept, or left by the pull of the bias", steps)
    if mechanism.status is not st.Status.PROVED:
        return mechanism
    # What these steps prove is the mechanism; the statement also says how far trained nets go.
    how = "every step is proved; how far trained nets go is measured"
    return dataclasses.replace(mechanism, status=st.Status.SUPPORTED, how=how)


# --- twin neurons ---------------------------------------------------------------------------------


def _relu(p: Any, data: Any) -> Any:
    x, y = data
    return jnp.mean((jax.nn.relu(x @ p["W"].T) @ p["u"] - y) ** 2)


def _twins(tilt: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Start ReLU nets from pairs of equal neurons; the teacher has as many, all different."""
    rng, nets, inputs, units, samples = generator(key), 320, 4, 8, 16
    steps = budget.steps(5 * nets, nanoseconds=90.0, most=3000)
    if steps < 1500:
        return too_short("twin ReLU neurons part", steps, 1500)
    half = {
        "W": rng.normal(size=(nets, units // 2, inputs)) / inputs**0.5,
        "u": rng.normal(size=(nets, units // 2)) / units**0.5,
    }
    start = jax.tree.map(lambda leaf: np.repeat(leaf, 2, axis=1), half)
    x = rng.normal(size=(nets, samples, inputs))
    teacher = rng.normal(size=(nets, inputs, units)) / inputs**0.5
    y = np.maximum(x @ teacher, 0) @ np.resize([0.7, -0.7], units)
    weights, losses = trained(
        _relu, start, (x, y), rng, gamma=0.005, rate=0.1, steps=steps, tilt=tilt
    )
    apart = {}
    for method, p in weights.items():
        rows = np.concatenate([p["W"], p["u"][..., None]], axis=2)
        size = np.mean(np.sum(rows**2, axis=2), axis=1, keepdims=True) ** 0.5
        apart[method] = np.linalg.norm(rows[:, ::2] - rows[:, 1::2], axis=2) / size
    still = max(apart[method].max() for method in ("none", "plain decay", "decay to init"))
    how = f"{nets} nets, {steps} steps"
    parts = [small("twins stay twins without syre, whatever the decay", still, 1e-12, how)]
    share = {
        method: np.stack([np.mean(gap > limit, axis=1) for limit in _LIMITS], axis=1)
        for method, gap in apart.items()
    }
    for k, least in enumerate((0.9, 0.75, 0.1)):
        name = f"with syre this share of twins is apart by {_LIMITS[k]:g} of a neuron, or more"
        parts.append(mean_above(name, share["syre"][:, k], least))
    ratio = np.log(losses["plain decay"] / losses["syre"])
    parts.append(
        mean_above("log of the loss of plain decay over that of syre, net by net", ratio, 0)
    )
    final = {method: value[:, None] for method, value in losses.items()}
    measured = {"share apart": table(share, _LIMITS), "loss": table(final, (np.inf,))}
    return st.conjunction("twin ReLU neurons part", parts, measured=measured)


# --- features of a deep net -----------------------------------------------------------------------


def _features(p: Any, x: Any) -> list[Any]:
    out = []
    for name in ("A", "B", "C"):
        x = jnp.tanh(x @ p[name].T)
        out.append(x)
    return out


def _deep(p: Any, data: Any) -> Any:
    x, y = data
    return jnp.mean(jnp.sum((_features(p, x)[-1] @ p["V"].T - y) ** 2, axis=1))


def _ranks(tilt: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Train deep tanh nets under strong decay; count singular values of their features."""
    rng, nets, width, outputs, samples = generator(key), 48, 6, 4, 16
    steps = budget.steps(5 * nets, nanoseconds=1200.0, most=1200)
    if steps < 900:
        return too_short("ranks of features", steps, 900)
    start = {name: rng.normal(size=(nets, width, width)) / width**0.5 for name in "ABC"}
    start["V"] = rng.normal(size=(nets, outputs, width)) / width**0.5
    x = rng.normal(size=(nets, samples, width))
    teacher = rng.normal(size=(nets, width, outputs)) * np.array([1.5, 1.0, 0.5, 0.2])
    data = (x, x @ teacher / width**0.5)
    weights, losses = trained(_deep, start, data, rng, gamma=0.1, rate=0.1, steps=steps, tilt=tilt)
    first, last = {}, {}
    for method, p in weights.items():
        layers = jax.vmap(_features)(p, x)
        first[method], last[method] = (_counts(np.asarray(h)) for h in (layers[0], layers[-1]))
    gap = {name: r["syre"] - r["plain decay"] for name, r in (("first", first), ("last", last))}
    parts = [
        mean_above(f"syre adds to the rank of the first features at {_LIMITS[0]:g}",
                   gap["first"][:, 0], 0.0),
        near(f"it adds nothing at {_LIMITS[2]:g}", 0.0, gap["first"][:, 2], 0.4),
        near(f"nor to the rank of the last features at {_LIMITS[1]:g}", 0.0, gap["last"][:, 1],
             0.4),
        near(f"nor at {_LIMITS[2]:g}", 0.0, gap["last"][:, 2], 0.4),
    ]  # fmt: skip
    final = {method: value[:, None] for method, value in losses.items()}
    measured = {
        f"rank of the first features, of {width}": table(first, _LIMITS),
        f"rank of the last features, of {width}": table(last, _LIMITS),
        "loss": table(final, (np.inf,)),
    }
    name = f"ranks of features, {nets} nets of depth 4, {steps} steps"
    return st.conjunction(name, parts, measured=measured)


def _counts(features: np.ndarray) -> np.ndarray:
    values = np.linalg.svd(features, compute_uv=False)
    return np.stack([np.sum(values > limit * values[:, :1], axis=1) for limit in _LIMITS], axis=1)


# --- reparametrized regression --------------------------------------------------------------------


def _regression(p: Any, data: Any) -> Any:
    x, y = data
    return jnp.mean((x @ (p["a"][:, 0] * p["a"][:, 1]) - y) ** 2)


def _coordinates(tilt: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Count coordinates with u = w = 0, from a generic start and from all of them collapsed."""
    rng, nets, size, samples, gamma = generator(key), 48, 8, 32, 0.1
    steps = budget.steps(5 * nets, nanoseconds=250.0, most=5000)
    if steps < 2500:
        return too_short("reparametrized regression", steps, 2500)
    x = rng.normal(size=(nets, samples, size))
    # Half of the coefficients are well above gamma, and half well below it.
    strong = rng.uniform(3, 9, size=(nets, size // 2)) * rng.choice([-1, 1], size=(nets, size // 2))
    weak = rng.uniform(-0.3, 0.3, size=(nets, size // 2))
    beta = gamma * np.concatenate([strong, weak], axis=1)
    data = (x, np.einsum("nsi,ni->ns", x, beta))
    options = {"gamma": gamma, "rate": 0.1, "steps": steps, "tilt": tilt}
    start = {"a": rng.normal(size=(nets, size, 2)) / 2}
    generic, losses = trained(_regression, start, data, rng, **options)
    trapped, after = trained(_regression, {"a": 0 * start["a"]}, data, rng, **options)
    down = {
        method: np.stack(
            [np.sum(np.linalg.norm(p["a"], axis=2) < limit, axis=1) for limit in _LIMITS], axis=1
        )
        for method, p in generic.items()
    }
    gap = down["plain decay"] - down["syre"]
    caught = max(
        float(np.abs(trapped[method]["a"]).max())
        for method in ("none", "plain decay", "decay to init")
    )
    excess = after["syre"] / losses["plain decay"] - 1
    parts = [
        mean_above(f"fewer coordinates are below {_LIMITS[0]:g} with syre", gap[:, 0], 2.0),
        near(f"as many are below {_LIMITS[2]:g}", 0.0, gap[:, 2], 0.4),
        small("from u = w = 0 nothing moves without syre", caught, 1e-12, f"{nets} problems"),
        near("with syre the loss is that of plain decay from a generic start", 0.0, excess, 0.05),
    ]
    measured = {
        f"collapsed coordinates, of {size}": table(down, _LIMITS),
        "loss, generic start": table({m: v[:, None] for m, v in losses.items()}, (np.inf,)),
        "loss, collapsed start": table({m: v[:, None] for m, v in after.items()}, (np.inf,)),
    }
    name = f"reparametrized regression, {nets} problems, {steps} steps"
    return st.conjunction(name, parts, measured=measured)


def _leave(tilt: float, key: jax.Array, budget: Budget) -> st.Verdict:
    keys = jax.random.split(key, 3)
    third = Budget(budget.seconds / 3)
    parts = [f(tilt, k, third) for f, k in zip((_twins, _ranks, _coordinates), keys, strict=True)]
    return st.conjunction("what syre removes on trained nets, and what it leaves", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _leave(1.0, key, budget)


def control() -> st.Verdict:
    """The bias is 0, as in plain decay."""
    return _leave(0.0, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """With the bias."""
    return _leave(1.0, jax.random.key(1), Budget(1.0))
