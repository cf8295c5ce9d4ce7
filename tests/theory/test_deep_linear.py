"""Deep linear nets: the closed form against its equations, exactly and in floats."""

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from symtheory.errors import InputError
from symtheory.theory import (
    balance_residuals,
    deep_linear_equilibrium,
    deep_linear_proof,
    slow_flow,
)
from symtheory.theory.deep import _proof
from symtheory.theory.deep._balance import assemble, balance, balance_sides
from symtheory.zoo import load


def covariance(rng, n, least=0.05):
    a = rng.normal(size=(n, n))
    return a @ a.T / n + least * np.eye(n)


def product_of(layers):
    out = layers[0]
    for w in layers[1:]:
        out = w @ out
    return out


@settings(deadline=None, max_examples=40)
@given(
    depth=some.integers(2, 6),
    dx=some.integers(1, 6),
    dy=some.integers(1, 6),
    missing=some.integers(0, 3),
    extra=some.integers(0, 2),
    seed=some.integers(0, 2**30),
)
def test_balance_and_product(depth, dx, dy, missing, extra, seed):
    rng = np.random.default_rng(seed)
    rank = max(1, min(dx, dy) - missing)
    teacher = rng.normal(size=(dy, rank)) @ rng.normal(size=(rank, dx))
    sx, se = covariance(rng, dx), covariance(rng, dy)
    widths = [rank + extra + k % 2 for k in range(depth - 1)]
    net = deep_linear_equilibrium(teacher, sx, se, depth, widths=widths)
    assert net.rank == rank
    assert [w.shape[0] for w in net.layers] == [*widths, dy]
    assert max(balance_residuals(net.layers, sx, se)) < 1e-12
    assert np.linalg.norm(product_of(net.layers) - teacher) < 1e-12 * np.linalg.norm(teacher)
    assert net.verdict.status == "supported"
    # Control: rescaling one layer against the next keeps the product and breaks the balance.
    wrong = [net.layers[0] * 1.01, net.layers[1] / 1.01, *net.layers[2:]]
    assert max(balance_residuals(wrong, sx, se)) > 1e-3


# --- exact instances ------------------------------------------------------------------------------


def exact(matrix):
    return np.vectorize(Fraction, otypes=[object])(matrix)


def rational(rng):
    return Fraction(rng.randrange(1, 9), rng.randrange(1, 6))


def inverse(matrix):
    """The exact inverse, by Gauss and Jordan."""
    n = len(matrix)
    work = np.concatenate([matrix, exact(np.eye(n, dtype=int))], axis=1)
    for k in range(n):
        pivot = next(r for r in range(k, n) if work[r, k] != 0)
        work[[k, pivot]] = work[[pivot, k]]
        work[k] = work[k] / work[k, k]
        for r in range(n):
            if r != k:
                work[r] = work[r] - work[k] * work[r, k]
    return work[:, n:]


def orthogonal(rng, n):
    """A rational orthogonal matrix, by Cayley's transform of an antisymmetric one."""
    a = exact(np.zeros((n, n), dtype=int))
    for i in range(n):
        for j in range(i):
            a[i, j] = rational(rng)
            a[j, i] = -a[i, j]
    one = exact(np.eye(n, dtype=int))
    return (one - a) @ inverse(one + a)


def spread(rng, values, n, factor):
    """n positive rationals with the sum of squares of `values`, times factor^2."""
    padded = exact(np.zeros(n, dtype=int))
    padded[: len(values)] = values
    while True:
        turned = orthogonal(rng, n) @ padded if n > 1 else padded
        if all(x != 0 for x in turned):
            return [abs(x) * factor for x in turned]


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6])
@pytest.mark.parametrize(("dy", "dx", "rank", "width"), [(2, 2, 2, 2), (2, 3, 2, 3), (3, 2, 1, 2)])
def test_residual_is_exactly_zero_where_roots_are_rational(depth, dy, dx, rank, width):
    """Sx = A^2, Se = B^2, S = diag(r^2), with Tr Sx = p^2 t, Tr Se = q^2 t and p q = m^D."""
    rng = random.Random(depth * 100 + dy * 10 + dx)
    roots = [rational(rng) for _ in range(rank)]  # S^(1/2); t is the sum of their squares
    p, m = rational(rng), rational(rng)
    q = m**depth / p
    turn_x, turn_y = orthogonal(rng, dx), orthogonal(rng, dy)
    root_x = turn_x @ np.diag(exact(spread(rng, roots, dx, p))) @ turn_x.T
    root_y = turn_y @ np.diag(exact(spread(rng, roots, dy, q))) @ turn_y.T
    sx, se = root_x @ root_x, root_y @ root_y
    t = sum(r * r for r in roots)
    assert np.trace(sx) == p * p * t and np.trace(se) == q * q * t
    left, right = orthogonal(rng, dy)[:, :rank], orthogonal(rng, dx)[:rank]
    middle = np.diag(exact(roots)) if rank > 1 else exact([[roots[0]]])
    teacher = inverse(root_y) @ left @ middle @ middle @ right @ inverse(root_x)
    frames = [orthogonal(rng, width)[:, :rank] for _ in range(depth - 1)]
    scales = (p, q, 1 / m)
    ends = (inverse(root_y) @ left, right @ inverse(root_x))
    layers = assemble(ends[0], middle, ends[1], scales, frames)
    assert np.all(product_of(layers) == teacher)
    for lower, upper in balance_sides(layers, sx, se):
        assert np.all(lower == upper) and np.any(lower != 0)
    # Control: another c fails, exactly.
    wrong = assemble(ends[0], middle, ends[1], (p, q * 2, 1 / m), frames)
    assert any(np.any(x != y) for x, y in balance_sides(wrong, sx, se))
    # The function finds the same net, up to rotations of the hidden bases.
    numbers = [np.array(x, dtype=float) for x in (teacher, sx, se)]
    net = deep_linear_equilibrium(*numbers, depth, widths=[width] * (depth - 1))
    for ours, w in zip(partial_grams(net.layers), partial_grams(layers), strict=True):
        np.testing.assert_allclose(ours, np.array(w, dtype=float), rtol=1e-9, atol=1e-11)


def partial_grams(layers):
    """Q_i^T Q_i: all that hidden rotations leave of a net with a given product."""
    out, q = [], layers[0]
    for w in layers[1:]:
        out.append(q.T @ q)
        q = w @ q
    return out


# --- the proof, uniqueness, decay -----------------------------------------------------------------


def test_the_proof_covers_all_sizes(monkeypatch):
    proof = deep_linear_proof()
    assert proof.status == "proved"
    assert all(step.residual == 0 for part in proof.parts for step in part.parts)
    assert any("cited" in text for part in proof.parts for text in part.assumptions)
    # Control: with c^2 in the place of c the same computation refutes balance and product.
    scales = _proof._scales

    def wrong(depth, one):
        alpha, beta, c = scales(depth, one)
        return alpha, beta, lambda power: c(2 * power)

    monkeypatch.setattr(_proof, "_scales", wrong)
    assert deep_linear_proof().status == "refuted"


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_another_solver_from_random_points_finds_the_same_net(depth):
    """Sweeps of matrix geometric means know nothing of the closed form."""
    rng = np.random.default_rng(depth)
    sx, se = covariance(rng, 3, 0.3), covariance(rng, 3, 0.3)
    teacher = rng.normal(size=(3, 3))
    net = deep_linear_equilibrium(teacher, sx, se, depth)
    for _ in range(3):
        start = [rng.normal(size=(3, 3)) + 2 * np.eye(3) for _ in range(depth - 1)]
        start.append(teacher @ np.linalg.inv(product_of(start)))
        found = balance(start, sx, se)
        assert max(balance_residuals(found, sx, se)) < 1e-12
        assert np.linalg.norm(product_of(found) - teacher) < 1e-9
        for ours, theirs in zip(partial_grams(net.layers), partial_grams(found), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-7)


@settings(deadline=None, max_examples=15)
@given(depth=some.integers(2, 5), decay=some.floats(0.01, 10), seed=some.integers(0, 2**30))
def test_weight_decay(depth, decay, seed):
    rng = np.random.default_rng(seed)
    teacher = rng.normal(size=(3, 2)) @ rng.normal(size=(2, 3))
    sx, se = covariance(rng, 3, 0.2), covariance(rng, 3, 0.2)
    net = deep_linear_equilibrium(
        teacher, sx, se, depth, weight_decay=decay, temperature=0.5, widths=[3] * (depth - 1)
    )
    settings_ = {"weight_decay": decay, "temperature": 0.5}
    assert max(balance_residuals(net.layers, sx, se, **settings_)) < 1e-12
    assert net.product_error < 1e-11
    assert max(balance_residuals(net.layers, sx, se)) > 1e-9  # the control: decay matters


def test_strong_decay_balances_norms():
    rng = np.random.default_rng(0)
    sx, se, teacher = covariance(rng, 3), covariance(rng, 3), rng.normal(size=(3, 3))
    net = deep_linear_equilibrium(teacher, sx, se, 3, weight_decay=1e9)
    for w, after in zip(net.layers, net.layers[1:], strict=False):
        np.testing.assert_allclose(w @ w.T, after.T @ after, rtol=1e-5, atol=1e-7)


def test_the_charges_of_the_loss_stand_still_there():
    """The balance is what the loss itself says: Tr[Sigma A] = 0 for both families of charges."""
    example = load("deep-linear")
    rng = np.random.default_rng(3)
    noise, teacher = covariance(rng, 2), rng.normal(size=(2, 2))
    model = example.sized().bind(Sigma_eps=noise, V=teacher)
    net = deep_linear_equilibrium(teacher, np.eye(2), noise, 3)
    params = dict(zip(("W1", "W2", "W3"), net.layers, strict=True))
    symmetries = list(example.symmetries.values())
    drifts = slow_flow(model, params, symmetries).relative_drifts
    assert max(np.max(np.abs(drift)) for drift in drifts.values()) < 1e-12
    scaled = {"W1": 2 * params["W1"], "W2": params["W2"], "W3": params["W3"] / 2}
    drifts = slow_flow(model, scaled, symmetries).relative_drifts
    assert all(np.max(np.abs(drift)) > 1e-2 for drift in drifts.values())  # the control


# --- bad input ------------------------------------------------------------------------------------

GOOD = {"V": np.eye(2), "cov_x": np.eye(2), "cov_eps": np.eye(2), "depth": 3}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"V": np.ones(3)}, "finite matrix of shape"),
        ({"V": np.full((2, 2), np.nan)}, "finite matrix"),
        ({"V": np.zeros((2, 2))}, "V is zero"),
        ({"cov_x": np.eye(3)}, r"cov_x must have shape \(2, 2\)"),
        ({"cov_x": np.diag([1.0, 0.0])}, "cov_x is not positive definite.*eigenvalue is 0"),
        ({"cov_eps": np.diag([1.0, -2.0])}, "cov_eps is not positive definite.*-2"),
        ({"cov_eps": np.array([[1.0, 0.5], [0.0, 1.0]])}, "cov_eps is not symmetric"),
        ({"cov_eps": np.full((2, 2), np.inf)}, "not finite"),
        ({"depth": 1}, "depth must be an integer, at least 2, got 1"),
        ({"depth": 2.5}, "depth must be an integer"),
        ({"depth": True}, "depth must be an integer"),
        ({"widths": [2]}, "has 2 hidden widths, got 1"),
        ({"widths": [2, 1]}, "at least rank V = 2, got 1"),
        ({"weight_decay": -1.0}, "weight_decay must be"),
        ({"temperature": 0.0}, "temperature must be"),
    ],
)
def test_bad_input(change, text):
    with pytest.raises(InputError, match=text):
        deep_linear_equilibrium(**(GOOD | change))


def test_numbers_stand_for_isotropic_covariances():
    one = deep_linear_equilibrium(np.eye(2), 2.0, 3.0, 2)
    two = deep_linear_equilibrium(np.eye(2), 2 * np.eye(2), 3 * np.eye(2), 2)
    np.testing.assert_array_equal(one.layers[0], two.layers[0])
