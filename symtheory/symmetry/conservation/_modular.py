"""The domain *lanes*: arrays of residues mod a prime at many points at once, in NumPy.

Every value has a leading axis of lanes, one per point (or of size one, for all). Where a loss
compares values, residues are accompanied by rigorous floating-point enclosures that decide the
comparisons; lanes in which they do not are marked as undecided and mean nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import UnreadableError
from symtheory.exact import rational

MODULUS = 2**26 - 5
"""A prime so small that sums of many products stay below 2^63."""

_LONGEST_SUM = 2**10
_ROUNDING = 2.0**-52
_TINY = 1e-290


@dataclasses.dataclass(frozen=True, eq=False)
class Lanes:
    """Residues of an array at every point, with an enclosure of the real values if needed.

    Attributes:
        residue: Residues, or truth values; the first axis is the lane.
        middle: Midpoints of enclosures, or None.
        radius: Their radii.
    """

    residue: np.ndarray
    middle: np.ndarray | None = None
    radius: np.ndarray | None = None

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Lanes:
        """Apply a movement of entries to all parts."""
        if self.middle is None or self.radius is None:
            return Lanes(function(self.residue))
        return Lanes(function(self.residue), function(self.middle), function(self.radius))

    @property
    def size(self) -> int:
        """Number of entries of one lane."""
        return math.prod(self.residue.shape[1:])


def residue(value: Fraction) -> int:
    """Return a rational number mod the prime.

    Raises:
        ZeroDivisionError: The prime divides its denominator.
    """
    if value.denominator % MODULUS == 0:
        raise ZeroDivisionError(f"{value} has no residue")
    return value.numerator * pow(value.denominator, -1, MODULUS) % MODULUS


def exact_lanes(numbers: Any, enclosed: bool) -> Lanes:
    """Return fractions (first axis: lanes) as `Lanes`."""
    array = np.asarray(numbers)
    if array.dtype.kind in "iu":
        array = array.astype(np.int64)
        if not enclosed:
            return Lanes(array % MODULUS)
        return Lanes(array % MODULUS, array.astype(float), np.abs(array) * _ROUNDING)
    flat = [residue(x) for x in array.reshape(-1)]
    out = np.array(flat, dtype=np.int64).reshape(array.shape)
    if not enclosed:
        return Lanes(out)
    middle = np.array([float(x) for x in array.reshape(-1)]).reshape(array.shape)
    return Lanes(out, middle, np.abs(middle) * _ROUNDING + _TINY)


class Modular:
    """Residues at many points at once; `enclosed` where comparisons must be decided.

    Args:
        enclosed: Whether values carry enclosures.
        decisions: What comparisons shall come out as: reads the loss on given pieces.

    Attributes:
        decisions: What they came out as, in the order of the computation.
        undecided: Lanes in which some comparison could not be decided.

    >>> import jax
    >>> from symtheory.readings import read_function
    >>> square = jax.ShapeDtypeStruct((2, 2), float)
    >>> points = exact_lanes(np.arange(8).reshape(2, 2, 2), enclosed=False)
    >>> out = read_function(lambda a: (a @ a)[0], [square], Modular(), [points])
    >>> out.residue.tolist()
    [[2, 3], [46, 55]]
    """

    name = "lanes"

    def __init__(
        self, enclosed: bool = False, decisions: Sequence[np.ndarray] | None = None
    ) -> None:
        self.enclosed = enclosed
        self.decisions: list[np.ndarray] = []
        self._given = None if decisions is None else iter(decisions)
        self.undecided: np.ndarray = np.zeros(1, dtype=bool)
        from symtheory.symmetry.conservation._modular_rules import lane_rules

        self._rules = lane_rules(self)

    @property
    def rules(self) -> Mapping[str, Any]:
        """The table primitive -> rule."""
        return self._rules

    def constant(self, value: Any) -> Any:
        """Read a constant; floats become the rationals they stand for."""
        array = np.asarray(value)
        if array.dtype.kind in "biu":
            return array
        if array.dtype.kind != "f" or not np.all(np.isfinite(array)):
            raise UnreadableError(f"the lanes domain cannot read a constant of {array.dtype}")
        if np.all(array == np.rint(array)) and np.all(np.abs(array) < 2.0**53):
            return exact_lanes(array.astype(np.int64)[None], self.enclosed)
        exact = np.empty((1, *array.shape), dtype=object)
        for index, item in np.ndenumerate(array):
            exact[(0, *index)] = rational(item)
        return exact_lanes(exact, self.enclosed)

    def lift(self, value: Any) -> Lanes:
        """Return a concrete array, or truth values, as numbers."""
        if isinstance(value, Lanes):
            plain = value.residue.dtype != bool and (value.middle is not None or not self.enclosed)
            return value if plain else self._numbers(value.residue)
        return self._numbers(np.asarray(value)[None])

    def positive(self, a: Lanes) -> np.ndarray:
        """Return where a > 0; lanes in which an enclosure contains zero become undecided.

        Decisions that were given are taken instead, one after the other.
        """
        if self._given is not None:
            self.decisions.append(next(self._given))
            return self.decisions[-1]
        if a.middle is None or a.radius is None:
            raise UnreadableError("the lanes domain was not asked to compare")
        above = a.middle > a.radius
        open_ = ~(above | (a.middle < -a.radius))
        if np.any(open_):
            self.undecided = self.undecided | np.any(open_.reshape(len(open_), -1), axis=1)
        self.decisions.append(above)
        return above

    def _numbers(self, array: np.ndarray) -> Lanes:
        return exact_lanes(array.astype(np.int64), self.enclosed)

    def take(self, value: Any, step: int) -> Any:
        """Return one entry of a value along its first axis."""
        return value.map(lambda a: a[:, step]) if isinstance(value, Lanes) else value[step]

    def stack(self, values: Sequence[Any]) -> Any:
        """Put values together along a new first axis."""
        if not any(isinstance(x, Lanes) for x in values):
            return np.stack(values)
        return together(lambda *xs: np.stack(xs, axis=1), [self.lift(x) for x in values])


def together(function: Callable[..., np.ndarray], values: Sequence[Lanes]) -> Lanes:
    """Apply a movement of several arrays, over a common number of lanes."""
    lanes = max(x.residue.shape[0] for x in values)

    def parts(name: str) -> list[np.ndarray]:
        arrays = [getattr(x, name) for x in values]
        return [np.broadcast_to(a, (lanes, *a.shape[1:])) for a in arrays]

    if values[0].middle is None:
        return Lanes(function(*parts("residue")))
    return Lanes(*(function(*parts(name)) for name in ("residue", "middle", "radius")))


# --- arithmetic --------------------------------------------------------------------------------


def bounded(number: np.ndarray, middle: Any, radius: Any) -> Lanes:
    """Return a result whose midpoint was rounded a few times and whose radius is enlarged."""
    if middle is None:
        return Lanes(number)
    return Lanes(number, middle, radius * 1.001 + np.abs(middle) * (4 * _ROUNDING) + _TINY)


def add(a: Lanes, b: Lanes, sign: int = 1) -> Lanes:
    """Return a + b or a - b."""
    number = (a.residue + sign * b.residue) % MODULUS
    if a.middle is None or b.middle is None or a.radius is None or b.radius is None:
        return Lanes(number)
    return bounded(number, a.middle + sign * b.middle, a.radius + b.radius)


def multiply(a: Lanes, b: Lanes) -> Lanes:
    """Return a b, entry by entry."""
    number = a.residue * b.residue % MODULUS
    if a.middle is None or b.middle is None or a.radius is None or b.radius is None:
        return Lanes(number)
    radius = np.abs(a.middle) * b.radius + a.radius * (np.abs(b.middle) + b.radius)
    return bounded(number, a.middle * b.middle, radius)


def contract(a: Lanes, b: Lanes) -> Lanes:
    """Return the product of stacks of matrices."""
    inner = a.residue.shape[-1]
    number = np.zeros((), dtype=np.int64)
    for start in range(0, max(inner, 1), _LONGEST_SUM):
        part = slice(start, start + _LONGEST_SUM)
        number = (number + a.residue[..., part] @ b.residue[..., part, :]) % MODULUS
    if a.middle is None or b.middle is None or a.radius is None or b.radius is None:
        return Lanes(number)
    left, right = np.abs(a.middle), np.abs(b.middle)
    radius = left @ (b.radius + (inner + 2) * _ROUNDING * right) + a.radius @ (right + b.radius)
    return bounded(number, a.middle @ b.middle, radius)


def inverse(a: Lanes) -> Lanes:
    """Return 1/a.

    Raises:
        ZeroDivisionError: A residue is zero, or an enclosure contains zero.
    """
    if np.any(a.residue == 0):
        raise ZeroDivisionError("a residue is zero")
    number, exponent, base = np.ones_like(a.residue), MODULUS - 2, a.residue
    while exponent:
        number = number * base % MODULUS if exponent & 1 else number
        base, exponent = base * base % MODULUS, exponent >> 1
    if a.middle is None or a.radius is None:
        return Lanes(number)
    below = np.abs(a.middle) - a.radius
    if np.any(below <= 0):
        raise ZeroDivisionError("an enclosure contains zero")
    return bounded(number, 1 / a.middle, a.radius / (below * np.abs(a.middle)))
