"""P1.4: one step of SGD changes the charge by exactly eta^2 g^T A g, at any learning rate.

Statement: theta' = theta - eta (g_B + 2 gamma theta) gives, with no approximation,
C' = (1 - 2 eta gamma)^2 C + eta^2 g_B^T A g_B, and E[g_B^T A g_B] = grad L^T A grad L +
Tr[Sigma A]/S. So gradient descent on the whole data set drifts too, at the rate eta grad L^T A
grad L per time.

Assumptions: l(exp(lambda A) theta; z) = l(theta; z) for every sample; A symmetric; S independent
samples.

Relation: equality.

Reference: beyond arXiv 2402.07193 (its charge law is the limit eta -> 0).

Proof idea: C is quadratic, and the cross term is g_B . A theta = 0.

Example output:

    P1.4   proved        supported     refuted
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._draws import point
from proofs_check._exactly import reads
from proofs_check._intervals import near
from proofs_check._paths import noise_size, size, step_law, uniform
from proofs_check._steps import from_statement, proof, same, textbook
from proofs_check._symbols import Symbols


def claim() -> Claim:
    return Claim(
        "P1.4",
        "One step of SGD, at any learning rate: C' = (1 - 2 eta gamma)^2 C + eta^2 g_B^T A g_B; "
        "full-batch gradient descent drifts too",
        ("exponential symmetry", "A = A^T", "S independent samples"),
        "equality",
        "beyond arXiv 2402.07193",
    )


def exact() -> st.Verdict:
    """Any size, any symmetric A, any learning rate; then what the package derives."""
    symmetric = st.SymmetricMatrix("d")
    charge = lambda a, v: v @ a["A"] @ v
    keep = lambda a: 1 - 2 * a["eta"] * a["gamma"]
    pair = {"g": st.Normal("d", mean="m", cov="Sigma"), "h": st.Normal("d", mean="m", cov="Sigma")}
    one = st.expectation(lambda z, c: z["g"] @ c["A"] @ z["g"], pair, {"A": ("d", "d")})
    two = st.expectation(lambda z, c: z["g"] @ c["A"] @ z["h"], pair, {"A": ("d", "d")})
    steps = [
        st.identity(
            "C((1 - 2 eta gamma) theta - eta g) = (1 - 2 eta gamma)^2 C - 2 eta (1 - 2 eta gamma) "
            "g . A theta + eta^2 g^T A g",
            lambda a: (
                charge(a, keep(a) * a["t"] - a["eta"] * a["g"])
                - keep(a) ** 2 * charge(a, a["t"])
                + 2 * a["eta"] * keep(a) * (a["g"] @ a["A"] @ a["t"])
                - a["eta"] ** 2 * charge(a, a["g"])
            ),
            {"A": symmetric, "t": "d", "g": "d", "eta": (), "gamma": ()},
        ),
        from_statement("g . A theta = 0 for every sample, so for the mean of a minibatch", "P1.1"),
        st.identity(
            "g_B^T A g_B of a mean of S gradients is 1/S^2 times the sum over pairs of samples",
            lambda a: (
                charge(a, jnp.sum(a["G"], axis=0))
                - jnp.einsum("ia,ab,jb->", a["G"], a["A"], a["G"])
            ),
            {"A": symmetric, "G": ("S", "d")},
        ),
        _pairs(one, two),
        *_derived(),
    ]
    return proof("the exact law of one step", steps, claim().reference)


def _pairs(one: Any, two: Any) -> st.Verdict:
    """The S pairs of equal samples and the S (S - 1) others; only two moments of g enter."""
    return st.conjunction(
        "E[g_B^T A g_B] = m^T A m + Tr[Sigma A]/S",
        [
            reads("E[g^T A g] for one sample", one, "Tr[A Sigma] + (m^T A m)"),
            reads("E[g^T A h] for two independent ones", two, "(m^T A m)"),
            textbook(
                "both are the same for every law with this mean and covariance, because they are "
                "linear in its first and second moments, and products for independent samples",
                "linearity of the expectation",
                given="finite second moments",
            ),
            same("S q + S (S - 1) m over S^2 is m + (q - m)/S", *_counted()),
        ],
    )


def _counted() -> tuple[Any, Any]:
    import sympy

    size, q, m = sympy.symbols("S q m", positive=True)
    return (size * q + size * (size - 1) * m) / size**2, m + (q - m) / size


@functools.cache
def _law() -> tuple[Any, st.Model]:
    example = st.zoo.load("two-layer-linear")
    law = st.derive(example.sized(dy=1, h=1, dx=2), example.symmetries["rescaling"])
    return law, example.bound(dy=1, h=1, dx=2)


def _derived() -> list[st.Verdict]:
    """The package's law against the formula, with moments written down by hand."""
    example = st.zoo.load("scalar-factor")
    law: Any = st.derive(example.model, example.symmetries["rescaling"])
    found = law.discrete_drift.sympy()
    names = Symbols(found)
    eta, size, gamma = names["eta"], names["S"], names["gamma"]
    u, w, a, x, e = (names[n] for n in ("u", "w", "a", "Sigma_x", "Sigma_eps"))
    gap, charge = u * w - a, u**2 - w**2
    # grad L = 2 gap Sigma_x (w, u), and Sigma = spread (w, u) (w, u)^T: see P1.3.
    spread = 4 * (2 * gap**2 * x**2 + x * e)
    push = 4 * gap**2 * x**2 * (w**2 - u**2) + spread * (w**2 - u**2) / size
    written = ((1 - 2 * eta * gamma) ** 2 - 1) * charge + eta**2 * push
    return [law.verdict, same("derive's mean change of one step is this one", found, written)]


def _stepped(model: st.Model, key: jax.Array, budget: Budget) -> st.Verdict:
    """Follow paths of SGD on a model: every step, and the mean change the law predicts."""
    law, _ = _law()
    keys = jax.random.split(key, 5)
    eta, gamma = uniform(keys[0], 0.01, 0.02), uniform(keys[1], 0.01, 0.1)
    batch = int(jax.random.randint(keys[2], (), 1, 5))
    start = point(model, keys[3], 0.7)
    replicas = 1024
    steps = budget.steps(replicas, nanoseconds=1500.0, most=400)
    settings = {"learning_rate": eta, "batch_size": batch, "weight_decay": gamma}
    drift = law.discrete_drift.callable()
    observe = {
        **law.observables(), "size": size, "push": noise_size,
        "drift": lambda p: drift(p, **settings, **model.values),
    }  # fmt: skip
    run = st.simulate(
        model, st.SGD(**settings), params=start, steps=steps, replicas=replicas, key=keys[4],
        observe=observe, record_every=1,
    )  # fmt: skip
    seen = {name: values.reshape(replicas, -1) for name, values in run.observables.items()}
    change = seen["charge"][:, -1] - seen["charge"][:, 0]
    left = change - seen["drift"][:, :-1].sum(axis=1)
    scale = eta**2 * float(seen["push"][:, :-1].sum(axis=1).mean())
    parts = [
        step_law(run),
        near(
            "the mean change of C is the sum of the predicted ones", 0.0, left, 0.08 * scale, scale
        ),
    ]
    return proof("SGD at a finite learning rate", parts)


def _whole(p: Any, z: Any, c: Any) -> Any:
    """Return the loss of a whole data set: its gradient descent has no noise."""
    del z
    return jnp.mean((c["X"] @ (p["U"] @ p["W"]).T - c["Y"]) ** 2)


def _drifts(key: jax.Array, budget: Budget) -> st.Verdict:
    """Full-batch gradient descent: the same law, and the drift per time goes to 0 with eta."""
    keys = jax.random.split(key, 4)
    replicas, rows, eta = 256, 12, uniform(keys[0], 0.03, 0.05)
    model = st.Model(
        _whole, {"U": (1, 1), "W": (1, 2)}, {},
        {"X": jax.random.normal(keys[1], (rows, 2)), "Y": jax.random.normal(keys[2], (rows, 1))},
        name="two-layer linear net on a whole data set",
    )  # fmt: skip
    # In a cube: drifts grow with a high power of the start, and normal starts give heavy tails.
    sides = jax.random.split(keys[3])
    starts = {
        name: jax.random.uniform(side, (replicas, *shape), minval=-1.5, maxval=1.5)
        for (name, shape), side in zip({"U": (1, 1), "W": (1, 2)}.items(), sides, strict=True)
    }
    law, _ = _law()
    observe = {**law.observables(), "size": size}
    steps = budget.steps(replicas, nanoseconds=20_000.0, most=100)
    drifts, parts = [], []
    for halvings in range(3):
        run = st.simulate(
            model, st.SGD(eta / 2**halvings), params=starts, steps=steps * 2**halvings,
            replicas=replicas, key=keys[0], observe=observe, record_every=1,
        )  # fmt: skip
        parts.append(step_law(run))
        change = run.final["charge"] - np.asarray(run.observables["charge"][:, 0])
        drifts.append(np.abs(change.reshape(replicas)))
    scale = float(drifts[0].mean())
    parts.append(
        near("without noise |C(t) - C(0)| vanishes linearly with eta", 0.0,
             2 * drifts[2] - drifts[1], 0.1 * scale, scale)
    )  # fmt: skip
    how = f"eta {eta:.3g}, {eta / 2:.3g}, {eta / 4:.3g}: " + ", ".join(
        f"{d.mean():.3g}" for d in drifts
    )
    return st.conjunction("full-batch gradient descent drifts, by O(eta)", parts, how=how)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    keys = jax.random.split(key)
    return proof("finite learning rates", [_stepped(_law()[1], keys[0], budget),
                                           _drifts(keys[1], budget)])  # fmt: skip


def _tilted(tilt: float, p: Any, z: Any, c: Any) -> Any:
    output = (p["U"] @ p["W"] - c["V"]) @ z["x"] + tilt * p["U"][:, 0] * z["x"][0]
    return jnp.sum((output - z["eps"]) ** 2)


def control() -> st.Verdict:
    """The rescaling is no symmetry of the loss that is trained."""
    return _controlled(0.3)


def twin() -> st.Verdict:
    """The same data and teacher without the tilt."""
    return _controlled(0.0)


def _controlled(tilt: float) -> st.Verdict:
    kind = st.zoo.load("two-layer-linear").model
    loss = functools.partial(_tilted, tilt)
    model = st.Model(loss, kind.params, kind.random, kind.constants, name="tilted net")
    bound = model.bind(dy=1, h=1, dx=2, Sigma_x=jnp.eye(2), Sigma_eps=jnp.eye(1),
                       V=jnp.ones((1, 2)))  # fmt: skip
    return _stepped(bound, jax.random.key(1), Budget(1.0))
