"""The ring behind exact proofs: Q(symbols)[kernels], in normal form, on FLINT polynomials.

An element is a fraction of polynomials over Q in symbols and *kernels*. A kernel stands for the
value of a function at an element and is one more indeterminate:

* sign kernel s = 1[f > 0], with s^2 = s: the split of a ReLU-like piece on its activation pattern,
  all patterns at once (a polynomial that vanishes with s^2 = s vanishes on every pattern);
* root kernel k = sqrt(f), with k^2 = f (and higher roots; sin and sinh are roots of 1 - cos^2 and
  cosh^2 - 1);
* any other function (exp, log, tanh, ...), with no relation.

Denominators are kept free of sign and root kernels. What is assumed, exactly:

* Numbers are real: single and double precision stand for the same number and nothing is rounded.
* An element that is zero here is zero wherever everything it was computed from is defined, for all
  values of the atomic symbols (`mark_atomic`) and almost all of the generic ones, which are the
  others: these must have a joint density for every fixed value of the atomic symbols. Ties f = 0 of
  a comparison are left out where they are such a null set; ties on a whole activation pattern (a
  dead unit) or at an atom are not.
* The converse may fail where kernels satisfy a relation the ring does not know, so a non-zero
  element proves nothing.
* The normal form forgets where a value was undefined (u/u is 1); elements carry along whether that
  happened (`Element.partial`), and the domain of polynomials refuses to compare such values.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
from flint import Ordering, fmpq, fmpq_mpoly_ctx

from symtheory.domains._rationals import as_fmpq
from symtheory.domains.ring import _indicators, _kernels, _roots, _zeros
from symtheory.domains.ring._element import Element
from symtheory.errors import BudgetError
from symtheory.program import NO_DEADLINE, Deadline

Number = int | Fraction | fmpq | np.integer

# FLINT cannot be interrupted, so the size of a product is estimated before it is taken.
_CHEAP_PAIRS = 100_000
_PAIRS_PER_SECOND = 5_000_000
_PAIR_LIMIT = 200_000_000
_TERM_LIMIT = 3_000_000
_GCD_TERMS = 60_000
_ZERO_TERMS = 20_000
_ZERO_SPLITS = 6
_GCD_TERMS_PER_SECOND = 20_000


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """An indeterminate that stands for `function(argument)`.

    Attributes:
        function: Name of the function; "positive" is the indicator of a positive argument.
        argument: Where it is taken.
        order: q > 0 for a kernel whose q-th power is `power`, 0 where no such relation is known.
        power: That power.
    """

    function: str
    argument: Element
    order: int = 0
    power: Element | None = None


class Ring:
    """Symbols and kernels, and the FLINT context they live in (grown as kernels appear).

    Args:
        symbols: Names of the symbols to begin with.
        deadline: A time limit on everything computed in the ring.

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
        self.signs: list[int] = []
        self.roots: list[int] = []
        self.exp_units: dict[Any, int] = {}
        self._levels: dict[Any, list[tuple[int, fmpq]]] = {}
        self._implied: list[tuple[int, int, int]] = []
        self._annihilated: list[tuple[int, Any]] = []
        self._opposite: dict[Any, int] = {}
        self._atomic: set[int] = set()
        self._total_roots: set[int] = set()
        self._index: dict[str, int] = {}
        self._by_key: dict[tuple[str, Any], int] = {}
        self._used = 0
        self._context: Any = None
        self._grow(max(len(symbols or []), 8))
        for name in symbols or []:
            self.symbol(name)

    # --- generators ---

    def _grow(self, capacity: int) -> None:
        names = [f"g{i}" for i in range(capacity)]
        self._context = fmpq_mpoly_ctx.get(names, Ordering.degrevlex)
        self._generators = self._context.gens()

    def _new_index(self) -> int:
        if self._used == len(self._generators):
            self._grow(2 * self._used)
        self._used += 1
        return self._used - 1

    def symbol(self, name: str) -> Element:
        """Return the symbol of that name, adding it if it is new."""
        if name not in self._index:
            self._index[name] = self._new_index()
        return self.generator(self._index[name])

    def mark_atomic(self, symbol: str | Element) -> None:
        """Declare that a symbol's law may have atoms: nothing about it holds almost everywhere.

        Args:
            symbol: The symbol or its name.
        """
        if isinstance(symbol, Element):
            self._atomic.update(i for i, n in enumerate(symbol.numerator.degrees()) if n > 0)
        else:
            self.symbol(symbol)
            self._atomic.add(self._index[symbol])

    def is_generic(self, index: int) -> bool:
        """Tell whether a generator is a symbol whose values have a density."""
        return index not in self.kernels and index not in self._atomic

    @property
    def has_atoms(self) -> bool:
        """Whether some symbol was declared to have no density."""
        return bool(self._atomic)

    def mark_total(self, index: int) -> None:
        """Note that a root kernel's argument is known not to be negative."""
        self._total_roots.add(index)

    def is_total_root(self, index: int) -> bool:
        """Tell whether a root kernel's argument is known not to be negative."""
        return index in self._total_roots

    def kernel(
        self, function: str, argument: Element, order: int = 0, power: Element | None = None
    ) -> Element:
        """Return the kernel of a function at an element, adding it if it is new."""
        key = (function, argument.key())
        index = self._by_key.get(key)
        if index is None:
            index = self._by_key[key] = self._new_index()
            self.kernels[index] = Kernel(function, argument, order, power)
            if function in _indicators.INDICATORS:
                self._add_sign(index, function, argument)
            elif order:
                self.roots.append(index)
        return self.generator(index)

    def _add_sign(self, index: int, function: str, argument: Element) -> None:
        """Register an indicator; f > 0 implies f + c > 0 for every c > 0."""
        self.signs.append(index)
        if argument.denominator is None and not self._kernels_in(argument):
            if function == "vanishing":  # 1[f = 0] f = 0
                self._annihilated.append((index, argument.numerator))
            other = self._opposite.setdefault(argument.key(), index)
            if other != index:  # 1[f = 0] 1[f > 0] = 0
                self._annihilated.append((index, self._generators[other]))
        if function == "positive" and argument.denominator is None:
            numerator = argument.parts()[0]
            offset = numerator[(0,) * numerator.context().nvars()]
            level = self._levels.setdefault((argument - offset).key(), [])
            for other, c in level:
                narrow = index if offset < c else other
                self._implied.append((index, other, narrow))
            level.append((index, offset))

    def _kernels_in(self, argument: Element) -> bool:
        degrees = argument.numerator.degrees()
        return any(k < len(degrees) and degrees[k] > 0 for k in self.kernels)

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
        if isinstance(value, (int, Fraction, fmpq, np.integer)):
            return self.constant(value)
        raise TypeError(f"{type(value).__name__} is not an element of the ring")

    # --- functions (see _indicators, _kernels and _roots) ---

    def positive(self, argument: Element) -> Any:
        """Return 1[argument > 0]: a boolean where it is decided, else an idempotent element."""
        return _indicators.positive(self, argument)

    def vanishes(self, argument: Element) -> Any:
        """Return 1[argument = 0] up to null sets: a boolean, or an idempotent element."""
        return _indicators.vanishes(self, argument)

    def apply(self, function: str, argument: Element) -> Element:
        """Return the value of a function at an element, as an element."""
        return _kernels.apply(self, function, self.coerce(argument))

    def root(self, argument: Element, order: int) -> Element:
        """Return the real root of that order (argument >= 0)."""
        return _roots.root(self, self.coerce(argument), order)

    def is_rarely_zero(self, element: Element) -> bool:
        """Tell whether an element is known to vanish on a null set of the generic symbols only."""
        if element.level == 2:
            return True
        poly = element.numerator
        if len(poly) > _ZERO_TERMS:
            return False
        if not (self.has_atoms or self._kernels_in(element)):
            return not poly.is_zero()
        if _indicators.manifest_sign(self, self.lift(poly)) is not None:
            return True
        signs = self.signs_in(element)
        if 0 < len(signs) <= _ZERO_SPLITS:
            return all(self.is_rarely_zero(element.at_sign(signs[0], value)) for value in (0, 1))
        return _zeros.zero_set(self, element) is False

    def absolute(self, argument: Element) -> Element:
        """Return |argument|."""
        return _indicators.absolute(self, argument)

    def inverse_root(self, element: Element, index: int) -> Element:
        """Return 1/element, freed of a root kernel that it contains."""
        return _roots.inverse_root(self, element, index)

    # --- kernels with relations ---

    def signs_in(self, element: Element) -> list[int]:
        """Return the sign kernels that an element contains."""
        return self._present(self.signs, element)

    def roots_in(self, element: Element) -> list[int]:
        """Return the root kernels that an element contains."""
        return self._present(self.roots, element)

    def relations_in(self, element: Element) -> bool:
        """Tell whether an element contains a kernel with a relation."""
        return bool(self.signs_in(element) or self.roots_in(element))

    def _present(self, indices: list[int], element: Element) -> list[int]:
        if not indices:
            return []
        degrees = element.numerator.degrees()
        return [i for i in indices if i < len(degrees) and degrees[i] > 0]

    def reduce(self, poly: Any) -> tuple[Any, Element | None]:
        """Apply s^2 = s, implications s t = t and k^q = f to a polynomial.

        Returns the polynomial, or as second entry an element where a root brought in a fraction.
        """
        if not (self.signs or self.roots):
            return poly, None
        degrees = poly.degrees()
        for index in self.signs:
            if degrees[index] > 1:
                s = self._generators[index]
                poly = poly % (s * s - s)
        for first, second, narrow in self._implied:
            if degrees[first] > 0 and degrees[second] > 0:
                s, t, both = (self._generators[i] for i in (first, second, narrow))
                poly = poly % (s * t - both)
        for index, factor in self._annihilated:
            if degrees[index] > 0:
                poly = poly % (self._generators[index] * self.lift(factor))
        for index in reversed(self.roots):
            kernel = self.kernels[index]
            if degrees[index] >= kernel.order:
                high, low = divmod(poly, self._generators[index] ** kernel.order)
                assert kernel.power is not None
                out = Element(self, high) * kernel.power
                low, rest = self.reduce(low)
                return poly, out + (Element(self, low) if rest is None else rest)
        return poly, None

    # --- guarded operations on polynomials of the present context ---

    def multiply(self, a: Any, b: Any) -> Any:
        """Return a product, refusing one that is too large to take.

        Raises:
            BudgetError: The product would take too long or too much memory.
        """
        self.deadline.check()
        pairs = len(a) * len(b)
        if pairs > _CHEAP_PAIRS:
            self._afford(f"a product of {len(a)} by {len(b)} terms", pairs, [(a, 1), (b, 1)])
        return a * b

    def power(self, a: Any, n: int) -> Any:
        """Return a power, refusing one that is too large to take.

        Raises:
            BudgetError: The power would take too long or too much memory.
        """
        self.deadline.check()
        if len(a) > 1 and n > 1:
            before = min(math.comb(len(a) + n - 2, n - 1), _dense_terms([(a, n - 1)]))
            if before * len(a) > _CHEAP_PAIRS:
                self._afford(f"power {n} of {len(a)} terms", before * len(a), [(a, n)])
        return a**n

    def _afford(self, what: str, pairs: int, factors: list[tuple[Any, int]]) -> None:
        terms = min(pairs, _dense_terms(factors))
        if pairs > _PAIR_LIMIT or terms > _TERM_LIMIT:
            raise BudgetError(f"{what} is more than exact expansion can take; take smaller sizes")
        if pairs > self.deadline.remaining() * _PAIRS_PER_SECOND:
            raise BudgetError(
                f"{what} does not fit into the time limit; allow more time or take smaller sizes"
            )

    def cancel(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Return two polynomials divided by their greatest common divisor.

        Very large ones are left as they are: lowest terms save room but decide nothing.
        """
        if a.is_constant() or b.is_constant():
            return a, b
        limit = min(_GCD_TERMS, self.deadline.remaining() * _GCD_TERMS_PER_SECOND)
        if len(a) + len(b) > limit:
            return a, b
        common = a.gcd(b)
        return (a, b) if common.is_constant() else (a / common, b / common)


def _dense_terms(factors: list[tuple[Any, int]]) -> int:
    """Return how many monomials a product of powers can have, by its degrees alone."""
    degrees = [0] * factors[0][0].context().nvars()
    total = 0
    for poly, n in factors:
        total += n * max(poly.total_degree(), 0)
        degrees = [d + n * max(e, 0) for d, e in zip(degrees, poly.degrees(), strict=True)]
    used = sum(d > 0 for d in degrees)
    return min(math.prod(d + 1 for d in degrees), math.comb(used + total, used))
