"""Laws of the sample: exact moments against identities, against sampling, and wrong input."""

import itertools
import math
import random
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symtheory.data import Empirical, Normal, Rademacher, Uniform
from symtheory.errors import InputError
from symtheory.model import Model

nothing = lambda name: None
small = st.integers(-4, 4)


def covariance(entries, n):
    root = np.array(entries, dtype=object).reshape(n, n)
    return root @ root.T


def moment(law, *indices):
    """E[x_i x_j ...] for a list of indices."""
    return law.moment(tuple(indices.count(i) for i in range(law.count)), nothing)


# --- Gaussian identities -------------------------------------------------------------------------


@given(st.lists(small, min_size=9, max_size=9), st.lists(small, min_size=9, max_size=9))
def test_quartic_form(root, matrix):
    """E[x x^T A x x^T] = S A S + S A^T S + tr(A S) S, exactly."""
    n = 3
    s, a = covariance(root, n), np.array(matrix, dtype=object).reshape(n, n)
    law = Normal(n, cov=s)
    found = np.array(
        [
            [
                sum(a[k, l] * moment(law, i, k, l, j) for k in range(n) for l in range(n))
                for j in range(n)
            ]
            for i in range(n)
        ]
    )
    expected = s @ a @ s + s @ a.T @ s + np.trace(a @ s) * s
    assert np.array_equal(found, expected)


@given(st.fractions(-3, 3, max_denominator=7), st.fractions(0, 5, max_denominator=7))
def test_sixth_moment(m, variance):
    """E[Z^6] = m^6 + 15 m^4 s^2 + 45 m^2 s^4 + 15 s^6"""
    found = Normal((), mean=m, cov=np.array(variance, dtype=object)).moment((6,), nothing)
    assert found == m**6 + 15 * m**4 * variance + 45 * m**2 * variance**2 + 15 * variance**3


@given(st.lists(small, min_size=4, max_size=4))
def test_product_of_squares(root):
    """E[X^2 Y^2] = a c + 2 b^2"""
    (a, b), (_, c) = s = covariance(root, 2)
    assert Normal(2, cov=s).moment((2, 2), nothing) == a * c + 2 * b**2


@given(
    st.lists(small, min_size=9, max_size=9),
    st.lists(small, min_size=3, max_size=3),
    st.tuples(*[st.integers(0, 2)] * 3),
)
def test_pairings(root, mean, powers):
    """Isserlis' theorem written out: choose factors that give the mean, pair the others."""
    cov = covariance(root, 3)
    factors = [i for i, n in enumerate(powers) for _ in range(n)]

    def pairings(rest):
        if not rest:
            return 1
        first, others = rest[0], rest[1:]
        return sum(
            cov[first, other] * pairings(others[:k] + others[k + 1 :])
            for k, other in enumerate(others)
        )

    expected = 0
    for kept in itertools.product((0, 1), repeat=len(factors)):
        paired = [f for f, k in zip(factors, kept, strict=True) if k]
        centre = math.prod(mean[f] for f, k in zip(factors, kept, strict=True) if not k)
        expected += centre * pairings(paired)
    assert Normal(3, mean=np.array(mean), cov=cov).moment(powers, nothing) == expected


def test_named_covariances_take_their_symbols():
    law = Normal(2, cov="S")
    table = {"S": np.array([[5, 7], [7, 11]], dtype=object)}
    assert law.moment((2, 2), table.__getitem__) == 5 * 11 + 2 * 49
    assert law.moment((1, 2), table.__getitem__) == 0
    assert law.arrays == {"S": (2, 2)}
    assert Normal((2, 3), mean="m", cov="S").arrays == {"m": (2, 3), "S": (6, 6)}
    assert Normal(("a", "b"), cov="S").arrays == {"S": ("a*b", "a*b")}


# --- every law against its own samples -----------------------------------------------------------

ROWS = np.random.default_rng(0).normal(size=(9, 2)).round(2)
LAWS = {
    "standard": Normal(2),
    "correlated": Normal(2, mean=[0.5, -1.0], cov=[[1.0, 0.6], [0.6, 0.5]]),
    "singular": Normal(2, cov=[[1.0, 2.0], [2.0, 4.0]]),
    "diagonal": Normal(2, cov=[[4.0, 0.0], [0.0, 0.25]]),
    "number": Normal(2, mean=1, cov=0.5),
    "rademacher": Rademacher(2),
    "uniform": Uniform(2, -0.5, 2),
    "empirical": Empirical({"a": ROWS[:, 0], "b": ROWS[:, 1]}),
}


def flat(draws):
    leaves = jax.tree.leaves(draws)
    return np.stack(leaves, axis=1) if len(leaves) > 1 else np.asarray(leaves[0])


@pytest.mark.parametrize("name", LAWS)
def test_moments_against_sampling(name):
    law = LAWS[name]
    draws = flat(law.sample(jax.random.key(3), (400_000,), jnp.float64))
    assert draws.shape == (400_000, 2)
    for powers in itertools.product(range(5), repeat=2):
        if 0 < sum(powers) <= 4:
            values = draws[:, 0] ** powers[0] * draws[:, 1] ** powers[1]
            error = values.std() / math.sqrt(len(values))
            exact = law.moment(powers, nothing)
            assert isinstance(exact, Fraction)
            assert abs(values.mean() - float(exact)) < 4 * error + 1e-12
    # Control: the second moment is known much better than to a tenth.
    values = draws[:, 0] ** 2
    assert abs(values.mean() - 1.1 * float(law.moment((2, 0), nothing))) > 4 * values.std() / 632


@pytest.mark.parametrize("name", LAWS)
def test_samples_are_determined_by_their_key(name):
    law = LAWS[name]
    first, again, other = (law.sample(jax.random.key(k), (5,), jnp.float64) for k in (1, 1, 2))
    assert np.array_equal(flat(first), flat(again))
    assert not np.array_equal(flat(first), flat(other))
    assert flat(law.sample(jax.random.key(1), (4, 3), jnp.float32)).dtype == np.float32


@pytest.mark.parametrize("name", LAWS)
def test_exact_draws_lie_in_the_support(name):
    law, rng = LAWS[name], random.Random(0)
    for _ in range(20):
        draw = law.exact_draw(rng)
        leaves = jax.tree.leaves(draw, is_leaf=lambda x: isinstance(x, np.ndarray))
        numbers = [entry for leaf in leaves for entry in np.ravel(leaf)]
        assert all(isinstance(entry, Fraction) for entry in numbers)
        x, y = numbers
        if name == "singular":
            assert y == 2 * x
        elif name == "rademacher":
            assert {abs(x), abs(y)} == {1}
        elif name == "uniform":
            assert all(Fraction(-1, 2) <= entry <= 2 for entry in numbers)
        elif name == "empirical":
            assert [float(x), float(y)] in ROWS.tolist()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(-3, 3).map(lambda x: round(x, 2)), min_size=1, max_size=6))
def test_empirical_moments_are_exact_averages(column):
    law = Empirical({"x": column, "y": [2 * x for x in column]})
    exact = [Fraction(str(x)) for x in column]
    mean = lambda values: sum(values, Fraction(0)) / len(column)
    assert law.moment((3, 0), nothing) == mean([x**3 for x in exact])
    assert law.moment((1, 1), nothing) == mean([2 * x * x for x in exact])


def test_matrix_shaped_entries_are_row_major():
    cov = np.diag([1.0, 2.0, 3.0, 4.0])
    law = Normal((2, 2), mean=[[0.0, 1.0], [2.0, 3.0]], cov=cov)
    assert law.moment((0, 0, 2, 0), nothing) == 3 + 4
    draws = np.asarray(law.sample(jax.random.key(0), (100_000,), jnp.float64))
    np.testing.assert_allclose(draws.mean(0), [[0, 1], [2, 3]], atol=0.04)
    np.testing.assert_allclose(draws.var(0), [[1, 2], [3, 4]], rtol=0.04)


def test_model_samples_are_independent_between_entries():
    model = Model(
        lambda p, z: p["u"] * z["x"] * z["y"], {"u": ()}, {"x": Normal(()), "y": Normal(())}
    )
    draw = model.sample(jax.random.key(0), (50_000,))
    assert abs(np.corrcoef(draw["x"], draw["y"])[0, 1]) < 4 / math.sqrt(50_000)
    again = model.sample(jax.random.key(0), (50_000,))
    assert np.array_equal(draw["x"], again["x"])


# --- wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Normal(2, cov=[[1.0, 0.5], [0.4, 1.0]]),
            r"entry \(1, 2\) is 0.5.*\(2, 1\) is 0.4",
        ),
        (
            lambda: Normal(3, cov=[[1, 0, 0], [0, 1, 2], [0, 0, 1]]),
            r"\(2, 3\) is 2 but \(3, 2\) is 0",
        ),
        (lambda: Normal(2, cov=[[1.0, 2.0], [2.0, 1.0]]), "smallest eigenvalue is -1"),
        (lambda: Normal((), cov=-1.0), "smallest eigenvalue is -1"),
        (lambda: Normal(3, cov=np.eye(2)), r"\(3, 3\), got \(2, 2\)"),
        (lambda: Normal((2, 2), cov=np.eye(2)), r"\(4, 4\), got \(2, 2\)"),
        (lambda: Normal(2, cov=[1.0, 2.0]), r"\(2, 2\), got \(2,\)"),
        (lambda: Normal(2, cov=[[1.0, np.nan], [np.nan, 1.0]]), "not finite"),
        (lambda: Normal(2, cov=np.inf), "not finite"),
        (lambda: Normal(2, mean=[1.0, 2.0, 3.0]), r"mean has shape \(3,\) where \(2,\)"),
        (lambda: Normal(2, mean=[1.0, np.nan]), "mean.*NaN"),
        (lambda: Normal(2, mean=np.nan), "mean.*NaN"),
        (lambda: Normal(-1), "not negative"),
        (lambda: Normal(1.5), "size is an integer or a name"),
        (lambda: Normal(""), "empty name"),
        (lambda: Uniform((), 1, 1), "low < high"),
        (lambda: Uniform((), 0, np.inf), "finite"),
        (lambda: Uniform((), "a", 1), "low = 'a'"),
        (lambda: Empirical({}), "no columns"),
        (lambda: Empirical({"x": [1.0, 2.0], "y": [1.0]}), "same number of rows.*'x': 2, 'y': 1"),
        (lambda: Empirical({"x": []}), "rows"),
        (lambda: Empirical({"x": 1.0}), "rows"),
        (lambda: Empirical({"x": [1.0, np.nan]}), "'x'.*not finite"),
        (lambda: Empirical({"x": ["a", "b"]}), "'x'.*numbers"),
    ],
)
def test_wrong_laws(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_an_unbound_law_cannot_be_drawn():
    for law, message in [
        (Normal((), cov="S"), "'S' is not bound"),
        (Normal((), mean="m"), "'m' is not bound"),
        (Normal("n"), "'n' is not bound"),
        (Rademacher("n"), "'n' is not bound"),
    ]:
        with pytest.raises(InputError, match=message):
            law.sample(jax.random.key(0), (), jnp.float64)


def test_a_rounding_error_in_a_covariance_is_forgiven():
    root = np.random.default_rng(0).normal(size=(4, 2))
    cov = root @ root.T  # rank two: the smallest eigenvalue may come out as -1e-17
    assert Normal(4, cov=cov).count == 4
    assert Normal(2, cov=[[1.0, 0.1], [0.1 + 1e-16, 1.0]]).count == 2


def test_a_named_mean_beside_a_given_covariance():
    law = Normal(2, mean="m", cov=np.eye(2)).bind({}, {"m": np.array([1.0, 2.0])})
    np.testing.assert_array_equal(law.mean, [1.0, 2.0])
    with pytest.raises(InputError, match="the same name 'm'"):
        Normal(2, mean="m", cov="m")
