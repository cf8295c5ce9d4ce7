"""One layer of ReLU units, spelled in many ways, has one answer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.symmetry.inference import infer
from tests.symmetry.inference.models import Case, squared, struct
from tests.symmetry.inference.recheck import worst_change

PARAMS = {"W": struct(6, 3), "b": struct(6), "V": struct(2, 6)}
DATA = (struct(5, 3), struct(5, 2))


def _layer(act, first=None, last=None):
    first = first or (lambda p, x: x @ p["W"].T + p["b"])
    last = last or (lambda p, h: h @ p["V"].T)
    return lambda p, x, y: squared(last(p, act(first(p, x))), y)


def _padded(p, x):
    """A bias as a weight of a constant input, by concatenation."""
    ones = jnp.ones((x.shape[0], 1))
    return jnp.concatenate([x, ones], 1) @ jnp.concatenate([p["W"], p["b"][:, None]], 1).T


def _convolved(p, x):
    """A dense layer as a convolution of kernel size one."""
    kernel = p["W"].T[None]
    out = jax.lax.conv_general_dilated(
        x[None], kernel, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
    )
    return out[0] + p["b"]


def _scanned(p, x):
    return jax.lax.scan(lambda c, row: (c, p["W"] @ row + p["b"]), None, x)[1]


def _in_two_parts(p, h):
    a, b = jnp.split(h, [2], axis=1)
    return a @ p["V"][:, :2].T + b @ p["V"][:, 2:].T


relu = jax.nn.relu
SPELLINGS = {
    "relu": _layer(relu),
    "maximum": _layer(lambda h: jnp.maximum(h, 0.0)),
    "maximum of zero first": _layer(lambda h: jnp.maximum(0, h)),
    "where": _layer(lambda h: jnp.where(h > 0, h, 0.0)),
    "product with a comparison": _layer(lambda h: h * (h > 0)),
    "half of the sum": _layer(lambda h: 0.5 * (h + jnp.abs(h))),
    "minus the minimum": _layer(lambda h: -jnp.minimum(-h, 0.0)),
    "clip": _layer(lambda h: jnp.clip(h, 0.0)),
    "product with the step": _layer(lambda h: h * jnp.heaviside(h, 0.0)),
    "largest of two": _layer(lambda h: jnp.max(jnp.stack([h, jnp.zeros_like(h)]), 0)),
    "root of a square": _layer(lambda h: 0.5 * (h + jnp.sqrt(h**2))),
    "leaky": _layer(lambda h: jnp.where(h >= 0, h, h / 8)),
    "einsum": _layer(relu, lambda p, x: jnp.einsum("nd,hd->nh", x, p["W"]) + p["b"]),
    "vmap": _layer(relu, lambda p, x: jax.vmap(lambda row: p["W"] @ row + p["b"])(x)),
    "scan": _layer(relu, _scanned),
    "convolution": _layer(relu, _convolved),
    "a constant input": _layer(relu, _padded),
    "a sum of products": _layer(
        relu, lambda p, x: jnp.sum(x[:, None, :] * p["W"][None], -1) + p["b"]
    ),
    "reshaped and back": _layer(lambda h: relu(h.reshape(5, 2, 3)).reshape(5, 6)),
    "transposed": _layer(lambda h: relu(h.T).T),
    "jit": _layer(jax.jit(relu)),
    "checkpoint": _layer(jax.checkpoint(relu)),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings_have_one_answer(name):
    loss = SPELLINGS[name]
    found = infer(loss, PARAMS, *DATA)
    assert (found.counts.total, found.counts.affine, found.counts.swaps) == (6, 0, 5)
    [units] = [c for c in found.classes if c.group != "none"]
    assert (units.group, units.size) == ("permutations", 6)
    places = {(a.leaf, a.axis) for a in units.axes}
    assert places == {(("W",), 0), (("b",), 0), (("V",), 1)}
    assert worst_change(Case(loss, PARAMS, DATA, 6), found, 4) < 1e-9


def test_units_in_two_parts_are_exchanged_within_each():
    loss = _layer(relu, last=_in_two_parts)
    found = infer(loss, PARAMS, *DATA)
    assert (found.counts.total, found.counts.swaps) == (6, 1 + 3)
    assert worst_change(Case(loss, PARAMS, DATA, 6), found, 4) < 1e-9


@pytest.mark.parametrize("act", [jnp.tanh, jnp.sin, lambda h: h**3 / (1 + h**2), jax.lax.erf])
def test_odd_units_change_their_signs(act):
    found = infer(_layer(act), PARAMS, *DATA)
    assert (found.counts.total, found.counts.swaps, found.counts.flips) == (0, 5, 6)


@pytest.mark.parametrize("act", [jax.nn.gelu, jax.nn.silu, jax.nn.softplus, jnp.cos])
def test_units_of_other_functions_are_exchanged_only(act):
    found = infer(_layer(act), PARAMS, *DATA)
    flips = 1 + (0 if act is not jnp.cos else 5)
    assert (found.counts.total, found.counts.swaps) == (0, 5)
    assert found.counts.flips in (0, flips)
    assert (act is jnp.cos) == bool(found.counts.flips)


def test_names_with_dots_and_nested_keys():
    def loss(p, x):
        return jnp.sum((relu(x @ p["a.b"]["W"]) @ p["layers"][0][1]) ** 2)

    params = {"a.b": {"W": struct(3, 4)}, "layers": [(struct(2), struct(4, 2))]}
    found = infer(loss, params, struct(5, 3))
    leaves = {a.leaf for c in found.classes if c.group == "permutations" for a in c.axes}
    assert leaves == {("a.b", "W"), ("layers", 0, 1)}
    # An unused parameter may become anything: 2 x 2 matrices, and 2 shifts.
    assert (found.counts.total, found.counts.affine) == (4 + 4 + 1, 2)


def test_arrays_stand_for_their_shapes():
    params = {k: np.zeros(s.shape) for k, s in PARAMS.items()}
    found = infer(SPELLINGS["relu"], params, *(np.zeros(s.shape) for s in DATA))
    assert found.counts.total == 6
