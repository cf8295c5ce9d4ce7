"""Residues and enclosures against exact fractions, precise balls and JAX, on the catalogue."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb

from symtheory.domains import Balls, UndecidedError, ball, precision
from symtheory.domains._arrays import ArrayDomain
from symtheory.domains._numbers import from_fractions
from symtheory.domains._residues import Residues
from symtheory.errors import UnreadableError
from symtheory.linear_algebra._modular import PRIME, residue
from symtheory.program import evaluate, lower, trace
from tests.domains.catalogue import IRRATIONAL, RATIONAL, SMOOTH
from tests.program.floats import by_jax

CATALOGUE = {**RATIONAL, **IRRATIONAL, **SMOOTH}
POINTS = 3


class Fractions(ArrayDomain):
    """The oracle: fractions, and comparisons of fractions. Whatever else is refused."""

    name = "fractions"

    def functions(self):
        return {
            "max": max,
            "min": min,
            "abs": abs,
            "sign": lambda x: Fraction((x > 0) - (x < 0)),
            "gt": lambda a, b: a > b,
            "eq": lambda a, b: a == b,
            "select": lambda c, no, yes: yes if c else no,
            "floor": lambda x: Fraction(math.floor(x)),
            "ceil": lambda x: Fraction(math.ceil(x)),
            "round": lambda x: Fraction(round(x)),
            "trunc": lambda x: Fraction(math.trunc(x)),
        }


def draw(shapes, positive, points=POINTS):
    """Fractions k/32, as points along a first axis; none of them is zero."""
    rng = np.random.default_rng(1)
    out = []
    for shape in shapes:
        k = rng.integers(1, 61, (points, *shape))
        k *= 1 if positive else rng.choice([-1, 1], k.shape)
        array = np.empty(k.shape, dtype=object)
        for index, number in np.ndenumerate(k):
            array[index] = Fraction(int(number), 32)
        out.append(array)
    return out


def slope(function, count):
    """The gradient of a combination of all entries with different weights."""

    def total(*xs):
        leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(function(*xs))]
        flat = jnp.concatenate([leaf.astype(float) for leaf in leaves])
        return flat @ (1.0 + jnp.arange(flat.size))

    return jax.grad(total, argnums=tuple(range(count)))


def struct(array):
    return jax.ShapeDtypeStruct(array.shape, float)


def check(function, fractions, layout=lambda x: x):
    """Compare one evaluation with all oracles that can read it."""
    closed, _ = trace(function, *map(struct, fractions))
    program = lower(closed)
    inputs = [from_fractions(x, varies=True).map(lambda a: layout(np.array(a))) for x in fractions]
    domain = Residues()
    outputs = [domain.lift(x) for x in evaluate(program, domain, inputs)]
    truth = by_jax(closed, [x.astype(float) for x in fractions])
    for out, expected in zip(outputs, truth, strict=True):
        expected = np.asarray(expected, dtype=float)
        assert out.shape == expected.shape
        known = np.isfinite(out.errors)
        assert known.mean() > 0.6 if known.size else True
        slack = 1e-9 * (1 + np.abs(expected[known]))
        assert np.all(np.abs(out.values[known] - expected[known]) <= out.errors[known] + slack)
        assert np.all(out.errors[known] < 1e-9 * (1 + np.abs(out.values[known])))
    assert_exact(program, fractions, outputs)
    return outputs


def assert_exact(program, fractions, outputs):
    """Residues are those of the fractions; the enclosures contain them, or the balls."""
    try:
        exact = [np.asarray(x) for x in evaluate(program, Fractions(), fractions)]
    except (UnreadableError, TypeError):
        balls(program, fractions, outputs)
        return
    for out, expected in zip(outputs, exact, strict=True):
        for k, number in enumerate(expected.reshape(-1)):
            error, number = out.errors.reshape(-1)[k], Fraction(number)
            if math.isinf(error):
                continue
            assert abs(Fraction(out.values.reshape(-1)[k]) - number) <= Fraction(error)
            if out.residues is not None:
                assert out.residues.reshape(-1)[k] == residue(number)


def balls(program, fractions, outputs):
    boxed = np.frompyfunc(ball, 1, 1)
    with precision(200):
        try:
            exact = evaluate(program, Balls(), [boxed(x) for x in fractions])
        except (UndecidedError, UnreadableError):
            return
        for out, expected in zip(outputs, exact, strict=True):
            for k, number in enumerate(np.asarray(expected).reshape(-1)):
                error = float(out.errors.reshape(-1)[k])
                if math.isfinite(error):
                    distance = abs(arb(number) - arb(float(out.values.reshape(-1)[k])))
                    assert distance.lower() <= error


@pytest.mark.parametrize("name", CATALOGUE)
def test_values(name):
    function, shapes = CATALOGUE[name]
    points = draw(shapes, name in IRRATIONAL)
    check(function, [np.asarray(x[0]) for x in points])
    check(jax.vmap(function), points)


@pytest.mark.parametrize("name", CATALOGUE)
def test_gradients(name):
    function, shapes = CATALOGUE[name]
    check(jax.vmap(slope(function, len(shapes))), draw(shapes, name in IRRATIONAL))


LAYOUTS = {
    "transposed memory": np.asfortranarray,
    "every other entry": lambda x: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "read only": lambda x: np.broadcast_to(x, x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["set rows", "add at", "einsum batch", "masked attention", "max"])
def test_memory(name, layout):
    function, shapes = CATALOGUE[name]
    points = draw(shapes, False)
    check(jax.vmap(function), points, LAYOUTS[layout])
    check(jax.vmap(slope(function, len(shapes))), points, LAYOUTS[layout])


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize(
    "name", ["matmul", "sum", "softmax", "relu", "cumsum", "concatenate", "sort", "tanh"]
)
def test_axes_of_size_zero_and_one(name, size):
    function, shapes = {
        "matmul": (lambda a, b: a @ b, [(size, 2), (2, size)]),
        "sum": (lambda a: jnp.sum(a, axis=1), [(2, size)]),
        "softmax": (lambda a: jax.nn.softmax(a, axis=0), [(2, size)]),
        "relu": (jax.nn.relu, [(size, 2)]),
        "cumsum": (lambda a: jnp.cumsum(a, axis=1), [(2, size)]),
        "concatenate": (lambda a, b: jnp.concatenate([a, b]), [(size,), (2,)]),
        "sort": (jnp.sort, [(size,)]),
        "tanh": (jnp.tanh, [(2, size)]),
    }[name]
    check(function, [np.asarray(x[0]) for x in draw(shapes, False)])
    check(jax.vmap(function), draw(shapes, False))
    if all(math.prod(shape) for shape in shapes):
        check(jax.vmap(slope(function, len(shapes))), draw(shapes, False, points=1))


def test_broadcast_operands():
    # A point that is the same everywhere is a view of one row.
    function, shapes = RATIONAL["set rows"]
    points = [np.broadcast_to(x[:1], x.shape) for x in draw(shapes, False)]
    check(jax.vmap(function), points)


EXTRA = {
    "sort": (jnp.sort, [(4,)]),
    "argsort": (lambda a: a[jnp.argsort(a)] ** 2, [(4,)]),
    "top two": (lambda a: jax.lax.top_k(a, 2)[0], [(4,)]),
    "largest": (lambda a: jnp.take(a, jnp.argmax(a) + jnp.arange(0, 1), mode="clip"), [(4,)]),
    "steps": (lambda a: a * jnp.floor(a) + jnp.ceil(a) * jnp.round(a), [(4,)]),
    "counted": (lambda a: a * a.astype(int), [(4,)]),
    "median": (jnp.median, [(5,)]),
    "pool": (lambda a: jax.lax.reduce_window(a, -jnp.inf, jax.lax.max, (2, 2), (1, 1), "SAME"),
             [(3, 3)]),
    "convolution": (lambda a, k: jax.lax.conv(a[None, None], k[None, None], (1, 1), "SAME")[0, 0],
                    [(3, 3), (2, 2)]),
    "relu by maximum": (lambda a, w: jnp.maximum(w @ jnp.maximum(a, 0), 0), [(3,), (2, 3)]),
    "ties of zeros": (lambda a: jnp.max(jax.nn.relu(a) * (jax.nn.relu(a) > 0)) * a, [(3,)]),
    "both signs": (
        lambda a: jnp.where(jnp.any(jnp.stack([(h := jax.nn.relu(a)) > 0, h < 0]), 0), a, 0.0),
        [(3,)],
    ),
    "erf and gamma": (lambda a: jax.lax.erf(a) + jax.lax.lgamma(a * a + 1), [(2,)]),
    "two arguments": (lambda a, b: jnp.arctan2(a, b) + jnp.abs(a) ** b, [(3,), (3,)]),
}  # fmt: skip


@pytest.mark.parametrize("name", EXTRA)
def test_order_and_functions(name):
    function, shapes = EXTRA[name]
    check(jax.vmap(function), draw(shapes, False))
    if name != "counted":
        check(jax.vmap(slope(function, len(shapes))), draw(shapes, False))


# --- what is unknown ---------------------------------------------------------------------------


def read(function, *arrays, varies=True, **options):
    inputs = [from_fractions(np.asarray(x), varies=varies) for x in arrays]
    closed, _ = trace(function, *(jax.ShapeDtypeStruct(np.shape(x), float) for x in arrays))
    domain = Residues(**options)
    [out] = evaluate(lower(closed), domain, inputs)
    return out


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x * 1e-200) * (x * 1e-200) > 0,
        lambda x: (x * 1e-200) ** 2 > 0,
        lambda x: (x * 1e-200) @ (x * 1e-200) > 0,
        lambda x: x * 1e-160 * 1e-160 * 1e-160 > 0,
        lambda x: 1e-200 / (x * 1e200) > 0,
        lambda x: (x + 1e-20) - x > 0,
        lambda x: (x * 1e300 + 1) - x * 1e300 > 0,
        lambda x: jnp.sqrt(x * 1e-200 * 1e-200) > 0,
        lambda x: jnp.exp(-1e4 * x) > 0,
        lambda x: 1 - jnp.tanh(50 * x) > 0,
        lambda x: jnp.sum(x * 1e-200 * jnp.full(3, 1e-200)) > 0,
        lambda x: jnp.prod(jnp.stack([x * 1e-200, x * 1e-200])) > 0,
    ],
)
def test_what_is_lost_in_floats_is_open(function):
    # Each of them is true for x = 3: certain and true, or open.
    out = read(lambda x: function(x).astype(float).sum(), [3])
    assert not (out.errors == 0 and out.values != 1)


def test_overflow_is_unknown():
    large = lambda x: jnp.stack([x * 1e200 * 1e200, x * 1e308 + x * 1e308, -((x * 1e200) ** 2)])
    out = read(large, 5)
    assert np.all(np.isinf(out.errors))
    out = read(lambda x: x * 1e200 * 1e200 > jnp.inf, 5)
    assert np.isinf(out.errors)


def test_infinite_constants_are_numbers():
    out = read(lambda x: jnp.stack([jnp.maximum(x, -jnp.inf), jnp.exp(x - jnp.inf), x]), 5)
    assert out.values.tolist() == [5, 0, 5] and not out.errors.any()
    out = read(lambda x: jnp.stack([0 * (x - jnp.inf), (x + jnp.inf) - (x + jnp.inf)]), 5)
    assert np.all(np.isinf(out.errors))
    out = read(lambda x: 1 / (jnp.inf + x) + x, 5)
    assert out.residues == 5 and out.values == 5 and out.errors < 1e-14


def test_constants_mean_rationals():
    # 0.1 + 0.2 and 0.3 are equal rationals whose floats differ; 1/10 is no float.
    out = read(lambda x: x * jnp.asarray([0.1, 1 / 3, 1e-30, 0.5]), 1)
    for k, number in enumerate([Fraction(1, 10), Fraction(1, 3), Fraction(1, 10**30)]):
        assert out.residues[k] == residue(number)
        assert abs(Fraction(out.values[k]) - number) <= Fraction(out.errors[k])
    out = read(lambda x: (x * 0 + 0.1) + 0.2 > 0.3, 1)
    assert np.isinf(out.errors)


def test_a_tie_of_two_functions_is_an_accident():
    out = read(lambda x: jnp.where(x[0] > x[1], x[0] * 2, x[1]), [2, 2])
    assert np.isinf(out.errors)
    out = read(lambda x: jnp.maximum(x[0], x[1]), [2, 2])  # whichever is taken
    assert out.values == 2 and out.errors == 0 and out.residues == 2
    out = read(jax.grad(lambda x: jnp.maximum(x[0], x[1])), [2, 2])
    assert np.all(np.isinf(out.errors))
    out = read(lambda x: jnp.where(x == 2, 7.0, x), 2)
    assert np.isinf(out.errors)


def test_copies_and_constants_tie_for_certain():
    out = read(jax.grad(lambda x: jnp.max(x * x / 3)), [1, 3, 2])
    assert np.all(np.isfinite(out.errors)) and np.count_nonzero(out.values) == 1
    out = read(lambda x: jnp.where(jax.nn.relu(x) > 0, 1.0, jax.nn.relu(x) + 5), [-1, 2])
    assert out.values.tolist() == [5, 1] and np.all(np.isfinite(out.errors))
    out = read(lambda z: jnp.where(z >= 2, z * z, 0.0), [1, 2, 3], varies=False)
    assert out.values.tolist() == [0, 4, 9] and not out.errors.any()


def test_a_decided_part_decides():
    x = [2, 2]  # x[0] > x[1] is open
    out = read(lambda x: jnp.where((x[0] > x[1]) & (x[0] > 5), 1.0, 3.0), x)
    assert out.values == 3 and out.errors == 0
    out = read(lambda x: jnp.where((x[0] > x[1]) | (x[0] > 1), 1.0, 3.0), x)
    assert out.values == 1 and out.errors == 0
    out = read(lambda x: jnp.where((x[0] > x[1]) | (x[0] > 5), 1.0, 3.0), x)
    assert np.isinf(out.errors)


def test_a_vanishing_residue_is_no_zero():
    out = read(lambda x: 1 / x, [PRIME, 2])
    assert np.isinf(out.errors[0]) and out.residues[1] * 2 % PRIME == 1
    with pytest.raises(ZeroDivisionError):
        Residues(enclosed=False).power(from_fractions(np.array([PRIME]), enclosed=False),
                                       Fraction(-1))  # fmt: skip


def test_without_enclosures_nothing_is_compared():
    function = lambda x: jnp.sum(jnp.maximum(x, 0) ** 2) + jnp.max(x)
    closed, _ = trace(jax.grad(function), jax.ShapeDtypeStruct((3,), float))
    program = lower(closed)
    domain = Residues()
    there = np.array([-1, 2, 1])
    [here] = evaluate(program, domain, [from_fractions(there, varies=True)])
    assert here.residues.tolist() == [0, 5, 2]
    with pytest.raises(UnreadableError, match="residues only"):
        evaluate(program, Residues(False), [from_fractions(there, enclosed=False)])
    # The piece x_1 > x_2 > 0 > x_0, continued to where another one holds.
    replay = Residues(False, domain.decisions)
    elsewhere = from_fractions(np.array([7, -5, 100]), enclosed=False)
    [out] = evaluate(program, replay, [elsewhere])
    assert out.residues.tolist() == [0, (-10 + 1) % PRIME, 200]
    assert len(replay.decisions) == len(domain.decisions)


def test_sorting_is_replayed():
    closed, _ = trace(lambda x: jnp.sort(x) @ jnp.arange(3.0), jax.ShapeDtypeStruct((3,), float))
    program, domain = lower(closed), Residues()
    evaluate(program, domain, [from_fractions(np.array([5, 9, 1]), varies=True)])
    numbers = from_fractions(np.array([10, 1, 100]), enclosed=False)
    [out] = evaluate(program, Residues(False, domain.decisions), [numbers])
    assert out.residues == 10 * 1 + 1 * 2


def test_large_integers_are_enclosed():
    out = from_fractions(np.array([2**53 + 1, 2**62 + 1]))
    for k, number in enumerate([2**53 + 1, 2**62 + 1]):
        assert abs(Fraction(out.values[k]) - number) <= Fraction(out.errors[k])
        assert out.residues[k] == number % PRIME
