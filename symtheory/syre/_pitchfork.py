"""The imperfect pitchfork: where a collapsed direction goes under syre, and how soon."""

from __future__ import annotations

import cmath
import dataclasses
import math
from typing import Any

from symtheory.errors import InputError


@dataclasses.dataclass(frozen=True)
class Pitchfork:
    """The energy kappa t^2/2 + beta t^4/4 + gamma (t - b)^2 of one direction t across a mirror.

    A reflection makes the loss even in t, so that t = 0 is a trap: without a bias (b = 0) training
    that starts there stays. The decay towards b tilts it. The stationary points are the roots of

        beta t^3 + (kappa + 2 gamma) t - 2 gamma b = 0,

    and training that starts at 0 goes to the one next to 0 on the side of b. Three regimes, by the
    excess e = -(kappa + 2 gamma): held (e < 0), where t is about 2 gamma b / |e|; critical (e = 0),
    where t = (2 gamma b / beta)^(1/3); free (e > 0), where t is about sqrt(e / beta). syre removes
    the trap of the free regime; it does not overturn a collapse that the decay prefers.

    Args:
        curvature: kappa, the second derivative of the loss across the mirror.
        quartic: beta > 0, a sixth of the fourth derivative.
        weight_decay: gamma.
        bias: b, the bias along t, from the mirror.

    Raises:
        InputError: beta is not positive (the loss does not bound t), or a number is not finite.

    Source: section 10 of the theory (R9, beyond arXiv 2408.15495).

    >>> fork = Pitchfork.of_two_factors(target=1.0, weight_decay=0.1, bias=0.001)
    >>> fork.regime, round(fork.attractor / 2**0.5, 3), round(fork.leading / 2**0.5, 3)
    ('free', 0.949, 0.949)
    """

    curvature: float
    quartic: float
    weight_decay: float
    bias: float

    def __post_init__(self) -> None:
        numbers = (self.curvature, self.quartic, self.weight_decay, self.bias)
        if not all(math.isfinite(x) for x in numbers):
            raise InputError(f"a pitchfork needs finite numbers, got {numbers}")
        if not self.quartic > 0:
            raise InputError(
                f"quartic is {self.quartic:g}; the forecast needs beta > 0: with beta <= 0 the "
                "loss does not stop t near the mirror"
            )
        if self.weight_decay < 0:
            raise InputError(f"weight_decay is {self.weight_decay:g}; it must not be negative")

    @classmethod
    def of_two_factors(cls, target: float, weight_decay: float, bias: float) -> Pitchfork:
        """Return the pitchfork of l = (u w - m)^2 at u = w = 0, decay towards (b, b).

        t = (u + w)/sqrt 2, so w = t/sqrt 2 on the way out.

        >>> Pitchfork.of_two_factors(2.0, 0.5, 0.1).excess
        3.0
        """
        return cls(-2.0 * target, 1.0, weight_decay, math.sqrt(2) * bias)

    @property
    def excess(self) -> float:
        """e = -(kappa + 2 gamma): how fast t grows at first, per unit of time."""
        return -(self.curvature + 2 * self.weight_decay)

    @property
    def regime(self) -> str:
        """ "free" (e > 0), "critical" (e = 0) or "held" (e < 0)."""
        scale = max(abs(self.curvature), 2 * self.weight_decay, 1e-300)
        if abs(self.excess) <= 1e-12 * scale:
            return "critical"
        return "free" if self.excess > 0 else "held"

    @property
    def leading(self) -> float:
        """The forecast of the regime, to leading order in b; of the sign of b."""
        force = 2 * self.weight_decay * abs(self.bias)
        if self.regime == "held":
            size = force / -self.excess
        elif self.regime == "critical":
            size = (force / self.quartic) ** (1 / 3)
        else:
            size = math.sqrt(self.excess / self.quartic)
        return math.copysign(size, self.bias)

    @property
    def roots(self) -> tuple[complex, complex, complex]:
        """All three stationary points, by Cardano's formula."""
        p = -self.excess / self.quartic
        q = -2 * self.weight_decay * self.bias / self.quartic
        if p == 0 and q == 0:
            return (0j, 0j, 0j)
        root = cmath.sqrt((q / 2) ** 2 + (p / 3) ** 3)
        # The larger of the two, so that nothing cancels.
        inner = max(-q / 2 + root, -q / 2 - root, key=abs)
        first = inner ** (1 / 3)
        turn = complex(-0.5, math.sqrt(3) / 2)
        candidates = [first, first * turn, first * turn.conjugate()]
        return tuple(self._polished(z - p / (3 * z)) for z in candidates)  # type: ignore[return-value]

    def _polished(self, t: complex) -> complex:
        for _ in range(3):
            slope = 3 * self.quartic * t * t - self.excess
            if slope:
                t -= -self.velocity(t) / slope
        return t

    def velocity(self, t: Any) -> Any:
        """Return dt/d(time) = 2 gamma b + e t - beta t^3 under gradient flow."""
        return 2 * self.weight_decay * self.bias + self.excess * t - self.quartic * t * t * t

    @property
    def attractor(self) -> float:
        """Where training that starts at t = 0 goes: the root next to 0 on the side of b."""
        if self.weight_decay == 0 or self.bias == 0:
            return 0.0
        sign = math.copysign(1.0, self.bias)
        scale = max(abs(z) for z in self.roots)
        real = [z.real * sign for z in self.roots if abs(z.imag) <= 1e-9 * scale]
        return sign * min(t for t in real if t > 0)

    def escape_time(self, fraction: float = 0.5, start: float = 0.0) -> float:
        """Return the time of gradient flow from `start` to a fraction of the attractor.

        Exact for the pitchfork: the integral of dt / velocity.
        Divide by the learning rate for steps of gradient descent. At first t grows as
        (2 gamma b / e)(exp(e time) - 1), so halving b costs ln 2 / e.

        Raises:
            InputError: The fraction is not in (0, 1), or there is nothing to escape to.
        """
        if not 0 < fraction < 1:
            raise InputError(f"fraction is {fraction!r}; give a number between 0 and 1")
        end = fraction * self.attractor
        if end == 0:
            raise InputError(
                "the escape takes for ever: gamma and the bias across the mirror must not be 0"
            )
        if (end - start) * end <= 0:
            return 0.0
        # By quadrature: partial fractions lose digits where two roots nearly meet.
        from scipy.integrate import quad

        value, _ = quad(lambda t: 1 / self.velocity(t), start, end, limit=500)
        return float(value)

    def symbolic(self) -> tuple[Any, dict[str, Any]]:
        """Return the stationarity condition in SymPy, and the forecast of each regime.

        >>> condition, regimes = Pitchfork(-2.0, 1.0, 0.1, 0.1).symbolic()
        >>> regimes["held"]
        2*b*gamma/(2*gamma + kappa)
        """
        import sympy

        kappa, beta, gamma, b, t = sympy.symbols("kappa beta gamma b t", real=True)
        condition = sympy.Eq(beta * t**3 + (kappa + 2 * gamma) * t - 2 * gamma * b, 0)
        return condition, {
            "held": 2 * gamma * b / (kappa + 2 * gamma),
            "critical": (2 * gamma * b / beta) ** sympy.Rational(1, 3),
            "free": sympy.sqrt(-(kappa + 2 * gamma) / beta),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as JSON-ready data (times in units of gradient flow)."""
        moving = self.attractor != 0
        return {
            "curvature": self.curvature,
            "quartic": self.quartic,
            "bias": self.bias,
            "regime": self.regime,
            "attractor": self.attractor,
            "leading": self.leading,
            "escape_time": self.escape_time() if moving else None,
        }
