"""Losses that almost have a symmetry: what breaks it is far away, fixed, or of measure zero."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.symmetry.inference.models import Case, integers, squared, struct

_SLOPES = np.array([1.0, 2.0, 3.0])


def _net(p: Any, x: Any, y: Any) -> Any:
    return (p["u"] @ jnp.tanh(p["W"] @ x) - y) ** 2


def _relu(p: Any, x: Any, y: Any) -> Any:
    return (p["u"] @ jax.nn.relu(p["W"] @ x) - y) ** 2


def _pairs(p: Any, x: Any, y: Any) -> Any:
    q, k = (jnp.einsum("hkd,d->hk", p[n], x) for n in ("q", "k"))
    scores = q @ k.T  # every head of the queries with every head of the keys
    return jnp.sum(jnp.tanh(scores + scores.T)) * y


def _tall(p: Any, xs: Any, y: Any) -> Any:
    def step(total: Any, x: Any) -> Any:
        out = total + jnp.sum(p["W"] * x)
        return out, out

    _, outs = jax.lax.scan(step, 0.0, xs)
    return jnp.sum(jnp.exp(outs - outs[-1])) * y


def _layers(p: Any, x: Any, y: Any) -> Any:
    def step(h: Any, w: Any) -> Any:
        return jnp.tanh(w @ h), None

    h, _ = jax.lax.scan(step, x, p["W"])
    return squared(h, y)


_W = {"u": struct(3), "W": struct(3, 3)}
_XY = (struct(3), struct())
_SOFT = {"W": struct(3)}

# name: the case and the number of sign changes; all numbers by hand.
NEAR_MISSES: dict[str, tuple[Case, int]] = {
    "a class with a fixed logit": (
        Case(lambda p, s: (jax.nn.logsumexp(jnp.append(p["W"], -60.0)) - p["W"][0]) * s,
             _SOFT, (struct(),), 0, 0, 1), 0,  # the two others may be exchanged
    ),
    "a label outside of the classes": (
        Case(lambda p, y: jax.nn.logsumexp(p["W"]) - p["W"].at[y].get(mode="fill", fill_value=0),
             _SOFT, (integers(),), 0, 0, 0, label_range=5), 0,
    ),
    "a label that is clipped": (
        Case(lambda p, y: jax.nn.logsumexp(p["W"]) - p["W"].at[y].get(mode="clip"),
             _SOFT, (integers(),), 0, 1, 0, label_range=5), 0,
    ),
    "a mask that is finite": (
        Case(lambda p, s: jnp.sum(jax.nn.softmax(jnp.where(np.arange(3) < 2, p["W"], -50.0))[:2]
                                  * jnp.stack([s, s * s])),
             _SOFT, (struct(),), 0, 0, 0), 0,
    ),
    "a mask that is infinite": (
        Case(lambda p, s: jnp.sum(jax.nn.softmax(jnp.where(np.arange(3) < 2, p["W"], -jnp.inf))[:2]
                                  * jnp.stack([s, s * s])),
             _SOFT, (struct(),), 0, 1, 0), 0,
    ),
    "a diagonal, far away": (
        Case(lambda p, x, y: _net(p, x, y) + jax.nn.relu(jnp.sum(jnp.diagonal(p["W"])) - 100.0),
             _W, _XY, 0, 0, 0), 0,
    ),
    "a diagonal in a product, far away": (
        Case(lambda p, x, y: jnp.sum((p["U"] @ p["W"] @ x - y) ** 2)
             + jax.nn.relu(p["U"][0] @ jnp.diagonal(p["W"]) - 1e7),
             {"U": struct(3, 3), "W": struct(3, 3)}, (struct(3), struct(3)), 3, 0, 0), 3,
    ),
    "a penalty far away": (
        Case(lambda p, x, y: _relu(p, x, y) + jax.nn.relu(jnp.sum(jnp.abs(p["u"])) - 100.0),
             _W, _XY, 0, 0, 2), 0,
    ),
    "a penalty far away, unequal": (
        Case(lambda p, x, y: _net(p, x, y) + jax.nn.relu(jnp.abs(p["u"]) @ _SLOPES - 100.0),
             _W, _XY, 0, 0, 0), 3,
    ),
    "a clipped weight": (
        Case(lambda p, x, y: (jnp.clip(p["u"], -50, 50) @ jax.nn.relu(p["W"] @ x) - y) ** 2,
             _W, _XY, 0, 0, 2), 0,
    ),
    "a fixed mask of units": (
        Case(lambda p, x, y: (p["u"] @ (jax.nn.relu(p["W"] @ x) * _SLOPES) - y) ** 2,
             _W, _XY, 3, 0, 0), 0,
    ),
    "a vector over its length": (
        Case(lambda p, x: jnp.tanh(p["v"] @ x / jnp.sqrt(p["v"] @ p["v"])),
             {"v": struct(3)}, (struct(3),), 1, 0, 0), 0,
    ),
    "a vector over its absolute value": (
        Case(lambda p, x: jnp.tanh(p["v"] / jnp.abs(p["v"]) @ x), {"v": struct(3)}, (struct(3),),
             3, 0, 0), 0,
    ),
    "a matrix plus its transpose": (
        Case(lambda p, x: jnp.sum(jnp.sign(p["W"] + p["W"].T) * x), {"W": struct(3, 3)},
             (struct(3, 3),), 3, 2, 0), 0,
    ),
    "a matrix over its transpose": (
        Case(lambda p, x: jnp.sum(p["W"] / p["W"].T * x), {"W": struct(3, 3)}, (struct(3, 3),),
             3, 0, 0), 3,
    ),
    "differences": (
        Case(lambda p, x: jnp.sum(jnp.tanh((p["v"][:, None] - p["v"][None, :]) * x)),
             {"v": struct(3)}, (struct(3, 3),), 0, 1, 0), 0,
    ),
    "neighbours": (
        Case(lambda p, x: jnp.tanh(p["v"] @ jnp.roll(p["v"], 1) * x), {"v": struct(4)},
             (struct(),), 1, 0, 0), 1,  # even places against odd ones
    ),
    "running sums": (
        Case(lambda p, x: jnp.sum(jnp.tanh(jnp.cumsum(p["v"]) * x)), {"v": struct(4)},
             (struct(),), 0, 0, 0), 0,
    ),
    "an order": (
        Case(lambda p, x: jnp.sort(p["v"]) @ x, {"v": struct(4)}, (struct(4),), 0, 0, 3), 0,
    ),
    "places in an order": (
        Case(lambda p, x: jnp.sum(jnp.argsort(p["v"]) * x), {"v": struct(4)}, (struct(4),),
             1, 1, 0), 0,
    ),
    "the place of the largest": (
        Case(lambda p, x: jnp.argmax(p["v"]) * x, {"v": struct(4)}, (struct(),), 1, 1, 0), 0,
    ),
    "a root of a square": (
        Case(lambda p, x: jnp.sum(jnp.sqrt(p["v"] ** 2) * x), {"v": struct(3)}, (struct(3),),
             0, 0, 0), 3,
    ),
    "rounding": (
        Case(lambda p, x: jnp.sum(jnp.floor(p["v"]) * x), {"v": struct(3)}, (struct(3),), 0, 0, 0),
        0,
    ),
    "half precision": (
        Case(lambda p, x, y: squared(p["U"].astype(jnp.float16) @ (p["W"] @ x), y),
             {"U": struct(2, 3), "W": struct(3, 3)}, (struct(3), struct(2)), 0, 0, 2),
        3,  # a unit's column of U with its row of W: rounding commutes with signs
    ),
    "heads with each other": (
        Case(_pairs, {"q": struct(2, 3, 4), "k": struct(2, 3, 4)}, (struct(4), struct()), 9, 0, 1),
        3,
    ),
    "a shift that grows in a scan": (
        Case(_tall, {"W": struct(3)}, (struct(4, 3), struct()), 0, 0, 0), 0,
    ),
    "units of stacked layers": (
        Case(_layers, {"W": struct(4, 3, 3)}, (struct(3), struct(3)), 0, 0, 0), 0,
    ),
    "a pool with fixed borders": (
        Case(lambda p, x: jnp.sum(jnp.tanh(jnp.maximum(jnp.pad(p["v"] * x, 1, constant_values=-9.0)
                                                       [:-1], 0.5))),
             {"v": struct(3)}, (struct(3),), 0, 0, 0), 0,
    ),
    "rows and columns of one vector": (
        Case(lambda p, x: jnp.sum(jnp.tanh(p["v"].reshape(2, 3) @ p["w"].reshape(3, 2) * x)),
             {"v": struct(6), "w": struct(6)}, (struct(2, 2),), 9, 0, 0), 3,
    ),
    "entries in another order": (
        Case(lambda p, x: jnp.sum(jnp.tanh(p["v"] * p["w"].reshape(2, 3).T.reshape(6) * x)),
             {"v": struct(6), "w": struct(6)}, (struct(),), 6, 0, 5), 6,
    ),
    "a finite check": (
        Case(lambda p, x: jnp.where(jnp.isfinite(p["v"][0] * 1e300), p["v"] @ x, 0.0),
             {"v": struct(2)}, (struct(2),), 0, 0, 0), 0,
    ),
    "a sum of a power": (
        Case(lambda p, x, y: (p["u"] @ (p["W"] @ x) ** 3 - y) ** 2, _W, _XY, 3, 0, 2), 3,
    ),
    "a product with itself, shifted": (
        Case(lambda p, x: jnp.tanh((p["v"] @ x) * (p["v"] @ x + 1)), {"v": struct(2)},
             (struct(2),), 0, 0, 0), 0,
    ),
    "exponents of exponents": (
        Case(lambda p, x: jnp.tanh(jnp.exp(p["b"]) * p["w"] * x), {"b": struct(), "w": struct()},
             (struct(),), 0, 1, 0), 0,
    ),
    "two readers of one bias": (
        Case(lambda p, x: jax.nn.logsumexp(p["b"] * x) + jnp.sum(jnp.tanh(p["b"])),
             {"b": struct(3)}, (struct(),), 0, 0, 2), 0,
    ),
    "a diagonal layer between linear ones": (
        Case(lambda p, x, y: squared(p["U"] @ (p["a"] * (p["W"] @ x)), y),
             {"U": struct(2, 3), "a": struct(3), "W": struct(3, 3)}, (struct(3), struct(2)),
             6, 0, 2), 6,
    ),
    "a sum and its total": (
        Case(lambda p, x: jnp.tanh((jnp.sum(p["v"]) - p["w"]) * x) ** 2,
             {"v": struct(3), "w": struct()}, (struct(),), 0, 1, 2), 1,
    ),
    "the largest of several": (
        Case(lambda p, x, y: (p["u"] @ jnp.max(p["W"] @ x, axis=1) - y) ** 2,
             {"u": struct(3), "W": struct(3, 2)}, (struct(2, 4), struct()), 3, 0, 2), 0,
    ),
    "places that repeat": (
        Case(lambda p, x: jnp.tanh(p["v"][np.array([0, 0, 2])] @ x), {"v": struct(3)},
             (struct(3),), 0, 0, 0), 0,
    ),
    "rows of another shape": (
        Case(lambda p, x: jnp.sum(jnp.tanh(p["v"].reshape(3, 2) @ x)), {"v": struct(2, 3)},
             (struct(2),), 0, 0, 0), 0,
    ),
    "an order of two vectors": (
        Case(lambda p, x: (lambda s: jnp.tanh(s[0] / s[-1] * x))(
            jnp.sort(jnp.concatenate([p["v"], p["w"]]))),
             {"v": struct(3), "w": struct(2)}, (struct(),), 1, 0, 0), 0,
    ),
    "a slice that is empty": (
        Case(lambda p, x: jnp.tanh(jnp.concatenate([p["v"][:0], p["v"], p["w"][3:]]) @ x)
             + jnp.sum(p["w"][:0] ** 2) + jnp.sum(jnp.sin(p["w"])),
             {"v": struct(3), "w": struct(3)}, (struct(3),), 0, 0, 2), 0,  # of w
    ),
}  # fmt: skip
