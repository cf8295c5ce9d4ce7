"""B.4: the number of conservation laws of gradient flow, from both sides.

Statement: gradient flow of |U W x - y|^2 on any data, U in R^(n x r), W in R^(r x m), s = n + m,
has r (r + 1)/2 independent conservation laws if s > r, else s (2 r + 1 - s)/2. A ReLU net with one
hidden layer has one per hidden neuron. Counted at 11 sizes (n, r, m) with n + m <= 5 and r <= 5, on
both sides of s = r, and at 5 sizes of ReLU nets with at most 4 neurons; no claim for others.

Assumptions: generic parameters; laws of every data set; for ReLU, analytic laws.

Relation: equality.

Reference: Marcotte, Gribonval and Peyre 2023, arXiv 2307.00144.

Proof idea: d minus the rank of the Lie algebra of gradient fields, at one point mod a prime, bounds
the number from above; the rank of the differentials of proved charges from below.

Example output:

    B.4    proved        supported     refuted
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._draws import covariance, point
from proofs_check._steps import cited, proof, textbook

_LINEAR = ((1, 1, 1), (2, 1, 2), (2, 2, 2), (3, 2, 2), (2, 3, 2), (1, 2, 1), (1, 3, 1), (2, 3, 1),
           (1, 4, 2), (2, 4, 2), (2, 5, 2))  # fmt: skip
_RELU = ((1, 2), (2, 2), (3, 2), (2, 3), (4, 3))

_ZERO = 1e-4
"""Singular values below this share of the largest are the integrator's error."""


def claim() -> Claim:
    return Claim(
        "B.4",
        "Gradient flow of a two-layer linear net has r(r + 1)/2 conservation laws if s > r, else "
        "s(2r + 1 - s)/2, s = n + m; a ReLU net one per hidden neuron (proved at 11 sizes with "
        "n + m <= 5, r <= 5, and at 5 sizes with at most 4 neurons)",
        (
            "generic parameters",
            "laws of every data set",
            "for ReLU: analytic laws",
            "the sizes that are counted",
        ),
        "equality",
        "arXiv 2307.00144",
    )


def _formula(n: int, r: int, m: int) -> int:
    s = n + m
    return r * (r + 1) // 2 if s > r else s * (2 * r + 1 - s) // 2


def exact() -> st.Verdict:
    """Sizes on both sides of s = r; each count is proved where its two bounds meet."""
    linear, relu = st.zoo.load("two-layer-linear"), st.zoo.load("relu-rescaling")
    steps = [
        cited("the number is d - dim Lie(W)(theta) at generic theta", "arXiv 2307.00144"),
        textbook(
              "a rank can only drop mod a prime and at a point, so d - rank is an upper bound; "
              "differentials of laws are independent where their rank says so",
              "semicontinuity of the rank",
              given="polynomial entries"),
        *(
            _counted(f"two layers, n, r, m = {n}, {r}, {m}", linear.bound(dy=n, h=r, dx=m),
                     _formula(n, r, m))
            for n, r, m in _LINEAR
        ),
        *(_counted(f"ReLU, {h} neurons, {d} inputs", relu.bound(h=h, dx=d), h) for h, d in _RELU),
    ]  # fmt: skip
    return proof("conservation laws counted", steps, claim().reference)


def _counted(what: str, model: st.Model, predicted: int) -> st.Verdict:
    found = st.conservation_laws(model)
    claim, how = f"{what}: {predicted} laws", found.verdict.how
    bounds = [found.lower, found.upper]
    if found.verdict.status is st.Status.PROVED and found.lower != predicted:
        return st.Verdict(
            st.Status.REFUTED, claim, how=how, predicted=predicted, measured=bounds,
            parts=(found.verdict,),
        )  # fmt: skip
    return st.conjunction(claim, [found.verdict], how=how, predicted=predicted, measured=bounds)


def _quadratic_laws(loss: Callable[..., Any], key: jax.Array, budget: Budget) -> st.Verdict:
    """Count the quadratic forms that simulated gradient flows leave alone.

    From many starts, each on data of its own, all d (d + 1)/2 products of two parameters are
    followed; a form that no flow changes is in the kernel of the matrix of their changes.
    """
    keys = jax.random.split(key, 4)
    kind = st.zoo.load("two-layer-linear").model
    rank = int(jax.random.randint(keys[0], (), 1, 3))
    model = st.Model(loss, kind.params, kind.random, kind.constants, name="two layers")
    model = model.bind(
        dy=2, h=rank, dx=2, Sigma_x=covariance(keys[1], 2), Sigma_eps=np.eye(2),
        V=np.asarray(jax.random.normal(keys[2], (2, 2))),
    )  # fmt: skip
    replicas = 160
    starts = jax.vmap(lambda k: point(model, k, 0.6))(jax.random.split(keys[3], replicas))
    steps = budget.steps(replicas, nanoseconds=30_000.0, most=200)
    run = st.simulate(
        model, st.GradientFlow(0.00125, samples=6), params=starts, steps=steps, replicas=replicas,
        key=keys[3],
    )  # fmt: skip
    before, after = (_products(params) for params in (starts, run.params))
    values = np.linalg.svd((after - before) / np.abs(before).max(), compute_uv=False)
    found = int(np.sum(values < _ZERO * values[0]))
    predicted = _formula(2, rank, 2)
    kept, next_one = values[-predicted] / values[0], values[-predicted - 1] / values[0]
    status = st.Status.SUPPORTED if found == predicted else st.Status.REFUTED
    if np.any((values > _ZERO * values[0] / 10) & (values < _ZERO * values[0] * 10)):
        status = st.Status.INCONCLUSIVE  # no gap where the line is drawn
    how = (
        f"rank {rank}, {replicas} flows, {len(values)} products of parameters: singular values "
        f"from {kept:.1g} down count as 0, the next is {next_one:.1g}"
    )
    return st.Verdict(
        status, "as many conserved quadratic forms as conservation laws", how=how,
        predicted=predicted, measured=found,
    )  # fmt: skip


def _products(params: Any) -> np.ndarray:
    flat = np.concatenate([np.asarray(p).reshape(len(p), -1) for p in jax.tree.leaves(params)], 1)
    rows, columns = np.triu_indices(flat.shape[1])
    return flat[:, rows] * flat[:, columns]


def _squared(p: Any, z: Any, c: Any) -> Any:
    return jnp.sum(((p["U"] @ p["W"] - c["V"]) @ z["x"] - z["eps"]) ** 2)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _quadratic_laws(_squared, key, budget)


def _bent(p: Any, z: Any, c: Any) -> Any:
    return jnp.sum((p["U"] @ jnp.tanh(p["W"] @ z["x"]) - c["V"] @ z["x"] - z["eps"]) ** 2)


def control() -> st.Verdict:
    """A tanh between the layers."""
    return _quadratic_laws(_bent, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """Two linear layers."""
    return _quadratic_laws(_squared, jax.random.key(1), Budget(1.0))
