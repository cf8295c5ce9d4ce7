"""The generator read from its action: its matrix, its shift, its symmetry."""

from fractions import Fraction

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.symmetry import (
    Affine,
    Exponential,
    Matrix,
    SymmetricMatrix,
    Vector,
    read_generator,
    verify,
)
from symtheory.verdict import Status

MODEL = Model(
    lambda p, z: jnp.sum(p["a"]) * jnp.sum(p["b"]) * z["z"],
    {"a": (2,), "b": (2, 2)},
    {"z": Normal(())},
)


def dense(generator):
    """The matrix and the shift as numbers."""
    n = len(generator.theta)
    matrix, shift = np.zeros((n, n)), np.zeros(n)
    for place, entry in generator.matrix.items():
        matrix[place] = float(Fraction(str(entry.as_fmpq())))
    for row, entry in generator.shift.items():
        shift[row] = float(Fraction(str(entry.as_fmpq())))
    return matrix, shift


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-4, 4), min_size=36, max_size=36), st.booleans())
def test_the_matrix_is_the_jacobian(entries, shifted):
    matrix = np.array(entries, dtype=float).reshape(6, 6) / 4
    offset = np.arange(6) / 2 if shifted else np.zeros(6)
    _, back = jax.flatten_util.ravel_pytree({"a": jnp.zeros(2), "b": jnp.zeros((2, 2))})

    def action(p):
        return back(jnp.asarray(matrix) @ jax.flatten_util.ravel_pytree(p)[0] + jnp.asarray(offset))

    generator = read_generator(MODEL, Affine(action) if shifted else Exponential(action))
    found, shift = dense(generator)
    assert np.array_equal(found, matrix)
    assert np.array_equal(shift, offset)
    assert generator.is_symmetric == np.array_equal(matrix, matrix.T)
    assert generator.is_antisymmetric == np.array_equal(matrix, -matrix.T)
    assert generator.is_diagonal == np.array_equal(matrix, np.diag(np.diag(matrix)))


@pytest.mark.parametrize(
    ("space", "count"), [(SymmetricMatrix(2), 3), (Matrix(2), 4), (Vector(2), 2)]
)
def test_the_basis_of_a_family_spans_it(space, count):
    scalar = space.shape({}) == (2,)
    action = lambda p, m: {"a": (m * p["a"]) if scalar else m @ p["a"], "b": 0 * p["b"]}
    generator = read_generator(MODEL, Exponential(action, {"m": space}))
    basis = [member["m"] for member in generator.basis()]
    assert len(basis) == count
    assert np.linalg.matrix_rank(np.array(basis).reshape(count, -1)) == count
    if space.symmetric:
        assert all(np.array_equal(m, m.T) for m in basis)
    assert generator.is_symmetric == (scalar or space.symmetric)


def test_a_family_without_members_has_one_basis_member():
    assert read_generator(MODEL, Exponential(lambda p: p)).basis() == [{}]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.fractions(-3, 3, max_denominator=5), min_size=3, max_size=3),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
)
def test_diagonal_generators_of_a_monomial(rates, powers):
    """u^i v^j w^k is invariant exactly when i a + j b + k c = 0."""

    def loss(p, z):
        return z["z"] * p["u"] ** powers[0] * p["v"] ** powers[1] * p["w"] ** powers[2]

    model = Model(loss, {"u": (), "v": (), "w": ()}, {"z": Normal(())})
    a, b, c = (float(rate) for rate in rates)
    action = Exponential(lambda p: {"u": a * p["u"], "v": b * p["v"], "w": c * p["w"]})
    invariant = sum(r * n for r, n in zip(rates, powers, strict=True)) == 0
    assert verify(model, action).status is (Status.PROVED if invariant else Status.REFUTED)
