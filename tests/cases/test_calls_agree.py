"""Every call that reads a loss refuses what one of them refuses, and says the same sentence.

Beside that: legal losses that some call once ended with a traceback for.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from symtheory import syre
from tests.cases.calls import CALLS
from tests.cases.oracles import (
    ask,
    assert_never_wrong,
    assert_right,
    conservation_laws,
    discover,
    is_proved,
    verify,
)

S, N = {"u": (), "w": ()}, st.Normal(())
NUMBERS = itertools.count()


def _while(a):
    return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * a), (0, 1.0))[1]


def _called_back(a):
    return jax.pure_callback(np.asarray, jax.ShapeDtypeStruct((), a.dtype), a)


@jax.custom_jvp
def _failing(a):
    def fail(_):
        raise OSError("the file is gone")

    shape = jax.ShapeDtypeStruct((), a.dtype)
    return jax.pure_callback(fail, shape, a, vmap_method="sequential")


@_failing.defjvp
def _(given, moved):
    return _failing(*given), moved[0]


REFUSED = {
    "random": (
        lambda p, z: jax.random.normal(jax.random.key(0)) * p["u"] * p["w"] + z["y"],
        "draws random numbers itself .primitive 'random_.*test_calls_agree.py",
    ),
    "numpy_random": (
        lambda p, z: np.random.normal() * p["u"] * p["w"] + z["y"],
        "changes from call to call",
    ),
    "counts_calls": (
        lambda p, z: p["u"] * p["w"] * next(NUMBERS) + z["y"],
        "changes from call to call",
    ),
    "other_program": (
        lambda p, z: p["u"] * p["w"] if next(NUMBERS) % 2 else p["u"] - p["w"],
        "changes from call to call",
    ),
    "nan": (lambda p, z: jnp.nan * p["u"] * p["w"], "NaN or infinite at all of 128"),
    "infinite": (lambda p, z: jnp.inf * (p["u"] ** 2 + 1), "NaN or infinite at all of 128"),
    "logarithm": (lambda p, z: jnp.log(-1 - p["u"] ** 2) * p["w"], "check its domain"),
    "overflow": (lambda p, z: (1e200 * (p["u"] ** 2 + 1)) ** 2, "NaN or infinite"),
    "while": (
        lambda p, z: _while(p["u"] * p["w"]) - z["y"],
        "primitive 'while' at test_calls_agree.py.*; use lax.scan",
    ),
    "nextafter": (
        lambda p, z: jnp.nextafter(p["u"], 9.0) * p["w"] - z["y"],
        "primitive 'nextafter' at test_calls_agree.py.*derivative",
    ),
    "pure_callback": (
        lambda p, z: _called_back(p["u"]) * p["w"] - z["y"],
        "primitive 'pure_callback' at test_calls_agree.py",
    ),
    "failing_callback": (
        lambda p, z: _failing(p["u"]) * p["w"] - z["y"],
        "fails when it is evaluated.*the file is gone",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_all_calls_refuse_it_in_one_sentence(name):
    loss, said = REFUSED[name]
    model = st.Model(loss, S, {"y": N}, name="it")
    sentences = {}
    for call, function in CALLS.items():
        with pytest.raises(st.InputError, match=said) as refused:
            function(model)
        sentences.setdefault(str(refused.value), []).append(call)
    assert len(sentences) == 1, sentences


def test_all_calls_refuse_parameters_without_entries():
    model = st.Model(lambda p, z: p["e"].sum() + z["y"], {"e": (0,)}, {"y": N})
    for function in CALLS.values():
        with pytest.raises(st.InputError, match="parameters are all empty"):
            function(model)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda p, z: p @ jax.random.normal(jax.random.key(0), p.shape), "draws random numbers"),
        (lambda p, z: jnp.nan * (p @ z["x"]), "NaN or infinite"),
    ],
    ids=["random", "nan"],
)
def test_a_law_for_all_sizes_is_refused_alike(loss, said):
    model = st.Model(loss, "n", {"x": st.Normal("n")})
    with pytest.raises(st.InputError, match=said):
        st.derive(model, st.Exponential(lambda p: p))


def test_a_loss_that_is_finite_somewhere_is_read():
    # Positive parameters only, and only inside of a small ball: both are legal domains.
    for value in (
        lambda p: jnp.log(p["u"]) + jnp.log(p["w"]),
        lambda p: jnp.sqrt(1e-4 - p["u"] ** 2 - p["w"] ** 2),
        lambda p: jnp.sqrt(p["u"] - 1e3) * p["w"],
    ):
        model = st.Model(lambda p, z, value=value: (value(p) - z["y"]) ** 2, S, {"y": N})
        assert verify(model, st.Exponential(lambda p: p)) is not None


# --- what a model may be ---

RETURNED = {
    "integer": (lambda p, z: 3, "real floating-point number, but it returns int"),
    "count": (lambda p, z: jnp.sum(p["u"] > 0), "real floating-point number"),
    "bool": (lambda p, z: p["u"] > 0, "real floating-point number, but it returns bool"),
    "complex": (lambda p, z: 1j * p["u"], "real floating-point number, but it returns complex"),
    "one_row": (lambda p, z: p["u"][None], r"must return a scalar.*\(1,\)"),
    "tuple": (lambda p, z: (p["u"], 1.0), "must return a scalar"),
    "dictionary": (lambda p, z: {"loss": p["u"]}, "must return a scalar"),
    "nothing": (lambda p, z: None, "must return a scalar"),
    "text": (lambda p, z: "0", "cannot be evaluated"),
    "branch": (lambda p, z: p["u"] if p["u"] > 0 else 0.0, "cannot be evaluated"),
    "numpy": (lambda p, z: np.sin(p["u"]), "cannot be evaluated"),
    "division": (lambda p, z: p["u"] * (1 / 0), "cannot be evaluated.*ZeroDivisionError"),
    "iterator": (lambda p, z: next(iter(())), "cannot be evaluated.*StopIteration"),
    "missing": (lambda p, z: p["v"], "cannot be evaluated.*KeyError: 'v'"),
}


@pytest.mark.parametrize("name", RETURNED)
def test_what_a_loss_may_not_return(name):
    loss, said = RETURNED[name]
    with pytest.raises(st.InputError, match=said):
        st.Model(loss, S, {"y": N})


PARAMETERS = {
    "bool": {"u": np.array(True)},
    "integer": {"u": np.arange(3)},
    "complex": {"u": np.array(1j)},
    "key": {"u": jax.random.key(0)},
    "number": {"u": 1.5},
    "object": {"u": object()},
    "negative": {"u": (-1,)},
    "keys_of_two_kinds": {0: (), "u": ()},
    "none": {"u": None},
    "empty": {},
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_parameters_may_not_be(name):
    with pytest.raises(st.InputError):
        st.Model(lambda p, z: 1.0, PARAMETERS[name], {"y": N})


def test_a_loss_that_changes_its_arguments():
    # What it does to the dictionaries stays inside of one call: the rescaling is still there.
    def loss(p, z):
        p["u"] = 2 * p["u"]
        z["y"] = p.pop("w") * p["u"] - z["y"]
        return z["y"] ** 2

    model = st.Model(loss, S, {"y": N})
    assert_right(discover(model), 1)
    params, sample = {"u": 1.0, "w": 2.0}, {"y": 0.5}
    assert float(model.evaluate(params, sample)) == float(model.evaluate(params, sample))
    assert params == {"u": 1.0, "w": 2.0} and sample == {"y": 0.5}
    flip = st.Reflection(lambda p: p, name="flip of both")
    assert is_proved(verify(model, flip))


def test_the_type_a_loss_returns_changes_nothing():
    for kind in (jnp.float16, jnp.float32):
        model = st.Model(lambda p, z, k=kind: (p["u"] * p["w"] - z["y"]).astype(k), S, {"y": N})
        laws = conservation_laws(model)
        assert laws is not None and laws.lower <= 1 <= laws.upper
        assert discover(model) is not None


@pytest.mark.parametrize("call", CALLS)
def test_nothing_random(call):
    # (u w - 1)^2 reads no sample.
    ask(CALLS[call], st.Model(lambda p, z: (p["u"] * p["w"] - 1) ** 2, S, {}))


def test_nothing_random_is_no_noise():
    model = st.Model(lambda p, z: (p["u"] * p["w"] - 1) ** 2, S, {})
    with pytest.raises(st.InputError, match="reads no random array"):
        st.slow_flow(model, {"u": 1.0, "w": 1.0})
    run = st.simulate(
        model, st.SDE(temperature=0.5, step=0.01), params={"u": 2.0, "w": 0.1}, steps=200,
        replicas=3, key=jax.random.key(0), observe={},
    )  # fmt: skip
    assert np.ptp(run.params["u"]) == 0  # all replicas alike: there is no noise


# --- arrays without entries ---

EMPTY = {
    "reshaped": lambda u, e, m, x: m.reshape(0, 3).sum(),
    "joined": lambda u, e, m, x: jnp.concatenate([u, e]) @ x,
    "products": lambda u, e, m, x: jnp.tanh(m @ e) @ u + jnp.trace(m.T @ m) + (m @ m.T @ u) @ x,
    "softmax": lambda u, e, m, x: jax.nn.softmax(m, axis=0).sum(),
    "sorted": lambda u, e, m, x: jnp.sort(e).sum(),
    "scanned": lambda u, e, m, x: jax.lax.scan(lambda c, a: (c * a, a), u @ x, e)[0],
    "sliced": lambda u, e, m, x: u[:0].sum() + m[1:].sum() + jnp.sum(jnp.ones((0, 3)) @ u),
    "gathered": lambda u, e, m, x: u[jnp.zeros((0,), int)].sum(),
    "padded": lambda u, e, m, x: jnp.pad(e, (1, 2)) @ x,
    "scattered": lambda u, e, m, x: jnp.zeros(3).at[jnp.zeros((0,), int)].add(e) @ x,
    "largest": lambda u, e, m, x: jnp.max(e, initial=0.0),
    "product": lambda u, e, m, x: jnp.prod(e) + jnp.cumsum(e).sum(),
    "any": lambda u, e, m, x: jnp.where(jnp.any(e > 0), 1.0, 2.0) * (u @ x),
    "mapped": lambda u, e, m, x: jax.vmap(lambda a: a * u @ x)(e).sum(),
}


@pytest.mark.parametrize("name", EMPTY)
def test_arrays_without_entries(name):
    read = EMPTY[name]
    model = st.Model(
        lambda p, z: (read(p["u"], p["e"], p["m"], z["x"]) + p["u"] @ z["x"] - z["y"]) ** 2,
        {"u": (3,), "e": (0,), "m": (3, 0)},
        {"x": st.Normal(3), "y": N},
    )
    assert_right(discover(model), 0)
    laws = conservation_laws(model)
    assert laws is None or (laws.lower == 0 and not laws.laws)
    for call in ("verify", "verify_reflection", "reflections", "derive", "certify"):
        ask(CALLS[call], model)


def test_a_parameter_of_which_nothing_is_read():
    # b[1:] of one entry is empty: b is trivial, and u is not.
    loss = lambda p, z: p["u"] * z["y"] + jnp.sum(p["b"][1:])
    found = discover(st.Model(loss, {"b": (1,), "u": ()}, {"y": N}))
    assert_right(found, 0)
    assert list(found.trivial) == ["b"] and is_proved(found.trivial["b"])


def test_laws_of_an_outer_product():
    # The loss reads a = u1 + u2 and b = w1 + w2: u1 - u2, w1 - w2 and a^2 - b^2.
    loss = lambda p, z: (jnp.sum(jnp.outer(p["u"], p["w"])) - z["y"]) ** 2
    laws = conservation_laws(st.Model(loss, {"u": 2, "w": 2}, {"y": N}))
    assert (laws.lower, laws.upper, str(laws.status)) == (3, 3, "proved")


def test_a_certificate_of_given_reflections_reads_the_base():
    model = st.Model(lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2, S, {"y": N})
    removed = st.remove_symmetries(model, weight_decay=0.1, sigma0=0.1, key=0)
    assert ask(st.certify, removed, of=[st.Reflection(lambda p: p, name="both")]) is not None
    assert isinstance(removed, syre.RemovedModel)


def test_the_largest_entry_of_each_row_by_its_place():
    # max(a, b) shifts with a and b: u_1 (m_1 + c u_2) + u_2 (m_2 - c u_1) is the same for every c,
    # in each of the two inputs; beside them the rescaling of each unit.
    def loss(p, z):
        rows = jnp.einsum("hki,i->hk", p["W"], z["x"])
        return (p["u"] @ jax.vmap(lambda a: a[jnp.argmax(a)])(rows) - z["y"]) ** 2

    model = st.Model(loss, {"u": (2,), "W": (2, 2, 2)}, {"x": st.Normal(2), "y": N})
    found = discover(model)
    assert found is not None and found.total == 4
    assert_never_wrong(found, 4)
    laws = conservation_laws(model)
    assert laws is not None and laws.lower >= 2


@jax.custom_vjp
def _squared(x):
    return x * x


_squared.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))


def test_a_rule_for_reverse_mode_only():
    model = st.Model(lambda p, z: (_squared(p["u"]) * p["w"] - z["y"]) ** 2, S, {"y": N})
    right = st.Exponential(lambda p: {"u": p["u"], "w": -2 * p["w"]}, name="right")
    wrong = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="wrong")
    assert is_proved(verify(model, right))
    assert verify(model, wrong).status is st.Status.REFUTED
    with pytest.raises(st.InputError, match=r"reverse mode only.*custom_jvp"):
        CALLS["forecast"](model)


def test_infinite_constants_in_a_loss_that_is_finite():
    for loss in (
        lambda p, z: p["u"] / jnp.inf + (p["u"] * p["w"] - z["y"]) ** 2,
        lambda p, z: jnp.where(p["u"] < jnp.inf, (p["u"] * p["w"] - z["y"]) ** 2, jnp.nan),
        lambda p, z: jnp.clip((p["u"] * p["w"] - z["y"]) ** 2, 0.0, jnp.inf),
    ):
        model = st.Model(loss, S, {"y": N})
        rescaling = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]})
        assert verify(model, rescaling).status is not st.Status.REFUTED
        for call in ("verify", "verify_reflection", "discover", "conservation_laws", "derive"):
            ask(CALLS[call], model)
