"""The way out to SymPy: user names are data, kernels become the functions they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from symtheory.domains import Label, Polynomials, Ring, Symbols
from symtheory.program import read_function
from tests.domains.evaluate import number

AWKWARD = ["e", "E", "I", "S", "N", "beta", "lambda", "pi", "x y", "layers.0.W", "∂", "__import__"]


@pytest.mark.parametrize("name", AWKWARD)
def test_any_name_is_a_name(name):
    symbols = Symbols(Ring())
    x = symbols.array("param", name, (2,))
    out = symbols.to_sympy(x[0] * x[0] - 3 * x[1])
    assert len(out.free_symbols) == 2 and all(s.is_real for s in out.free_symbols)
    assert sympy.degree(out, symbols.sympy_symbol(f"param|{name}|0")) == 2


def test_names_that_would_collide_stay_apart():
    symbols = Symbols(Ring())
    flat = symbols.array("param", "U_1", (2,))
    square = symbols.array("param", "U", (2, 2))
    data = symbols.array("sample", "U", (2, 2))
    texts = [str(symbols.to_sympy(x)) for x in (flat[0], square[0, 0], data[0, 0])]
    assert len(set(texts)) == 3


def test_large_indices_are_spelled_out():
    symbols = Symbols(Ring())
    x = symbols.array("param", "W", (12, 12))
    assert str(symbols.to_sympy(x[0, 10])) == "W_1_11"


def test_symmetric_arrays_share_entries():
    symbols = Symbols(Ring())
    x = symbols.array("moment", "C", (3, 3), symmetric=True)
    assert (x[0, 2] - x[2, 0]).is_zero() and not (x[0, 1] - x[0, 2]).is_zero()
    assert set(symbols.of_kind("moment")) == {
        Label("moment", "C", (i, j)).text for i in range(3) for j in range(i, 3)
    }
    assert symbols.of_kind("param") == {}


KERNELS = {
    "relu": jax.nn.relu, "exp": jnp.exp, "log": jnp.log, "tanh": jnp.tanh, "sqrt": jnp.sqrt,
    "sigmoid": jax.nn.sigmoid, "erf": jax.lax.erf, "gelu": jax.nn.gelu, "exp2": jnp.exp2,
    "cbrt": jnp.cbrt, "power": lambda x: x**0.3, "sin": jnp.sin, "sinh": jnp.sinh,
    "lgamma": jax.lax.lgamma, "digamma": jax.lax.digamma, "arcsin": lambda x: jnp.arcsin(x / 2),
    "opaque": lambda x: 1 / (1 + x**0.3), "erf_inv": lambda x: jax.lax.erf_inv(x / 2),
}  # fmt: skip


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_become_functions(name):
    ring = Ring()
    symbols = Symbols(ring)
    x = symbols.array("param", "x", (2,))
    structure = jax.ShapeDtypeStruct((2,), float)
    [element, _] = read_function(KERNELS[name], [structure], Polynomials(ring), [x])
    expression = symbols.to_sympy(element)
    for value in (0.3, 0.77):
        exact = expression.subs(symbols.sympy_symbol("param|x|0"), value).evalf()
        assert float(exact) == pytest.approx(number(element, {"param|x|0": value}), rel=1e-9)
        assert float(exact) == pytest.approx(float(KERNELS[name](value)), rel=1e-6)


def test_single_precision_means_the_same():
    """Structures and captured constants in single precision are read as what they stand for."""
    third = jnp.asarray(np.float32(1) / np.float32(3))
    ring = Ring()
    x = np.array([ring.symbol("x")], dtype=object)
    structure = jax.ShapeDtypeStruct((1,), np.float32)
    function = lambda v: v * third + jnp.asarray([0.1], dtype=np.float32) * v
    [out] = read_function(function, [structure], Polynomials(ring), [x])
    assert (30 * out - 13 * x[0]).is_zero()
