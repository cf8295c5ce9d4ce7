"""Terms that are constant along an axis: proved to cancel, or not followed; never wrongly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from symtheory.program import lower
from symtheory.symmetry.discovery import _cancelled


def cancelled(closed, leaves, places, sums):
    shapes = [x.shape for x in closed.in_avals]
    return _cancelled.cancelled(lower(closed), shapes, leaves, places, sums)


def centred(x):
    return x - jnp.mean(x, -1, keepdims=True)


def normalized(x):
    x = centred(x)
    return x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-5)


W = (4, 3)
# (loss of W, axis shifted, whether it is proved, whether it is a logit shift)
LOSSES = {
    "log-softmax": (lambda w: jnp.sum(jax.nn.log_softmax(w)[:, 0] ** 2), 1, True, True),
    "log-softmax, other axis": (lambda w: jax.nn.log_softmax(w, 0)[1, 2], 0, True, True),
    "softmax": (lambda w: jnp.sum(jax.nn.softmax(w) ** 2), 1, True, True),
    "log-sum-exp by hand": (
        lambda w: jnp.sum(jnp.log(jnp.sum(jnp.exp(w), 1)) - w[:, 1]), 1, True, True,
    ),
    "log-sum-exp": (lambda w: jnp.sum(jax.nn.logsumexp(w, 1) - w[:, 2]), 1, True, True),
    "quotient of exponentials": (
        lambda w: jnp.sum(jnp.exp(w)[:, 0] / jnp.sum(jnp.exp(w), 1)), 1, True, True,
    ),
    "label in the sample": (lambda w: -jax.nn.log_softmax(w[0])[1], 1, True, True),
    "layer norm": (lambda w: jnp.sum(normalized(w)[:, 0]), 1, True, False),
    "largest entry, no softmax": (
        lambda w: jnp.sum((jnp.max(w, 1) - w[:, 0]) ** 2), 1, True, False,
    ),
    "through a product": (
        lambda w: -jax.nn.log_softmax(jnp.arange(1.0, 5.0) @ w)[0], 1, True, True,
    ),
    "layer norm, then softmax": (
        lambda w: jnp.sum(jax.nn.log_softmax(normalized(w))[:, 0]), 1, True, False,
    ),
    "residual stream": (
        lambda w: jnp.sum(normalized(w + jnp.tanh(normalized(w)))[:, 1] ** 2), 1, True, False,
    ),
    # Controls.
    "no normalization": (lambda w: jnp.sum(jnp.exp(w)), 1, False, False),
    "the other axis": (lambda w: jnp.sum(jax.nn.log_softmax(w)[:, 0]), 0, False, False),
    "two softmaxes that differ": (
        lambda w: jax.nn.logsumexp(w[0]) - w[1, 0], 1, False, False,
    ),
    "slightly broken": (
        lambda w: jnp.sum(jax.nn.log_softmax(w)[:, 0]) + 1e-6 * jnp.sum(w**3), 1, False, False,
    ),
    "wrong weights": (
        lambda w: jnp.sum(w @ jnp.array([0.5, 0.25, 0.2]) - jax.nn.logsumexp(w, 1)),
        1, False, False,
    ),
    "mean of another number": (lambda w: jnp.sum((w - jnp.sum(w, 1, keepdims=True) / 4) ** 2), 1,
                               False, False),
    "rounded": (lambda w: jnp.sum((w - jnp.max(w, 1, keepdims=True)).astype(int) + w), 1,
                False, False),
    "decay": (lambda w: -jax.nn.log_softmax(w[0])[1] + jnp.sum(w**2), 1, False, False),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_shifts_are_proved_exactly_where_they_hold(name):
    loss, axis, holds, logit = LOSSES[name]
    with jax.enable_x64(True):
        closed = jax.make_jaxpr(loss)(jax.ShapeDtypeStruct(W, float))
        found = cancelled(closed, 1, [(0, axis)], {})
        assert (found is not None) == holds
        if found is not None:
            assert found.logit == logit
        # The independent witness: shift by an arbitrary term that is constant along the axis.
        rng = np.random.default_rng(0)
        w = rng.normal(size=W)
        moved = w + rng.normal(size=[1 if k == axis else n for k, n in enumerate(W)])
        change = abs(float(loss(moved) - loss(w)))
        assert change < 1e-12 if holds else change > 1e-8


def test_any_change_of_a_leaf_that_cancels():
    def loss(k, x):  # a bias of attention keys
        scores = x @ (x + k).T
        return jnp.sum(jax.nn.softmax(scores)[:, 0])

    closed = jax.make_jaxpr(loss)(jnp.ones(3), jnp.ones((4, 3)))
    assert cancelled(closed, 1, [(0, -1)], {}) is not None
    values = jax.make_jaxpr(lambda v, x: loss(v, x) + jnp.sum(v))(jnp.ones(3), jnp.ones((4, 3)))
    assert cancelled(values, 1, [(0, -1)], {}) is None


def test_one_hot_labels_as_data():
    rows = {"x": np.random.default_rng(0).normal(size=(3, 2)).round(2), "y": np.eye(3)}
    loss = lambda p, z: jax.nn.logsumexp(p["W"] @ z["x"]) - (p["W"] @ z["x"]) @ z["y"]
    params = {"W": (3, 2)}
    found = st.discover(st.Model(loss, params, random=st.Empirical(rows)))
    [group] = [g for g in found.groups if g.affine]
    assert (group.name, group.count, group.status) == ("logit shift of W axis 0", 2, "proved")
    rows["y"] = np.diag([2.0, 3.0, 4.0])  # control: labels that do not sum to one
    found = st.discover(st.Model(loss, params, random=st.Empirical(rows)))
    assert not [g for g in found.groups if g.affine]


def test_verify_proves_what_discover_proves():
    loss = lambda p, z: jax.nn.logsumexp(p["W"] @ z["x"]) - p["W"][0] @ z["x"]
    model = st.Model(loss, {"W": (3, 2)}, random={"x": st.Normal(2)})
    found = st.discover(model)
    assert {g.name for g in found.groups} == {
        "logit shift of W axis 0",
        "logit shift of W axis 0 by multiples of a parameter",
    }
    for generator in (*found.translations, found.generators[0]):
        assert generator.verdict.status == "proved"
        assert st.verify(model, generator.symmetry).status == "proved"
