"""Build a program: number the values, know the known ones, write the operations down."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symtheory.errors import PrimitiveError
from symtheory.exact import rational
from symtheory.program._folded import folded
from symtheory.program._known import KNOWN, is_known, is_numeric
from symtheory.program._program import Operation, Positions, Program
from symtheory.program._walk import located


@dataclasses.dataclass(frozen=True, eq=False)
class Ref:
    """A value of the program being built: its number, its shape and what kind of number it holds.

    Attributes:
        number: Its number.
        shape: Its shape, sizes possibly symbolic.
        kind: "f" for real numbers, "i" for integers, "b" for truth values.
        definition: The operation that makes it.
    """

    number: int
    shape: tuple[Any, ...]
    kind: str
    definition: Operation | None = None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Complex:
    """A complex array as two real ones."""

    real: Any
    imag: Any

    @property
    def shape(self) -> tuple[Any, ...]:
        """Shape of the array."""
        return self.real.shape


Operand = Any
"""A `Ref`, a NumPy array that is known, a `Complex` of these, `Positions`, or a symbolic size."""


_TYPES = {"f": np.float64, "i": np.int64, "b": np.bool_}


def shape_of(x: Operand) -> tuple[Any, ...]:
    """Return the shape of an operand."""
    return x.sizes if isinstance(x, Positions) else tuple(getattr(x, "shape", ()))


def kind_of(x: Operand) -> str:
    """Return "f", "i" or "b"."""
    if isinstance(x, Ref):
        return x.kind
    kind = getattr(getattr(x, "dtype", None), "kind", "i")
    return "i" if kind == "u" else kind


def uniform(x: Operand) -> Fraction | None:
    """Return the number that all entries of a known array are, None if they differ."""
    if not isinstance(x, np.ndarray) or not x.size or x.dtype.kind not in "biuf":
        return None
    first = x.reshape(-1)[0]
    if not np.isfinite(first) or (x.size > 1 and not np.all(x == first)):
        return None
    return rational(first)


class Builder:
    """Collects the operations of one program.

    What is known (integers, truth values, and floats that are only moved) is computed at once.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.constants: dict[int, Any] = {}
        self.source: Any = None
        self._count = 0
        self._numbers: dict[int, tuple[Any, int]] = {}
        self._refs: dict[int, Ref] = {}

    # --- values ---

    def input(self, shape: tuple[Any, ...], kind: str) -> Ref:
        """Return a new input."""
        return self._new(shape, kind)

    def _new(self, shape: tuple[Any, ...], kind: str, definition: Any = None) -> Ref:
        ref = Ref(self._count, tuple(shape), kind, definition)
        self._refs[self._count] = ref
        self._count += 1
        return ref

    def number(self, x: Operand) -> int:
        """Return the number of an operand, a constant's too."""
        if isinstance(x, Ref):
            return x.number
        if isinstance(x, Complex):
            self.refuse("complex numbers here", "take the real and the imaginary part first")
        known = self._numbers.get(id(x))
        if known is None:
            ref = self._new(shape_of(x), kind_of(x))
            self.constants[ref.number] = x
            known = self._numbers[id(x)] = (x, ref.number)  # the array is kept, so its id stays
        return known[1]

    def emit(
        self, name: str, xs: Sequence[Operand], shape: Any, kind: str, /, **params: Any
    ) -> Operand:
        """Write one operation down, or compute it where all its operands are known."""
        if all(isinstance(x, np.ndarray) for x in xs) and is_numeric(shape):
            if all(map(is_known, xs)):
                out = KNOWN[name](*xs, **params) if name in KNOWN else None
            else:
                out = folded(name, list(xs), params)
            if out is not None:
                return np.asarray(out)
        return self.emit_many(name, xs, [(tuple(shape), kind)], **params)[0]

    def emit_many(
        self, name: str, xs: Sequence[Operand], outputs: Sequence[tuple[Any, str]], /, **params: Any
    ) -> list[Any]:
        """Write an operation with several results down; without any entries they are constants."""
        if all(0 in shape for shape, _ in outputs):
            return [np.zeros(shape, dtype=_TYPES[kind]) for shape, kind in outputs]
        numbers = tuple(self.number(x) for x in xs)
        refs = [self._new(shape, kind) for shape, kind in outputs]
        operation = Operation(
            name, numbers, tuple(r.number for r in refs), params,
            tuple(r.shape for r in refs), self.source,
        )  # fmt: skip
        self.operations.append(operation)
        refs = [dataclasses.replace(r, definition=operation) for r in refs]
        for r in refs:
            self._refs[r.number] = r
        return refs

    def operands(self, operation: Operation) -> list[Operand]:
        """Return the operands of an operation that was written down."""
        return [self.constants.get(n, self._refs[n]) for n in operation.inputs]

    def refuse(self, what: str, remedy: str = "") -> Any:
        """Say that the equation at hand cannot be read.

        Raises:
            PrimitiveError: Always.
        """
        remedy = remedy or "write the loss without it, or use a numerical route (st.simulate)"
        raise located(
            PrimitiveError(f"symtheory cannot read {what} in this loss; {remedy}"), self.source
        )

    def finish(self, inputs: Sequence[Ref], outputs: Sequence[Operand]) -> Program:
        """Return the program, without what its results do not need."""
        results = tuple(self.number(x) for x in outputs)
        needed, kept = set(results), []
        for operation in reversed(self.operations):
            if needed.intersection(operation.outputs):
                kept.append(operation)
                needed.update(operation.inputs)
        return Program(
            tuple(x.number for x in inputs),
            {n: x for n, x in self.constants.items() if n in needed},
            tuple(kept[::-1]),
            results,
            tuple(shape_of(x) for x in outputs),
        )

    # --- movement; floats that are only moved stay known ---

    def _moved(self, name: str, xs: Sequence[Operand], shape: Any, /, **params: Any) -> Operand:
        if all(isinstance(x, np.ndarray) for x in xs) and is_numeric(shape):
            return np.asarray(KNOWN[name](*xs, **params))
        return self.emit(name, xs, shape, kind_of(xs[0]), **params)

    def transpose(self, x: Operand, permutation: Sequence[int]) -> Operand:
        """See `Domain.transpose`."""
        permutation = tuple(int(k) for k in permutation)
        if permutation == tuple(range(len(permutation))):
            return x
        shape = tuple(shape_of(x)[k] for k in permutation)
        return self._moved("transpose", [x], shape, permutation=permutation)

    def reshape(self, x: Operand, shape: Sequence[Any]) -> Operand:
        """See `Domain.reshape`."""
        shape = tuple(shape)
        if shape == shape_of(x):
            return x
        return self._moved("reshape", [x], shape, shape=shape)

    def broadcast(self, x: Operand, shape: Sequence[Any], axes: Sequence[int]) -> Operand:
        """See `Domain.broadcast`; axes of length one that grow are dropped first."""
        shape, axes = tuple(shape), tuple(int(k) for k in axes)
        have = shape_of(x)
        kept = [k for k, n in enumerate(have) if not (_is_one(n) and not _is_one(shape[axes[k]]))]
        if len(kept) < len(have):
            x = self.reshape(x, [have[k] for k in kept])
            axes = tuple(axes[k] for k in kept)
        if shape == shape_of(x):
            return x
        if all(_is_one(n) for k, n in enumerate(shape) if k not in axes):
            order = sorted(range(len(axes)), key=axes.__getitem__)
            return self.reshape(self.transpose(x, order), shape)
        return self._moved("broadcast", [x], shape, shape=shape, axes=axes)

    def take(self, x: Operand, places: Any, axis: int, fill: Operand | None = None) -> Operand:
        """See `Domain.take`; a fill that is never used is dropped."""
        places = np.asarray(places, dtype=np.int64)
        n = shape_of(x)[axis]
        if len(places) == n and np.array_equal(places, np.arange(n)):
            return x
        if fill is not None and not np.any(places < 0):
            fill = None
        shape = list(shape_of(x))
        shape[axis] = len(places)
        xs = [x] if fill is None else [x, self.like(fill, x)]
        if not n and fill is not None:
            return self.broadcast(fill, shape, ())
        part = self._of_concatenation(x, places, axis) if fill is None else None
        if part is not None:
            return part
        return self._moved("take", xs, shape, places=places, axis=axis)

    def _of_concatenation(self, x: Operand, places: np.ndarray, axis: int) -> Operand | None:
        """Return what a slice takes from one part of a concatenation along the same axis."""
        made = x.definition if isinstance(x, Ref) else None
        if made is None or made.name != "concatenate" or made.params["axis"] != axis:
            return None
        start = 0
        for part in self.operands(made):
            size = shape_of(part)[axis]
            if len(places) and places.min() >= start and places.max() < start + size:
                return self.take(part, places - start, axis)
            start += size
        return None

    def pick(self, x: Operand, places: np.ndarray, fill: Operand | None = None) -> Operand:
        """See `Domain.pick`; what only reshapes is a reshape."""
        places = np.asarray(places, dtype=np.int64)
        if not np.any(places < 0):
            fill = None
            if places.size == math.prod(shape_of(x)) and np.array_equal(
                places.reshape(-1), np.arange(places.size)
            ):
                return self.reshape(x, places.shape)
        xs = [x] if fill is None else [x, self.like(fill, x)]
        return self._moved("pick", xs, places.shape, places=places)

    def concatenate(self, xs: Sequence[Operand], axis: int) -> Operand:
        """See `Domain.concatenate`; parts of size 0 are left out."""
        parts = [x for x in xs if shape_of(x)[axis] != 0] or list(xs[:1])
        if len(parts) == 1:
            return parts[0]
        kinds = {kind_of(x) for x in parts}
        if "f" in kinds and len(kinds) > 1:
            parts = [self.real(x) for x in parts]
        shape = list(shape_of(parts[0]))
        shape[axis] = sum(shape_of(x)[axis] for x in parts)
        if all(isinstance(x, np.ndarray) for x in parts):
            return np.concatenate(parts, axis)
        kind = "f" if "f" in kinds else kind_of(parts[0])
        return self.emit("concatenate", parts, shape, kind, axis=axis)

    def choose(
        self, x: Operand, index: Operand, axis: int, batch: int, fill: Operand | None = None
    ) -> Operand:
        """See `Domain.choose`."""
        have, places = shape_of(x), shape_of(index)
        shape = (*have[:axis], *places[batch:], *have[axis + 1 :])
        if is_known(index) and batch == 0:
            out = self.take(x, index.reshape(-1), axis, fill)
            return self.reshape(out, shape)
        if is_known(index):
            flat = np.arange(math.prod(have), dtype=np.int64).reshape(have)
            missing = np.full((), -1, dtype=np.int64)
            known = KNOWN["choose"](flat, index, missing, axis=axis, batch=batch)
            return self.pick(x, known, fill)
        xs = [x, index] if fill is None else [x, index, self.like(fill, x)]
        return self.emit("choose", xs, shape, kind_of(x), axis=axis, batch=batch)

    def like(self, x: Operand, other: Operand) -> Operand:
        """Return x as a real number where the other is one."""
        return self.real(x) if kind_of(other) == "f" else x

    # --- arithmetic ---

    def aligned(self, *xs: Operand) -> list[Operand]:
        """Return operands in one shape: numbers and axes of length one are repeated."""
        shapes = [shape_of(x) for x in xs]
        ndim = max(map(len, shapes))
        wide = [shape for shape in shapes if len(shape) == ndim]
        columns = zip(*wide, strict=True)
        shape = tuple(next((n for n in sizes if not _is_one(n)), 1) for sizes in columns)
        return [
            x if have == shape else self.broadcast(x, shape, range(ndim)[ndim - len(have) :])
            for x, have in zip(xs, shapes, strict=True)
        ]

    def _kind(self, *xs: Operand) -> str:
        kinds = {kind_of(x) for x in xs}
        return "f" if "f" in kinds else "i"

    def add(self, x: Operand, y: Operand) -> Operand:
        """See `Domain.add`; a known 0 adds nothing."""
        for a, b in ((x, y), (y, x)):
            if uniform(a) == 0 and not is_known(b) and shape_of(a) in ((), shape_of(b)):
                return self.real(b) if kind_of(a) == "f" else b
        x, y = self.aligned(x, y)
        return self.emit("add", [x, y], shape_of(x), self._kind(x, y))

    def mul(self, x: Operand, y: Operand) -> Operand:
        """See `Domain.mul`; a known multiple is a `scale`."""
        for a, b in ((x, y), (y, x)):
            factor = uniform(a)
            if factor and not is_known(b) and shape_of(a) in ((), shape_of(b)):
                out = self.scale(b, factor)
                return self.real(out) if kind_of(a) == "f" else out
        x, y = self.aligned(x, y)
        return self.emit("mul", [x, y], shape_of(x), self._kind(x, y))

    def scale(self, x: Operand, factor: Fraction | int) -> Operand:
        """See `Domain.scale`."""
        factor = Fraction(factor)
        if factor == 1:
            return x
        if factor == -1 and isinstance(x, np.ndarray) and x.dtype.kind == "f":
            return np.asarray(-x)
        kind = kind_of(x) if factor.denominator == 1 else "f"
        return self.emit("scale", [x], shape_of(x), kind, factor=factor)

    def sub(self, x: Operand, y: Operand) -> Operand:
        """Return x - y."""
        return self.add(x, self.scale(y, -1))

    def dot(self, x: Operand, y: Operand, batch: int, inner: int) -> Operand:
        """See `Domain.dot`."""
        a, b = shape_of(x), shape_of(y)
        shape = (*a[: len(a) - inner], *b[batch : len(b) - inner])
        return self.emit("dot", [x, y], shape, self._kind(x, y), batch=batch, inner=inner)

    def sum(self, x: Operand, axes: Sequence[int]) -> Operand:
        """See `Domain.sum`; the sum of a product is a `dot`."""
        axes = tuple(sorted(int(k) for k in axes))
        if not axes:
            return x
        have = shape_of(x)
        kept = [k for k in range(len(have)) if k not in axes]
        made = x.definition if isinstance(x, Ref) else None
        if made is not None and made.name in ("mul", "power"):
            pair = self.operands(made)
            if made.name == "power" and made.params["exponent"] == 2:
                pair = [pair[0], pair[0]]
            if len(pair) == 2:
                moved = [self.transpose(z, [*kept, *axes]) for z in pair]
                return self.dot(moved[0], moved[1], len(kept), len(axes))
        return self.emit("sum", [x], [have[k] for k in kept], kind_of(x), axes=axes)

    def power(self, x: Operand, exponent: Fraction | int) -> Operand:
        """See `Domain.power`; (x^2)^(1/2) is |x|, so that it stays piecewise rational."""
        exponent = Fraction(exponent)
        if exponent.denominator == 2 and (root := self._even_power(x)) is not None:
            base, even = root
            return self.power(self.apply("abs", base), even * exponent)
        if exponent == 1:
            return x
        whole = exponent.denominator == 1 and exponent >= 0
        kind = kind_of(x) if whole else "f"
        return self.emit("power", [x], shape_of(x), kind, exponent=exponent)

    def _even_power(self, x: Operand) -> tuple[Operand, int] | None:
        """Return y and n where a value was computed as y^n with even n."""
        made = x.definition if isinstance(x, Ref) else None
        if made is None:
            return None
        base, *others = self.operands(made)
        if made.name == "power" and made.params["exponent"] % 2 == 0:
            return base, int(made.params["exponent"])
        if made.name == "mul" and made.inputs == (made.inputs[0],) * (1 + len(others)):
            return (base, 1 + len(others)) if len(others) % 2 else None
        return None

    def apply(self, function: str, *xs: Operand, kind: str = "f") -> Operand:
        """See `Domain.apply`."""
        xs = tuple(self.aligned(*xs))
        return self.emit("apply", xs, shape_of(xs[0]), kind, function=function)

    # --- order ---

    def extremum(self, x: Operand, y: Operand, largest: bool) -> Operand:
        """See `Domain.extremum`."""
        x, y = self.aligned(x, y)
        return self.emit("extremum", [x, y], shape_of(x), self._kind(x, y), largest=largest)

    def fold(self, x: Operand, kind: str, axes: Sequence[int]) -> Operand:
        """See `Domain.fold`."""
        axes = tuple(sorted(int(k) for k in axes))
        if not axes:
            return x
        shape = [n for k, n in enumerate(shape_of(x)) if k not in axes]
        return self.emit("fold", [x], shape, kind_of(x), kind=kind, axes=axes)

    def compare(self, kind: str, x: Operand, y: Operand) -> Operand:
        """See `Domain.compare`; "lt" and "le" exchange the operands. Known floats are compared."""
        x, y = self.aligned(x, y)
        shape = shape_of(x)
        if kind in ("lt", "le"):
            kind, x, y = {"lt": "gt", "le": "ge"}[kind], y, x
        if all(isinstance(z, np.ndarray) for z in (x, y)):
            return np.asarray(KNOWN["compare"](x, y, kind=kind))
        return self.emit("compare", [x, y], shape, "b", kind=kind)

    def select(self, which: Operand, *cases: Operand) -> Operand:
        """See `Domain.select`; one case is taken where it is known which."""
        spread = self.aligned(*cases)
        shape = shape_of(spread[0])
        if is_known(which) and which.size and np.all(which == which.reshape(-1)[0]):
            return spread[int(which.reshape(-1)[0])]
        if shape_of(which) != shape:
            which = self.broadcast(which, shape, ())
        kinds = {kind_of(x) for x in spread}
        kind = "f" if "f" in kinds else "i" if "i" in kinds else "b"
        if kind == "f":
            spread = [self.real(x) for x in spread]
            if is_known(which) and all(isinstance(x, np.ndarray) for x in spread):
                return np.asarray(KNOWN["select"](which, *spread))
        return self.emit("select", [which, *spread], shape, kind)

    def sort(self, xs: Sequence[Operand], axis: int, keys: int) -> list[Operand]:
        """See `Domain.sort`."""
        if all(map(is_known, xs)):
            return KNOWN["sort"](*xs, axis=axis, keys=keys)
        return list(
            self.emit_many(
                "sort", xs, [(shape_of(x), kind_of(x)) for x in xs], axis=axis, keys=keys
            )
        )

    def real(self, x: Operand) -> Operand:
        """Return integers and truth values as real numbers."""
        if isinstance(x, np.ndarray):
            return x.astype(np.float64) if x.dtype.kind in "biu" else x
        if kind_of(x) == "f" or isinstance(x, Complex):
            return x
        return self.emit("cast", [x], shape_of(x), "f", kind="real")

    def cast(self, x: Operand, kind: str, into: str) -> Operand:
        """See `Domain.cast`; `into` is "f", "i" or "b"."""
        return self.emit("cast", [x], shape_of(x), into, kind=kind)


def _is_one(size: Any) -> bool:
    return isinstance(size, (int, np.integer)) and size == 1
