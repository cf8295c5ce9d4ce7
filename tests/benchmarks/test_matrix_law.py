"""Laws and moments for all sizes, against what SymPy offers for the same question."""

import statistics
import subprocess
import sys
import time

import pytest

import symtheory as st
from symtheory.zoo import load

pytestmark = pytest.mark.benchmark

PATIENCE = 20
BY_SYMPY = """
import sympy
from sympy.stats import E, MultivariateNormal
a, b, c = sympy.symbols("a b c", positive=True)
pair = MultivariateNormal("pair", [0, 0], [[a, b], [b, c]])
print(E(pair[0] ** 2 * pair[1] ** 2))
"""


def median_cpu(function, repetitions=9):
    """Median CPU seconds of a call, after one that fills the caches."""
    function()
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return statistics.median(times)


def matrix_moment():
    """E[x x^T A x x^T] for x ~ N(0, S), symbolic size."""
    return st.expectation(
        lambda z, c: z["x"][:, None] * (z["x"] @ c["A"] @ z["x"]) * z["x"],
        {"x": st.Normal("n", cov="S")},
        {"A": ("n", "n")},
    )


def product_moment():
    """E[X^2 Y^2] with symbolic covariance."""
    return st.expectation(
        lambda z: z["x"][:, None] ** 2 * z["x"] ** 2, {"x": st.Normal("n", cov="S")}
    )


def test_moments():
    """Each under 10 ms; SymPy's own statistics in the same run."""
    ours = {f.__name__: median_cpu(f) for f in (matrix_moment, product_moment)}
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-c", BY_SYMPY], capture_output=True, text=True, timeout=PATIENCE
        )
        answer = done.stdout.strip()[:60]
    except subprocess.TimeoutExpired:
        answer = "no answer"
    waited = time.perf_counter() - start
    shown = ", ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in ours.items())
    print(f"\n{shown}; sympy.stats on the second: {answer} after {waited:.0f} s")
    assert max(ours.values()) < 0.010


def test_matrix_law():
    """From the loss to the matrix law for all sizes, against entry by entry at (3, 3, 3)."""
    example = load("two-layer-linear")
    symmetry = example.symmetries["double-rotation"]
    whole = median_cpu(lambda: st.derive(example.model, symmetry), 5)
    bound = example.model.bind(dy=3, h=3, dx=3)
    start = time.process_time()
    st.derive(bound, symmetry)
    entries = time.process_time() - start
    print(f"\nfor all sizes {whole:.3f} s; entry by entry at (3, 3, 3) {entries:.2f} s")
    assert whole < 1.0
