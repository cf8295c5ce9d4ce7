"""A two-layer ReLU net: every hidden neuron can be rescaled by itself."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.symmetry import Exponential, Vector
from symtheory.zoo._example import Example


def loss(p: Any, z: Any, c: Any) -> Any:
    """Return (u . relu(W x) - y)^2 with y = v . x + eps."""
    return (p["u"] @ jax.nn.relu(p["W"] @ z["x"]) - c["v"] @ z["x"] - z["eps"]) ** 2


def rescaling(p: Any, a: Any) -> Any:
    """Return the generator that scales neuron j's incoming weights by a_j, its outgoing by -a_j."""
    return {"u": -a * p["u"], "W": jnp.expand_dims(a, 1) * p["W"]}


EXAMPLE = Example(
    name="relu-rescaling",
    summary="l = (u . relu(W x) - y)^2: w_j -> e^t w_j, u_j -> e^-t u_j for every neuron j",
    model=Model(
        loss,
        params={"W": ("h", "dx"), "u": ("h",)},
        random={"x": Normal("dx"), "eps": Normal((), cov="Sigma_eps")},
        constants={"v": ("dx",)},
        name="relu-rescaling",
    ),
    symmetries={
        "neuron-rescaling": Exponential(
            rescaling, family={"a": Vector("h")}, name="per-neuron rescaling"
        ),
    },
    sizes={"h": 2, "dx": 2},
    arrays=lambda sizes: {"v": np.eye(sizes["dx"])[0], "Sigma_eps": 1.0},
    learning_rate=0.005,
    steps=20_000,
)
