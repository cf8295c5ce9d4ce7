"""R1 to R8 in rational arithmetic, on drawn cases whose projections lie along no axis."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flint import fmpq
from hypothesis import given, settings
from hypothesis import strategies as some

from symtheory import syre
from symtheory.syre import FiniteGroup
from tests.syre.drawn import Loss, case, column, eye, fractions, matrix, orthogonal, square

seeds = some.integers(0, 10**6)
# Derandomized: the controls inside hold for almost all cases, not for every one.
few = settings(max_examples=25, deadline=None, derandomize=True)


@few
@given(seeds)
def test_r1_translation_keeps_the_symmetry(seed):
    """l(. + theta_0) has (theta' - P theta_0, P), and not (theta', P)."""
    rng, n, _, p, _, _ = case(seed)
    center, bias, point = (column(fractions(rng, n)) for _ in range(3))
    loss = Loss(rng, p, center)
    moved = p * center - p * bias
    reflect = lambda theta, c: loss.r * (theta - c) + c
    assert loss(reflect(point, moved) + bias) == loss(point + bias)
    if p * bias != p * bias * fmpq(0):
        assert loss(reflect(point, p * center) + bias) != loss(point + bias)


@few
@given(seeds)
def test_r2_feature_masking(seed):
    """With P theta = 0: P grad f = 0, and the tangent kernel is grad f^T (I - P) grad f'."""
    rng, n, _, p, inside, _ = case(seed)
    f, other = Loss(rng, p), Loss(rng, p)
    theta = (eye(n) - p) * column(fractions(rng, n))
    left, right = f.slope(theta), other.slope(theta)
    assert p * left == p * left * fmpq(0)
    assert left.transpose() * right == left.transpose() * (eye(n) - p) * right
    off = theta + inside * column([Fraction(1)] * inside.ncols())
    assert p * f.slope(off) != p * left * fmpq(0)  # the control


@few
@given(seeds, some.sampled_from(["coupled", "decoupled"]))
def test_r3_dimension_reduction(seed, form):
    """SGD with momentum and either decay stays on the mirror, and d - rank P numbers suffice."""
    rng, n, rank, p, _, outside = case(seed)
    losses = [Loss(rng, p) for _ in range(3)]  # one per step: the samples
    rate, beta, gamma = fmpq(1, 1000), fmpq(9, 10), fmpq(1, 50)
    small = column(fractions(rng, n - rank))
    theta = outside * small
    speed, small_speed = theta * fmpq(0), small * fmpq(0)
    for loss in losses:
        pull, small_pull = theta * (2 * gamma), small * (2 * gamma)
        slope, small_slope = loss.slope(theta), outside.transpose() * loss.slope(outside * small)
        if form == "coupled":
            slope, small_slope = slope + pull, small_slope + small_pull
        speed, small_speed = speed * beta + slope, small_speed * beta + small_slope
        theta, small = theta - speed * rate, small - small_speed * rate
        if form == "decoupled":
            theta, small = theta - pull * rate, small - small_pull * rate
        assert p * theta == theta * fmpq(0)
        assert theta == outside * small
        assert loss(theta) == loss(outside * small)


@pytest.mark.parametrize("kind", ["swap", "oblique"])
def test_r3_under_adam_only_for_maps_that_commute(kind):
    """Adam is elementwise: it respects permutations, and leaves a mirror that lies askew."""
    normal = jnp.array([1.0, -1.0, 0.0]) if kind == "swap" else jnp.array([3.0, 4.0, 0.0])
    normal = normal / jnp.linalg.norm(normal)
    reflect = lambda w: w - 2 * normal * (normal @ w)
    g = lambda w: jnp.sum(jnp.sin(w * jnp.array([1.0, 2.0, 3.0])) ** 2) + w[2] * jnp.sum(w**2)
    loss = lambda w: g(w) + g(reflect(w))
    w = jnp.array([0.7, -0.2, 0.4])
    w = w - normal * (normal @ w)
    optimizer = optax.adam(0.01)
    state = optimizer.init(w)
    for _ in range(50):
        updates, state = optimizer.update(jax.grad(loss)(w), state, w)
        w = w + updates
    assert (abs(float(normal @ w)) < 1e-12) == (kind == "swap")


@few
@given(seeds)
def test_r4_the_key_identity(seed):
    """|(I-2P)x + t|^2 - |x + t|^2 = -4 x.t for Pt = t; l_r keeps it iff P theta_0 = t."""
    rng, n, _, p, _, _ = case(seed)
    theta, bias = column(fractions(rng, n)), column(fractions(rng, n))
    t = p * column(fractions(rng, n))
    r = eye(n) - p * fmpq(2)
    assert square(r * theta + t) - square(theta + t) == (theta.transpose() * t)[0, 0] * (-4)
    loss = Loss(rng, p, t)
    gamma = fmpq(1, 7)
    for place, kept in ((bias, False), (bias - p * bias + t, True)):
        if not kept and p * place == t:
            continue
        changed = lambda w, b=place: loss(w) + gamma * square(w - b)
        witness = t + (t - p * place) + (eye(n) - p) * theta
        change = changed(loss.reflect(witness)) - changed(witness)
        assert change == square(t - p * place) * (-4) * gamma
        assert (change == 0) == kept


@few
@given(seeds)
def test_r5_the_identity_with_a_diagonal(seed):
    """|s - u - b|_D^2 - |s + u - b|_D^2 = -4 u^T D (s - b): zero for all iff [P, D] = 0 = P b."""
    rng, n, _, p, _, _ = case(seed)
    d = matrix(
        [[Fraction(3 + i, 7) if i == j else Fraction(0) for j in range(n)] for i in range(n)]
    )
    bias = column(fractions(rng, n))
    u, s = p * column(fractions(rng, n)), (eye(n) - p) * column(fractions(rng, n))
    norm = lambda v: (v.transpose() * d * v)[0, 0]
    gap = norm(s - u - bias) - norm(s + u - bias)
    assert gap == (u.transpose() * d * (s - bias))[0, 0] * (-4)
    axes = [column([Fraction(int(i == k)) for i in range(n)]) for k in range(n)]
    commutes = p * d == d * p
    # Distinct entries commute with projections onto axes only.
    assert commutes == all(p[i, j] in (0, 1) for i in range(n) for j in range(n))

    def kept(b):
        return all(
            ((p * e).transpose() * d * ((eye(n) - p) * f * scale - b))[0, 0] == 0
            for e in axes
            for f in axes
            for scale in (fmpq(0), fmpq(1))
        )

    assert kept(bias - p * bias) == commutes
    assert kept(bias) == (commutes and p * bias == bias * fmpq(0))


@few
@given(seeds)
def test_r6_the_gradient_at_symmetric_states(seed):
    """P grad l_r = 2 gamma (theta' - P theta_0), at every symmetric state."""
    rng, n, _, p, inside, _ = case(seed)
    center, bias = column(fractions(rng, n)), column(fractions(rng, n))
    loss, gamma = Loss(rng, p, center), fmpq(2, 11)
    slope = lambda w: loss.slope(w) + (w - bias) * (2 * gamma)
    for _ in range(3):
        state = p * center + (eye(n) - p) * column(fractions(rng, n))
        assert p * slope(state) == (p * center - p * bias) * (2 * gamma)
    off = state + inside * column([Fraction(1)] * inside.ncols())
    assert p * slope(off) != (p * center - p * bias) * (2 * gamma)  # the control


def conjugated(rng, n, matrices):
    q = orthogonal(rng, n)
    return [q * m * q.transpose() for m in matrices]


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seeds, some.integers(1, 3))
def test_r7_few_projections_stand_for_an_abelian_group(seed, generators):
    """Every element but 1 moves the whole range of one of log2 |U| projections."""
    rng, n, *_ = case(seed)
    signs = [
        matrix(
            [[Fraction(rng.choice((-1, 1)) if i == j else 0) for j in range(n)] for i in range(n)]
        )
        for _ in range(generators)
    ]
    group = FiniteGroup.generated(conjugated(rng, n, signs))
    chosen = group.generating_projections()
    assert group.is_abelian and len(chosen) <= group.log2_order
    for p in group.reflections():
        assert any(p * e == e for e in chosen)
    for a, b in itertools.combinations(chosen, 2):
        assert a * b == a * fmpq(0)


CYCLE = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
SWAP = [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
TURN = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("generators", "order", "rank"),
    [([CYCLE], 3, 2), ([CYCLE, SWAP], 6, 2), ([TURN], 4, 2), ([TURN, CYCLE], 24, 3)],
)
@pytest.mark.parametrize("seed", range(3))
def test_r8_the_gradient_at_fixed_points(generators, order, rank, seed):
    """(I - V) grad l_r = -2 gamma (I - V) theta_0 where every g fixes theta; rank by the trace."""
    rng, *_ = case(seed)
    exact = [matrix([[Fraction(x) for x in row] for row in m]) for m in generators]
    group = FiniteGroup.generated(conjugated(rng, 3, exact))
    assert (group.order, group.rank) == (order, rank)
    mean = group.mean()
    assert mean * mean == mean and mean == mean.transpose()
    g = Loss(rng, eye(3) * fmpq(0))
    # l = sum over the group of g(h w), which is invariant.
    slope = lambda w: sum(
        (h.transpose() * g.g_slope(h * w) for h in group.elements[1:]), start=g.g_slope(w)
    )
    bias, gamma = column(fractions(rng, 3)), fmpq(3, 5)
    fixed = mean * column(fractions(rng, 3))
    away = eye(3) - mean
    assert away * (slope(fixed) + (fixed - bias) * (2 * gamma)) == away * bias * (-2 * gamma)
    point = column(fractions(rng, 3))
    assert away * slope(point) != point * fmpq(0)  # the control


def test_ridge():
    """w* = (X^T X + gamma I)^-1 (X^T y + gamma theta_0)."""
    rng = np.random.default_rng(0)
    x, y, center, gamma = rng.normal(size=(9, 4)), rng.normal(size=9), rng.normal(size=4), 0.7
    changed = syre.reparametrize(lambda w: jnp.sum((x @ w - y) ** 2), center, gamma)
    best = np.linalg.solve(x.T @ x + gamma * np.eye(4), x.T @ y + gamma * center)
    assert np.max(np.abs(jax.grad(changed)(best - center))) < 1e-12
