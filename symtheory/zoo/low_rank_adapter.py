"""A frozen layer W0 with a trained low-rank correction B A."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.symmetry import Exponential, SymmetricMatrix
from symtheory.zoo._example import Example


def loss(p: Any, z: Any, c: Any) -> Any:
    """Return |(W0 + B A) x - V x - eps|^2."""
    output = c["W0"] @ z["x"] + p["B"] @ (p["A"] @ z["x"])
    return jnp.sum((output - c["V"] @ z["x"] - z["eps"]) ** 2)


EXAMPLE = Example(
    name="low-rank-adapter",
    summary="l = |(W0 + B A) x - y|^2, W0 frozen: B -> B e^tG, A -> e^-tG A for every symmetric G",
    model=Model(
        loss,
        params={"B": ("dy", "r"), "A": ("r", "dx")},
        random={"x": Normal("dx"), "eps": Normal("dy", cov="Sigma_eps")},
        constants={"W0": ("dy", "dx"), "V": ("dy", "dx")},
        name="low-rank-adapter",
    ),
    symmetries={
        "adapter": Exponential(
            lambda p, G: {"B": p["B"] @ G, "A": -G @ p["A"]},
            family={"G": SymmetricMatrix("r")},
            name="adapter double rotation",
        ),
    },
    sizes={"dy": 2, "r": 1, "dx": 2},
    arrays=lambda sizes: {
        "W0": np.zeros((sizes["dy"], sizes["dx"])),
        "V": np.eye(sizes["dy"], sizes["dx"]) * np.array([1.0] + [0.2] * (sizes["dx"] - 1)),
        "Sigma_eps": np.eye(sizes["dy"]),
    },
    learning_rate=0.005,
    steps=20_000,
)
