"""A normalized layer: the loss depends on the direction of w only."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from symtheory.data import Normal, Rademacher
from symtheory.model import Model
from symtheory.symmetry import Exponential
from symtheory.zoo._example import Example


def loss(p: Any, z: Any) -> Any:
    """Return -y x.w/|w|, a linear loss with labels y = +-1 that carry no signal."""
    return -z["y"] * (z["x"] @ p["w"]) / jnp.sqrt(jnp.sum(p["w"] ** 2))


EXAMPLE = Example(
    name="scale-invariant",
    summary="l = -y x.w/|w|: w -> e^t w; without weight decay |w| grows as t^(1/4)",
    model=Model(
        loss,
        params={"w": ("d",)},
        random={"x": Normal("d"), "y": Rademacher(())},
        name="scale-invariant",
    ),
    symmetries={"scale": Exponential(lambda p: {"w": p["w"]}, name="scale")},
    sizes={"d": 4},
    learning_rate=0.1,
    weight_decay=0.02,
    steps=5_000,
)
