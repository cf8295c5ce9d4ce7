"""Ring elements as numbers by a route of its own: functions of floats, nothing of `readings`."""

import math
from fractions import Fraction
from functools import partial

import scipy.special


def root(x, n):
    return x ** (1 / n)


FUNCTIONS = {
    "positive": lambda x: float(x > 0),
    "vanishing": lambda x: float(x == 0),
    "reciprocal": lambda x: 1 / x,
    "logistic": lambda x: 1 / (1 + math.exp(-x)),
    "sqrt": lambda x: math.sqrt(x),
    "cbrt": lambda x: math.cbrt(x),
    "cospi": lambda x: math.cos(math.pi * x),
    "sinpi": lambda x: math.sin(math.pi * x),
    "exp2": lambda x: 2.0**x,
    "digamma": scipy.special.digamma,
    "erf_inv": scipy.special.erfinv,
} | {f"root{n}": partial(root, n=n) for n in range(4, 13)}


def product(factors):
    """A product in which zero wins: what a branch that is not taken would give does not matter."""
    if 0 in factors:
        return Fraction(0)
    return math.nan if math.nan in factors else math.prod(factors, start=Fraction(1))


def exact(value):
    """A float as a fraction, so that nothing is rounded or overflows between the functions."""
    return Fraction(value) if math.isfinite(value) else math.nan


def number(element, values):
    """The value of an element at numbers for its symbols, kernels from the inside out."""
    return float(fraction(element, values))


def fraction(element, values):
    ring = element.ring
    names = {index: name for name, index in ring.names.items()}
    known = {}

    def generator(index):
        if index not in known:
            kernel = ring.kernels.get(index)
            if kernel is None:
                known[index] = exact(float(values[names[index]]))
            else:
                function = FUNCTIONS.get(kernel.function) or getattr(math, kernel.function)
                argument = fraction(kernel.argument, values)
                try:
                    if kernel.function not in ("positive", "vanishing"):
                        argument = float(argument)
                    known[index] = exact(function(argument))
                except (ValueError, OverflowError):  # on a branch that is not taken
                    known[index] = math.nan
        return known[index]

    def polynomial(poly):
        return sum(
            Fraction(int(c.p), int(c.q))
            * product([generator(i) ** int(n) for i, n in enumerate(exponents) if n])
            for exponents, c in poly.to_dict().items()
        )

    below = 1 if element.denominator is None else polynomial(element.denominator)
    return polynomial(element.numerator) / below
