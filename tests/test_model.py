"""Models: binding, shapes, and messages that say the cause, the value and what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.data import Empirical, Normal, Rademacher
from symtheory.errors import InputError
from symtheory.model import Model


def linear(**kwargs):
    return Model(
        lambda p, z, c: jnp.sum((p["U"] @ p["W"] @ z["x"] - c["V"] @ z["x"] - z["eps"]) ** 2),
        params={"U": ("dy", "h"), "W": ("h", "dx")},
        random={"x": Normal("dx", cov="Sx"), "eps": Normal("dy", cov="Se")},
        constants={"V": ("dy", "dx")},
        **kwargs,
    )


# --- bind ----------------------------------------------------------------------------------------


def test_binding_in_any_order_gives_the_same_model():
    sizes = {"dy": 2, "h": 3, "dx": 4}
    arrays = {"Sx": np.diag([1.0, 2, 3, 4]), "Se": 0.5, "V": np.ones((2, 4))}
    at_once = linear().bind(**sizes, **arrays)
    step = linear()
    for name, value in [*arrays.items(), *sizes.items()][::-1]:
        step = step.bind(**{name: value})
    # V alone determines dy and dx, so only h and the covariances are left.
    inferred = linear().bind(V=arrays["V"]).bind(h=3, Se=0.5, Sx=arrays["Sx"])
    for model in (at_once, step, inferred):
        assert model.leaves == {"U": (2, 3), "W": (3, 4)}
        assert model.dimension == 18
        assert model.unbound == {}
        assert model.require_bound() is model
        np.testing.assert_array_equal(model.values["Se"], 0.5 * np.eye(2))
        params = {"U": jnp.ones((2, 3)), "W": jnp.ones((3, 4))}
        sample = model.sample(jax.random.key(0))
        assert model.evaluate(params, sample) == at_once.evaluate(params, sample)
    assert linear().leaves == {"U": ("dy", "h"), "W": ("h", "dx")}  # bind does not change it


def test_what_is_left_to_bind():
    model = linear()
    assert list(model.unbound) == ["dy", "h", "dx", "Sx", "Se", "V"]
    assert model.unbound["h"] is None
    assert model.unbound["V"] == ("dy", "dx")
    assert set(model.bind(V=np.ones((2, 2))).unbound) == {"h", "Sx", "Se"}
    assert model.bind(dx=5).unbound["Sx"] == (5, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Sxx": 1.0}, "'Sxx' is not a name to bind; did you mean 'Sx'"),
        ({"zz": 1.0}, "known names: Se, Sx, V, dx, dy, h"),
        ({"h": 0}, "'h' must be a positive integer, got 0"),
        ({"h": -1}, "positive integer"),
        ({"h": 2.5}, "positive integer, got 2.5"),
        ({"h": True}, "positive integer"),
        ({"h": "3"}, "positive integer"),
        ({"dx": 3, "V": np.ones((2, 2))}, "V has shape.*dx = 2.*dx = 3 elsewhere"),
        ({"Sx": np.eye(3), "V": np.ones((2, 2))}, "dx = 2.*dx = 3|dx = 3.*dx = 2"),
        ({"Sx": np.ones((2, 3))}, "dx = 3.*dx = 2"),
        ({"V": np.ones(2)}, r"V has shape \(2,\) where \(dy, dx\)"),
        ({"V": 1.0}, r"V has shape \(\) where"),
        ({"V": np.full((2, 2), np.nan)}, "V has entries that are NaN"),
        ({"dx": 2, "Sx": [[1.0, 2.0], [2.0, 1.0]]}, "Sx: .*smallest eigenvalue is -1"),
        ({"dx": 2, "Sx": [[1.0, 0.5], [0.4, 1.0]]}, r"Sx: .*entry \(1, 2\)"),
        ({"dx": 2, "Sx": -1.0}, "Sx: .*eigenvalue"),
    ],
)
def test_wrong_bindings(given, message):
    with pytest.raises(InputError, match=message):
        linear().bind(**given)


def test_what_is_bound_stays_bound():
    bound = linear().bind(h=2)
    with pytest.raises(InputError, match="'h' is not a name to bind"):
        bound.bind(h=3)


def test_a_mean_is_not_a_covariance():
    model = Model(lambda p, z: jnp.sum(z["x"]) * p["u"], {"u": ()}, {"x": Normal((2, 2), mean="M")})
    with pytest.raises(InputError, match=r"M has shape \(\) where \(2, 2\)"):
        model.bind(M=1.0)
    assert model.bind(M=np.ones((2, 2))).sample(jax.random.key(0))["x"].shape == (2, 2)


def test_shared_names_are_bound_together():
    model = Model(
        lambda p, z: (p["u"] @ (z["x"] - z["y"])) ** 2,
        {"u": ("n",)},
        {"x": Normal("n", cov="S"), "y": Normal("n", cov="S")},
    ).bind(S=np.diag([4.0, 9.0]))
    assert model.unbound == {}
    draw = model.sample(jax.random.key(0), (50_000,))
    for name in "xy":
        np.testing.assert_allclose(np.var(draw[name], axis=0), [4, 9], rtol=0.05)


def test_arrays_stand_for_shapes_and_values():
    model = Model(
        lambda p, z, c: (p["w"] @ c["a"]) * z["x"],
        {"w": np.zeros(3)},
        {"x": Normal(())},
        constants={"a": np.array([1.0, 2.0, 3.0])},
    )
    assert model.leaves == {"w": (3,)}
    assert model.unbound == {}
    assert model.evaluate({"w": jnp.ones(3)}, {"x": 2.0}) == 12


def test_structures_of_a_data_set():
    rows = np.arange(6.0).reshape(3, 2)
    whole = Model(
        lambda p, z: (p["w"] @ z["x"] - z["y"]) ** 2,
        {"w": (2,)},
        Empirical({"x": rows, "y": rows[:, 0]}),
    )
    draw = whole.sample(jax.random.key(0), (4,))
    assert draw["x"].shape == (4, 2) and draw["y"].shape == (4,)
    np.testing.assert_array_equal(draw["x"][:, 0], draw["y"])  # rows stay together
    mixed = Model(
        lambda p, z: (p["w"] @ z["d"]["x"] - z["e"]) ** 2,
        {"w": (2,)}, {"d": Empirical({"x": rows}), "e": Rademacher(())},
    )  # fmt: skip
    assert mixed.sample(jax.random.key(0), (4,))["d"]["x"].shape == (4, 2)
    assert whole.bind() is not None


# --- wrong models --------------------------------------------------------------------------------

X = {"x": Normal(2)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Model(3, {"w": 2}, X), "loss must be a function"),
        (lambda: Model(lambda p, z: 0.0, {}, X), "no parameters"),
        (lambda: Model(lambda p, z: 0.0, None, X), "no parameters"),
        (lambda: Model(lambda p, z: p["w"] * z["x"], {"w": (2,)}, X), r"scalar.*\(2,\).*sum"),
        (lambda: Model(lambda p, z: (p["w"] @ z["x"], 1.0), {"w": (2,)}, X), "scalar"),
        (
            lambda: Model(lambda p, z: p["w"] @ z["x"], {"w": (3,)}, X),
            r"parameter w \(3,\).*x \(2,\)",
        ),
        (lambda: Model(lambda p, z: p["v"] @ z["x"], {"w": (2,)}, X), "KeyError"),
        (lambda: Model(lambda p, z: p["w"] @ z["y"], {"w": (2,)}, X), "KeyError"),
        (lambda: Model(lambda p: 0.0, {"w": (2,)}, X), "cannot be evaluated"),
        (lambda: Model(lambda p, z: 0.0, {"w": (2,)}, {"x": 3}), r"random\['x'\] is 3.*Normal"),
        (lambda: Model(lambda p, z: 0.0, {"w": (2,)}, Normal(2)), "laws by name"),
        (lambda: Model(lambda p, z: 0.0, {"w": (2.5,)}, X), "size is an integer or a name"),
        (lambda: Model(lambda p, z: 0.0, {"w": (True,)}, X), "size is an integer or a name"),
        (lambda: Model(lambda p, z: 0.0, {"w": ("",)}, X), "empty name"),
        (lambda: Model(lambda p, z: 0.0, {"w": (-2,)}, X), "not negative"),
        (lambda: Model(lambda p, z, c: 0.0, {"w": ("h",)}, X, {"h": ()}), "'h' names both"),
        (lambda: Model(lambda p, z, c: 0.0, {"w": 1}, X, {"k": np.array([np.nan])}), "k.*NaN"),
    ],
)
def test_wrong_models(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_loss_that_fits_at_no_size_is_found_when_the_sizes_are_known():
    model = Model(lambda p, z: p["w"] @ z["x"], {"w": ("n", "n")}, {"x": Normal("n")})
    with pytest.raises(InputError, match="scalar"):
        model.bind(n=2)


def test_messages_are_one_sentence_that_says_what_to_do():
    model = linear()
    cases = [
        (lambda: model.require_bound(), "size 'dy' is not bound; bind it with model.bind(dy=...)"),
        (lambda: model.structure(), "is not bound; bind it with model.bind("),
        (lambda: model.dimension, "is not bound; bind it with model.bind("),
        (lambda: model.bind(dy=2, h=2, dx=2).require_bound(),
         "covariance or mean 'Sx' of shape (2, 2) is not bound; bind it with model.bind(Sx=...)"),
        (lambda: model.bind(dy=2, h=2, dx=2, Sx=1, Se=1).require_bound(),
         "the constant 'V' of shape (2, 2) is not bound; bind it with model.bind(V=...)"),
        (lambda: model.bind(dy=2, h=2, dx=2).sample(jax.random.key(0)), "'Sx' is not bound"),
        (lambda: model.bind(dy=1, h=1, dx=1).evaluate({}, {}), "the constant 'V' is not bound"),
    ]  # fmt: skip
    for call, text in cases:
        with pytest.raises(InputError) as caught:
            call()
        message = str(caught.value)
        assert text in message
        assert "\n" not in message and not message.endswith(".")


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"U": np.ones((2, 2))}, "structure"),
        ({"U": np.ones((2, 2)), "W": np.ones((2, 2)), "b": 1.0}, "structure"),
        ([np.ones((2, 2)), np.ones((2, 2))], "structure"),
        ({"U": np.ones((2, 2)), "W": np.ones((2, 3))}, r"'W' has shape \(2, 3\) where \(2, 2\)"),
        ({"U": np.ones((2, 2)), "W": np.ones(4)}, "'W' has shape"),
        ({"U": np.ones((2, 2)), "W": np.full((2, 2), np.nan)}, "'W' has entries that are NaN"),
        (
            {"U": np.full((2, 2), np.inf), "W": np.ones((2, 2))},
            "'U' has entries that are NaN or inf",
        ),
    ],
)
def test_wrong_parameters(params, message):
    model = linear().bind(dy=2, h=2, dx=2)
    good = {"U": np.ones((2, 2)), "W": np.ones((2, 2))}
    assert model.check_params(good) is good
    with pytest.raises(InputError, match=message):
        model.check_params(params)


def test_samples_follow_their_key_and_dtype():
    model = linear().bind(dy=2, h=2, dx=3, Sx=1.0, Se=2.0, V=np.ones((2, 3)))
    first, again = (model.sample(jax.random.key(1), (4,)) for _ in range(2))
    assert jax.tree.map(jnp.shape, first) == {"x": (4, 3), "eps": (4, 2)}
    assert all(np.array_equal(first[k], again[k]) for k in first)
    assert not np.array_equal(first["x"], model.sample(jax.random.key(2), (4,))["x"])
    assert model.sample(jax.random.key(1), (), jnp.float32)["x"].dtype == jnp.float32


def test_the_loss_stays_an_ordinary_function():
    loss = lambda p, z: p["u"] * z["x"]
    model = Model(loss, {"u": ()}, {"x": Normal(())})
    assert model.loss is loss
    params = {"u": jnp.array(2.0)}
    assert jax.jit(jax.grad(model.evaluate))(params, {"x": 3.0})["u"] == 3.0
