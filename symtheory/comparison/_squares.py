"""The size of a mean without the bias of noise: products of independent replicas."""

from __future__ import annotations

from typing import Any

import numpy as np

from symtheory.comparison._estimates import Estimate
from symtheory.errors import InputError


def square_of_mean(values: Any, windows: int = 1) -> Estimate:
    """Return |E X|^2 as an estimate, from X averaged over windows of time.

    The mean of <X_r, X_s> over pairs of different replicas has no bias, whatever the noise, because
    replicas are independent; the mean of |X_r|^2 would add its variance, and eigenvalues of X_r are
    biased alike. A quantity that turns slowly, the same way in all replicas, is averaged over
    windows short beside a turn, and the squares over windows.

    Args:
        values: Array of shape (R, records, ...), R >= 3.
        windows: Number of windows that the records are cut into, from the end.

    Returns:
        The estimate, with the standard error of the first-order (Hoeffding) part over replicas; for
        a mean that is zero up to noise it is an overestimate by at most sqrt(2).

    Raises:
        InputError: There are fewer than three replicas, or fewer records than windows.

    >>> rng = np.random.default_rng(0)
    >>> found = square_of_mean(0.1 + rng.normal(size=(400, 50)), windows=1)
    >>> abs(found.mean - 0.01) < 4 * found.standard_error
    True
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < 2 or len(array) < 3:
        raise InputError(f"records have shape (R >= 3, records, ...), got {array.shape}")
    length = array.shape[1] // windows if windows >= 1 else 0
    if length < 1:
        raise InputError(f"{array.shape[1]} records cannot be cut into {windows} windows")
    if not np.all(np.isfinite(array)):
        raise InputError("a value is not finite; a mean over it would hide that")
    replicas = len(array)
    cut = array[:, -length * windows :].reshape(replicas, windows, length, -1).mean(axis=2)
    total = cut.sum(axis=0)
    own = np.sum(cut**2, axis=2)
    # h_r is the mean over windows of <X_r, mean of the others>; the U-statistic is its mean.
    each = ((np.einsum("rwk,wk->rw", cut, total) - own) / (replicas - 1)).mean(axis=1)
    error = 2 * each.std(ddof=1) / np.sqrt(replicas)
    return Estimate(float(each.mean()), float(error), replicas)
