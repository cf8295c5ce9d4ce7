"""Fixed points of scale-invariant layers at finite learning rate, with the spread of |g|^2."""

from __future__ import annotations

import dataclasses

from symtheory.errors import InputError


@dataclasses.dataclass(frozen=True)
class ScaleFixedPoint:
    """Stationary norms of a scale-invariant layer under SGD with weight decay, where grad L = 0.

    With n = |theta|^2, a = 1 - 2 eta gamma and q = |g_B|^2 on the unit sphere, a step is
    n' = a^2 n + eta^2 q/n exactly, q independent of n. Taking means of n' and of n'^2 in the
    stationary state gives, with s = E[q] and v = Var(q)/s^2,

        E[n] / E[1/n] = u,   u = eta^2 s/(1 - a^2) = eta s/(4 gamma (1 - eta gamma)),   exactly,
        (1 - a^4) E[n^2] = 2 a^2 eta^2 s + eta^4 s^2 (1 + v) E[1/n^2].

    Around n = sqrt(u) (1 + d) a step is d' = (2 a^2 - 1) d + (1 - a^2) (xi + d^2), Var xi = v, so
    E[d^2] = v (1 - a^2)/(4 a^2), E[d] = E[d^2]/2 and, to first order in the spread,
    E[n^2] = u (1 + v (1 - a^2)/(2 a^2)).

    Attributes:
        continuous: |theta|^4 of the stochastic differential equation, eta s/(4 gamma).
        discrete: u, the fixed point of a concentrated |g|^2, and exactly E[n]/E[1/n].
        with_spread: E[|theta|^4] to first order in the spread v.

    Source: arXiv 2402.07193, scale invariance; the discrete statements are this package's.
    """

    continuous: float
    discrete: float
    with_spread: float


def scale_fixed_point(
    noise: float,
    spread: float,
    *,
    learning_rate: float,
    weight_decay: float,
    batch_size: int = 1,
) -> ScaleFixedPoint:
    """Return the stationary fourth powers of the norm of a scale-invariant layer.

    Args:
        noise: s = Tr Sigma at |theta| = 1.
        spread: v = Var(|g_B|^2)/E[|g_B|^2]^2 of a minibatch gradient at |theta| = 1.
        learning_rate: eta.
        weight_decay: gamma > 0, with eta gamma < 1.
        batch_size: S.

    Raises:
        InputError: Without weight decay there is no fixed point; eta gamma >= 1 is not stable.

    >>> point = scale_fixed_point(3.0, 2 / 3, learning_rate=0.1, weight_decay=0.5)
    >>> round(point.continuous, 6), round(point.discrete, 6), round(point.with_spread, 6)
    (0.15, 0.157895, 0.17024)
    """
    product = learning_rate * weight_decay
    if weight_decay <= 0 or not 0 < product < 1:
        raise InputError(
            f"a fixed point needs weight_decay > 0 and learning_rate * weight_decay < 1, got "
            f"{weight_decay} and {product}"
        )
    continuous = learning_rate * noise / batch_size / (4 * weight_decay)
    discrete = continuous / (1 - product)
    square = (1 - 2 * product) ** 2
    return ScaleFixedPoint(
        continuous, discrete, discrete * (1 + spread * (1 - square) / (2 * square))
    )
