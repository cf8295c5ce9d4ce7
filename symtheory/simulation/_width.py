"""How many replicas share a block."""

from __future__ import annotations

import math
from typing import Any

import jax

from symtheory.simulation._lanes import KERNEL_ENTRIES, largest_small_product

_WIDEST = 128
WIDEST_ON_ACCELERATOR = 4096


def block_width(
    kernel: Any, params: Any, memory: Any, noise: Any, settings: Any, share: int
) -> int:
    """Return how many replicas share a block: a power of two.

    On a CPU as many as keep every multiplied-out product within one fast kernel and the state in
    cache, or 1 if the products are large; an accelerator wants many.
    """
    if jax.default_backend() != "cpu":
        return 2 ** math.ceil(math.log2(max(1, min(share, WIDEST_ON_ACCELERATOR))))
    product = largest_small_product(kernel.update, (params, memory, noise, settings))
    if not product:
        return 1
    entries = sum(int(leaf.size) for leaf in jax.tree.leaves((params, noise)))
    width = _WIDEST
    while width > 1 and width * max(product, entries // 8) >= KERNEL_ENTRIES:
        width //= 2
    return width
