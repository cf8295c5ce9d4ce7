"""A claim about the gradient that JAX takes, proved for the value (or the other way round)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import (
    ask,
    change,
    conservation_laws,
    discover,
    generator_matrix,
    is_proved,
    moved,
    verify,
)

RESCALING = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")


def test_case_stop_gradient_discover_vs_verify():
    loss = lambda p, z: (p["u"] * jax.lax.stop_gradient(p["w"]) - z["y"]) ** 2
    model = st.Model(loss, {"u": (), "w": ()}, {"y": st.Normal(())})
    p = {"u": 2.0, "w": 3.0}
    d = jax.grad(loss)(p, {"y": 1.0})
    assert abs(d["u"] * p["u"] - d["w"] * p["w"]) > 1
    found = discover(model)
    for g in found.generators if found is not None else ():
        about_gradient = "grad" in g.verdict.claim
        assert not (about_gradient and g.verdict.status is st.Status.PROVED)
    assert not is_proved(verify(model, RESCALING))


def test_case_custom_vjp_loop():
    @jax.custom_vjp
    def root(a):
        body = lambda x: 0.5 * (x + a / x)
        return jax.lax.while_loop(lambda x: jnp.abs(x * x - a) > 1e-12, body, a)

    root.defvjp(lambda a: (root(a), root(a)), lambda x, g: (g / (2 * x),))
    loss = lambda p, z: (root((p["u"] * p["w"]) ** 2 + 1) - z["y"]) ** 2
    model = st.Model(loss, {"u": (), "w": ()}, {"y": st.Normal(())})
    found = discover(model)  # an answer, or a refusal in one sentence
    assert found is None or found.status is st.Status.INCONCLUSIVE or found.total == 1


# --- derivatives that are not those of the value ---


def _with_gradient(value, gradient):
    """Return a function of one number with the given value and the given derivative."""

    @jax.custom_vjp
    def f(x):
        return value(x)

    f.defvjp(lambda x: (value(x), x), lambda x, g: (g * gradient(x),))
    return f


def _with_jvp(value, gradient):
    @jax.custom_jvp
    def f(x):
        return value(x)

    f.defjvp(lambda primals, tangents: (value(primals[0]), gradient(primals[0]) * tangents[0]))
    return f


stop = jax.lax.stop_gradient
ident = lambda x: x
# The losses are functions of u w alone, so the rescaling (u, -w) leaves the value. Whether it
# leaves grad l . A theta at 0 depends on what is done to the gradient; evaluated in the test.
LOSSES = {
    "plain": lambda u, w, y: (u * w - y) ** 2,
    "stop_one": lambda u, w, y: (u * stop(w) - y) ** 2,
    "stop_other": lambda u, w, y: (stop(u) * w - y) ** 2,
    "stop_product": lambda u, w, y: (stop(u * w) - y) ** 2,
    "stop_target": lambda u, w, y: (u * w - stop(u * w) + y) ** 2,
    "stop_part": lambda u, w, y: (u * w - y) ** 2 + stop(u * w) * u * w,
    "stop_ratio": lambda u, w, y: (u * w - y) ** 2 * (u / stop(u)),
    "stop_sum": lambda u, w, y: (u * w + u - stop(u) - y) ** 2,
    "straight_through": lambda u, w, y: (u + stop(jnp.round(u) - u) - y) ** 2 + 0 * w,
    "straight_through_product": lambda u, w, y: (u * w + stop(jnp.round(u * w) - u * w) - y) ** 2,
    "scaled_one": lambda u, w, y: (_with_gradient(ident, lambda x: 2.0)(u) * w - y) ** 2,
    "scaled_jvp_one": lambda u, w, y: (_with_jvp(ident, lambda x: 2.0)(u) * w - y) ** 2,
    "scaled_product": lambda u, w, y: (_with_gradient(ident, lambda x: 2.0)(u * w) - y) ** 2,
    "reversed_one": lambda u, w, y: (_with_gradient(ident, lambda x: -1.0)(u) * w - y) ** 2,
    "reversed_product": lambda u, w, y: (_with_jvp(ident, lambda x: -1.0)(u * w) - y) ** 2,
    "zeroed_one": lambda u, w, y: (_with_gradient(ident, lambda x: 0.0 * x)(w) * u - y) ** 2,
    "clipped_one": lambda u, w, y: (
        (_with_gradient(ident, lambda x: jnp.where(jnp.abs(x) > 30, 0.0, 1.0))(w) * u - y) ** 2
    ),
    "surrogate_product": lambda u, w, y: (
        (_with_gradient(lambda x: (x > 0).astype(float), lambda x: jax.nn.sigmoid(x))(u * w) - y)
        ** 2
    ),
    "surrogate_one": lambda u, w, y: (
        (_with_gradient(lambda x: x / jnp.abs(x), lambda x: jax.nn.sigmoid(x))(u) * jnp.sign(w) - y)
        ** 2
    ),
    "checkpoint": lambda u, w, y: (jax.checkpoint(lambda a, b: a * b)(u, w) - y) ** 2,
    "jit": lambda u, w, y: (jax.jit(lambda a, b: a * b)(u, w) - y) ** 2,
    "where_both": lambda u, w, y: jnp.where(u > 0, (u * w - y) ** 2, (w * u - y) ** 2),
    "logsumexp": lambda u, w, y: jax.nn.logsumexp(jnp.stack([u * w, y])),
    "in_scan": lambda u, w, y: (
        (jax.lax.scan(lambda c, _: (c * stop(w), None), u, None, length=1)[0] - y) ** 2
    ),
    "in_cond": lambda u, w, y: (jax.lax.cond(y > 0, lambda: u * w, lambda: u * stop(w)) - y) ** 2,
    "in_jit": lambda u, w, y: (jax.jit(lambda a, b: a * stop(b))(u, w) - y) ** 2,
    "in_vmap": lambda u, w, y: (jax.vmap(lambda a: a * stop(w))(u[None])[0] - y) ** 2,
}


@functools.cache
def two(name):
    f = LOSSES[name]
    return st.Model(
        lambda p, z: f(p["u"], p["w"], z["y"]), {"u": (), "w": ()}, {"y": st.Normal(())}
    )


def drift(model, matrix, points):
    """Return the largest |grad l . (A theta + b)| relative to |grad l| |A theta + b|."""
    out = 0.0
    for params, sample in points:
        params = jax.tree.map(jnp.asarray, params)
        gradient = jax.grad(model.loss)(params, sample)
        flat = np.array([float(params[k]) for k in sorted(params)] + [1.0])
        tangent = (matrix @ flat)[:-1]
        g = np.array([float(gradient[k]) for k in sorted(gradient)])
        size = np.linalg.norm(g) * np.linalg.norm(tangent)
        out = max(out, abs(g @ tangent) / size if size > 0 else 0.0)
    return out


POINTS = [
    ({"u": np.array(u), "w": np.array(w)}, {"y": y})
    for u, w in ((0.7, -1.3), (2.2, 0.4), (-1.1, -0.9), (0.05, 45.0), (40.0, 33.0))
    for y in (0.3, -1.2)
]
A = np.diag([1.0, -1.0, 0.0])


@pytest.mark.parametrize("name", LOSSES)
def test_verify_speaks_of_the_gradient_that_jax_takes(name):
    model = two(name)
    right = drift(model, A, POINTS) < 1e-9
    verdict = verify(model, RESCALING)
    if not right and "grad l" in getattr(verdict, "claim", ""):
        assert not is_proved(verdict)
    values = [change(model.loss, p, moved(p, A, 0.3), z) for p, z in POINTS]
    if right and max(values) < 1e-9:
        assert verdict is None or verdict.status is not st.Status.REFUTED


@pytest.mark.parametrize("name", LOSSES)
def test_discover_speaks_of_the_gradient_that_jax_takes(name):
    model = two(name)
    found = discover(model)
    for item in (*found.generators, *found.translations) if found is not None else ():
        if item.verdict.status is st.Status.PROVED and "grad l" in item.verdict.claim:
            assert drift(model, generator_matrix(item, 2), POINTS) < 1e-9, item.name


@pytest.mark.parametrize("name", LOSSES)
def test_derive_speaks_of_the_gradient_that_jax_takes(name):
    # The charge law is about SGD, whose steps are what JAX differentiates.
    model = two(name)
    law = ask(st.derive, model, RESCALING)
    if drift(model, A, POINTS) > 1e-9:
        assert not is_proved(law)


@pytest.mark.parametrize("name", LOSSES)
def test_conservation_laws_of_the_gradient_that_jax_takes(name):
    # Two parameters: u^2 - w^2 is conserved where grad l . A theta = 0; gradients along one
    # direction field only leave some law in any case, so the number is compared.
    model = two(name)
    laws = conservation_laws(model)
    if not is_proved(laws) or any("derivative of the loss" in a for a in laws.verdict.assumptions):
        return
    gradients = []
    p, _ = POINTS[0]
    for y in np.linspace(-2, 2, 9):
        g = jax.grad(model.loss)(jax.tree.map(jnp.asarray, p), {"y": y})
        gradients.append([float(g["u"]), float(g["w"])])
    rank = np.linalg.matrix_rank(np.array(gradients), tol=1e-9)
    assert laws.upper <= 2 - rank


@pytest.mark.parametrize("name", ["plain", "checkpoint", "jit", "where_both", "logsumexp"])
def test_functions_of_jax_itself_are_followed(name):
    found = discover(two(name))
    assert found is not None and (found.total, str(found.status)) == (1, "proved")
