"""One null space, one rank and one echelon form for each kind of number, on drawn matrices."""

from fractions import Fraction

import numpy as np
import pytest
from flint import arb
from hypothesis import given, settings
from hypothesis import strategies as some

from symtheory.linear_algebra import enclosed, exact, floats, modular

PRIME = modular.PRIME


@some.composite
def matrices(draw, largest=5, entries=6):
    """Small integer matrices, often of deficient rank: products of two thin ones."""
    rows, columns = draw(some.integers(1, largest)), draw(some.integers(1, largest))
    inner = draw(some.integers(0, min(rows, columns)))
    number = some.integers(-entries, entries)
    grid = lambda n, m: np.array(
        [[draw(number) for _ in range(m)] for _ in range(n)], dtype=np.int64
    ).reshape(n, m)
    return grid(rows, inner) @ grid(inner, columns)


def sparse(matrix):
    return [{j: int(x) for j, x in enumerate(row) if x} for row in matrix]


def dense(vectors, columns):
    out = np.zeros((len(vectors), columns), dtype=object)
    for k, vector in enumerate(vectors):
        for j, x in vector.items():
            out[k, j] = Fraction(x)
    return out


@settings(deadline=None, max_examples=60)
@given(matrices())
def test_all_kinds_of_numbers_agree(matrix):
    columns = matrix.shape[1]
    rank = exact.rank(sparse(matrix))
    assert rank == np.linalg.matrix_rank(matrix)
    assert modular.rank(matrix) == rank  # minors are far below the prime
    assert modular.ranks(np.stack([matrix, 0 * matrix])).tolist() == [rank, 0]
    assert floats.rank(matrix.astype(float)) == rank
    assert enclosed.certain_rank([[arb(int(x)) for x in row] for row in matrix]) == rank
    null = exact.null_space(sparse(matrix), columns)
    assert len(null) == columns - rank
    assert not np.any(matrix.astype(object) @ dense(null, columns).T)


@settings(deadline=None, max_examples=60)
@given(matrices())
def test_null_spaces(matrix):
    columns = matrix.shape[1]
    basis = modular.null_space(matrix % PRIME)
    assert len(basis) == columns - modular.rank(matrix)
    assert not np.any(modular.product(matrix % PRIME, basis.T))
    for row in basis:  # 1 at a free column of its own, and nothing behind it
        last = int(np.flatnonzero(row)[-1])
        assert row[last] == 1 and np.count_nonzero(basis[:, last]) == 1
    found = floats.null_space(matrix.astype(float))
    assert len(found.basis) == columns - found.rank
    assert np.allclose(matrix @ found.basis.T, 0, atol=1e-9)
    assert np.allclose(found.basis @ found.basis.T, np.eye(len(found.basis)))


@settings(deadline=None, max_examples=60)
@given(matrices())
def test_echelon_forms(matrix):
    columns, rank = matrix.shape[1], exact.rank(sparse(matrix))
    rows = exact.echelon(sparse(matrix))
    assert len(rows) == rank
    for pivot, row in rows.items():
        assert row[pivot] == 1
        assert all(pivot not in other for key, other in rows.items() if key != pivot)
    reduced = modular.echelon(matrix % PRIME)
    assert len(reduced) == rank
    assert modular.rank(np.concatenate([reduced, matrix % PRIME])) == rank
    for from_left in (False, True):
        form = floats.echelon(matrix.astype(float), small=1e-9, from_left=from_left)
        assert form.shape == (rank, columns)
        ones = [j for j in range(columns) if np.count_nonzero(np.abs(form[:, j]) > 1e-9) == 1]
        assert len(ones) >= rank


@settings(deadline=None, max_examples=30)
@given(some.integers(1, 6), some.integers(0, 6), some.integers(1, 6), some.integers(0, 2**32))
def test_products_are_exact(rows, inner, columns, seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(0, PRIME, s) for s in ((rows, inner), (inner, columns)))
    expected = (a.astype(object) @ b.astype(object)) % PRIME if inner else np.zeros((rows, columns))
    assert np.array_equal(modular.product(a, b), expected.astype(np.int64))


@pytest.mark.parametrize("shape", [(2, 40_000, 1), (2, 3000, 200), (120, 110, 90)])
def test_long_and_large_products_of_the_largest_residues(shape):
    rows, inner, columns = shape
    a, b = (np.full(s, PRIME - 1) for s in ((rows, inner), (inner, columns)))
    assert np.all(modular.product(a, b) == inner % PRIME)  # (-1)(-1), summed


@given(some.integers(-180, 180), some.integers(1, 180))
def test_reconstruction(numerator, denominator):
    value = Fraction(numerator, denominator)
    assert modular.reconstruct(modular.residue(value)) == value


def test_combinations_keep_the_rank():
    rng = np.random.default_rng(0)
    thin = modular.product(rng.integers(0, PRIME, (90, 4)), rng.integers(0, PRIME, (4, 12)))
    few = modular.combinations(thin, 14, rng)
    assert len(few) == 14 and modular.rank(few) == 4


def test_a_null_space_looks_at_all_rows():
    # The first rows are zero; the last one alone decides.
    matrix = np.zeros((500, 3), dtype=np.int64)
    matrix[-1] = [1, 2, 3]
    assert len(modular.null_space(matrix)) == 2


@pytest.mark.parametrize("error", [1e-9, 1.0])
def test_certified_ranks_allow_for_the_errors(error):
    matrix = np.diag([1.0, 0.5, 0.0])
    bound = np.full((3, 3), error)
    assert enclosed.certified_rank(matrix, bound, 2) == (2 if error < 1e-3 else 0)
    assert enclosed.certified_rank(matrix, bound, 3) == 0


def test_certain_ranks_do_not_count_what_may_be_zero():
    assert enclosed.certain_rank([[arb(1), arb(0)], [arb(0), arb(0, 1e-3)]]) == 1
    assert enclosed.certain_rank([[arb("nan"), arb("nan")]]) == 0
