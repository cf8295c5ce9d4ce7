"""The equilibrium of a whole GL(h) orbit: the geometric mean, and rebalancing real layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as hst

import symtheory as st
from symtheory.errors import InputError
from symtheory.theory.orbits._geometric_mean import gram_root
from symtheory.verdict import Status
from symtheory.zoo import load

QUERY_KEY = st.GLPair("Wq", ("Wk", -1))


def spd(rng, n, spread=1.0):
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return (q * np.exp(spread * rng.normal(size=n))) @ q.T


def conditioned(rng, n, h, decades):
    q, _ = np.linalg.qr(rng.normal(size=(n, h)))
    v, _ = np.linalg.qr(rng.normal(size=(h, h)))
    return (q * np.logspace(0, -decades, h)) @ v.T


def product(p):
    return p["U"] @ p["W"]


def test_the_geometric_mean_solves_its_equation_and_is_scipys():
    rng = np.random.default_rng(0)
    n1, n2 = spd(rng, 6, 2.0), spd(rng, 6, 2.0)
    x = np.asarray(st.geometric_mean(n1, n2))
    root = scipy.linalg.sqrtm(n1)
    inverse = np.linalg.inv(root)
    expected = inverse @ scipy.linalg.sqrtm(root @ n2 @ root) @ inverse
    assert np.linalg.norm(x @ n1 @ x - n2) < 1e-11 * np.linalg.norm(n2)
    np.testing.assert_allclose(x, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    # The control: a solution of the equation without being positive is another matrix.
    assert np.linalg.eigvalsh(x).min() > 0


def test_the_geometric_mean_under_jit_and_vmap():
    rng = np.random.default_rng(1)
    n1, n2 = (np.stack([spd(rng, 4) for _ in range(3)]) for _ in range(2))
    x = np.asarray(jax.jit(jax.vmap(st.geometric_mean))(n1, n2))
    np.testing.assert_allclose(x @ n1 @ x, n2, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(x[1], st.geometric_mean(n1[1], n2[1]), rtol=1e-12)
    root = np.asarray(gram_root(jnp.asarray(n1[0])))
    np.testing.assert_allclose(root.T @ root, n1[0], atol=1e-13)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
    seed=hst.integers(0, 10**6),
    sizes=hst.sampled_from([(4, 2, 3), (3, 3, 5)]),
    decay=hst.sampled_from([0.0, 0.3]),
)
def test_the_equilibrium_is_the_orbits_only_one(seed, sizes, decay):
    n, h, m = sizes
    rng = np.random.default_rng(seed)
    u, w, gu, gw = (
        rng.normal(size=(n, h)), rng.normal(size=(h, m)), spd(rng, n), spd(rng, m),
    )  # fmt: skip
    g = spd(rng, h) @ np.linalg.qr(rng.normal(size=(h, h)))[0]
    settings_ = dict(noise=(gu, gw), temperature=0.4, weight_decay=decay)
    ends = []
    for start in ({"U": u, "W": w}, {"U": u @ g, "W": np.linalg.solve(g, w)}):
        out = st.rebalance(start, ("U", "W"), function=product, **settings_)
        assert out.report.output_change < 1e-10
        a, b = np.asarray(out.params["U"]), np.asarray(out.params["W"])
        mu, mw = 0.2 * gu + 2 * decay * np.eye(n), 0.2 * gw + 2 * decay * np.eye(m)
        n1, n2 = a.T @ mu @ a, b @ mw @ b.T
        assert np.linalg.norm(n1 - n2) < 1e-10 * np.linalg.norm(n1)
        ends.append((a @ a.T, b.T @ b, np.linalg.eigvalsh(n1)))
    # U and W are unique up to a rotation of the hidden space, which these do not see.
    for first, second in zip(*ends, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-7, atol=1e-8 * np.abs(first).max())
    # The map is g = X^(1/2), X N1 X = N2, of the start.
    n1, n2 = u.T @ mu @ u, w @ mw @ w.T
    x = np.asarray(st.geometric_mean(n1, n2))
    moved = st.rebalance({"U": u, "W": w}, ("U", "W"), **settings_).params["U"]
    np.testing.assert_allclose(moved, u @ scipy.linalg.sqrtm(x), rtol=1e-6, atol=1e-8)


def test_a_balanced_pair_stays():
    rng = np.random.default_rng(2)
    start = st.rebalance(
        {"U": rng.normal(size=(5, 3)), "W": rng.normal(size=(3, 4))}, ("U", "W")
    ).params
    again = st.rebalance(start, ("U", "W"))
    assert again.report.imbalance_before < 1e-14
    for name in ("U", "W"):
        np.testing.assert_allclose(again.params[name], start[name], atol=1e-13)


def test_query_key_of_width_64_and_an_adapter_of_rank_16():
    rng = np.random.default_rng(3)
    heads = {"Wq": rng.normal(size=(128, 64)), "Wk": 30 * rng.normal(size=(128, 64))}
    x = rng.normal(size=(9, 128))
    out = st.rebalance(
        heads, QUERY_KEY, function=lambda p: (x @ p["Wq"]) @ (x @ p["Wk"]).T,
        noise=(spd(rng, 128), spd(rng, 128)),
    )  # fmt: skip
    assert out.report.output_change < 1e-10
    assert out.report.imbalance_after < 1e-8 * out.report.imbalance_before
    assert out.report.rank == (64,)
    adapter = {"frozen": np.eye(256), "B": 0.01 * rng.normal(size=(256, 16))}
    adapter["A"] = rng.normal(size=(16, 256))
    out = st.rebalance(adapter, ("B", "A"), function=lambda p: p["frozen"] + p["B"] @ p["A"])
    assert out.report.output_change < 1e-10
    assert out.report.imbalance_after < 1e-8 * out.report.imbalance_before
    assert out.params["frozen"] is adapter["frozen"]


@pytest.mark.parametrize("decades", [(8, 0), (0, 8), (8, 8)])
def test_ill_conditioned_factors(decades):
    rng = np.random.default_rng(4)
    p = {"U": conditioned(rng, 30, 12, decades[0]), "W": conditioned(rng, 20, 12, decades[1]).T}
    out = st.rebalance(p, ("U", "W"), function=product)
    assert out.report.output_change < 1e-12
    assert out.report.imbalance_after < 1e-11 * out.report.imbalance_before
    assert min(out.report.rank) >= (12 if sum(decades) == 8 else 10)


def test_units_of_very_different_scales_lose_no_digits():
    rng = np.random.default_rng(5)
    scales = np.logspace(-8, 8, 12)
    p = {"U": conditioned(rng, 30, 12, 1) * scales}
    p["W"] = conditioned(rng, 20, 12, 1).T / scales[:, None]
    out = st.rebalance(p, ("U", "W"), function=product)
    assert out.report.rank == (12,)
    assert out.report.output_change < 1e-13
    assert out.report.imbalance_after < 1e-14


def test_an_ill_conditioned_noise_covariance():
    rng = np.random.default_rng(6)
    gamma = conditioned(rng, 8, 8, 0)
    gamma = (gamma * np.logspace(0, -8, 8)) @ gamma.T
    p = {"U": rng.normal(size=(8, 4)), "W": rng.normal(size=(4, 8))}
    out = st.rebalance(p, ("U", "W"), noise=((gamma + gamma.T) / 2, 1.0), function=product)
    assert out.report.output_change < 1e-10
    assert out.report.imbalance_after < 1e-8 * out.report.imbalance_before


def test_rank_deficient_factors_are_balanced_on_their_joint_range():
    rng = np.random.default_rng(7)
    mix = rng.normal(size=(9, 9))
    p = {"U": rng.normal(size=(20, 4)) @ mix[:4]}
    p["W"] = np.linalg.inv(mix)[:, :4] @ rng.normal(size=(4, 15))
    out = st.rebalance(p, ("U", "W"), function=product)
    assert out.report.rank == (4,) and out.report.width == 9
    assert out.report.output_change < 1e-12 and out.report.imbalance_after < 1e-13


def test_what_only_one_factor_uses_stays():
    rng = np.random.default_rng(8)
    # Orthogonal hidden directions: three are joint, two feed U only and carry no function.
    q = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    outputs = np.linalg.qr(rng.normal(size=(6, 5)))[0]
    joint, alone = outputs[:, :3] @ rng.normal(size=(3, 3)), outputs[:, 3:]
    p = {"U": joint @ q[:3] + alone @ q[3:], "W": q[:3].T @ rng.normal(size=(3, 7))}
    out = st.rebalance(p, ("U", "W"), function=product)
    assert out.report.rank == (3,) and out.report.output_change < 1e-12
    u, w = np.asarray(out.params["U"]), np.asarray(out.params["W"])
    np.testing.assert_allclose(u @ q[3:].T, alone, atol=1e-12)
    np.testing.assert_allclose(q[:3] @ u.T @ u @ q[:3].T, q[:3] @ w @ w.T @ q[:3].T, atol=1e-12)
    # The rest of the imbalance is reported, not hidden.
    assert out.report.imbalance_after > 0.01


def test_heads_are_balanced_one_by_one():
    rng = np.random.default_rng(9)
    p = {"Q": rng.normal(size=(4, 12, 3)), "K": 7 * rng.normal(size=(12, 4, 3))}
    pair = st.GLPair(("Q", -1, (0,)), ("K", -1, (1,)))
    scores = lambda p: jnp.einsum("hdk,ehk->hde", p["Q"], p["K"])
    out = st.rebalance(p, pair, function=scores)
    assert out.report.rank == (3,) * 4 and out.report.output_change < 1e-12
    assert out.report.imbalance_after < 1e-13
    one = st.rebalance({"U": p["Q"][2], "W": p["K"][:, 2].T}, ("U", "W")).params
    np.testing.assert_allclose(out.params["Q"][2], one["U"], atol=1e-12)
    np.testing.assert_allclose(out.params["K"][:, 2], one["W"].T, atol=1e-12)


def test_a_bias_shares_the_hidden_space():
    rng = np.random.default_rng(10)
    p = {"q": {"w": rng.normal(size=(6, 3)), "b": rng.normal(size=3)}, "k": rng.normal(size=(6, 3))}
    x = rng.normal(size=(5, 6))
    scores = lambda p: (x @ p["q"]["w"] + p["q"]["b"]) @ (x @ p["k"]).T
    with_bias = st.GLPair([("q.w", -1), ("q.b", -1)], ("k", -1))
    assert st.rebalance(p, with_bias, function=scores).report.output_change < 1e-12
    with pytest.raises(InputError, match="outputs of the function changed"):
        st.rebalance(p, st.GLPair("q.w", ("k", -1)), function=scores)


def test_single_precision_stays_single():
    rng = np.random.default_rng(11)
    p = {"U": jnp.asarray(rng.normal(size=(8, 4)), jnp.float32)}
    p["W"] = jnp.asarray(50 * rng.normal(size=(4, 8)), jnp.float32)
    out = st.rebalance(p, ("U", "W"), function=product)
    assert out.params["U"].dtype == out.params["W"].dtype == jnp.float32
    assert out.report.output_change < 1e-5
    u, w = np.asarray(out.params["U"]), np.asarray(out.params["W"])
    np.testing.assert_allclose(u.T @ u, w @ w.T, rtol=1e-4, atol=1e-3)


def test_noise_of_per_sample_gradients_agrees_with_the_closed_form():
    example = load("two-layer-linear")
    model = example.bound()
    rng = np.random.default_rng(12)
    u = np.eye(2) + 0.3 * rng.normal(size=(2, 2))
    p = {"U": u, "W": np.linalg.solve(u, model.values["V"])}
    sample = model.sample(jax.random.key(0), (50_000,))
    gradients = jax.vmap(jax.grad(model.evaluate), (None, 0))(p, sample)
    out = st.rebalance(p, ("U", "W"), gradients=gradients, function=product)
    assert out.report.output_change < 1e-12 and out.report.imbalance_after < 1e-13
    # At a minimum Gamma_U = 4 Tr Sigma_x Sigma_eps and Gamma_W = 4 Tr Sigma_eps Sigma_x.
    cov_x, cov_eps = model.values["Sigma_x"], model.values["Sigma_eps"]
    noise = 4 * np.trace(cov_x) * cov_eps, 4 * np.trace(cov_eps) * cov_x
    exact = st.rebalance(p, ("U", "W"), noise=noise).params
    # 5e4 samples give N1 and N2 to about 1/sqrt(5e4) = 0.5 %.
    np.testing.assert_allclose(out.params["U"], exact["U"], atol=0.02)
    norm = st.rebalance(p, ("U", "W")).params
    assert np.abs(norm["U"] - exact["U"]).max() > 0.05  # the control: norm balance is elsewhere


def test_noise_equilibrium_stops_the_charges_drift():
    example = load("two-layer-linear")
    model = example.bound(h=2)
    law = st.derive(model, example.symmetries["double-rotation"])
    rng = np.random.default_rng(13)
    u = np.eye(2) + 0.5 * rng.normal(size=(2, 2))
    p = {"U": u, "W": np.linalg.solve(u, model.values["V"])}
    cov_x, cov_eps = model.values["Sigma_x"], model.values["Sigma_eps"]
    noise = 4 * np.trace(cov_x) * cov_eps, 4 * np.trace(cov_eps) * cov_x
    drift = law.drift.callable()
    for decay in (0.0, 0.02):
        at = dict(learning_rate=0.1, batch_size=2.0, weight_decay=decay)
        out = st.rebalance(p, ("U", "W"), noise=noise, temperature=0.05, weight_decay=decay)
        assert np.abs(drift(out.params, **at)).max() < 1e-12
        assert np.abs(drift(p, **at)).max() > 1e-2


def test_pairs_that_a_search_finds_are_accepted_and_verified():
    example = load("low-rank-adapter")
    model = example.bound(r=2)
    found = st.discover(model)
    (pair,) = st.gl_pairs(found)
    rng = np.random.default_rng(14)
    p = {"B": rng.normal(size=(2, 2)), "A": rng.normal(size=(2, 2))}
    out = st.rebalance(p, pair, model=model, function=lambda p: p["B"] @ p["A"])
    assert out.report.symmetry.status is Status.PROVED
    assert out.report.imbalance_after < 1e-13
    mixing = next(g for g in found.generators if any(i != j for i, j in g.matrix))
    same = st.rebalance(p, mixing, model=model)
    np.testing.assert_allclose(same.params["B"], out.params["B"], atol=1e-13)
    diagonal = next(g for g in found.generators if all(i == j for i, j in g.matrix))
    with pytest.raises(InputError, match="not a pair of factors"):
        st.rebalance(p, diagonal, model=model)


def attention(heads=2, tokens=3, width=16, size=8):
    def loss(p, z):
        q, k = (jnp.einsum("td,hdk->htk", z["x"], p[name]) for name in ("Q", "K"))
        weights = jax.nn.softmax(q @ jnp.swapaxes(k, 1, 2), -1)
        return jnp.sum((jnp.einsum("hts,sd->td", weights, z["x"]) - z["y"]) ** 2)

    params = {"Q": (heads, width, size), "K": (heads, width, size)}
    random = {"x": st.Normal((tokens, width)), "y": st.Normal((tokens, width))}
    return st.Model(loss, params, random=random, name="attention")


@pytest.mark.slow
def test_heads_of_a_large_model_are_found_and_proved():
    model = attention()
    (pair,) = st.gl_pairs(st.discover(model))
    assert {f.leaf for f in (*pair.left, *pair.right)} == {"Q", "K"}
    assert pair.left[0].batch == (0,) and pair.left[0].axis == 2
    rng = np.random.default_rng(15)
    p = {"Q": 0.1 * rng.normal(size=(2, 16, 8)), "K": rng.normal(size=(2, 16, 8))}
    sample = model.sample(jax.random.key(0), (5,))
    outputs = lambda p: jax.vmap(model.evaluate, (None, 0))(p, sample)
    out = st.rebalance(p, pair, model=model, function=outputs)
    assert out.report.symmetry.status is Status.PROVED
    assert out.report.output_change < 1e-12 and out.report.imbalance_after < 1e-13


BAD = np.array([[1.0, 2.0], [2.0, 1.0]])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"noise": (BAD, 1.0)}, "Gamma_U is not positive definite"),
        ({}, {"noise": (1.0, np.diag([1.0, 0.0]))}, "Gamma_W is not positive definite"),
        ({}, {"noise": (-1.0, 1.0)}, "Gamma_U = -1 is not positive"),
        ({}, {"noise": (np.array([[1.0, 0.5], [0.0, 1.0]]), 1.0)}, "not symmetric"),
        ({}, {"noise": (np.eye(3), 1.0)}, "Gamma_U has shape"),
        ({}, {"noise": (np.full((2, 2), np.nan), 1.0)}, "Gamma_U has entries that are NaN"),
        ({"U": np.zeros((2, 3))}, {}, "left factor 'U' is zero.*singular"),
        ({"W": np.zeros((3, 2))}, {}, "right factor 'W' is zero.*singular"),
        ({"W": np.ones((4, 2))}, {}, "hidden axis of 'U' has size 3"),
        ({"U": np.full((2, 3), np.inf)}, {}, "NaN or infinite"),
        ({"U": np.ones((2, 3), int)}, {}, "type int64"),
        ({}, {"temperature": -1.0}, "temperature must be"),
        ({}, {"temperature": 0.0}, "every point of the orbit is at rest"),
        ({}, {"weight_decay": np.nan}, "weight_decay must be"),
        ({}, {"gradients": {"U": np.ones((4, 2, 3))}}, "per-sample gradient of 'W'"),
        ({}, {"gradients": {"U": np.ones((1, 2, 3)), "W": np.ones((1, 3, 2))}}, "at least 2"),
        ({}, {"gradients": {}, "noise": (1.0, 1.0)}, "either noise"),
    ],
)
def test_bad_input(change, options, message):
    p = {"U": np.arange(6.0).reshape(2, 3) + 1, "W": np.ones((3, 2)), **change}
    with pytest.raises(InputError, match=message):
        st.rebalance(p, ("U", "W"), **options)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("U", "V"), "no leaf 'V'"),
        (("U", "U"), "occurs twice"),
        (("U", ("W", 5)), "has no axes"),
        (("U", ("W", 0, (0,))), "not different"),
        ((("U", 1, (0,)), "W"), "batch axes"),
        (("U", 3), "right is 3"),
        ("U", "not a pair of factors"),
    ],
)
def test_bad_pairs(pair, message):
    p = {"U": np.ones((2, 3)), "W": np.ones((3, 2))}
    with pytest.raises(InputError, match=message):
        st.rebalance(p, pair)


def test_a_pair_that_is_none_is_refused():
    model = load("two-layer-linear").bound(h=2)
    p = {"U": np.eye(2), "W": np.eye(2)}
    with pytest.raises(InputError, match="not a symmetry of two-layer-linear"):
        st.rebalance(p, ("U", ("W", -1)), model=model)
