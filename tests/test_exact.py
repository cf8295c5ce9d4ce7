"""Floats as the rationals their author meant."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symtheory.errors import InputError
from symtheory.exact import rational, rational_array


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (0.1, Fraction(1, 10)),
        (-0.1, Fraction(-1, 10)),
        (1 / 3, Fraction(1, 3)),
        (-2 / 7, Fraction(-2, 7)),
        (0.30000000000000004, Fraction("0.30000000000000004")),
        (np.float32(0.1), Fraction(1, 10)),
        (np.float32(1) / np.float32(3), Fraction(1, 3)),
        (np.float16(0.1), Fraction(1, 10)),
        (np.float32(-123.456), Fraction("-123.456")),
        (1e-5, Fraction(1, 10**5)),
        (1e-12, Fraction(1, 10**12)),
        (1e-20, Fraction(1, 10**20)),
        (2.5e-300, Fraction("2.5e-300")),
        (5e-324, Fraction(1, 2**1074)),
        (np.float32(1e-30), Fraction(1, 10**30)),
        (2.0**-100, Fraction(1, 2**100)),
        (2.0**-30, Fraction(1, 2**30)),
        (np.finfo(float).eps, Fraction(1, 2**52)),
        (np.finfo(float).tiny, Fraction(1, 2**1022)),
        (1e23, Fraction(10**23)),
        (-1e30, Fraction(-(10**30))),
        (2.0**70, Fraction(2**70)),
        (0.0, Fraction(0)),
        (-0.0, Fraction(0)),
        (3.0, Fraction(3)),
        (123456789.0, Fraction(123456789)),
        (1234567.891, Fraction("1234567.891")),
        (7, Fraction(7)),
        (np.int64(-3), Fraction(-3)),
        (True, Fraction(1)),
        (np.True_, Fraction(1)),
        (Fraction(2, 3), Fraction(2, 3)),
        (10**40 + 1, Fraction(10**40 + 1)),
    ],
)
def test_what_is_meant(value, meant):
    if value == 0.30000000000000004:  # not 3/10: that rounds to another float
        assert rational(value) != Fraction(3, 10)
        assert float(rational(value)) == value
    else:
        assert rational(value) == meant


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_it_rounds_back(value):
    assert float(rational(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_it_rounds_back_in_single_precision(value):
    assert np.float32(float(rational(np.float32(value)))) == np.float32(value)


@given(st.integers(-3000, 3000), st.integers(1, 3000))
def test_small_fractions_survive(p, q):
    assert rational(p / q) == Fraction(p, q)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_it_is_odd(value):
    assert rational(-value) == -rational(value)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, np.float32(np.inf)])
def test_what_is_not_finite_has_no_exact_value(value):
    with pytest.raises(InputError, match="finite"):
        rational(value)


def test_arrays():
    out = rational_array(np.array([[0.5, 0.1]], dtype=np.float32))
    assert out.tolist() == [[Fraction(1, 2), Fraction(1, 10)]]
