"""Translations theta -> theta + lambda b that a loss does not see: linear conserved quantities."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.errors import UnreadableError
from symtheory.symmetry._symmetry import Affine
from symtheory.symmetry._verify import verify
from symtheory.symmetry.conservation._charges import float_candidates, modular_candidates
from symtheory.symmetry.conservation._enclosed import float_gradients
from symtheory.symmetry.conservation._fields import Fields
from symtheory.verdict import Status

_LARGEST = 200


def proved_translations(fields: Fields) -> list[np.ndarray]:
    """Return integer vectors b with grad l(theta; z) . b = 0, each one proved by `verify`."""
    if fields.size > _LARGEST:
        return []
    count = fields.size + 8
    if fields.readable:
        candidates = modular_candidates(fields.gradients(count)[1])
    else:
        _, rows = float_gradients(fields.model, count, fields.seed)
        candidates = float_candidates(rows)
    found = [np.array(b, dtype=np.int64) for b in candidates if b is not None and any(b)]
    return [b for b in found if _is_proved(fields, b)]


def _is_proved(fields: Fields, vector: np.ndarray) -> bool:
    remaining = fields.deadline.remaining()
    try:
        verdict = verify(
            fields.model,
            Affine(lambda params: _shift(params, vector), name="translation"),
            seconds=None if math.isinf(remaining) else max(remaining, 0.1),
        )
    except UnreadableError:
        return False
    return verdict.status is Status.PROVED


def _shift(params: Any, vector: np.ndarray) -> Any:
    """Return the constant tangent b, shaped like the parameters."""
    leaves, tree = jax.tree.flatten(params)
    cuts = np.cumsum([math.prod(x.shape) for x in leaves])[:-1]
    parts = np.split(vector.astype(float), cuts)
    shifts = [
        0 * leaf + jnp.asarray(part.reshape(leaf.shape), leaf.dtype)
        for leaf, part in zip(leaves, parts, strict=True)
    ]
    return jax.tree.unflatten(tree, shifts)
