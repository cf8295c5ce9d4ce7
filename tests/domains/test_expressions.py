"""What is read as an expression, in every domain and on every version of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from symtheory.domains import Polynomials, Ring, Symbols
from symtheory.domains._degrees import DEGREE, Degrees, NotHomogeneousError, scaled
from symtheory.errors import UnreadableError
from symtheory.program import read_function

PAIR = jax.ShapeDtypeStruct((2,), float)


def polynomials(function, count=1):
    symbols = Symbols(Ring())
    inputs = [symbols.array("param", f"x{k}", (2,)) for k in range(count)]
    out = read_function(function, [PAIR] * count, Polynomials(symbols.ring), inputs)
    return [symbols.ring.coerce(x) for x in out.flat]


def slope(function):
    return lambda x: jax.grad(lambda y: jnp.sum(function(y)))(x)


ZERO = {
    "tanh": lambda x: slope(jnp.tanh)(x) - 1 + jnp.tanh(x) ** 2,
    "log2": lambda x: jnp.log2(x**2 + 1) * lax.log(2.0) - jnp.log(x**2 + 1),
    "polynomial": lambda x: jnp.polyval(jnp.array([3.0, 2.0, 1.0]), x) - (3 * x**2 + 2 * x + 1),
    "slope of a polynomial": lambda x: (
        slope(lambda y: jnp.polyval(y, y))(x) - slope(lambda y: y[0] * y + y[1])(x)
    ),
    "erf": lambda x: slope(lax.erf)(x) - slope(lax.erf)(0 * x) * jnp.exp(-(x**2)),
    "erfc": lambda x: slope(lax.erfc)(x) + slope(lax.erf)(x),
    "erf of many": lambda x: jax.vmap(jax.grad(lax.erf))(x) - slope(lax.erf)(x),
    "gelu": lambda x: (
        slope(lambda y: jax.nn.gelu(y, approximate=False))(x)
        - lax.erfc(-x * np.sqrt(0.5)) / 2
        - x * slope(lambda y: lax.erf(y * np.sqrt(0.5)))(x) / 2
    ),
}


@pytest.mark.parametrize("name", ZERO)
def test_identities_hold_exactly(name):
    assert all(x.is_zero() for x in polynomials(ZERO[name]))


@pytest.mark.skipif(not hasattr(lax, "polynomial"), reason="JAX 0.12 has it")
def test_integers_stay_integers():
    """Polynomials of integers are places."""
    at = lambda x: x[lax.polynomial(jnp.array([0, 1]), [1, -2, 1]) + lax.one_minus_square(1)]
    [first, second] = polynomials(lambda x: at(x) - x[::-1])
    assert first.is_zero() and second.is_zero()


def test_degrees_of_a_polynomial_in_its_coefficients():
    out = read_function(
        lambda a: jnp.polyval(a, 2.0), [PAIR], Degrees(), [scaled([DEGREE, DEGREE])]
    )
    assert out.degrees == DEGREE
    with pytest.raises(NotHomogeneousError):
        read_function(
            lambda a: jnp.polyval(jnp.array([1.0, 2.0]), a),
            [PAIR],
            Degrees(),
            [scaled([DEGREE, DEGREE])],
        )


# --- only what JAX itself writes passes for exp(-x^2) ---------------------------------------------


def cut(x, bits, limit=28.0):
    """The program of erf's derivative in JAX 0.12, but for the bits it cuts off and the limit."""
    high = jnp.minimum(jnp.abs(x), limit)
    mask = np.uint64((1 << 64) - (1 << bits))
    high = lax.bitcast_convert_type(lax.bitcast_convert_type(high, jnp.uint64) & mask, jnp.float64)
    low = (jnp.minimum(jnp.abs(x), limit) - high) * (jnp.minimum(jnp.abs(x), limit) + high)
    return jnp.exp(-(high**2)) * (1 - low + low**2 / 2)


@pytest.mark.parametrize("bits", [26, 50])
@pytest.mark.parametrize("own_rule", [False, True])
def test_cut_bits_are_not_read(bits, own_rule):
    def exp_neg_sq(x):
        return cut(x, bits)

    function = exp_neg_sq
    if own_rule:
        function = jax.custom_jvp(exp_neg_sq)
        function.defjvp(lambda x, t: (exp_neg_sq(x[0]), -2 * x[0] * exp_neg_sq(x[0]) * t[0]))
    with pytest.raises(UnreadableError, match="bitcast_convert_type"):
        polynomials(function)


# --- loops ----------------------------------------------------------------------------------------


def scanned(x):
    """A constant, two carried values of unlike shapes, two sequences and two outputs."""
    weight = x[0] * x[1]

    def step(carry, row):
        total, last = carry
        number, pair = row
        return (total + weight * number, pair * total), (total, last)

    rows = (x, jnp.stack([x, 2 * x]))
    (total, last), (totals, lasts) = lax.scan(step, (0.0, x), rows)
    return jnp.concatenate([total[None], last, totals, lasts.reshape(-1)])


def unrolled(x):
    total, last, totals, lasts = 0.0, x, [], []
    for number, pair in zip(x, jnp.stack([x, 2 * x]), strict=True):
        totals.append(total)
        lasts.append(last)
        total, last = total + x[0] * x[1] * number, pair * total
    return jnp.concatenate([jnp.stack([total]), last, jnp.stack(totals), *lasts])


LOOPS = {
    "scan": (scanned, unrolled),
    "slope of a scan": (slope(scanned), slope(unrolled)),
    "scan of a scan": (
        lambda x: lax.scan(lambda c, a: (lax.scan(lambda d, b: (d * b, a), c, x)[0], None), x[0],
                           x)[0],
        lambda x: x[0] * (x[0] * x[1]) ** 2,
    ),
    "scan without sequences": (
        lambda x: lax.scan(lambda c, _: (c * x, c), x, None, length=2)[0],
        lambda x: x**3,
    ),
    "many scans": (jax.vmap(lambda a: lax.scan(lambda c, b: (c * a + b, None), a,
                                               jnp.arange(2.0))[0]), lambda x: x**3 + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_what_they_do(name):
    loop, straight = LOOPS[name]
    difference = polynomials(lambda x: loop(x) - straight(x))
    assert difference and all(x.is_zero() for x in difference)
