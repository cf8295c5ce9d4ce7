"""Matrix factorization: the two-layer linear net with a linear teacher and label noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.symmetry import Exponential, SymmetricMatrix
from symtheory.zoo._example import Example


def loss(p: Any, z: Any, c: Any) -> Any:
    """Return |U W x - y|^2 with y = V x + eps."""
    return jnp.sum((p["U"] @ p["W"] @ z["x"] - c["V"] @ z["x"] - z["eps"]) ** 2)


def double_rotation(p: Any, B: Any) -> Any:
    """Return the generator of U -> U exp(t B), W -> exp(-t B) W."""
    return {"U": p["U"] @ B, "W": -B @ p["W"]}


def arrays(sizes: Mapping[str, int]) -> dict[str, Any]:
    """Isotropic label noise, for which the matrix equilibrium is exact; anisotropic inputs."""
    dy, dx = sizes["dy"], sizes["dx"]
    return {
        "Sigma_x": np.diag(np.linspace(1.0, 2.0, dx)) if dx > 1 else np.eye(1),
        "Sigma_eps": np.eye(dy),
        "V": np.eye(dy, dx) + 0.3 * np.eye(dy, dx, k=1) - 0.2 * np.eye(dy, dx, k=-1),
    }


EXAMPLE = Example(
    name="two-layer-linear",
    summary="l = |U W x - y|^2, y = V x + eps: U -> U e^tB, W -> e^-tB W for every symmetric B",
    model=Model(
        loss,
        params={"U": ("dy", "h"), "W": ("h", "dx")},
        random={"x": Normal("dx", cov="Sigma_x"), "eps": Normal("dy", cov="Sigma_eps")},
        constants={"V": ("dy", "dx")},
        name="two-layer-linear",
    ),
    symmetries={
        "double-rotation": Exponential(
            double_rotation, family={"B": SymmetricMatrix("h")}, name="double rotation"
        ),
        "rescaling": Exponential(lambda p: {"U": p["U"], "W": -p["W"]}, name="rescaling"),
    },
    sizes={"dy": 2, "h": 2, "dx": 2},
    arrays=arrays,
    learning_rate=0.005,
    steps=40_000,
)
