"""Symmetries that exist, and that discover, reflections or conservation_laws do not list."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import symtheory as st
from tests.cases.oracles import (
    ask,
    assert_laws_right,
    assert_never_wrong,
    assert_right,
    conservation_laws,
    discover,
    flat_directions,
    is_proved,
    kinds,
    reflections,
    verify,
)

# --- reflections ---


@pytest.mark.parametrize(
    "act, right",
    [
        (jnp.tanh, {"swap": [(6, 11)], "flip": [(4, 11)]}),
        (jax.nn.relu, {"swap": [(6, 11)]}),
    ],
    ids=["tanh", "relu"],
)
def test_case_reflections_two_heads(act, right):
    shapes = {"W": (6, 4), "b": (4,), "mean": (4, 2), "logvar": (4, 2), "mb": (2,), "vb": (2,)}

    def loss(p, z):
        h = act(z["x"] @ p["W"] + p["b"])
        m, v = h @ p["mean"] + p["mb"], h @ p["logvar"] + p["vb"]
        return 0.5 * jnp.sum((m - z["y"]) ** 2 * jnp.exp(-v) + v)

    model = st.Model(loss, shapes, {"x": st.Normal(6), "y": st.Normal(2)})
    found = kinds(reflections(model))
    assert {k: v for k, v in found.items() if k in ("swap", "flip")} == right


def test_case_exchangeable_components_of_a_mixture():
    def loss(p, z):
        lp = jax.nn.log_softmax(p["pi"]) + p["ls"]
        lp = lp - 0.5 * jnp.sum((z["x"] - p["mu"]) ** 2, 1) * jnp.exp(p["ls"])
        return -jax.nn.logsumexp(lp)

    model = st.Model(loss, {"pi": (3,), "mu": (3, 2), "ls": (3,)}, {"x": st.Normal(2)})
    assert kinds(reflections(model)).get("swap") == [(3, 4)]


def test_case_exchangeable_components_experts():
    def loss(p, z):
        outs = jnp.tanh(jnp.einsum("eij,j->ei", p["E"], z["x"]))
        return jnp.sum((jax.nn.softmax(p["G"] @ z["x"]) @ outs - z["y"]) ** 2)

    model = st.Model(loss, {"G": (2, 3), "E": (2, 2, 3)}, {"x": st.Normal(3), "y": st.Normal(2)})
    assert (1, 9) in kinds(reflections(model)).get("swap", [])


def test_case_residual_stream():
    def loss(p, z):
        h = p["W0"] @ z["x"]
        h = h + p["W2"] @ jax.nn.relu(p["W1"] @ h)
        return jnp.sum((p["W3"] @ h - z["y"]) ** 2)

    model = st.Model(
        loss,
        {"W0": (3, 2), "W1": (4, 3), "W2": (3, 4), "W3": (2, 3)},
        {"x": st.Normal(2), "y": st.Normal(2)},
    )
    found = kinds(reflections(model))
    assert sorted(found.get("swap", [])) == [(3, 12), (6, 6)]
    assert (3, 12) in found.get("flip", [])


def test_case_missed_reflections_weightnorm():
    def loss(p, z):
        W = p["g"][:, None] * p["V"] / jnp.linalg.norm(p["V"], axis=1, keepdims=True)
        return (p["a"] @ jnp.tanh(W @ z["x"]) - z["y"]) ** 2

    model = st.Model(
        loss, {"V": (2, 2), "g": (2,), "a": (2,)}, {"x": st.Normal(2), "y": st.Normal(())}
    )
    found = reflections(model)
    assert kinds(found).get("swap") == [(1, 4)]
    flips = {frozenset(r.leaves): r.rank for r in found if r.kind == "flip"}
    assert flips.get(frozenset({"g", "a"})) == 2
    # Also (V, a) at once and (V, g) at once, of which one is the product of the other two.
    assert flips.get(frozenset({"V", "a"})) == 3 or flips.get(frozenset({"V", "g"})) == 3


def test_case_missed_reflections_recurrent():
    def loss(p, z):
        cell = lambda h, x: (jnp.tanh(p["Wh"] @ h + p["Wx"] @ x), None)
        h, _ = lax.scan(cell, jnp.zeros(2), z["x"])
        return (p["Wo"] @ h - z["y"]) ** 2

    model = st.Model(
        loss,
        {"Wh": (2, 2), "Wx": (2, 2), "Wo": (2,)},
        {"x": st.Normal((3, 2)), "y": st.Normal(())},
    )
    # By conjugation Wh loses 2 (of eigenvalue -1 of S x S), Wx 2, Wo 1.
    found = kinds(reflections(model))
    assert found.get("swap") == [(1, 5)]
    assert found.get("flip") == [(2, 5)]


def test_case_missed_reflections_even():
    model = st.Model(
        lambda p, z: ((p["q"] @ z["x"]) ** 2 - z["y"]) ** 2,
        {"q": (3,)},
        {"x": st.Normal(3), "y": st.Normal(())},
    )
    minus = st.Reflection(lambda p: p, name="theta -> -theta")
    assert is_proved(verify(model, minus))
    assert [r.rank for r in reflections(model)] == [3]


def test_h_rnn_reflections():
    # Three units: conjugation by a swap or a flip has eigenvalue -1 four times on Wh.
    def loss(p, z):
        cell = lambda h, x: (jnp.tanh(p["Wh"] @ h + p["Wx"] @ x + p["b"]), None)
        h, _ = lax.scan(cell, jnp.zeros(3), z["x"])
        return jnp.sum((p["Wo"] @ h - z["y"]) ** 2)

    model = st.Model(
        loss,
        {"Wh": (3, 3), "Wx": (3, 2), "b": 3, "Wo": (1, 3)},
        {"x": st.Normal((4, 2)), "y": st.Normal(1)},
    )
    found = kinds(reflections(model))
    assert found.get("swap") == [(3, 8)]
    assert found.get("flip") == [(3, 8)]
    assert_never_wrong(discover(model), 0, 0)


# --- generators ---


def attention(C, heads_first):
    T, H, K = 4, 2, 3

    def loss(p, z):
        if heads_first:
            p = {n: jnp.moveaxis(w, 0, 1) if n != "out" else w for n, w in p.items()}
        q, k, v = (jnp.einsum("tc,chk->htk", z["x"], p[n]) for n in ("query", "key", "value"))
        a = jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2))
        return jnp.mean((jnp.einsum("hts,hsk,hkc->tc", a, v, p["out"]) - z["y"]) ** 2)

    shape = (H, C, K) if heads_first else (C, H, K)
    shapes = {n: shape for n in ("query", "key", "value")} | {"out": (H, K, C)}
    return st.Model(loss, shapes, {"x": st.Normal((T, C)), "y": st.Normal((T, C))})


@pytest.mark.slow
@pytest.mark.parametrize("heads_first", [False, True])
def test_case_flax_attention_heads(heads_first):
    # GL(3) for each of 2 heads of query/key and of value/out: 4 x 9.
    found = discover(attention(20, heads_first), seconds=60)
    assert found is not None and found.total == 36
    assert found.status.holds


def prelu_net(taps):
    prelu = lambda x, a: jnp.where(x > 0, x, a * x)

    def loss(p, z):
        matrix = lambda k: p[k] if taps is None else p[k].sum(-1)
        h = z["x"]
        for i in "123":
            h = prelu(matrix("W" + i) @ h + p["b" + i], p["a" + i])
        return jnp.sum((matrix("V") @ h - z["y"]) ** 2)

    shapes = {"W1": (10, 12), "W2": (16, 10), "W3": (8, 16), "V": (3, 8)}
    shapes = {k: s if taps is None else (*s, taps) for k, s in shapes.items()}
    shapes |= {f"{n}{i}": (k,) for n in "ab" for i, k in zip("123", (10, 16, 8), strict=True)}
    return st.Model(loss, shapes, {"x": st.Normal(12), "y": st.Normal(3)})


@pytest.mark.parametrize("taps", [None, 2])
def test_case_sliced_first_axis(taps):
    found = discover(prelu_net(taps), seconds=60)
    assert found is not None
    rescalings = sum(g.count for g in found.groups if "rescaling" in g.name or "scal" in g.name)
    assert rescalings >= 34 and found.total >= 34


SOFT = {
    "softplus": jax.nn.softplus,
    "log1p_exp": lambda t: jnp.log1p(jnp.exp(t)),
    "log_sigmoid": lambda t: -jax.nn.log_sigmoid(-t),
    "logaddexp": lambda t: jnp.logaddexp(t, 0.0),
    "logsumexp": lambda t: jax.nn.logsumexp(jnp.stack([t, 0.0 * t])),
}


@pytest.mark.parametrize("name", SOFT)
def test_case_softplus(name):
    soft = SOFT[name]
    model = st.Model(
        lambda p, z: soft(-z["l"] * (z["x"] @ p["U"] @ p["V"] @ z["y"])),
        {"U": (3, 2), "V": (2, 3)},
        {"x": st.Normal(3), "y": st.Normal(3), "l": st.Rademacher(())},
    )
    found = discover(model)
    assert found is not None and found.total == 4 and found.status.holds


@pytest.mark.parametrize("name", SOFT)
def test_case_softplus_logistic_regression(name):
    soft = SOFT[name]
    model = st.Model(
        lambda p, z: soft(-z["l"] * (z["x"] @ p["w"])),
        {"w": (3,)},
        {"x": st.Normal(3), "l": st.Rademacher(())},
    )
    found = discover(model)
    assert_right(found, 0, 0)


def layer_norm_block(d, h, i, o):
    ln = lambda x: (x - x.mean()) / jnp.sqrt(x.var() + 1e-5)

    def loss(p, z):
        s = p["W0"] @ z["x"]
        s = s + p["W2"] @ jax.nn.relu(p["W1"] @ ln(s))
        return jnp.sum((p["W3"] @ ln(s) - z["y"]) ** 2)

    shapes = {"W0": (d, i), "W1": (h, d), "W2": (d, h), "W3": (o, d)}
    return st.Model(loss, shapes, {"x": st.Normal(i), "y": st.Normal(o)})


@pytest.mark.slow
def test_case_budget_keeps_time():
    model = layer_norm_block(3, 4, 2, 2)
    start = time.monotonic()
    discover(model, seconds=20)
    assert time.monotonic() - start < 24 + 4  # a fifth more, and what tracing takes


@pytest.mark.slow
def test_case_budget_small_block():
    # 4 rescalings of relu units, so(2) about (1, 1, 1), and 12 directions along and across
    # (1, 1, 1): 17 flat directions at a generic point, counted here.
    model = layer_norm_block(3, 4, 2, 2)
    assert flat_directions(model, scale=1.0, seeds=range(6)) == 17
    found = discover(model, seconds=60)
    assert found is not None and found.total + (found.affine - found.total) >= 17


@pytest.mark.slow
def test_case_budget_larger_block():
    found = discover(layer_norm_block(12, 16, 6, 6), seconds=60)
    assert found is not None and found.affine >= 115


def conv(x, k):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x[None], k, (1, 1), "SAME", dimension_numbers=numbers)[0]


def conv_net():
    def loss(p, z):
        h = jax.nn.relu(conv(z["x"], p["K"]) + p["b"])
        return (jnp.mean(conv(h, p["L"])) - z["y"]) ** 2

    shapes = {"K": (3, 3, 1, 4), "b": (4,), "L": (3, 3, 4, 1)}
    return st.Model(loss, shapes, {"x": st.Normal((4, 4, 1)), "y": st.Normal(())})


def test_case_conv_net_generators():
    found = discover(conv_net(), seconds=60)
    assert found is not None and found.total == 4 and found.status.holds


def test_case_conv_net_laws():
    laws = conservation_laws(conv_net(), seconds=60)
    assert laws is not None and laws.lower == 4 <= laws.upper


def test_case_conv_net_reflections():
    assert kinds(reflections(conv_net())).get("swap") == [(6, 19)]


def images(head):
    def features(p, x):
        numbers = ("NCHW", "OIHW", "NCHW")
        h = lax.conv_general_dilated(x, p["k"], (1, 1), "VALID", dimension_numbers=numbers)
        h = jax.nn.relu(h + p["b"][None, :, None, None])
        window = (1, 1, 2, 2)
        return lax.reduce_window(h, -jnp.inf, lax.max, window, window, "VALID")[0]

    shapes = {"k": (3, 1, 3, 3), "b": 3, "W": (2, 12 if head == "flat" else 3)}
    last = (lambda h: h.reshape(-1)) if head == "flat" else (lambda h: h.mean((1, 2)))
    loss = lambda p, z: jnp.sum((p["W"] @ last(features(p, z["x"])) - z["y"]) ** 2)
    return st.Model(loss, shapes, {"x": st.Normal((1, 1, 6, 6)), "y": st.Normal(2)})


@pytest.mark.parametrize("head", ["flat", "gap"])
def test_cnn_flatten_generators(head):
    found = discover(images(head), seconds=40)
    assert found is not None and found.total == 3 and found.status.holds


def test_cnn_flatten_channel_is_a_symmetry():
    e = jnp.array([1.0, 0, 0])
    channel = st.Exponential(
        lambda p: {
            "k": e[:, None, None, None] * p["k"],
            "b": e * p["b"],
            "W": -jnp.repeat(e, 4) * p["W"],
        },
        name="channel 1",
    )
    assert is_proved(verify(images("flat"), channel))


def image_classifier():
    def net(p, x):
        numbers = ("NCHW", "OIHW", "NCHW")
        h = lax.conv_general_dilated(x, p["k1"], (1, 1), "VALID", dimension_numbers=numbers)
        h = jax.nn.relu(h + p["b1"][None, :, None, None])
        window = (1, 1, 2, 2)
        h = lax.reduce_window(h, -jnp.inf, lax.max, window, window, "VALID")
        return p["W"] @ h.reshape(-1) + p["b2"]

    loss = lambda p, z: -jnp.sum(z["y"] * jax.nn.log_softmax(net(p, z["x"])))
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(100, 1, 1, 6, 6)), "y": np.eye(2)[rng.integers(0, 2, 100)]}
    shapes = {"k1": (3, 1, 3, 3), "b1": 3, "W": (2, 12), "b2": 2}
    return st.Model(loss, shapes, st.Empirical(data))


def test_f_cnn_laws():
    # Three channels, and the sum over the two classes of 12 columns of W and of the bias.
    laws = conservation_laws(image_classifier(), seconds=60)
    assert laws is not None and laws.lower == 16 <= laws.upper


def test_f_cnn_symmetric_generators():
    # Three rescalings of channels are symmetric; so are shifts of logits by logits' own columns.
    found = discover(image_classifier(), seconds=60)
    assert found is not None
    scales = [g for g in found.generators if {"k1", "b1", "W"} <= set(g.leaves)]
    assert len(scales) >= 3


def test_f_cnn_derive():
    found = discover(image_classifier(), seconds=60)
    family = found.family()
    assert family is not None
    law = ask(st.derive, image_classifier(), family)
    assert law is not None and law.charge is not None


def test_collinear_data():
    integers = np.random.default_rng(0).integers(-5, 6, size=(50, 2))
    X = np.c_[integers, integers.sum(1)].astype(float)
    model = st.Model(
        lambda p, z: (p["w"] @ z["x"] - z["y"]) ** 2,
        {"w": (3,)},
        st.Empirical({"x": X, "y": X[:, 0]}),
    )
    shift = st.Affine(lambda p: {"w": jnp.array([1.0, 1.0, -1.0])}, name="shift along (1, 1, -1)")
    found = discover(model)
    assert_right(found, 3, 4)
    assert is_proved(verify(model, shift))


def test_collinear_data_laws():
    # Gradients span the plane of the data, of dimension 2 of 3: w . (1, 1, -1) is conserved.
    integers = np.random.default_rng(0).integers(-5, 6, size=(50, 2))
    X = np.c_[integers, integers.sum(1)].astype(float)
    model = st.Model(
        lambda p, z: (p["w"] @ z["x"] - z["y"]) ** 2,
        {"w": (3,)},
        st.Empirical({"x": X, "y": X[:, 0]}),
    )
    assert_laws_right(conservation_laws(model), 1)


# --- embeddings, integers, complex numbers ---


def embedding(one_hot, cast=True):
    r = np.random.default_rng(0)
    tokens, labels = r.integers(0, 7, 300), r.integers(0, 7, 300)
    if one_hot:
        data = st.Empirical({"tok": np.eye(7)[tokens], "y": np.eye(7)[labels]})
        loss = lambda p, z: -(z["y"] @ jax.nn.log_softmax(p["U"] @ (z["tok"] @ p["E"])))
    else:
        data = st.Empirical({"tok": tokens, "y": labels})
        integer = (lambda a: a.astype(int)) if cast else (lambda a: a)

        def loss(p, z):
            e = jnp.take(p["E"], integer(z["tok"]), axis=0)
            return -jax.nn.log_softmax(p["U"] @ e)[integer(z["y"])]

    return st.Model(loss, {"E": (7, 3), "U": (7, 3)}, data)


@pytest.mark.parametrize("one_hot", [True, False], ids=["one_hot", "integers"])
def test_embedding_generators(one_hot):
    # GL(3) between E and U, and one row added to all rows of U: 3 x 42 linear ones and 3 constant.
    found = discover(embedding(one_hot), seconds=60)
    assert found is not None and found.status.holds
    assert (found.total, found.affine) == (9 + 126, 9 + 126 + 3)


@pytest.mark.parametrize("one_hot", [True, False], ids=["one_hot", "integers"])
def test_embedding_laws(one_hot):
    # E^T E - U^T U (6 entries) and the three sums over the rows of U.
    laws = conservation_laws(embedding(one_hot), seconds=60)
    assert laws is not None and laws.lower == 9 <= laws.upper


def test_g_embed_integer_columns_without_a_cast():
    # Either integers stay integers, or one sentence says how to cast them.
    try:
        model = embedding(False, cast=False)
    except st.SymtheoryError as error:
        assert "astype" in str(error) or "cast" in str(error)
        return
    found = discover(model, seconds=60)
    assert found is not None and found.total == 135


def classifier(cast):
    def loss(p, x, y):
        h = jax.nn.relu(x @ p["W1"] + p["b1"])
        logp = jax.nn.log_softmax(h @ p["W2"] + p["b2"])
        return -jnp.mean(logp[jnp.arange(x.shape[0]), y])

    rng = np.random.default_rng(0)
    data = st.Empirical({"x": rng.normal(size=(128, 3)), "y": rng.integers(0, 2, 128)})
    label = (lambda y: y.astype(int)) if cast else (lambda y: y)
    one = lambda p, z: loss(p, z["x"][None], label(z["y"])[None])
    return st.Model(one, {"W1": (3, 4), "b1": 4, "W2": (4, 2), "b2": 2}, data)


def test_k_batch_generators():
    # Four relu units; a number added to both columns of a row of W2 (4) or to b2 (1), each of the
    # 26 parameters or a constant: 4 + 5 x 26 linear, and 5 more.
    found = discover(classifier(True), seconds=60)
    assert found is not None and found.status.holds
    assert (found.total, found.affine) == (4 + 5 * 26, 4 + 5 * 27)


def test_k_batch_laws():
    laws = conservation_laws(classifier(True), seconds=60)
    assert laws is not None and laws.lower == 9 <= laws.upper


def test_k_batch_integer_labels_without_a_cast():
    try:
        model = classifier(False)
    except st.SymtheoryError as error:
        assert "astype" in str(error) or "cast" in str(error)
        return
    found = discover(model, seconds=60)
    assert found is not None and found.total == 4 + 5 * 26


@pytest.mark.parametrize("label", ["one_hot", "integer"])
def test_case_conservation_integer_labels(label):
    # Four rescalings |W[:, k]|^2 - |u[k, :]|^2, and five sums over classes.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 3)), rng.integers(0, 3, size=300)
    logits = lambda p, x: jax.nn.relu(x @ p["W"]) @ p["u"] + p["b"]
    if label == "integer":
        loss = lambda p, z: -jax.nn.log_softmax(logits(p, z["x"]))[z["y"].astype(int)]
        data = st.Empirical({"x": x, "y": y})
    else:
        loss = lambda p, z: -jnp.sum(jax.nn.log_softmax(logits(p, z["x"])) * z["y"])
        data = st.Empirical({"x": x, "y": np.eye(3)[y]})
    model = st.Model(loss, {"W": (3, 4), "u": (4, 3), "b": (3,)}, data)
    laws = conservation_laws(model)
    assert laws is not None and laws.lower == 9 <= laws.upper


def complex_models():
    def absolute(p, z):
        u, v = p["u"][0] + 1j * p["u"][1], p["v"][0] + 1j * p["v"][1]
        return jnp.abs(u * v * z["x"] - (z["y"][0] + 1j * z["y"][1])) ** 2

    def parts(p, z):
        u, v = lax.complex(p["u"][0], p["u"][1]), lax.complex(p["v"][0], p["v"][1])
        r = u * v * z["x"] - lax.complex(z["y"][0], z["y"][1])
        return jnp.real(r * jnp.conj(r))

    def by_hand(p, z):
        (a, b), (c, d) = p["u"], p["v"]
        real, imag = a * c - b * d, a * d + b * c
        return (real * z["x"] - z["y"][0]) ** 2 + (imag * z["x"] - z["y"][1]) ** 2

    return {"absolute": absolute, "parts": parts, "by_hand": by_hand}


@pytest.mark.parametrize("name", ["absolute", "parts", "by_hand"])
def test_i_complex(name):
    # u -> c u, v -> v / c with c complex: a scale and a phase; |u|^2 - |v|^2 is the one law
    # (the fields r conj(v), r conj(u) and their bracket i (u, v) span 3 of 4 dimensions).
    model = st.Model(
        complex_models()[name], {"u": (2,), "v": (2,)}, {"x": st.Normal(()), "y": st.Normal(2)}
    )
    found = discover(model)
    assert found is not None and found.total == 2 and found.status.holds
    laws = conservation_laws(model)
    assert laws is not None and laws.lower == 1 <= laws.upper


def test_i_complex_quaternion():
    # A rotation by q / |q| does not see the length of q; nothing else is free. q -> -q reflects.
    def rotated(q, x):
        w, v = q[0], q[1:]
        t = 2 * jnp.cross(v, x)
        return x + (w * t + jnp.cross(v, t)) / jnp.sum(q**2)

    model = st.Model(
        lambda p, z: jnp.sum((rotated(p["q"], z["x"]) - z["y"]) ** 2),
        {"q": (4,)},
        {"x": st.Normal(3), "y": st.Normal(3)},
    )
    found = discover(model)
    assert_right(found, 1, 1)
    assert [r.rank for r in reflections(model)] == [4]


def test_softmax_grows():
    # The sum of the logits' weights has no noise: Tr[Sigma A] = 0 for it, SGD conserves it, so
    # its charge does not grow without end.
    model = st.Model(
        lambda p, z: -jax.nn.log_softmax(p["W"] @ z["x"])[0], {"W": (2, 2)}, {"x": st.Normal(2)}
    )
    found = discover(model)
    law = ask(st.derive, model, found.family())
    assert law is not None
    p = {"W": np.array([[1.0, 0.3], [0.2, -0.5]])}
    noise = np.asarray(law.noise_trace.callable()(p))
    assert np.abs(noise).max() < 1e-9
    assert law.equilibrium.kind not in ("+infinity", "-infinity")
