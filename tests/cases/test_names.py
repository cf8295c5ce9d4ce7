"""Names that can be confused when they are joined: dots, brackets, commas, Unicode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import ask, conservation_laws, discover, draw, reflections, status, verify

RESCALING = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]})


def test_case_dotted_law_name_wrong_moments():
    # Tr[Sigma A] by hand: r = u w - k with k = b e, g = 2 r (w, u); averages over the two rows of
    # b and over e ~ N(3, 1) are taken exactly below.
    def trace(name):
        model = st.Model(
            lambda p, z: (p["u"] * p["w"] - z["a"]["b"] * z[name]) ** 2,
            {"u": (), "w": ()},
            {"a": st.Empirical({"b": np.array([1.0, 2.0])}), name: st.Normal((), mean=3.0)},
        )
        law = ask(st.derive, model, RESCALING)
        return None if law is None else float(law.noise_trace.callable()({"u": 0.7, "w": -1.3}))

    u, w = 0.7, -1.3
    # k = b e has mean 1.5 * 3 and variance E[b^2] E[e^2] - mean^2; Var[2 r] = 4 Var[k].
    variance = 4 * ((1 + 4) / 2 * 10 - 4.5**2)
    right = variance * (w**2 - u**2)
    assert trace("c") == pytest.approx(right)
    got = trace("a.b")
    assert got is None or got == pytest.approx(right)


# --- one model under many names ---
#
# l = (a_0 a_1 b x - y - k)^2 with a scalar constant k and a named variance of y. Scalings of
# a_0, a_1 and b that keep the product: 2 linear generators, 2 laws. Renaming changes nothing.

PLAIN = dict(a="a", b="b", x="x", y="y", k="k", cov="s2")


def named(a, b, x, y, k, cov):
    return st.Model(
        lambda p, z, c: (p[a][0] * p[a][1] * p[b] * z[x] - z[y] - c[k]) ** 2,
        {a: (2,), b: ()},
        {x: st.Normal(()), y: st.Normal((), cov=cov)},
        {k: ()},
    )


CONFUSABLE = {
    "index_dot": dict(b="a.0"),
    "index_bracket": dict(b="a[0]"),
    "index_underscore": dict(b="a_0"),
    "index_joined": dict(b="a0"),
    "index_braces": dict(b="a_{0}"),
    "index_comma": dict(b="a,0"),
    "index_second": dict(b="a_1"),
    "trailing_space": dict(b="a "),
    "prime": dict(b="a'"),
    "quote": dict(b='a"'),
    "backslash": dict(b="a\\b"),
    "newline": dict(b="a\nb"),
    "percent": dict(b="%s"),
    "format": dict(b="{a}"),
    "dollar": dict(b="$a$"),
    "empty": dict(b=""),
    "zero": dict(b="0"),
    "digits": dict(a="1", b="10"),
    "ligature": dict(a="fi", b="\ufb01"),
    "micro": dict(a="\u00b5", b="\u03bc"),
    "angstrom": dict(a="\u00c5", b="A\u030a"),
    "angstrom_sign": dict(a="\u00c5", b="\u212b"),
    "fullwidth": dict(a="a", b="\uff41"),
    "greek": dict(a="\u03b8", b="\u03d1"),
    "cyrillic": dict(a="a", b="\u0430"),
    "zero_width": dict(a="a", b="a\u200b"),
    "imaginary": dict(a="I", b="E"),
    "sympy_names": dict(a="pi", b="oo"),
    "sympy_functions": dict(a="S", b="N", x="Q"),
    "keywords": dict(a="lambda", b="None"),
    "settings": dict(a="eta", b="gamma"),
    "settings_more": dict(a="beta", b="T"),
    "learning_rate": dict(a="learning_rate", b="weight_decay"),
    "batch_size": dict(a="batch_size", b="temperature"),
    "parts_of_solutions": dict(a="c_+", b="s_-"),
    "sample_is_parameter": dict(x="a"),
    "sample_is_other_parameter": dict(y="b"),
    "constant_is_parameter": dict(k="a"),
    "constant_is_sample": dict(k="x"),
    "covariance_is_parameter": dict(cov="b"),
    "covariance_is_sample": dict(cov="x"),
    "covariance_is_own_sample": dict(cov="y"),
    "covariance_dotted": dict(cov="y.cov"),
    "sample_dotted": dict(x="a.0", y="a.1"),
    "sample_underscored": dict(x="a_0", y="a_1"),
    "samples_joined": dict(x="x", y="x.x"),
    "constant_dotted": dict(k="x.0"),
    "gradient_names": dict(a="g", b="g_a"),
}


@pytest.mark.parametrize("name", CONFUSABLE)
def test_generators_do_not_depend_on_names(name):
    model = ask(named, **{**PLAIN, **CONFUSABLE[name]})
    found = model and discover(model)
    assert found is None or (found.total, found.affine, str(found.status)) == (2, 2, "proved")


@pytest.mark.parametrize("name", CONFUSABLE)
def test_laws_do_not_depend_on_names(name):
    model = ask(named, **{**PLAIN, **CONFUSABLE[name]})
    laws = model and conservation_laws(model)
    assert laws is None or (laws.lower, laws.upper) == (2, 2)


@pytest.mark.parametrize("name", CONFUSABLE)
def test_a_law_does_not_depend_on_names(name):
    # Tr[Sigma A] for A = diag(1, 0, -1) on (a_0, a_1, b), by hand. With m = a_0 a_1 b and
    # r = m x - y - k the gradient is 2 r x (m / a_0, m / a_1, m / b); w = 2 r x has
    # E[w^2] = 4 E[x^2 (m x - y - k)^2] = 4 (3 m^2 + s2 + k^2) and E[w] = 2 m.
    names = {**PLAIN, **CONFUSABLE[name]}
    a, b = names["a"], names["b"]
    rescaling = st.Exponential(lambda p: {a: p[a] * jnp.array([1.0, 0.0]), b: -p[b]}, name="A")
    model = ask(named, **names)
    if model is None:
        return
    law = ask(st.derive, model, rescaling)
    if law is None:
        return
    assert str(law.status) == "proved"
    a0, a1, b0, k, s2 = 0.7, -1.3, 0.4, 0.6, 2.5
    m = a0 * a1 * b0
    variance = 4 * (3 * m**2 + s2 + k**2) - 4 * m**2
    right = variance * ((m / a0) ** 2 - (m / b0) ** 2)
    values = {names["k"]: k, names["cov"]: s2}
    got = law.noise_trace.callable()({a: jnp.array([a0, a1]), b: jnp.array(b0)}, **values)
    assert float(got) == pytest.approx(right)
    symbols = law.noise_trace.sympy().free_symbols
    assert len(symbols) == 5, symbols  # a_0, a_1, b, k and s2 stay apart
    assert len({str(symbol) for symbol in symbols}) == 5, symbols
    printed = law.noise_trace.sympy()
    assert len(printed.free_symbols | law.charge.sympy().free_symbols) == 5


# --- leaves of nested parameters whose joined paths are equal ---

NESTED = {
    "dict_and_dot": {"a": {"b": ()}, "a.b": ()},
    "list_and_dot": {"a": [(), ()], "a.0": ()},
    "list_and_bracket": {"a": [(), ()], "a[0]": ()},
    "twice_dotted": {"a.b": {"c": ()}, "a": {"b.c": ()}},
    "integer_key": {"a": {0: (), 1: ()}, "a.0": ()},
    "empty_keys": {"": {"": ()}, ".": ()},
    "slash": {"a/b": (), "a": {"b": ()}},
}


def nested(params):
    leaves = lambda p: jax.tree.leaves(p)

    def loss(p, z):
        out = z["x"]
        for leaf in leaves(p):
            out = out * leaf
        return (out - z["y"]) ** 2

    return st.Model(loss, params, {"x": st.Normal(()), "y": st.Normal(())})


@pytest.mark.parametrize("name", NESTED)
def test_any_keys_are_accepted(name):
    # A product of n scalars: n - 1 scalings keep it. Keys may be any strings.
    count = len(jax.tree.leaves(NESTED[name], is_leaf=lambda s: s == ()))
    model = ask(nested, NESTED[name])
    assert model is not None
    found = discover(model)
    assert found is not None and (found.total, str(found.status)) == (count - 1, "proved")
    assert len(model.leaves) == count


# --- columns of data sets ---


@pytest.mark.parametrize(
    "first, second",
    [("a", "a.b"), ("a", "a[b]"), ("a", "a_b"), ("a", "ab"), ("a", "a/b"), ("", "b"), ("a", ".b")],
)
def test_columns_and_samples_stay_apart(first, second):
    # Two independent samples: a column b of the data set `first`, and a normal one `second`.
    # l = (u w - q e)^2 with q in {1, 2} and e ~ N(3, 1): Var[2 q e] = 4 (2.5 * 10 - 4.5^2).
    loss = lambda p, z: (p["u"] * p["w"] - z[first]["b"] * z[second]) ** 2
    laws = {first: st.Empirical({"b": np.array([1.0, 2.0])}), second: st.Normal((), mean=3.0)}
    model = ask(st.Model, loss, {"u": (), "w": ()}, laws)
    if model is None:
        return
    law = ask(st.derive, model, RESCALING)
    if law is None:
        return
    got = ask(law.noise_trace.callable(), {"u": 0.7, "w": -1.3})
    assert got is not None, "refused, although nothing is left to bind"
    assert float(got) == pytest.approx(4 * (25 - 4.5**2) * (1.3**2 - 0.7**2))


@pytest.mark.parametrize("pair", [("x", "x.y"), ("x", "x[0]"), ("x_0", "x"), ("\u00b5", "\u03bc")])
def test_samples_stay_apart(pair):
    # E[x_0^2 q^2] with x of shape (2,) and an independent q of variance 4: they are not one array.
    first, second = pair
    f = lambda z: z[first][0] ** 2 * z[second] ** 2
    laws = {first: st.Normal(2), second: st.Normal((), cov=4.0)}
    found = ask(st.expectation, f, laws)
    if found is not None:
        assert float(found.sympy()) == pytest.approx(4.0)


def test_named_means_and_covariances_stay_apart():
    # A mean called m of y and a covariance called m of x cannot be one array.
    def make():
        return st.Model(
            lambda p, z: (p["u"] * p["w"] * z["x"] - z["y"]) ** 2,
            {"u": (), "w": ()},
            {"x": st.Normal((), cov="m"), "y": st.Normal((), mean="m")},
        )

    model = ask(make)
    if model is None:
        return
    law = ask(st.derive, model, RESCALING)
    assert law is None or len(law.noise_trace.sympy().free_symbols) == 4


@pytest.mark.parametrize("key", ["a.b", "a[0]", "a,b", "\u00b5", "a b", "", "0"])
def test_reflections_do_not_depend_on_names(key):
    model = ask(
        st.Model,
        lambda p, z: (p[key] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2,
        {key: 3, "W": (3, 2)},
        {"x": st.Normal(2), "y": st.Normal(())},
    )
    assert model is not None
    found = reflections(model)
    assert [(r.kind, r.count, r.rank) for r in found][:2] == [("swap", 3, 3), ("flip", 3, 3)]
    assert all(r.verdict.status is st.Status.PROVED for r in found)
    flips = next(r for r in found if r.kind == "flip")
    params, _ = draw(model)
    assert status(verify(model, flips.reflection)) == "proved"
    assert set(flips.leaves) == {key, "W"}
    assert np.shape(params[key]) == (3,)


def charges(key):
    model = ask(
        st.Model,
        lambda p, z: (p[key] * p["w"] - z["y"]) ** 2,
        {key: (), "w": ()},
        {"y": st.Normal(())},
    )
    assert model is not None
    law = ask(st.derive, model, st.Exponential(lambda p: {key: p[key], "w": -p["w"]}))
    assert law is not None
    run = ask(
        st.simulate,
        model,
        st.SGD(learning_rate=0.01),
        params={key: 1.5, "w": 0.5},
        steps=20,
        replicas=2,
        key=jax.random.key(0),
        observe=law,
    )
    assert run is not None
    assert set(run.params) == {key, "w"}
    return run.observables["charge"]


@pytest.mark.parametrize("key", ["a.b", "a[0]", "a,b", "\u00b5", "a b", "", "0", "charge"])
def test_a_run_of_a_model_with_any_key(key):
    np.testing.assert_allclose(charges(key), charges("u"), rtol=1e-12)
