"""Elements of the ring: fractions of FLINT polynomials in symbols and kernels, in normal form."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import fmpq, fmpq_mpoly

from symtheory.domains._rationals import as_fmpq
from symtheory.errors import UnreadableError

if TYPE_CHECKING:
    from symtheory.domains.ring._ring import Ring

_NUMBERS = (int, Fraction, fmpq, np.integer)


def _tracked(sign: Callable[..., int]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a result be partial where an operand is, and of the sign that `sign` tells."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def tracked(self: Element, *others: Any) -> Any:
            out = method(self, *others)
            if isinstance(out, Element):
                partial = self.partial or any(is_partial(x) for x in others)
                level = sign(self, *others)
                if (partial and not out.partial) or level > out.level:
                    out = out.marked(partial, level)
            return out

        return tracked

    return decorate


def is_partial(x: Any) -> bool:
    """Tell whether a value was computed by way of something that may be undefined."""
    return isinstance(x, Element) and x.partial


def level(x: Any) -> int:
    """Return 2 for what is known to be positive, 1 for what is not negative, 0 for anything."""
    number: Any = x
    if isinstance(x, Element):
        if x.level:
            return x.level
        number = x.as_fmpq()
    if not isinstance(number, _NUMBERS) or number < 0:
        return 0
    return 2 if number > 0 else 1


def _never(*_: Any) -> int:
    return 0


def _of_sum(*terms: Any) -> int:
    levels = list(map(level, terms))
    return max(levels) if all(levels) else 0


def _of_product(a: Any, b: Any) -> int:
    return max(1, level(a)) if a is b else min(level(a), level(b))


def _of_power(a: Element, n: int) -> int:
    return level(a) if n % 2 else max(1, level(a))


class Element:
    """A fraction of polynomials in normal form; the denominator is monic, or None for 1.

    Numerators are reduced (s^2 = s for sign kernels, k^q = f for roots) and denominators are free
    of sign and root kernels. Polynomials belong to the ring's context at the time they were made
    and are moved to the present one when they are used.

    Attributes:
        ring: The ring.
        numerator: The numerator.
        denominator: The denominator, None for 1.
        partial: It was computed by way of a value that may be undefined (a quotient, a root, a
            logarithm); the normal form forgets that, but a comparison must not.
        level: 2 where it is known from how it was computed to be positive wherever it is defined,
            1 where not to be negative, else 0.
    """

    __slots__ = ("denominator", "level", "numerator", "partial", "ring")

    def __init__(self, ring: Ring, numerator: Any, denominator: Any = None) -> None:
        self.ring = ring
        self.numerator: fmpq_mpoly = numerator
        self.denominator: fmpq_mpoly | None = denominator
        self.partial = False
        self.level = 0

    def marked(self, partial: bool, level: int = 0) -> Element:
        """Return the same element with what is known of it in addition."""
        out = Element(self.ring, self.numerator, self.denominator)
        out.partial = self.partial or partial
        out.level = max(self.level, level)
        return out

    @classmethod
    def fraction(cls, ring: Ring, numerator: Any, denominator: Any) -> Element:
        """Return numerator / denominator in lowest terms with a monic denominator."""
        if denominator is None:
            return cls(ring, numerator)
        if numerator.is_zero():
            return cls(ring, numerator)
        if not denominator.is_constant():
            numerator, denominator = ring.cancel(numerator, denominator)
        lead = denominator.leading_coefficient()
        if lead != 1:
            numerator = numerator / lead
            denominator = denominator / lead
        return cls(ring, numerator, None if denominator.is_constant() else denominator)

    def parts(self) -> tuple[Any, Any]:
        """Return numerator and denominator in the ring's present context."""
        lift = self.ring.lift
        numerator = self.numerator = lift(self.numerator)
        if self.denominator is None:
            return numerator, None
        denominator = self.denominator = lift(self.denominator)
        return numerator, denominator

    def _settled(self, numerator: Any, denominator: Any) -> Element:
        """Return numerator / denominator with s^2 = s and k^q = f applied to the numerator."""
        numerator, element = self.ring.reduce(numerator)
        if element is None:
            return Element.fraction(self.ring, numerator, denominator)
        if denominator is None:
            return element
        return element * Element.fraction(self.ring, denominator * 0 + 1, denominator)

    # --- arithmetic ---

    @_tracked(_of_sum)
    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Element):
            if isinstance(other, float) and not math.isfinite(other):
                return other
            if not isinstance(other, _NUMBERS):
                return NotImplemented
            if other == 0:
                return self
            other = self.ring.constant(other)
        (a, b), (c, d) = self.parts(), other.parts()
        # Denominators are free of kernels with relations, so cross products need no reduction.
        if b is None and d is None:
            return Element(self.ring, a + c)
        times = self.ring.multiply
        if b is None:
            return Element(self.ring, times(a, d) + c, d)
        if d is None:
            return Element(self.ring, a + times(c, b), b)
        if b == d:
            return Element.fraction(self.ring, a + c, b)
        left, right = self.ring.cancel(b, d)
        return Element.fraction(self.ring, times(a, right) + times(c, left), times(b, right))

    __radd__ = __add__

    @_tracked(_never)
    def __neg__(self) -> Element:
        return Element(self.ring, -self.numerator, self.denominator)

    def __sub__(self, other: Any) -> Any:
        return self + (-other) if isinstance(other, (Element, float, *_NUMBERS)) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return (-self) + other

    @_tracked(_of_product)
    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Element):
            return self._times(other)
        if isinstance(other, _NUMBERS):
            factor = as_fmpq(other)
            if factor == 0:
                return self.ring.constant(0)
            return Element(self.ring, self.numerator * factor, self.denominator)
        if isinstance(other, float) and not math.isfinite(other):
            return self._scales_infinity(other)
        return NotImplemented

    __rmul__ = __mul__

    def _times(self, other: Element) -> Element:
        (a, b), (c, d) = self.parts(), other.parts()
        ring = self.ring
        if b is None and d is None:
            return self._settled(ring.multiply(a, c), None)
        if d is not None:
            a, d = ring.cancel(a, d)
        if b is not None:
            c, b = ring.cancel(c, b)
        below = b if d is None else d if b is None else ring.multiply(b, d)
        return self._settled(ring.multiply(a, c), below)

    def _scales_infinity(self, infinity: float) -> float:
        positive = self.ring.positive(self)
        if self.is_zero() or not isinstance(positive, bool):
            raise UnreadableError(
                "an infinite value is multiplied by an expression that may vanish or change sign; "
                "use a large finite number instead"
            )
        return infinity if positive else -infinity

    @_tracked(_of_power)
    def __pow__(self, n: int) -> Element:
        if n < 0:
            return self.inverse() ** (-n)
        numerator, denominator = self.parts()
        ring = self.ring
        if ring.relations_in(self):
            out, base = ring.constant(1), self
            while n:
                out = out * base if n & 1 else out
                n >>= 1
                base = base * base if n else base
            return out
        above = ring.power(numerator, n)
        return Element(ring, above, None if denominator is None else ring.power(denominator, n))

    @_tracked(lambda a, b: min(level(a), level(b)))
    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, _NUMBERS):
            if other == 0:
                raise ZeroDivisionError("the loss divides by zero")
            return self * (1 / as_fmpq(other))
        if isinstance(other, float) and math.isinf(other):
            return self.ring.constant(0)
        if not isinstance(other, Element):
            return NotImplemented
        out = self * other.inverse()
        return out if self.ring.is_rarely_zero(other) or is_partial(out) else _marked(out)

    def __rtruediv__(self, other: Any) -> Any:
        out = self.inverse() * other
        return out if self.ring.is_rarely_zero(self) or is_partial(out) else _marked(out)

    @_tracked(lambda a: level(a))
    def inverse(self) -> Element:
        """Return 1/self; the new denominator is freed of sign and root kernels first."""
        ring = self.ring
        numerator, denominator = self.parts()
        if numerator.is_zero():
            raise UnreadableError(
                "the loss divides by an expression that is zero (on some activation pattern); "
                "guard the division inside jnp.where on both branches"
            )
        over = ring.constant(1) if denominator is None else Element(ring, denominator)
        signs, roots = ring.signs_in(self), ring.roots_in(self)
        if signs:
            s = ring.generator(signs[0])
            on, off = self.at_sign(signs[0], 1), self.at_sign(signs[0], 0)
            return s * on.inverse() + (1 - s) * off.inverse()
        if roots:
            return over * ring.inverse_root(Element(ring, numerator), roots[-1])
        return over * Element.fraction(ring, numerator * 0 + 1, numerator)

    # --- inspection ---

    def involves(self, index: int) -> bool:
        """Tell whether the numerator contains a generator."""
        degrees = self.numerator.degrees()
        return index < len(degrees) and degrees[index] > 0

    def at_sign(self, index: int, value: int) -> Element:
        """Return the element on the activation pattern where a sign kernel is 0 or 1."""
        numerator, denominator = self.parts()
        divisor = self.ring.generator(index).parts()[0] - value
        return Element.fraction(self.ring, numerator % divisor, denominator)

    def is_zero(self) -> bool:
        """Tell whether the normal form is zero; then the element is zero as a function."""
        return bool(self.numerator.is_zero())

    def __bool__(self) -> bool:
        raise TypeError("an element has no truth value; use is_zero()")

    def as_fmpq(self) -> fmpq | None:
        """Return the number this element is, or None."""
        if self.denominator is not None or not self.numerator.is_constant():
            return None
        return fmpq(0) if self.is_zero() else self.numerator.leading_coefficient()

    def leading_sign(self) -> int:
        """Sign of the leading coefficient (to choose between f and -f)."""
        return 0 if self.is_zero() else (1 if self.numerator.leading_coefficient() > 0 else -1)

    def key(self) -> tuple[Any, ...]:
        """Return a hashable form; equal elements have equal keys, whatever the context's size."""

        def terms(poly: Any) -> Any:
            if poly is None:
                return None
            return frozenset(
                (tuple((i, int(n)) for i, n in enumerate(e) if n), str(c))
                for e, c in poly.to_dict().items()
            )

        return terms(self.numerator), terms(self.denominator)

    def derivative(self, name: str) -> Element:
        """Return the partial derivative by a symbol, for elements free of kernels.

        Raises:
            UnreadableError: A kernel occurs.
        """
        index = self.ring.names[name]
        numerator, denominator = self.parts()
        for poly in (numerator, denominator):
            degrees = () if poly is None else poly.degrees()
            if any(degrees[k] > 0 for k in self.ring.kernels if k < len(degrees)):
                raise UnreadableError(
                    "derivative of an element with kernels; differentiate the loss"
                )
        variable = f"g{index}"
        if denominator is None:
            return Element(self.ring, numerator.derivative(variable))
        times = self.ring.multiply
        top = times(numerator.derivative(variable), denominator)
        top = top - times(numerator, denominator.derivative(variable))
        return Element.fraction(self.ring, top, times(denominator, denominator))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Element, *_NUMBERS)):
            return NotImplemented
        return (self - other).is_zero()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        below = "" if self.denominator is None else f" / ({self.denominator})"
        return f"Element({self.numerator}{below})"


def _marked(x: Any) -> Any:
    return x.marked(partial=True) if isinstance(x, Element) else x


def total(ring: Ring, elements: Iterable[Element]) -> Element:
    """Return a sum, with the numerators over one denominator added before anything else."""
    elements = list(elements)
    out = _total(ring, elements)
    return out.marked(any(map(is_partial, elements)), _of_sum(*elements))


def _total(ring: Ring, elements: Iterable[Element]) -> Element:
    groups: list[tuple[Any, Any]] = []
    plain = ring.constant(0).numerator
    for element in elements:
        numerator, denominator = element.parts()
        if denominator is None:
            plain = plain + numerator
            continue
        for place, (above, below) in enumerate(groups):
            if below == denominator:
                groups[place] = (above + numerator, below)
                break
        else:
            groups.append((numerator, denominator))
    out = Element(ring, plain)
    for numerator, denominator in groups:
        out = out + Element.fraction(ring, numerator, denominator)
    return out
