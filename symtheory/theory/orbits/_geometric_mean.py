"""The matrix geometric mean of two noise forms, in factored form: X N1 X = N2.

With N1 = A^T A and N2 = C^T C (rows of A and C any number, columns the hidden space), let
A C^T = L s R^T be a singular value decomposition. Then K_A = A^T L s^(-1/2) and
K_C = C^T R s^(-1/2) satisfy K_A^T K_C = 1 and X K_A = K_C, so that X = K_C K_C^T where A and C
have full rank, and g = X^(1/2) gives A g = L s^(1/2) O^T, C g^(-T) = R s^(1/2) O^T: balanced.
O is the orthogonal factor of K_A + K_C = (g + g^-1) O, whose singular values are at least 2
however ill-conditioned A and C are. Nothing is inverted.

Where A C^T has rank r below the width, the hidden space splits into the joint range (the image of
K_C K_A^T) and the null block, which carries no noise in at least one factor. X is then fixed on the
joint range only; on the null block g is an isometry T, so that what is there stays.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Balance:
    """The balancing map of one hidden space of width h.

    Attributes:
        left: A g on the joint range, L s^(1/2) O^T in the basis of A's rows.
        right: C g^(-T) on the joint range.
        forward: g on the joint range (K_C O^T) of the hidden space, (h, h).
        inverse: g^(-T) on the joint range (K_A O^T).
        idle: The isometry T on the null block.
        idle_inverse: The inverse transpose of g there, (1 - K_A K_C^T) T.
        rank: Dimension of the joint range.
    """

    left: Any
    right: Any
    forward: Any
    inverse: Any
    idle: Any
    idle_inverse: Any
    rank: Any


def balance(a: Any, c: Any) -> Balance:
    """Return the map g with (A g)^T (A g) = (C g^-T)^T (C g^-T), A (n, h) and C (m, h).

    Singular values of A C^T below 8 h eps of the largest count as zero. Safe under jit and vmap.
    """
    width = a.shape[1]
    units = _unit_scales(a, c)
    (qa, ra), (qc, rc) = jnp.linalg.qr(a * units), jnp.linalg.qr(c / units)
    left, s, right = jnp.linalg.svd(ra @ rc.T, full_matrices=False)
    right = right.T
    kept = s > 8 * width * jnp.finfo(s.dtype).eps * s[0]
    root = jnp.where(kept, jnp.sqrt(jnp.where(kept, s, 1.0)), 0.0)
    inverse_root = jnp.where(kept, 1 / jnp.where(kept, root, 1.0), 0.0)
    ka = (ra.T @ left) * inverse_root / units[:, None]
    kc = (rc.T @ right) * inverse_root * units[:, None]
    p, t, q = jnp.linalg.svd(ka + kc, full_matrices=False)
    o = (p * (t > 1.0)) @ q
    rank = jnp.sum(kept)
    idle = jax.lax.cond(
        rank == width, lambda: jnp.zeros((width, width), ka.dtype), lambda: _isometry(ka, o, rank)
    )
    return Balance(
        left=qa @ (left * root) @ o.T,
        right=qc @ (right * root) @ o.T,
        forward=kc @ o.T,
        inverse=ka @ o.T,
        idle=idle,
        idle_inverse=idle - ka @ (kc.T @ idle),
        rank=rank,
    )


def _unit_scales(a: Any, c: Any) -> Any:
    """Return powers of two that even out the units: exact, and no digits are lost in QR."""
    below, above = (jnp.linalg.norm(x, axis=0) for x in (a, c))
    alive = (below > 0) & (above > 0)
    ratio = jnp.where(alive, above, 1.0) / jnp.where(alive, below, 1.0)
    return jnp.exp2(jnp.round(jnp.log2(ratio) / 2))


def _isometry(ka: Any, o: Any, rank: Any) -> Any:
    """Return the isometry closest to the identity from the complement of im O to that of im K_A."""
    width = ka.shape[0]
    order = jnp.arange(min(ka.shape))
    p, _, _ = jnp.linalg.svd(ka / jnp.maximum(jnp.max(jnp.abs(ka)), 1e-300), full_matrices=False)
    p = p * (order < rank)
    identity = jnp.eye(width)
    u, _, v = jnp.linalg.svd((identity - p @ p.T) @ (identity - o @ o.T))
    return (u * (jnp.arange(width) < width - rank)) @ v


def gram_root(gram: Any) -> Any:
    """Return a root R with R^T R = N of a positive semidefinite matrix."""
    values, vectors = jnp.linalg.eigh((gram + gram.T) / 2)
    return jnp.sqrt(jnp.maximum(values, 0.0))[:, None] * vectors.T


def geometric_mean(n1: Any, n2: Any) -> Any:
    """Return the positive definite X with X N1 X = N2, the geometric mean of N1^-1 and N2.

    Args:
        n1: Positive definite matrix (h, h).
        n2: Positive definite matrix (h, h).

    Source: R. Bhatia, Positive Definite Matrices (2007), chapter 4.

    >>> import jax.numpy as jnp
    >>> round(float(geometric_mean(4.0 * jnp.eye(1), jnp.eye(1))[0, 0]), 6)
    0.5
    """
    g = balance(gram_root(jnp.asarray(n1)), gram_root(jnp.asarray(n2))).forward
    return g @ g.T
