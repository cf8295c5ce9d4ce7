"""The slow flow: where the noise of SGD carries a minimum along its orbit of symmetries."""

from __future__ import annotations

from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.readable import require_readable
from symtheory.symmetry import discover
from symtheory.theory.slow._algebra import Algebra, algebra_of, exponentials
from symtheory.theory.slow._dynamics import Dynamics
from symtheory.theory.slow._minimum import Reading, read_minimum
from symtheory.theory.slow._points import Points, points_of
from symtheory.theory.slow._state import SlowFlow

_PARTS = 8
_OFF_RANGE = 1e-6


def slow_flow(
    model: Model,
    params: Any,
    symmetries: Any = None,
    *,
    temperature: float = 1.0,
    weight_decay: float = 0.0,
    samples: int = 16_384,
    seed: int = 0,
    method: str = "auto",
    tolerance: float = 1e-6,
) -> SlowFlow:
    """Return where the noise of SGD carries a minimum along its symmetries.

    Fluctuations around a minimum have the covariance K with HK + KH = T Sigma on range(H).
    Differentiating grad L . A theta = 0 twice gives, for every generator A of the symmetry algebra,
    symmetric or not,
      <A theta, d theta/dt> = Tr[A^T H K].
    For symmetric A it is T Tr[Sigma A]/2, the charge law. For antisymmetric A it is a rotation that
    the charges do not see, zero where H and Sigma commute. The velocity is the combination of the
    A_k theta with these products. With weight decay of order T, -2 gamma <A theta, theta> is added.

    Args:
        model: A model with nothing left to bind.
        params: A minimum of the loss without weight decay.
        symmetries: The result of `discover`, an `Exponential`, a list of them, or None for a
            search. Brackets are added until they span a Lie algebra.
        temperature: T = eta/S.
        weight_decay: gamma >= 0, small like T.
        samples: Samples drawn where moments are not exact.
        seed: Seed of these samples.
        method: "dense", "lanczos" (Hessian-vector products only) or "auto".
        tolerance: Largest |grad L| that passes, relative to sqrt(Tr Sigma) + |H||theta|.

    Moments are exact, to rounding, for `Empirical` data and for losses quadratic in independent
    normal, uniform or Rademacher entries (by cubature); otherwise averages over drawn samples, with
    standard errors of the rates.

    Raises:
        InputError: The point is not a minimum (the message says how large the gradient is), a given
            symmetry is none, or the noise has a part along flat directions.

    Source: beyond arXiv 2402.07193, which has the symmetric case.

    >>> from symtheory.zoo import load
    >>> example = load("scalar-factor")
    >>> flow = slow_flow(example.bound(), {"u": 2.0, "w": 0.5}, example.symmetries["rescaling"])
    >>> flow.hessian_rank, flow.orbit_dimension, bool(flow.rates[0] < 0)
    (1, 1, True)
    """
    require_readable(model.require_bound())
    model.check_params(params)
    if not model.laws:
        raise InputError(
            f"the loss of {model.name} reads no random array, so its gradient has no noise and "
            "nothing moves along its minima; give one in Model(random=...)"
        )
    if method not in ("auto", "dense", "lanczos"):
        raise InputError(f"method is 'auto', 'dense' or 'lanczos', got {method!r}")
    for name, value, least in (
        ("temperature", temperature, 0), ("weight_decay", weight_decay, 0),
        ("samples", samples, 64), ("tolerance", tolerance, 0),
    ):  # fmt: skip
        if isinstance(value, bool) or not np.isfinite(value) or value < least:
            raise InputError(f"{name} must be a finite number, at least {least}, got {value!r}")
    found = discover(model) if symmetries is None else symmetries
    given = exponentials(found)
    algebra = algebra_of(model, given)
    points = points_of(model, samples, seed)
    with jax.enable_x64(True):
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        flat = np.asarray(jax.flatten_util.ravel_pytree(start)[0])
        reading = read_minimum(model, flat, points, tolerance, method)
        minimum = reading.minimum
        _check(reading, algebra, points)
        zeros = jax.tree.map(np.zeros_like, start)
        dynamics = Dynamics(algebra, float(temperature), float(weight_decay), zeros)
        errors = None
        if points.drawn:
            parts = [
                read_minimum(model, flat, points.part(k, _PARTS), tolerance, method).minimum
                for k in range(_PARTS)
            ]
            values = np.stack([dynamics.rates(part)[: algebra.given] for part in parts])
            errors = values.std(axis=0, ddof=1) / np.sqrt(_PARTS)
    directions = algebra.directions(minimum.theta)
    return SlowFlow(
        model=model,
        params=dynamics.params(minimum.theta),
        temperature=float(temperature),
        weight_decay=float(weight_decay),
        rates=dynamics.rates(minimum)[: algebra.given],
        rate_errors=errors,
        velocity=dynamics.params(dynamics.coefficients(minimum) @ directions),
        exact_moments=not points.drawn,
        gradient_norm=reading.gradient_norm,
        hessian_rank=minimum.factor.shape[1],
        flat_directions=len(minimum.theta) - minimum.factor.shape[1],
        orbit_dimension=int(np.linalg.matrix_rank(directions, tol=1e-8 * _size(directions))),
        gap=reading.gap,
        _given=params,
        _symmetries=given,
        _algebra=algebra,
        _minimum=minimum,
        _points=points,
    )


def _size(directions: np.ndarray) -> float:
    return max(float(np.linalg.norm(directions, 2)), 1e-300)


def _check(reading: Reading, algebra: Algebra, points: Points) -> None:
    """Check that the generators are flat at the minimum, and that the noise is not."""
    minimum = reading.minimum
    directions = algebra.directions(minimum.theta)
    sizes = np.linalg.norm(directions, axis=1) * np.linalg.norm(minimum.factor, 2)
    slopes = np.linalg.norm(directions @ minimum.factor, axis=1)
    bad = slopes > 1e-4 * np.maximum(sizes, 1e-300)
    if bad.any():
        k = int(np.argmax(bad))
        name = next((n for n, place, _ in algebra.labels if place.start <= k < place.stop), "")
        raise InputError(
            f"{name or 'a bracket of the given symmetries'} is not a symmetry at this minimum: "
            f"|sqrt(H) A theta| is {slopes[k] / sizes[k]:.2g} of its largest possible size; check "
            "it with verify"
        )
    if reading.off_range > (_OFF_RANGE if not points.drawn else 1e-3):
        raise InputError(
            f"{reading.off_range:.2g} of the noise is along flat directions that are no symmetry, "
            "where parameters diffuse freely; the slow flow needs noise across the minima only"
        )
