"""Every primitive in scope, in every domain that reads it, against JAX in double precision.

Each loss is read together with a directional derivative and a gradient, as one function.
"""

import zlib
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
    ball,
    from_fractions,
    precision,
)
from symtheory.domains._rationals import as_fraction
from symtheory.linear_algebra._modular import residue
from symtheory.program import Deadline, read, trace
from tests.domains.catalogue import IRRATIONAL, RATIONAL, SMOOTH
from tests.domains.evaluate import number
from tests.program.floats import by_jax

CASES = RATIONAL | IRRATIONAL | SMOOTH


def with_derivatives(function):
    """The function, its derivative along fixed directions and the gradient of a weighted sum."""

    def weights(shape, phase):
        return jnp.asarray(np.resize([1.0, -2.0, 0.5, 3.0, -1.5], shape) + phase)

    def all_three(*xs):
        tangents = [weights(x.shape, k) for k, x in enumerate(xs)]
        out, along = jax.jvp(function, xs, tuple(tangents))
        loss = lambda *xs: jnp.sum(function(*xs) * weights(out.shape, 0.25))
        return out, along, jax.grad(loss, argnums=tuple(range(len(xs))))(*xs)

    return all_three


class Case:
    def __init__(self, name):
        self.function, shapes = CASES[name]
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.points = []
        for shape in shapes:
            # Distinct sixteenths: exact as floats, and no ties.
            size = int(np.prod(shape, dtype=int))
            values = rng.choice(np.arange(2, 31), size, replace=False) / 16
            signs = 1 if name in IRRATIONAL else rng.choice([-1, 1], size)
            self.points.append((values * signs).reshape(shape))
        structures = [jax.ShapeDtypeStruct(shape, np.float64) for shape in shapes]
        self.closed, _ = trace(with_derivatives(self.function), *structures)
        self.expected = by_jax(self.closed, self.points)

    def read(self, domain, inputs):
        return read(self.closed, domain, inputs, Deadline(20))

    def entered(self, function):
        """The point with a function of a fraction in place of every entry."""
        out = []
        for point in self.points:
            array = np.empty(point.shape, dtype=object)
            for index, value in np.ndenumerate(point):
                array[index] = function(Fraction(float(value)))
            out.append(array)
        return out


@pytest.fixture(scope="module")
def case():
    known = {}

    def get(name):
        if name not in known:
            known[name] = Case(name)
        return known[name]

    return get


def agree(got, expected):
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.astype(float), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_polynomials(name, case):
    this = case(name)
    symbols = Symbols(Ring(deadline=Deadline(20)))
    inputs = [symbols.array("param", str(k), p.shape) for k, p in enumerate(this.points)]
    values = {
        label.text: this.points[int(label.name)][label.index] for label in symbols.labels.values()
    }
    for out, expected in zip(
        this.read(Polynomials(symbols.ring), inputs), this.expected, strict=True
    ):
        floats = np.empty(out.shape)
        for index, element in np.ndenumerate(out):
            floats[index] = number(element, values)
        agree(floats, expected)


@pytest.mark.parametrize("name", CASES)
def test_entries(name, case):
    this = case(name)
    inputs, values = [], {}
    for k, point in enumerate(this.points):
        array = np.empty(point.shape, dtype=object)
        for index, value in np.ndenumerate(point):
            array[index] = sympy.Dummy(f"x{k}{index}", real=True)
            values[array[index]] = sympy.Rational(Fraction(float(value)))
        inputs.append(array)
    for out, expected in zip(this.read(Expressions(), inputs), this.expected, strict=True):
        floats = np.empty(out.shape)
        for index, entry in np.ndenumerate(out):
            floats[index] = float(sympy.sympify(entry).xreplace(values).evalf(25))
        agree(floats, expected)


@pytest.mark.parametrize("name", CASES)
def test_balls(name, case):
    this = case(name)
    with precision(120):
        outs = this.read(Balls(), this.entered(ball))
        for out, expected in zip(outs, this.expected, strict=True):
            assert out.shape == expected.shape
            for got, want in zip(out.flat, expected.flat, strict=True):
                rounding = 1e-9 * (1 + abs(want))
                assert got.is_finite() and got.rad() < 1e-9
                assert (got + arb(0, rounding)).contains(arb(float(want)))


@pytest.mark.parametrize("name", RATIONAL)
def test_residues(name, case):
    """Residues and enclosures against exact fractions, which are against JAX."""
    this = case(name)
    residues = this.read(Residues(), [from_fractions(x) for x in this.entered(lambda v: v)])
    exact = this.read(Polynomials(ring := Ring()), this.entered(ring.constant))
    for got, want, expected in zip(residues, exact, this.expected, strict=True):
        assert got.shape == want.shape == expected.shape
        parts = [x.flat for x in (got.residues, got.values, got.errors, want, expected)]
        for have, middle, radius, element, value in zip(*parts, strict=True):
            fraction = as_fraction(element.as_fmpq())
            assert have == residue(fraction)
            assert abs(Fraction(middle) - fraction) <= Fraction(radius)
            np.testing.assert_allclose(float(fraction), value, rtol=1e-9)
