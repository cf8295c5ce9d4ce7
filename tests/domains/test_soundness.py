"""Ways in which a reading could claim too much; each was once read as something it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb

from symtheory.domains import Balls, LieDerivative, Polynomials, Ring, Symbols, UndecidedError, ball
from symtheory.domains._degrees import DEGREE, Degrees, NotHomogeneousError, scaled
from symtheory.domains.ring._zeros import certified, zero_set
from symtheory.errors import UnreadableError
from symtheory.program import read_function

SCALAR = jax.ShapeDtypeStruct((), float)


def polynomial(function, *kinds):
    symbols = Symbols(Ring())
    inputs = [symbols.array(kind, f"{kind}{k}", ()) for k, kind in enumerate(kinds)]
    out = read_function(function, [SCALAR] * len(kinds), Polynomials(symbols.ring), inputs)
    return symbols.ring.coerce(out[()])


# --- symbols without a density -------------------------------------------------------------------

ATOMS = {
    "a value": lambda u, z: jnp.where(z == 1, u**2, 0.0),
    "a product": lambda u, z: jnp.where(u * z == 0, u**2, 0.0),
    "a factor": lambda u, z: jnp.where((u + 1) * (z**2 - 1) == 0, u**2, 0.0),
    "a square": lambda u, z: jnp.where(z**2 > 0, 0.0, u**2),
    "a tie": lambda u, z: jnp.where((z > 1) | (z < 1), 0.0, u**2),
    "a kernel": lambda u, z: jnp.where(jnp.tanh(z) == 0, u**2, 0.0),
    "a kernel of both": lambda u, z: jnp.where(jnp.tanh(z * u) == 0, u**2, 0.0),
    "on a pattern": lambda u, z: jnp.where(jax.nn.relu(u) * z == 0, u**2, 0.0),
}


@pytest.mark.parametrize("name", ATOMS)
@pytest.mark.parametrize("kind", ["sample", "constant", "moment"])
def test_symbols_with_atoms_may_take_any_value(name, kind):
    assert not polynomial(ATOMS[name], "param", kind).is_zero()


def test_symbols_with_a_density_do_not():
    symbols = Symbols(Ring())
    z = symbols.array("sample", "z", (2,), generic=True)
    u = symbols.array("param", "u", ())[()]
    assert symbols.ring.vanishes(z[0] * u - z[1]) is False
    symbols.ring.mark_atomic(z[1])
    assert symbols.ring.vanishes(z[0] * u - z[1]) is False
    assert symbols.ring.vanishes(z[1] * u) is not False
    assert Ring(["x"]).vanishes(Ring(["x"]).symbol("x")) is False


PIECES = {
    "relu splits": lambda w, x: jax.nn.relu(w * x) - jax.nn.relu(-w * x) - w * x,
    "abs is even": lambda w, x: jnp.abs(w * x) - jnp.abs(-w * x),
    "abs is homogeneous": lambda w, x: w * jax.grad(lambda v: jnp.abs(v * x))(w) - jnp.abs(w * x),
    "relu is homogeneous": (
        lambda w, x: w * jax.grad(lambda v: jax.nn.relu(-v * x))(w) - jax.nn.relu(-w * x)
    ),
    "max commutes": lambda w, x: jnp.maximum(w, x) - jnp.maximum(x, w),
    "softmax": lambda w, x: jnp.sum(jax.nn.softmax(jnp.stack([w * x, w + x, x]))) - 1,
}


@pytest.mark.parametrize("name", PIECES)
def test_pieces_of_parameters_times_data(name):
    assert polynomial(PIECES[name], "param", "sample").is_zero()


# --- degrees -------------------------------------------------------------------------------------


def degree(function, *degrees):
    inputs = [scaled(np.asarray(d) * DEGREE) for d in degrees]
    return read_function(function, [SCALAR] * len(degrees), Degrees(), inputs)


def test_the_sign_of_an_exponent_counts():
    power = lambda u: u ** (-jnp.asarray(0.5))
    assert degree(power, 2).degrees == -DEGREE
    assert degree(lambda u: u ** jnp.abs(jnp.asarray(-0.5)), 2).degrees == DEGREE
    assert degree(lambda u: u ** (jnp.asarray(2.0) / 3 - 1), 3).degrees == -DEGREE
    assert degree(lambda u: u ** jnp.asarray([0.5, 1.5]).astype(float)[0], 2).degrees == DEGREE
    assert not degree(lambda u: u * power(u), 1).is_invariant


def repeated_squares(u):
    for _ in range(70):
        u = u * u
    return u


@pytest.mark.parametrize(
    "function",
    [
        repeated_squares,
        lambda u: ((u ** (2**31)) ** (2**31)) ** 4,
        lambda u: u**1e300,
        lambda u: jnp.prod(jnp.stack([u**1000000] * 100000)),
    ],
    ids=["squares", "powers", "one power", "product"],
)
def test_degrees_do_not_overflow(function):
    with pytest.raises(NotHomogeneousError, match="too large"):
        degree(function, 1)


# --- flows across singularities ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tan", "log", "log of exp"])
def test_flows_do_not_cross_singularities(kind):
    ring = Ring(["u", "z"])
    u, z = ring.symbol("u"), ring.symbol("z")
    one, apply = ring.constant(1), ring.apply
    element, speed = {
        "tan": (z * (apply("atan", apply("tan", u / 20)) - u / 20), one),
        "log": (z * (u - 30) * apply("exp", -apply("log", (u - 30) ** 2) / 2), u),
        "log of exp": (apply("log", 1 + apply("exp", u)) * apply("lgamma", z), z * 0),
    }[kind]
    along = LieDerivative(ring, {ring.names["u"]: speed})
    assert along(element).is_zero()
    assert (along.obstruction(element) is None) == (kind == "log of exp")


def test_a_jump_divided_by_something_small_stays():
    ring = Ring(["u"])
    u = ring.symbol("u")
    jump = ring.positive(u - 1) * (u - 1) * ring.apply("exp", -ring.apply("log", (u - 1) ** 2))
    along = LieDerivative(ring, {ring.names["u"]: ring.constant(1)})
    assert along.obstruction(jump) is not None
    steep = ring.positive(u) * u * ring.apply("tanh", u).inverse()
    assert along.obstruction(steep) is not None


# --- undefined values ----------------------------------------------------------------------------

UNDEFINED = {
    "sqrt": lambda u: jnp.where(jnp.sqrt(u) > 0, 0.0, u**2),
    "isnan": lambda u: jnp.where(jnp.isnan(jnp.sqrt(u)), u**2, 0.0),
    "isfinite": lambda u: jnp.where(jnp.isfinite(jnp.log(u)), 0.0, u**2),
    "cancelled": lambda u: jnp.where(jnp.sqrt(u) - jnp.sqrt(u) == 0, 0.0, u**2),
    "squared": lambda u: jnp.where(jnp.sqrt(u) ** 2 > -1, 0.0, u**2),
    "exp of log": lambda u: jnp.where(jnp.exp(jnp.log(u)) > -1, 0.0, u**2),
    "odd root": lambda u: jnp.where(u ** (1 / 3) > -1e9, 0.0, u**2),
    "infinity": lambda u: jnp.where(jnp.log(u) < jnp.inf, 0.0, u**2),
    "smallest": lambda u: jnp.where(jnp.minimum(jnp.sqrt(u), -1.0) < 0, 0.0, u**2),
    "asin": lambda u: jnp.where(jnp.arcsin(u) < 2, 0.0, u**2),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_what_may_be_undefined_is_not_compared(name):
    with pytest.raises(UnreadableError, match="may be undefined"):
        polynomial(UNDEFINED[name], "param")


def test_quotients_by_data_are_not_compared():
    with pytest.raises(UnreadableError, match="may be undefined"):
        polynomial(lambda u, z: jnp.where(z / z == 1, 0.0, u**2), "param", "sample")


def layer_norm(x):
    return (x - jnp.mean(x)) / jnp.sqrt(jnp.var(x) + 1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda u, z: jax.nn.relu((u - z) / jnp.sqrt((u - z) ** 2 + 1)),
        lambda u, z: jax.nn.relu(z / jnp.abs(u)),
        lambda u, z: jax.nn.relu(jax.nn.gelu(u * z)) + jax.nn.relu(jax.nn.sigmoid(u) * z),
        lambda u, z: jax.nn.relu(jax.nn.softmax(jnp.stack([u, z]))[0] - 0.5),
        lambda u, z: jax.nn.relu(layer_norm(jnp.stack([u, z, u * z]))[0]),
        lambda u, z: jax.nn.relu(jax.nn.logsumexp(jnp.stack([u, z]))),
        lambda u, z: jax.nn.relu(z * jnp.linalg.norm(jnp.stack([u, z]))),
    ],
)
def test_what_is_defined_is_compared(function):
    polynomial(lambda u, z: jax.grad(function)(u, z), "param", "sample")


def test_comparison_with_nan_is_false():
    function = lambda u: jnp.where(u > jnp.nan, 1.0, 0.0) + jnp.where(u != jnp.nan, 0.0, 1.0)
    function_ge = lambda u: function(u) + (u >= jnp.nan) + (u == jnp.nan)
    assert polynomial(function_ge, "param").is_zero()
    for value in (-1, 2):
        out = read_function(function_ge, [SCALAR], Balls(), [np.array(ball(value), dtype=object)])
        assert out[()] == 0


def at(function, value):
    return read_function(function, [SCALAR], Balls(), [np.array(ball(value), dtype=object)])[()]


def test_balls_that_are_undefined():
    assert at(lambda u: 1.0 * jnp.isfinite(jnp.sqrt(u)), -1) == 0
    assert at(lambda u: u ** (1 / 3), -8).is_nan()
    assert at(lambda u: u**0.3, -8).is_nan()
    assert abs(at(jnp.cbrt, -8) + 2) < 1e-9
    with pytest.raises(UndecidedError):
        at(lambda u: jnp.isnan(jnp.sqrt(u)) * 1.0, -1)


# --- rounding and connectedness ------------------------------------------------------------------

ROUNDED = {
    "half": lambda u: u.astype(jnp.float16).astype(float),
    "brain": lambda u: u.astype(jnp.bfloat16).astype(float),
    "eight bits": lambda u: u.astype(jnp.float8_e4m3fn).astype(float),
    "reduced": lambda u: jax.lax.reduce_precision(u, 5, 2),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_rounding_is_not_the_identity(name):
    with pytest.raises(UnreadableError, match="round"):
        polynomial(ROUNDED[name], "param")
    with pytest.raises((UnreadableError, NotHomogeneousError)):
        degree(ROUNDED[name], 1)
    single = lambda u: u.astype(jnp.float32).astype(float) - u
    assert polynomial(single, "param").is_zero()


def test_only_analytic_expressions_are_certified():
    ring = Ring(["x", "y"])
    x, y = ring.symbol("x"), ring.symbol("y")
    split = ring.apply("atan", 1 / x) + ring.apply("atan", x) - ring.apply("acos", y * 0)
    assert not certified(ring, split) and zero_set(ring, split) is None
    assert certified(ring, ring.apply("tanh", x) - ring.apply("exp", y))
    assert not certified(ring, ring.apply("log", x) - y)


def test_arb_roots():
    assert arb(-8).root(3).is_nan()
