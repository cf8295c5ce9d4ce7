"""A sentence about all sizes, where a function asks for its size."""

import pytest

import symtheory as st
from tests.cases.oracles import ask, is_proved, verify


@pytest.mark.parametrize(
    "residual, arrays",
    [
        (lambda a: a["x"] - a["x"] if a["x"].shape[0] != 3 else a["x"], {"x": "n"}),
        (
            lambda a: a["A"].sum() if a["A"].shape[:2] == (1, 2) else 0 * a["A"].sum(),
            {"A": ("n", "m")},
        ),
    ],
    ids=["n_is_3", "n_is_1_and_m_is_2"],
)
def test_case_identity_asks_size(residual, arrays):
    assert not is_proved(ask(st.identity, "0", residual, arrays))


def test_case_derive_asks_size():
    def loss(p, z):
        more = (p["W"] ** 2).sum() if p["W"].shape[0] == 5 else 0.0
        return ((p["u"] @ (p["W"] @ z["x"])) ** 2).sum() + more

    model = st.Model(loss, {"u": "h", "W": ("h", "d")}, {"x": st.Normal("d")})
    rescaling = st.Exponential(lambda p: {"u": p["u"], "W": -p["W"]})
    assert verify(model.bind(h=5, d=2), rescaling).status is st.Status.REFUTED
    assert not is_proved(ask(st.derive, model, rescaling))
