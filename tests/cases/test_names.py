"""Names that can be confused when they are joined: dots, brackets, commas, Unicode."""

import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import ask

RESCALING = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]})


def test_case_dotted_law_name_wrong_moments():
    # Tr[Sigma A] by hand: r = u w - k with k = b e, g = 2 r (w, u); averages over the two rows of
    # b and over e ~ N(3, 1) are taken exactly below.
    def trace(name):
        model = st.Model(
            lambda p, z: (p["u"] * p["w"] - z["a"]["b"] * z[name]) ** 2,
            {"u": (), "w": ()},
            {"a": st.Empirical({"b": np.array([1.0, 2.0])}), name: st.Normal((), mean=3.0)},
        )
        law = ask(st.derive, model, RESCALING)
        return None if law is None else float(law.noise_trace.callable()({"u": 0.7, "w": -1.3}))

    u, w = 0.7, -1.3
    # k = b e has mean 1.5 * 3 and variance E[b^2] E[e^2] - mean^2; Var[2 r] = 4 Var[k].
    variance = 4 * ((1 + 4) / 2 * 10 - 4.5**2)
    right = variance * (w**2 - u**2)
    assert trace("c") == pytest.approx(right)
    got = trace("a.b")
    assert got is None or got == pytest.approx(right)
