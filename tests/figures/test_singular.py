"""Singular values that were kept are counted against the largest, or against a given scale."""

import numpy as np

from figures._singular import above

VALUES = np.array([[1.0, 0.05, 0.005], [1e-3, 1e-3, 1e-3], [1e-9, 1e-9, 0.0]])


def test_counts_relative_to_the_largest():
    assert above(VALUES).tolist() == [[3, 2, 1], [3, 3, 3], [0, 0, 0]]


def test_counts_relative_to_a_scale():
    assert above(VALUES, np.array([1.0, 1.0, 1.0])).tolist() == [[3, 2, 1], [0, 0, 0], [0, 0, 0]]
