"""The same layer written in many ways: the answers must not depend on the spelling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import symtheory as st
from tests.cases.oracles import (
    assert_laws_right,
    assert_right,
    change,
    conservation_laws,
    discover,
    draw,
    kinds,
    reflections,
    status,
    verify,
)

# --- a layer of relu units: (p, x) -> h with h_k = max(0, W_k x + b_k), 3 units and 2 inputs ---


def _pre(p, x):
    return p["W"] @ x + p["b"]


def _split(h):
    return jnp.concatenate([jax.nn.relu(part) for part in jnp.split(h, 3)])


def _loop(h):
    body = lambda i, out: out.at[i].set(jnp.maximum(h[i], 0.0))
    return lax.fori_loop(0, 3, body, jnp.zeros(3))


def _update_slices(h):
    out = jnp.zeros(3)
    for i in range(3):
        out = lax.dynamic_update_slice(out, jax.nn.relu(h[i : i + 1]), (i,))
    return out


ACTIVATIONS = {
    "relu": jax.nn.relu,
    "maximum": lambda h: jnp.maximum(h, 0.0),
    "where": lambda h: jnp.where(h > 0, h, 0.0),
    "where_reversed": lambda h: jnp.where(h < 0, 0.0, h),
    "clip": lambda h: jnp.clip(h, 0, None),
    "mask": lambda h: h * (h > 0),
    "half_of_abs": lambda h: (h + jnp.abs(h)) / 2,
    "select_n": lambda h: lax.select_n(h > 0, jnp.zeros_like(h), h),
    "minus_minimum": lambda h: h - jnp.minimum(h, 0.0),
    "sort_of_stack": lambda h: jnp.sort(jnp.stack([h, jnp.zeros(3)]), axis=0)[1],
    "sign": lambda h: h * (1 + jnp.sign(h)) / 2,
    "root_of_square": lambda h: (h + jnp.sqrt(h**2)) / 2,
    "split_concatenate": _split,
    "set": lambda h: jnp.zeros(3).at[jnp.arange(3)].set(jax.nn.relu(h)),
    "add": lambda h: jnp.zeros(3).at[jnp.arange(3)].add(jax.nn.relu(h)),
    "at_max": lambda h: jnp.zeros(3).at[jnp.arange(3)].max(h),
    "update_slices": _update_slices,
    "fori_loop": _loop,
    "vmap_cond": lambda h: jax.vmap(lambda a: lax.cond(a > 0, lambda: a, lambda: 0.0 * a))(h),
    "lax_map": lambda h: lax.map(jax.nn.relu, h),
    "checkpoint": jax.checkpoint(jax.nn.relu),
    "reshaped": lambda h: jax.nn.relu(h.reshape(3, 1, 1)).transpose(2, 0, 1).reshape(-1),
    "gathered": lambda h: jax.nn.relu(h[jnp.array([2, 0, 1])])[jnp.array([1, 2, 0])],
    "segment_sum": lambda h: jax.ops.segment_sum(jax.nn.relu(h), jnp.arange(3), 3),
    "cumulative": lambda h: jnp.diff(jnp.cumsum(jax.nn.relu(h)), prepend=0.0),
}


def _scan_over_units(p, x):
    unit = lambda _, wb: (None, jax.nn.relu(wb[0] @ x + wb[1]))
    return lax.scan(unit, None, (p["W"], p["b"]))[1]


def _scan_over_inputs(p, x):
    step = lambda h, wx: (h + wx[0] * wx[1], None)
    return jax.nn.relu(lax.scan(step, p["b"], (p["W"].T, x))[0])


def _convolution(p, x):
    image = x.reshape(1, 2, 1, 1)
    numbers = ("NCHW", "OIHW", "NCHW")
    kernel = p["W"].reshape(3, 2, 1, 1)
    h = lax.conv_general_dilated(image, kernel, (1, 1), "VALID", dimension_numbers=numbers)
    return jax.nn.relu(h + p["b"][None, :, None, None]).reshape(3)


def _convolution_1d(p, x):
    h = lax.conv_general_dilated(x[None, None, :], p["W"][:, None, :], (1,), "VALID")
    return jax.nn.relu(h.reshape(3) + p["b"])


def _batched(p, x):
    batch = jnp.stack([x, x])
    return jax.nn.relu(batch @ p["W"].T + p["b"]).mean(0)


LINEAR = {
    "matmul": lambda p, x: p["W"] @ x + p["b"],
    "einsum": lambda p, x: jnp.einsum("kj,j->k", p["W"], x) + p["b"],
    "dot_general": lambda p, x: lax.dot_general(p["W"], x, (((1,), (0,)), ((), ()))) + p["b"],
    "sum_of_products": lambda p, x: jnp.sum(p["W"] * x, axis=1) + p["b"],
    "vmap": lambda p, x: jax.vmap(lambda w, b: w @ x + b)(p["W"], p["b"]),
    "augmented": lambda p, x: jnp.c_[p["W"], p["b"]] @ jnp.append(x, 1.0),
    "permuted": lambda p, x: (p["W"][::-1] @ x + p["b"][::-1])[::-1],
    "outer": lambda p, x: jnp.trace(jnp.einsum("kj,i->kij", p["W"], x), axis1=1, axis2=2) + p["b"],
    "two_halves": lambda p, x: jnp.concatenate([p["W"][:1] @ x, p["W"][1:] @ x]) + p["b"],
    "vjp": lambda p, x: jax.vjp(lambda v: p["W"].T @ v, jnp.zeros(3))[1](x)[0] + p["b"],
}
LAYERS = {
    **{f"act_{k}": (lambda p, x, f=f: f(_pre(p, x))) for k, f in ACTIVATIONS.items()},
    **{f"linear_{k}": (lambda p, x, f=f: jax.nn.relu(f(p, x))) for k, f in LINEAR.items()},
    "scan_over_units": _scan_over_units,
    "scan_over_inputs": _scan_over_inputs,
    "convolution": _convolution,
    "convolution_1d": _convolution_1d,
    "batched": _batched,
    "ensemble_mean": lambda p, x: (jax.nn.relu(_pre(p, x)) + jnp.maximum(_pre(p, x), 0)) / 2,
}


@functools.cache
def net(name):
    layer = LAYERS[name]
    return st.Model(
        lambda p, z: (p["u"] @ layer(p, z["x"]) - z["y"]) ** 2,
        {"W": (3, 2), "b": (3,), "u": (3,)},
        {"x": st.Normal(2), "y": st.Normal(())},
        name=name,
    )


def test_all_spellings_are_the_same_function():
    plain = net("act_relu")
    for name in LAYERS:
        for seed in range(2):
            params, sample = draw(plain, seed)
            value = float(net(name).loss(*jax.tree.map(jnp.asarray, (params, sample))))
            right = float(plain.loss(params, sample))
            assert value == pytest.approx(right, rel=1e-12), name


@pytest.mark.parametrize("name", LAYERS)
def test_discover_relu_layer(name):
    assert_right(discover(net(name)), 3, 3)


@pytest.mark.parametrize("name", LAYERS)
def test_conservation_laws_of_a_relu_layer(name):
    assert_laws_right(conservation_laws(net(name)), 3)


@pytest.mark.parametrize("name", LAYERS)
def test_reflections_of_a_relu_layer(name):
    found = reflections(net(name))
    assert kinds(found) == {"swap": [(3, 4)]}  # W row 2, b 1, u 1
    assert [r.verdict.status for r in found] == [st.Status.PROVED]


UNIT = np.array([1.0, 0, 0])
RESCALING = st.Exponential(
    lambda p: {"W": UNIT[:, None] * p["W"], "b": UNIT * p["b"], "u": -UNIT * p["u"]},
    name="rescaling of unit 1",
)
WRONG = st.Exponential(
    lambda p: {"W": UNIT[:, None] * p["W"], "b": 0 * p["b"], "u": -UNIT * p["u"]},
    name="rescaling of unit 1 without its bias",
)


@pytest.mark.parametrize("name", LAYERS)
def test_verify_relu_layer(name):
    assert status(verify(net(name), RESCALING)) == "proved"
    assert status(verify(net(name), WRONG)) == "refuted"


# --- a product of two matrices: GL(2), 4 generators; U^T U - W W^T, 3 laws ---

PRODUCTS = {
    "matmul": lambda U, W, x: U @ W @ x,
    "einsum": lambda U, W, x: jnp.einsum("ik,kj,j->i", U, W, x),
    "transposed": lambda U, W, x: (x @ W.T) @ U.T,
    "sum_of_outer": lambda U, W, x: sum(U[:, k] * (W[k] @ x) for k in range(2)),
    "scan_of_outer": lambda U, W, x: lax.scan(
        lambda c, uw: (c + uw[0] * (uw[1] @ x), None), jnp.zeros(2), (U.T, W)
    )[0],
    "broadcast": lambda U, W, x: jnp.sum(U * jnp.sum(W * x, axis=1), axis=1),
    "convolution": lambda U, W, x: lax.conv_general_dilated(
        lax.conv_general_dilated(x[None, :, None], W[:, :, None], (1,), "VALID"),
        U[:, :, None],
        (1,),
        "VALID",
    ).reshape(2),
    "hidden_reversed": lambda U, W, x: U[:, ::-1] @ (W[::-1] @ x),
    "set": lambda U, W, x: U @ jnp.zeros(2).at[jnp.arange(2)].set(W @ x),
    "concatenated": lambda U, W, x: U @ jnp.concatenate([W[:1] @ x, W[1:] @ x]),
    "tensordot": lambda U, W, x: jnp.tensordot(jnp.tensordot(U, W, 1), x, 1),
    "kron": lambda U, W, x: (jnp.kron(U, jnp.eye(2)) @ jnp.kron((W @ x), jnp.array([1.0, 0])))[::2],
}


@functools.cache
def product(name):
    f = PRODUCTS[name]
    return st.Model(
        lambda p, z: jnp.sum((f(p["U"], p["W"], z["x"]) - z["y"]) ** 2),
        {"U": (2, 2), "W": (2, 2)},
        {"x": st.Normal(2), "y": st.Normal(2)},
        name=name,
    )


@pytest.mark.parametrize("name", PRODUCTS)
def test_discover_product(name):
    assert_right(discover(product(name)), 4, 4)


@pytest.mark.parametrize("name", PRODUCTS)
def test_conservation_laws_of_a_product(name):
    assert_laws_right(conservation_laws(product(name)), 3)


@pytest.mark.parametrize("name", PRODUCTS)
def test_reflections_of_a_product(name):
    # Along any direction of the hidden units; W row 2 and U column 2.
    found = kinds(reflections(product(name)))
    assert found.get("swap") == [(1, 4)] and found.get("flip") == [(2, 4)]
    assert found.get("rotation") == [(2, 4)]


@pytest.mark.parametrize("name", PRODUCTS)
def test_verify_product(name):
    turn = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    shear = jnp.array([[0.0, 1.0], [0.0, 0.0]])
    model = product(name)
    for B in (turn, shear):
        true = st.Exponential(lambda p, B=B: {"U": p["U"] @ B, "W": -B @ p["W"]}, name="GL")
        false = st.Exponential(lambda p, B=B: {"U": p["U"] @ B, "W": B @ p["W"]}, name="not GL")
        assert status(verify(model, true)) == "proved"
        assert status(verify(model, false)) == "refuted"


# --- odd units: swaps and flips, 3 of each, rank 3 without a bias ---

ODD = {
    "tanh": jnp.tanh,
    "by_exponentials": lambda h: (jnp.exp(h) - jnp.exp(-h)) / (jnp.exp(h) + jnp.exp(-h)),
    "by_sigmoid": lambda h: 2 * jax.nn.sigmoid(2 * h) - 1,
    "scan": lambda h: lax.scan(lambda c, a: (c, jnp.tanh(a)), 0.0, h)[1],
    "set": lambda h: jnp.zeros(3).at[jnp.arange(3)].set(jnp.tanh(h)),
    "sine": jnp.sin,
    "cube": lambda h: h**3 + jnp.tanh(h),
    "erf": jax.lax.erf,
    "hard_tanh": jax.nn.hard_tanh,
    "shrink": lambda h: jnp.sign(h) * jax.nn.relu(jnp.abs(h) - 0.3),
}


@functools.cache
def odd(name):
    f = ODD[name]
    return st.Model(
        lambda p, z: (p["u"] @ f(p["W"] @ z["x"]) - z["y"]) ** 2,
        {"W": (3, 2), "u": (3,)},
        {"x": st.Normal(2), "y": st.Normal(())},
        name=name,
    )


@pytest.mark.parametrize("name", ODD)
def test_reflections_of_an_odd_layer(name):
    model = odd(name)
    found = reflections(model)
    listed = kinds(found)
    assert listed.get("swap") == [(3, 3)] and listed.get("flip") == [(3, 3)]
    assert "rotation" not in listed
    for item in found:
        assert item.verdict.status.holds
        for seed in range(3):
            params, sample = draw(model, seed)
            after = item.reflection.apply(jax.tree.map(jnp.asarray, params))
            assert change(model.loss, params, after, sample) < 1e-9


@pytest.mark.parametrize("name", ODD)
def test_discover_an_odd_layer(name):
    found = discover(odd(name))
    assert found is not None and found.total == 0 and found.affine == 0
