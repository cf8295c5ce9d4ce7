"""A premise that holds off a null set, used along a flow that crosses it.

A derivative that is zero almost everywhere does not make a function constant where its domain is
cut in two. What is invariant on either side only may be called proved if the verdict says so.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import (
    assert_proved_generators_hold,
    assert_proved_reflections_hold,
    change,
    conservation_laws,
    discover,
    draws,
    generator_matrix,
    is_proved,
    moved,
    reflections,
    status,
    verify,
)

SAYS_WHERE = re.compile(
    r"\bsides?\b|\bsign of\b|\bcomponents?\b|\bpieces?\b|not cross|away from|≠ 0|!= 0|null set",
    re.I,
)


def proved_everywhere(verdict):
    """Tell whether a verdict is a proof that does not say that it is about one side only."""
    if not is_proved(verdict):
        return False
    return not SAYS_WHERE.search(" ".join([verdict.claim, verdict.how, *verdict.assumptions]))


def jumping():
    return st.Model(
        lambda p, z: (p["g"] * p["v"] / jnp.abs(p["v"]) - z["y"]) ** 2,
        {"g": (), "v": ()},
        {"y": st.Normal(())},
    )


SHIFT = st.Affine(lambda p: {"g": 0 * p["g"], "v": 1.0 + 0 * p["v"]}, name="shift of v")


def test_case_jump_across_singularity_shift():
    assert not proved_everywhere(verify(jumping(), SHIFT))


def test_case_jump_across_singularity_discover():
    found = discover(jumping())
    for verdict in found.trivial.values():
        assert not proved_everywhere(verdict)
    assert_proved_generators_hold(found, jumping())


def test_case_jump_across_singularity_rotation():
    model = st.Model(
        lambda p, z: (p["g"] * p["v"][0] / jnp.abs(p["v"][0]) - z["y"]) ** 2,
        {"g": (), "v": (2,)},
        {"y": st.Normal(())},
    )
    turn = st.Exponential(
        lambda p: {"g": 0 * p["g"], "v": jnp.array([-p["v"][1], p["v"][0]])}, name="rotation of v"
    )
    got = {str(verify(model, turn, seed=seed).status) for seed in range(6)}
    assert len(got) == 1, got
    assert "proved" not in got


# --- functions of the side on which v lies ---

SIDES = {
    "over_abs": lambda v: v / jnp.abs(v),
    "abs_over": lambda v: jnp.abs(v) / v,
    "relu_over": lambda v: jax.nn.relu(v) / v,
    "over_sqrt_of_square": lambda v: v / jnp.sqrt(v * v),
    "sqrt_of_square_over": lambda v: jnp.sqrt(v**2) / v,
    "rsqrt": lambda v: v * jax.lax.rsqrt(v**2),
    "sign": jnp.sign,
    "heaviside": lambda v: jnp.heaviside(v, 0.5),
    "where": lambda v: jnp.where(v > 0, 1.0, -1.0),
    "select": lambda v: jax.lax.select(v > 0, 1.0, -1.0),
    "cast": lambda v: (v > 0).astype(float),
    "norm_of_one": lambda v: v / jnp.linalg.norm(jnp.atleast_1d(v)),
    "vdot": lambda v: v / jnp.sqrt(jnp.vdot(v, v)),
    "max_pair": lambda v: jnp.maximum(v, -v) / v,
    "cube": lambda v: v**3 / jnp.abs(v) ** 3,
    "abs_times": lambda v: v * jnp.abs(v) / v**2,
    "arctan2": lambda v: jnp.arctan2(0.0 * v, v),
    "arctan_of_inverse": lambda v: jnp.arctan(v) + jnp.arctan(1 / v),
    "log_ratio": lambda v: jnp.exp(jnp.log(jnp.abs(v)) - jnp.log(v**2)) * v,
    "copysign": lambda v: jnp.copysign(1.0, v),
    "layer_norm_of_two": lambda v: ((h := jnp.stack([v, -v])) - h.mean())[0] / h.std(),
    "batch_norm_of_two": lambda v: ((h := v * jnp.array([1.0, 2.0])) - h.mean())[1] / h.std(),
    "softmax_hard": lambda v: jnp.argmax(jnp.stack([v, 0.0 * v])).astype(float),
    "sort_order": lambda v: jnp.argsort(jnp.stack([v, 0.0 * v]))[0].astype(float),
    "floor": jnp.floor,
    "round": jnp.round,
    "ceil": jnp.ceil,
    "trunc": jnp.trunc,
    "integer": lambda v: v.astype(int).astype(float),
    "floor_divide": lambda v: v // 2.0,
    "piecewise": lambda v: jnp.piecewise(v, [v < 0, v >= 0], [-1.0, 1.0]),
    "clip_then_sign": lambda v: jnp.sign(jnp.clip(v, -2.0, 2.0)),
    "searchsorted": lambda v: jnp.searchsorted(jnp.array([-1.0, 0.0, 1.0]), v).astype(float),
    "is_finite_log": lambda v: jnp.where(jnp.isfinite(jnp.log(v)), 1.0, -1.0),
    "cond": lambda v: jax.lax.cond(v > 0, lambda: 1.0, lambda: -1.0),
}
ACROSS = [({"g": np.array(1.3), "v": np.array(0.4)}, {"y": 0.2})]


@functools.cache
def sided(name):
    read = SIDES[name]
    loss = lambda p, z: (p["g"] * read(p["v"]) - z["y"]) ** 2
    return st.Model(loss, {"g": (), "v": ()}, {"y": st.Normal(())})


def assert_holds_or_says_where(found, model, points, times):
    """Generators proved without a word about sides must leave the loss where it is."""
    for item in (*found.generators, *found.translations):
        if not proved_everywhere(item.verdict):
            continue
        matrix = generator_matrix(item, model.dimension)
        for params, sample in [*points, *draws(model, each=1)]:
            for time in times:
                shift = change(model.loss, params, moved(params, matrix, time), sample)
                assert shift < 1e-6, f"{item.name}: {item.verdict}"


@pytest.mark.parametrize("name", SIDES)
def test_shift_across_is_not_proved(name):
    model = sided(name)
    params, sample = ACROSS[0]
    far = [params | {"v": params["v"] + t} for t in (-0.9, 2.7)]
    assert max(change(model.loss, params, q, sample) for q in far) > 1e-3
    got = [verify(model, SHIFT, seed=seed) for seed in range(3)]
    assert not any(map(proved_everywhere, got))


@pytest.mark.parametrize("name", SIDES)
def test_discover_does_not_call_a_side_nothing(name):
    model = sided(name)
    found = discover(model)
    if found is None:
        return
    for leaf, verdict in found.trivial.items():
        assert not (leaf.startswith("v") and proved_everywhere(verdict))
    assert_holds_or_says_where(found, model, ACROSS, (-0.9, 2.7))


@pytest.mark.parametrize("name", [n for n in SIDES if n not in ("floor", "round", "ceil")])
def test_no_flip_of_a_side(name):
    model = sided(name)
    flip = st.Reflection(lambda p: {"g": 0 * p["g"], "v": p["v"]}, name="flip of v")
    before, sample = ACROSS[0]
    true = change(model.loss, before, before | {"v": -before["v"]}, sample) < 1e-9
    assert true == (name in EVEN_THERE)
    if not true:
        assert not is_proved(verify(model, flip))
    assert_proved_reflections_hold(reflections(model), model, ACROSS)


EVEN_THERE = {"trunc", "integer"}  # 0 on both sides of 0 at |v| < 1
VECTOR_SIDES = {
    "first": lambda v: v[0] / jnp.abs(v[0]),
    "difference": lambda v: (v[0] - v[1]) / jnp.abs(v[0] - v[1]),
    "layer_norm": lambda v: ((v - v.mean()) / jnp.sqrt(v.var()))[0],
    "relu_over": lambda v: jax.nn.relu(v[0]) / v[0],
    "sign_of_product": lambda v: jnp.sign(v[0] * v[1]),
    "argmax": lambda v: jnp.argmax(v).astype(float),
    "largest_is_first": lambda v: (v[0] >= jnp.max(v)).astype(float),
    "order": lambda v: jnp.argsort(v)[0].astype(float),
    "hinge_over": lambda v: jnp.maximum(v[0] - v[1], 0.0) / (v[0] - v[1]),
    "angle_quadrant": lambda v: jnp.floor(jnp.arctan2(v[1], v[0]) / (jnp.pi / 2)),
}


@pytest.mark.parametrize("name", VECTOR_SIDES)
def test_rotation_across_is_proved_with_no_seed(name):
    read = VECTOR_SIDES[name]
    model = st.Model(
        lambda p, z: (p["g"] * read(p["v"]) - z["y"]) ** 2,
        {"g": (), "v": (2,)},
        {"y": st.Normal(())},
    )
    turn = st.Exponential(
        lambda p: {"g": 0 * p["g"], "v": jnp.stack([-p["v"][1], p["v"][0]])}, name="rotation of v"
    )
    p, z = {"g": np.array(1.3), "v": np.array([0.6, 0.5])}, {"y": 0.2}
    matrix = lambda t: np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
    turned = [p | {"v": matrix(t) @ p["v"]} for t in (0.5, 1.5, 3.0, 4.5)]
    assert max(change(model.loss, p, q, z) for q in turned) > 1e-3
    got = [verify(model, turn, seed=seed) for seed in range(5)]
    assert not any(map(proved_everywhere, got))
    found = discover(model)
    if found is not None:
        assert_holds_or_says_where(found, model, [(p, z)], (0.5, 1.5, 3.0))


# --- functions that jump along a flow along which their derivative is the right one ---

WRAPS = {
    "arctan2": (
        lambda v: jnp.arctan2(v[1], v[0]),
        lambda v: jnp.stack([-v[1], v[0]]),
    ),
    "angle": (
        lambda v: jnp.angle(v[0] + 1j * v[1]),
        lambda v: jnp.stack([-v[1], v[0]]),
    ),
    "arctan_of_ratio": (
        lambda v: jnp.arctan(v[1] / v[0]),
        lambda v: jnp.stack([-v[1], v[0]]),
    ),
    "mod": (lambda v: jnp.mod(v[0], 1.0), lambda v: 0 * v + jnp.array([1.0, 0.0])),
    "remainder": (lambda v: jax.lax.rem(v[0], 2.0), lambda v: 0 * v + jnp.array([1.0, 0.0])),
    "fraction": (lambda v: v[0] - jnp.floor(v[0]), lambda v: 0 * v + jnp.array([1.0, 0.0])),
    "abs_side": (
        lambda v: v[0] + jnp.sign(v[0]),
        lambda v: 0 * v + jnp.array([1.0, 0.0]),
    ),
    "round_rest": (lambda v: v[0] - jnp.round(v[0]), lambda v: 0 * v + jnp.array([1.0, 0.0])),
}


@pytest.mark.parametrize("name", WRAPS)
def test_a_function_that_wraps_around_is_not_additive(name):
    read, tangent = WRAPS[name]
    model = st.Model(
        lambda p, z: (read(p["v"]) - p["c"] - z["y"]) ** 2,
        {"c": (), "v": (2,)},
        {"y": st.Normal(())},
    )
    flow = st.Affine(lambda p: {"c": 1.0 + 0 * p["c"], "v": tangent(p["v"])}, name="turn and shift")
    p, z = {"c": np.array(0.3), "v": np.array([0.7, 0.4])}, {"y": 0.1}
    eye = np.zeros((4, 4))
    eye[0, 3] = 1
    probe = jnp.eye(2)
    constant = np.asarray(tangent(jnp.zeros(2)))
    for j in range(2):
        eye[1:3, 1 + j] = np.asarray(tangent(probe[j])) - constant
    eye[1:3, 3] = constant
    jumps = [change(model.loss, p, moved(p, eye, t), z) for t in (0.1, 2.9, -2.9, 5.0)]
    assert min(jumps) < 1e-9 and max(jumps) > 1e-3  # the right derivative, and a jump
    assert not proved_everywhere(verify(model, flow))
    found = discover(model)
    if found is not None:
        assert_holds_or_says_where(found, model, [(p, z)], (2.9, -2.9, 5.0))


# --- what is true: nothing is lost by being careful ---

REMOVABLE = {
    "one": lambda v: v / v,
    "square": lambda v: v * v / (v**2),
    "abs_square": lambda v: jnp.abs(v) ** 2 / v**2,
    "parts": lambda v: 1.0 + jax.nn.relu(v) - jax.nn.relu(-v) - v,
    "two_abs": lambda v: 1.0 + jnp.abs(v) - jnp.maximum(v, -v),
    "sign_square": lambda v: 1.0 + v * jnp.sign(v) - jnp.abs(v),
    "both_branches": lambda v: jnp.where(v > 0, 1.0, 1.0),
}


@pytest.mark.parametrize("name", REMOVABLE)
def test_what_really_does_not_depend_on_v_is_not_refuted(name):
    read = REMOVABLE[name]
    loss = lambda p, z: (p["g"] * read(p["v"]) - z["y"]) ** 2
    model = st.Model(loss, {"g": (), "v": ()}, {"y": st.Normal(())})
    verdict = verify(model, SHIFT)
    assert verdict is None or verdict.status is not st.Status.REFUTED


@pytest.mark.parametrize("name", ["over_abs", "relu_over", "over_sqrt_of_square", "sign", "where"])
def test_scaling_does_not_cross_and_is_a_symmetry(name):
    scale = st.Exponential(lambda p: {"g": 0 * p["g"], "v": p["v"]}, name="scaling of v")
    assert is_proved(verify(sided(name), scale))


@pytest.mark.parametrize("size", [2, 3])
def test_layer_norm_without_epsilon(size):
    # Shifts along (1, ..., 1) and scalings are symmetries; with two features the output is +-1,
    # and nothing else may be concluded from that.
    def loss(p, z):
        h = p["v"]
        return (p["g"] @ ((h - h.mean()) / jnp.sqrt(h.var())) - z["y"]) ** 2

    model = st.Model(loss, {"v": (size,), "g": (size,)}, {"y": st.Normal(())})
    one = st.Affine(lambda p: {"v": 1.0 + 0 * p["v"], "g": 0 * p["g"]}, name="shift")
    assert status(verify(model, one)) != "refuted"
    first = st.Affine(
        lambda p: {"v": jnp.zeros(size).at[0].set(1.0) + 0 * p["v"], "g": 0 * p["g"]}, name="first"
    )
    assert not proved_everywhere(verify(model, first))
    p = {"v": np.array([0.4, 0.5, 0.1][:size]), "g": np.array([1.0, 0.3, -0.5][:size])}
    found = discover(model)
    if found is not None:
        assert_holds_or_says_where(found, model, [(p, {"y": 0.3})], (-0.9, 0.9))


@pytest.mark.parametrize("name", ["over_abs", "relu_over", "sign", "where"])
def test_conservation_laws_of_a_side(name):
    # Gradient flow does not move v off the null set; g moves. One law: v.
    laws = conservation_laws(sided(name))
    assert laws is None or laws.lower <= 1 <= laws.upper
