"""Warmup: how long noise takes to balance a hidden unit, and what is then stable."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.errors import BudgetError, InputError, UnreadableError
from symtheory.model import Model
from symtheory.readable import require_readable
from symtheory.theory._gradient_noise import read_gradient_noise
from symtheory.theory._lower import lower
from symtheory.theory.curvature._sharpness import Sharpness, sharpness
from symtheory.theory.orbits._gl_pair import GLPair, leaves_of
from symtheory.theory.orbits._inputs import checked_pair, gradient_stacks

_EXACT_LIMIT = 64
_SAMPLES = 4096
_PROBES = 32
_ASYMMETRY = 1e-7
_BALANCED = 1e-9
"""Relative gaps of the charge below this count as none."""


@dataclasses.dataclass(frozen=True)
class Warmup:
    """What noise balance does to the stable learning rate.

    Attributes:
        charge: |u|^2 - |w|^2 at the start.
        balanced_charge: The same at the noise equilibrium of the orbit.
        rate_of_change: d(|u|^2 - |w|^2)/dt at the start, T (Var grad_u - Var grad_w).
        time: Time until the charge has come within `within` of its gap; one step takes eta.
        steps: The same in steps.
        before: Sharpness at the start.
        after: Sharpness at the noise equilibrium.
        params: The parameters there.
    """

    charge: float
    balanced_charge: float
    rate_of_change: float
    time: float
    steps: float
    before: Sharpness
    after: Sharpness
    params: Any


def warmup(
    model: Model,
    params: Any,
    pair: Any,
    *,
    learning_rate: float,
    batch_size: int = 1,
    within: float = 0.05,
) -> Warmup:
    """Return the time to balance of one hidden unit, and the stable learning rates around it.

    On the orbit (y^(1/2) u, y^(-1/2) w) the noise is Var grad_w = N1 y and Var grad_u = N2 / y, so
    C = p y - q / y with p = |u|^2, q = |w|^2 obeys dC/dt = T (N2 / y - N1 y), T = eta/S. With
    x = y^2 this integrates to
      T t = (1/2) [(q/N2) ln x - (p/N1 + q/N2) ln|N2 - N1 x|], taken from 1 to the end.
    For rank-1 matrix factorization with label noise s^2 this is the law
    dC/dt = -(4 eta s^2/S) (Tr Sigma_x |u|^2 - d_y w^T Sigma_x w). A start at a minimum stays at
    one; elsewhere the descent to it is not part of the time.

    Args:
        model: A model with everything bound.
        params: The start.
        pair: A pair of factors of hidden width 1, as for `rebalance`.
        learning_rate: eta.
        batch_size: S.
        within: Share of the gap in C that counts as balanced.

    Raises:
        InputError: The width is not 1, the loss has not the symmetry of the pair, a factor or its
            noise is zero, or a number is out of range.

    Source: arXiv 2402.07193, section on warmup.

    >>> from symtheory.zoo import load
    >>> model = load("scalar-factor").bound()
    >>> found = warmup(model, {"u": 4.0, "w": 0.25}, ("u", "w"), learning_rate=0.01)
    >>> found.before.stable_learning_rate < found.after.stable_learning_rate
    True
    """
    for name, value in (("learning_rate", learning_rate), ("batch_size", batch_size)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} must be positive and finite, got {value}")
    if not 0 < within < 1:
        raise InputError(f"within is a share between 0 and 1, got {within}")
    model.check_params(params)
    with jax.enable_x64(True):
        start = jax.tree.map(lambda leaf: jnp.atleast_1d(jnp.asarray(leaf, jnp.float64)), params)
        leaves = leaves_of(start)
        chosen = checked_pair(pair, leaves)
        u, w = chosen.stacks(leaves)
        if u.shape[0] != 1 or u.shape[2] != 1:
            raise InputError(
                f"the hidden width is {u.shape[2]} and there are {u.shape[0]} pairs; warmup is for "
                "one hidden unit, use rebalance and sharpness for wider layers"
            )
        _require_symmetry(model, params, chosen, leaves)
        n1, n2 = _variances(model, params, chosen, leaves)
        p, q = float(jnp.sum(u**2)), float(jnp.sum(w**2))
        if not (n1 > 0 and n2 > 0):
            raise InputError("one factor feels no noise here, so noise does not balance the two")
        end = math.sqrt(n2 / n1)
        moved = chosen.unstack(u * math.sqrt(end), w / math.sqrt(end), leaves)
        shaped = [
            np.reshape(np.asarray(moved.get(name, leaf)), np.shape(old))
            for (name, leaf), old in zip(leaves.items(), jax.tree.leaves(params), strict=True)
        ]
        balanced = jax.tree.unflatten(jax.tree.structure(params), shaped)
    temperature = learning_rate / batch_size
    time = _time(p, q, n1, n2, within) / temperature
    return Warmup(
        charge=p - q,
        balanced_charge=p * end - q / end,
        rate_of_change=temperature * (n2 - n1),
        time=time,
        steps=time / learning_rate,
        before=sharpness(model, params),
        after=sharpness(model, balanced),
        params=balanced,
    )


def _time(p: float, q: float, n1: float, n2: float, within: float) -> float:
    """Return T t until the charge is within a share of its gap."""
    end = math.sqrt(n2 / n1)
    gap = (p - q) - (p * end - q / end)
    if abs(gap) <= _BALANCED * (p + q):
        return 0.0
    target = p * end - q / end + within * gap
    # C(y) = p y - q/y is increasing; the root without cancellation for either sign of the target.
    root = math.sqrt(target**2 + 4 * p * q)
    y = (target + root) / (2 * p) if target > 0 else 2 * q / (root - target)
    # ln|N2 - N1 x| between 1 and x = y^2, in terms that stay finite near the end.
    fall = math.log((n2 - n1 * y * y) / (n2 - n1))
    return 0.5 * (q / n2 * 2 * math.log(y) - (p / n1 + q / n2) * fall)


def _require_symmetry(model: Model, params: Any, pair: GLPair, leaves: Any) -> None:
    """Refuse a pair that the loss does not see through its product alone.

    The derivative of the loss along (u, -w) has to vanish for every sample, at the start and on
    the way: <g_u, u> = <g_w, w> up to rounding.

    Raises:
        InputError: It does not.
    """
    require_readable(model.require_bound())
    pool = model.sample(jax.random.key(1), (_PROBES,), jnp.float64)
    gradient = jax.grad(model.evaluate)
    names = list(leaves)
    left = {factor.leaf for factor in pair.left}
    right = {factor.leaf for factor in pair.right}
    for stretch in (1.0, 1.5, 0.6):
        scale = {name: stretch if name in left else 1.0 for name in names}
        scale |= {name: 1 / stretch for name in right}
        flat, tree = jax.tree.flatten(params)
        moved = [scale[n] * jnp.asarray(x, jnp.float64) for n, x in zip(names, flat, strict=True)]
        point = jax.tree.unflatten(tree, moved)
        slopes = jax.vmap(gradient, (None, 0), axis_size=_PROBES)(point, pool)
        along, size = jnp.zeros(_PROBES), jnp.zeros(_PROBES)
        for name, leaf, slope in zip(names, moved, jax.tree.leaves(slopes), strict=True):
            sign = (name in left) - (name in right)
            each = slope.reshape(_PROBES, -1) * leaf.reshape(-1)
            along += sign * each.sum(axis=1)
            size += abs(sign) * jnp.abs(each).sum(axis=1)
        off = float(jnp.max(jnp.abs(along) / jnp.where(size > 0, size, 1.0)))
        if not off < _ASYMMETRY:
            raise InputError(
                f"{model.name} has not the symmetry u -> c u, w -> w / c of this pair: the loss "
                f"changes along it by {off:.2g} of its derivatives; warmup needs factors that "
                "enter by their product alone (see discover and gl_pairs)"
            )


def _variances(model: Model, params: Any, pair: GLPair, leaves: Any) -> tuple[float, float]:
    """Return Var grad_w and Var grad_u summed over entries: exact, or over a pool of samples."""
    model.require_bound()
    if model.dimension <= _EXACT_LIMIT:
        try:
            noise = read_gradient_noise(model)
            one = noise.symbols.ring.constant(1)
            elements = []
            for side in (pair.right, pair.left):
                names = {factor.leaf for factor in side}
                labels = noise.symbols.of_kind("param").values()
                places = [k for k, label in enumerate(labels) if label.name in names]
                elements.append(noise.trace({(k, k): one for k in places}))
            arrays = {
                ("param", name): jnp.asarray(leaf, jnp.float64)
                for name, leaf in zip(model.leaves, jax.tree.leaves(params), strict=True)
            }
            n1, n2 = np.asarray(lower(elements, noise.symbols)(arrays))
            return float(n1), float(n2)
        except (UnreadableError, BudgetError):
            pass
    pool = model.sample(jax.random.key(0), (_SAMPLES,), jnp.float64)
    gradient = jax.grad(model.evaluate)
    gradients = jax.vmap(gradient, (None, 0), axis_size=_SAMPLES)(params, pool)
    shaped = {
        name: jnp.reshape(g, (_SAMPLES, *np.shape(leaf)))
        for (name, leaf), g in zip(leaves.items(), jax.tree.leaves(gradients), strict=True)
    }
    of_left, of_right = gradient_stacks(shaped, pair, leaves)
    return float(jnp.sum(of_right**2)), float(jnp.sum(of_left**2))
