"""Laws of the ring, known identities, and controls that must not be proved."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from symtheory.domains import Element, Polynomials, Ring
from symtheory.errors import UnreadableError
from symtheory.program import read_function
from tests.domains.evaluate import number

NAMES = ["x", "y", "z"]
POINTS = [
    dict(zip(NAMES, map(float, row), strict=True))  # generic: nothing ties by accident
    for row in 1.5 * np.random.default_rng(0).standard_normal((40, 3))
]

# --- random elements, with kernels of every kind -------------------------------------------------

leaves = st.sampled_from(NAMES) | st.integers(-3, 3).map(lambda n: Fraction(n, 2))
UNARY = ("relu", "abs", "tanh", "exp", "norm", "sin", "logistic", "positive")


def deeper(inner):
    return st.tuples(st.sampled_from("+-*"), inner, inner) | st.tuples(
        st.sampled_from(UNARY), inner
    )


expressions = st.recursive(leaves, deeper, max_leaves=5)


def build(ring, tree):
    if isinstance(tree, str):
        return ring.symbol(tree)
    if isinstance(tree, Fraction):
        return ring.constant(tree)
    operation, *parts = tree
    a, *rest = (build(ring, part) for part in parts)
    if rest:
        b = rest[0]
        return a + b if operation == "+" else a - b if operation == "-" else a * b
    if operation == "positive":
        sign = ring.positive(a)
        return ring.constant(int(sign)) if isinstance(sign, bool) else sign
    if operation in ("relu", "abs"):
        return ring.absolute(a) if operation == "abs" else (a + ring.absolute(a)) / 2
    if operation == "norm":
        return ring.apply("sqrt", a * a + 1)
    return ring.apply(operation, a)


def value(tree, point):
    """The same expression in floats; None near a kink, where floats cannot tell."""
    if isinstance(tree, str):
        return point[tree]
    if isinstance(tree, Fraction):
        return float(tree)
    operation, *parts = tree
    values = [value(part, point) for part in parts]
    if None in values or any(abs(v) > 1e6 for v in values):
        return None
    a = values[0]
    if len(values) == 2:
        return {"+": a + values[1], "-": a - values[1], "*": a * values[1]}[operation]
    if operation == "positive" and a != 0 and abs(a) < 1e-9:
        return None
    if operation == "exp" and a > 20:
        return None
    return float(
        {
            "relu": lambda: max(a, 0.0),
            "abs": lambda: abs(a),
            "tanh": lambda: np.tanh(a),
            "exp": lambda: np.exp(a),
            "norm": lambda: np.sqrt(a * a + 1),
            "sin": lambda: np.sin(a),
            "logistic": lambda: 1 / (1 + np.exp(-a)),
            "positive": lambda: float(a > 0),
        }[operation]()
    )


@settings(max_examples=120, deadline=None)
@given(expressions)
def test_elements_have_the_value_of_what_they_stand_for(tree):
    ring = Ring(NAMES)
    element = build(ring, tree)
    for point in POINTS[::4]:
        expected = value(tree, point)
        if expected is not None and abs(expected) < 1e6:
            assert number(element, point) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(expressions, expressions, expressions)
def test_ring_laws(p, q, r):
    ring = Ring(NAMES)
    a, b, c = (build(ring, tree) for tree in (p, q, r))
    assert (a + b - (b + a)).is_zero()
    assert (a * b - b * a).is_zero()
    assert (a * (b + c) - (a * b + a * c)).is_zero()
    assert ((a * b) * c - a * (b * c)).is_zero()
    assert (a - a).is_zero() and (a**3 - a * a * a).is_zero()
    assert a.key() == (a + b - b).key()


@settings(max_examples=60, deadline=None)
@given(expressions, expressions)
def test_quotients(p, q):
    ring = Ring(NAMES)
    a, b = build(ring, p), build(ring, q)
    try:
        inverse = b.inverse()
    except UnreadableError:
        assume(False)
    opaque = any(kernel.function == "reciprocal" for kernel in ring.kernels.values())
    assume(not opaque)
    assert (b * inverse - 1).is_zero()
    assert (a / b * b - a).is_zero()
    assert (a / b + a / b - 2 * a / b).is_zero()


@settings(max_examples=60, deadline=None)
@given(expressions)
def test_squares_and_indicators(tree):
    ring = Ring(NAMES)
    a = build(ring, tree)
    f = a * a + ring.symbol("x") ** 2 + 1
    root = ring.apply("sqrt", f)
    assert (root * root - f).is_zero()
    assert ((1 / root) * f - root).is_zero()
    if not ring.roots_in(a) and len(ring.signs_in(a)) < 3:
        assert (ring.apply("sqrt", a * a) - ring.absolute(a)).is_zero()
    sign, opposite = (build(ring, ("positive", t)) for t in (tree, ("-", Fraction(0), tree)))
    assert (sign * sign - sign).is_zero()
    assert (sign * opposite).is_zero() or any(
        k.function not in ("positive", "vanishing") for k in ring.kernels.values()
    )
    assert (ring.absolute(a) ** 2 - a * a).is_zero()


@settings(max_examples=40, deadline=None)
@given(expressions, expressions)
def test_zero_in_the_ring_is_zero_as_a_function(p, q):
    """Soundness: whatever the ring proves equal has equal values."""
    ring = Ring(NAMES)
    if (build(ring, p) - build(ring, q)).is_zero():
        for point in POINTS:
            a, b = value(p, point), value(q, point)
            if a is not None and b is not None:
                assert a == pytest.approx(b, rel=1e-6, abs=1e-6)


def test_growth_keeps_old_elements_usable():
    ring = Ring(["x"])
    x = ring.symbol("x")
    root = ring.apply("sqrt", x * x + 1)
    old = (x + root) / (1 + root)
    for k in range(50):
        ring.symbol(f"n{k}")
    new = (x + ring.apply("sqrt", x**2 + 1)) / (1 + ring.apply("sqrt", x**2 + 1))
    assert (old - new).is_zero() and old.key() == new.key()


def test_fractions_are_in_lowest_terms_and_monic():
    ring = Ring(NAMES)
    x, y = ring.symbol("x"), ring.symbol("y")
    f = (x * x - y * y) / (2 * x + 2 * y)
    assert f.denominator is None and (f - (x - y) / 2).is_zero()
    g = 1 / (3 * x - 6 * y)
    assert g.denominator.leading_coefficient() == 1
    assert (1 / g - (3 * x - 6 * y)).is_zero()


@pytest.mark.parametrize(
    "make",
    [
        lambda a, b: a + b * 2,
        lambda a, b: a * b,
        lambda a, b: 1 + a * b - b,
        lambda a, b: a,
    ],
)
def test_conjugates(make):
    ring = Ring(NAMES)
    x, y, z = map(ring.symbol, NAMES)
    element = make(ring.apply("sqrt", x), ring.apply("sqrt", y * y + z)) + z
    assert (element * element.inverse() - 1).is_zero()


def test_roots_that_depend_on_each_other_divide():
    ring = Ring(NAMES)
    x, y = ring.symbol("x"), ring.symbol("y")
    element = ring.apply("sqrt", x) * ring.apply("sqrt", y) + ring.apply("sqrt", x * y)
    point = {"x": 2.0, "y": 3.0, "z": 0.0}
    assert number(element.inverse(), point) == pytest.approx(1 / (2 * np.sqrt(6)))


def test_division_by_zero_is_refused():
    ring = Ring(NAMES)
    x = ring.symbol("x")
    with pytest.raises(UnreadableError, match=r"jnp\.where"):
        1 / (x - x)
    with pytest.raises(UnreadableError, match="activation pattern"):
        1 / (x + ring.absolute(x))
    with pytest.raises(ZeroDivisionError):
        x / 0


def test_elements_have_no_truth_value():
    with pytest.raises(TypeError, match="is_zero"):
        bool(Ring(NAMES).symbol("x"))


def test_derivative():
    ring = Ring(NAMES)
    x, y = ring.symbol("x"), ring.symbol("y")
    f = x**3 * y / (x + y)
    assert (f.derivative("x") * (x + y) ** 2 - (2 * x**3 * y + 3 * x**2 * y**2)).is_zero()
    with pytest.raises(UnreadableError, match="kernels"):
        (1 / ring.apply("exp", x)).derivative("x")


# --- identities of losses ------------------------------------------------------------------------


def entry(function, *sizes):
    """A JAX function of arrays, read in a fresh ring."""
    ring = Ring()
    arrays = []
    for k, shape in enumerate(sizes):
        array = np.empty(shape, dtype=object)
        for index in np.ndindex(shape):
            array[index] = ring.symbol(f"{k}{index}")
        arrays.append(array)
    structures = [jax.ShapeDtypeStruct(shape, float) for shape in sizes]
    return read_function(function, structures, Polynomials(ring), arrays)


def vanishes(function, *sizes):
    return all(x.is_zero() if isinstance(x, Element) else x == 0 for x in
               np.ravel(entry(function, *sizes)))  # fmt: skip


def along(loss, direction):
    """The derivative of a loss of (theta, data...) along a direction that depends on theta."""
    return lambda theta, *data: jax.jvp(lambda t: loss(t, *data), (theta,), (direction(theta),))[1]


relu, softmax, logsumexp = jax.nn.relu, jax.nn.softmax, jax.scipy.special.logsumexp
cosine = lambda w, x: x @ w / jnp.linalg.norm(w)
neuron = lambda t, x: t[0] * relu(t[1] * x)
layer = lambda t, x: jnp.sum(t[:2] * relu(t[2:].reshape(2, 2) @ x))
rescaling = lambda t: jnp.concatenate([t[:2], -t[2:]])
one_neuron = lambda t: jnp.array([1, 0, -1, -1, 0, 0]) * t
norm_x = lambda x: (x - jnp.mean(x)) / jnp.std(x)

IDENTITIES = {
    "relu splits x": (lambda x: relu(x) - relu(-x) - x, (2,)),
    "relu is idempotent": (lambda x: relu(relu(x)) - relu(x), (2,)),
    "relu is positive": (lambda x: relu(-relu(x)), (2,)),
    "relu of a network splits": (
        lambda a, b, x: relu(b @ relu(a @ x)) - relu(-b @ relu(a @ x)) - b @ relu(a @ x),
        (2, 2), (2,), (2,)),
    "max and min": (lambda a, b: jnp.maximum(a, b) + jnp.minimum(a, b) - a - b, (2,), (2,)),
    "max of three": (lambda a: jnp.max(a) - jnp.maximum(a[2], jnp.maximum(a[0], a[1])), (3,)),
    "max commutes": (lambda a, b: jnp.maximum(a, b) - jnp.maximum(b, a), (2,), (2,)),
    "abs by relu": (lambda x: jnp.abs(x) - relu(x) - relu(-x), (2,)),
    "abs is even": (lambda x: jnp.abs(-x) - jnp.abs(jnp.abs(x)), (2,)),
    "sign of relu": (lambda x: jnp.sign(relu(x)) - (x > 0), (2,)),
    "relu is not negative": (lambda x: jnp.where(relu(x) >= 0, 0.0, 1.0), (2,)),
    "relu is never below zero": (lambda x: jnp.where(relu(x) < 0, 1.0, 0.0), (2,)),
    "tanh is odd": (lambda x: jnp.tanh(x) + jnp.tanh(-x), (2,)),
    "cos is even": (lambda x: jnp.cos(x) - jnp.cos(-x), (2,)),
    "pythagoras": (lambda x: jnp.sin(x) ** 2 + jnp.cos(x) ** 2 - 1, (2,)),
    "hyperbola": (lambda x: jnp.cosh(x) ** 2 - jnp.sinh(x) ** 2 - 1, (2,)),
    "sigmoid": (lambda x: jax.nn.sigmoid(x) + jax.nn.sigmoid(-x) - 1, (2,)),
    "erf and erfc": (lambda x: jax.lax.erf(x) + jax.lax.erfc(x) - 1, (2,)),
    "exp adds": (lambda a, b: jnp.exp(a + b) - jnp.exp(a) * jnp.exp(b), (2,), (2,)),
    "exp halves": (lambda a: jnp.exp(a / 2) ** 2 - jnp.exp(a), (2,)),
    "log of exp": (lambda a: jnp.log(jnp.exp(a)) - a, (2,)),
    "softmax sums to one": (lambda x: jnp.sum(softmax(x)) - 1, (3,)),
    "softmax of many": (lambda x: jnp.sum(softmax(x)) - 1, (6,)),
    "softmax one by one": (
        lambda x: softmax(x)[0] * (1 + jnp.exp(x[1] - x[0]) + jnp.exp(x[2] - x[0])) - 1, (3,)),
    "softmax shifts": (lambda x, c: softmax(x + c) - softmax(x), (3,), ()),
    "softplus": (lambda x: jax.nn.softplus(x) - jax.nn.softplus(-x) - x, (2,)),
    "softplus by log": (lambda x: jax.nn.softplus(x) - jnp.log(1 + jnp.exp(x)), (2,)),
    "log softmax": (lambda x: jnp.log(softmax(x)) - jax.nn.log_softmax(x), (2,)),
    "logsumexp shifts": (along(lambda x: logsumexp(x) - jnp.mean(x), jnp.ones_like), (3,)),
    "cross entropy shifts": (
        along(lambda b, x: -jax.nn.log_softmax(x + b)[0], jnp.ones_like), (4,), (4,)),
    "cosine along w": (along(cosine, lambda w: w), (3,), (3,)),
    "cosine in plane": (along(lambda w: jnp.sum(w**2), lambda w: jnp.array([-w[1], w[0]])), (2,)),
    "neuron rescales": (along(neuron, lambda t: jnp.array([1, -1]) * t), (2,), ()),
    "layer rescales": (along(layer, rescaling), (6,), (2,)),
    "one neuron rescales": (along(layer, one_neuron), (6,), (2,)),
    "leaky neuron rescales": (
        along(lambda t, x: t[0] * jax.nn.leaky_relu(t[1] * x, 0.1),
              lambda t: jnp.array([1, -1]) * t), (2,), ()),
    "layer norm scales": (along(lambda x: norm_x(x)[0] ** 2, lambda x: x), (3,)),
    "layer norm shifts": (along(lambda x: norm_x(x)[0] ** 2, jnp.ones_like), (3,)),
    "norm of a perfect square": (lambda x: jnp.sqrt(x**2 + 2 * x + 1) - jnp.abs(x + 1), (2,)),
    "norm of a multiple": (
        lambda a, x: jnp.linalg.norm(a * x) - jnp.abs(a) * jnp.linalg.norm(x), (), (2,)),
    "root mean square": (
        lambda x: jnp.sqrt(jnp.mean(x**2)) - jnp.linalg.norm(x) / np.sqrt(9), (9,)),
    "rsqrt": (lambda x: jax.lax.rsqrt(jnp.sum(x**2)) - jnp.sqrt(1 / jnp.sum(x**2)), (2,)),
    "cube root": (lambda x: jnp.cbrt(x) ** 3 - x + jnp.cbrt(-x) + jnp.cbrt(x), (2,)),
    "powers": (lambda x: x**0.3 * x**0.7 - x, (2,)),
    "p norm": (along(lambda x: jnp.sum(jnp.abs(x) ** 3) ** (1 / 3) / jnp.abs(x[0]), lambda x: x),
               (2,)),
    "elu": (lambda x: jax.nn.elu(x) - jnp.where(x > 0, x, jnp.exp(x) - 1), (2,)),
    "silu": (lambda x: jax.nn.silu(x) - jax.nn.silu(-x) - x, (2,)),
    "gelu": (lambda x: jax.nn.gelu(x, approximate=False)
             - jax.nn.gelu(-x, approximate=False) - x, (2,)),
    "clip": (lambda x: jnp.clip(x, -1, 1) + jnp.clip(-x, -1, 1), (2,)),
    "derivative of relu^2": (jax.grad(lambda x: relu(x) ** 2 - x * relu(x)), ()),
    "equal conditions": (
        lambda x: jnp.where((x > 0) == (-x < 0), 0.0, 1.0) + ((x > 1) & (x < -1)), (2,)),
    "relu6 twice": (lambda x: jax.nn.relu6(jax.nn.relu6(x)) - jax.nn.relu6(x), (2,)),
    "trace is cyclic": (
        lambda u, b: jnp.trace(u @ b @ u.T) - jnp.trace(u.T @ u @ b), (2, 2), (2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", IDENTITIES)
def test_identity(name):
    function, *sizes = IDENTITIES[name]
    assert vanishes(function, *sizes)


CONTROLS = {
    "cosine elsewhere": (along(cosine, lambda w: jnp.array([w[1], w[0] * 2])), (2,), (2,)),
    "tanh along w": (along(lambda t, x: t[0] * jnp.tanh(t[1] * x),
                           lambda t: jnp.array([1, -1]) * t), (2,), ()),
    "softmax scaled": (along(lambda x: softmax(x)[0], lambda x: x), (2,)),
    "logsumexp scaled": (along(logsumexp, lambda x: x), (3,)),
    "logsumexp shifted": (along(logsumexp, jnp.ones_like), (3,)),
    "relu": (lambda x: relu(x), ()),
    "relu both scaled": (along(neuron, lambda t: t), (2,), ()),
    "wrong neurons": (along(layer, lambda t: jnp.array([1, 0, 0, 0, -1, -1]) * t), (6,), (2,)),
    "layer norm with eps": (
        along(lambda x: (x[0] - jnp.mean(x)) / jnp.sqrt(jnp.var(x) + 1e-5), lambda x: x), (3,)),
    "bias": (along(lambda t, x: t[0] * relu(t[1] * x + 1), lambda t: jnp.array([1, -1]) * t),
             (2,), ()),
    "abs is not x": (lambda x: jnp.sqrt(x**2) - x, ()),
    "a dead unit is no tie": (lambda x: jnp.where(relu(x) >= 0, 1.0, 0.0) - (relu(x) > 0), ()),
    "sign of a dead unit": (lambda x: jnp.sign(relu(x)) - jnp.sign(x), ()),
    "negated dead unit": (lambda x: (-relu(x) > 0) - 1.0 + (relu(x) > 0), ()),
    "dead layer": (lambda a, x: (-jnp.sum(relu(a * x)) > 0) - 1.0 + (jnp.sum(relu(a * x)) > 0),
                   (4,), (4,)),
    "dead layer at zero": (lambda a, x: (jnp.sum(relu(a * x)) >= 0) * 1.0
                           - (jnp.sum(relu(a * x)) > 0), (4,), (4,)),
    "dead layer in tanh": (lambda a, x: (jnp.tanh(jnp.sum(relu(a * x))) >= 0) * 1.0
                           - (jnp.tanh(jnp.sum(relu(a * x))) > 0), (4,), (4,)),
    "dead layer in tanh, negated": (
        lambda a, x: (-jnp.tanh(jnp.sum(relu(a * x))) > 0) - 1.0
        + (jnp.tanh(jnp.sum(relu(a * x))) > 0), (4,), (4,)),
    "dead layer in tanh is zero": (
        lambda a, x: (jnp.tanh(jnp.sum(relu(a * x))) == 0) * 1.0, (4,), (4,)),
    "dead layer is zero": (lambda a, x: (jnp.sum(relu(a * x)) == 0) * 1.0, (4,), (4,)),
    "max is not sum": (lambda a: jnp.max(a) - jnp.sum(a), (2,)),
    "roots of opposite signs": (lambda a, b: jnp.sqrt(a) * jnp.sqrt(b) + jnp.sqrt(a * b), (), ()),
    "cos is not odd": (lambda x: jnp.cos(x) + jnp.cos(-x), ()),
    "exp is not even": (lambda x: jnp.exp(x) - jnp.exp(-x), ()),
    "no order of three": (lambda a: jnp.where((a[0] > a[1]) & (a[1] > a[2]), 1.0, 0.0), (3,)),
    "a constant": (lambda x: jnp.sqrt(2.0) + 0 * x, ()),
    "small": (lambda x: 1e-300 * x, ()),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTROLS)
def test_control(name):
    function, *sizes = CONTROLS[name]
    assert not vanishes(function, *sizes)


@pytest.mark.parametrize("name", [name for name in CONTROLS if "dead" in name])
def test_dead_units_have_the_values_of_jax(name):
    """Comparisons at exactly zero, on the patterns where a layer is dead."""
    function, *sizes = CONTROLS[name]
    element = entry(function, *sizes)[()]
    for signs in itertools.product((-1.0, 1.0), repeat=max(1, int(np.sum(sizes[:1])))):
        point = [np.resize(np.array(signs), sizes[0])] + [np.ones(s) for s in sizes[1:]]
        values = {
            f"{k}{index}": float(array[index])
            for k, array in enumerate(point)
            for index in np.ndindex(array.shape)
        }
        assert number(element, values) == float(function(*map(jnp.asarray, point)))
