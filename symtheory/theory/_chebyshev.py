"""A stabilized explicit integrator for the Noether flow where gradients are averages over samples.

An average over samples of a loss with kinks has a gradient with small jumps. Implicit methods
iterate on such jumps without end, and ordinary explicit ones need steps below 1/|Hessian| although
nothing moves that fast any more. The Runge-Kutta-Chebyshev method of second order is explicit and
stable for steps up to about 0.65 s^2/|Hessian| with s evaluations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.integrate
import scipy.interpolate

_DAMPING = 2 / 13
_MOST_STAGES = 200
_ROUNDS = 12
_EVERY = 25
"""Steps between two estimates of the spectral radius."""


class Chebyshev(scipy.integrate.OdeSolver):
    """Runge-Kutta-Chebyshev of second order, for `scipy.integrate.solve_ivp`.

    The spectrum of the right-hand side's derivative must lie near the negative real axis, as that
    of a gradient flow does; its radius is estimated by the power method.

    Args:
        fun: Right-hand side f(t, y), shape (n,).
        t0: Start.
        y0: State at t0, shape (n,).
        t_bound: End.
        max_step: Largest step.
        rtol: Relative tolerance of a step.
        atol: Absolute tolerance of a step.
        vectorized: As in SciPy; not used.
        extraneous: Other options of SciPy's solvers are refused.

    Source: Sommeijer, Shampine and Verwer, RKC: an explicit solver for parabolic PDEs (1998).

    >>> decay = lambda t, y: np.array([-1000.0, -1.0]) * y
    >>> out = scipy.integrate.solve_ivp(decay, (0, 2), [1.0, 1.0], method=Chebyshev, rtol=1e-4)
    >>> bool(abs(out.y[1, -1] - math.exp(-2)) < 1e-3), out.nfev < 1500
    (True, True)
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        t0: float,
        y0: Any,
        t_bound: float,
        max_step: float = np.inf,
        rtol: float = 1e-3,
        atol: float = 1e-6,
        vectorized: bool = False,
        **extraneous: Any,
    ) -> None:
        if extraneous:
            raise TypeError(f"unknown options of the integrator: {', '.join(extraneous)}")
        super().__init__(fun, t0, y0, t_bound, vectorized)
        self.rtol, self.atol, self.max_step = rtol, atol, max_step
        self.derivative = self.fun(self.t, self.y)
        self.direction_of_power = np.ones(self.n) / math.sqrt(max(self.n, 1))
        self.radius, self.steps_since = 0.0, _EVERY
        self.step_size_next = 0.0

    def _spectral_radius(self) -> float:
        """Return an upper estimate of |df/dy| by the power method on finite differences."""
        size = 1e-5 * max(float(np.linalg.norm(self.y)), 1e-3)
        vector, radius = self.direction_of_power, 0.0
        for _ in range(_ROUNDS):
            image = (self.fun(self.t, self.y + size * vector) - self.derivative) / size
            length = float(np.linalg.norm(image))
            if not math.isfinite(length) or length == 0:
                break
            vector = image / length
            if abs(length - radius) < 0.02 * length:
                radius = length
                break
            radius = length
        self.direction_of_power = vector
        return 1.2 * radius

    def _scaled(self, error: np.ndarray, one: np.ndarray, two: np.ndarray) -> float:
        scale = self.atol + self.rtol * np.maximum(np.abs(one), np.abs(two))
        return float(np.sqrt(np.mean((error / scale) ** 2))) if self.n else 0.0

    def _first_step(self) -> float:
        speed = self._scaled(self.derivative, self.y, self.y)
        least = 1 / self.radius if self.radius else np.inf
        return min(least, 1 / speed if speed else np.inf, abs(self.t_bound - self.t))

    def _step_impl(self) -> tuple[bool, str | None]:
        if self.steps_since >= _EVERY:
            self.radius, self.steps_since = self._spectral_radius(), 0
        h = self.step_size_next or self._first_step()
        h = min(h, self.max_step)
        most = (_MOST_STAGES - 1) ** 2 / 1.54
        while True:
            if self.radius * h > most:
                h = most / self.radius
            h = min(h, abs(self.t_bound - self.t))
            if h < 16 * np.spacing(max(abs(self.t), 1e-300)):
                return False, self.TOO_SMALL_STEP
            stages = max(2, 1 + math.floor(math.sqrt(1 + 1.54 * h * self.radius)))
            signed = self.direction * h
            y = self._advance(signed, _coefficients(stages))
            derivative = self.fun(self.t + signed, y)
            estimate = 0.8 * (self.y - y) + 0.4 * signed * (self.derivative + derivative)
            error = self._scaled(estimate, self.y, y)
            if math.isfinite(error) and error <= 1:
                break
            h *= max(0.1, 0.8 * error ** (-1 / 3)) if math.isfinite(error) else 0.1
            self.radius, self.steps_since = self._spectral_radius(), 0
        growth = 0.8 * error ** (-1 / 3) if error else 10.0
        self.step_size_next = h * min(max(growth, 0.1), 10.0)
        self.before = (self.t, self.y, self.derivative)
        self.t, self.y, self.derivative = self.t + signed, y, derivative
        self.steps_since += 1
        return True, None

    def _advance(self, h: float, coefficients: tuple[Any, float]) -> np.ndarray:
        rows, first = coefficients
        start, slope = self.y, self.derivative
        earlier, last = start, start + first * h * slope
        for mu, nu, mu_slope, gamma_slope, place in rows:
            f = self.fun(self.t + place * h, last)
            new = (1 - mu - nu) * start + mu * last + nu * earlier
            earlier, last = last, new + h * (mu_slope * f + gamma_slope * slope)
        return last

    def _dense_output_impl(self) -> Any:
        t, y, derivative = self.before
        return _Hermite(t, self.t, y, self.y, derivative, self.derivative)


class _Hermite(scipy.integrate.DenseOutput):
    """Cubic interpolation between two states with their slopes."""

    def __init__(self, t0: float, t1: float, y0: Any, y1: Any, f0: Any, f1: Any) -> None:
        super().__init__(t0, t1)
        self._curve = scipy.interpolate.CubicHermiteSpline([t0, t1], [y0, y1], [f0, f1])

    def _call_impl(self, t: Any) -> Any:
        return self._curve(t).T


@functools.lru_cache(maxsize=_MOST_STAGES)
def _coefficients(stages: int) -> tuple[list[tuple[float, ...]], float]:
    """Return (mu, nu, mu~, gamma~, c) of the stages after the first, and mu~ of the first."""
    w0 = 1 + _DAMPING / stages**2
    value, slope, bend = [1.0, w0], [0.0, 1.0], [0.0, 0.0]
    for _ in range(2, stages + 1):
        value.append(2 * w0 * value[-1] - value[-2])
        slope.append(2 * value[-2] + 2 * w0 * slope[-1] - slope[-2])
        bend.append(4 * slope[-2] + 2 * w0 * bend[-1] - bend[-2])
    w1 = slope[stages] / bend[stages]
    b = [0.0, 0.0, *(bend[j] / slope[j] ** 2 for j in range(2, stages + 1))]
    b[0] = b[1] = b[2]
    a = [1 - b[j] * value[j] for j in range(stages + 1)]
    c = [0.0, 0.0, *(w1 * bend[j] / slope[j] for j in range(2, stages + 1))]
    c[1] = c[2] / (4 * w0)
    rows = []
    for j in range(2, stages + 1):
        mu_slope = 2 * b[j] * w1 / b[j - 1]
        rows.append(
            (2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], mu_slope, -a[j - 1] * mu_slope, c[j - 1])
        )
    return rows, b[1] * w1
