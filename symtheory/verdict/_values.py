"""Claims about numbers: expectations, equal functions, identities at sizes, arithmetic, signs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from symtheory.verdict._recheck import Claim, Outcome, compare
from symtheory.verdict._subject import QUICKLY

_SIGMAS = 6.0
_LARGEST_SIZE = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Arithmetic(Claim):
    """Two sides of a numerical statement, each computed in floats in a way of its own.

    Attributes:
        left: An array, or a function that returns one.
        right: The same.
        scale: Size of the terms that may have cancelled.

    >>> Arithmetic(0.1 + 0.2, 0.3).test().agrees, Arithmetic(1.0, float("nan")).test().agrees
    (True, None)
    """

    left: Any
    right: Any
    scale: Any = 0.0

    def test(self) -> Outcome:
        """Compare the two sides."""
        with jax.enable_x64(True):
            sides = [side() if callable(side) else side for side in (self.left, self.right)]
            return compare(*map(_floats, sides), what="the two sides", scale=self.scale)


@dataclasses.dataclass(frozen=True, eq=False)
class Inequality(Claim):
    """Every one of some values has a sign.

    Attributes:
        values: An array, or a function that returns one; what is not finite is passed over.
        sign: The sign.

    >>> Inequality([1.0, 2.0], "positive").test().agrees
    True
    >>> Inequality([1.0, -2.0], "positive").test().agrees
    False
    """

    values: Any
    sign: Literal["positive", "negative", "nonnegative", "nonpositive"]

    def test(self) -> Outcome:
        """Look at the sign of every value."""
        with jax.enable_x64(True):
            values = _floats(self.values() if callable(self.values) else self.values).reshape(-1)
        if self.sign not in ("positive", "negative", "nonnegative", "nonpositive"):
            return Outcome(None, f"{self.sign!r} is no sign")
        finite = values[np.isfinite(values)]
        if not len(finite):
            return Outcome(None, "nothing finite could be evaluated")
        signed = finite if self.sign in ("positive", "nonnegative") else -finite
        place = int(np.argmin(signed))
        least = float(signed[place])
        # Where a strict sign is claimed, what is exactly 0 may have lost it by underflow.
        if least >= 0:
            strict = not self.sign.startswith("non")
            if strict and not np.any(signed > 0):
                return Outcome(None, "all values are 0 in floats")
            return Outcome(True, f"{len(finite)} values are {self.sign}", evaluated=len(finite))
        found = {"value": float(finite[place])}
        if -least > 1e-9 * float(np.max(np.abs(finite))):
            return Outcome(False, f"a value is not {self.sign}", found, float(finite[place]))
        return Outcome(None, f"a value is not {self.sign}, which rounding may explain", found)


@dataclasses.dataclass(frozen=True, eq=False)
class Equality(Claim):
    """Two JAX functions are equal at all points that are drawn.

    Attributes:
        left: A function of the arguments.
        right: The other.
        draw: (rng, count) -> a tuple of arguments, pytrees with a leading axis of that length.
        points: How many points.
    """

    left: Callable[..., Any]
    right: Callable[..., Any]
    draw: Callable[[np.random.Generator, int], tuple[Any, ...]]
    points: int = 48
    seed: int = 0

    def test(self) -> Outcome:
        """Evaluate both functions at the same points."""
        arguments = self.draw(np.random.default_rng(self.seed), self.points)
        with jax.enable_x64(True):
            sides = jax.vmap(lambda *a: (_joined(self.left(*a)), _joined(self.right(*a))))
            both = jax.jit(sides, compiler_options=QUICKLY)
            left, right = map(_floats, both(*arguments))
        outcome = compare(left, right, what="the two functions")
        if outcome.agrees is False and outcome.witness is not None:
            place = outcome.witness["entry"][0]
            at = jax.tree.map(lambda x: np.asarray(x)[place].tolist(), arguments)
            return dataclasses.replace(outcome, witness={**outcome.witness, "arguments": at})
        return outcome


@dataclasses.dataclass(frozen=True, eq=False)
class SizedIdentity(Claim):
    """A residual vanishes for arrays of all sizes: it is evaluated at equal and unequal ones.

    Attributes:
        residual: A JAX function of arrays; every leaf of its result has to vanish.
        arrays: (sizes, rng) -> the arrays at these sizes, with entries of about 1.
        names: The names of the sizes.
    """

    residual: Callable[[Any], Any]
    arrays: Callable[[Mapping[str, int], np.random.Generator], Any]
    names: Sequence[str]
    seed: int = 0

    def test(self) -> Outcome:
        """Evaluate the residual at all of some sizes, compiled as one program."""
        rng = np.random.default_rng(self.seed)
        chosen = size_choices(self.names)
        cases: list[Any] = [None] * len(chosen)
        usable: list[int] = []
        with jax.enable_x64(True):
            for k, sizes in enumerate(chosen):
                try:
                    cases[k] = self.arrays(sizes, rng)
                    jax.eval_shape(self.residual, cases[k])
                except (TypeError, ValueError, IndexError, ZeroDivisionError):
                    continue  # not defined at these sizes
                usable.append(k)
            if not usable:
                return Outcome(None, "the residual can be evaluated at no sizes that were tried")
            program = jax.jit(
                lambda many: [_joined(self.residual(case)) for case in many],
                compiler_options=QUICKLY,
            )
            found = [_floats(x) for x in program([cases[k] for k in usable])]
        compared = 0
        for k, values in zip(usable, found, strict=True):
            if not values.size:
                continue
            outcome = compare(values, 0.0 * values, what=f"the residual at {chosen[k]} and 0",
                              scale=1.0)  # fmt: skip
            if outcome.agrees is not True:
                witness = {**chosen[k], **(outcome.witness or {})}
                return dataclasses.replace(outcome, witness=witness)
            compared += outcome.evaluated
        if not compared:
            return Outcome(None, "the residual has no entry at any sizes that were tried")
        how = f"the residual vanishes at {len(usable)} combinations of sizes"
        return Outcome(True, how, evaluated=compared)


def size_choices(names: Sequence[str]) -> list[dict[str, int]]:
    """Return sizes 1 to 5 for every name, equal ones and unequal ones in each order.

    >>> size_choices(["n"])
    [{'n': 1}, {'n': 2}, {'n': 3}, {'n': 5}]
    >>> len(size_choices(["n", "m"]))
    7
    """
    names = list(names)
    out = [dict.fromkeys(names, size) for size in (1, 2)]
    for first in (0, 2, 4):
        out.append({n: (first + 2 * i) % _LARGEST_SIZE + 1 for i, n in enumerate(names)})
    for shift in range(2):
        out.append({n: (i + shift) % 2 + 1 for i, n in enumerate(names)})
    unique = [choice for k, choice in enumerate(out) if choice not in out[:k]]
    return sorted(unique, key=lambda choice: tuple(choice.values()))


@dataclasses.dataclass(frozen=True, eq=False)
class Expectation(Claim):
    """E[f(z)] = value, as the exact average over all rows or by sampling, to six standard errors.

    Attributes:
        function: A JAX function of one sample.
        value: The expectation, of the shape that the function returns, or a function of no
            arguments that returns it.
        draw: (rng, count) -> samples with a leading axis of that length.
        rows: All samples of a finite law, each as likely as the others; then nothing is drawn.
        count: How many samples are drawn at first; many more where they seem to disagree.
    """

    function: Callable[[Any], Any]
    value: Any
    draw: Callable[[np.random.Generator, int], Any] | None = None
    rows: Any = None
    count: int = 4096
    seed: int = 0

    def test(self) -> Outcome:
        """Average the function."""
        with jax.enable_x64(True):
            told = self.value() if callable(self.value) else self.value
            value = _floats(_joined(told)).reshape(-1)
        if not np.all(np.isfinite(value)):
            return Outcome(None, "the value is not finite")
        with jax.enable_x64(True):
            each = jax.vmap(lambda z: _joined(self.function(z)))
            function = jax.jit(each, compiler_options=QUICKLY)
            if self.rows is not None:
                found = _floats(function(self.rows))
                scale = np.mean(np.abs(found), axis=0)
                return compare(np.mean(found, axis=0), value, what="the average over all rows "
                               "and the value", scale=scale)  # fmt: skip
            if self.draw is None:
                return Outcome(None, "there is nothing to draw samples from")
            rng = np.random.default_rng(self.seed)
            first = _gap(_floats(function(self.draw(rng, self.count))), value)
            if first is None:
                return Outcome(None, "the function is not finite at the samples")
            if np.all(np.abs(first[0]) <= _SIGMAS * first[1]):
                how = f"the mean of {self.count} samples is within {_SIGMAS:g} standard errors"
                return Outcome(True, how, evaluated=self.count)
            # A rare large sample is missing from few: many more decide, drawn anew.
            parts = [_floats(function(self.draw(rng, self.count))) for _ in range(32)]
        second = _gap(np.concatenate(parts), value)
        if second is None:
            return Outcome(None, "the function is not finite at the samples")
        gap, error = second
        if np.all(np.abs(gap) <= _SIGMAS * error):
            how = f"the mean of {32 * self.count} samples is within {_SIGMAS:g} standard errors"
            return Outcome(True, how, evaluated=32 * self.count)
        place = int(np.argmax(np.abs(gap) / np.maximum(error, np.finfo(float).tiny)))
        found = {"mean": float(value[place] + gap[place]), "value": float(value[place]),
                 "standard_error": float(error[place])}  # fmt: skip
        how = f"the mean of {32 * self.count} samples is not the value"
        if abs(gap[place] - first[0][place]) <= _SIGMAS * first[1][place]:
            return Outcome(False, how, found, float(gap[place]))
        return Outcome(None, f"{how}, but the samples do not settle", found)


def _gap(found: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the mean minus the value, and a standard error that includes rounding."""
    if not np.all(np.isfinite(found)):
        return None
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    size = np.mean(np.abs(found), axis=0) + np.abs(value)
    return np.mean(found, axis=0) - value, error + 1e-10 * size


def _joined(tree: Any) -> Any:
    leaves = [jax.numpy.reshape(leaf, -1) for leaf in jax.tree.leaves(tree)]
    return jax.numpy.concatenate(leaves) if leaves else jax.numpy.zeros(0)


def _floats(value: Any) -> np.ndarray:
    """Return numbers of any kind (fractions, SymPy numbers) as floats."""
    if isinstance(value, (list, tuple)):
        return np.array(list(itertools.chain(value)), dtype=float)
    return np.asarray(value, dtype=float)
