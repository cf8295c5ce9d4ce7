"""The digits of scikit-learn: 1797 pictures of 8 x 8 pixels, scaled, split, and permuted."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

PIXELS, CLASSES = 64, 10


class Digits(NamedTuple):
    """Pictures (samples, 64) with pixels in [0, 1], and their digits."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


@functools.cache
def digits() -> Digits:
    """Return the pictures; every fourth of each digit is for testing."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = np.asarray(images, dtype=np.float32) / 16
    labels = np.asarray(labels, dtype=np.int32)
    place = np.zeros(len(labels), dtype=int)
    for digit in range(CLASSES):
        place[labels == digit] = np.arange(np.sum(labels == digit))
    test = place % 4 == 3
    return Digits(images[~test], labels[~test], images[test], labels[test])


def permuted(rng: np.random.Generator) -> Digits:
    """Return the pictures with their pixels permuted, the same way in all of them."""
    order = rng.permutation(PIXELS)
    plain = digits()
    return plain._replace(train_x=plain.train_x[:, order], test_x=plain.test_x[:, order])
