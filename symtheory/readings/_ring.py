"""The ring behind exact proofs: Q(symbols)[kernels], in normal form, on FLINT polynomials.

An element is a fraction of polynomials over Q in symbols and *kernels*. A kernel stands for the
value of a function at an element and is one more indeterminate:

* sign kernel s = 1[f > 0], with s^2 = s: the split of a ReLU-like piece on its activation pattern,
  all patterns at once (a polynomial that vanishes with s^2 = s vanishes on every pattern);
* root kernel k = sqrt(f), with k^2 = f;
* any other function (exp, log, tanh, ...), with no relation.

Denominators are kept free of sign and root kernels. An element that is zero in this ring is zero
as a function; the converse may fail where kernels satisfy a relation the ring does not know, so a
non-zero element proves nothing. Ties f = 0 of a comparison are a null set and are left out.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

from flint import Ordering, fmpq, fmpq_mpoly, fmpq_mpoly_ctx
from flint.utils.flint_exceptions import DomainError

from symtheory.errors import BudgetError, UnreadableError
from symtheory.readings._interpreter import NO_DEADLINE, Deadline

Number = int | Fraction | fmpq
_TERM_PRODUCT_LIMIT = 300_000_000
_SPLIT_LIMIT = 6


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """An indeterminate that stands for `function(argument)`."""

    function: str
    argument: Element


class Ring:
    """Symbols and kernels, and the FLINT context they live in (grown as kernels appear).

    >>> ring = Ring(["x", "y"])
    >>> x, y = ring.symbol("x"), ring.symbol("y")
    >>> ((x + y) * (x - y) - (x * x - y * y)).is_zero()
    True
    >>> s = ring.apply("sqrt", x * x + y * y)
    >>> (1 / s - s / (x * x + y * y)).is_zero()
    True
    """

    def __init__(self, symbols: list[str] | None = None, deadline: Deadline = NO_DEADLINE) -> None:
        self.deadline = deadline
        self.kernels: dict[int, Kernel] = {}
        self._index: dict[str, int] = {}
        self._by_key: dict[tuple[str, Any], int] = {}
        self._used = 0
        self._signs: list[int] = []
        self._roots: list[int] = []
        self._context: Any = None
        self._grow(max(len(symbols or []), 1))
        for name in symbols or []:
            self.symbol(name)

    # --- generators ---

    def _grow(self, capacity: int) -> None:
        names = [f"g{i}" for i in range(capacity)]
        self._context = fmpq_mpoly_ctx.get(names, Ordering.degrevlex)
        self._generators = self._context.gens()

    def _new_index(self) -> int:
        if self._used == len(self._generators):
            self._grow(2 * self._used + 8)
        self._used += 1
        return self._used - 1

    def symbol(self, name: str) -> Element:
        """Return the symbol of that name, adding it if it is new."""
        if name not in self._index:
            self._index[name] = self._new_index()
        return self.generator(self._index[name])

    @property
    def names(self) -> dict[str, int]:
        """Generator index of every symbol."""
        return dict(self._index)

    def generator(self, index: int) -> Element:
        """Return the generator (symbol or kernel) with that index."""
        return Element(self, self._generators[index])

    def constant(self, value: Number) -> Element:
        """Return a rational number as an element."""
        return Element(self, self._context.constant(as_fmpq(value)))

    def from_terms(self, terms: dict[tuple[int, ...], Any]) -> Element:
        """Return the polynomial with these coefficients by exponent vector."""
        width = len(self._generators)
        padded = {e[:width] + (0,) * (width - len(e)): c for e, c in terms.items()}
        return Element(self, self._context.from_dict(padded))

    def lift(self, poly: Any) -> Any:
        """Return a polynomial of an earlier, smaller context in the present one."""
        return poly if poly.context() is self._context else poly.project_to_context(self._context)

    def coerce(self, value: Any) -> Element:
        """Return a number or element as an element of this ring."""
        if isinstance(value, Element):
            return value
        if isinstance(value, (int, Fraction, fmpq)):
            return self.constant(value)
        raise TypeError(f"{type(value).__name__} is not an element of the ring")

    # --- kernels ---

    def _kernel(self, function: str, argument: Element) -> Element:
        key = (function, argument.key())
        index = self._by_key.get(key)
        if index is None:
            index = self._new_index()
            self._by_key[key] = index
            self.kernels[index] = Kernel(function, argument)
            if function == "positive":
                self._signs.append(index)
            elif function == "sqrt":
                self._roots.append(index)
        return self.generator(index)

    def positive(self, argument: Element) -> Any:
        """Return 1[argument > 0]: a boolean for numbers, else an idempotent element."""
        number = argument.as_fmpq()
        if number is not None:
            return bool(number > 0)
        # The sign of n/d is that of n d; scaled to a monic polynomial, f and -f share a kernel.
        product = self.lift(argument.numerator)
        if argument.denominator is not None:
            product = product * self.lift(argument.denominator)
        lead = product.leading_coefficient()
        kernel = self._kernel("positive", Element(self, product / lead))
        return kernel if lead > 0 else 1 - kernel

    def apply(self, function: str, argument: Element) -> Element:
        """Return the value of a function at an element, as an element.

        Even and odd functions are normalized in the sign of the argument; arguments that depend
        on few activation patterns are split on them.
        """
        argument = self.coerce(argument)
        signs = [i for i in self._signs if argument.involves(i)]
        if 0 < len(signs) <= _SPLIT_LIMIT:
            on, off = argument.at_sign(signs[0], 1), argument.at_sign(signs[0], 0)
            s = self.generator(signs[0])
            return s * self.apply(function, on) + (1 - s) * self.apply(function, off)
        if function == "sqrt":
            return self._root(argument)
        if argument.is_zero() and function in _AT_ZERO:
            return self.constant(_AT_ZERO[function])
        negative = argument.leading_sign() < 0
        if function == "exp" and negative:
            return 1 / self._kernel("exp", -argument)
        if function == "logistic" and negative:
            return 1 - self._kernel("logistic", -argument)
        if function in _ODD and negative:
            return -self._kernel(function, -argument)
        if function in _EVEN and negative:
            return self._kernel(function, -argument)
        if function == "log" and (number := argument.as_fmpq()) is not None:
            if number == 1:
                return self.constant(0)
            if number <= 0:
                raise UnreadableError(f"log of {number} is not a real number")
        return self._kernel(function, argument)

    def _root(self, argument: Element) -> Element:
        number = argument.as_fmpq()
        if number is not None and number < 0:
            raise UnreadableError(f"the square root of {number} is not a real number")
        if argument.is_zero():
            return argument
        try:
            numerator = self.lift(argument.numerator).sqrt()
            denominator = (
                None if argument.denominator is None else self.lift(argument.denominator).sqrt()
            )
        except DomainError:
            return self._kernel("sqrt", argument)
        return self.absolute(Element.fraction(self, numerator, denominator))

    def absolute(self, argument: Element) -> Element:
        """Return |argument|."""
        positive = self.positive(argument)
        if isinstance(positive, bool):
            return argument if positive else -argument
        return argument * (2 * positive - 1)

    # --- normal form ---

    def reduce(self, poly: Any) -> tuple[Any, Element | None]:
        """Apply s^2 = s and k^2 = f to a polynomial.

        Returns the polynomial, or as second entry an element where a root brought in a fraction.
        """
        if not (self._signs or self._roots):
            return poly, None
        degrees = poly.degrees()
        for index in self._signs:
            if index < len(degrees) and degrees[index] > 1:
                terms: dict[tuple[int, ...], Any] = {}
                for exponents, coefficient in poly.to_dict().items():
                    if exponents[index] > 1:
                        exponents = (*exponents[:index], 1, *exponents[index + 1 :])
                    terms[exponents] = terms.get(exponents, 0) + coefficient
                poly = poly.context().from_dict(terms)
        for index in self._roots:
            if index < len(degrees) and degrees[index] > 1:
                return poly, self._reduce_root(poly, index)
        return poly, None

    def _reduce_root(self, poly: Any, index: int) -> Element:
        groups: dict[int, dict[tuple[int, ...], Any]] = {}
        for exponents, coefficient in poly.to_dict().items():
            rest = (*exponents[:index], 0, *exponents[index + 1 :])
            groups.setdefault(exponents[index], {})[rest] = coefficient
        square = self.kernels[index].argument
        total = self.constant(0)
        for power, terms in groups.items():
            part = self.from_terms(terms)
            for _ in range(power // 2):
                part = part * square
            total = total + (part * self.generator(index) if power % 2 else part)
        return total


_ODD = frozenset({"tanh", "erf", "sin", "sinh", "tan", "atan", "asinh", "cbrt"})
_EVEN = frozenset({"cos", "cosh"})
_AT_ZERO: dict[str, Fraction] = {name: Fraction(0) for name in _ODD} | {
    "exp": Fraction(1),
    "cos": Fraction(1),
    "cosh": Fraction(1),
    "logistic": Fraction(1, 2),
}


def as_fmpq(value: Any) -> fmpq:
    """Return an integer or fraction as a FLINT rational."""
    if isinstance(value, Fraction):
        return fmpq(value.numerator, value.denominator)
    return value if isinstance(value, fmpq) else fmpq(value)


class Element:
    """A fraction of polynomials in normal form; the denominator is monic, or None for 1."""

    __slots__ = ("denominator", "numerator", "ring")

    def __init__(self, ring: Ring, numerator: Any, denominator: Any = None) -> None:
        self.ring = ring
        self.numerator: fmpq_mpoly = numerator
        self.denominator: fmpq_mpoly | None = denominator

    @classmethod
    def fraction(cls, ring: Ring, numerator: Any, denominator: Any) -> Element:
        """Return numerator / denominator in lowest terms with a monic denominator."""
        if denominator is None:
            return cls(ring, numerator)
        if not denominator.is_constant():
            common = numerator.gcd(denominator)
            if not common.is_constant():
                numerator, denominator = numerator / common, denominator / common
        lead = denominator.leading_coefficient()
        numerator = numerator / lead
        return cls(ring, numerator, None if denominator.is_constant() else denominator / lead)

    def _parts(self) -> tuple[Any, Any]:
        lift = self.ring.lift
        return lift(self.numerator), None if self.denominator is None else lift(self.denominator)

    def _settled(self, numerator: Any, denominator: Any) -> Element:
        numerator, element = self.ring.reduce(numerator)
        if element is None:
            return Element.fraction(self.ring, numerator, denominator)
        if denominator is None:
            return element
        return element * Element.fraction(self.ring, denominator * 0 + 1, denominator)

    # --- arithmetic ---

    def __add__(self, other: Any) -> Element:
        if isinstance(other, (int, Fraction)) and other == 0:
            return self
        try:
            other = self.ring.coerce(other)
        except TypeError:
            return NotImplemented
        (a, b), (c, d) = self._parts(), other._parts()
        if b is None and d is None:
            return Element(self.ring, a + c)
        if b is not None and d is not None and b == d:
            return Element.fraction(self.ring, a + c, b)
        if b is None:
            return Element.fraction(self.ring, a * d + c, d)
        if d is None:
            return Element.fraction(self.ring, a + c * b, b)
        common = b.gcd(d)
        left, right = d / common, b / common
        return self._settled(a * left + c * right, b * left)

    __radd__ = __add__

    def __neg__(self) -> Element:
        return Element(self.ring, -self.numerator, self.denominator)

    def __sub__(self, other: Any) -> Element:
        try:
            return self + (-self.ring.coerce(other))
        except TypeError:
            return NotImplemented

    def __rsub__(self, other: Any) -> Element:
        return (-self) + other

    def __mul__(self, other: Any) -> Element:
        if isinstance(other, (int, Fraction, fmpq)):
            factor = as_fmpq(other)
            if factor == 0:
                return self.ring.constant(0)
            return Element(self.ring, self.numerator * factor, self.denominator)
        if not isinstance(other, Element):
            return NotImplemented
        (a, b), (c, d) = self._parts(), other._parts()
        self.ring.deadline.check()
        if len(a) * len(c) > _TERM_PRODUCT_LIMIT:
            raise BudgetError(
                f"a product of {len(a)} by {len(c)} terms is more than exact expansion can take"
            )
        if b is None and d is None:
            return self._settled(a * c, None)
        if d is not None and a is not None:
            common = a.gcd(d)
            if not common.is_constant():
                a, d = a / common, d / common
        if b is not None:
            common = c.gcd(b)
            if not common.is_constant():
                c, b = c / common, b / common
        below = b if d is None else d if b is None else b * d
        return self._settled(a * c, below)

    __rmul__ = __mul__

    def __pow__(self, n: int) -> Element:
        if n < 0:
            return self.inverse() ** (-n)
        out = self.ring.constant(1)
        base = self
        while n:
            if n & 1:
                out = out * base
            n >>= 1
            base = base * base if n else base
        return out

    def __truediv__(self, other: Any) -> Element:
        if isinstance(other, (int, Fraction, fmpq)):
            if other == 0:
                raise UnreadableError("the loss divides by zero")
            return self * (1 / Fraction(other) if isinstance(other, int) else 1 / other)
        return self * other.inverse() if isinstance(other, Element) else NotImplemented

    def __rtruediv__(self, other: Any) -> Element:
        return self.inverse() * other

    def inverse(self) -> Element:
        """Return 1/self; the new denominator is freed of sign and root kernels first."""
        ring = self.ring
        numerator, denominator = self._parts()
        if numerator.is_zero():
            raise UnreadableError(
                "the loss divides by an expression that is zero (on some activation pattern); "
                "guard the division inside jnp.where on both branches"
            )
        over = Element(ring, denominator) if denominator is not None else ring.constant(1)
        for index in ring._signs:
            if self.involves(index):
                s = ring.generator(index)
                on, off = self.at_sign(index, 1), self.at_sign(index, 0)
                return s * on.inverse() + (1 - s) * off.inverse()
        plain = Element(ring, numerator)
        for index in reversed(ring._roots):
            if plain.involves(index):
                conjugate = plain.conjugate(index)
                return over * conjugate * (plain * conjugate).inverse()
        return over * Element.fraction(ring, numerator * 0 + 1, numerator)

    # --- inspection ---

    def involves(self, index: int) -> bool:
        """Tell whether the numerator contains a generator."""
        degrees = self.numerator.degrees()
        return index < len(degrees) and degrees[index] > 0

    def at_sign(self, index: int, value: int) -> Element:
        """Return the element on the activation pattern where a sign kernel is 0 or 1."""
        numerator, denominator = self._parts()
        return Element.fraction(self.ring, numerator.subs({f"g{index}": value}), denominator)

    def conjugate(self, index: int) -> Element:
        """Return the polynomial with sqrt(f) replaced by -sqrt(f)."""
        terms = {
            exponents: -c if exponents[index] % 2 else c
            for exponents, c in self._parts()[0].to_dict().items()
        }
        return self.ring.from_terms(terms)

    def is_zero(self) -> bool:
        """Tell whether the normal form is zero."""
        return bool(self.numerator.is_zero())

    def as_fmpq(self) -> fmpq | None:
        """Return the number this element is, or None."""
        if self.denominator is not None or not self.numerator.is_constant():
            return None
        return self.numerator.leading_coefficient() if not self.is_zero() else fmpq(0)

    def leading_sign(self) -> int:
        """Sign of the leading coefficient (to choose between f and -f)."""
        return 0 if self.is_zero() else (1 if self.numerator.leading_coefficient() > 0 else -1)

    def key(self) -> tuple[Any, ...]:
        """Return a hashable form; equal elements have equal keys, whatever the context's size."""

        def terms(poly: Any) -> Any:
            if poly is None:
                return None
            return frozenset((_strip(e), str(c)) for e, c in poly.to_dict().items())

        return terms(self.numerator), terms(self.denominator)

    def derivative(self, name: str) -> Element:
        """Return the partial derivative by a symbol, for elements free of kernels.

        Raises:
            UnreadableError: A kernel occurs.
        """
        index = self.ring.names[name]
        if any(self.involves(kernel) for kernel in self.ring.kernels):
            raise UnreadableError("derivative of an element with kernels; differentiate the loss")
        numerator, denominator = self._parts()
        variable = f"g{index}"
        if denominator is None:
            return Element(self.ring, numerator.derivative(variable))
        top = numerator.derivative(variable) * denominator
        top = top - numerator * denominator.derivative(variable)
        return Element.fraction(self.ring, top, denominator * denominator)

    def __eq__(self, other: object) -> bool:
        try:
            return (self - self.ring.coerce(other)).is_zero()
        except TypeError:
            return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        below = "" if self.denominator is None else f" / ({self.denominator})"
        return f"Element({self.numerator}{below})"


def _strip(exponents: tuple[int, ...]) -> tuple[int, ...]:
    end = len(exponents)
    while end and not exponents[end - 1]:
        end -= 1
    return tuple(int(e) for e in exponents[:end])
