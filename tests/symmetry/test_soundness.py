"""Losses built to make a derivative lie: none of them may be called invariant."""

import jax
import jax.numpy as jnp
import pytest

import symtheory as st

Y = {"y": st.Normal(())}
TRANSLATION = st.Affine(lambda p: {"u": 1.0 + 0 * p["u"]}, name="translation")
ROTATION = st.Exponential(lambda p: {"q": jnp.stack([-p["q"][1], p["q"][0]])}, name="rotation")
RESCALING = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")


@jax.custom_jvp
def flat(x):
    """The identity, with a derivative rule that says it is constant."""
    return x


flat.defjvp(lambda primals, tangents: (primals[0], 0 * tangents[0]))


def model(loss, **shapes):
    return st.Model(loss, params=shapes, random=Y)


@pytest.mark.parametrize(
    ("loss", "symmetry", "shapes"),
    [
        (lambda p, z: jax.lax.stop_gradient(p["u"]) * z["y"], TRANSLATION, {"u": ()}),
        (lambda p, z: flat(p["u"]) * z["y"], TRANSLATION, {"u": ()}),
        (lambda p, z: jnp.where(p["u"] > 0.3, 1.0, 0.0) + z["y"], TRANSLATION, {"u": ()}),
        (lambda p, z: jnp.sign(p["u"]) * z["y"], TRANSLATION, {"u": ()}),
        (
            lambda p, z: jnp.where(p["q"][0] > p["q"][1], z["y"], 2.0) * (p["q"] @ p["q"]),
            ROTATION,
            {"q": (2,)},
        ),
        (
            lambda p, z: (jax.lax.stop_gradient(p["u"]) * p["w"] - z["y"]) ** 2,
            RESCALING,
            {"u": (), "w": ()},
        ),
        (lambda p, z: jnp.arctan(p["u"]) + jnp.arctan(1 / p["u"]) + z["y"], TRANSLATION, {"u": ()}),
    ],
    ids=["stop_gradient", "custom_jvp", "step", "sign", "step-rotation", "half-stopped", "arctan"],
)
def test_a_lying_derivative_proves_nothing(loss, symmetry, shapes):
    verdict = st.verify(model(loss, **shapes), symmetry)
    assert verdict.status != "proved", verdict


@pytest.mark.parametrize(
    ("loss", "symmetry", "shapes"),
    [
        # A piece that does not jump, a condition the flow does not change, a stopped maximum.
        (
            lambda p, z: jax.nn.relu(p["q"] @ p["q"] - 1.0) * z["y"],
            ROTATION,
            {"q": (2,)},
        ),
        (
            lambda p, z: jnp.where(p["q"] @ p["q"] > 1.0, z["y"], 2.0),
            ROTATION,
            {"q": (2,)},
        ),
        (
            lambda p, z: jax.nn.logsumexp(jnp.stack([p["u"] + z["y"], p["u"]])) - p["u"],
            TRANSLATION,
            {"u": ()},
        ),
        (
            lambda p, z: jnp.abs(p["u"] * p["w"] - z["y"]),
            RESCALING,
            {"u": (), "w": ()},
        ),
    ],
    ids=["relu", "kept-condition", "logsumexp", "abs"],
)
def test_true_invariance_is_still_proved(loss, symmetry, shapes):
    verdict = st.verify(model(loss, **shapes), symmetry)
    assert verdict.status == "proved", verdict


def test_degrees_do_not_vouch_for_a_stopped_gradient():
    """The value scales, but the gradient that SGD follows is not orthogonal to A theta."""
    stopped = model(
        lambda p, z: (jax.lax.stop_gradient(jnp.prod(jnp.sqrt(p["v"]))) * p["w"] - z["y"]) ** 2,
        v=(4,),
        w=(),
    )
    scaling = st.Exponential(lambda p: {"v": p["v"], "w": -2 * p["w"]})
    assert st.verify(stopped, scaling).status != "proved"


def test_one_name_for_two_arrays_is_refused():
    with pytest.raises(st.InputError, match="two names"):
        st.Model(
            lambda p, z: p["u"] * (z["a"].sum() + z["b"].sum()),
            params={"u": ()},
            random={"a": st.Normal(4, mean="m"), "b": st.Normal((2, 2), mean="m")},
        )
    with pytest.raises(st.InputError, match="same name"):
        st.Normal(2, mean="m", cov="m")
