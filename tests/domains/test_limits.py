"""What cannot be read is an error that says so, and what is too large is refused promptly."""

import itertools
import re
import time
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from flint import arb

from symtheory.domains import (
    Balls,
    Expressions,
    Polynomials,
    Residues,
    Ring,
    Symbols,
    UndecidedError,
    ball,
    enclose,
    from_fractions,
    precision,
)
from symtheory.domains._degrees import DEGREE, Degrees, NotHomogeneousError, scaled
from symtheory.domains._entries import is_nan
from symtheory.errors import BudgetError, UnreadableError
from symtheory.linear_algebra._modular import residue
from symtheory.program import Deadline, read, read_function, trace
from tests.domains.evaluate import number

KEY = jax.random.key(0)
STRUCTURE = jax.ShapeDtypeStruct((4,), float)
POINT = np.array([0.5, -1.0, 2.0, 0.25])


def fractions():
    out = np.empty(4, dtype=object)
    out[:] = [Fraction(v) for v in POINT]
    return out


def boxed(function):
    out = np.empty(4, dtype=object)
    out[:] = [function(v) for v in fractions()]
    return out


def domains():
    ring = Ring()
    symbols = Symbols(ring).array("param", "x", (4,))
    return {
        "polynomials": (Polynomials(ring), symbols),
        "expressions": (Expressions(), np.array(sympy.symbols("x:4", real=True), dtype=object)),
        "balls": (Balls(), boxed(ball)),
        "residues": (Residues(), from_fractions(fractions(), varies=True)),
        "bare residues": (Residues(enclosed=False), from_fractions(fractions(), enclosed=False)),
        "degrees": (Degrees(), scaled([DEGREE] * 4)),
    }


def floats(reader, inputs, out):
    """Return the values at `POINT` of what was read."""
    if isinstance(reader, Polynomials):
        names = dict(zip(reader.ring.names, POINT, strict=True))
        return np.array([number(x, names) for x in out.flat]).reshape(out.shape)
    if isinstance(reader, Expressions):
        values = dict(zip(inputs, map(sympy.Rational, fractions()), strict=True))
        entries = [sympy.sympify(x).xreplace(values).evalf(25) for x in out.flat]
        return np.array([float(x) for x in entries]).reshape(out.shape)
    if isinstance(reader, Residues):
        assert out.errors.max() < 1e-9
        return out.values
    assert all(x.rad() < 1e-9 for x in out.flat)
    return out.astype(float)


def loop(x):
    return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2), (0, x))[1]


CHOSEN = lambda x: jax.lax.dynamic_slice(x, ((x[0] > 0).astype(int),), (1,))

# What used to be out of reach, and what is easily read as something else.
READABLE = {
    "sort": jnp.sort,
    "top": lambda x: jax.lax.top_k(x, 2)[0],
    "floor": jnp.floor,
    "fft": lambda x: jnp.abs(jnp.fft.fft(x)),
    "fft of three": lambda x: jnp.abs(jnp.fft.rfft(x[:3] * x[1])),
    "absolute value of complex numbers": lambda x: jnp.abs(x * 1j),
    "solve": lambda x: jnp.linalg.inv(jnp.outer(x, x) + jnp.eye(4)),
    "cond": lambda x: jax.lax.cond(x[0] > 0, lambda v: v, lambda v: -v, x),
    "cond of complex numbers": lambda x: jnp.imag(
        jax.lax.cond(x[1] > 0, lambda v: v * 1j, lambda v: v * 2j, x)
    ),
    "cond inside of a loop": lambda x: jax.lax.scan(
        lambda c, v: (jax.lax.cond(v > 0, lambda a: a + v, lambda a: a * v, c), c), 1.0, x
    )[1],
    "switch": lambda x: jax.lax.switch(
        (x[0] > 0).astype(int) + (x[1] > 0), [lambda v: v, lambda v: 3 * v, jnp.square], x
    ),
    "while": loop,
    "count": lambda x: x * jnp.sum(x > 0),
    "truth": lambda x: x * (jnp.sum(x > 0).astype(bool)),
    "halving": lambda x: x * jax.lax.div(jnp.sum(x > 0), 2),
    "remainder": lambda x: x * jax.lax.rem(jnp.sum(x < 3), 3),
    "bits": lambda x: x * ~jnp.sum(x > 0),
}


@pytest.mark.parametrize("domain", ["polynomials", "expressions", "balls", "residues"])
@pytest.mark.parametrize("name", READABLE)
def test_what_is_readable_has_the_value_of_jax(name, domain):
    reader, inputs = domains()[domain]
    out = read_function(READABLE[name], [STRUCTURE], reader, [inputs], Deadline(20))
    want = np.asarray(jax.jit(READABLE[name])(POINT))
    assert out.shape == want.shape
    np.testing.assert_allclose(floats(reader, inputs, out), want, rtol=1e-9, atol=1e-12)


# The loss, the primitive, and the domains that read it nevertheless.
UNREADABLE = {
    "argmax": (
        lambda x: x[jnp.argmax(x)], "(dynamic_slice|argmax)", ("balls", "residues", "degrees"),
    ),
    "chosen": (CHOSEN, "(dynamic_slice|gt)", ("balls", "residues", "degrees")),
    "truncation": (lambda x: x.astype(int) * x, "convert_element_type", ("balls", "residues")),
    "while": (
        lambda x: jax.lax.while_loop(lambda c: jnp.sum(c) < 9, lambda c: 2 * c, x), "while", (),
    ),
    "random": (lambda x: x + jax.random.normal(KEY, (4,)), "random_bits", ()),
    "bits": (lambda x: x * (jnp.sum(x > 0) & 2), "and", ()),
    "half": (lambda x: x.astype(jnp.bfloat16).astype(float), "convert_element_type", ()),
    "bessel": (lambda x: jax.scipy.special.i0e(x), "bessel_i0e", ()),
}  # fmt: skip


@pytest.mark.parametrize("domain", domains())
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_not_readable_is_named_with_its_line(name, domain):
    function, primitive, readers = UNREADABLE[name]
    reader, inputs = domains()[domain]
    run = lambda: read_function(function, [STRUCTURE], reader, [inputs], Deadline(10))
    if domain in readers:
        out = run()
        if domain != "degrees":
            want = np.asarray(jax.jit(function)(POINT))
            np.testing.assert_allclose(floats(reader, inputs, out), want, rtol=1e-12)
        return
    with pytest.raises((UnreadableError, NotHomogeneousError)) as caught:
        run()
    message = str(caught.value)
    if isinstance(caught.value, NotHomogeneousError):
        assert domain == "degrees"
        return
    assert re.search(rf"primitive '{primitive}' at test_limits.py:\d+", message)
    advice = ("write the loss without it", "use ", "make them part", "pass labels")
    assert any(text in message for text in advice)


BARE = {
    "exp": (jnp.exp, "'exp'"),
    "sqrt": (jnp.sqrt, "exponent 1/2"),
    "root": (lambda x: x**0.5, "exponent 1/2"),
    "relu": (jax.nn.relu, "a comparison"),
    "abs": (jnp.abs, "a comparison"),
    "max": (jnp.max, "a comparison"),
    "complex": (lambda x: jnp.abs(x * 1j), "exponent 1/2"),
    "fft": (lambda x: jnp.fft.fft(x[:3]).real, r"cos\(pi x\), as in a Fourier transform"),
    "index": (lambda x: x[x[0].astype(int)], "a cast to integers"),
}


@pytest.mark.parametrize("name", BARE)
def test_residues_without_enclosures_say_what_they_lack(name):
    function, words = BARE[name]
    reader, inputs = domains()["bare residues"]
    with pytest.raises(UnreadableError, match=rf"residues domain cannot read .*{words}.*only"):
        read_function(function, [STRUCTURE], reader, [inputs])


def test_residues_say_where_something_is_divided_by_zero():
    reader, inputs = domains()["bare residues"]
    with pytest.raises(UnreadableError, match=r"division by zero.*test_limits.py"):
        read_function(lambda x: 1 / (x - x), [STRUCTURE], reader, [inputs])


def test_residues_transform_exactly_where_roots_of_unity_are_rational():
    reader, inputs = domains()["bare residues"]
    out = read_function(lambda x: jnp.fft.fft(x).imag, [STRUCTURE], reader, [inputs])
    want = [residue(Fraction(v)) for v in np.fft.fft(POINT).imag]
    assert out.residues.tolist() == want


@pytest.mark.parametrize("name", ["truth", "count", "halving", "bits"])
def test_degrees_let_only_what_does_not_scale_be_rounded(name):
    same, other = scaled([DEGREE] * 4), scaled([0, 0, DEGREE, DEGREE])
    for x in (same, other):  # signs do not change when entries are scaled
        out = read_function(READABLE[name], [STRUCTURE], Degrees(), [x])
        assert np.array_equal(out.degrees, x.degrees)
    with pytest.raises(NotHomogeneousError, match="scales"):
        read_function(UNREADABLE["truncation"][0], [STRUCTURE], Degrees(), [same])


def test_degrees_at_unknown_places_must_agree():
    same, other = scaled([DEGREE] * 4), scaled([DEGREE] * 3 + [0])
    out = read_function(CHOSEN, [STRUCTURE], Degrees(), [same])
    assert out.degrees.tolist() == [DEGREE]
    with pytest.raises(NotHomogeneousError, match="different degree"):
        read_function(CHOSEN, [STRUCTURE], Degrees(), [other])
    moved = lambda x: jax.lax.dynamic_slice(x, (x[0].astype(int),), (1,))
    with pytest.raises(NotHomogeneousError, match="scales"):
        read_function(moved, [STRUCTURE], Degrees(), [same])


@pytest.mark.parametrize("domain", ["polynomials", "expressions", "balls"])
def test_what_is_read_outside_of_an_array_is_what_jax_fills_in(domain):
    reader, inputs = domains()[domain]
    filled = lambda x: x.at[jnp.array([7])].get(mode="fill")
    assert np.isnan(jax.jit(filled)(POINT)).all()
    out = read_function(filled, [STRUCTURE], reader, [inputs])
    assert all(is_nan(x) for x in out)


@pytest.mark.parametrize("domain", ["polynomials", "balls", "degrees", "expressions"])
def test_loops_with_fixed_counters_are_read(domain):
    reader, inputs = domains()[domain]
    out = read_function(loop, [STRUCTURE], reader, [inputs])
    if domain == "polynomials":
        assert all((a - 8 * b).is_zero() for a, b in zip(out, inputs, strict=True))


def test_infinite_values_are_masks_or_errors():
    reader, inputs = domains()["polynomials"]
    for function in (
        lambda x: x * jnp.inf,
        lambda x: jnp.where(x > 0, x, -jnp.inf),
        lambda x: jnp.where(x > 0, x, jnp.nan),
    ):
        with pytest.raises(UnreadableError):
            read_function(function, [STRUCTURE], reader, [inputs])
    out = read_function(lambda x: (x**2 + 1) * jnp.inf, [STRUCTURE], reader, [inputs])
    assert list(out) == [np.inf] * 4


def test_numbers_out_of_a_function():
    ring = Ring(["x"])
    with pytest.raises(UnreadableError, match="not a real number"):
        ring.apply("sqrt", ring.constant(-2))
    with pytest.raises(UnreadableError, match="not a real number"):
        ring.apply("log", ring.constant(0))


# --- balls ---------------------------------------------------------------------------------------


def test_balls_do_not_guess():
    [a, b] = [arb(1, 1e-3), arb(1, 1e-3)]
    scalar = jax.ShapeDtypeStruct((), float)
    box = lambda x: np.array(x, dtype=object)
    for function in (jnp.maximum, lambda x, y: (x == y) * 1.0, lambda x, y: jnp.sign(x - y)):
        with pytest.raises(UndecidedError):
            read_function(function, [scalar] * 2, Balls(), [box(a), box(b)])


def test_balls_enclose_at_any_precision():
    structure = [jax.ShapeDtypeStruct((), float)]
    function = lambda x: jnp.exp(jnp.sin(x)) - jnp.tanh(x) ** 5
    radii = []
    for bits in (30, 60, 120, 240):
        with precision(bits):
            point = np.array(ball(2) / 3, dtype=object)
            radii.append(read_function(function, structure, Balls(), [point])[()])
    for coarse, fine in itertools.pairwise(radii):
        assert coarse.overlaps(fine) and fine.rad() < coarse.rad()


def test_enclosures_of_elements():
    ring = Ring(["x", "y"])
    x, y = ring.symbol("x"), ring.symbol("y")
    f = ring.apply("exp", x) / (1 + ring.absolute(y) + ring.apply("tanh", x * y))
    value = enclose(f, {"x": ball(1) / 2, "y": arb(-3)})
    assert (value + arb(0, 1e-12)).contains(arb(float(np.exp(0.5) / (4 + np.tanh(-1.5)))))
    with pytest.raises(UndecidedError):
        enclose(ring.absolute(y), {"x": arb(0), "y": arb(0, 1)})


# --- budgets -------------------------------------------------------------------------------------


def promptly(seconds, deadline, function):
    start = time.perf_counter()
    with pytest.raises(BudgetError, match=r"time limit|exact expansion"):
        ring = Ring([f"x{k}" for k in range(20)], deadline)
        function(ring, [ring.symbol(f"x{k}") for k in range(20)])
    assert time.perf_counter() - start < seconds


@pytest.mark.parametrize(
    "hopeless",
    [
        lambda ring, xs: sum(xs, ring.constant(1)) ** 60,
        lambda ring, xs: np.prod([sum(xs, ring.constant(k)) for k in range(60)]),
        lambda ring, xs: 1 / (1 + sum(x**3 for x in xs)) ** 40,
        lambda ring, xs: (ring.apply("sqrt", sum(x * x for x in xs)) + sum(xs)) ** 40,
        lambda ring, xs: np.prod([1 + ring.absolute(x + k) for k, x in enumerate(xs * 2)]),
        lambda ring, xs: sum(1 / (1 + x * xs[k - 1]) for k, x in enumerate(xs)) ** 5,
    ],
)
@pytest.mark.parametrize("deadline", [2.0, None])
def test_hopeless_expansions_are_refused(hopeless, deadline):
    promptly(6, Deadline(deadline), hopeless)


def test_reading_checks_its_deadline():
    closed, _ = trace(lambda x: x * x + 1, STRUCTURE)
    reader, inputs = domains()["polynomials"]
    with pytest.raises(BudgetError, match="time limit"):
        read(closed, reader, [inputs], Deadline(-1.0))


def test_what_is_affordable_is_taken():
    ring = Ring([f"x{k}" for k in range(20)], Deadline(10))
    xs = [ring.symbol(f"x{k}") for k in range(20)]
    assert len((sum(xs, ring.constant(1)) ** 5).numerator) == 53130
    assert len(((1 + xs[0]) ** 3000).numerator) == 3001
