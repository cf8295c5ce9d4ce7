"""R6, R7 and R8 over 10^5 draws of the bias: failure rates with their confidence intervals."""

import math

import numpy as np
import pytest
from scipy import stats

import symtheory as st
from symtheory import syre
from symtheory.syre import FiniteGroup

DRAWS, DELTA, GAMMA, SIGMA = 100_000, 0.1, 0.05, 0.3


def interval(failures):
    """Exact 99 % interval of a failure rate."""
    found = stats.binomtest(int(failures), DRAWS).proportion_ci(0.99)
    return found.low, found.high


def weakest(projections, seed):
    """min_i |P_i grad l_r| = 2 gamma min_i |P_i theta_0| over the draws."""
    bias = np.random.default_rng(seed).normal(size=(DRAWS, projections[0].shape[0])) * SIGMA
    norms = [np.linalg.norm(bias @ p, axis=1) for p in projections]
    return 2 * GAMMA * np.min(norms, axis=0)


def lines(directions):
    return [np.outer(v, v) / (v @ v) for v in np.asarray(directions, float)]


def swaps(units, width):
    """The swaps of all pairs of units: every two that share a unit are correlated."""
    out = []
    for i in range(units):
        for j in range(i):
            v = np.zeros(units)
            v[i], v[j] = 1, -1
            out.append(np.kron(lines([v])[0], np.eye(width)))
    return out


NEARLY_PARALLEL = np.random.default_rng(1).normal(size=(12, 6)) * 0.5 + np.ones(6)
FAMILIES = {
    "uncorrelated, 8 axes": lines(np.eye(8)),
    "uncorrelated, 40 axes": lines(np.eye(40)),
    "correlated, 15 swaps of single weights": swaps(6, 1),
    "correlated, 12 nearly parallel normals": lines(NEARLY_PARALLEL),
    "correlated, 10 swaps of 3 weights": swaps(5, 3),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_r6_failure_rate(name, capsys):
    family = FAMILIES[name]
    bound = syre.strength_bound(GAMMA, SIGMA, DELTA, len(family))
    failures = np.sum(weakest(family, seed=0) < bound)
    low, high = interval(failures)
    with capsys.disabled():
        print(f"\n  R6 {name}: failure rate in [{low:.4f}, {high:.4f}], delta = {DELTA}")
    assert high < DELTA
    # The control: a bound twice as high is not kept by the families of single directions.
    if "uncorrelated" in name:
        assert interval(np.sum(weakest(family, seed=0) < 2 * bound))[0] > DELTA


def sign_group(width):
    """(Z/2)^3 acting by signs: 7 reflections, 3 characters, conjugated so that no axis is kept."""
    q = np.linalg.qr(np.random.default_rng(2).normal(size=(3 * width, 3 * width)))[0]
    pieces = [np.kron(np.diag(np.eye(3)[k]), np.eye(width)) for k in range(3)]
    chosen = [[k for k in range(3) if mask >> k & 1] for mask in range(1, 8)]
    return [q @ sum(pieces[k] for k in subset) @ q.T for subset in chosen]


@pytest.mark.parametrize("width", [1, 2])
def test_r7_failure_rate(width, capsys):
    """All 7 reflections of a group of order 8 at the bound for N = 3."""
    family = sign_group(width)
    bound = syre.strength_bound(GAMMA, SIGMA, DELTA, math.log2(8))
    assert bound > 2 * syre.strength_bound(GAMMA, SIGMA, DELTA, len(family))
    low, high = interval(np.sum(weakest(family, seed=3) < bound))
    with capsys.disabled():
        print(f"\n  R7 width {width}: failure rate in [{low:.4f}, {high:.4f}], delta = {DELTA}")
    assert high < DELTA


CYCLE = [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
SWAP = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
FLIP = [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("name", "generators", "rank"),
    [("Z_4", [CYCLE], 3), ("S_4", [CYCLE, SWAP], 3), ("signed S_4", [CYCLE, SWAP, FLIP], 4)],
)
def test_r8_mean_square_and_failure_rate(name, generators, rank, capsys):
    group = FiniteGroup.generated(generators)
    assert group.rank == rank
    away = np.eye(4) - np.array(group.mean().entries(), dtype=object).astype(float).reshape(4, 4)
    bias = np.random.default_rng(4).normal(size=(DRAWS, 4)) * SIGMA
    squares = 4 * GAMMA**2 * np.sum((bias @ away) ** 2, axis=1)
    expected = syre.expected_square(GAMMA, SIGMA, rank)
    error = squares.std() / math.sqrt(DRAWS)
    low, high = interval(np.sum(np.sqrt(squares) < syre.strength_bound(GAMMA, SIGMA, DELTA, 1)))
    with capsys.disabled():
        print(
            f"\n  R8 {name}: mean square {squares.mean():.6f} +- {error:.6f}, expected "
            f"{expected:.6f}; failure rate in [{low:.5f}, {high:.5f}]"
        )
    assert abs(squares.mean() - expected) < 4 * error
    assert 4 * error < 0.02 * expected
    assert high < DELTA
    assert abs(squares.mean() - syre.expected_square(GAMMA, SIGMA, rank + 1)) > 4 * error


def test_the_draws_of_the_library_fit_the_bound():
    """The bias as `draw_bias` draws it, 10^5 entries: mean 0, spread sigma_0, and normal."""
    bias = np.asarray(syre.draw_bias(0, np.zeros(DRAWS), SIGMA)) / SIGMA
    assert abs(bias.mean()) < 4 / math.sqrt(DRAWS)
    assert stats.kstest(bias, "norm").pvalue > 1e-3


@pytest.mark.parametrize("delta", [0, 1, -0.1, 2])
def test_delta_is_a_probability(delta):
    with pytest.raises(st.InputError, match="it is a probability"):
        syre.strength_bound(0.1, 0.1, delta, 3)


def test_groups_need_orthogonal_matrices():
    with pytest.raises(st.InputError, match="not orthogonal"):
        FiniteGroup.generated([[[0.70710678, 0.70710678], [0.70710678, -0.70710678]]])
    with pytest.raises(st.InputError, match="its own inverse"):
        FiniteGroup.generated([CYCLE]).generating_projections()
