"""The noise trace of the two-layer linear model, against expanding it with SymPy."""

import statistics
import time

import pytest
import sympy

from symtheory.symmetry import read_generator
from symtheory.theory._gradient_noise import read_gradient_noise
from symtheory.zoo import load

pytestmark = pytest.mark.benchmark


def ours(n):
    """Seconds from the loss to Tr[Sigma A] in closed form, and its number of terms."""
    example = load("two-layer-linear")
    model = example.sized(dy=n, h=n, dx=n)
    start = time.perf_counter()
    noise = read_gradient_noise(model)
    generator = read_generator(model, example.symmetries["rescaling"], noise.symbols)
    trace = noise.trace(generator.matrix)
    return time.perf_counter() - start, len(trace.numerator)


def by_sympy(n):
    """The same with SymPy: expand g^T A g, then replace each monomial of the sample by its mean."""
    u = sympy.Matrix(n, n, sympy.symbols(f"U:{n * n}"))
    w = sympy.Matrix(n, n, sympy.symbols(f"W:{n * n}"))
    v = sympy.Matrix(n, n, sympy.symbols(f"V:{n * n}"))
    x = sympy.Matrix(sympy.symbols(f"x:{n}"))
    e = sympy.Matrix(sympy.symbols(f"e:{n}"))
    upper = {
        (k, i, j): sympy.Symbol(f"{k}{min(i, j)}{max(i, j)}")
        for k in "xe"
        for i in range(n)
        for j in range(n)
    }

    def wick(kind, indices):
        if not indices:
            return sympy.Integer(1)
        first, *rest = indices
        return sum(
            upper[kind, first, rest[k]] * wick(kind, rest[:k] + rest[k + 1 :])
            for k in range(len(rest))
        )

    def expect(expression):
        poly = sympy.Poly(sympy.expand(expression), *x, *e)
        total = sympy.Integer(0)
        for powers, coefficient in poly.terms():
            xs = [i for i, p in enumerate(powers[:n]) for _ in range(p)]
            es = [i for i, p in enumerate(powers[n:]) for _ in range(p)]
            if len(xs) % 2 == 0 and len(es) % 2 == 0:
                total += coefficient * wick("x", xs) * wick("e", es)
        return sympy.expand(total)

    start = time.perf_counter()
    residual = (u * w - v) * x - e
    loss = (residual.T * residual)[0]
    gradient = [sympy.diff(loss, s) for s in [*u, *w]]
    signs = [1] * (n * n) + [-1] * (n * n)
    second = expect(sum(s * g**2 for s, g in zip(signs, gradient, strict=True)))
    means = [expect(g) for g in gradient]
    trace = second - sympy.expand(sum(s * m**2 for s, m in zip(signs, means, strict=True)))
    trace = sympy.expand(trace)
    return time.perf_counter() - start, len(trace.args)


def test_noise_trace(capsys):
    ours(2)  # loads what is loaded once
    mine = {n: [ours(n) for _ in range(5)] for n in (2, 3)}
    seconds = {n: statistics.median(s for s, _ in runs) for n, runs in mine.items()}
    peer, peer_terms = by_sympy(2)
    with capsys.disabled():
        print("\nTr[Sigma A] of the two-layer linear model, from the loss to the closed form")
        for n in (2, 3):
            print(f"  ({n},{n},{n})  {seconds[n] * 1e3:8.1f} ms  {mine[n][0][1]:6d} terms")
        print(f"  (2,2,2)  {peer * 1e3:8.1f} ms  {peer_terms:6d} terms  SymPy expand")
        print(f"  ratio at (2,2,2): {peer / seconds[2]:.0f}")
    assert mine[2][0][1] == peer_terms
    assert peer / seconds[2] >= 100
    assert seconds[3] < 0.2
