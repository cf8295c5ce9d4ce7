"""A three-layer linear net: one double rotation between each pair of neighbouring layers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.symmetry import Exponential, SymmetricMatrix
from symtheory.zoo._example import Example


def loss(p: Any, z: Any, c: Any) -> Any:
    """Return |W3 W2 W1 x - y|^2 with y = V x + eps."""
    output = p["W3"] @ (p["W2"] @ (p["W1"] @ z["x"]))
    return jnp.sum((output - c["V"] @ z["x"] - z["eps"]) ** 2)


EXAMPLE = Example(
    name="deep-linear",
    summary="l = |W3 W2 W1 x - y|^2: W2 -> W2 e^tB, W1 -> e^-tB W1, and the same one layer up",
    model=Model(
        loss,
        params={"W1": ("h1", "dx"), "W2": ("h2", "h1"), "W3": ("dy", "h2")},
        random={"x": Normal("dx"), "eps": Normal("dy", cov="Sigma_eps")},
        constants={"V": ("dy", "dx")},
        name="deep-linear",
    ),
    symmetries={
        "layers-1-2": Exponential(
            lambda p, B: {"W1": -B @ p["W1"], "W2": p["W2"] @ B, "W3": 0 * p["W3"]},
            family={"B": SymmetricMatrix("h1")},
            name="double rotation of layers 1 and 2",
        ),
        "layers-2-3": Exponential(
            lambda p, B: {"W1": 0 * p["W1"], "W2": -B @ p["W2"], "W3": p["W3"] @ B},
            family={"B": SymmetricMatrix("h2")},
            name="double rotation of layers 2 and 3",
        ),
    },
    sizes={"dx": 2, "h1": 2, "h2": 2, "dy": 2},
    arrays=lambda sizes: {
        "V": np.eye(sizes["dy"], sizes["dx"]),
        "Sigma_eps": np.eye(sizes["dy"]),
    },
    learning_rate=0.002,
    steps=20_000,
)
