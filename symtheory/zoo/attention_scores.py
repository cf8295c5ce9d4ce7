"""The score of a query against a key: x^T Q K^T y, fitted to a bilinear teacher."""

from __future__ import annotations

from typing import Any

import numpy as np

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.symmetry import Exponential, SymmetricMatrix
from symtheory.zoo._example import Example


def loss(p: Any, z: Any, c: Any) -> Any:
    """Return (x^T Q K^T y - x^T M y - eps)^2 for two tokens x and y."""
    score = (z["x"] @ p["Q"]) @ (z["y"] @ p["K"])
    return (score - z["x"] @ c["M"] @ z["y"] - z["eps"]) ** 2


EXAMPLE = Example(
    name="attention-scores",
    summary="l = (x^T Q K^T y - s)^2: Q -> Q e^tB, K -> K e^-tB for every symmetric B",
    model=Model(
        loss,
        params={"Q": ("d", "k"), "K": ("d", "k")},
        random={"x": Normal("d"), "y": Normal("d"), "eps": Normal((), cov="Sigma_eps")},
        constants={"M": ("d", "d")},
        name="attention-scores",
    ),
    symmetries={
        "query-key": Exponential(
            lambda p, B: {"Q": p["Q"] @ B, "K": -p["K"] @ B},
            family={"B": SymmetricMatrix("k")},
            name="query-key double rotation",
        ),
    },
    sizes={"d": 2, "k": 2},
    arrays=lambda sizes: {"M": np.eye(sizes["d"]), "Sigma_eps": 1.0},
    learning_rate=0.005,
    steps=20_000,
)
