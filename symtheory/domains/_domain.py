"""The core operations: what a domain has to answer, and nothing else."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, ClassVar, NoReturn

import numpy as np

from symtheory.errors import PrimitiveError, UnreadableError


class Domain(abc.ABC):
    """Values of one kind, and what the core operations do to them.

    A program is lowered to the operations below, once; a domain says what each of them means for
    its values. Values stand for arrays of real numbers or truth values. Integers and truth values
    that no parameter or sample touches never reach a domain: they stay NumPy arrays, which is what
    "known" means here.

    Operands are values of the domain, but for `which` of `select` and `index` of `choose`, which
    may be known. Elementwise operations have operands of one shape. A method that a domain cannot
    answer calls `refuse`.
    """

    name: ClassVar[str]

    # --- values ---

    @abc.abstractmethod
    def constant(self, value: Any) -> Any:
        """Return a captured array: floats are the rationals they stand for (`exact.rational`).

        A symbolic dimension, or `program.Positions` along an axis of symbolic size, is a constant
        too; only domains of symbolic sizes read those.
        """

    def lift(self, value: Any) -> Any:
        """Return a known array as a value; values as they are."""
        return self.constant(value) if isinstance(value, np.ndarray) else value

    @abc.abstractmethod
    def shape(self, value: Any) -> tuple[Any, ...]:
        """Return the shape of a value."""

    # --- movement ---

    @abc.abstractmethod
    def transpose(self, x: Any, permutation: tuple[int, ...]) -> Any:
        """Return x with axis k of the result being axis permutation[k] of x."""

    @abc.abstractmethod
    def reshape(self, x: Any, shape: tuple[Any, ...]) -> Any:
        """Return x with the same entries in row-major order."""

    @abc.abstractmethod
    def broadcast(self, x: Any, shape: tuple[Any, ...], axes: tuple[int, ...]) -> Any:
        """Return x repeated: its axis k becomes axis axes[k] of equal size, the others are new."""

    @abc.abstractmethod
    def take(self, x: Any, places: np.ndarray, axis: int, fill: Any = None) -> Any:
        """Return the entries of x at known places along one axis.

        Args:
            x: A value.
            places: Integers (k,); -1 stands for the entry `fill`.
            axis: The axis of x.
            fill: A value of shape (), given where -1 occurs.
        """

    @abc.abstractmethod
    def pick(self, x: Any, places: np.ndarray, fill: Any = None) -> Any:
        """Return entries of x at known places in row-major order, in the shape of `places`.

        As `take`, for what does not follow one axis (a diagonal).
        """

    @abc.abstractmethod
    def concatenate(self, xs: Sequence[Any], axis: int) -> Any:
        """Return values one after the other along an axis."""

    @abc.abstractmethod
    def choose(self, x: Any, index: Any, axis: int, batch: int, fill: Any = None) -> Any:
        """Return the entries of x at places that are values: x[b, :, index[b, i], :].

        Args:
            x: A value of shape (*B, *before, n, *after), n along `axis`.
            index: Integers of shape (*B, *I), known or not; all are in 0 ... n - 1, or -1 where
                `fill` is given, which then stands there.
            axis: The axis of x that is indexed.
            batch: How many axes B they share.
            fill: A value of shape (), or None.

        Returns:
            A value of shape (*B, *before, *I, *after).
        """

    # --- arithmetic ---

    @abc.abstractmethod
    def add(self, x: Any, y: Any) -> Any:
        """Return x + y."""

    @abc.abstractmethod
    def mul(self, x: Any, y: Any) -> Any:
        """Return x y, entry by entry."""

    @abc.abstractmethod
    def scale(self, x: Any, factor: Fraction) -> Any:
        """Return a rational multiple of x, not 0."""

    @abc.abstractmethod
    def dot(self, x: Any, y: Any, batch: int, inner: int) -> Any:
        """Return sum_k x[b, i, k] y[b, j, k], of shape (*B, *I, *J).

        Args:
            x: A value of shape (*B, *I, *K).
            y: A value of shape (*B, *J, *K).
            batch: The number of axes B.
            inner: The number of axes K.
        """

    @abc.abstractmethod
    def sum(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Return the sum along axes, which may be of size 0."""

    @abc.abstractmethod
    def power(self, x: Any, exponent: Fraction) -> Any:
        """Return x to a rational power, as `jnp.power` has it: a root needs x >= 0."""

    @abc.abstractmethod
    def apply(self, function: str, *xs: Any) -> Any:
        """Return an elementary function by its name in `program.FUNCTIONS`, entry by entry."""

    # --- order ---

    @abc.abstractmethod
    def extremum(self, x: Any, y: Any, largest: bool) -> Any:
        """Return the larger or the smaller of each pair of entries."""

    @abc.abstractmethod
    def fold(self, x: Any, kind: str, axes: tuple[int, ...]) -> Any:
        """Return the "max", "min", "product", "all" or "any" along axes that are not empty."""

    @abc.abstractmethod
    def compare(self, kind: str, x: Any, y: Any) -> Any:
        """Return x > y ("gt"), x >= y ("ge"), x = y ("eq") or x != y ("ne") as truth values."""

    @abc.abstractmethod
    def select(self, which: Any, *cases: Any) -> Any:
        """Return cases[which], entry by entry; `which` is a truth value or the number of a case."""

    @abc.abstractmethod
    def sort(self, xs: Sequence[Any], axis: int, keys: int) -> list[Any]:
        """Return values sorted together along an axis by the first `keys` of them, stably."""

    @abc.abstractmethod
    def cast(self, x: Any, kind: str) -> Any:
        """Return x as another kind of number.

        Args:
            x: A value.
            kind: "real" (truth values become 0 and 1), "bit" (truth values become the integers 0
                and 1), "integer" (the part behind the point is cut off), "reduce_precision", or the
                name of a type that rounds or wraps around ("float16", "uint8").
        """

    # --- loops ---

    def scan(
        self,
        step: Callable[[Sequence[Any]], list[Any]],
        constants: Sequence[Any],
        carry: Sequence[Any],
        sequences: Sequence[Any],
        length: int,
        reverse: bool,
        collected: Sequence[tuple[int, ...]],
    ) -> list[Any]:
        """Return the last carry and what was collected; step by step unless a domain knows better.

        Args:
            step: Reads the body once: (*constants, *carry, *slices) to (*carry, *collected).
            constants: Values that are the same at every step.
            carry: Values at the start.
            sequences: Values whose entries along axis 0 are the slices.
            length: How many steps.
            reverse: Whether from the last entry to the first.
            collected: The shape of what each step collects.
        """
        carry, rows = list(carry), []
        for k in reversed(range(length)) if reverse else range(length):
            slices = [self._entry(x, k) for x in sequences]
            outputs = step([*constants, *carry, *slices])
            carry = outputs[: len(carry)]
            rows.append(outputs[len(carry) :])
        if reverse:
            rows.reverse()
        if not rows:
            return [*carry, *(self.constant(np.zeros((0, *shape))) for shape in collected)]
        return [*carry, *(self._stack(column) for column in zip(*rows, strict=True))]

    def _entry(self, x: Any, k: int) -> Any:
        if isinstance(x, np.ndarray) and x.dtype.kind in "biu":
            return np.asarray(x[k])
        part = self.take(x, np.array([k]), 0)
        return self.reshape(part, self.shape(x)[1:])

    def _stack(self, values: Sequence[Any]) -> Any:
        if all(isinstance(x, np.ndarray) and x.dtype.kind in "biu" for x in values):
            return np.stack(values)
        rows = [self.lift(x) for x in values]
        return self.concatenate([self.reshape(x, (1, *self.shape(x))) for x in rows], 0)

    # --- refusal ---

    def refuse(self, operation: str, why: str = "", instead: str = "") -> NoReturn:
        """Say that this domain cannot read an operation.

        Raises:
            UnreadableError: Always.
        """
        cause = f" ({why})" if why else ""
        next_step = instead or (
            "write the loss without it, or use a numerical route (st.simulate, or a law with its "
            "expectations left formal)"
        )
        raise PrimitiveError(
            f"the {self.name} domain cannot read {operation} in this loss{cause}; {next_step}"
        )


def spoken(function: str) -> str:
    """Return an elementary function in words, for messages.

    >>> spoken("tanh"), spoken("cospi")
    ("the function 'tanh'", 'cos(pi x), as in a Fourier transform')
    """
    if function in ("cospi", "sinpi"):
        return f"{function[:3]}(pi x), as in a Fourier transform"
    words = {"quotient": "a quotient of integers", "rem": "a remainder of a division"}
    return words.get(function, f"the function {function!r}")


__all__ = ["Domain", "UnreadableError"]
