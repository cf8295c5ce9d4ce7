"""The domain *tensors*: sums of products of named arrays, for sizes that are names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NoReturn, final

import numpy as np

from symtheory.domains._domain import Domain, spoken
from symtheory.domains.tensors._indexed import Indexed, einsum
from symtheory.domains.tensors._questions import shown
from symtheory.exact import rational
from symtheory.program import Positions
from symtheory.shapes import Size

_BIND = "bind the sizes, or write the loss without it"


@dataclasses.dataclass(frozen=True)
class SquareRoot:
    """The square root of a value; it can only be squared again."""

    square: Indexed

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes of its axes."""
        return self.square.sizes


@final
class Tensors(Domain):
    """Reads sums, products, contractions, transposes and traces, whatever the sizes.

    Args:
        names: The size each symbolic dimension of the trace stands for, by its text.
    """

    name = "tensors"

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = dict(names or {})

    # --- values ---

    def constant(self, value: Any) -> Any:
        """Return a number, an array whose entries are all the same, a size, or positions."""
        if isinstance(value, Positions):
            return Positions(value.axis, self._sizes(value.sizes))
        if isinstance(value, np.ndarray) and value.dtype == object and not value.ndim:
            value = value.item()  # a symbolic size among numbers
        if not isinstance(value, (np.ndarray, np.generic, float, int)):
            return self._polynomial(str(value))
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or not array.size:
            self.refuse(f"a constant of {array.dtype} and shape {array.shape}")
        entry = array.reshape(-1)[0]
        if not np.all(array == entry):
            self.refuse(
                f"a fixed array of shape {array.shape}",
                instead="pass it as a constant of the model",
            )
        return Indexed.constant(rational(entry), array.shape)

    def shape(self, value: Any) -> tuple[Size, ...]:
        """Return the sizes of the axes."""
        return value.sizes

    def _polynomial(self, text: str) -> Indexed:
        """Return a symbolic dimension, such as "s0^2 - 2*s1 + 1", as a number."""
        total = Indexed(())
        for sign, product in re.findall(r"([+-]?)([^+-]+)", text.replace(" ", "")):
            factors = []
            for factor in product.split("*"):
                base, _, power = factor.partition("^")
                if base.isdigit():
                    factors.append(Indexed.constant(int(base)))
                elif base in self._names:
                    factors.append(Indexed.size(self._names[base], int(power or 1)))
                else:  # floordiv, mod, max, min
                    self.refuse(f"the size {shown(text, self._names)} as a number", instead=_BIND)
            term = einsum([(factor, ()) for factor in factors], ())
            total = total + term.scaled(-1 if sign == "-" else 1)
        return total

    def _size(self, dimension: Any) -> Size:
        """Return an integer, or the name that a symbolic dimension stands for."""
        if isinstance(dimension, (int, np.integer)):
            return int(dimension)
        if isinstance(dimension, str):
            return dimension
        text = str(dimension)
        if text not in self._names:
            self.refuse(f"an axis of size {shown(text, self._names)}", instead=_BIND)
        return self._names[text]

    def _sizes(self, shape: Sequence[Any]) -> tuple[Size, ...]:
        return tuple(self._size(n) for n in shape)

    def _value(self, x: Any, what: str) -> Indexed:
        if not isinstance(x, Indexed):
            kind = "a square root" if isinstance(x, SquareRoot) else "positions"
            self.refuse(f"{what} of {kind}")
        return x

    # --- movement ---

    def transpose(self, x: Any, permutation: tuple[int, ...]) -> Indexed:
        """See `Domain.transpose`."""
        x = self._value(x, "a transpose")
        return einsum([(x, range(len(x.sizes)))], permutation)

    def reshape(self, x: Any, shape: tuple[Any, ...]) -> Indexed:
        """See `Domain.reshape`; axes of length one come and go."""
        x, sizes = self._value(x, "a reshape"), self._sizes(shape)
        kept = [axis for axis, size in enumerate(x.sizes) if size != 1]
        if [x.sizes[a] for a in kept] != [s for s in sizes if s != 1]:
            self.refuse("a reshape", "it merges or splits axes")
        rest = iter(kept)
        names = [next(rest) if size != 1 else ("new", i) for i, size in enumerate(sizes)]
        return einsum([(x, range(len(x.sizes)))], names, {n: 1 for n in names})

    def broadcast(self, x: Any, shape: tuple[Any, ...], axes: tuple[int, ...]) -> Indexed:
        """See `Domain.broadcast`."""
        x, sizes = self._value(x, "a broadcast"), self._sizes(shape)
        return einsum([(x, axes)], range(len(sizes)), dict(enumerate(sizes)))

    def take(self, x: Any, places: np.ndarray, axis: int, fill: Any = None) -> NoReturn:
        """Refuse to pick entries."""
        self.refuse("a slice or an index", "it picks entries one by one")

    def pick(self, x: Any, places: np.ndarray, fill: Any = None) -> NoReturn:
        """Refuse to pick entries."""
        self.refuse("an index", "it picks entries one by one")

    def concatenate(self, xs: Sequence[Any], axis: int) -> NoReturn:
        """Refuse to put arrays together."""
        self.refuse("a concatenation")

    def choose(self, x: Any, index: Any, axis: int, batch: int, fill: Any = None) -> NoReturn:
        """Refuse to pick entries."""
        self.refuse("an index that depends on the sample")

    # --- arithmetic ---

    def add(self, x: Any, y: Any) -> Indexed:
        """See `Domain.add`."""
        return self._value(x, "a sum") + self._value(y, "a sum")

    def mul(self, x: Any, y: Any) -> Indexed:
        """See `Domain.mul`."""
        if isinstance(x, SquareRoot) and x is y:
            return x.square
        x, y = self._value(x, "a product"), self._value(y, "a product")
        axes = range(len(x.sizes))
        return einsum([(x, axes), (y, axes)], axes)

    def scale(self, x: Any, factor: Fraction) -> Indexed:
        """See `Domain.scale`."""
        return self._value(x, "a multiple").scaled(factor)

    def dot(self, x: Any, y: Any, batch: int, inner: int) -> Indexed:
        """See `Domain.dot`."""
        if isinstance(x, SquareRoot) and x is y and batch + inner == len(x.sizes):
            return self.sum(x.square, tuple(range(batch, batch + inner)))
        x, y = self._value(x, "a product"), self._value(y, "a product")
        n, m = len(x.sizes) - batch - inner, len(y.sizes) - batch - inner
        shared = [("b", k) for k in range(batch)]
        summed = [("k", k) for k in range(inner)]
        rows, columns = [("i", k) for k in range(n)], [("j", k) for k in range(m)]
        return einsum(
            [(x, [*shared, *rows, *summed]), (y, [*shared, *columns, *summed])],
            [*shared, *rows, *columns],
        )

    def sum(self, x: Any, axes: tuple[int, ...]) -> Indexed:
        """See `Domain.sum`."""
        x = self._value(x, "a sum")
        names = range(len(x.sizes))
        return einsum([(x, names)], [n for n in names if n not in axes])

    def power(self, x: Any, exponent: Fraction) -> Any:
        """See `Domain.power`; a square root can be squared again, numbers can be inverted."""
        if isinstance(x, SquareRoot):
            if exponent <= 0 or exponent.denominator != 1 or exponent % 2:
                self.refuse("a square root", "but for its even powers")
            return self.power(x.square, exponent / 2)
        x = self._value(x, "a power")
        if exponent == Fraction(1, 2):
            return SquareRoot(x)
        if exponent.denominator != 1:
            self.refuse(f"a power {exponent}")
        if exponent < 0:
            return self.power(self._inverse(x), -exponent)
        out = Indexed.constant(1, x.sizes)
        for _ in range(int(exponent)):
            out = self.mul(out, x)
        return out

    def _inverse(self, y: Indexed) -> Indexed:
        if len(y.terms) == 1:
            [(term, c)] = y.terms.items()
            if not term.components and not term.deltas:
                powers = tuple((name, -n) for name, n in term.powers)
                return Indexed(y.sizes, {term._replace(powers=powers): 1 / c})
        return self.refuse("a division by something other than numbers and sizes")

    def apply(self, function: str, *xs: Any) -> NoReturn:
        """Refuse elementary functions."""
        self.refuse(spoken(function))

    # --- order ---

    def extremum(self, x: Any, y: Any, largest: bool) -> NoReturn:
        """Refuse to compare values."""
        self.refuse("max" if largest else "min")

    def fold(self, x: Any, kind: str, axes: tuple[int, ...]) -> NoReturn:
        """Refuse to compare values."""
        self.refuse(f"a {kind} along an axis")

    def compare(self, kind: str, x: Any, y: Any) -> Indexed:
        """Compare positions along two axes: the identity matrix."""
        if kind != "eq" or not (isinstance(x, Positions) and isinstance(y, Positions)):
            self.refuse("a comparison of values")
        if x.axis == y.axis:
            self.refuse("a comparison of positions along one axis")
        if x.sizes != y.sizes or x.sizes[x.axis] != y.sizes[y.axis]:
            sizes = f"{x.sizes[x.axis]} and {y.sizes[y.axis]}"
            self.refuse("a comparison of positions", f"along axes of sizes {sizes}")
        mask = Indexed.delta(x.sizes[x.axis])
        return einsum([(mask, (x.axis, y.axis))], range(len(x.sizes)), dict(enumerate(x.sizes)))

    def select(self, which: Any, *cases: Any) -> Indexed:
        """See `Domain.select`; the condition must be about positions."""
        if not isinstance(which, Indexed) or len(cases) != 2:
            self.refuse("a choice whose condition is not about positions")
        no, yes = (self._value(case, "a choice") for case in cases)
        return no + self.mul(which, yes - no)

    def sort(self, xs: Sequence[Any], axis: int, keys: int) -> NoReturn:
        """Refuse to compare values."""
        self.refuse("a sort")

    def cast(self, x: Any, kind: str) -> Any:
        """See `Domain.cast`; truth values are numbers already."""
        if kind not in ("real", "bit"):
            self.refuse(f"a cast to {kind}, which rounds")
        return self._value(x, "a cast")

    def scan(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse loops."""
        self.refuse("a scan", "it picks and collects entries one by one")
