"""Types that round or wrap around: read as JAX computes with them, or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb
from jax import lax

from symtheory.domains import (
    Balls,
    Expressions,
    Polynomials,
    Residues,
    Ring,
    ball,
    from_fractions,
    precision,
)  # fmt: skip
from symtheory.domains._degrees import DEGREE, Degrees, NotHomogeneousError, scaled
from symtheory.domains.tensors import Indexed, Tensor, read_indexed
from symtheory.errors import UnreadableError
from symtheory.exact import rational
from symtheory.program import read_function
from symtheory.symmetry.inference import infer

POINT = np.array([19661 / 2**16, -27853 / 2**14, 4921754 / 2**14])  # held by single precision
VECTOR = jax.ShapeDtypeStruct((3,), float)
BRAIN, HALF, EIGHT = jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn


def convolution(x, kind):
    y = x.astype(kind)
    return lax.conv_general_dilated(y.reshape(1, 1, 3), y[:2].reshape(1, 1, 2), (1,), "VALID")


def in_type(dtype, function):
    return lambda x: function(x.astype(dtype)).astype(float)


# What rounds: every one of them changes some number, so none may be read as exact.
ROUNDS = {
    "dot, accumulated in bfloat16": lambda x: jnp.dot(x, x, preferred_element_type=BRAIN),
    "dot, accumulated in float16": lambda x: jnp.dot(x, x, preferred_element_type=HALF),
    "matrix product in bfloat16": lambda x: jnp.matmul(
        x[:, None], x[None], preferred_element_type=BRAIN
    ),
    "einsum in bfloat16": lambda x: jnp.einsum("i,j->ij", x, x, preferred_element_type=BRAIN),
    "convolution of bfloat16": lambda x: convolution(x, BRAIN),
    "to bfloat16": in_type(BRAIN, lambda x: x),
    "to float16": in_type(HALF, lambda x: x),
    "to eight bits": in_type(EIGHT, lambda x: x / 2),
    "sum": in_type(BRAIN, jnp.sum),
    "product": in_type(HALF, jnp.prod),
    "running sum": in_type(BRAIN, jnp.cumsum),
    "mean": lambda x: jnp.mean(x, dtype=BRAIN).astype(float),
    "window": in_type(
        BRAIN, lambda x: lax.reduce_window(x, BRAIN(0), lax.add, (2,), (1,), "VALID")
    ),
    "scatter": in_type(HALF, lambda x: jnp.zeros(2, HALF).at[jnp.array([0, 0, 1])].add(x)),
    "loop": in_type(BRAIN, lambda x: lax.scan(lambda c, v: (c + v, c), BRAIN(0), x)[0]),
    "reduce_precision, 5 bits": lambda x: lax.reduce_precision(x, 5, 10),
    "reduce_precision, 8 bits": lambda x: lax.reduce_precision(x, 8, 7),
}

# What is exact, or may be: a refusal or the right value.
VALUES = {
    "a constant": lambda x: x * jnp.asarray(0.1, BRAIN).astype(float),
    "a constant of half precision": lambda x: x * jnp.asarray(0.1, HALF).astype(float),
    "arithmetic of constants": lambda x: x * (BRAIN(0.1) * BRAIN(3)).astype(float),
    "a sum of constants": lambda x: x + jnp.sum(jnp.full(3, 0.1, HALF)).astype(float),
    "a constant that is rounded": lambda x: x * jnp.asarray(0.1).astype(BRAIN).astype(float),
    "a small number that is kept": lambda x: x * jnp.asarray(0.75).astype(EIGHT).astype(float),
    "positions": lambda x: x * jnp.arange(255, 258, dtype=BRAIN).astype(float),
    "small positions": lambda x: x * jnp.arange(3, dtype=BRAIN).astype(float),
    "truth values": lambda x: x * (x > 0).astype(BRAIN).astype(float),
    "signs of half precision": lambda x: jnp.sign(-abs(x.astype(HALF))).astype(float) * x,
    "a maximum of bfloat16": in_type(BRAIN, lambda x: jnp.max(x) - jnp.max(x)),
    "single precision": lambda x: x.astype(jnp.float32).astype(float) * 1.0,
    "reduced to single": lambda x: lax.reduce_precision(x, 8, 23) * 1.0,
    "unsigned": in_type("uint8", lambda x: -x),
    "eight bits, the largest": in_type("int8", lambda x: x),
    "eight bits, negated": in_type("int8", lambda x: -(x - x[2] - 1)),
    "eight bits, summed": in_type("int8", lambda x: jnp.sum(x + x, dtype="int8")),
    "eight bits, running": in_type("int8", lambda x: lax.cumsum(x + x)),
    "eight bits, multiplied": in_type("int8", lambda x: lax.reduce_prod(x, (0,))),
    "eight bits, contracted": in_type("int8", lambda x: x @ x),
    "eight bits into 32": lambda x: jnp.dot(
        x.astype("int8"), x.astype("int8"), preferred_element_type="int32"
    ).astype(float),
    "eight bits, convolved": lambda x: convolution(x, "int8").astype(float),
    "eight bits, scattered": in_type(
        "int8", lambda x: jnp.zeros(2, "int8").at[jnp.array([0, 0, 1])].add(x + x)
    ),
    "eight bits of more": in_type("int32", lambda x: x.astype("int8")),
    "sixteen bits": in_type("uint16", lambda x: x - 1),
    "four bits": in_type("int32", lambda x: x.astype("int4")),
    "four bits of floats": in_type("int4", lambda x: x),
    "the sign of eight bits": in_type("uint8", lambda x: jnp.abs(x) + jnp.sign(x)),
}


def objects(function):
    out = np.empty(3, dtype=object)
    out[:] = [function(rational(v)) for v in POINT]
    return out


def exact_values(function):
    """The value in every domain that computes one, as balls; None where it is refused."""
    ring = Ring()
    for domain, inputs in (
        (Balls(), objects(ball)),
        (Polynomials(ring), objects(ring.constant)),
        (Expressions(), objects(Expressions().scalar)),
        (Residues(), from_fractions(objects(lambda v: v))),
    ):
        try:
            out = read_function(function, [VECTOR], domain, [inputs])
        except UnreadableError as error:
            yield domain.name, str(error)
            continue
        if isinstance(domain, Residues):
            parts = zip(out.values.flat, out.errors.flat, strict=True)
            yield domain.name, [arb(m, e) if np.isfinite(e) else None for m, e in parts]
        elif isinstance(domain, Balls):
            yield domain.name, list(out.flat)
        elif isinstance(domain, Polynomials):
            yield domain.name, [ball(_fraction(x.as_fmpq())) for x in out.flat]
        else:
            yield domain.name, [ball(domain.as_rational(x)) for x in out.flat]


def _fraction(q):
    return rational(int(q.p)) / int(q.q)


@pytest.mark.parametrize("name", VALUES)
def test_the_value_is_that_of_jax_or_refused(name):
    want = np.asarray(jax.jit(VALUES[name])(POINT), dtype=float)
    read = 0
    with precision(80):
        for domain, out in exact_values(VALUES[name]):
            if isinstance(out, str):
                assert "round" in out or "cast" in out or "type" in out, out
                continue
            assert len(out) == want.size
            for got, value in zip(out, want.flat, strict=True):
                if got is None:  # unknown
                    continue
                read += 1
                assert (got + arb(0, 1e-12 * (1 + abs(value)))).contains(arb(value)), domain
    refused = ("arithmetic of", "a sum of", "a constant that", "positions", "signs of", "a maximum")
    assert read or name.startswith(refused)


@pytest.mark.parametrize("name", ROUNDS)
def test_what_rounds_is_not_exact(name):
    function = ROUNDS[name]
    with precision(80):
        for domain, out in exact_values(function):
            assert isinstance(out, str), domain
            assert "round" in out
    with pytest.raises((UnreadableError, NotHomogeneousError)):
        read_function(function, [VECTOR], Degrees(), [scaled([DEGREE] * 3)])
    loss = lambda p, x: jnp.sum(jnp.tanh(function(p["u"] * x).astype(float) / p["w"]))
    found = infer(loss, {"u": VECTOR, "w": jax.ShapeDtypeStruct((), float)}, VECTOR)
    assert found.counts.total == found.counts.affine == 0


ALGORITHMS = {
    "tf32": lax.DotAlgorithmPreset.TF32_TF32_F32,
    "bfloat16": lax.DotAlgorithmPreset.BF16_BF16_F32,
    "half, by hand": lax.DotAlgorithm(np.float16, np.float16, np.float32),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_that_rounds_its_factors(name):
    product = lambda x, y: lax.dot(x, y, precision=ALGORITHMS[name])
    with pytest.raises(UnreadableError, match="round"):
        read_function(lambda x: product(x, x), [VECTOR], Balls(), [objects(ball)])
    loss = lambda p, x: jnp.tanh(product(p["u"], p["w"] * x))
    found = infer(loss, dict.fromkeys("uw", VECTOR), VECTOR)
    assert found.counts.total == 0 and found.counts.flips > 0
    exact = lambda x: lax.dot(x, x, precision=lax.DotAlgorithmPreset.F64_F64_F64)
    out = read_function(exact, [VECTOR], Balls(), [objects(ball)])
    assert (out[()] + arb(0, 1e-9)).contains(arb(float(POINT @ POINT)))


@pytest.mark.parametrize("dtype", [BRAIN, HALF, EIGHT])
def test_no_law_for_all_sizes_of_what_rounds(dtype):
    x = Tensor("param", "x", ("n",))
    for function in (
        lambda v: jnp.dot(v, v, preferred_element_type=dtype),
        lambda v: jnp.sum(v.astype(dtype).astype(float)),
    ):
        with pytest.raises(UnreadableError, match="round"):
            read_indexed(function, [x.sizes], [Indexed.of(x)])


def test_parameters_of_bfloat16_are_real_numbers():
    """As those of any other type: what the loss computes with is its own business."""
    params = {"u": jnp.ones(3, BRAIN), "w": jnp.ones(3, BRAIN)}
    found = infer(lambda p, x: jnp.tanh((p["u"] * p["w"]) @ x), params, VECTOR)
    assert found.counts.total == 3


def test_a_type_without_a_sign_keeps_no_signs():
    loss = lambda p, x: jnp.tanh(p["u"].astype(jnp.float8_e8m0fnu).astype(float) * x)
    found = infer(loss, {"u": jax.ShapeDtypeStruct((), float)}, jax.ShapeDtypeStruct((), float))
    assert found.counts.flips == 0
