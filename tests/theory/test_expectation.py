"""Expectations at symbolic sizes, against known identities and against exact moments at sizes."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import symtheory as st
from symtheory.errors import InputError, UnreadableError

REFERENCE = json.loads(
    (pathlib.Path(__file__).parent.parent / "reference" / "moments.json").read_text()
)["identities"]


def outer(z, c):
    x = z["x"]
    return jnp.outer(x, x) @ c["A"] @ jnp.outer(x, x)


def test_the_reference_file_has_the_four_identities_below():
    assert [text.split(" ")[0] for text in REFERENCE] == ["E[x", "E[Z^6]", "E[X^2", "E[|delta|^2]"]


def test_the_fourth_moment_around_a_matrix():
    """E[x x^T A x x^T] = S A S + S A^T S + tr(A S) S, for every size."""
    closed = st.expectation(outer, {"x": st.Normal("n", cov="S")}, {"A": ("n", "n")})
    assert str(closed) == "S A^T S + S A S + Tr[A S] S"


def test_the_sixth_moment_of_a_shifted_gaussian():
    closed = st.expectation(lambda z: z["Z"] ** 6, {"Z": st.Normal((), mean="m", cov="s2")})
    m, s2 = sympy.symbols("m s2", real=True)
    want = m**6 + 15 * m**4 * s2 + 45 * m**2 * s2**2 + 15 * s2**3
    assert sympy.expand(closed.sympy() - want) == 0


def test_the_product_of_two_squares():
    """E[X^2 Y^2] = a c + 2 b^2 for X = p.x, Y = q.x: a = p^T S p, b = p^T S q, c = q^T S q."""
    closed = st.expectation(
        lambda z, c: (c["p"] @ z["x"]) ** 2 * (c["q"] @ z["x"]) ** 2,
        {"x": st.Normal("n", cov="S")},
        {"p": "n", "q": "n"},
    )
    assert str(closed) == "(p^T S p) (q^T S q) + 2 (p^T S q)^2"


def test_the_stationary_error_of_least_squares():
    """delta' = delta - eta (x x^T delta - e x) gives E|delta|^2 = eta s^2 d/(2 - eta (d + 2))."""

    def step(z, c):
        x, delta = z["x"], c["delta"]
        return jnp.sum((delta - c["eta"] * (x * (x @ delta) - z["e"] * x)) ** 2)

    closed = st.expectation(
        step, {"x": st.Normal("d"), "e": st.Normal((), cov="s2")}, {"delta": "d", "eta": ()}
    ).sympy()
    [square] = closed.atoms(sympy.Trace)
    u = sympy.Symbol("u", positive=True)
    d = next(s for s in closed.free_symbols if s.name == "d")
    eta, s2 = sympy.symbols("eta s2", real=True)
    [fixed] = sympy.solve(closed.subs(square, u) - u, u)
    assert sympy.simplify(fixed - eta * s2 * d / (2 - eta * (d + 2))) == 0


LAWS = {
    "normal": lambda: st.Normal("n"),
    "shifted": lambda: st.Normal("n", mean=2),
    "wide": lambda: st.Normal("n", cov=0.25),
    "signs": lambda: st.Rademacher("n"),
    "uniform": lambda: st.Uniform("n", low=0.0, high=1.0),
}


@pytest.mark.parametrize("name", LAWS)
def test_against_exact_moments_entry_by_entry(name):
    """E[(sum_i x_i)^3 sum_i x_i^3] at n = 3, summed over the exact moments of the entries."""
    law = LAWS[name]()
    closed = st.expectation(lambda z: jnp.sum(z["x"]) ** 3 * jnp.sum(z["x"] ** 3), {"x": law})
    have = closed.callable()(n=3)
    bound = law.bind({"n": 3}, {})
    want = 0
    for places in np.ndindex(3, 3, 3, 3):
        powers = [0, 0, 0]
        for place in places[:3]:
            powers[place] += 1
        powers[places[3]] += 3
        want += bound.moment(tuple(powers), lambda n: None)
    assert float(have) == pytest.approx(float(want), rel=1e-12)


def test_bad_input():
    with pytest.raises(InputError, match="give a law such as"):
        st.expectation(lambda z: z["x"], {"x": 3})
    for law in (st.Normal("n", cov="A"), st.Normal("n", mean="A")):
        with pytest.raises(InputError, match="'A' names more than one thing"):
            st.expectation(lambda z, c: z["x"] @ c["A"] @ z["x"], {"x": law}, {"A": ("n", "n")})
    with pytest.raises(InputError, match="'n' names more than one thing"):
        st.expectation(lambda z: z["x"], {"x": st.Normal("n", mean="n")})
    with pytest.raises(UnreadableError, match="'exp'"):
        st.expectation(lambda z: jnp.exp(z["x"]), {"x": st.Normal(())})
    with pytest.raises(UnreadableError, match="moments of a data set are numbers"):
        st.expectation(lambda z: z["x"], {"x": st.Empirical({"a": [1.0]})})
    closed = st.expectation(lambda z: jnp.sum(z["x"] ** 2), {"x": st.Normal("n")})
    with pytest.raises(InputError, match="no array has the size 'n'"):
        closed.callable()()
