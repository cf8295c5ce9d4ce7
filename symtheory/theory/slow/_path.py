"""The slow flow in time, integrated on the symmetry group so that it stays on the orbit."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import scipy.sparse.linalg

from symtheory.errors import InputError
from symtheory.theory.slow._dynamics import Dynamics
from symtheory.theory.slow._minimum import Minimum

_FARTHEST = 1.0
"""Largest root mean square rate that one stage of an integration step may apply."""


class _TooFar(Exception):
    """A stage of a step would leave the neighbourhood of its start."""


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """The slow flow recorded at times.

    Attributes:
        times: Shape (n,).
        params: The parameters, with a leading axis over times.
        violations: The violation of the matrix equilibrium at these times, shape (n,).
    """

    times: np.ndarray
    params: Any
    violations: np.ndarray


def integrate(dynamics: Dynamics, minimum: Minimum, times: Any, tolerance: float = 1e-6) -> Path:
    """Integrate on the group, with exponentials of order four and step doubling."""
    times = np.atleast_1d(np.asarray(times, dtype=float))
    if times.ndim != 1 or times[0] < 0 or np.any(np.diff(times) < 0):
        raise InputError("times must be increasing and not negative")
    now, step = 0.0, float(times[-1]) / 16 or 1.0
    kept, violations = [], []
    for goal in times:
        while now < goal * (1 - 1e-14):
            length = min(step, goal - now)
            fine, error = _doubled(dynamics, minimum, length)
            if error <= tolerance:
                minimum, now = fine, now + length
            step = length * min(4.0, max(0.1, 0.9 * (tolerance / max(error, 1e-300)) ** 0.2))
            if step < 1e-12 * float(times[-1]):
                raise InputError(
                    f"the slow flow could not be followed beyond time {now:g}; the orbit leaves "
                    "every bound, add weight_decay or shorten the times"
                )
        kept.append(minimum.theta)
        violations.append(dynamics.violation(minimum))
    stacked = [dynamics.params(theta) for theta in kept]
    return Path(times, jax.tree.map(lambda *x: np.stack(x), *stacked), np.array(violations))


def _doubled(dynamics: Dynamics, start: Minimum, length: float) -> tuple[Minimum, float]:
    """Return the end of two half steps, and its relative distance from that of one step."""
    try:
        coarse = _step(dynamics, start, length)
        fine = _step(dynamics, _step(dynamics, start, length / 2), length / 2)
    except _TooFar:
        return start, np.inf
    error = np.linalg.norm(fine.theta - coarse.theta) / np.linalg.norm(fine.theta)
    return fine, float(error)


def _step(dynamics: Dynamics, start: Minimum, length: float) -> Minimum:
    """One commutator-free step of order four (Celledoni, Marthinsen and Owren 2003)."""

    def move(point: Minimum, coefficients: np.ndarray) -> Minimum:
        generator = dynamics.algebra.combine(coefficients)
        if scipy.sparse.linalg.norm(generator) > _FARTHEST * np.sqrt(len(point.theta)):
            raise _TooFar
        return point.moved(generator)

    k1 = length * dynamics.coefficients(start)
    second = move(start, k1 / 2)
    k2 = length * dynamics.coefficients(second)
    k3 = length * dynamics.coefficients(move(start, k2 / 2))
    k4 = length * dynamics.coefficients(move(second, k3 - k1 / 2))
    first = move(start, (3 * k1 + 2 * k2 + 2 * k3 - k4) / 12)
    return move(first, (-k1 + 2 * k2 + 2 * k3 + 3 * k4) / 12)
