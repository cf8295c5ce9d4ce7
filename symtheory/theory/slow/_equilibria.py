"""Where on an orbit the noise comes to rest: matrix equilibrium and relative equilibrium."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from symtheory.errors import InputError
from symtheory.theory.slow._dynamics import Dynamics, solve
from symtheory.theory.slow._minimum import Minimum

_NEWTON = 80
_SOLVED = 1e-11


@dataclasses.dataclass(frozen=True, eq=False)
class RelativeEquilibrium:
    """Where the slow flow ends: theta(t) = exp(t Omega) theta with an antisymmetric Omega.

    Attributes:
        params: A point of it; the others follow by the rotations of the hidden basis.
        rotation: Omega, a matrix on the flattened parameters, per unit of time.
        rotation_rate: The largest angular velocity, the spectral radius of Omega; per step it is
            eta times this, at temperature 1 so many eta^2/S.
        relative_drifts: For each symmetry given, (T Tr[Sigma A] - 4 gamma C)/(T Tr Sigma +
            4 gamma |theta|^2), the drift of its charge relative to its size, in the form of its
            family: zero at the matrix equilibrium. For a double rotation it is the matrix
            (W Gamma_W W^T - U^T Gamma_U U)/Tr[their sum].
        violation: max over symmetric A in the algebra of Tr[Sigma A]/sqrt(Tr Sigma Tr[Sigma A^2]),
            between 0 and 1 (both traces with weight decay as above).
        matrix_equilibrium: Where the matrix equilibrium on the same orbit is.
        relaxation: The slowest rate at which the flow approaches it; negative if it is unstable.
        residual: What is left of the velocity across the rotations, relative to its scale.
    """

    params: Any
    rotation: np.ndarray
    rotation_rate: float
    relative_drifts: dict[str, np.ndarray]
    violation: float
    matrix_equilibrium: Any
    relaxation: float
    residual: float


def matrix_equilibrium(dynamics: Dynamics, minimum: Minimum) -> Minimum:
    """Minimize (T/2) Tr Sigma + 2 gamma |theta|^2 over the orbit, by Newton's method."""
    basis = dynamics.algebra.symmetric
    value = dynamics.potential(minimum)
    for _ in range(_NEWTON if len(basis) else 0):
        gradient, hessian = dynamics.convex(minimum)
        if np.linalg.norm(gradient) <= _SOLVED * dynamics.scale(minimum) * np.sqrt(len(gradient)):
            break
        step = -solve(hessian, gradient)
        length = 1.0
        while True:
            trial = minimum.moved(dynamics.algebra.combine(length * step @ basis))
            level = dynamics.potential(trial)
            if level <= value + 0.1 * length * float(gradient @ step) or length < 1e-6:
                break
            length /= 2
        if length < 1e-6 and level >= value:
            break
        minimum, value = trial, level
    left = np.linalg.norm(basis @ dynamics.charge_drifts(minimum)) / max(
        dynamics.scale(minimum), 1e-300
    )
    if left > 1e-6:
        raise InputError(
            "there is no equilibrium at a finite distance on this orbit: the noise falls "
            f"without end along it (relative drift {left:.2g}); add weight_decay, or drop the "
            "symmetry that has noise on one side only"
        )
    return minimum


def _turn(dynamics: Dynamics, minimum: Minimum) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients of the rotation closest to the flow, and what it leaves over."""
    directions = dynamics.algebra.directions(minimum.theta)
    velocity = solve(directions @ directions.T, dynamics.rates(minimum)) @ directions
    turning = dynamics.algebra.rotations @ directions
    if len(turning):
        weights = np.linalg.lstsq(turning.T, velocity, rcond=1e-10)[0]
        velocity = velocity - weights @ turning
        rotation = weights @ dynamics.algebra.rotations
    else:
        rotation = np.zeros(dynamics.algebra.count)
    return rotation, (dynamics.algebra.across @ directions) @ velocity


def _jacobian(
    dynamics: Dynamics, minimum: Minimum, here: np.ndarray, step: float = 1e-6
) -> np.ndarray:
    columns = []
    for row in dynamics.algebra.across:
        moved = minimum.moved(dynamics.algebra.combine(step * row))
        columns.append((_turn(dynamics, moved)[1] - here) / step)
    return np.stack(columns, axis=1)


def stationary(dynamics: Dynamics, minimum: Minimum) -> RelativeEquilibrium:
    """Return the relative equilibrium, by Newton's method from the matrix equilibrium."""
    balanced = point = matrix_equilibrium(dynamics, minimum)
    rotation, rest = _turn(dynamics, point)
    goal = 1e-10 * max(dynamics.scale(point), 1e-300)
    jacobian = _jacobian(dynamics, point, rest)
    for _ in range(_NEWTON):
        size = np.linalg.norm(rest)
        if size <= goal:
            break
        step = -np.linalg.lstsq(jacobian, rest, rcond=1e-9)[0]
        length = min(1.0, 1.0 / max(float(np.linalg.norm(step)), 1e-300))
        for _ in range(20):
            trial = point.moved(dynamics.algebra.combine(length * step @ dynamics.algebra.across))
            turned = _turn(dynamics, trial)
            if np.linalg.norm(turned[1]) < size:
                break
            length /= 2
        else:
            break
        point, (rotation, rest) = trial, turned
        if np.linalg.norm(rest) > 0.1 * size:
            jacobian = _jacobian(dynamics, point, rest)
    left = float(np.linalg.norm(rest)) / max(dynamics.scale(point), 1e-300)
    if left > 1e-7:
        raise InputError(
            f"the stationary state was not reached (relative velocity {left:.2g}); follow the "
            "flow with integrate(times) instead"
        )
    matrix = dynamics.algebra.combine(rotation).toarray()
    return RelativeEquilibrium(
        params=dynamics.params(point.theta),
        rotation=matrix,
        rotation_rate=float(np.max(np.abs(np.linalg.eigvals(matrix)), initial=0.0)),
        relative_drifts=dynamics.drifts(point),
        violation=dynamics.violation(point),
        matrix_equilibrium=dynamics.params(balanced.theta),
        relaxation=_relaxation(dynamics, point, rest),
        residual=left,
    )


def _relaxation(dynamics: Dynamics, point: Minimum, rest: np.ndarray) -> float:
    """Return the slowest rate of approach: rates relative to the metric <A_s theta, A_t theta>."""
    directions = dynamics.algebra.across @ dynamics.algebra.directions(point.theta)
    turning = dynamics.algebra.rotations @ dynamics.algebra.directions(point.theta)
    if len(turning):
        frame = np.linalg.svd(turning, full_matrices=False)
        span = frame[2][frame[1] > 1e-9 * max(float(frame[1][0]), 1e-300)]
        directions = directions - (directions @ span.T) @ span
    left, sizes, _ = np.linalg.svd(directions, full_matrices=False)
    kept = sizes > 1e-7 * max(float(sizes[0]), 1e-300)
    change = (left[:, kept] / sizes[kept]).T
    jacobian = _jacobian(dynamics, point, rest)
    linear = change @ jacobian @ change.T
    return float(-np.max(np.linalg.eigvals(linear).real))
