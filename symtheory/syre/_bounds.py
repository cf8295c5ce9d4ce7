"""How strongly a removed symmetry repels: bounds over the draw of the bias."""

from __future__ import annotations

import math

from symtheory.errors import InputError


def strength_bound(weight_decay: float, sigma0: float, delta: float, count: float) -> float:
    """Return what all of N mirrors repel with, at least, with probability 1 - delta (R6).

    min_i |P_i grad l_r| >= sqrt(2 pi) gamma sigma_0 delta / N at the symmetric points: a projection
    n . theta_0 falls within t of any number with probability at most 2t / (sigma_0 sqrt(2 pi)).

    Args:
        weight_decay: gamma.
        sigma0: Spread of the bias (the smallest, where leaves differ).
        delta: Probability of failure, in (0, 1).
        count: N, the number of mirrors; the log2 of the order of a finite abelian group (R7), or
            any number of directions such that every mirror contains one of them.

    Raises:
        InputError: delta is not in (0, 1), or another argument is not positive.

    Source: arXiv 2408.15495, the strength of the removal.

    >>> round(strength_bound(0.1, 1.0, 0.1, 10), 6)
    0.002507
    """
    check_delta(delta)
    if not (sigma0 > 0 and count > 0 and weight_decay >= 0):
        raise InputError(
            f"the bound needs sigma0 > 0, N > 0 and gamma >= 0, got {sigma0!r}, {count!r}, "
            f"{weight_decay!r}"
        )
    return math.sqrt(2 * math.pi) * weight_decay * sigma0 * delta / count


def expected_square(weight_decay: float, sigma0: float, rank: int) -> float:
    """Return E|(I - V) grad l_r|^2 = 4 gamma^2 sigma_0^2 rank(I - V) at fixed points (R8).

    Args:
        weight_decay: gamma.
        sigma0: Spread of the bias.
        rank: rank(I - V), V the mean of a finite group of orthogonal matrices.

    Source: arXiv 2408.15495, finite groups.

    >>> expected_square(0.5, 2.0, 3)
    12.0
    """
    return 4 * weight_decay**2 * sigma0**2 * rank


def check_delta(delta: float) -> None:
    """Check a probability of failure.

    Raises:
        InputError: delta is not in (0, 1).
    """
    if not 0 < delta < 1:
        raise InputError(f"delta is {delta!r}; it is a probability: give a number between 0 and 1")
