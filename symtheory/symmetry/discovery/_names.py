"""Recognize generators: which leaves they touch, what they are called, how they are written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from symtheory.symmetry.discovery._proof import Field

_LONGEST = 6
"""Terms of a vector field that are written out."""

Place = tuple[str, int]
"""An axis of a leaf."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the parameters stand in the flattened vector.

    Attributes:
        shapes: Shapes by dotted leaf name, in order.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def starts(self) -> dict[str, int]:
        """Position of every leaf's first entry."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        return dict(zip(self.shapes, np.cumsum([0, *sizes])[:-1].tolist(), strict=True))

    def entry(self, position: int) -> tuple[str, tuple[int, ...]]:
        """Return leaf and index of a position."""
        for name, start in reversed(self.starts.items()):
            shape = self.shapes[name]
            if start <= position < start + math.prod(shape):
                return name, tuple(
                    int(i) for i in np.unravel_index(position - start, shape or (1,))
                )[: len(shape)]
        raise IndexError(position)

    def text(self, position: int) -> str:
        """Return the LaTeX of a parameter, counted from 1."""
        name, index = self.entry(position)
        digits = [str(i + 1) for i in index]
        joined = ("" if all(len(x) == 1 for x in digits) else ",").join(digits)
        base = latex_name(name)
        return f"{base}_{{{joined}}}" if digits else base


def latex_name(name: str) -> str:
    """Return a leaf's name as LaTeX: one letter as it is, longer names upright.

    >>> latex_name("U"), latex_name("layers.0.w_q")
    ('U', '\\\\mathrm{layers.0.w\\\\_q}')
    """
    if len(name) == 1 and name.isalpha():
        return name
    escaped = "".join("\\" + c if c in "_#$%&{}" else c for c in name) or r"\theta"
    return escaped if escaped == r"\theta" else rf"\mathrm{{{escaped}}}"


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a generator was recognized as.

    Attributes:
        pattern: "scale", "rescaling", "unit", "mixing", "rotation", "shift", "linear shift",
            "logit shift", "linear logit shift", ...
        places: The axes involved (axis -1: the whole leaf).
        unit: Which unit, or which pair.
    """

    pattern: str
    places: tuple[Place, ...]
    unit: tuple[int, ...] = ()


def touched(field: Field, layout: Layout) -> tuple[str, ...]:
    """Return the leaves that move."""
    names = {layout.entry(i)[0] for i in field.rows}
    return tuple(name for name in layout.shapes if name in names)


def latex(field: Field, layout: Layout) -> str:
    """Return the vector field as LaTeX, its first terms if it is long."""
    terms = [
        (value, f"{layout.text(j)}\\,\\partial_{{{layout.text(i)}}}")
        for (i, j), value in sorted(field.matrix.items())
    ]
    terms += [
        (value, f"\\partial_{{{layout.text(i)}}}") for i, value in sorted(field.shift.items())
    ]
    out = ""
    for k, (value, text) in enumerate(terms[:_LONGEST]):
        sign = "-" if value < 0 else ("+" if k else "")
        size = abs(value)
        if size == 1:
            number = ""
        elif size.denominator == 1:
            number = f"{size}\\,"
        else:
            number = f"\\tfrac{{{size.numerator}}}{{{size.denominator}}}\\,"
        out += f" {sign} {number}{text}" if k else f"{sign}{number}{text}"
    return out + (r" + \cdots" if len(terms) > _LONGEST else "")


def recognize(field: Field, layout: Layout) -> Kind:
    """Return what a generator is."""
    if field.shift:
        return _shift({i: v for i, v in field.shift.items()}, layout, bool(field.matrix))
    if field.is_diagonal:
        return _diagonal(field, layout)
    columns = {j for _, j in field.matrix}
    if len(columns) == 1:
        kind = _shift({i: v for (i, _), v in field.matrix.items()}, layout, False)
        if kind.pattern == "shift":
            return dataclasses.replace(kind, pattern="linear shift", unit=tuple(columns))
    return _mixing(field, layout)


def _shift(values: Mapping[int, Fraction], layout: Layout, mixed: bool) -> Kind:
    names = {layout.entry(i)[0] for i in values}
    if mixed:
        return Kind("affine", tuple((name, -1) for name in sorted(names)))
    places = []
    for name in sorted(names):
        array = _array(values, layout, name)
        axes = [k for k in range(array.ndim) if np.ptp(array, axis=k).max(initial=0) == 0]
        if not axes:
            return Kind("translation", tuple((n, -1) for n in sorted(names)))
        places.append((name, axes[0] if len(axes) < array.ndim or array.ndim == 1 else -1))
    return Kind("shift", tuple(places))


def _array(values: Mapping[int, Fraction], layout: Layout, name: str) -> np.ndarray:
    shape = layout.shapes[name]
    out = np.zeros(math.prod(shape))
    start = layout.starts[name]
    for i, value in values.items():
        if start <= i < start + out.size:
            out[i - start] = float(value)
    return out.reshape(shape)


def _diagonal(field: Field, layout: Layout) -> Kind:
    rates = {i: value for (i, _), value in field.matrix.items()}
    names = touched(field, layout)
    arrays = {name: _array(rates, layout, name) for name in names}
    if all(np.ptp(array) == 0 for array in arrays.values()):
        whole = tuple((name, -1) for name in names)
        same = len({float(array.flat[0]) for array in arrays.values()}) == 1
        return Kind("scale" if same else "rescaling", whole)
    places, units = [], []
    for name, array in arrays.items():
        found = _slice(array)
        if found is None:
            return Kind("diagonal", tuple((n, -1) for n in names))
        places.append((name, found[0]))
        units.append(found[1])
    return Kind("unit", tuple(places), tuple(units))


def _slice(array: np.ndarray) -> tuple[int, int] | None:
    """Return the axis and index at which an array is one number, if it is zero elsewhere."""
    for axis in range(array.ndim):
        lines = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
        used = np.flatnonzero(lines.any(axis=1))
        if len(used) == 1 and np.ptp(lines[used[0]]) == 0:
            return axis, int(used[0])
    return None


def _mixing(field: Field, layout: Layout) -> Kind:
    """Recognize one unit added to another along one axis of one or several leaves."""
    moves: dict[Place, set[tuple[int, int]]] = {}
    names = tuple((name, -1) for name in touched(field, layout))
    for i, j in field.matrix:
        (row, target), (column, source) = layout.entry(i), layout.entry(j)
        if row != column:
            return Kind("linear", names)
        differing = [k for k in range(len(target)) if target[k] != source[k]]
        if len(differing) != 1:
            return Kind("linear", names)
        axis = differing[0]
        moves.setdefault((row, axis), set()).add((target[axis], source[axis]))
    pairs = [{tuple(sorted(pair)) for pair in found} for found in moves.values()]
    if len(set.union(*pairs)) != 1:
        return Kind("linear", names)
    unit = next(iter(pairs[0]))
    both = any(len(found) == 2 for found in moves.values())
    return Kind("rotation" if both else "mixing", tuple(moves), unit)


def family_names(kinds: Sequence[Kind], layout: Layout) -> list[str]:
    """Return the name of the family every generator belongs to.

    Rescalings of the units along the same axes as their mixings make up the general linear group.
    """
    mixed = {frozenset(kind.places) for kind in kinds if kind.pattern == "mixing"}
    return [_name(kind, frozenset(kind.places) in mixed, layout) for kind in kinds]


def _name(kind: Kind, mixed: bool, layout: Layout) -> str:
    places = " and ".join(_place(place) for place in sorted(kind.places))
    leaves = ", ".join(name or "theta" for name, _ in kind.places)
    if kind.pattern in ("unit", "mixing"):
        name, axis = kind.places[0]
        size = layout.shapes[name][axis]
        if kind.pattern == "mixing" or mixed:
            if len(kind.places) == 1:
                return f"GL({size}) acting on {places}"
            return f"GL({size}) double rotation between {places}"
        return (
            f"per-neuron rescaling between {places}"
            if len(kind.places) > 1
            else (f"scale of every unit of {places}")
        )
    return {
        "scale": f"scale of {leaves}",
        "rescaling": f"rescaling of {' against '.join(name for name, _ in kind.places)}",
        "rotation": f"rotation of {places}",
        "shift": f"shift of {places}",
        "logit shift": f"logit shift of {places}",
        "linear shift": f"shift of {places} by multiples of a parameter",
        "linear logit shift": f"logit shift of {places} by multiples of a parameter",
        "translation": f"translation of {leaves}",
    }.get(kind.pattern, f"{kind.pattern} action on {leaves}")


def _place(place: Place) -> str:
    name, axis = place
    return (name or "theta") + (f" axis {axis}" if axis >= 0 else "")
