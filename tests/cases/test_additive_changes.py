"""Rules that are valid for scalings, reused for additive changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import (
    assert_laws_never_wrong,
    assert_never_wrong,
    assert_proved_generators_hold,
    change,
    conservation_laws,
    discover,
    is_proved,
    verify,
)


def test_case_shift_concat_false_proof():
    def loss(p, z):
        logits = jnp.concatenate([p["W"], jnp.array([-60.0])])  # one more class, a fixed logit
        return (jax.nn.logsumexp(logits) - p["W"][0]) * z["s"]

    model = st.Model(loss, {"W": (3,)}, {"s": st.Normal(())})
    low = ({"W": np.full(3, -60.0)}, {"s": 1.0})
    assert change(loss, low[0], {"W": np.full(3, -100.0)}, low[1]) > 0.1
    found = discover(model)
    assert_proved_generators_hold(found, model, [low])
    assert_never_wrong(found, 0, 0)


def test_case_shift_gather_fill_false_proof():
    labels = np.arange(5000) % 3
    labels[4321] = 7

    def loss(p, z):
        y = z["y"].astype(int)
        return jax.nn.logsumexp(p["W"]) - p["W"].at[y].get(mode="fill", fill_value=0)

    model = st.Model(loss, {"W": (3,)}, st.Empirical({"y": labels.astype(float)}))
    outside = ({"W": np.zeros(3)}, {"y": jnp.asarray(7.0)})
    assert change(loss, outside[0], {"W": np.ones(3)}, outside[1]) > 0.1
    found = discover(model)
    assert_proved_generators_hold(found, model, [outside])
    assert_never_wrong(found, 0, 0)


# --- logits beside something that does not move ---
#
# l = sum_k s_k (logsumexp(logits) - W_k): with the three entries of W alone the softmax sums to 1,
# so W -> W + t (1, 1, 1) is a symmetry (4 affine generators: the shift times 1 or an entry of W)
# and sum(W) is conserved. With one more fixed logit there is nothing left.

LOW = -30.0
WITH_A_FIXED_LOGIT = {
    "concatenate": lambda W: jnp.concatenate([W, jnp.array([LOW])]),
    "concatenate_first": lambda W: jnp.concatenate([jnp.array([LOW]), W]),
    "stack": lambda W: jnp.stack([W[0], W[1], W[2], LOW]),
    "append": lambda W: jnp.append(W, LOW),
    "hstack": lambda W: jnp.hstack([W, jnp.full(2, LOW)]),
    "pad": lambda W: jnp.pad(W, (0, 1), constant_values=LOW),
    "lax_pad": lambda W: jax.lax.pad(W, LOW, ((0, 0, 1),)),
    "set": lambda W: jnp.full(4, LOW).at[:3].set(W),
    "set_at_places": lambda W: jnp.full(4, LOW).at[jnp.array([3, 0, 2])].set(W),
    "update_slice": lambda W: jax.lax.dynamic_update_slice(jnp.full(4, LOW), W, (1,)),
    "where": lambda W: jnp.where(jnp.arange(4) < 3, jnp.append(W, 0.0), LOW),
    "mask_own": lambda W: jnp.append(W, jnp.where(jnp.zeros(1, bool), W[:1], LOW)),
    "set_own": lambda W: jnp.append(W, W[0]).at[3].set(LOW),
    "take_fill": lambda W: jnp.take(W, jnp.arange(4), mode="fill", fill_value=LOW),
    "get_fill": lambda W: W.at[jnp.arange(4)].get(mode="fill", fill_value=LOW),
    "roll_out": lambda W: jnp.concatenate([jnp.array([LOW, LOW]), W])[1:],
    "scan": lambda W: jax.lax.scan(lambda c, w: (w, c), LOW, jnp.append(W, 0.0))[1],
    "matrix": lambda W: jnp.concatenate([W[None], jnp.full((1, 3), LOW)]).reshape(-1),
    "add_embedded": lambda W: jnp.eye(4)[:, :3] @ W + jnp.array([0.0, 0.0, 0.0, LOW]),
    "maximum": lambda W: jnp.maximum(W, LOW),
    "logaddexp": lambda W: jnp.logaddexp(W, LOW),
    "clip": lambda W: jnp.clip(W, LOW, None),
    "far_masked": lambda W: jnp.append(W, -1e3),
}
ALONE = {
    "plain": lambda W: W,
    "reversed": lambda W: W[::-1],
    "concatenate": lambda W: jnp.concatenate([W[:1], W[1:]]),
    "twice": lambda W: jnp.concatenate([W, W]),
    "take": lambda W: jnp.take(W, jnp.array([0, 1, 2, 2, 1])),
    "clip_mode": lambda W: W.at[jnp.arange(5)].get(mode="clip"),
    "wrap_mode": lambda W: jnp.take(W, jnp.arange(5), mode="wrap"),
    "pad_edge": lambda W: jnp.pad(W, (1, 2), mode="edge"),
    "pad_wrap": lambda W: jnp.pad(W, (1, 2), mode="wrap"),
    "roll": lambda W: jnp.roll(W, 1),
    "sort": jnp.sort,
    "where": lambda W: jnp.where(jnp.array([True, False, True]), W, W[::-1]),
    "scan": lambda W: jax.lax.scan(lambda c, w: (w, c), W[0], W)[1],
    "maximum": lambda W: jnp.maximum(W, W[0]),
}


def logits_model(read):
    loss = lambda p, z: jnp.sum(z["s"] * (jax.nn.logsumexp(read(p["W"])) - p["W"]))
    return st.Model(loss, {"W": (3,)}, {"s": st.Normal(3)})


SHIFT = st.Affine(lambda p: {"W": jnp.ones(3) + 0 * p["W"]}, name="shift of all logits")


@pytest.mark.parametrize("name", WITH_A_FIXED_LOGIT)
def test_no_shift_beside_a_fixed_logit(name):
    model = logits_model(WITH_A_FIXED_LOGIT[name])
    level = -1e3 if name == "far_masked" else LOW
    p, z = {"W": level + np.array([0.5, 1.0, -0.3])}, {"s": np.array([1.0, 0.4, 0.7])}
    assert change(model.loss, p, {"W": p["W"] - 40}, z) > 1e-3
    found = discover(model)
    assert_proved_generators_hold(found, model, [(p, z)], times=(-1.0, 1.0))
    assert_never_wrong(found, 0, 0)


@pytest.mark.parametrize("name", WITH_A_FIXED_LOGIT)
def test_verify_no_shift_beside_a_fixed_logit(name):
    assert not is_proved(verify(logits_model(WITH_A_FIXED_LOGIT[name]), SHIFT))


@pytest.mark.parametrize("name", WITH_A_FIXED_LOGIT)
def test_no_law_beside_a_fixed_logit(name):
    laws = conservation_laws(logits_model(WITH_A_FIXED_LOGIT[name]))
    if name in ("maximum", "clip") and laws is not None:  # above the level sum(W) is conserved
        assert laws.lower <= 1
        return
    assert_laws_never_wrong(laws, 0)


@pytest.mark.parametrize("name", ALONE)
def test_shift_of_all_logits(name):
    model = logits_model(ALONE[name])
    p, z = {"W": np.array([0.5, 1.0, -0.3])}, {"s": np.array([1.0, 0.4, 0.7])}
    assert change(model.loss, p, {"W": p["W"] - 40}, z) < 1e-9
    found = discover(model)
    assert_never_wrong(found, 3, 4)
    assert found is not None and found.affine == 4, (found.affine, found.status)
    verdict = verify(model, SHIFT)
    assert verdict is None or verdict.status is not st.Status.REFUTED


# --- labels beyond the last class ---

OUTSIDE = {
    "fill": lambda W, y: W.at[y].get(mode="fill", fill_value=0),
    "take_fill": lambda W, y: jnp.take(W, y, mode="fill", fill_value=2.0),
    "one_hot": lambda W, y: jax.nn.one_hot(y, 3) @ W,
    "where": lambda W, y: jnp.where(y < 3, W[jnp.minimum(y, 2)], 0.0),
    "mask": lambda W, y: W[y] * (y < 3),
    "iota": lambda W, y: jnp.sum(jnp.where(jnp.arange(3) == y, W, 0.0)),
    "select": lambda W, y: jax.lax.select(y > 2, 0.0, W[y]),
    "padded": lambda W, y: jnp.pad(W, (0, 6))[y],
    "scatter": lambda W, y: jnp.vdot(jnp.zeros(3).at[y].set(1.0, mode="drop"), W),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_shift_where_a_label_is_outside(name):
    # One of 400 rows has the label 7, for which l = logsumexp(W) - fill: no shift survives.
    read = OUTSIDE[name]
    labels = np.arange(400) % 3
    labels[321] = 7
    loss = lambda p, z: jax.nn.logsumexp(p["W"]) - read(p["W"], z["y"].astype(int))
    model = st.Model(loss, {"W": (3,)}, st.Empirical({"y": labels.astype(float)}))
    outside = ({"W": np.zeros(3)}, {"y": jnp.asarray(7.0)})
    assert change(loss, outside[0], {"W": np.ones(3)}, outside[1]) > 1e-3
    found = discover(model)
    assert_proved_generators_hold(found, model, [outside])
    assert_never_wrong(found, 0, 0)
    assert not is_proved(verify(model, SHIFT))


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_law_where_a_label_is_outside(name):
    # The gradients softmax(W) and softmax(W) - e_k span all three dimensions.
    read = OUTSIDE[name]
    labels = np.arange(400) % 3
    labels[321] = 7
    loss = lambda p, z: jax.nn.logsumexp(p["W"]) - read(p["W"], z["y"].astype(int))
    model = st.Model(loss, {"W": (3,)}, st.Empirical({"y": labels.astype(float)}))
    assert_laws_never_wrong(conservation_laws(model), 0)


# --- other uses of a fixed number beside something that moves ---
#
# l = (a - b - y)^2 * k(a, b), where k asks for more than the difference.

NOT_A_DIFFERENCE = {
    "compare": lambda a, b: jnp.where(a > 50.0, 2.0, 1.0),
    "compare_sum": lambda a, b: jnp.where(a + b > 97.7, 2.0, 1.0),
    "searchsorted": lambda a, b: 1.0 + jnp.searchsorted(jnp.array([0.1, 40.0]), a),
    "floor": lambda a, b: 1.0 + jnp.floor(a) ** 2,
    "max_const": lambda a, b: jnp.maximum(a, 40.0),
    "min_const": lambda a, b: 50.0 + jnp.minimum(a, 40.0) - a,
    "isfinite_log": lambda a, b: jnp.where(jnp.isfinite(jnp.log(a)), 1.0, 2.0),
    "isnan_sqrt": lambda a, b: jnp.where(jnp.isnan(jnp.sqrt(a)), 1.0, 2.0),
    "isfinite_arcsin": lambda a, b: jnp.where(jnp.isfinite(jnp.arcsin(a / 40.0)), 1.0, 2.0),
    "argmax_const": lambda a, b: 1.0 + jnp.argmax(jnp.stack([a, 40.0])),
    "sort_const": lambda a, b: 1.0 + jnp.sort(jnp.stack([a, 40.0, b]))[1] - a,
    "sign": lambda a, b: 2.0 + jnp.sign(a - 40.0),
    "norm_with_const": lambda a, b: jnp.std(jnp.stack([a, b, 1.0])),
    "clip": lambda a, b: 1.0 + jnp.clip(a - b, 0.0, 1.0) + jnp.clip(a, -40.0, 40.0) - a,
    "product": lambda a, b: 1.0 + (a * b) ** 2,
    "ratio": lambda a, b: a / b,
    "table": lambda a, b: jnp.array([1.0, 2.0, 3.0])[jnp.clip(a, 0, 2).astype(int)],
    "nan_to_num": lambda a, b: 1.0 + jnp.nan_to_num(jnp.log(a), nan=0.0),
}


@pytest.mark.parametrize("name", NOT_A_DIFFERENCE)
def test_no_shift_where_more_than_the_difference_is_read(name):
    read = NOT_A_DIFFERENCE[name]
    loss = lambda p, z: (p["a"] - p["b"] - z["y"]) ** 2 * read(p["a"], p["b"])
    model = st.Model(loss, {"a": (), "b": ()}, {"y": st.Normal(())})
    both = st.Affine(lambda p: {"a": 1.0 + 0 * p["a"], "b": 1.0 + 0 * p["b"]}, name="shift")
    points = [({"a": np.array(a), "b": np.array(a - 0.7)}, {"y": 0.1}) for a in (0.4, 39.7, 49.6)]
    shifted = [
        change(loss, p, {k: v + t for k, v in p.items()}, z) for p, z in points for t in (0.8, -0.8)
    ]
    assert max(shifted) > 1e-3
    assert not is_proved(verify(model, both))
    found = discover(model)
    assert_proved_generators_hold(found, model, points, times=(-0.8, 0.8))
    assert found is None or not (is_proved(found) and found.affine)
