"""What is said of everything that was not found: "none left", "no others", "does not depend"."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import (
    ask,
    assert_never_wrong,
    assert_proved_generators_hold,
    assert_right,
    change,
    conservation_laws,
    count_generators,
    discover,
    draw,
    is_proved,
    reflections,
    status,
    verify,
)


def test_case_certify_signed_swap_survives():
    model = st.Model(
        lambda p, z: (p["u"] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2,
        {"u": 2, "W": (2, 2)},
        {"x": st.Normal(2), "y": st.Normal(())},
        name="tanh net",
    )
    bias = {"u": np.array([0.3, -0.3]), "W": np.array([[0.1, 0.2], [-0.1, -0.2]])}
    removed = st.remove_symmetries(model, weight_decay=0.1, bias=bias)
    half = jnp.full((2, 2), 0.5)
    signed = st.Reflection(lambda p: {"u": half @ p["u"], "W": half @ p["W"]}, name="signed swap")
    assert status(verify(model, signed)) == "proved"
    assert status(verify(removed, signed)) != "refuted"
    assert not is_proved(st.certify(removed))


def test_case_discover_misses_unused_parameter_columns():
    model = st.Model(
        lambda p, z: (p["a"][0] - p["a"][1] - z["y"]) ** 2,
        {"a": (2,), "u": ()},
        {"y": st.Normal(())},
    )
    extra = st.Exponential(
        lambda p: {"a": p["u"] + 0 * p["a"], "u": 0 * p["u"]}, name="a -> a + t u (1, 1)"
    )
    assert status(verify(model, extra)) == "proved"
    found = discover(model)
    columns = {j for g in found.generators for _, j in g.matrix}
    if is_proved(found):
        assert 2 in columns and found.total >= 3, (found.total, columns)


@pytest.mark.parametrize("name", ["plain", "scatter"])
def test_case_scatter_into_broadcast(name):
    places = jnp.array([0, 1])
    act = {"plain": lambda h: h, "scatter": lambda h: jnp.zeros(2).at[places].set(h)}[name]

    def loss(p, z):
        rest = jnp.sum(p["u"] ** 4) * jnp.sum(p["W"] ** 4)
        return (p["u"] @ act(p["W"] @ z["x"]) - z["y"]) ** 2 + rest

    model = st.Model(loss, {"W": (2, 2), "u": 2}, {"x": st.Normal(2), "y": st.Normal(())})
    rescaling = st.Exponential(lambda p: {"W": p["W"], "u": -p["u"]}, name="rescaling")
    assert status(verify(model, rescaling)) == "proved"
    found = discover(model, seconds=40)
    assert_right(found, 1)


# --- "none of the reflections is left" ---

ODD = {
    "tanh": jnp.tanh,
    "sin": jnp.sin,
    "cube": lambda h: h**3,
    "arctan": jnp.arctan,
    "erf": jax.lax.erf,
    "soft_sign": jax.nn.soft_sign,
    "hard_tanh": jax.nn.hard_tanh,
    "asinh": jnp.arcsinh,
}
EVEN = {"cos": jnp.cos, "square_root": lambda h: jnp.sqrt(1 + h**2), "abs": jnp.abs}


def units(act, size=2):
    return st.Model(
        lambda p, z: (p["u"] @ act(p["W"] @ z["x"]) - z["y"]) ** 2,
        {"u": size, "W": (size, 2)},
        {"x": st.Normal(2), "y": st.Normal(())},
    )


def survives(removed, matrix_u, matrix_w):
    """Return whether l_r keeps theta -> (M u, N W), by evaluation at random points."""
    for seed in range(4):
        params, sample = draw(removed.base, seed)
        second = next(name for name in params if name != "u")
        after = {"u": matrix_u @ params["u"], second: matrix_w @ params[second]}
        if change(lambda p, z: removed.evaluate(p, z), params, after, sample) > 1e-9:
            return False
    return True


SWAP = np.array([[0.0, 1.0], [1.0, 0.0]])


@pytest.mark.parametrize("name", ODD)
def test_certify_counts_signed_swaps_of_odd_units(name):
    bias = {"u": np.array([0.3, -0.3]), "W": np.array([[0.1, 0.2], [-0.1, -0.2]])}
    removed = st.remove_symmetries(units(ODD[name]), weight_decay=0.1, bias=bias)
    assert survives(removed, -SWAP, -SWAP)
    assert not is_proved(ask(st.certify, removed))


@pytest.mark.parametrize("name", EVEN)
def test_certify_counts_signed_swaps_of_even_units(name):
    bias = {"u": np.array([0.3, 0.3]), "W": np.array([[0.1, 0.2], [-0.1, -0.2]])}
    removed = st.remove_symmetries(units(EVEN[name]), weight_decay=0.1, bias=bias)
    assert survives(removed, SWAP, -SWAP)
    assert not is_proved(ask(st.certify, removed))


def _weighed(p, z):
    """Even in each entry of w; no two entries are alike."""
    return jnp.cos(jnp.sum(jnp.array([2.0, 1.0]) * p["u"] ** 3 * p["w"] ** 2) * z["x"]) * z["y"]


def _products(p, z):
    """Odd in each entry, even in each pair w_i, u_i."""
    return (jnp.sum(jnp.array([1.0, 2.0, 3.0]) * p["w"] * jnp.sin(p["u"])) - z["y"]) * z["x"]


def _three(p, z):
    """Even in pairs of the entries of w, which have no axis in common with anything."""
    a, b, c = p["w"]
    return (a * jnp.sin(b) * jnp.tanh(c) - z["x"]) ** 2 + z["y"] * p["u"][0]


@pytest.mark.parametrize(
    ("loss", "size", "idle"),
    [(_weighed, 2, {"w": [1]}), (_products, 3, {"w": [2], "u": [2]}), (_three, 3, {"w": [0, 2]})],
)
def test_certify_counts_flips_of_entries(loss, size, idle):
    laws = {"x": st.Normal((), mean=0.3), "y": st.Normal((), mean=0.5)}
    model = st.Model(loss, {"u": size, "w": size}, laws)
    bias = {"u": np.array([0.3, 0.1, -0.2])[:size], "w": np.array([0.25, -0.1, 0.4])[:size]}
    generic = st.remove_symmetries(model, weight_decay=0.1, bias=bias)
    assert is_proved(ask(st.certify, generic))
    for name, places in idle.items():
        bias[name] = np.where(np.isin(np.arange(size), places), 0.0, bias[name])
    removed = st.remove_symmetries(model, weight_decay=0.1, bias=bias)
    signs = {n: np.where(np.isin(np.arange(size), idle.get(n, [])), -1.0, 1.0) for n in "uw"}
    assert survives(removed, np.diag(signs["u"]), np.diag(signs["w"]))
    assert not is_proved(ask(st.certify, removed))


@pytest.mark.parametrize("name", ["tanh", "sin", "cube"])
def test_certify_a_generic_bias(name):
    # All mirrors of the net are removed by a bias that lies on none of them.
    bias = {"u": np.array([0.3, -0.2]), "W": np.array([[0.1, 0.25], [-0.15, 0.05]])}
    removed = st.remove_symmetries(units(ODD[name]), weight_decay=0.1, bias=bias)
    for matrix in (SWAP, -SWAP, np.diag([-1.0, 1]), np.diag([1.0, -1])):
        assert not survives(removed, matrix, matrix)
    assert is_proved(ask(st.certify, removed))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_certify_counts_all_mirrors(size):
    # n flips, n (n - 1) / 2 swaps and as many signed swaps of n odd units.
    removed = st.remove_symmetries(units(jnp.tanh, size), weight_decay=0.1, sigma0=0.1, key=0)
    found = ask(st.certify, removed)
    assert found is not None and found.measured["reflections"] == size * size


def test_certify_counts_swaps_of_deep_nets_that_move_two_layers():
    # tanh units between two layers of tanh units: flips of the middle ones move W2 and W3.
    def loss(p, z):
        h = jnp.tanh(p["W1"] @ z["x"])
        return (p["u"] @ jnp.tanh(p["W2"] @ h) - z["y"]) ** 2

    shapes = {"W1": (2, 2), "W2": (2, 2), "u": 2}
    model = st.Model(loss, shapes, {"x": st.Normal(2), "y": st.Normal(())})
    bias = {
        "W1": np.array([[0.1, 0.2], [-0.1, -0.2]]),
        "W2": np.array([[0.3, -0.3], [0.15, -0.15]]),
        "u": np.array([0.5, 0.2]),
    }
    removed = st.remove_symmetries(model, weight_decay=0.1, bias=bias)
    params, sample = draw(model)
    after = {"W1": -SWAP @ params["W1"], "W2": params["W2"] @ -SWAP, "u": params["u"]}
    assert change(lambda p, z: removed.evaluate(p, z), params, after, sample) < 1e-9
    assert not is_proved(ask(st.certify, removed))


def test_signed_swaps_of_units_that_are_even_on_two_sides():
    # |u| and cos(W x): the signs of u and of W are free, each by itself. Of two units there are one
    # swap, two flips each of u, of W and of both, and the swap with such signs changed: three.
    model = st.Model(
        lambda p, z: (jnp.abs(p["u"]) @ jnp.cos(p["W"] @ z["x"]) - z["y"]) ** 2,
        {"u": 2, "W": (2, 2)},
        {"x": st.Normal(2), "y": st.Normal(())},
    )
    found = reflections(model)
    counts = sorted((r.kind, r.count, r.rank) for r in found)
    signed = [("signed swap", 1, 3)] * 3
    assert counts == [*(("flip", 2, rank) for rank in (1, 2, 3)), *signed, ("swap", 1, 3)]
    assert all(is_proved(r.verdict) for r in found)


def test_certify_exchange_with_a_sign():
    # l((u w - y)) has u <-> w and u <-> -w at once: with u0 = -w0 the second survives.
    model = st.Model(
        lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2, {"u": (), "w": ()}, {"y": st.Normal(())}
    )
    removed = st.remove_symmetries(
        model, weight_decay=0.1, bias={"u": np.array(0.3), "w": np.array(-0.3)}
    )
    before, after = {"u": 0.7, "w": 0.2}, {"u": -0.2, "w": -0.7}
    assert change(lambda p, z: removed.evaluate(p, z), before, after, {"y": 0.4}) < 1e-9
    assert not is_proved(ask(st.certify, removed))


# --- "there are no other generators": against the null space of the equations in floats ---

UNUSED = {
    "leaf": ({"a": (2,), "u": ()}, lambda p: p["a"][0] - p["a"][1]),
    "two_leaves": ({"a": (2,), "u": (), "v": (2,)}, lambda p: p["a"][0] - p["a"][1]),
    "entry": ({"a": (3,)}, lambda p: p["a"][0] - p["a"][1]),
    "first_entry": ({"a": (3,)}, lambda p: p["a"][2] - p["a"][1]),
    "column": ({"a": (2, 2)}, lambda p: p["a"][0, 0] - p["a"][1, 0]),
    "times_zero": ({"a": (2,), "u": ()}, lambda p: p["a"][0] - p["a"][1] + 0 * p["u"]),
    "cancels": ({"a": (2,), "u": ()}, lambda p: p["a"][0] - p["a"][1] + p["u"] - p["u"]),
    "masked": (
        {"a": (2,), "u": (2,)},
        lambda p: p["a"][0] - p["a"][1] + p["u"] @ jnp.array([0.0, 0.0]),
    ),
    "dead_branch": (
        {"a": (2,), "u": ()},
        lambda p: p["a"][0] - p["a"][1] + jnp.where(p["a"][0] ** 2 < -1, p["u"], 0.0),
    ),
    "padded_away": ({"a": (2,), "u": (2,)}, lambda p: jnp.append(p["u"], p["a"])[2:] @ SIGNS),
    "scattered_over": (
        {"a": (2,), "u": (2,)},
        lambda p: p["u"].at[:].set(p["a"]) @ SIGNS,
    ),
    "product_and_unused": ({"a": (2,), "u": ()}, lambda p: p["a"][0] * p["a"][1]),
    "shared": ({"a": (3,), "u": ()}, lambda p: p["a"] @ jnp.array([1.0, -2.0, 1.0])),
    "power_and_unused": ({"a": (2,), "u": (2,)}, lambda p: p["a"][0] ** 2 * p["a"][1]),
    "relu_and_unused": ({"a": (2,), "u": ()}, lambda p: jax.nn.relu(p["a"][0]) * p["a"][1]),
    "logit_shift": ({"a": (3,), "u": ()}, lambda p: jax.nn.softmax(p["a"])[0]),
    "tanh_and_unused": ({"a": (2,), "u": ()}, lambda p: jnp.tanh(p["a"][0] - p["a"][1])),
}
SIGNS = jnp.array([1.0, -1.0])


@pytest.mark.parametrize("name", UNUSED)
def test_nothing_is_left_out_beside_unused_parameters(name):
    shapes, read = UNUSED[name]
    model = st.Model(lambda p, z: (read(p) - z["y"]) ** 2, shapes, {"y": st.Normal(())})
    found = discover(model)
    if is_proved(found):
        right = count_generators(model), count_generators(model, affine=True)
        assert (found.total, found.affine) == right
    assert_proved_generators_hold(found, model)


DIFFERENCES = {
    "difference": lambda p: p["a"][0] - p["a"][1],
    "product": lambda p: p["a"][0] * p["a"][1],
    "sum_of_squares": lambda p: jnp.sum(p["a"] ** 2),
    "quotient": lambda p: p["a"][0] / p["a"][1],
    "difference_of_squares": lambda p: p["a"][0] ** 2 - p["a"][1] ** 2,
    "cubic": lambda p: p["a"][0] ** 3 + p["a"][1] ** 3,
    "radius": lambda p: jnp.sqrt(jnp.sum(p["a"] ** 2)),
    "exponential": lambda p: jnp.exp(p["a"][0]) * p["a"][1],
    "exponential_of_product": lambda p: jnp.exp(p["a"][0] * p["a"][1]),
    "cross": lambda p: p["a"][0] * p["b"][1] - p["a"][1] * p["b"][0],
    "inner": lambda p: p["a"] @ p["b"],
    "inner_squared": lambda p: (p["a"] @ p["b"]) ** 2,
    "two_norms": lambda p: jnp.sum(p["a"] ** 2) * jnp.sum(p["b"] ** 2),
    "sum_of_norms": lambda p: jnp.sum(p["a"] ** 2) + jnp.sum(p["b"] ** 2),
    "complex_modulus": lambda p: (
        (p["a"][0] * p["b"][0] - p["a"][1] * p["b"][1]) ** 2
        + (p["a"][0] * p["b"][1] + p["a"][1] * p["b"][0]) ** 2
    ),
    "minkowski": lambda p: p["a"][0] * p["b"][0] - p["a"][1] * p["b"][1],
    "softmax": lambda p: jax.nn.softmax(p["a"])[0],
    "softmax_of_both": lambda p: jax.nn.softmax(p["a"]) @ p["b"],
    "layer_norm": lambda p: ((p["a"] - p["a"].mean()) / jnp.sqrt(p["a"].var() + 1.0)) @ p["b"],
    "shear": lambda p: p["a"][0] * p["b"][1] - p["a"][1] ** 2,
    "homogeneous_weights": lambda p: p["a"][0] ** 2 * p["a"][1] ** 3,
    "determinant_2": lambda p: jnp.linalg.det(jnp.stack([p["a"], p["b"]])),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_number_of_generators_is_that_of_the_null_space(name):
    read = DIFFERENCES[name]
    shapes = {"a": (2,), "b": (2,)} if "b" in read.__code__.co_consts else {"a": (2,)}
    model = st.Model(lambda p, z: (read(p) - z["y"]) ** 2, shapes, {"y": st.Normal(())})
    found = discover(model)
    right = count_generators(model), count_generators(model, affine=True)
    assert_never_wrong(found, *right)
    assert found is not None and (found.total, found.affine) == right
    assert_proved_generators_hold(found, model, times=(-0.3, 0.2))


# --- arrays written in another order of memory, or into something broadcast ---

COPIES = {
    "set": lambda h: jnp.zeros(2).at[jnp.array([0, 1])].set(h),
    "set_reversed": lambda h: jnp.zeros(2).at[jnp.array([1, 0])].set(h[::-1]),
    "add": lambda h: jnp.zeros(2).at[jnp.array([0, 1])].add(h),
    "multiply": lambda h: jnp.ones(2).at[jnp.array([0, 1])].multiply(h, unique_indices=True),
    "set_ones": lambda h: jnp.ones(2).at[jnp.array([0, 1])].set(h),
    "into_broadcast": lambda h: jnp.broadcast_to(0.0, (2,)).at[jnp.array([0, 1])].set(h),
    "into_own_broadcast": lambda h: jnp.broadcast_to(h[0], (2,)).at[1].set(h[1]),
    "into_matrix": lambda h: jnp.zeros((2, 2)).at[jnp.array([0, 1]), 0].set(h)[:, 0],
    "into_transposed": lambda h: jnp.zeros((2, 3)).T.at[jnp.array([0, 1]), 1].set(h)[:2, 1],
    "into_broadcast_rows": lambda h: jnp.broadcast_to(jnp.zeros(2), (3, 2)).at[1].set(h)[1],
    "into_broadcast_columns": lambda h: (
        jnp.broadcast_to(jnp.zeros((2, 1)), (2, 3)).at[:, 2].set(h)[:, 2]
    ),
    "into_like": lambda h: jnp.zeros_like(h).at[0].set(h[0]).at[1].add(h[1]),
    "update_slice": lambda h: jax.lax.dynamic_update_slice(jnp.zeros(4), h, (1,))[1:3],
    "update_slice_broadcast": lambda h: jax.lax.dynamic_update_slice(
        jnp.broadcast_to(0.0, (4,)), h, (2,)
    )[2:],
    "segment_sum": lambda h: jax.ops.segment_sum(h, jnp.array([1, 0]), 2)[::-1],
    "fori_set": lambda h: jax.lax.fori_loop(0, 2, lambda i, out: out.at[i].set(h[i]), jnp.zeros(2)),
    "scan_set": lambda h: jax.lax.scan(
        lambda out, i: (out.at[i].set(h[i]), None), jnp.zeros(2), jnp.arange(2)
    )[0],
    "vmap_set": lambda h: jax.vmap(lambda a: jnp.zeros(1).at[0].set(a))(h)[:, 0],
    "moved_axes": lambda h: jnp.moveaxis(jnp.broadcast_to(h, (3, 2)), 0, 1)[:, 1],
    "at_get": lambda h: h.at[jnp.array([0, 1])].get(),
    "select": lambda h: jnp.select([jnp.array([True, False])], [h], h),
    "tile": lambda h: jnp.tile(h, 3)[2:4],
    "stack_unstack": lambda h: jnp.stack([h, h], axis=1).reshape(-1)[::2],
}


def copied(name):
    act = COPIES[name]

    def loss(p, z):
        rest = jnp.sum(p["u"] ** 4) * jnp.sum(p["W"] ** 4)
        return (p["u"] @ act(p["W"] @ z["x"]) - z["y"]) ** 2 + rest

    return st.Model(loss, {"W": (2, 2), "u": 2}, {"x": st.Normal(2), "y": st.Normal(())})


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_changes_nothing(name):
    np.testing.assert_allclose(COPIES[name](jnp.array([0.3, -2.0])), [0.3, -2.0])
    model = copied(name)
    rescaling = st.Exponential(lambda p: {"W": p["W"], "u": -p["u"]}, name="rescaling")
    assert is_proved(verify(model, rescaling))
    assert_right(discover(model), 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", COPIES)
def test_conservation_laws_of_a_copy(name):
    # |u|^2 - |W|^2 is conserved; the gradients and their brackets allow no other law: 1.
    laws = conservation_laws(copied(name))
    assert laws is not None and laws.lower == 1 <= laws.upper


# --- "trivial": the loss does not depend on it ---

DEPENDS = {
    "beyond_a_threshold": lambda u, a: jnp.where(a > 700.0, 1.0, 0.0),
    "far_relu": lambda u, a: jax.nn.relu(a - 700.0),
    "far_relu_negative": lambda u, a: jax.nn.relu(-a - 700.0),
    "clip": lambda u, a: jnp.clip(a, 700.0, 900.0),
    "near_zero": lambda u, a: jnp.where(jnp.abs(a) < 1e-4, 1.0, 0.0),
    "far_product": lambda u, a: jax.nn.relu(a * u - 1e5),
    "maximum": lambda u, a: jnp.maximum(a, 700.0),
    "floor": lambda u, a: jnp.floor(a),
    "step": lambda u, a: (a > 0.0).astype(float),
    "both_large": lambda u, a: jnp.where((a > 600.0) & (u > 600.0), 1.0, 0.0),
}


@pytest.mark.parametrize("name", DEPENDS)
def test_not_trivial(name):
    read = DEPENDS[name]
    model = st.Model(
        lambda p, z: (p["u"] - z["y"]) ** 2 + read(p["u"], p["a"]),
        {"u": (), "a": ()},
        {"y": st.Normal(())},
    )
    z = {"y": 0.0}
    places = (-2e3, -1.0, 0.0, 1.0, 650.0, 800.0)
    values = [float(model.loss({"u": jnp.array(1e3), "a": jnp.array(a)}, z)) for a in places]
    assert len(set(values)) > 1
    found = discover(model)
    assert found is None or not is_proved(found.trivial.get("a"))
    shift = st.Affine(lambda p: {"u": 0 * p["u"], "a": 1.0 + 0 * p["a"]}, name="shift of a")
    assert not is_proved(verify(model, shift))


def test_reflections_are_not_called_complete():
    # What is found is found; "not applicable: no reflection" is no proof that there are none.
    model = st.Model(
        lambda p, z: ((p["q"] @ z["x"]) ** 2 - z["y"]) ** 2,
        {"q": (3,)},
        {"x": st.Normal(3), "y": st.Normal(())},
    )
    removed = st.remove_symmetries(model, weight_decay=0.1, bias={"q": np.zeros(3)})
    params, sample = draw(model)
    after = {"q": -params["q"]}
    assert change(lambda p, z: removed.evaluate(p, z), params, after, sample) < 1e-12
    assert not is_proved(ask(st.certify, removed))
    assert not [r for r in reflections(removed) if r.verdict.status is st.Status.REFUTED]
