"""Small losses with the counts that are known for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def struct(*shape: int) -> jax.ShapeDtypeStruct:
    """Return the shape of a real array."""
    return jax.ShapeDtypeStruct(shape, np.float32)


def integers(*shape: int) -> jax.ShapeDtypeStruct:
    """Return the shape of an array of integers."""
    return jax.ShapeDtypeStruct(shape, np.int32)


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss, the shapes of its arguments, and what is to be found.

    Attributes:
        loss: The loss.
        params: Shapes of the parameters.
        data: Shapes of everything else.
        linear: Linear generators that the inference finds.
        affine: Generators with a shift that it finds.
        swaps: Generators of permutations.
        complete: The true number of generators, linear and affine, where it is larger.
        label_range: Integers of the data are below this.
    """

    loss: Callable[..., Any]
    params: Any
    data: tuple[Any, ...]
    linear: int
    affine: int = 0
    swaps: int | None = None
    complete: int | None = None
    label_range: int = 4


def heads(x: Any, h: int) -> Any:
    """Split (n, h k) into (h, n, k)."""
    return x.reshape(x.shape[0], h, -1).transpose(1, 0, 2)


def attend(q: Any, k: Any, v: Any, causal: bool = True) -> Any:
    """Return attention of (h, n, k) as (n, h k)."""
    s = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    if causal:
        mask = np.tril(np.ones((q.shape[1], k.shape[1]), dtype=bool))
        s = jnp.where(mask, s, -jnp.inf)
    o = jax.nn.softmax(s, axis=-1) @ v
    return o.transpose(1, 0, 2).reshape(q.shape[1], -1)


def squared(a: Any, b: Any) -> Any:
    """Return a mean square."""
    return jnp.mean((a - b) ** 2)


def attention(d: int, h: int, n: int, kv: int | None = None, norm: bool = False,
              rope: bool = False) -> Case:  # fmt: skip
    """Return a layer of (grouped-query) attention."""
    kv = kv or h
    size = d // h

    def unit(x: Any) -> Any:
        return x / jnp.sqrt(jnp.sum(x**2, -1, keepdims=True)) if norm else x

    def turned(x: Any) -> Any:
        if not rope:
            return x
        angle = np.arange(n)[:, None] * 10.0 ** (-np.arange(size // 2))
        a, b = jnp.split(x, 2, -1)
        cos, sin = np.cos(angle), np.sin(angle)
        return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)

    def loss(p: Any, x: Any, y: Any) -> Any:
        q, k, v = heads(x @ p["q"].T, h), heads(x @ p["k"].T, kv), heads(x @ p["v"].T, kv)
        q, k = turned(unit(q)), turned(unit(k))
        k, v = (jnp.repeat(a, h // kv, axis=0) for a in (k, v))
        return squared(attend(q, k, v) @ p["o"].T, y)

    params = {"q": struct(d, d), "k": struct(kv * size, d), "v": struct(kv * size, d),
              "o": struct(d, d)}  # fmt: skip
    count = 2 * kv * size**2
    complete = None
    if norm:
        count = h * (size * (size - 1) // 2 + size**2) + 2 * h
    if rope:
        count = kv * (size // 2 + size**2)
        complete = kv * (size + size**2)
    return Case(loss, params, (struct(n, d), struct(n, d)), count, complete=complete)


def layer_norm(x: Any) -> Any:
    """Return x without its mean, over its spread."""
    x = x - jnp.mean(x, -1, keepdims=True)
    return x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)


def mixture(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of a softmax mixture of ReLU experts."""
    g = jax.nn.softmax(p["gate"] @ x + p["bias"])
    out = jnp.einsum("edh,eh->ed", p["out"], jax.nn.relu(jnp.einsum("ehd,d->eh", p["in"], x)))
    return squared(g @ out, y)


def swiglu(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of a gated layer."""
    return squared((jax.nn.silu(x @ p["gate"]) * (x @ p["up"])) @ p["down"], y)


def packed_swiglu(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of a gated layer with both projections in one matrix."""
    g, u = jnp.split(x @ p["both"], 2, -1)
    return squared((jax.nn.silu(g) * u) @ p["down"], y)


def normalized(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of a layer norm with gain and bias before a ReLU layer."""
    u = layer_norm(x) * p["gain"] + p["bias"]
    return squared(jax.nn.relu(u @ p["W"]) @ p["U"], y)


def centred(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of a linear layer before a layer norm, whose mean is removed."""
    return squared(jax.nn.gelu(layer_norm(x @ p["E"] + p["e"]) @ p["W"]), y)


def classifier(p: Any, x: Any, y: Any) -> Any:
    """Return a cross entropy with labels."""
    logits = jax.nn.relu(x @ p["W"] + p["b"]) @ p["V"] + p["c"]
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], -1))


def tied(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of a language model with one embedding for input and output."""
    h = p["E"][x] @ p["A"]
    logits = h @ p["E"].T
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], -1))


def residual(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of a residual stream with two ReLU blocks."""
    s = x @ p["E"]
    for block in p["blocks"]:
        s = s + jax.nn.relu(s @ block["in"]) @ block["out"]
    return squared(s @ p["O"], y)


def two_heads(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of two heads that read one hidden layer."""
    h = jnp.tanh(x @ p["W"] + p["b"])
    return squared(h @ p["mean"], y) + jnp.mean((h @ p["spread"]) ** 4)


def recurrent(p: Any, xs: Any, y: Any) -> Any:
    """Return the loss of a recurrent net."""

    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(p["W"] @ h + p["U"] @ x + p["b"])
        return h, h

    last, hs = jax.lax.scan(step, jnp.zeros(p["o"].shape[0]), xs)
    return squared(last @ p["o"], y) + jnp.sum((hs @ p["o"]) ** 4)


def lstm(p: Any, xs: Any, y: Any) -> Any:
    """Return the loss of an LSTM with its gates in one matrix."""

    def step(state: Any, x: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(p["W"] @ x + p["U"] @ h + p["b"], 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), None

    (h, _), _ = jax.lax.scan(step, (jnp.zeros(p["o"].shape[0]), jnp.zeros(p["o"].shape[0])), xs)
    return squared(h @ p["o"], y)


def gru(p: Any, xs: Any, y: Any) -> Any:
    """Return the loss of a GRU."""

    def step(h: Any, x: Any) -> Any:
        r, z = jnp.split(jax.nn.sigmoid(p["W"] @ x + p["U"] @ h), 2)
        n = jnp.tanh(p["V"] @ x + r * (p["R"] @ h))
        h = (1 - z) * n + z * h
        return h, None

    h, _ = jax.lax.scan(step, jnp.zeros(p["o"].shape[0]), xs)
    return squared(h @ p["o"], y)


def stacked(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of residual ReLU blocks stacked for a scan."""

    def block(s: Any, w: Any) -> Any:
        return s + jax.nn.relu(s @ w["in"]) @ w["out"], None

    s, _ = jax.lax.scan(block, x @ p["E"], p["blocks"])
    return squared(s @ p["O"], y)


def unrolled(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of residual ReLU blocks stacked in one array, written out."""
    s = x @ p["E"]
    for k in range(3):
        s = s + jax.nn.relu(s @ p["blocks"]["in"][k]) @ p["blocks"]["out"][k]
    return squared(s @ p["O"], y)


def convolution(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of two convolutions, pooling and a dense layer on what is flattened."""
    conv = lambda h, k: jax.lax.conv_general_dilated(
        h, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    h = jax.nn.relu(conv(x, p["K"]) + p["b"])
    h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    h = jax.nn.relu(conv(h, p["L"]))
    h = h.reshape(h.shape[0], -1)
    return squared(h @ p["D"], y)


def batch_norm(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of a layer with statistics over the batch."""
    h = x @ p["W"] + p["b"]
    h = (h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-5) * p["gain"] + p["bias"]
    return squared(jax.nn.relu(h) @ p["V"], y)


def scale_free(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of a layer with statistics over the batch and no small constant."""
    h = x @ p["W"] + p["b"]
    h = (h - h.mean(0)) / jnp.sqrt(h.var(0))
    return squared(jax.nn.relu(h) @ p["V"], y)


def prelu(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of a layer with learned slopes."""
    h = x @ p["W"]
    return squared(jnp.where(h > 0, h, p["a"] * h) @ p["V"], y)


def factorization(p: Any, x: Any, y: Any) -> Any:
    """Return the loss of a product of matrices."""
    return squared(p["U"] @ (p["W"] @ x), y)


def quarrel(p: Any, x: Any, y: Any) -> Any:
    """Return a loss with a scale-invariant vector."""
    return (p["w"] @ x / jnp.sqrt(p["w"] @ p["w"]) - y) ** 2


_RNN = {"W": struct(5, 5), "U": struct(5, 3), "b": struct(5), "o": struct(5, 2)}
_BLOCKS = {"in": struct(3, 6, 7), "out": struct(3, 7, 6)}

CASES: dict[str, Case] = {
    "attention": attention(16, 2, 3),
    "grouped": attention(16, 2, 3, 1),
    "rope": attention(16, 2, 3, rope=True),
    "normalized queries": attention(16, 2, 3, norm=True),
    "mixture": Case(
        mixture,
        {"gate": struct(3, 8), "bias": struct(3), "in": struct(3, 12, 8), "out": struct(3, 8, 12)},
        (struct(8), struct(8)), 36, 9, 2 + 3 * 11,
    ),
    "swiglu": Case(
        swiglu, {"gate": struct(8, 24), "up": struct(8, 24), "down": struct(24, 8)},
        (struct(5, 8), struct(5, 8)), 24, swaps=23,
    ),
    "packed swiglu": Case(
        packed_swiglu, {"both": struct(8, 48), "down": struct(24, 8)},
        (struct(5, 8), struct(5, 8)), 24, swaps=23,
    ),
    "layer norm": Case(
        normalized, {"gain": struct(8), "bias": struct(8), "W": struct(8, 12), "U": struct(12, 3)},
        (struct(5, 8), struct(5, 3)), 8 + 12, swaps=11,
    ),
    "centred": Case(
        centred, {"E": struct(4, 8), "e": struct(8), "W": struct(8, 3)},
        (struct(5, 4), struct(5, 3)), 0, 5, swaps=7, complete=5 + 3,
    ),
    "classifier": Case(
        classifier, {"W": struct(3, 6), "b": struct(6), "V": struct(6, 4), "c": struct(4)},
        (struct(5, 3), integers(5)), 6, 7, swaps=5,
    ),
    "tied": Case(tied, {"E": struct(7, 4), "A": struct(4, 4)}, (integers(5), integers(5)), 16,
                 label_range=7),
    "residual": Case(
        residual,
        {"E": struct(3, 6), "O": struct(6, 2),
         "blocks": [{"in": struct(6, 7), "out": struct(7, 6)} for _ in range(2)]},
        (struct(5, 3), struct(5, 2)), 36 + 14, swaps=12,
    ),
    "two heads": Case(
        two_heads,
        {"W": struct(3, 6), "b": struct(6), "mean": struct(6, 2), "spread": struct(6, 2)},
        (struct(5, 3), struct(5, 2)), 0, swaps=5 + 1,
    ),
    "recurrent": Case(recurrent, _RNN, (struct(4, 3), struct(2)), 0, swaps=4),
    "lstm": Case(
        lstm, {"W": struct(20, 3), "U": struct(20, 5), "b": struct(20), "o": struct(5, 2)},
        (struct(4, 3), struct(2)), 0, swaps=4,
    ),
    "gru": Case(
        gru,
        {"W": struct(10, 3), "U": struct(10, 5), "V": struct(5, 3), "R": struct(5, 5),
         "o": struct(5, 2)},
        (struct(4, 3), struct(2)), 0, swaps=4,
    ),
    "stacked": Case(
        stacked, {"E": struct(4, 6), "O": struct(6, 2), "blocks": _BLOCKS},
        (struct(5, 4), struct(5, 2)), 36 + 21, swaps=18,
    ),
    "unrolled": Case(
        unrolled, {"E": struct(4, 6), "O": struct(6, 2), "blocks": _BLOCKS},
        (struct(5, 4), struct(5, 2)), 36 + 21, swaps=18,
    ),
    "convolution": Case(
        convolution,
        {"K": struct(3, 3, 2, 4), "b": struct(4), "L": struct(3, 3, 4, 5), "D": struct(20, 3)},
        (struct(2, 4, 4, 2), struct(2, 3)), 9, swaps=3 + 4,
    ),
    "batch norm": Case(
        batch_norm,
        {"W": struct(3, 6), "b": struct(6), "gain": struct(6), "bias": struct(6),
         "V": struct(6, 2)},
        (struct(5, 3), struct(5, 2)), 6, 6, swaps=5,
    ),
    "scale free": Case(
        scale_free, {"W": struct(3, 6), "b": struct(6), "V": struct(6, 2)},
        (struct(5, 3), struct(5, 2)), 6, 6, swaps=5,
    ),
    "prelu": Case(
        prelu, {"W": struct(3, 6), "a": struct(6), "V": struct(6, 2)},
        (struct(5, 3), struct(5, 2)), 6, swaps=5,
    ),
    "factorization": Case(
        factorization, {"U": struct(2, 4), "W": struct(4, 3)}, (struct(3), struct(2)), 16,
    ),
    "scale invariant": Case(quarrel, {"w": struct(3)}, (struct(3), struct()), 1),
}  # fmt: skip


def draw(case: Case, seed: int, spread: float = 1.0) -> tuple[Any, list[Any]]:
    """Return random parameters of all signs and random data."""
    rng = np.random.default_rng(seed)

    def array(leaf: Any) -> Any:
        if np.issubdtype(leaf.dtype, np.integer):
            return rng.integers(0, case.label_range, leaf.shape).astype(np.int32)
        return spread * rng.standard_normal(leaf.shape)

    return jax.tree.map(array, case.params), [jax.tree.map(array, d) for d in case.data]
