"""P1.11: the noise equilibrium of deep linear nets in closed form.

Statement: with sqrt(Se) V sqrt(Sx) = L S R, a = Tr Sx, b = Tr Se, t = Tr S, c = (t/sqrt(ab))^(1/D)
the layers of y = V x + eps learnt by W_D ... W_1 x are at equilibrium W_1 sqrt(Sx) = sqrt(a/t) c
S^(1/2) R, W_i = c 1, sqrt(Se) W_D = sqrt(b/t) c L S^(1/2), up to rotations of the hidden bases:
every inner layer has all its singular values equal.

Assumptions: squared loss at a minimum with label noise independent of x; hidden width = rank V; for
SGD to go there, isotropic or aligned noise (P1.10).

Relation: equality.

Reference: arXiv 2402.07193, section on deep linear nets.

Proof idea: in every pair the products before and after are balanced, A_i A_i^T = k_i B_i^T B_i with
B_i A_i = L S R; so (A_i^T A_i)^2 = k_i R^T S^2 R, and traces make ln k_i affine in i.

Example output:

    P1.11  proved        supported     refuted
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._exactly import reads
from proofs_check._intervals import at_rest, measured, tends_to
from proofs_check._steps import from_statement, proof, same, small, textbook
from proofs_check._two_layer import axes, generator, spread

_DEPTHS = (2, 3, 4, 5)
_RATES = (0.008, 0.004)
_LEAST = 0.5
"""Slow time, in which a step is eta^2: several relaxation times, a third of them left out."""
_NAMES = ("W1", "W2", "W3")


def claim() -> Claim:
    return Claim(
        "P1.11",
        "Deep linear nets at the noise equilibrium: W_i = c 1 for 1 < i < D, W_1 and W_D in closed "
        "form, c = (t/sqrt(ab))^(1/D)",
        (
            "squared loss at a minimum, label noise independent of x",
            "hidden width = rank V",
            "isotropic or aligned noise for SGD to go there",
        ),
        "equality",
        "arXiv 2402.07193, deep linear nets",
    )


def exact() -> st.Verdict:
    """Every depth, width and rank at once; where the balance comes from, for all sizes."""
    steps = [*_noise(), st.deep_linear_proof(), *_affine(), *_layers()]
    return proof("the closed form of deep linear nets", steps, claim().reference)


def _noise() -> list[st.Verdict]:
    """Noise of the pair M = W_{i+1} W_i at a minimum, P the layers above it and Q those below."""
    x, eps = st.Normal("dx", cov="Sx"), st.Normal("dy", cov="Se")
    shapes = {"P": ("dy", "above"), "Q": ("below", "dx"), "M": ("above", "below")}

    def gradient(z: Any, c: Any) -> Any:
        at_minimum = c["P"] @ (c["M"] @ (c["Q"] @ z["x"])) + z["e"]

        def loss(pair: Any) -> Any:
            return jnp.sum((c["P"] @ (pair @ (c["Q"] @ z["x"])) - at_minimum) ** 2)

        return jax.grad(loss)(c["M"])

    square = lambda turned: st.expectation(turned, {"x": x, "e": eps}, shapes)
    return [
        reads(
            "the gradient G by W_{i+1} W_i has E[G G^T] = 4 Tr[Q Sx Q^T] P^T Se P, P the layers "
            "above the pair and Q those below",
            square(lambda z, c: gradient(z, c) @ gradient(z, c).T),
            "4 * Tr[Q Sx Q^T] P^T Se P",
        ),
        reads(
            "and E[G^T G] = 4 Tr[P P^T Se] Q Sx Q^T",
            square(lambda z, c: gradient(z, c).T @ gradient(z, c)),
            "4 * Tr[P P^T Se] Q Sx Q^T",
        ),
        reads("and mean 0", square(gradient), "0"),
        from_statement(
            "the balance of the pair, W_{i+1}^T E[G G^T] W_{i+1} = W_i E[G^T G] W_i^T", "P1.9"
        ),
    ]


def _affine() -> list[st.Verdict]:
    """The factors r_i = sqrt(k_i) of a balanced net, A_i A_i^T = k_i B_i^T B_i."""
    before, here, after, t, a, b, depth = sympy.symbols("r_0 r_1 r_2 t a b D", positive=True)
    inner, outer = before * t, t / after  # Tr A_{i-1} A_{i-1}^T and Tr B_{i+1} B_{i+1}^T
    ratio = (t**2 / (a * b)) ** (1 / depth)
    c = (t / sympy.sqrt(a * b)) ** (1 / depth)
    power = lambda n: sympy.powsimp(sympy.expand_log(sympy.log(n), force=True))
    last = a / t * ratio ** (depth - 1)
    return [
        textbook(
            "(A_i^T A_i)^2 = k_i V'^T V' gives A_i^T A_i = r_i R^T S R, so of trace r_i t; "
            "(B_i B_i^T)^2 = V' V'^T/k_i gives B_i B_i^T = L S L^T/r_i, of trace t/r_i",
            "a positive semidefinite matrix has one positive semidefinite root",
            given="A^T A and B B^T are positive semidefinite, V' = L S R is not 0",
        ),
        same(
            "Tr[B_{i+1} B_{i+1}^T] A_i A_i^T = Tr[A_{i-1} A_{i-1}^T] B_i^T B_i makes k_i = "
            "r_{i-1} r_{i+1}", inner / outer, before * after,
        ),
        same(
            "so r_{i+1}/r_i = r_i/r_{i-1}: the ratio is the same in all layers",
            (after / here - here / before).subs(after, here**2 / before), 0,
        ),
        same(
            "from r_0 = a/t to r_D = t/b it is (t^2/(ab))^(1/D)",
            power(a / t * ratio**depth), power(t / b),
        ),
        same("which is c^2: r_i = (a/t) c^(2i)", power(ratio), power(c**2)),
        same("1/r_{D-1} = (b/t) c^2, the square of the factor of sqrt(Se) W_D", power(1 / last),
             power(b / t * c**2)),
    ]  # fmt: skip


def _layers() -> list[st.Verdict]:
    return [
        textbook(
            "A_i = sqrt(r_i) U_i S^(1/2) R with U_i orthogonal",
            "polar decomposition",
            given="hidden width = rank V, so that A_i has full row rank",
        ),
        textbook(
            "so W_{i+1} A_i = A_{i+1} has one solution, c U_{i+1} U_i^T",
            "a matrix of full row rank has a right inverse", given="hidden width = rank V",
        ),
        st.identity(
            "(c U_{i+1} U_i^T)(c U_{i+1} U_i^T)^T = c^2 1: all singular values of an inner layer "
            "are c",
            lambda a: (
                (a["c"] * a["U"] @ a["O"].T) @ (a["c"] * a["U"] @ a["O"].T).T
                - a["c"] ** 2 * jnp.eye(a["U"].shape[0])
            ),
            {"U": st.OrthogonalMatrix("r"), "O": st.OrthogonalMatrix("r"), "c": ()},
        ),
    ]  # fmt: skip


def _residuals(depth: int) -> st.Verdict:
    """The balance of a drawn net, from its layers alone; this checks the code, not the theorem."""
    rng = np.random.default_rng(depth)
    cov_x, cov_eps, V = spread(rng, 4), spread(rng, 3), rng.normal(size=(3, 4))
    net = st.deep_linear_equilibrium(V, cov_x, cov_eps, depth)
    worst = max(*st.balance_residuals(net.layers, cov_x, cov_eps), net.product_error)
    return small(f"balance and product at D = {depth}", worst, 1e-12, "double precision")


def _loss(decay: float, p: Any, z: Any, c: Any) -> Any:
    output = p["W3"] @ (p["W2"] @ (p["W1"] @ z["x"]))
    off = jnp.sum((output - c["V"] @ z["x"] - z["eps"]) ** 2)
    return off + decay * jnp.sum(p["W2"] ** 2)


def _sizes(p: Any) -> Any:
    return jnp.stack([jnp.sum(p[name] ** 2) for name in _NAMES])


@measured
def _closed(V: Any, cov_x: Any, decay: float, key: jax.Array, budget: Budget) -> st.Verdict:
    """Compare |W_i|^2 in SGD on three layers, eta to 0, with the closed form."""
    rows, columns = np.shape(V)
    model = st.Model(
        functools.partial(_loss, decay), {"W1": (2, columns), "W2": (2, 2), "W3": (rows, 2)},
        {"x": st.Normal(columns, cov=cov_x), "eps": st.Normal(rows)}, {"V": (rows, columns)},
        name="three layers",
    ).bind(V=V)  # fmt: skip
    rng, replicas = generator(key), 64
    net = st.deep_linear_equilibrium(V, cov_x, np.eye(rows), 3)
    first, second = (np.diag([1.2, 0.9]) + 0.1 * rng.uniform(-1, 1, size=(2, 2)) for _ in "12")
    moved = [
        np.linalg.solve(first, net.layers[0]),
        np.linalg.solve(second, net.layers[1] @ first),
        net.layers[2] @ second,
    ]
    points: list[list[Any]] = [[], [], []]
    for n, rate in enumerate(_RATES):
        steps = budget.steps(
            replicas, nanoseconds=250.0, share=(0.2, 0.8)[n], most=int(3 / rate**2),
            least=int(_LEAST / rate**2),
        )  # fmt: skip
        run = st.simulate(
            model, st.SGD(rate), params=dict(zip(_NAMES, moved, strict=True)), steps=steps,
            replicas=replicas, key=jax.random.fold_in(key, n), observe=_sizes,
        )  # fmt: skip
        records = run.observables["_sizes"]
        for layer in range(3):
            size = float(np.sum(net.layers[layer] ** 2))
            rest = at_rest(records[:, :, layer], 0.1 * size, 1 / 3)
            points[layer].append((rate, rest))
    parts = []
    for layer in range(3):
        size = float(np.sum(net.layers[layer] ** 2))
        claim = f"|W_{layer + 1}|^2 as eta -> 0"
        parts.append(tends_to(claim, size, points[layer], 0.05 * size))
    return st.conjunction("SGD goes to the closed form", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    """Isotropic label noise; teacher and inputs drawn."""
    rng = generator(key)
    V = (axes(rng, 2) * rng.uniform(1.5, 1.9, size=2)) @ axes(rng, 3)[:2]
    parts = [_closed(V, spread(rng, 3, 0.5, 1.5), 0.0, key, budget), *map(_residuals, _DEPTHS)]
    return st.conjunction("SGD goes to the closed form, which balances every pair", parts)


def control() -> st.Verdict:
    """The loss sees one layer by itself, not the product of all alone."""
    return _controlled(0.05)


def twin() -> st.Verdict:
    """The loss sees the product of all layers alone."""
    return _controlled(0.0)


def _controlled(decay: float) -> st.Verdict:
    V = np.array([[1.2, 0.0, 0.0], [0.0, 1.0, 0.0]])
    return _closed(V, np.diag([0.5, 1.0, 2.0]), decay, jax.random.key(0), Budget(1.0))
