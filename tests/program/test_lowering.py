"""Lowered programs, evaluated in floats, against JAX: values, derivatives and many spellings."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.errors import UnreadableError
from symtheory.program import evaluate, lower, trace
from tests.domains.catalogue import IRRATIONAL, RATIONAL, SMOOTH
from tests.program.floats import Floats, by_jax
from tests.program.structured import CASES

EVERYTHING = {name: pair for name, pair in (RATIONAL | SMOOTH | CASES).items()}
POSITIVE = IRRATIONAL
# By JAX itself; the derivative of a window reduction from a number is one over pairs.
NOT_DIFFERENTIATED = {"multiply twice", "sum pool from a number", "product pool from a number"}


def points(name, shapes, positive=False):
    """Distinct sixteenths away from zero: no ties, and far from steps."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    out = []
    for shape in shapes:
        size = int(np.prod(shape, dtype=int))
        values = (rng.choice(np.arange(2, max(64, 2 * size + 4)), size, replace=False) + 0.25) / 40
        signs = 1 if positive else rng.choice([-1, 1], size)
        out.append((values * signs).reshape(shape))
    return out


def traced(function, arrays):
    return trace(function, *[jax.ShapeDtypeStruct(x.shape, np.float64) for x in arrays])[0]


def lowered(function, arrays):
    return evaluate(lower(traced(function, arrays)), Floats(), list(arrays))


def agree(function, arrays):
    closed = traced(function, arrays)
    want = by_jax(closed, arrays)
    have = evaluate(lower(closed), Floats(), list(arrays))
    assert len(want) == len(have)
    for a, b in zip(have, want, strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(np.asarray(a, dtype=float), b, rtol=2e-9, atol=2e-10)


def summed(function):
    """A number that depends on every entry of every result."""

    def total(*xs):
        leaves = jax.tree.leaves(function(*xs))
        weights = [1 + jnp.arange(x.size).reshape(x.shape) % 3 for x in leaves]
        return sum(jnp.sum(w * x**2 + x) for w, x in zip(weights, leaves, strict=True))

    return total


@pytest.mark.parametrize("name", EVERYTHING)
def test_values(name):
    function, shapes = EVERYTHING[name]
    agree(function, points(name, shapes))


@pytest.mark.parametrize("name", POSITIVE)
def test_values_of_positive_entries(name):
    function, shapes = POSITIVE[name]
    agree(function, points(name, shapes, positive=True))


@pytest.mark.parametrize("name", sorted(EVERYTHING.keys() - NOT_DIFFERENTIATED))
def test_gradients(name):
    function, shapes = EVERYTHING[name]
    agree(jax.grad(summed(function), argnums=tuple(range(len(shapes)))), points(name, shapes))


@pytest.mark.parametrize("name", sorted(CASES.keys() - NOT_DIFFERENTIATED))
def test_derivatives_along_a_direction(name):
    function, shapes = CASES[name]
    xs = points(name, shapes)
    tangents = points(name + "!", shapes)
    agree(lambda *xs: jax.jvp(function, xs, tuple(tangents))[1], xs)


@pytest.mark.parametrize("name", CASES)
def test_under_vmap(name):
    function, shapes = CASES[name]
    rows = [points(f"{name}{k}", shapes) for k in range(2)]
    stacked = [np.stack(column) for column in zip(*rows, strict=True)]
    try:
        agree(jax.vmap(function), stacked)
    except UnreadableError as error:  # a branch or a window chosen for each row
        pytest.fail(str(error))


@pytest.mark.parametrize("name", CASES)
def test_other_orders_of_memory(name):
    function, shapes = CASES[name]
    xs = points(name, shapes)
    strided = []
    for x in xs:
        room = np.full([2 * n for n in x.shape], np.nan)
        view = room[(..., *(slice(None, None, 2) for _ in x.shape))]
        view[...] = x
        strided.append(view)
    want = lowered(function, xs)
    for arrays in ([x if x.ndim < 2 else np.asfortranarray(x) for x in xs], strided):
        for a, b in zip(lowered(function, arrays), want, strict=True):
            np.testing.assert_allclose(
                np.asarray(a, dtype=float), np.asarray(b, dtype=float), rtol=1e-13, atol=1e-14
            )


SHAPELESS = {
    "sum": lambda x: jnp.sum(x, 0),
    "product": lambda x: x * x + 1,
    "contraction": lambda x: x @ x.T,
    "tanh": jnp.tanh,
    "cumsum": lambda x: jnp.cumsum(x, 0),
    "sort": lambda x: jnp.sort(x, 0),
    "concatenate": lambda x: jnp.concatenate([x, 2 * x], 1),
    "transpose": lambda x: x.T * 2,
    "where": lambda x: jnp.where(x > 0, x, -x),
    "relu": jax.nn.relu,
    "set": lambda x: x.at[:1].set(0.5),
    "pad": lambda x: jnp.pad(x, 1),
    "mean": lambda x: jnp.sum(x) / 3,
    "scan": lambda x: jax.lax.scan(lambda c, r: (c + r, c * r), jnp.zeros(x.shape[1]), x)[1],
}


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 1), (0, 2), (2, 0), (0, 0)])
@pytest.mark.parametrize("name", SHAPELESS)
def test_axes_of_length_one_and_zero(name, shape):
    function = SHAPELESS[name]
    x = np.arange(1.0, 1 + np.prod(shape)).reshape(shape) - 1.5
    agree(function, [x])
    agree(lambda x: jax.grad(summed(function))(x), [x])


def test_an_unreadable_primitive_is_named_with_its_line():
    with pytest.raises(
        UnreadableError, match=r"'bessel_i0e'.*write the loss.*test_lowering.py:\d+"
    ):
        lowered(lambda x: jax.scipy.special.i0e(x), [np.ones(2)])


def test_random_numbers_drawn_inside_are_refused():
    def noisy(x):
        return x * jax.random.normal(jax.random.key(0), x.shape)

    with pytest.raises(UnreadableError, match="random numbers"):
        lowered(noisy, [np.ones(2)])


def test_a_loop_that_depends_on_values_is_refused():
    with pytest.raises(UnreadableError, match="while loop whose condition"):
        lowered(lambda x: jax.lax.while_loop(lambda c: c < 3, lambda c: 2 * c, x), [np.ones(())])


def test_broadcast_operands():
    function = lambda x, y: x[:, None] * y[None, :] + jnp.maximum(x[:, None], y)
    agree(function, [np.array([1.0, -2.0]), np.array([0.5, 3.0, -1.0])])


@pytest.mark.parametrize(
    "join", [lambda a, b: a + a, lambda a, b: a + 1.0, lambda a, b: b, lambda a, b: a + b + b]
)
def test_a_reduction_by_a_function_of_its_own_is_refused(join):
    for function in (
        lambda x: jax.lax.reduce(x, 0.0, join, (0,)),
        lambda x: jax.lax.reduce_window(x, 0.0, join, (2,), (1,), "VALID"),
    ):
        with pytest.raises(UnreadableError, match="function of its own"):
            lowered(function, [np.array([1.0, 2.0, 4.0])])
