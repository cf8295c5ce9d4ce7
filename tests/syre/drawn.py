"""Random exact cases: rational orthogonal matrices, projections, and losses with a reflection."""

import random
from fractions import Fraction

from flint import fmpq, fmpq_mat


def fractions(rng, *shape):
    """Random rationals, as nested lists."""
    if not shape:
        return Fraction(rng.randint(-9, 9), rng.randint(1, 7))
    return [fractions(rng, *shape[1:]) for _ in range(shape[0])]


def matrix(rows):
    flat = [fmpq(x.numerator, x.denominator) for row in rows for x in row]
    return fmpq_mat(len(rows), len(rows[0]), flat)


def column(entries):
    return matrix([[x] for x in entries])


def eye(n):
    return fmpq_mat(n, n, [fmpq(int(i == j)) for i in range(n) for j in range(n)])


def orthogonal(rng, n):
    """A rational orthogonal matrix, by Cayley's transform of an antisymmetric one."""
    skew = [[Fraction(0)] * n for _ in range(n)]
    for i in range(n):
        for j in range(i):
            skew[i][j] = fractions(rng)
            skew[j][i] = -skew[i][j]
    s = matrix(skew)
    return (eye(n) - s) * (eye(n) + s).inv()


def projection(rng, n, rank):
    """A rational orthogonal projection along no axis, and its two orthonormal bases."""
    q = orthogonal(rng, n)
    signs = fmpq_mat(n, n, [fmpq(int(i == j and i < rank)) for i in range(n) for j in range(n)])
    inside = fmpq_mat(n, rank, [q[i, j] for i in range(n) for j in range(rank)])
    outside = fmpq_mat(n, n - rank, [q[i, j] for i in range(n) for j in range(rank, n)])
    return q * signs * q.transpose(), inside, outside


def square(v):
    return (v.transpose() * v)[0, 0]


class Loss:
    """l(theta) = g(theta) + g(R(theta - theta') + theta'), g a random quartic, exactly."""

    def __init__(self, rng, p, center=None, terms=3):
        n = p.nrows()
        self.p, self.r = p, eye(n) - p * fmpq(2)
        self.center = column([Fraction(0)] * n) if center is None else p * center
        self.rows = [column(fractions(rng, n)) for _ in range(terms)]
        self.weights = [fractions(rng, 4) for _ in range(terms)]

    def reflect(self, w):
        return self.r * (w - self.center) + self.center

    def g(self, w):
        total = fmpq(0)
        for a, c in zip(self.rows, self.weights, strict=True):
            s = (a.transpose() * w)[0, 0]
            for k, x in enumerate(c):
                total += fmpq(x.numerator, x.denominator) * s ** (k + 1)
        return total

    def g_slope(self, w):
        total = w * fmpq(0)
        for a, c in zip(self.rows, self.weights, strict=True):
            s = (a.transpose() * w)[0, 0]
            slope = sum(
                (fmpq(x.numerator, x.denominator) * (k + 1) * s**k for k, x in enumerate(c)),
                start=fmpq(0),
            )
            total = total + a * slope
        return total

    def __call__(self, w):
        return self.g(w) + self.g(self.reflect(w))

    def slope(self, w):
        return self.g_slope(w) + self.r * self.g_slope(self.reflect(w))


def case(seed):
    """A random projection with its bases, of random size and rank."""
    rng = random.Random(seed)
    n = rng.randint(2, 5)
    rank = rng.randint(1, n - 1)
    return (rng, n, rank, *projection(rng, n, rank))
