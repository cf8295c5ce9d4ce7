"""Losses built to make a derivative lie: none of them may be called invariant."""

import contextlib

import jax
import jax.numpy as jnp
import pytest

import symtheory as st
from symtheory.errors import UnreadableError
from symtheory.symmetry._faithful import redefines_derivatives

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


# --- rounding on purpose --------------------------------------------------------------------------

ROUNDED = {
    "half": lambda u: u.astype(jnp.float16).astype(float),
    "brain": lambda u: u.astype(jnp.bfloat16).astype(float),
    "eight bits": lambda u: u.astype(jnp.float8_e4m3fn).astype(float),
    "reduced": lambda u: jax.lax.reduce_precision(u, 5, 2),
}
EXACT = {
    "single": lambda u: u.astype(jnp.float32).astype(float),
    "reduced to single": lambda u: jax.lax.reduce_precision(u, 8, 23),
}


def product(change):
    return model(lambda p, z: (change(p["u"]) @ p["w"] - z["y"]) ** 2, u=(3,), w=(3,))


@pytest.mark.parametrize("name", ROUNDED)
def test_rounding_has_no_scalings_and_no_laws(name):
    laws = st.conservation_laws(product(ROUNDED[name]))
    assert laws.lower == 0 and laws.status != "proved"
    with contextlib.suppress(UnreadableError):
        assert st.verify(product(ROUNDED[name]), RESCALING).status != "proved"
    assert not st.discover(product(ROUNDED[name])).generators


@pytest.mark.parametrize("name", EXACT)
def test_single_precision_is_exact(name):
    laws = st.conservation_laws(product(EXACT[name]))
    assert (laws.lower, laws.upper) == (5, 5)
    assert st.verify(product(EXACT[name]), RESCALING).status == "proved"
    assert st.discover(product(EXACT[name])).generators


@pytest.mark.parametrize("name", ROUNDED | EXACT)
def test_rounding_is_odd_and_alike_for_all_entries(name):
    found = st.reflections(product((ROUNDED | EXACT)[name]))
    kinds = {(r.kind, str(r.verdict.status)) for r in found}
    assert {("swap", "proved"), ("flip", "proved")} <= kinds


def test_a_function_is_not_trusted_for_its_name():
    """A user's jitted `softplus` may stop gradients; that of JAX has the true derivative."""

    @jax.jit
    def softplus(x):
        return jax.lax.stop_gradient(x) * x

    def model(activation):
        return st.Model(
            lambda p, z: jnp.sum(activation(p * z["x"])), params=3, random={"x": st.Normal(3)}
        )

    assert redefines_derivatives(model(softplus))
    assert not redefines_derivatives(model(jax.nn.softplus))
    assert not redefines_derivatives(model(jax.nn.log_softmax))


@pytest.mark.parametrize("level", [1e3, 1e5])
def test_what_is_proved_is_listed_where_singular_values_show_no_gap(level):
    """Far from the origin one more term depends on a - u: few points tell, and a proof does."""

    def loss(p, z):
        e = jax.lax.cond(z["x"] > 5, lambda: p["u"] * p["w"] * z["x"], lambda: p["u"] * p["w"])
        return jnp.logaddexp(0.0, -z["y"] * e) * (1 + jnp.maximum(p["a"] - p["u"], level))

    found = st.discover(
        st.Model(loss, {"a": (), "u": (), "w": ()}, {"x": st.Normal((), cov=0.25), **Y})
    )
    if found.status == "proved":
        assert (found.total, found.affine, len(found.generators)) == (1, 1, 1)
    for item in found.generators:
        assert item.matrix.keys() == {(0, 1), (1, 1), (2, 2)}


@pytest.mark.parametrize(
    "step", [lambda h: (h > 0) * 1.0, lambda h: jnp.where(h > 0, 1.0, 0.0), jnp.sign, jnp.heaviside]
)
def test_steps_of_parameters_are_read_everywhere(step):
    data = {"x": jnp.array([[0.5, 2.0, 0.5], [0.5, 0.5, 0.5]]), "y": jnp.array([0.5, 1.0])}
    if step is jnp.heaviside:
        step = lambda h: jnp.heaviside(h, 0.5)

    def loss(p, z):
        e = p["u"] @ step(p["W"] @ z["x"]).at[0].mul(2.0)
        return (e - z["y"]) ** 2 + e * z["y"]

    found = st.discover(st.Model(loss, {"W": (2, 3), "u": 2}, st.Empirical(data)))
    assert not any(item.leaves == ("u",) for item in found.generators)
