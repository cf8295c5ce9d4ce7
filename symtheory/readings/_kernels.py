"""Functions of ring elements: what they simplify to, and the kernel they become otherwise.

Every rewriting here is an identity of real functions wherever both sides are defined, up to null
sets. Indicators are the delicate part: 1[-f > 0] = 1 - 1[f > 0] fails where f = 0 on a whole
activation pattern, so the zero set of f is worked out first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flint import fmpq, fmpz

from symtheory.errors import UnreadableError
from symtheory.readings._element import Element
from symtheory.readings._zeros import is_closed, sign_of_number, zero_set

if TYPE_CHECKING:
    from symtheory.readings._ring import Ring

INDICATORS = frozenset({"positive", "vanishing"})
"""Kernels with the values 0 and 1."""

# Arguments that contain at most so many sign kernels are split on them.
_SIGN_SPLITS, _FUNCTION_SPLITS = 2, 3
_FACTOR_LIMIT = 300  # radicands with at most so many terms are freed of square factors
_EXP_TERMS, _EXP_POWER = 4, 8  # exp of at most so many terms becomes a product of kernels
_STRICT = frozenset({"exp", "exp2", "logistic", "cosh"})


# --- indicators --------------------------------------------------------------------------------


def positive(ring: Ring, x: Element) -> Any:
    """Return 1[x > 0]: a boolean where it is decided, else an idempotent element."""
    number = x.as_fmpq()
    if number is not None:
        return bool(number > 0)
    signs = ring.signs_in(x)
    if 0 < len(signs) <= _SIGN_SPLITS:
        return _condition(_split(ring, signs[0], x, lambda part: positive(ring, part)))
    if is_closed(ring, x) and (sign := sign_of_number(x)) is not None:
        return sign > 0
    sign, core = 1, ring.constant(1)
    for poly in x.parts():
        if poly is not None:
            rest = _without_squares(ring, poly)
            known = _manifest_sign(ring, rest)
            sign *= known or 1
            core = core if known else core * Element(ring, rest)
    if core.as_fmpq() is not None:
        return sign > 0
    lead = core.numerator.leading_coefficient() * sign
    core = core * (1 / core.numerator.leading_coefficient())
    if lead > 0:
        return ring.kernel("positive", core)
    zero = zero_set(ring, core)
    if zero is None:  # no way to tell: an indicator of its own, unrelated to 1[core > 0]
        return ring.kernel("positive", -core)
    return _condition(1 - ring.kernel("positive", core) - _number(ring, zero))


def vanishes(ring: Ring, x: Element) -> Any:
    """Return 1[x = 0] up to null sets: a boolean, or an idempotent element."""
    zero = zero_set(ring, x)
    if zero is not None:
        return zero
    core = x * x.leading_sign()
    return ring.kernel("vanishing", Element(ring, core.numerator))


def absolute(ring: Ring, x: Element) -> Element:
    """Return |x|; where x = 0 it does not matter which sign is taken."""
    is_positive = positive(ring, x)
    if isinstance(is_positive, bool):
        return x if is_positive else -x
    return x * (2 * is_positive - 1)


def _condition(x: Element) -> Any:
    number = x.as_fmpq()
    return x if number is None else bool(number != 0)


def _number(ring: Ring, condition: Any) -> Element:
    return ring.constant(int(condition)) if isinstance(condition, bool) else condition


def _split(ring: Ring, index: int, x: Element, function: Callable[[Element], Any]) -> Element:
    """Return a function of an element, pattern by pattern of one sign kernel."""
    s = ring.generator(index)
    on = _number(ring, function(x.at_sign(index, 1)))
    off = _number(ring, function(x.at_sign(index, 0)))
    return ring.generator(index) * on + (1 - s) * off


def _without_squares(ring: Ring, poly: Any) -> Any:
    """Divide out positive kernels and even powers of symbols that divide every term."""
    content = poly.term_content()
    divisor = poly.context().constant(1)
    for index, n in enumerate(content.degrees()):
        if n > 0:
            kept = int(n) % 2 if index not in ring.kernels else int(n)
            kept = 0 if _is_strict(ring, index) else kept
            divisor = divisor * ring.generator(index).parts()[0] ** (int(n) - kept)
    return poly / divisor


def _manifest_sign(ring: Ring, poly: Any) -> int | None:
    """Return the sign of a sum of squares and the like, almost everywhere; None if not on sight."""
    strict = False
    sign = 0
    for exponents, coefficient in poly.to_dict().items():
        if sign and (coefficient > 0) != (sign > 0):
            return None
        sign = 1 if coefficient > 0 else -1
        present = [(i, n) for i, n in enumerate(exponents) if n]
        if any(n % 2 and not _is_nonnegative(ring, i) for i, n in present):
            return None
        strict = strict or all(_is_strict(ring, i) or i not in ring.kernels for i, _ in present)
    return sign if strict else None


def _is_nonnegative(ring: Ring, index: int) -> bool:
    kernel = ring.kernels.get(index)
    if kernel is None:
        return False
    is_root = kernel.order and kernel.function not in ("sin", "sinh", "cbrt")
    return bool(is_root) or kernel.function in _STRICT or kernel.function in INDICATORS


def _is_strict(ring: Ring, index: int) -> bool:
    """Tell whether a generator is positive almost everywhere (where it is real)."""
    kernel = ring.kernels.get(index)
    if kernel is None:
        return False
    if kernel.order and _is_nonnegative(ring, index):
        return zero_set(ring, kernel.argument) is False
    return kernel.function in _STRICT


# --- functions ---------------------------------------------------------------------------------


def apply(ring: Ring, function: str, x: Element) -> Element:
    """Return the value of a function at an element.

    Even and odd functions are normalized in the sign of the argument; arguments that depend on
    few activation patterns are split on them.
    """
    signs = ring.signs_in(x)
    if 0 < len(signs) <= _FUNCTION_SPLITS:
        return _split(ring, signs[0], x, lambda part: apply(ring, function, part))
    if x.is_zero() and function in _AT_ZERO:
        return ring.constant(_AT_ZERO[function])
    if function in _RULES:
        return _RULES[function](ring, x)
    if function in _ODD and x.leading_sign() < 0:
        return -ring.kernel(function, -x)
    return ring.kernel(function, x)


def _exp(ring: Ring, x: Element) -> Element:
    numerator, denominator = x.parts()
    if denominator is None and len(numerator) <= _EXP_TERMS:
        factors = [_exp_term(ring, *term) for term in numerator.to_dict().items()]
        if all(factor is not None for factor in factors):
            out = ring.constant(1)
            for factor in factors:
                out = out * factor
            return out
    return 1 / ring.kernel("exp", -x) if x.leading_sign() < 0 else ring.kernel("exp", x)


def _exp_term(ring: Ring, exponents: tuple[int, ...], coefficient: fmpq) -> Element | None:
    """Return exp(c m) as a power of exp(m / q), the same q for every c where that is possible."""
    p, q = int(coefficient.p), int(coefficient.q)
    monomial = ring.from_terms({exponents: 1})
    [*indices] = (i for i, n in enumerate(exponents) if n)
    if len(indices) == 1 and exponents[indices[0]] == 1 and q == 1 and abs(p) <= _EXP_POWER:
        kernel = ring.kernels.get(indices[0])
        if kernel is not None and kernel.function == "log":  # exp(n log f) = f^n
            return kernel.argument**p
    unit = ring.exp_units.setdefault(monomial.key(), q)
    if unit % q == 0:
        p, q = p * (unit // q), unit
    return ring.kernel("exp", monomial / q) ** p if abs(p) <= _EXP_POWER else None


def _log(ring: Ring, x: Element) -> Element:
    number = x.as_fmpq()
    if number is not None:
        if number <= 0:
            raise UnreadableError(f"log of {number} is not a real number")
        return ring.constant(0) if number == 1 else ring.kernel("log", x)
    out = ring.constant(0)  # log(exp(g)^n f) = n g + log(f)
    parts = []
    for sign, poly in zip((1, -1), x.parts(), strict=True):
        if poly is not None:
            for index, n in enumerate(poly.term_content().degrees()):
                kernel = ring.kernels.get(index)
                if n > 0 and kernel is not None and kernel.function == "exp":
                    out = out + (sign * int(n)) * kernel.argument
                    poly = poly / ring.generator(index).parts()[0] ** int(n)
        parts.append(poly)
    above, below = parts
    if below is not None and _manifest_sign(ring, below) == 1:  # log(n/d) = log(n) - log(d)
        return out + _log(ring, Element(ring, above)) - _log(ring, Element(ring, below))
    rest = Element.fraction(ring, above, below)
    return out if rest.as_fmpq() == 1 else out + ring.kernel("log", rest)


def _logistic(ring: Ring, x: Element) -> Element:
    return 1 - ring.kernel("logistic", -x) if x.leading_sign() < 0 else ring.kernel("logistic", x)


def _exp2(ring: Ring, x: Element) -> Element:
    return 1 / ring.kernel("exp2", -x) if x.leading_sign() < 0 else ring.kernel("exp2", x)


def _even(function: str) -> Callable[[Ring, Element], Element]:
    return lambda ring, x: ring.kernel(function, x * x.leading_sign())


def _sin(ring: Ring, x: Element) -> Element:
    even = apply(ring, "cos", x)
    return x.leading_sign() * ring.kernel("sin", x * x.leading_sign(), 2, 1 - even * even)


def _sinh(ring: Ring, x: Element) -> Element:
    even = apply(ring, "cosh", x)
    return x.leading_sign() * ring.kernel("sinh", x * x.leading_sign(), 2, even * even - 1)


def _cbrt(ring: Ring, x: Element) -> Element:
    return x.leading_sign() * root(ring, x * x.leading_sign(), 3)


_RULES: dict[str, Callable[..., Element]] = {
    "exp": _exp,
    "exp2": _exp2,
    "log": _log,
    "logistic": _logistic,
    "cos": _even("cos"),
    "cosh": _even("cosh"),
    "sin": _sin,
    "sinh": _sinh,
    "sqrt": lambda ring, x: root(ring, x, 2),
    "cbrt": _cbrt,
    "erfc": lambda ring, x: 1 - apply(ring, "erf", x),
}
_ODD = frozenset({"tanh", "erf", "erf_inv", "tan", "atan", "asin", "asinh", "atanh"})
_AT_ZERO: dict[str, int | fmpq] = (
    dict.fromkeys((*_ODD, "sin", "sinh", "cbrt"), 0)
    | dict.fromkeys(("exp", "exp2", "cos", "cosh"), 1)
    | {"logistic": fmpq(1, 2)}
)


# --- roots -------------------------------------------------------------------------------------


def root(ring: Ring, x: Element, order: int) -> Element:
    """Return x^(1/order), freed of powers that divide x."""
    number = x.as_fmpq()
    if number is not None and number < 0 and order % 2 == 0:
        raise UnreadableError(f"the square root of {number} is not a real number")
    if x.is_zero():
        return x
    numerator, denominator = x.parts()
    lead = numerator.leading_coefficient()
    scale = lead if lead > 0 else -lead
    outside, inside = _root_of_number(ring, scale, order), ring.constant(1)
    for poly, sign in ((numerator / scale, 1), (denominator, -1)):
        if poly is not None:
            out, rest = _power_factors(ring, poly, order)
            out = absolute(ring, out) if order % 2 == 0 else out
            outside = outside * out if sign > 0 else outside / out
            inside = inside * rest if sign > 0 else inside / rest
    below = inside.parts()[1]
    if below is not None and _manifest_sign(ring, below) == 1:
        factor = Element(ring, below)  # (n/d)^(1/q) = (n d^(q-1))^(1/q) / d
        inside, outside = inside * factor**order, outside / factor
    if inside.as_fmpq() == 1:
        return outside
    return outside * ring.kernel(_root_name(order), inside, order, inside)


def _root_name(order: int) -> str:
    return {2: "sqrt", 3: "cbrt"}.get(order, f"root{order}")


def _power_factors(ring: Ring, poly: Any, order: int) -> tuple[Element, Element]:
    """Return (a, b) with poly = a^order b."""
    out, rest = poly.context().constant(1), poly
    if 0 < len(poly) <= _FACTOR_LIMIT and not poly.is_constant():
        constant, factors = poly.factor_squarefree()
        rest = poly.context().constant(constant)
        for factor, n in factors:
            out = out * factor ** (int(n) // order)
            rest = rest * factor ** (int(n) % order)
    lead = out.leading_coefficient()
    return Element(ring, out / lead), Element(ring, rest * lead**order)


def _root_of_number(ring: Ring, number: fmpq, order: int) -> Element:
    """Return the root of a positive rational by roots of primes."""
    if number == 1:
        return ring.constant(1)
    whole = fmpz(number.p) * fmpz(number.q) ** (order - 1)
    outside, kernels = fmpz(1), ring.constant(1)
    small = whole < 10**30
    for prime, n in whole.factor() if small else [(whole, 1)]:
        outside *= prime ** (int(n) // order)
        if rest := int(n) % order:
            base = ring.constant(fmpq(prime))
            kernels = kernels * ring.kernel(_root_name(order), base, order, base) ** rest
    return kernels * (fmpq(outside) / fmpq(number.q))


def inverse_root(ring: Ring, x: Element, index: int) -> Element:
    """Return 1/x for a polynomial without sign kernels that contains a root kernel k."""
    kernel = ring.kernels[index]
    power = kernel.power
    assert power is not None
    k = ring.generator(index)
    if kernel.order == 2:
        high, low = (Element(ring, part) for part in divmod(x.parts()[0], k.parts()[0]))
        if low.is_zero():
            return k * (high * power).inverse()
        conjugate = low - high * k
        norm = x * conjugate
        if not norm.is_zero():
            return conjugate * norm.inverse()
    else:
        n = int(x.numerator.term_content().degrees()[index])
        rest = Element(ring, x.parts()[0] / k.parts()[0] ** n)
        if not rest.involves(index):
            return k ** (kernel.order - n) * (rest * power).inverse()
    return ring.kernel("reciprocal", x)
