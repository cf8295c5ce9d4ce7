"""One hidden unit, one input, one output: the smallest model with a rescaling symmetry."""

from __future__ import annotations

from typing import Any

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.symmetry import Exponential
from symtheory.zoo._example import Example


def loss(p: Any, z: Any, c: Any) -> Any:
    """Return (u w x - y)^2 with y = a x + eps."""
    return (p["u"] * p["w"] * z["x"] - c["a"] * z["x"] - z["eps"]) ** 2


EXAMPLE = Example(
    name="scalar-factor",
    summary="l = (u w x - y)^2, y = a x + eps: rescaling u -> e^t u, w -> e^-t w",
    model=Model(
        loss,
        params={"u": (), "w": ()},
        random={"x": Normal((), cov="Sigma_x"), "eps": Normal((), cov="Sigma_eps")},
        constants={"a": ()},
        name="scalar-factor",
    ),
    symmetries={
        "rescaling": Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling"),
    },
    arrays=lambda sizes: {"a": 1.0, "Sigma_x": 1.0, "Sigma_eps": 1.0},
    learning_rate=0.01,
    steps=20_000,
)
