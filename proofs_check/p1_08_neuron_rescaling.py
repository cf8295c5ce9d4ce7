"""P1.8: every neuron with a homogeneous activation has a charge and an equilibrium of its own.

Statement: with phi(c h) = c^k phi(h) for c > 0, w_j -> exp(lambda) w_j, u_j -> exp(-k lambda) u_j
is a symmetry for every hidden neuron j, with charge C_j = |w_j|^2 - k u_j^2 and
dC_j/dt = -4 gamma C_j + 2 sigma^2 (Tr Sigma_{w_j} - k Sigma_{u_j}). At gamma = 0,
lambda* = ln(s_w/(k s_u))/(2 (1 + k)); for ReLU (k = 1), |w_j|^2 and u_j^2 of a neuron that sees
half of N(0, I_d) end in the ratio d : 1.

Assumptions: phi positively homogeneous of degree k, differentiable almost everywhere; for the
ratio, label noise independent of the input at a minimum, eta -> 0.

Relation: equality.

Reference: arXiv 2402.07193, examples of exponential symmetry.

Proof idea: Euler's theorem h phi'(h) = k phi(h) makes g . A theta vanish neuron by neuron.

Example output:

    P1.8   proved        supported     refuted
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
from proofs_check._exactly import reads
from proofs_check._intervals import at_rest, measured, tends_to
from proofs_check._paths import size, step_law, tail, uniform
from proofs_check._steps import from_statement, proof, same, textbook
from proofs_check._symbols import Symbols


def claim() -> Claim:
    return Claim(
        "P1.8",
        "Every neuron with an activation homogeneous of degree k has the charge |w_j|^2 - k u_j^2 "
        "and an equilibrium of its own",
        ("phi(c h) = c^k phi(h), c > 0", "for the ratio: label noise at a minimum, eta -> 0"),
        "equality",
        "arXiv 2402.07193, examples",
    )


def exact() -> st.Verdict:
    """Any number of neurons, any sizes, any degree."""
    k, lam, h = sympy.symbols("k lambda h", positive=True)
    plus, minus = sympy.symbols("s_w s_u", positive=True)
    best = sympy.log(plus / (k * minus)) / (2 * (1 + k))
    outer = sympy.Symbol("u", positive=True)
    steps = [
        same(
            "u exp(-k lambda) (exp(lambda) h)^k = u h^k: the output of a neuron is kept",
            outer * sympy.exp(-k * lam) * (sympy.exp(lam) * h) ** k,
            outer * h**k,
        ),
        same("h phi'(h) = k phi(h) for phi = h^k", h * sympy.diff(h**k, h), k * h**k),
        textbook("h phi'(h) = k phi(h) wherever phi is differentiable", "Euler's theorem",
        given="phi homogeneous of degree k"),
        st.identity(
            "with g_W = r u phi'(h) x^T, g_u = r phi(h), h = W x: g . A_a theta = r sum_j a_j u_j "
            "(h_j phi'_j - k phi_j) for any weights a of the neurons",
            lambda a: (
                jnp.einsum("j,ji,ji->", a["a"], _inner(a), a["W"])
                - a["k"] * jnp.einsum("j,j,j->", a["a"], a["r"] * a["phi"], a["u"])
                - a["r"] * jnp.sum(a["a"] * a["u"] * (a["W"] @ a["x"] * a["slope"]
                                                     - a["k"] * a["phi"]))
            ),
            {"W": ("h", "d"), "x": "d", "u": "h", "a": "h", "phi": "h", "slope": "h", "r": (),
             "k": ()},
        ),
        st.identity(
            "theta^T A_a theta = sum_j a_j (|w_j|^2 - k u_j^2), and the same for the noise",
            lambda a: (
                jnp.einsum("ji,j,ji->", a["W"], a["a"], a["W"])
                - a["k"] * jnp.einsum("j,j,j->", a["u"], a["a"], a["u"])
                - a["a"] @ (jnp.sum(a["W"] ** 2, axis=1) - a["k"] * a["u"] ** 2)
            ),
            {"W": ("h", "d"), "u": "h", "a": "h", "k": ()},
        ),
        from_statement("the charge law with A_a for every a, so for every neuron", "P1.3"),
        same(
            "G(lambda*) = 0 at lambda* = ln(s_w/(k s_u))/(2 (1 + k))",
            sympy.expand_log(sympy.log(plus * sympy.exp(-2 * best)), force=True),
            sympy.expand_log(sympy.log(k * minus * sympy.exp(2 * k * best)), force=True),
        ),
        *_half_space(),
        st.verify(*_symbolic()),
        *_squared_neuron(),
    ]  # fmt: skip
    return proof("charges of neurons", steps, claim().reference)


def _half_space() -> list[st.Verdict]:
    """ReLU at a minimum: E[r^2 phi'^2 |x|^2] and E[r^2 phi^2] over N(0, I_d), r = 2 eps."""
    noise, width, inner, outer, size = sympy.symbols("sigma2 d |w| |u| |v|", positive=True)
    h = sympy.Symbol("h", real=True)
    density = sympy.exp(-(h**2) / 2) / sympy.sqrt(2 * sympy.pi)
    over = lambda power, low, high: sympy.integrate(h**power * density, (h, low, high))
    whole, half = (over(0, low, sympy.oo) for low in (-sympy.oo, 0))
    square = over(2, 0, sympy.oo)
    # x = h w/|w| + the d - 1 coordinates across, each of mean square 1 and independent of h.
    across = (width - 1) * over(2, -sympy.oo, sympy.oo)
    of_inner = 4 * noise * outer**2 * (square + across * half)
    of_outer = 4 * noise * inner**2 * square
    balanced = {inner: sympy.sqrt(width) * outer}
    charge = (inner**2 - outer**2).subs(balanced)
    return [
        reads(
            "r = d l/d output = -2 eps at a minimum: E r^2 = 4 sigma^2",
            st.expectation(
                lambda z, c: jax.grad(lambda out: (out - c["v"] - z["e"]) ** 2)(c["v"]) ** 2,
                {"e": st.Normal((), cov="sigma2")}, {"v": ()},
            ),
            "4 * sigma2",
        ),
        textbook(
            "h = w.x/|w| and the coordinates of x across w are independent N(0, 1)",
            "rotations keep N(0, I_d)", given="x ~ N(0, I_d), eps independent of x",
        ),
        same("the density of h has mass 1", whole, 1),
        same("P(h > 0) = 1/2", half, sympy.Rational(1, 2)),
        same("E[h^2; h > 0] = 1/2", square, sympy.Rational(1, 2)),
        same("E[|x|^2; h > 0] = d/2: s_w = 4 sigma^2 u^2 d/2", of_inner,
             4 * noise * outer**2 * width / 2),
        same("E relu(w.x)^2 = |w|^2/2: s_u = 4 sigma^2 |w|^2/2", of_outer,
             4 * noise * inner**2 / 2),
        same("they are equal at |w|^2 = d u^2", (of_inner - of_outer).subs(balanced), 0),
        same(
            "so a neuron with |u| |w| = |v| ends at the charge |w|^2 - u^2 = |v| (d - 1)/sqrt(d)",
            charge.subs(outer, sympy.sqrt(size / sympy.sqrt(width))),
            size * (width - 1) / sympy.sqrt(width),
        ),
    ]  # fmt: skip


def _squared_neuron() -> list[st.Verdict]:
    """What the package derives for a neuron with the activation h^2, k = 2."""
    model = st.Model(
        lambda p, z: (p["u"] * (p["w"] * z["x"]) ** 2 - z["y"]) ** 2, {"u": (), "w": ()},
        {"x": st.Normal(()), "y": st.Normal(())}, name="squared neuron",
    )  # fmt: skip
    law: Any = st.derive(model, st.Exponential(lambda p: {"u": -2 * p["u"], "w": p["w"]}))
    names = Symbols(law.equilibrium.solution)
    plus, minus = names["s_+"], names["s_-"]
    # exp(6 lambda*) = s_+/(2 s_-) is where s_+ exp(-2 lambda) = 2 s_- exp(4 lambda).
    return [
        law.verdict,
        same("derive's lambda* at k = 2", sympy.exp(6 * law.equilibrium.solution),
             plus / (2 * minus)),
    ]  # fmt: skip


def _inner(a: Any) -> Any:
    """The gradient of the inner weights: r u_j phi'(h_j) x_i."""
    return a["r"] * jnp.einsum("j,j,i->ji", a["u"], a["slope"], a["x"])


def _symbolic() -> tuple[st.Model, st.Exponential]:
    example = st.zoo.load("relu-rescaling")
    return example.sized(h=3, dx=2), example.symmetries["neuron-rescaling"]


@functools.cache
def _observables(decay: float) -> Any:
    """Charges and steps of the neurons, for the degree that an activation claims to have."""
    charge = lambda p: jnp.sum(p["W"] ** 2, axis=1) - decay * p["u"] ** 2

    def form(params: Any, gradient: Any) -> Any:
        del params
        return charge(gradient)

    form.needs_gradient = True  # type: ignore[attr-defined]
    return {"charge": charge, "gradient_form": form, "size": size}


@measured
def _balanced(activation: Any, key: jax.Array, budget: Budget) -> st.Verdict:
    """Two neurons, unbalanced each in its own way: every step, and where SGD takes them."""
    keys = jax.random.split(key, 4)
    angle, length = uniform(keys[0], 0.0, 6.28), uniform(keys[1], 0.8, 1.2)
    teacher = length * np.array([math.cos(angle), math.sin(angle)])

    def loss(p: Any, z: Any) -> Any:
        return (
            p["u"] @ activation(p["W"] @ z["x"]) - jnp.asarray(teacher) @ z["x"] - z["eps"]
        ) ** 2

    random = {"x": st.Normal(2), "eps": st.Normal(())}
    model = st.Model(loss, {"W": (2, 2), "u": (2,)}, random, name="two neurons")
    # v.x = relu(v.x) - relu(-v.x): the only minimum up to rescaling the two neurons.
    flows = jax.random.uniform(keys[2], (2,), minval=0.2, maxval=0.5)
    moved = np.exp(np.asarray(flows) * np.array([1.0, -1.0])) * math.sqrt(length)
    inner = np.array([teacher, -teacher]) / length
    start = {"W": moved[:, None] * inner, "u": np.array([length, -length]) / moved}
    replicas, rate, line = 128, 0.025, []
    observe = _observables(1.0)
    # Slow time, in which a step is eta^2: most of it is left out, several relaxation times.
    least = int(1.5 / rate**2)
    steps = budget.steps(replicas, nanoseconds=250.0, share=0.3, most=5000, least=least)
    short = st.simulate(
        model, st.SGD(rate), params=start, steps=50, replicas=replicas, key=keys[3],
        observe=observe, record_every=1,
    )  # fmt: skip
    parts = [step_law(short)]
    for eta, count in ((rate, steps), (rate / 2, 4 * steps)):
        run = st.simulate(
            model, st.SGD(eta), params=start, steps=count, replicas=replicas, key=keys[3],
            observe=observe,
        )  # fmt: skip
        for neuron in range(2):
            at_rest(run.observables["charge"][..., neuron], 0.12 * length, 0.7)
        line.append((eta, tail(run, share=0.3)))
    first = [tuple(float(c) for c in np.asarray(_observables(1.0)["charge"](start)))]
    for neuron in range(2):
        points = [(eta, st.mean_over_replicas(ends[:, neuron])) for eta, ends in line]
        claim = (
            f"neuron {neuron + 1}, charge {first[0][neuron]:.2f} at first, ends at |v|(d - 1)/"
            "sqrt(d) as eta -> 0"
        )
        parts.append(tends_to(claim, length / math.sqrt(2), points, 0.12 * length))
    return proof("charges of two neurons under SGD", parts)


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _balanced(jax.nn.relu, key, budget)


def control() -> st.Verdict:
    """tanh is not homogeneous."""
    return _balanced(jnp.tanh, jax.random.key(1), Budget(1.0))


def twin() -> st.Verdict:
    """relu is homogeneous."""
    return _balanced(jax.nn.relu, jax.random.key(1), Budget(1.0))
