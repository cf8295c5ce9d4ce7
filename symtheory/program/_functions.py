"""The function table: whatever needs a fact of an elementary function reads it here.

Adding a function is adding a row.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Function:
    """The facts of one elementary function of real numbers.

    Attributes:
        parity: "odd", "even" or "".
        arguments: How many it takes.
        primitive: Whether JAX has a primitive of that name.
        total: Whether it is defined on all of R.
        entire: Whether it is analytic on all of R, with an analytic continuation to the line as a
            connected set of full measure.
        continuous: Whether it is continuous on its domain of definition, which is an interval.
        positive: Whether its values are positive.
        degree: k where f(s x) = s^k f(x) for s > 0; None where there is none.
        constant: Whether it is piecewise constant, so that its derivative is 0.
        kind: "real", or "truth" where it gives truth values.
        value_at_zero: f(0) as (numerator, denominator), or None.
        limits: f(-inf) and f(inf); None where there is none.
        sympy: Its name in SymPy; "" where SymPy has none, and the domain its own way.
        arb: The method of Arb's balls; "" where the domain has its own way.
    """

    parity: str = ""
    arguments: int = 1
    primitive: bool = True
    total: bool = True
    entire: bool = False
    continuous: bool = True
    positive: bool = False
    degree: int | None = None
    constant: bool = False
    kind: str = "real"
    value_at_zero: tuple[int, int] | None = None
    limits: tuple[float | None, float | None] = (None, None)
    sympy: str = ""
    arb: str = ""


_INF = float("inf")

_odd = {"parity": "odd", "value_at_zero": (0, 1)}

FUNCTIONS: dict[str, Function] = {
    "exp": Function(entire=True, positive=True, value_at_zero=(1, 1), limits=(0, _INF),
                    sympy="exp", arb="exp"),
    "exp2": Function(entire=True, positive=True, value_at_zero=(1, 1), limits=(0, _INF)),
    "log": Function(total=False, limits=(None, _INF), sympy="log", arb="log"),
    "tanh": Function(**_odd, entire=True, limits=(-1, 1), sympy="tanh", arb="tanh"),
    "logistic": Function(entire=True, positive=True, value_at_zero=(1, 2), limits=(0, 1)),
    "erf": Function(**_odd, entire=True, limits=(-1, 1), sympy="erf", arb="erf"),
    "erfc": Function(entire=True, positive=True, value_at_zero=(1, 1), limits=(2, 0),
                     sympy="erfc", arb="erfc"),
    "erf_inv": Function(**_odd, total=False, sympy="erfinv", arb="erfinv"),
    "sin": Function(**_odd, entire=True, sympy="sin", arb="sin"),
    "cos": Function(parity="even", entire=True, value_at_zero=(1, 1), sympy="cos", arb="cos"),
    "tan": Function(**_odd, total=False, continuous=False, sympy="tan", arb="tan"),
    "asin": Function(**_odd, total=False, sympy="asin", arb="asin"),
    "acos": Function(total=False, sympy="acos", arb="acos"),
    "atan": Function(**_odd, entire=True, sympy="atan", arb="atan"),
    "sinh": Function(**_odd, entire=True, limits=(-_INF, _INF), sympy="sinh", arb="sinh"),
    "cosh": Function(parity="even", entire=True, positive=True, value_at_zero=(1, 1),
                     limits=(_INF, _INF), sympy="cosh", arb="cosh"),
    "asinh": Function(**_odd, entire=True, limits=(-_INF, _INF), sympy="asinh", arb="asinh"),
    "acosh": Function(total=False, sympy="acosh", arb="acosh"),
    "atanh": Function(**_odd, total=False, sympy="atanh", arb="atanh"),
    "cbrt": Function(**_odd, limits=(-_INF, _INF)),
    "lgamma": Function(total=False, continuous=False, sympy="loggamma", arb="lgamma"),
    "digamma": Function(total=False, continuous=False, sympy="digamma", arb="digamma"),
    "cospi": Function(primitive=False, parity="even", entire=True, value_at_zero=(1, 1)),
    "sinpi": Function(primitive=False, **_odd, entire=True),
    "abs": Function(parity="even", degree=1, value_at_zero=(0, 1), limits=(_INF, _INF),
                    sympy="Abs"),
    "sign": Function(**_odd, continuous=False, degree=0, constant=True, limits=(-1, 1),
                     sympy="sign"),
    "floor": Function(continuous=False, constant=True, value_at_zero=(0, 1), sympy="floor",
                      arb="floor"),
    "ceil": Function(continuous=False, constant=True, value_at_zero=(0, 1), sympy="ceiling",
                     arb="ceil"),
    "trunc": Function(**_odd, primitive=False, continuous=False, constant=True),
    "round": Function(**_odd, primitive=False, continuous=False, constant=True),
    "pow": Function(arguments=2, primitive=False, total=False),
    "atan2": Function(arguments=2, primitive=False, continuous=False),
    "quotient": Function(arguments=2, primitive=False, continuous=False, constant=True),
    "rem": Function(arguments=2, primitive=False, continuous=False),
    "is_finite": Function(kind="truth", continuous=False, constant=True),
    "and": Function(arguments=2, kind="truth", continuous=False, constant=True),
    "or": Function(arguments=2, kind="truth", continuous=False, constant=True),
    "xor": Function(arguments=2, kind="truth", continuous=False, constant=True),
    "not": Function(kind="truth", continuous=False, constant=True),
}  # fmt: skip
"""Facts by the name under which a program calls the function."""
