"""Homogeneity degrees: true scalings are accepted, false ones refused, shapes are those of JAX."""

import time
import tracemalloc
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symtheory.domains._degrees import DEGREE, Degrees, NotHomogeneousError, scaled
from symtheory.errors import UnreadableError
from symtheory.program import read_function
from tests.domains.catalogue import IRRATIONAL, RATIONAL, SMOOTH

relu = jax.nn.relu
MASK = np.tril(np.ones((3, 3), dtype=bool))


def degrees(function, *arguments):
    """Read a function of arrays, each given with its degrees (whole numbers)."""
    structures = [jax.ShapeDtypeStruct(np.shape(d), float) for d in arguments]
    inputs = [scaled(np.asarray(d) * DEGREE) for d in arguments]
    return read_function(function, structures, Degrees(), inputs)


def layer_norm(x):
    return (x - jnp.mean(x)) / jnp.sqrt(jnp.var(x))


ones, zeros = (lambda *shape: np.ones(shape, int)), (lambda *shape: np.zeros(shape, int))
neurons = np.array([1, 2, -3])  # one rate per neuron

INVARIANT = {
    "cosine": (lambda w, x: x @ w / jnp.linalg.norm(w), ones(3), zeros(3)),
    "rescaling": (lambda u, w, x: (u @ relu(w @ x)) ** 2, ones(3), -ones(3, 2), zeros(2)),
    "every neuron": (lambda u, w, x: jnp.tanh(u @ relu(w @ x)), neurons,
                     -np.stack([neurons] * 2, 1), zeros(2)),
    "cubic neurons": (lambda u, w, x: u @ relu(w @ x) ** 3, 3 * ones(3), -ones(3, 2), zeros(2)),
    "square root": (lambda u, w: u * jnp.sqrt(jnp.abs(w)), ones(2), -2 * ones(2)),
    "power 1.5": (lambda u, w: u * jnp.abs(w) ** 1.5, 3 * ones(2), -2 * ones(2)),
    "power 1/3": (lambda u, w: u * jnp.abs(w) ** (1 / 3), ones(2), -3 * ones(2)),
    "cube root": (lambda u, w: u * jnp.cbrt(w), ones(2), -3 * ones(2)),
    "leaky relu": (lambda u, w, x: u @ jax.nn.leaky_relu(w @ x), ones(3), -ones(3, 2), zeros(2)),
    "layer norm": (lambda w, x: layer_norm(w @ x), ones(3, 2), zeros(2)),
    "rows of a matrix": (lambda w, x: jax.vmap(layer_norm)(w) @ x,
                         np.stack([neurons] * 4, 1), zeros(4)),
    "attention": (lambda q, k, x: jax.nn.softmax(x @ q @ k.T @ x.T), ones(2, 2), -ones(2, 2),
                  zeros(3, 2)),
    "causal attention": (
        lambda q, k, x: jax.nn.softmax(jnp.where(MASK, x @ q @ k.T @ x.T, -jnp.inf)),
        ones(2, 2), -ones(2, 2), zeros(3, 2)),
    "softmax of invariants": (lambda w, x: jax.nn.softmax(x * w / jnp.max(jnp.abs(w))),
                              ones(3), zeros(3)),
    "where": (lambda a, b: jnp.where(a > b, a / b, b / a), ones(2), ones(2)),
    "sign": (lambda w: jnp.sign(w), ones(2)),
    "comparison": (lambda a, b: (a > 2 * b) * 1.0, ones(2), ones(2)),
    "masked entries": (lambda w, x: jnp.where(MASK, w, 0.0) @ x,
                       np.where(MASK, 0, 5), zeros(3)),
    "padded": (lambda w, v: jnp.pad(w, (1, 2)) @ v, ones(2), np.array([9, -1, -1, 9, 9])),
    "triangular": (lambda w: jnp.trace(jnp.tril(w) @ jnp.triu(w)), np.array([[0, 9], [-9, 0]])),
    "scan": (lambda w, x: jax.lax.scan(lambda c, r: (c * r, c), 1.0, w)[0] * x, np.array([1, -1]),
             zeros()),
    "scan outputs": (lambda w: jax.lax.scan(lambda c, r: (c * r, c / c), 1.0, w)[1], ones(3)),
    "fori": (lambda u, w: jax.lax.fori_loop(0, 3, lambda i, c: c * w, u), 3 * ones(), -ones()),
    "loss at a constant": (lambda w: jnp.cumsum(w) / jnp.sum(w), ones(3)),
    "product": (lambda w: jnp.prod(w), neurons),
    "add at": (lambda w: jnp.zeros(3).at[jnp.array([0, 0, 2])].add(w) / jnp.sum(w), ones(3)),
    "set": (lambda u, w: u.at[1].set(w) / w, ones(3), ones()),
    "gather": (lambda w: w[jnp.array([0, 2])] @ w[jnp.array([1, 1])], np.array([1, -1, 1])),
    "log of a ratio": (lambda a, b: jnp.log(a / b), ones(), ones()),
    "clipped ratio": (lambda a, b: jnp.clip(a / b, -1, 1), ones(2), ones(2)),
    "one hot": (lambda w: jax.nn.one_hot(1, 3) @ w / w[1], ones(3)),
    "einsum": (lambda a, b: jnp.einsum("bij,bjk->bik", a, b), ones(2, 2, 3), -ones(2, 3, 2)),
    "row and column rates": (
        lambda a, b, c: a @ b * c, neurons[:, None] + np.array([1, 5]),
        np.array([[-1], [-5]]) + np.array([[2, 0]]), -neurons[:, None] - np.array([2, 0])),
}  # fmt: skip


@pytest.mark.parametrize("name", INVARIANT)
def test_true_scalings_are_accepted(name):
    function, *arguments = INVARIANT[name]
    out = degrees(function, *arguments)
    assert out.is_invariant
    shape = jax.eval_shape(function, *(np.ones(np.shape(d)) for d in arguments)).shape
    assert out.degrees.shape == out.free.shape == shape


REFUSED = {
    "bias": (lambda u, w, b, x: u @ relu(w @ x + b), ones(3), -ones(3, 2), zeros(3), zeros(2)),
    "tanh": (lambda u, w, x: u @ jnp.tanh(w @ x), ones(3), -ones(3, 2), zeros(2)),
    "one neuron out of step": (lambda u, w, x: u @ relu(w @ x), neurons, -ones(3, 2), zeros(2)),
    "within a neuron": (lambda w, x: w @ x, np.array([[1, 0]]), zeros(2)),
    "sum of different": (lambda a, b: a + b, ones(), -ones()),
    "compared with a number": (lambda a: jnp.where(a > 1, 1.0, 2.0), ones()),
    "softplus": (lambda a: jax.nn.softplus(a), ones()),
    "layer norm with eps": (lambda x: x / jnp.sqrt(jnp.mean(x**2) + 1e-5), ones(3)),
    "log": (lambda a: jnp.log(a), ones()),
    "power of a parameter": (lambda a, b: a**b, ones(), zeros()),
    "max with a number": (lambda a: jnp.maximum(a, 1.0), ones()),
    "clip": (lambda a: jnp.clip(a, -1, 1), ones()),
    "cumsum": (lambda a: jnp.cumsum(a), np.array([0, 1])),
    "add at": (lambda a: jnp.zeros(2).at[jnp.array([0, 0])].add(a), np.array([0, 1])),
    "masked, wrongly": (lambda w, x: jnp.where(MASK, w, 0.0) @ x, np.where(MASK, 5, 0),
                        np.array([0, 1, 0])),
    "sigmoid": (lambda a: jax.nn.sigmoid(a), ones()),
    "dense, one entry off": (lambda a, b: a @ b, np.eye(3, dtype=int)[:2], zeros(3, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_false_scalings_are_refused(name):
    function, *arguments = REFUSED[name]
    with pytest.raises(NotHomogeneousError):
        degrees(function, *arguments)


@pytest.mark.parametrize(
    ("function", "degree"),
    [
        (lambda w: jnp.sum(w**2), 2),
        (lambda w: 1 / jnp.sum(w), -1),
        (lambda w: jnp.linalg.norm(w), 1),
        (lambda w: jnp.sqrt(jnp.sqrt(jnp.max(w))), Fraction(1, 4)),
        (lambda w: jnp.sum(jnp.abs(w) ** 1.5), Fraction(3, 2)),
    ],
)
def test_degrees_that_are_not_zero(function, degree):
    out = degrees(function, ones(3))
    assert out.degrees == degree * DEGREE and not out.is_invariant


def test_too_fine_a_degree_is_an_error():
    with pytest.raises(UnreadableError, match="finest"):
        degrees(lambda w: jnp.abs(w) ** (1 / 7), ones())


@pytest.mark.parametrize("name", [*RATIONAL, *IRRATIONAL, *SMOOTH])
def test_everything_is_invariant_if_nothing_scales(name):
    """Every primitive has a rule, and its shapes are those of JAX."""
    function, shapes = (RATIONAL | IRRATIONAL | SMOOTH)[name]
    out = degrees(function, *(zeros(*shape) for shape in shapes))
    structures = [jax.ShapeDtypeStruct(shape, float) for shape in shapes]
    expected = jax.eval_shape(function, *structures).shape
    if not isinstance(out, np.ndarray):
        assert out.is_invariant
        assert out.degrees.shape == expected


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-2, 2), min_size=4, max_size=4),
    st.lists(st.integers(-2, 2), min_size=6, max_size=6),
    st.integers(0, 3),
)
def test_products_against_term_by_term(rows, entries, holes):
    """What is accepted scales as claimed: checked on numbers."""
    a = np.array(rows).reshape(2, 2)
    b = np.array(entries).reshape(2, 3)
    rng = np.random.default_rng(holes)
    keep = rng.random((2, 2)) > holes / 4
    x, y = rng.standard_normal((2, 2)) * keep, rng.standard_normal((2, 3))
    function = lambda u, v: jnp.where(keep, u, 0.0) @ v
    try:
        out = degrees(function, a, b)
    except NotHomogeneousError:
        terms = [
            {int(a[i, k] + b[k, j]) for k in range(2) if keep[i, k]}
            for i in range(2)
            for j in range(3)
        ]
        assert any(len(found) > 1 for found in terms)
        return
    got = function(2.0**a * x, 2.0**b * y)
    factor = np.where(out.free, 1.0, 2.0 ** (out.degrees / DEGREE))
    np.testing.assert_allclose(got, factor * function(x, y), rtol=1e-12)


def test_a_large_network_is_fast_and_small():

    def loss(ws, x, y):
        for w in ws[:-1]:
            x = relu(w @ x)
        return jnp.sum((ws[-1] @ x - y) ** 2)

    structure = lambda d: jax.ShapeDtypeStruct(np.shape(d), float)
    # about 10^5 parameters
    arguments = [[ones(300, 200), -ones(130, 300), zeros(10, 130)], zeros(200), zeros(10)]
    structures = jax.tree.map(structure, arguments)
    inputs = jax.tree.map(lambda d: scaled(d * DEGREE), arguments)
    tracemalloc.start()
    start = time.perf_counter()
    out = read_function(loss, structures, Degrees(), inputs)
    seconds = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert out.is_invariant and seconds < 2 and peak < 50e6
    batch = lambda ws, xs, ys: jnp.mean(jax.vmap(lambda x, y: loss(ws, x, y))(xs, ys))
    arguments = [arguments[0], zeros(64, 200), zeros(64, 10)]
    inputs = jax.tree.map(lambda d: scaled(d * DEGREE), arguments)
    start = time.perf_counter()
    out = read_function(batch, jax.tree.map(structure, arguments), Degrees(), inputs)
    assert out.is_invariant and time.perf_counter() - start < 2
