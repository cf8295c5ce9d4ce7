"""What a figure is made from, and what it gives."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

import symtheory as st

# Arrays by name: numbers, booleans or text. Names starting with "seconds" hold times of the clock,
# the only ones that differ when a figure is made again.
Dataset = Mapping[str, np.ndarray]
Value = TypeVar("Value")
Keep = Callable[[str, Callable[[], Dataset]], Dataset]


def _at_once(name: str, run: Callable[[], Dataset]) -> Dataset:
    # A function of the module, so that a spec reaches another process.
    return run()


@dataclasses.dataclass(frozen=True)
class Spec:
    """What decides the data of a figure.

    Attributes:
        seed: Seed of everything drawn.
        fast: Fewer replicas, steps and settings, for a look in a minute.
        keep: Runs a part of the work, or gives it back if an interrupted run had finished it.
    """

    seed: int = 0
    fast: bool = False
    keep: Keep = dataclasses.field(default=_at_once, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise st.InputError(f"the seed is not negative, got {self.seed}")

    def pick(self, fast: Value, full: Value) -> Value:
        """Return what suits the version asked for."""
        return fast if self.fast else full

    def key(self, name: str) -> Any:
        """Return a JAX key of its own for everything drawn under that name."""
        import jax

        return jax.random.fold_in(jax.random.key(self.seed), _number(name))

    def rng(self, name: str) -> np.random.Generator:
        """Return a NumPy generator of its own for everything drawn under that name."""
        return np.random.default_rng([self.seed, _number(name)])

    def part(self, name: str, run: Callable[[], Dataset]) -> Dataset:
        """Return `run()`; what an interrupted run had finished under that name is not run again."""
        return self.keep(name, run)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") & 0x7FFFFFFF


@dataclasses.dataclass(frozen=True)
class Numbers:
    """The table beside a figure.

    Attributes:
        theory: What must hold: predictions beside measurements.
        claims: What a paper says of its experiments, as it comes out here; `refuted` is a finding.
        rows: What was measured, for reading: one row of named values each.
    """

    theory: tuple[st.Verdict, ...] = ()
    claims: tuple[st.Verdict, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()

    @property
    def status(self) -> st.Status:
        """Whether what must hold does."""
        return st.conjunction("the figure agrees with theory", self.theory).status

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON-ready data."""
        return {
            "theory": [verdict.to_json() for verdict in self.theory],
            "claims": [verdict.to_json() for verdict in self.claims],
            "rows": [{str(k): str(v) for k, v in row.items()} for row in self.rows],
        }


def said(verdict: st.Verdict) -> str:
    """Return a verdict as one line: the claim, the prediction, the measurement and its error.

    >>> said(st.Verdict(st.Status.SUPPORTED, "ratio", predicted=1.4142, measured=1.41234,
    ...                 standard_error=0.012, how="64 runs"))
    'ratio: predicted 1.414, measured 1.412 +- 0.012 (64 runs)'
    """
    text = verdict.claim
    values = []
    if verdict.predicted is not None:
        values.append(f"predicted {_short(verdict.predicted)}")
    if verdict.measured is not None:
        error = verdict.standard_error
        spread = "" if error is None else f" +- {error:.2g}"
        values.append(f"measured {_short(verdict.measured)}{spread}")
    if values:
        text += ": " + ", ".join(values)
    return f"{text} ({verdict.how})" if verdict.how else text


def _short(value: Any) -> str:
    if isinstance(value, (str, bool)):
        return str(value)
    try:
        numbers = [f"{x:.4g}" for x in np.ravel(np.asarray(value, dtype=float))]
    except (TypeError, ValueError):
        return str(value)
    return numbers[0] if np.ndim(value) == 0 else f"[{', '.join(numbers)}]"
