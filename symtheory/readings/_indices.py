"""The domain *indices*: sums of products of named tensors, for symbolic sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import jax
import numpy as np
from jax import export
from jax.extend.core import ClosedJaxpr

from symtheory import shapes
from symtheory.errors import UnreadableError
from symtheory.exact import rational
from symtheory.readings._at_sizes import differing_sizes
from symtheory.readings._casts import is_rounding_cast
from symtheory.readings._indexed import Indexed, einsum
from symtheory.readings._interpreter import Rule, read, trace, unreadable
from symtheory.shapes import Size


@dataclasses.dataclass(frozen=True)
class Positions:
    """An array whose entries are their own position along one axis (what iota makes)."""

    axis: int
    sizes: tuple[Size, ...]


@dataclasses.dataclass(frozen=True)
class SquareRoot:
    """The square root of a value; it can only be squared again."""

    square: Indexed


class Indices:
    """Reads sums, products, contractions, transposes and traces, whatever the sizes.

    Args:
        names: The size each symbolic dimension of the trace stands for, by its text.
        differentiated: Whether the value will be differentiated: then it must not bring a
            derivative of its own, which is what training would use.
    """

    name = "indices"

    def __init__(
        self, names: Mapping[str, str] | None = None, differentiated: bool = False
    ) -> None:
        self._names = dict(names or {})
        self._rules = _table(self)
        if differentiated:
            self._rules |= {name: self._own_derivative(name) for name in _OWN_DERIVATIVES}

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The table primitive -> rule."""
        return self._rules

    def constant(self, value: Any) -> Indexed:
        """Read a number, or an array whose entries are all the same."""
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or not array.size:
            raise UnreadableError(f"the indices domain cannot read a constant of {array.dtype}")
        entry = array.reshape(-1)[0]
        if not np.all(array == entry):
            raise UnreadableError(
                f"the loss holds a fixed array of shape {array.shape}, which the indices domain "
                "cannot read; pass it as a constant of the model"
            )
        return Indexed.constant(rational(entry), array.shape)

    def take(self, value: Any, step: int) -> NoReturn:
        """Refuse to pick one entry."""
        raise unreadable(self.name, "scan", "it picks entries one by one")

    def stack(self, values: Sequence[Any]) -> NoReturn:
        """Refuse to collect entries."""
        raise unreadable(self.name, "scan", "it collects entries one by one")

    def _own_derivative(self, name: str) -> Rule:
        def refused(*arguments: Any, **params: Any) -> NoReturn:
            body = params.get("call_jaxpr", params.get("fun_jaxpr"))
            if isinstance(body, ClosedJaxpr):
                read(body, self, arguments)  # names what it cannot read anyway
            raise unreadable(self.name, name, "it brings a derivative of its own")

        return refused

    def number(self, text: str) -> Indexed:
        """Return a size, or a power of one, as a number."""
        base, _, power = text.partition("^")
        if base.isdigit():
            return Indexed.constant(int(base) ** int(power or 1))
        if base not in self._names:
            raise unreadable(self.name, "dim_as_value", f"of the size {text}")
        return Indexed.size(self._names[base], int(power or 1))

    def size(self, dimension: Any) -> Size:
        """Return an integer, or the name that a symbolic dimension stands for."""
        if isinstance(dimension, (int, np.integer)):
            return int(dimension)
        text = str(dimension)
        if text not in self._names:
            shown = text
            for short, name in self._names.items():
                shown = shown.replace(short, name)
            raise unreadable(self.name, "reshape", f"it makes an axis of size {shown}")
        return self._names[text]


def read_indexed(
    function: Callable[..., Any],
    structures: Sequence[Any],
    inputs: Sequence[Any],
    *,
    differentiated: bool = False,
) -> Any:
    """Trace a JAX function at symbolic sizes and evaluate it over the index domain.

    Args:
        function: A JAX function.
        structures: Its arguments as pytrees of shapes, whose sizes are integers or names.
        inputs: Its arguments as pytrees of the same structure, with `Indexed` leaves.
        differentiated: Refuse functions with derivative rules of their own.

    Returns:
        The output as a pytree with `Indexed` leaves.

    Raises:
        UnreadableError: A primitive has no rule; the message names it. Or the function is not the
            same at all sizes.
    """
    names: list[str] = []
    for node in structures:
        for _, shape in shapes.leaves(node):
            names += [size for size in shape if isinstance(size, str) and size not in names]
    # Symbolic dimensions have names of their own, so that any text can name a size.
    short = {f"s{i}": name for i, name in enumerate(names)}
    dimensions = export.symbolic_shape(",".join(short)) if names else ()
    known: dict[Size, Any] = dict(zip(names, dimensions, strict=True))

    def struct(shape: shapes.Shape) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(tuple(known.get(size, size) for size in shape), np.float64)

    wide = [shapes.map_tree(lambda shape: struct(shapes.as_shape(shape)), n) for n in structures]
    closed, tree = trace(function, *wide)
    flat = [leaf for node in inputs for leaf in jax.tree.leaves(node)]
    outputs = read(closed, Indices(short, differentiated), flat)
    for value in outputs:
        if not isinstance(value, Indexed):
            raise UnreadableError("the function does not return a polynomial in its arguments")
    different = differing_sizes(function, structures, flat, outputs, names)
    if different is not None:
        shown = ", ".join(f"{name} = {size}" for name, size in different.items())
        raise UnreadableError(
            f"the function is another one at the sizes {shown} than at sizes that are names: it "
            "asks for its sizes, say n == 1; bind them, or write it without the question"
        )
    return jax.tree.unflatten(tree, outputs)


def _table(domain: Indices) -> dict[str, Rule]:
    def shaped(dimensions: Sequence[Any]) -> tuple[Size, ...]:
        return tuple(domain.size(d) for d in dimensions)

    def broadcast(x: Any, *_: Any, shape: Any, broadcast_dimensions: Any, **__: Any) -> Any:
        sizes = shaped(shape)
        if isinstance(x, Positions):
            axis = broadcast_dimensions[x.axis]
            if sizes[axis] != x.sizes[x.axis]:
                raise unreadable(domain.name, "broadcast_in_dim", "of positions along one entry")
            return Positions(axis, sizes)
        names: list[Any] = list(broadcast_dimensions)
        for axis, size in enumerate(x.sizes):
            if size == 1 and sizes[names[axis]] != 1:
                names[axis] = ("once", axis)
        return einsum([(x, names)], range(len(sizes)), dict(enumerate(sizes)))

    def reshape(x: Any, *_: Any, new_sizes: Any, dimensions: Any = None, **__: Any) -> Any:
        sizes = shaped(new_sizes)
        kept = [axis for axis, size in enumerate(x.sizes) if size != 1]
        if dimensions is not None or [x.sizes[a] for a in kept] != [s for s in sizes if s != 1]:
            raise unreadable(domain.name, "reshape", "it merges or splits axes")
        rest = iter(kept)
        names = [next(rest) if size != 1 else ("new", i) for i, size in enumerate(sizes)]
        return einsum([(x, range(len(x.sizes)))], names, {n: 1 for n in names})

    def squeeze(x: Any, *, dimensions: Any, **_: Any) -> Any:
        return _sum(x, axes=dimensions)

    def iota(*_: Any, shape: Any, dimension: int, **__: Any) -> Positions:
        return Positions(dimension, shaped(shape))

    def size_of(*_: Any, dim: Any) -> Indexed:
        return einsum([(domain.number(factor), ()) for factor in str(dim).split("*")], ())

    def equal(x: Any, y: Any, **_: Any) -> Indexed:
        if not (isinstance(x, Positions) and isinstance(y, Positions)) or x.axis == y.axis:
            raise unreadable(domain.name, "eq", "it compares values, not positions")
        if x.sizes != y.sizes or x.sizes[x.axis] != y.sizes[y.axis]:
            sizes = f"{x.sizes[x.axis]} and {y.sizes[y.axis]}"
            raise unreadable(domain.name, "eq", f"of positions along axes of sizes {sizes}")
        mask = Indexed.delta(x.sizes[x.axis])
        return einsum([(mask, (x.axis, y.axis))], range(len(x.sizes)), dict(enumerate(x.sizes)))

    def pad(x: Any, _: Any, *, padding_config: Any, **__: Any) -> Any:
        if any(any(config) for config in padding_config):
            raise unreadable(domain.name, "pad", "it adds entries")
        return x

    def select(mask: Any, *cases: Any, **_: Any) -> Any:
        if not isinstance(mask, Indexed) or len(cases) != 2:
            raise unreadable(domain.name, "select_n", "its condition is not about positions")
        return cases[0] + _mul(mask, cases[1] - cases[0])

    table: dict[str, Rule] = {
        "broadcast_in_dim": broadcast, "reshape": reshape, "squeeze": squeeze, "iota": iota,
        "dim_as_value": size_of, "eq": equal, "pad": pad, "select_n": select,
        "add": _add, "add_any": _add, "sub": lambda x, y, **_: _add(x, _neg(y)),
        "mul": _mul, "div": _div, "neg": _neg, "sqrt": lambda x, **_: SquareRoot(x),
        "square": lambda x, **_: _power(x, 2), "integer_pow": lambda x, *, y, **_: _power(x, y),
        "dot_general": _dot, "reduce_sum": _sum, "transpose": _transpose,
        "convert_element_type": _convert, "copy": lambda x, **_: x,
        "copy_p": lambda x, **_: x,
    }  # fmt: skip
    movable = {"broadcast_in_dim", "eq", "convert_element_type", "add", "mul"}
    squared = {"integer_pow", "square", "mul", "convert_element_type", "copy"}
    return {
        name: _checked(name, rule, name in movable, name in squared) for name, rule in table.items()
    }


_OWN_DERIVATIVES = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


def _checked(name: str, rule: Rule, positions: bool, roots: bool) -> Rule:
    """Refuse what only some rules can take: positions and square roots."""

    def checked(*arguments: Any, **params: Any) -> Any:
        for value in arguments:
            if isinstance(value, Positions) and not positions:
                raise unreadable("indices", name, "of positions")
            if isinstance(value, SquareRoot) and not roots:
                raise unreadable("indices", "sqrt", f"{name} of a square root")
        return rule(*arguments, **params)

    return checked


def _convert(x: Any, *, new_dtype: Any, **_: Any) -> Any:
    if is_rounding_cast(new_dtype):
        raise unreadable("indices", "convert_element_type", f"to {new_dtype}, which rounds")
    return x


def _add(x: Any, y: Any, **_: Any) -> Any:
    for moved, by in ((x, y), (y, x)):
        if isinstance(moved, Positions):
            if not isinstance(by, Indexed) or not by.is_zero:
                raise unreadable("indices", "add", "of positions")
            return moved
    return _spread(x, y) + _spread(y, x)


def _neg(x: Any, **_: Any) -> Any:
    return -x


def _spread(x: Indexed, like: Indexed) -> Indexed:
    """Repeat a number, or an array with axes of length one, over the axes of another."""
    if x.sizes == like.sizes or not like.sizes:
        return x
    names: list[Any] = list(range(len(x.sizes)))
    sizes: dict[Any, Size] = dict(enumerate(like.sizes))
    for axis, size in enumerate(x.sizes):
        if size == 1 and like.sizes[axis] != 1:
            names[axis] = ("once", axis)
        elif size != 1:
            sizes[axis] = size
    return einsum([(x, names)], range(len(like.sizes)), sizes)


def _mul(x: Any, y: Any, **_: Any) -> Any:
    if isinstance(x, SquareRoot) or isinstance(y, SquareRoot):
        if x is y:
            return x.square
        raise unreadable("indices", "mul", "of a square root")
    for moved, by in ((x, y), (y, x)):
        if isinstance(moved, Positions):
            if by != Indexed.constant(1, by.sizes):
                raise unreadable("indices", "mul", "of positions")
            return moved
    x, y = _spread(x, y), _spread(y, x)
    axes = range(len(x.sizes))
    return einsum([(x, axes), (y, axes)], axes)


def _power(x: Any, n: int) -> Any:
    if isinstance(x, SquareRoot):
        if n < 0 or n % 2:
            raise unreadable("indices", "integer_pow", "an odd power of a square root")
        return _power(x.square, n // 2)
    if n < 0:
        return _power(_inverse(x), -n)
    out = Indexed.constant(1, x.sizes)
    for _ in range(n):
        out = _mul(out, x)
    return out


def _div(x: Any, y: Any, **_: Any) -> Any:
    return _mul(x, _inverse(y))


def _inverse(y: Indexed) -> Indexed:
    if len(y.terms) == 1:
        [(term, c)] = y.terms.items()
        if not term.components and not term.deltas:
            powers = tuple((name, -n) for name, n in term.powers)
            return Indexed(y.sizes, {term._replace(powers=powers): 1 / c})
    raise unreadable("indices", "div", "it divides by something other than numbers and sizes")


def _dot(x: Any, y: Any, *, dimension_numbers: Any, **_: Any) -> Indexed:
    (left, right), (batch_left, batch_right) = dimension_numbers
    names_x: list[Any] = [("x", i) for i in range(len(x.sizes))]
    names_y: list[Any] = [("y", i) for i in range(len(y.sizes))]
    for i, j in zip((*left, *batch_left), (*right, *batch_right), strict=True):
        names_y[j] = names_x[i]
    batch = [names_x[i] for i in batch_left]
    free_x = [n for i, n in enumerate(names_x) if i not in (*left, *batch_left)]
    free_y = [n for j, n in enumerate(names_y) if j not in (*right, *batch_right)]
    return einsum([(x, names_x), (y, names_y)], [*batch, *free_x, *free_y])


def _sum(x: Any, *, axes: Any, **_: Any) -> Indexed:
    names = range(len(x.sizes))
    return einsum([(x, names)], [n for n in names if n not in axes])


def _transpose(x: Any, *, permutation: Any, **_: Any) -> Indexed:
    return einsum([(x, range(len(x.sizes)))], permutation)
