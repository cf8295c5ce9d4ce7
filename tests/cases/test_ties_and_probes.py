"""Points thrown away where they tie, NaN that passes `x > tol`, probes of one size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import (
    assert_laws_never_wrong,
    assert_laws_right,
    assert_never_wrong,
    assert_right,
    change,
    conservation_laws,
    discover,
    draw,
    generator_matrix,
    is_proved,
    kinds,
    moved,
    reflections,
    verify,
)


def assert_only_true(found, model, right):
    """Swaps and flips are the right ones; whatever is listed besides holds where l is finite."""
    points = []
    for seed in range(40):
        params, sample = draw(model, seed=seed)
        params = {k: np.abs(v) if k in ("s", "var") else v for k, v in params.items()}
        points.append((params, sample))
    for item in found:
        for params, sample in points:
            after = item.reflection.apply(jax.tree.map(jnp.asarray, params))
            assert change(model.loss, params, after, sample) < 1e-6, item.name
    listed = kinds(found)
    assert {k: listed.get(k) for k in ("swap", "flip", "rotation")} == {
        k: right.get(k) for k in ("swap", "flip", "rotation")
    }


def test_case_ties_bias_points():
    # where(any(h > 0, h < 0), h, 0) is h, so this is the plain net of four relu units.
    def loss(p, z):
        h = jax.nn.relu(p["W"] @ z["x"])
        inside = jnp.any(jnp.stack([h > 0, h < 0]).T, axis=-1)
        return (p["u"] @ jnp.where(inside, h, 0.0) - z["y"]) ** 2

    model = st.Model(loss, {"W": (4, 3), "u": (4,)}, {"x": st.Normal(3), "y": st.Normal(())})
    found = discover(model)
    assert found is not None and found.total == 4
    assert found.status.holds


@pytest.mark.parametrize("name", ["written out", "tie"])
def test_case_constant_tie(name):
    receivers = jnp.array([0, 1, 1])

    def factor():
        if name == "written out":
            return 1.0
        degrees = jax.ops.segment_sum(jnp.ones(3), receivers, 2)
        return jax.lax.rsqrt(jnp.maximum(degrees, 1.0))[0]

    model = st.Model(
        lambda p, z: (jax.nn.relu(z["x"] @ p["W"]) @ p["u"] * factor() - z["y"]) ** 2,
        {"W": (3, 5), "u": (5,)},
        {"x": st.Normal(3), "y": st.Normal(())},
    )
    found = discover(model)
    assert_right(found, 5)
    assert_laws_right(conservation_laws(model, found=found), 5)


def test_case_nan_reflections():
    # log(s) is NaN where s is drawn negative; softplus is neither odd nor linear: swaps only.
    def loss(p, z):
        mean = p["u"] @ jax.nn.softplus(p["W"] @ z["x"])
        return 0.5 * ((z["y"] - mean) / p["s"]) ** 2 + jnp.log(p["s"])

    model = st.Model(
        loss, {"u": (10,), "W": (10, 8), "s": ()}, {"x": st.Normal(8), "y": st.Normal(())}
    )
    found = reflections(model)
    assert_only_true(found, model, {"swap": [(45, 9)]})


def test_case_bn_statistics():
    def loss(p, z):
        h = p["gain"] * (p["W"] @ z["x"] - p["mean"]) / jnp.sqrt(p["var"] + 1e-3) + p["shift"]
        return (p["u"] @ jnp.log1p(jnp.exp(h)) - z["y"]) ** 2

    shapes = {"W": (8, 8)} | {k: (8,) for k in ("gain", "mean", "var", "shift", "u")}
    model = st.Model(loss, shapes, {"x": st.Normal(8), "y": st.Normal(())})
    found = reflections(model)
    assert_only_true(found, model, {"swap": [(28, 13)], "flip": [(8, 10)]})


# --- units that are like others at the size of a probe, and not beyond ---
#
# Unit functions that are relu (or tanh, or linear) for |h| < 50 and something else beyond. What
# is claimed of them, proved or supported, must hold at weights of size 100 as well.

FAR_RELU = {
    "clip_50": lambda h: jnp.clip(h, 0.0, 50.0),
    "minimum_100": lambda h: jnp.minimum(jax.nn.relu(h), 100.0),
    "second_kink": lambda h: jax.nn.relu(h) + jax.nn.relu(h - 100.0),
    "where_1e3": lambda h: jnp.where(h > 1e3, 2.0 * h - 1e3, jax.nn.relu(h)),
    "where_flat": lambda h: jnp.where(jnp.abs(h) > 60.0, 0.0, jax.nn.relu(h)),
    "saturating_square": lambda h: jax.nn.relu(h) + jax.nn.relu(h - 80.0) ** 2,
    "negative_side": lambda h: jax.nn.relu(h) + jax.nn.relu(-h - 90.0),
    "round": lambda h: jax.nn.relu(h) + jnp.floor(jnp.abs(h) / 70.0),
    "cap_of_sum": lambda h: (
        jax.nn.relu(h) * jnp.where(jnp.sum(h**2) > 1e4, 0.5, 1.0) * 1.0
        + jnp.where(h > 120.0, 1.0, 0.0)
    ),
}
FAR_ODD = {
    "tanh_then_kink": lambda h: jnp.tanh(h) + jax.nn.relu(h - 80.0),
    "tanh_then_step": lambda h: jnp.tanh(h) + (h > 100.0),
    "sin_clipped": lambda h: jnp.sin(jnp.clip(h, -1e3, 90.0)),
}
FAR_LINEAR = {
    "clip": lambda h: jnp.clip(h, -50.0, 50.0),
    "kink": lambda h: h + jax.nn.relu(h - 100.0),
    "leaky": lambda h: jnp.where(h > -80.0, h, 0.01 * (h + 80.0) - 80.0),
}


def layer(act):
    def loss(p, z):
        return (p["u"] @ act(p["W"] @ z["x"]) - z["y"]) ** 2

    return st.Model(loss, {"W": (2, 2), "u": (2,)}, {"x": st.Normal(2), "y": st.Normal(())})


def far_points(model):
    out = []
    for seed, scale in enumerate((30.0, 60.0, 90.0, 130.0, 400.0, 2e3, 2e4)):
        params, sample = draw(model, seed=seed, scale=scale)
        params = {"W": params["W"], "u": draw(model, seed=50 + seed)[0]["u"]}
        out.append((params, {"x": np.array([0.8, -0.7]), "y": 0.3 + 0 * sample["y"]}))
        out.append((params, {"x": np.array([-0.9, 1.1]), "y": 0.3 + 0 * sample["y"]}))
    return out


def assert_claims_hold(found, model, points, times=(-0.4, 0.3)):
    """Whatever is listed with a status that holds leaves the loss, proved or supported."""
    for item in (*found.generators, *found.translations) if found is not None else ():
        if not item.verdict.status.holds:
            continue
        matrix = generator_matrix(item, model.dimension)
        for params, sample in points:
            for time in times:
                shift = change(model.loss, params, moved(params, matrix, time), sample)
                assert shift < 1e-5, f"{item.name} is called {item.verdict.status}"


def assert_reflections_hold(found, model, points):
    for item in found or ():
        for params, sample in points:
            after = item.reflection.apply(jax.tree.map(jnp.asarray, params))
            shift = change(model.loss, params, after, sample)
            assert shift < 1e-5, f"{item.name} is called {item.verdict.status}"


@pytest.mark.parametrize("name", FAR_RELU)
def test_no_rescaling_of_units_that_saturate_far_away(name):
    model = layer(FAR_RELU[name])
    points = far_points(model)
    unit = np.diag([1.0, 1, 0, 0, -1, 0, 0])
    assert max(change(model.loss, p, moved(p, unit, 0.3), z) for p, z in points) > 1e-3
    found = discover(model)
    assert_claims_hold(found, model, points)
    assert_never_wrong(found, 0, 0)


@pytest.mark.parametrize("name", FAR_RELU)
def test_verify_no_rescaling_of_units_that_saturate_far_away(name):
    e = np.array([1.0, 0.0])
    unit = st.Exponential(lambda p: {"W": e[:, None] * p["W"], "u": -e * p["u"]}, name="unit 1")
    assert not is_proved(verify(layer(FAR_RELU[name]), unit))


@pytest.mark.parametrize("name", FAR_RELU)
def test_no_law_of_units_that_saturate_far_away(name):
    # Near the origin the two rescalings give two laws; on all of parameter space there is none.
    laws = conservation_laws(layer(FAR_RELU[name]))
    if laws is not None and "all of parameter space" in laws.verdict.claim:
        assert laws.lower == 0


@pytest.mark.parametrize("name", FAR_ODD)
def test_no_flip_of_units_that_are_odd_near_zero_only(name):
    model = layer(FAR_ODD[name])
    found = reflections(model)
    assert_reflections_hold(found, model, far_points(model))
    assert kinds(found).get("swap") == [(1, 3)]


@pytest.mark.parametrize("name", FAR_LINEAR)
def test_no_gl_of_units_that_are_linear_near_zero_only(name):
    model = layer(FAR_LINEAR[name])
    points = far_points(model)
    found = discover(model)
    assert_claims_hold(found, model, points)
    assert_never_wrong(found, 0, 0)
    mirrors = reflections(model)
    assert_reflections_hold(mirrors, model, points)
    assert "rotation" not in kinds(mirrors)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_a_kink_at_any_place(scale):
    # relu(h) + relu(h - scale): no rescaling, whatever the place of the second kink.
    model = layer(lambda h: jax.nn.relu(h) + jax.nn.relu(h - scale))
    found = discover(model)
    assert_never_wrong(found, 0, 0)
    assert found is None or found.status is not st.Status.SUPPORTED or found.total == 0


# --- losses that are not a number at some of the points ---

PARTLY_NAN = {
    "log": lambda s: jnp.log(s),
    "sqrt": lambda s: jnp.sqrt(s),
    "power": lambda s: s**0.3,
    "log1p": lambda s: jnp.log1p(s - 1),
    "arcsin": lambda s: jnp.arcsin(s / 3),
    "arccosh": lambda s: jnp.arccosh(1 + s),
    "arctanh": lambda s: jnp.arctanh(s / 3),
    "rsqrt": lambda s: jax.lax.rsqrt(s),
    "log_of_difference": lambda s: jnp.log(jnp.exp(s) - 1),
    "where": lambda s: jnp.where(s > 0, s, jnp.nan),
}


@pytest.mark.parametrize("name", PARTLY_NAN)
def test_reflections_where_the_loss_is_partly_nan(name):
    # softplus is neither odd nor linear: three swaps of rank 2 + 1, nothing else.
    read = PARTLY_NAN[name]

    def loss(p, z):
        mean = p["u"] @ jax.nn.softplus(p["W"] @ z["x"])
        return 0.5 * ((z["y"] - mean) / (1 + p["s"] ** 2)) ** 2 + read(p["s"])

    shapes = {"u": (3,), "W": (3, 2), "s": ()}
    model = st.Model(loss, shapes, {"x": st.Normal(2), "y": st.Normal(())})
    assert kinds(reflections(model)) == {"swap": [(3, 3)]}


@pytest.mark.parametrize("name", PARTLY_NAN)
def test_discover_where_the_loss_is_partly_nan(name):
    # (u w - y)^2 + f(s): the rescaling of u against w, and nothing about s.
    read = PARTLY_NAN[name]
    loss = lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2 + read(p["s"])
    model = st.Model(loss, {"u": (), "w": (), "s": ()}, {"y": st.Normal(())})
    found = discover(model)
    assert_never_wrong(found, 1, 1)
    assert found is not None and found.total == 1
    laws = conservation_laws(model)
    assert_laws_never_wrong(laws, 1)


ALWAYS_NAN = {
    "times_nan": lambda h: jnp.sum(h) * jnp.nan,
    "log_negative": lambda h: jnp.log(-jnp.sum(h**2) - 1),
    "sqrt_negative": lambda h: jnp.sqrt(-jnp.sum(h**2) - 1),
    "zero_over_zero": lambda h: (0 * jnp.sum(h)) / (0 * jnp.sum(h)),
    "inf_minus_inf": lambda h: jnp.inf * (1 + jnp.sum(h**2)) - jnp.inf * (1 + jnp.sum(h**2)),
    "arcsin_of_2": lambda h: jnp.arcsin(2 + jnp.sum(h**2)),
    "infinite": lambda h: jnp.inf * (1 + jnp.sum(h**2)),
    "one_over_zero": lambda h: 1.0 / (0 * jnp.sum(h)),
}


@pytest.mark.parametrize("ask_for", [discover, conservation_laws, reflections, "verify"])
@pytest.mark.parametrize("name", ALWAYS_NAN)
def test_nothing_is_proved_of_a_loss_that_is_never_a_number(name, ask_for):
    read = ALWAYS_NAN[name]
    model = st.Model(
        lambda p, z: read(p["U"] @ p["W"] @ z["x"]),
        {"U": (2, 2), "W": (2, 2)},
        {"x": st.Normal(2)},
    )
    if ask_for == "verify":
        turn = st.Exponential(lambda p: {"U": p["U"], "W": -p["W"]})
        wrong = st.Exponential(lambda p: {"U": p["U"], "W": p["W"]})
        assert not is_proved(verify(model, turn)) and not is_proved(verify(model, wrong))
        return
    found = ask_for(model)
    if ask_for is reflections:
        assert not [r for r in found or () if r.verdict.status.holds]
        return
    assert not is_proved(found)
    assert found is None or ask_for is not discover or found.total == 0


# --- comparisons that are ties at generic points ---
#
# l = (u . f(relu(W x)) - y)^2 with f the identity on what relu returns: 2 rescalings.

TIES = {
    "relu_again": jax.nn.relu,
    "maximum_0": lambda r: jnp.maximum(r, 0.0),
    "maximum_of_self": lambda r: jnp.maximum(r, r),
    "abs": jnp.abs,
    "clip": lambda r: jnp.clip(r, 0.0, None),
    "where_nonzero": lambda r: jnp.where(r != 0, r, 0.0),
    "where_positive": lambda r: jnp.where(r > 0, r, 0.0),
    "where_not_negative": lambda r: jnp.where(r >= 0, r, 7.0),
    "where_zero": lambda r: jnp.where(r == 0, 0.0, r),
    "any_of_both": lambda r: jnp.where(jnp.any(jnp.stack([r > 0, r < 0]), axis=0), r, 0.0),
    "all_of_none": lambda r: jnp.where(jnp.all(jnp.stack([r <= 0, r >= 0]), axis=0), 0.0, r),
    "sort_with_0": lambda r: jnp.sort(jnp.stack([r, 0 * r]), axis=0)[1],
    "max_pool_with_0": lambda r: jnp.max(jnp.stack([r, 0 * r, 0 * r]), axis=0),
    "median": lambda r: jnp.sort(jnp.stack([r, r, 0 * r]), axis=0)[1],
    "sign": lambda r: r * jnp.sign(r),
    "power": lambda r: jnp.sqrt(r**2),
    "double_where": lambda r: jnp.where(r > 0, jnp.where(r > 0, r, 1.0), 0.0),
    "argmax": lambda r: jnp.take_along_axis(
        jnp.stack([r, 0 * r]), jnp.argmax(jnp.stack([r, 0 * r]), axis=0)[None], axis=0
    )[0],
    "top_k": lambda r: jax.vmap(lambda a: jax.lax.top_k(jnp.stack([a, 0 * a]), 1)[0][0])(r),
    "heaviside": lambda r: r * jnp.heaviside(r, 1.0),
    "minus_relu_of_minus": lambda r: r - jax.nn.relu(-r),
    "leaky": lambda r: jax.nn.leaky_relu(r, 0.1),
    "constants_tie": lambda r: r * jnp.maximum(1.0, 1.0),
    "constants_tie_in_sort": lambda r: r * jnp.sort(jnp.ones(3))[1],
    "constants_tie_in_where": lambda r: r * jnp.where(jnp.ones(2) > 1.0, 5.0, 1.0)[0],
    "constants_equal": lambda r: jnp.where(jnp.zeros(2) == 0.0, r, -r),
    "constant_argmax": lambda r: r * (1.0 + jnp.argmax(jnp.ones(3))),
    "constant_clip": lambda r: r * jnp.clip(1.0, 1.0, 2.0),
    "constant_sign": lambda r: r * (1.0 + jnp.sign(jnp.zeros(2))),
    "constant_floor": lambda r: r * jnp.floor(1.0),
}


@pytest.mark.parametrize("name", TIES)
def test_discover_with_ties(name):
    f = TIES[name]
    np.testing.assert_allclose(f(jnp.array([0.0, 1.5])), [0.0, 1.5])
    model = layer(lambda h: f(jax.nn.relu(h)))
    assert_right(discover(model), 2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", TIES)
def test_conservation_laws_with_ties(name):
    f = TIES[name]
    assert_laws_right(conservation_laws(layer(lambda h: f(jax.nn.relu(h)))), 2)


def test_max_pool_of_relu_units():
    # max(relu(h_1), relu(h_2)) ties at 0 in a quarter of all points: one rescaling per pool.
    def loss(p, z):
        pooled = jnp.max(jax.nn.relu(p["W"] @ z["x"]).reshape(2, 2), axis=1)
        return (p["u"] @ pooled - z["y"]) ** 2

    model = st.Model(loss, {"W": (4, 3), "u": (2,)}, {"x": st.Normal(3), "y": st.Normal(())})
    assert_right(discover(model), 2, 2)
    assert_laws_right(conservation_laws(model), 2)


def test_relu_of_a_dead_sum():
    # relu(-relu(h) - relu(-h)) = relu(-|h|) = 0: the loss does not depend on W at all.
    model = st.Model(
        lambda p, z: (p["u"] + jax.nn.relu(-jnp.abs(p["w"] * z["x"])) - z["y"]) ** 2,
        {"u": (), "w": ()},
        {"x": st.Normal(()), "y": st.Normal(())},
    )
    found = discover(model)
    assert found is not None
    assert found.total == 0 or "w" in found.trivial
