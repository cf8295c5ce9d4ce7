"""Small networks, each with what the scale of its parameters does, derived by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st

EPS = 1e-5


@dataclasses.dataclass(frozen=True)
class Network:
    """A model, and the kind of each parameter that is not neither: 0 (invariant) or its degree."""

    model: st.Model
    degrees: dict[str, int]
    approximate: frozenset[str] = frozenset()


def squared(a: Any, b: Any) -> Any:
    return jnp.sum((a - b) ** 2)


def layer_norm(x: Any, eps: float = 0.0) -> Any:
    x = x - jnp.mean(x, -1, keepdims=True)
    return x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + eps)


def rms_norm(x: Any, eps: float = EPS) -> Any:
    return x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + eps)


def network(loss: Callable[..., Any], params: Any, x: Any, y: Any, degrees: dict[str, int],
            approximate: Any = ()) -> Network:  # fmt: skip
    model = st.Model(loss, params, random={"x": st.Normal(x), "y": st.Normal(y)})
    return Network(model, degrees, frozenset(approximate))


def mlp(p: Any, z: Any) -> Any:
    h = jax.nn.relu(z["x"] @ p["W1"] + p["b1"])
    h = jnp.tanh(h @ p["W2"] + p["b2"])
    return squared(h @ p["W3"], z["y"])


def homogeneous(p: Any, z: Any) -> Any:
    return jnp.sum((jax.nn.relu(z["x"] @ p["W"]) @ p["U"]) ** 2) * jnp.sum(z["y"] ** 2)


def residual(p: Any, z: Any) -> Any:
    s = z["x"] @ p["E"]
    for block in p["blocks"]:
        s = s + jax.nn.relu(s @ block["W"] + block["b"]) @ block["V"]
    return squared(s @ p["O"], z["y"]) + jnp.mean((s @ p["R"]) ** 4)


def attention(p: Any, z: Any) -> Any:
    x = z["x"] @ p["E"]
    q, k, v = (jnp.einsum("nd,dhk->hnk", x, p[name]) for name in "qkv")
    a = jax.nn.softmax(q @ k.transpose(0, 2, 1), axis=-1) @ v
    x = x + jnp.einsum("hnk,hkd->nd", a, p["o"])
    return squared(x @ p["U"], z["y"])


def packed_attention(p: Any, z: Any) -> Any:
    x = z["x"] @ p["E"]
    q, k, v = (
        part.reshape(x.shape[0], 3, -1).transpose(1, 0, 2)
        for part in jnp.split(x @ p["qkv"], 3, axis=-1)
    )
    a = jax.nn.softmax(q @ k.transpose(0, 2, 1), axis=-1) @ v
    return squared(a.transpose(1, 0, 2).reshape(x.shape[0], -1) @ p["o"], z["y"])


def convolution(p: Any, z: Any) -> Any:
    def conv(x: Any, kernel: Any) -> Any:
        names = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=names)

    def batch_norm(x: Any) -> Any:
        x = x - jnp.mean(x, (0, 1, 2))
        return x / jnp.sqrt(jnp.mean(x**2, (0, 1, 2)))

    h = jax.nn.relu(batch_norm(conv(z["x"], p["K"]) + p["c"]) * p["gain"] + p["bias"])
    h = jax.nn.relu(batch_norm(conv(h, p["L"])))
    return squared(jnp.mean(h, (1, 2)) @ p["D"], z["y"])


def layer_normed(p: Any, z: Any) -> Any:
    h = layer_norm(z["x"] @ p["W"]) * p["g"] + p["b"]
    return squared(layer_norm(jax.nn.gelu(h @ p["V"]) @ p["U"]), z["y"])


def tied(p: Any, z: Any) -> Any:
    h = jnp.tanh(z["x"] @ p["E"] @ p["A"])
    return -jnp.sum(z["y"] * jax.nn.log_softmax(h @ p["E"].T, axis=-1))


def rms_normed(p: Any, z: Any) -> Any:
    h = rms_norm(z["x"] @ p["W"]) * p["g"]
    return squared(jax.nn.silu(h @ p["V"]) @ p["U"], z["y"])


NETWORKS = {
    "mlp": network(
        mlp, {"W1": (4, 9), "b1": (9,), "W2": (9, 8), "b2": (8,), "W3": (8, 3)},
        (5, 4), (5, 3), {},
    ),
    "homogeneous": network(
        homogeneous, {"W": (4, 6), "U": (6, 3)}, (5, 4), (2,), {"W": 2, "U": 2}
    ),
    "residual": network(
        residual,
        {"E": (4, 6), "O": (6, 3), "R": (6, 2),
         "blocks": [{"W": (6, 7), "b": (7,), "V": (7, 6)} for _ in range(2)]},
        (5, 4), (5, 3), {},
    ),
    "attention": network(
        attention,
        {"E": (5, 6), "q": (6, 3, 4), "k": (6, 3, 4), "v": (6, 3, 4), "o": (3, 4, 6), "U": (6, 3)},
        (4, 5), (4, 3), {},
    ),
    "packed attention": network(
        packed_attention, {"E": (5, 6), "qkv": (6, 36), "o": (12, 3)}, (4, 5), (4, 3), {},
    ),
    "convolution": network(
        convolution,
        {"K": (3, 3, 2, 5), "c": (5,), "gain": (5,), "bias": (5,), "L": (3, 3, 5, 4), "D": (4, 3)},
        (3, 4, 4, 2), (3, 3), {"K": 0, "c": 0, "L": 0},
    ),
    "layer norm": network(
        layer_normed, {"W": (4, 6), "g": (6,), "b": (6,), "V": (6, 7), "U": (7, 3)},
        (5, 4), (5, 3), {"W": 0, "U": 0},
    ),
    "tied": network(tied, {"E": (7, 5), "A": (5, 5)}, (4, 7), (4, 7), {}),
    "rms norm": network(
        rms_normed, {"W": (4, 6), "g": (6,), "V": (6, 7), "U": (7, 3)}, (5, 4), (5, 3), {}, {"W"}
    ),
}  # fmt: skip


def draw(model: st.Model, seed: int, dtype: Any = np.float64) -> Any:
    """Return random parameters."""
    rng = np.random.default_rng(seed)
    shapes, _, _ = model.structure()
    return jax.tree.map(lambda s: rng.standard_normal(s.shape).astype(dtype), shapes)


def losses(model: st.Model, params: Any, count: int = 4) -> np.ndarray:
    """Return the loss at random samples, by nothing but JAX."""
    with jax.enable_x64(True):
        out = []
        for seed in range(count):
            sample = model.sample(jax.random.key(seed), dtype=np.float64)
            out.append(float(model.evaluate(jax.tree.map(jnp.asarray, params), sample)))
    return np.array(out)
