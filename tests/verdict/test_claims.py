"""Claims: a true instance agrees, a false one is refuted at a witness, NaN never passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from symtheory.verdict import (
    Complete,
    ConservedCount,
    Derivation,
    Equality,
    Expectation,
    Flows,
    Inequality,
    Maps,
    Moves,
    SizedIdentity,
    Status,
    Subject,
    prove,
    sparse_action,
    traced_actions,
    traced_map,
)
from symtheory.verdict._recheck import compare

ARGUED = Derivation("an argument")


def subject(loss, params, random=None):
    model = st.Model(loss, params, random or {"y": st.Normal(())})
    KEPT.append(model)
    return Subject.of(model)


KEPT: list[st.Model] = []  # subjects are known as long as their models


def flow(loss, tangent, params, random=None):
    about = subject(loss, params, random)
    return prove("c", ARGUED, Flows(about, traced_actions(about, lambda p, _: tangent(p))))


def product(p, z):
    return (p["u"] * p["w"] - z["y"]) ** 2


SCALARS = {"u": (), "w": ()}


def rescaling(p):
    return {"u": p["u"], "w": -p["w"]}


# --- flows ---


def softmax_of(p, extra=None):
    return p["W"] if extra is None else jnp.concatenate([p["W"], jnp.array([extra])])


TRUE = {
    "rescaling": (product, rescaling, SCALARS),
    "softmax shift": (
        lambda p, z: (jax.nn.logsumexp(p["W"]) - p["W"][0]) * z["y"],
        lambda p: {"W": 1 + 0 * p["W"]},
        {"W": 3},
    ),
    "scale of a direction": (
        lambda p, z: (p["W"] / jnp.linalg.norm(p["W"]))[0] * z["y"],
        lambda p: p,
        {"W": 3},
    ),
    "rotation": (
        lambda p, z: jax.nn.relu(p["W"] @ p["W"] - z["y"]),
        lambda p: {"W": jnp.array([-p["W"][1], p["W"][0]])},
        {"W": 2},
    ),
    "relu rescaling": (
        lambda p, z: (p["u"] * jax.nn.relu(p["w"] * z["y"]) - 1) ** 2,
        rescaling,
        SCALARS,
    ),
    "half precision inside": (
        lambda p, z: (p["u"].astype(jnp.float16) * p["w"].astype(jnp.float16)).astype(float),
        rescaling,
        SCALARS,
    ),
}


@pytest.mark.parametrize("name", TRUE)
def test_true_symmetries_stay_proved(name):
    loss, tangent, params = TRUE[name]
    verdict = flow(loss, tangent, params)
    assert verdict.status is Status.PROVED and verdict.rechecked, verdict


FALSE = {
    # Only far away, where a fixed logit is the largest.
    "softmax with a fixed logit": (
        lambda p, z: (jax.nn.logsumexp(softmax_of(p, -60.0)) - p["W"][0]) * z["y"],
        lambda p: {"W": 1 + 0 * p["W"]},
        {"W": 3},
    ),
    # The gradient is 0 on either side of a jump.
    "a jump at 0": (
        lambda p, z: (p["u"] * p["w"] / jnp.abs(p["w"]) - z["y"]) ** 2,
        lambda p: {"u": 0 * p["u"], "w": 1 + 0 * p["w"]},
        SCALARS,
    ),
    # The value is invariant, the gradient that SGD follows is not.
    "a stopped gradient": (
        lambda p, z: (p["u"] * jax.lax.stop_gradient(p["w"]) - z["y"]) ** 2,
        rescaling,
        SCALARS,
    ),
    # The gradient that SGD follows is 0, the value is not constant.
    "all gradients stopped": (
        lambda p, z: jax.lax.stop_gradient(p["u"] * p["w"] ** 2) * z["y"],
        rescaling,
        SCALARS,
    ),
    "another rate": (product, lambda p: {"u": p["u"], "w": -1.001 * p["w"]}, SCALARS),
    # Beyond a large threshold.
    "a branch far away": (
        lambda p, z: product(p, z) + jax.nn.relu(p["u"] - 1e4),
        rescaling,
        SCALARS,
    ),
    # Between equal entries.
    "only where entries are tied": (
        lambda p, z: jnp.where(p["W"][0] == p["W"][1], p["W"][2], 0.0) * z["y"],
        lambda p: p,
        {"W": 3},
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_false_symmetries_do_not_stay_proved(name):
    loss, tangent, params = FALSE[name]
    verdict = flow(loss, tangent, params)
    if name == "only where entries are tied":  # on a set of measure zero
        assert verdict.status in (Status.REFUTED, Status.INCONCLUSIVE), verdict
        return
    assert verdict.status is Status.REFUTED, verdict
    assert set(verdict.witness) >= {"params", "sample"} and verdict.residual != 0
    assert verdict.witness["params"].keys() == params.keys()


@pytest.mark.parametrize("size", [1e-9, 1e-10])
def test_what_only_rounding_may_explain_is_inconclusive(size):
    verdict = flow(product, lambda p: {"u": p["u"], "w": -(1 + size) * p["w"]}, SCALARS)
    assert verdict.status is Status.INCONCLUSIVE and "does not decide" in verdict.how


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_loss_that_is_never_finite_proves_nothing(bad):
    verdict = flow(lambda p, z: bad * product(p, z), rescaling, SCALARS)
    assert verdict.status is Status.INCONCLUSIVE
    # Finite values with gradients that are not say nothing about what SGD follows.
    kink = lambda p, z: jnp.sqrt(0 * p["u"]) + 0 * p["w"]
    assert flow(kink, rescaling, SCALARS).status is Status.INCONCLUSIVE


def test_every_row_of_a_data_set_is_seen():
    rows = np.arange(5000) % 3
    rows[4321] = 7  # outside of the table, where it reads 0

    def loss(p, z):
        label = z["y"].astype(int)
        return jax.nn.logsumexp(p["W"]) - p["W"].at[label].get(mode="fill", fill_value=0)

    shift = lambda p: {"W": 1 + 0 * p["W"]}
    data = st.Empirical({"y": rows.astype(float)})
    verdict = flow(loss, shift, {"W": 3}, data)
    assert verdict.status is Status.REFUTED and verdict.witness["sample"]["y"] == 7
    rows[4321] = 1
    good = st.Empirical({"y": rows.astype(float)})
    assert flow(loss, shift, {"W": 3}, good).status is Status.PROVED
    # In the middle of the range, and once only.
    few = np.repeat([0.0, 4.0], 200)
    few[77] = 2.0
    picked = lambda p, z: product(p, {"y": z["y"]}) + jnp.where(z["y"] == 2, p["u"], 0.0)
    found = flow(picked, rescaling, SCALARS, st.Empirical({"y": few}))
    assert found.status is Status.REFUTED and found.witness["sample"]["y"] == 2


def test_many_fields_are_decided_one_by_one():
    about = subject(lambda p, z: (p["W"] @ p["W"] - z["y"]) ** 2, {"W": 4})
    pairs = [(i, j) for i in range(4) for j in range(i)]
    turns = [sparse_action(4, {(i, j): 1, (j, i): -1}) for i, j in pairs]
    wrong = sparse_action(4, {(0, 0): 1})
    outcomes = Flows(about, [*turns, wrong, sparse_action(4, {}, {1: 1})]).test_each()
    assert [o.agrees for o in outcomes] == [True] * 6 + [False, False]


# --- maps ---


def tanh_net(p, z):
    return (p["u"] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2


NET = {"u": 3, "W": (3, 3)}
DATA = {"x": st.Normal(3), "y": st.Normal(())}


def swapped(p):
    order = jnp.array([1, 0, 2])
    return {"u": p["u"][order], "W": p["W"][order]}


def test_maps():
    about = subject(tanh_net, NET, DATA)
    flip = lambda p: {"u": -p["u"], "W": -p["W"]}
    wrong = lambda p: {"u": -p["u"], "W": p["W"]}
    maps = [traced_map(about, f) for f in (swapped, flip, wrong)]
    assert [o.agrees for o in Maps(about, maps).test_each()] == [True, True, False]
    refuted = prove("c", ARGUED, Maps(about, maps[2:]))
    assert refuted.status is Status.REFUTED
    assert refuted.witness["before"] != refuted.witness["after"]
    assert prove("c", ARGUED, Moves(about, maps[2])).status is Status.PROVED
    assert prove("c", ARGUED, Moves(about, maps[0])).status is Status.INCONCLUSIVE


def test_a_map_that_fails_beyond_a_threshold():
    far = lambda p, z: tanh_net(p, z) + jax.nn.relu(jnp.sum(jnp.diagonal(p["W"])) - 100.0)
    about = subject(far, NET, DATA)
    assert Maps(about, [traced_map(about, swapped)]).test().agrees is False


# --- counts ---


def test_no_other_generators():
    about = subject(product, SCALARS)
    field = ({(0, 0): 1, (1, 1): -1}, {})
    live = np.array([True, True])
    assert prove("c", ARGUED, Complete(about, [field], live)).status is Status.PROVED
    none = prove("c", ARGUED, Complete(about, [], live))
    assert none.status is Status.REFUTED and none.witness["generator"]
    more = prove("c", ARGUED, Complete(about, [field, ({(0, 1): 1}, {})], live))
    assert more.status is Status.REFUTED and more.witness["found"] == 2
    assert Complete(about, [field], np.array([False, False])).test().agrees
    bad = subject(lambda p, z: jnp.nan * product(p, z), SCALARS)
    assert Complete(bad, [field], live).test().agrees is None


def test_no_other_generators_of_many_parameters():
    size = 24
    about = subject(lambda p, z: (p["u"] @ p["w"] - z["y"]) ** 2, {"u": size, "w": size})
    units = [({(k, k): 1, (size + k, size + k): -1}, {}) for k in range(size)]
    live = np.ones(2 * size, dtype=bool)
    assert Complete(about, units, live).test().agrees is True
    assert Complete(about, units[1:], live).test().agrees is False


def test_conserved_counts():
    loss = lambda p, z: jnp.sum((p["U"] @ p["W"] @ z["x"] - z["y"]) ** 2)
    data = {"x": st.Normal(2), "y": st.Normal(2)}
    about = subject(loss, {"U": (2, 2), "W": (2, 2)}, data)
    assert prove("c", ARGUED, ConservedCount(about, 3)).status is Status.PROVED
    refuted = prove("c", ARGUED, ConservedCount(about, 5))
    assert refuted.status is Status.REFUTED and refuted.witness["rank"] == 4
    sign = np.repeat([1.0, -1.0], 4)
    balance = lambda points: (points * sign)[:, None, :]
    assert ConservedCount(about, 3, balance).test().agrees is True
    norm = lambda points: points[:, None, :]
    assert ConservedCount(about, 3, norm).test().agrees is False
    bad = subject(lambda p, z: jnp.nan * product(p, z), SCALARS)
    assert ConservedCount(bad, 0).test().agrees is None


# --- values ---


def test_expectations():
    draw = lambda rng, count: {"x": rng.normal(size=count)}
    square = lambda z: z["x"] ** 2
    assert prove("c", ARGUED, Expectation(square, 1.0, draw)).status is Status.PROVED
    refuted = prove("c", ARGUED, Expectation(square, 1.2, draw))
    assert refuted.status is Status.REFUTED and refuted.witness["value"] == 1.2
    for bad in (jnp.nan, jnp.inf):
        assert Expectation(lambda z, x=bad: x * z["x"], 0.0, draw).test().agrees is None
        assert Expectation(square, bad, draw).test().agrees is None
    rows = {"x": np.array([1.0, 2.0, 4.0])}
    assert Expectation(square, 7.0, rows=rows).test().agrees is True
    assert Expectation(square, lambda: 7.01, rows=rows).test().agrees is False
    assert Expectation(square, 7.0).test().agrees is None
    # A rare large value decides a mean.
    rare = lambda rng, count: {"x": 100.0 * (rng.random(count) < 1e-4)}
    assert Expectation(square, 1.0, rare).test().agrees is True


def test_equalities():
    draw = lambda rng, count: (rng.normal(size=(count, 2)),)
    same = Equality(lambda x: x @ x, lambda x: jnp.sum(x**2), draw)
    assert prove("c", ARGUED, same).status is Status.PROVED
    other = Equality(lambda x: x @ x, lambda x: jnp.sum(jnp.abs(x)), draw)
    refuted = prove("c", ARGUED, other)
    assert refuted.status is Status.REFUTED and len(refuted.witness["arguments"][0]) == 2
    close = Equality(lambda x: x @ x, lambda x: (1 + 1e-8) * (x @ x), draw)
    assert prove("c", ARGUED, close).status is Status.INCONCLUSIVE
    never = Equality(lambda x: jnp.nan * x, lambda x: jnp.nan * x, draw)
    assert prove("c", ARGUED, never).status is Status.INCONCLUSIVE


def sized(residual, names=("n", "m")):
    def arrays(sizes, rng):
        return {"A": rng.normal(size=tuple(sizes[n] for n in names))}

    return prove("c", ARGUED, SizedIdentity(residual, arrays, names))


def test_identities_at_sizes():
    assert sized(lambda a: jnp.trace(a["A"] @ a["A"].T) - jnp.sum(a["A"] ** 2)).status == "proved"
    only = {
        "a size": lambda a: a["A"] * (a["A"].shape[0] == 3),
        "a pair": lambda a: a["A"] * (a["A"].shape == (1, 2)),
        "unequal": lambda a: a["A"] * (a["A"].shape[0] < a["A"].shape[1]),
        "a large one": lambda a: a["A"] * (a["A"].shape[1] == 5),
        "equal": lambda a: a["A"] * (a["A"].shape[0] == a["A"].shape[1]),
    }
    for name, residual in only.items():
        refuted = sized(residual)
        assert refuted.status is Status.REFUTED and {"n", "m"} <= set(refuted.witness), name
    assert sized(lambda a: jnp.nan * a["A"]).status is Status.INCONCLUSIVE
    assert sized(lambda a: 1e-8 * a["A"]).status is Status.INCONCLUSIVE
    assert sized(lambda a: a["A"] @ jnp.ones(7)).status is Status.INCONCLUSIVE


def test_signs():
    assert prove("c", ARGUED, Inequality([1.0, 1e-9], "positive")).status is Status.PROVED
    assert prove("c", ARGUED, Inequality([1.0, -1.0], "positive")).status is Status.REFUTED
    assert prove("c", ARGUED, Inequality([-1.0], "nonpositive")).status is Status.PROVED
    for values in ([np.nan], [], [0.0], [1.0, -1e-12]):
        assert prove("c", ARGUED, Inequality(values, "positive")).status is Status.INCONCLUSIVE


def test_comparisons_of_numbers():
    assert compare([1.0, np.nan], [1.0, 2.0]).agrees is True
    assert compare([np.nan], [np.nan]).agrees is None
    assert compare([np.inf], [np.inf]).agrees is None
    assert compare(1e10 + 1, 1e10, scale=1e10).agrees is True
    assert compare(0.0, 0.0).agrees is True and compare(0.0, 1e-300).agrees is False


# --- the subject ---


def test_a_subject_is_compiled_once_and_does_not_keep_its_model():
    import gc
    import weakref

    model = st.Model(product, SCALARS, {"y": st.Normal(())})
    about = Subject.of(model)
    assert Subject.of(model) is about
    about.at(np.ones((3, 2)))
    seen = weakref.ref(model)
    del model
    gc.collect()
    assert seen() is None


def test_points_are_of_many_kinds():
    about = subject(tanh_net, NET, DATA)
    points = about.points(64, np.random.default_rng(0))
    size = np.abs(points)
    assert size.max() > 1e6 and size[size > 0].min() < 1e-3
    assert np.any(points == 0) and np.any(np.all(points == points[:, :1], axis=1))
    assert np.any(np.all(points < 0, axis=1)) and np.any(np.all(points > 0, axis=1))
    assert np.all(points == points.astype(np.float32))
