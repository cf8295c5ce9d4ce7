"""P1.12: sharpness at the noise equilibrium: noise flattens, and can sharpen.

Statement: in y = V x + eps fitted by U W, Tr Hess = 2 d_y Tr[W Sx W^T] + 2 Tr[Sx] |U|^2. At the
noise equilibrium it is S_NE = 2 d_y sqrt(a/b) t + 2 sqrt(ab) Tr[Se^-1 L S L^T]; the least value on
the orbit is S_min = 4 sqrt(d_y a) |V Sx^(1/2)|_*. Isotropic label noise makes S_NE = S_min, below
the norm-balanced S_bal; anisotropic label noise can make S_NE > S_bal.

Assumptions: squared loss at a minimum U W = V; label noise independent of x; SGD goes to the
equilibrium (P1.10).

Relation: equality.

Reference: arXiv 2402.07193, section on sharpness.

Proof idea: on the orbit the trace is |B|^2 + |C|^2 with a fixed product B C^T, least where
B^T B = C^T C. For isotropic noise this is the balance of the noise.

Example output:

    P1.12  proved        supported     refuted
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
from proofs_check._intervals import at_rest, measured, tends_to
from proofs_check._steps import from_statement, proof, same, sign, textbook
from proofs_check._two_layer import axes, generator, minimum, net, spread, teacher

_RATES = (0.016, 0.008)
_LEAST = 0.8
"""Slow time, in which a step is eta^2: several relaxation times, a third of them left out."""


def claim() -> Claim:
    return Claim(
        "P1.12",
        "Sharpness at the noise equilibrium: the least on the orbit for isotropic label noise "
        "(flattening), above the norm-balanced point for some anisotropic noise (sharpening)",
        ("squared loss at a minimum U W = V", "label noise independent of x", "P1.10 applies"),
        "equality",
        "arXiv 2402.07193, sharpness",
    )


def _second(z: Any, c: Any) -> Any:
    """Second derivative of L along random directions of unit covariance: the trace on average."""

    def loss(p: Any) -> Any:
        off = p[0] @ p[1] - c["V"]
        return jnp.trace(off @ c["Sx"] @ off.T)

    along = (z["A"], z["B"])
    slope = lambda p: jax.jvp(loss, (p,), (along,))[1]
    return jax.jvp(slope, ((c["U"], c["W"]),), (along,))[1]


def exact() -> st.Verdict:
    return proof(
        "sharpness at the noise equilibrium",
        [_trace(), _least(), _isotropic(), _sharpening()],
        claim().reference,
    )


def _trace() -> st.Verdict:
    shapes = {"U": ("dy", "h"), "W": ("h", "dx"), "V": ("dy", "dx"), "Sx": ("dx", "dx")}
    symmetric = st.SymmetricMatrix("dy")
    steps = [
        reads(
            "Tr Hess = 2 dy Tr[W Sx W^T] + 2 Tr[Sx] |U|^2",
            st.expectation(
                _second, {"A": st.Normal(("dy", "h")), "B": st.Normal(("h", "dx"))}, shapes
            ),
            "2 * (dy Tr[Sx W^T W] + Tr[Sx] |U|^2)",
        ),
        from_statement(
            "at the noise equilibrium U U^T = sqrt(b/a) E M E, E = Se^(-1/2), M = L S L^T, and "
            "W^T W = sqrt(a/b) F N F, F = Sx^(-1/2), N = R^T S R",
            "P1.11",
        ),
        st.identity(
            "Tr[E M E] = Tr[E E M]: the second term of S_NE is 2 sqrt(ab) Tr[Se^-1 L S L^T]",
            lambda a: jnp.trace(a["E"] @ a["M"] @ a["E"]) - jnp.trace(a["E"] @ a["E"] @ a["M"]),
            {"E": symmetric, "M": symmetric},
        ),
        st.identity(
            "norm-balanced, U = L s and W = s R with S_0 = s^2 and L^T L = 1: S_bal = "
            "2 dy Tr[S_0 R Sx R^T] + 2 a Tr S_0",
            lambda a: (
                jnp.sum((a["L"] * a["s"]) ** 2) - jnp.sum(a["s"] ** 2),
                jnp.trace((a["s"][:, None] * a["R"]) @ a["X"] @ (a["s"][:, None] * a["R"]).T)
                - jnp.einsum("i,ia,ab,ib->", a["s"] ** 2, a["R"], a["X"], a["R"]),
            ),
            {
                "L": st.OrthogonalMatrix("h"),
                "s": "h",
                "R": ("h", "dx"),
                "X": st.SymmetricMatrix("dx"),
            },
        ),
        st.identity(
            "Tr[Sx F N F] = Tr[N] where Sx = Y Y and Y F = 1: the first is 2 dy sqrt(a/b) t",
            lambda a: (
                jnp.trace(a["Y"] @ a["Y"] @ a["F"] @ a["N"] @ a["F"])
                - jnp.trace(a["F"] @ a["Y"] @ a["Y"] @ a["F"] @ a["N"])
            ),
            {"Y": symmetric, "F": symmetric, "N": symmetric},
        ),
    ]
    return st.conjunction("the trace of the Hessian, and S_NE", steps)


def _least() -> st.Verdict:
    steps = [
        st.identity(
            "with B = (2a)^(1/2) U and C = (2 dy)^(1/2) Sx^(1/2) W^T the trace is |B|^2 + |C|^2 = "
            "2 Tr[O^T B C^T] + |B - O C|^2 + Tr[C^T (1 - O^T O) C], for any O",
            lambda a: (
                jnp.sum(a["B"] ** 2) + jnp.sum(a["C"] ** 2)
                - 2 * jnp.trace(a["O"].T @ a["B"] @ a["C"].T)
                - jnp.sum((a["B"] - a["O"] @ a["C"]) ** 2)
                - jnp.trace(
                    a["C"].T @ (jnp.eye(a["O"].shape[1]) - a["O"].T @ a["O"]) @ a["C"]
                )
            ),
            {"B": ("dy", "h"), "C": ("dx", "h"), "O": ("dy", "dx")},
        ),
        textbook(
            "B C^T = 2 (a dy)^(1/2) V Sx^(1/2) is fixed on the orbit; the largest Tr[O^T B C^T] "
            "with O^T O <= 1 is its nuclear norm, so the trace is at least S_min, and is S_min "
            "exactly where B = O C, that is B^T B = C^T C",
            "duality of nuclear and operator norm", given="real matrices",
        ),
    ]  # fmt: skip
    return st.conjunction("the least trace on the orbit", steps)


def _isotropic() -> st.Verdict:
    steps = [
        st.identity(
            "with Se = s 1 the balance of the noise, 4 a s U^T U = 4 s dy W Sx W^T, is "
            "B^T B = C^T C: S_NE = S_min <= S_bal",
            lambda a: (
                4 * a["a"] * a["U"].T @ (a["s"] * jnp.eye(a["U"].shape[0])) @ a["U"]
                - 4 * jnp.trace(a["s"] * jnp.eye(a["U"].shape[0])) * a["W"] @ a["Sx"] @ a["W"].T
                - 2 * a["s"] * (
                    2 * a["a"] * a["U"].T @ a["U"]
                    - 2 * a["U"].shape[0] * a["W"] @ a["Sx"] @ a["W"].T
                )
            ),
            {
                "U": ("dy", "h"), "W": ("h", "dx"), "Sx": st.SymmetricMatrix("dx"), "a": (),
                "s": (),
            },
        ),
    ]  # fmt: skip
    return st.conjunction("isotropic label noise leads to the flattest point", steps)


def _sharpening() -> st.Verdict:
    """V = 1, Sx = 1, Se = diag(f^2, 1): S_NE > S_bal = 16 for every f other than 1."""
    f = sympy.Symbol("f", positive=True)
    one, noise = sympy.eye(2), sympy.diag(f**2, 1)
    root = noise.applyfunc(sympy.sqrt)  # V' = Se^(1/2) V Sx^(1/2) = L S R with L = R = 1
    a, b, t = one.trace(), noise.trace(), root.trace()
    found = 2 * 2 * sympy.sqrt(a / b) * t + 2 * sympy.sqrt(a * b) * (noise.inv() * root).trace()
    balanced = 2 * 2 * one.trace() + 2 * a * one.trace()  # U = W = 1
    rest = (1 - f**2) ** 2 + 8 * f * (1 + f**2)
    steps = [
        same("S_bal = 16 at U = W = 1", balanced, 16),
        same(
            "S_NE^2 = 8 (1 + f)^6/(f^2 (1 + f^2))",
            sympy.expand(sympy.expand(found**2) * f**2 * (1 + f**2)), 8 * (1 + f) ** 6,
        ),
        same(
            "and S_NE^2 - 16^2 is (1 - f)^2 ((1 - f^2)^2 + 8 f (1 + f^2)) times 8/(f^2 (1 + f^2))",
            (1 + f) ** 6 - balanced**2 / 8 * f**2 * (1 + f**2), (1 - f) ** 2 * rest,
        ),
        sign("whose second factor is positive", sympy.expand(8 * f * (1 + f**2)), "positive"),
    ]  # fmt: skip
    return st.conjunction("anisotropic label noise can sharpen", steps)


@measured
def _measured(
    V: Any,
    cov_x: Any,
    cov_eps: Any,
    dynamics: Any,
    key: jax.Array,
    budget: Budget,
    model: st.Model | None = None,
) -> st.Verdict:
    """Compare the trace of the Hessian of L where the dynamics settle, eta to 0, with S_NE."""
    rows, total, replicas = len(V), float(np.trace(cov_x)), 64
    found = st.two_layer_sharpness(V, cov_x, cov_eps)
    model, start = model or net(V, cov_x, cov_eps), minimum(generator(key), V)

    def trace(p: Any) -> Any:
        inputs = jnp.einsum("hi,ij,hj->", p["W"], jnp.asarray(cov_x), p["W"])
        return 2 * rows * inputs + 2 * total * jnp.sum(p["U"] ** 2)

    points, size = [], found.noise_equilibrium.trace
    for n, rate in enumerate(_RATES):
        steps = budget.steps(
            replicas, nanoseconds=250.0, share=(0.2, 0.8)[n], most=int(4 / rate**2),
            least=int(_LEAST / rate**2),
        )  # fmt: skip
        run = st.simulate(
            model, dynamics(rate), params=start, steps=steps, replicas=replicas,
            key=jax.random.fold_in(key, n), observe=trace,
        )  # fmt: skip
        records = run.observables["trace"]
        points.append((rate, at_rest(records, 0.08 * size, 1 / 3)))
    want, balanced = found.noise_equilibrium.trace, found.norm_balanced.trace
    claim = f"S_NE as eta -> 0; S_bal is {balanced:.4g}, S_min {found.minimum.trace:.4g}"
    return tends_to(claim, want, points, 0.04 * want)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    """Isotropic label noise on drawn inputs and teacher; and aligned anisotropic label noise."""
    rng = generator(key)
    first, second = jax.random.split(key)
    V, cov_x = teacher(rng), spread(rng, 3)
    left, right = axes(rng, 2), axes(rng, 2)
    aligned = left @ right.T
    cov_eps = (left * [rng.uniform(0.12, 0.2), 1.0]) @ left.T
    parts = [
        _measured(V, cov_x, np.eye(2), st.SGD, first, Budget(budget.seconds / 3)),
        _measured(
            aligned,
            np.eye(2),
            (cov_eps + cov_eps.T) / 2,
            st.SGD,
            second,
            Budget(budget.seconds / 1.5),
        ),
    ]
    return st.conjunction("sharpness where SGD settles: flattening, then sharpening", parts)


def control() -> st.Verdict:
    """Label noise that depends on x: it grows with the third input, of the same mean square."""
    return _controlled(_dependent)


def twin() -> st.Verdict:
    """Label noise of the same mean square that does not depend on x."""
    return _controlled(_independent)


def _independent(p: Any, z: Any, c: Any) -> Any:
    return jnp.sum((p["U"] @ (p["W"] @ z["x"]) - c["V"] @ z["x"] - z["eps"]) ** 2)


def _dependent(p: Any, z: Any, c: Any) -> Any:
    scale = z["x"][2] / c["spread"]
    return _independent(p, {**z, "eps": scale * z["eps"]}, c)


def _controlled(loss: Any) -> st.Verdict:
    V, cov_x = np.eye(2, 3), np.diag([0.25, 0.5, 4.0])
    model = st.Model(
        loss, {"U": (2, 2), "W": (2, 3)}, {"x": st.Normal(3, cov=cov_x), "eps": st.Normal(2)},
        {"V": (2, 3), "spread": ()}, name="two layers",
    ).bind(V=V, spread=2.0)  # fmt: skip
    key = jax.random.key(0)
    return _measured(V, cov_x, np.eye(2), st.SGD, key, Budget(1.0), model)
