"""What every law has, whatever its formulas are written in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symtheory.verdict import Status, Verdict

_NAMES = ("charge", "noise_trace", "drift", "discrete_drift", "momentum_drift")


class ClosedForms:
    """Closed forms by name, and the proof they rest on."""

    verdict: Verdict

    @property
    def status(self) -> Status:
        """Status of the law."""
        return self.verdict.status

    @property
    def steps(self) -> tuple[Verdict, ...]:
        """The steps of the derivation, each with its own status."""
        return self.verdict.parts

    def expressions(self) -> dict[str, Any]:
        """Return the law's closed forms by name."""
        return {n: value for n in _NAMES if (value := getattr(self, n)) is not None}

    def callable(self) -> dict[str, Callable[..., Any]]:
        """Return the closed forms as JAX functions f(params, **settings), by name."""
        return {name: expression.callable() for name, expression in self.expressions().items()}
