"""What a rebalancing is given, checked: the pair, noise covariances, gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory import shapes
from symtheory.errors import InputError
from symtheory.theory.orbits._found import pair_of
from symtheory.theory.orbits._gl_pair import GLPair, leaves_of

_ASYMMETRY = 1e-8


def checked_pair(pair: Any, leaves: dict[str, Any]) -> GLPair:
    """Return the pair with axes resolved, its factors finite and not zero.

    Raises:
        InputError: Saying what does not fit.
    """
    structure = {name: tuple(np.shape(leaf)) for name, leaf in leaves.items()}
    if not isinstance(pair, GLPair):
        two = isinstance(pair, tuple | list) and len(pair) == 2
        pair = GLPair(*pair) if two else pair_of(pair, structure)
    pair = pair.resolve(structure)
    for side, name in ((pair.left, "left"), (pair.right, "right")):
        for factor in side:
            array = np.asarray(leaves[factor.leaf])
            if array.dtype.kind in "iubc":
                raise InputError(
                    f"{factor.leaf!r} has entries of type {array.dtype}; give real floating-point "
                    "arrays"
                )
            shapes.check_array(repr(factor.leaf), array.astype(float), array.shape)
        stacks = [np.asarray(f.matrices(jnp.asarray(leaves[f.leaf]))) for f in side]
        empty = ~np.any([np.any(stack, axis=(1, 2)) for stack in stacks], axis=0)
        if np.any(empty):
            names = ", ".join(repr(factor.leaf) for factor in side)
            where = "" if len(empty) == 1 else f" at batch index {int(np.argmax(empty))}"
            raise InputError(
                f"the {name} factor {names} is zero{where}: its orbit is singular and has no "
                "balanced point; train a few steps first (a fresh adapter has a zero factor)"
            )
    return pair


def checked_gamma(
    gamma: Any, rows: int, batch: int, name: str, temperature: float, weight_decay: float
) -> Any:
    """Return a root of M = (T/2) Gamma + 2 gamma: a number, or lower triangles (batch, n, n).

    Raises:
        InputError: Gamma is not symmetric, M not positive definite, or shapes do not fit.
    """
    gamma = np.asarray(1.0 if gamma is None else gamma, dtype=float)
    if not np.all(np.isfinite(gamma)):
        raise InputError(f"{name} has entries that are NaN or infinite; give finite numbers")
    if gamma.ndim == 0:
        value = temperature / 2 * float(gamma) + 2 * weight_decay
        if float(gamma) < 0 or not value > 0:
            raise InputError(f"{name} = {float(gamma):g} is not positive; give a covariance")
        return jnp.asarray(np.sqrt(value))
    if gamma.ndim == 1:
        gamma = np.diag(gamma)
    if gamma.shape not in ((rows, rows), (batch, rows, rows)):
        raise InputError(
            f"{name} has shape {gamma.shape}; the outer axes of that factor have {rows} entries, "
            f"so it must be ({rows}, {rows})"
            + (f" or ({batch}, {rows}, {rows})" if batch > 1 else "")
        )
    skew = np.max(np.abs(gamma - np.swapaxes(gamma, -1, -2)))
    if skew > _ASYMMETRY * np.max(np.abs(gamma)):
        raise InputError(f"{name} is not symmetric (off by {skew:.2g}); give a covariance")
    gamma = (gamma + np.swapaxes(gamma, -1, -2)) / 2
    matrix = temperature / 2 * gamma + 2 * weight_decay * np.eye(rows)
    lowest = float(np.min(np.linalg.eigvalsh(gamma)))
    size = float(np.max(np.abs(gamma)))
    bad = lowest < -1e-10 * size
    root = None
    if not bad:
        try:
            root = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            bad = True
    if bad:
        raise InputError(
            f"{name} is not positive definite (smallest eigenvalue {lowest:.3g}, largest entry "
            f"{size:.3g}); give a regular covariance, or weight_decay > 0 beside a semidefinite one"
        )
    assert root is not None
    return jnp.asarray(np.broadcast_to(root, (batch, rows, rows)))


def gradient_stacks(gradients: Any, pair: GLPair, leaves: dict[str, Any]) -> tuple[Any, Any]:
    """Return centred per-sample gradients of U and W^T, (batch, samples x outer, hidden).

    Divided by the root of the number of samples, so that Gram matrices are covariances.

    Raises:
        InputError: They do not fit the parameters.
    """
    given = leaves_of(gradients)
    names = [factor.leaf for factor in (*pair.left, *pair.right)]
    counts = set()
    for name in names:
        want = tuple(np.shape(leaves[name]))
        got = tuple(np.shape(given[name])) if name in given else None
        if got is None or got[1:] != want:
            raise InputError(
                f"the per-sample gradient of {name!r} has shape {got}; it must be the parameter's "
                f"{want} behind a leading sample axis"
            )
        shapes.check_array(f"the gradient of {name!r}", given[name], got)
        counts.add(got[0])
    if len(counts) != 1 or min(counts) < 2:
        raise InputError(f"gradients need one number of samples, at least 2, got {sorted(counts)}")
    count = counts.pop()
    centred = {}
    for name in names:
        array = jnp.asarray(given[name], jnp.float64)
        centred[name] = (array - array.mean(0)) / np.sqrt(count - 1)
    left, right = jax.vmap(pair.stacks)(centred)
    return tuple(  # type: ignore[return-value]
        jnp.reshape(jnp.moveaxis(s, 0, 1), (s.shape[1], -1, s.shape[3])) for s in (left, right)
    )
