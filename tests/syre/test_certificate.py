"""Certificates: the zoo, rotations, projections along no axis, and the controls."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from symtheory import syre
from tests.symmetry.nets import net


def removed(model, gamma=0.01, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return st.remove_symmetries(model, weight_decay=gamma, **options)


def zeros(model):
    return jax.tree.map(
        lambda s: np.zeros(s), model.params, is_leaf=lambda node: isinstance(node, tuple)
    )


@pytest.mark.parametrize("name", st.zoo.names())
def test_zoo(name):
    """Proved for what is discovered; refuted for gamma = 0 and for a bias on the mirrors."""
    model = st.zoo.load(name).sized()
    found = [item for item in st.reflections(model) if str(item.verdict.status) == "proved"]
    verdict = st.certify(removed(model, key=1), of=found)
    if not found:
        assert str(verdict.status) == "not_applicable"
        return
    assert str(verdict.status) == "proved"
    assert verdict.measured["kept"] == 0 and verdict.measured["weakest"] > 0
    for part in verdict.parts:
        assert [str(p.status) for p in part.parts] == ["proved"] * 4
    for control in (removed(model, gamma=0.0, key=1), removed(model, bias=zeros(model))):
        verdict = st.certify(control, of=found)
        assert str(verdict.status) == "refuted"
        assert verdict.measured["kept"] >= verdict.measured["reflections"] > 0


def test_most_of_the_zoo_has_reflections():
    mirrored = [name for name in st.zoo.names() if len(st.reflections(st.zoo.load(name).sized()))]
    assert len(mirrored) >= 6


@pytest.mark.parametrize("name", ["scalar-factor", "relu-rescaling"])
def test_search_on_the_new_model_finds_nothing(name):
    model = removed(st.zoo.load(name).bound(), key=1)
    assert st.reflections(model) == ()


def test_a_loss_without_reflections_is_not_applicable():
    verdict = st.certify(removed(st.zoo.load("scale-invariant").bound(), key=0))
    assert str(verdict.status) == "not_applicable"


def test_tanh_and_bias_terms_member_by_member():
    model = removed(net([2, 5, 1], jnp.tanh, bias=True), key=0)
    verdict = st.certify(model)
    assert str(verdict.status) == "proved"
    families = {item["kind"]: item for item in verdict.measured["families"]}
    assert families["swap"]["count"] == 10 and families["flip"]["count"] == 5
    assert families["flip"]["log2_order"] == 5 and families["flip"]["fixed_rank"] == 5 * 4
    assert families["swap"]["fixed_rank"] == 4 * 4
    # The signed swaps generate D_5 (all swaps and pairs of flips), which fixes no unit but 0.
    assert families["signed swap"]["count"] == 10 and families["signed swap"]["fixed_rank"] == 5 * 4
    # By hand, from the floats.
    table = np.concatenate(
        [model.bias["W0"], model.bias["b0"][:, None], model.bias["W1"].T], axis=1
    )
    gaps = [np.linalg.norm(a - b) / 2**0.5 for i, a in enumerate(table) for b in table[:i]]
    assert families["swap"]["weakest"] == pytest.approx(0.02 * min(gaps), rel=1e-12)
    sums = [np.linalg.norm(a + b) / 2**0.5 for i, a in enumerate(table) for b in table[:i]]
    assert families["signed swap"]["weakest"] == pytest.approx(0.02 * min(sums), rel=1e-12)
    away = table - table.mean(0)
    assert families["swap"]["square"] == pytest.approx(4e-4 * np.sum(away**2), rel=1e-12)


def test_the_mean_over_the_group_of_two_signed_units():
    """V from all elements of the group that the signed swaps generate, for 2 and for 3 units."""
    for size in (2, 3):
        model = removed(net([1, size, 1], jnp.tanh), key=0)
        families = {item["kind"]: item for item in st.certify(model).measured["families"]}
        pairs = [(i, j) for i in range(size) for j in range(i)]
        swaps = [np.eye(size, dtype=int) for _ in pairs]
        for matrix, (i, j) in zip(swaps, pairs, strict=True):
            matrix[[i, j]] = -matrix[[j, i]]
        mean = syre.FiniteGroup.generated(swaps).mean()
        away = np.eye(size) - np.array(mean.entries(), dtype=float).reshape(size, size)
        table = np.concatenate([model.bias["W0"], model.bias["W1"].T], axis=1)
        found = families["signed swap"]
        assert found["fixed_rank"] == round(np.trace(away)) * 2
        assert found["square"] == pytest.approx(4e-4 * np.sum((away @ table) ** 2), rel=1e-12)


def test_one_pair_of_equal_rows_is_seen():
    model = net([2, 4, 1], jax.nn.relu)
    bias = {k: np.array(v) for k, v in removed(model, key=0).bias.items()}
    bias["W0"][3], bias["W1"][:, 3] = bias["W0"][1], bias["W1"][:, 1]
    verdict = st.certify(removed(model, bias=bias))
    assert str(verdict.status) == "refuted" and verdict.measured["kept"] == 1
    [part] = verdict.parts
    assert part.parts[1].witness["kept"] == ["swap of unit 2 and unit 4"]


# --- rotations ---------------------------------------------------------------------------------


def wide():
    """Four linear units with two weights each: a rotation symmetry with room to hide in."""
    return st.Model(
        lambda p, z: (p["u"] @ (p["w"] * z["x"]) - z["y"]) ** 2,
        {"u": 4, "w": 4},
        {"x": st.Normal(()), "y": st.Normal(())},
    )


def test_plain_syre_leaves_reflections_of_a_rotation_symmetry():
    """Directions a with a^T theta_0 = 0 stay, and D removes them (R5)."""
    model = removed(wide(), key=0)
    verdict = st.certify(model)
    assert str(verdict.status) == "refuted"
    by_kind = {item["kind"]: item for item in verdict.measured["families"]}
    assert by_kind["rotation"]["kept"] == 2 and by_kind["flip"]["kept"] == 0
    witness = next(p for p in verdict.parts if "any direction" in p.claim).parts[1].witness
    a = np.array([float(x) for x in witness["direction"]])
    a /= np.linalg.norm(a)
    # The surviving reflection really is one of l_r, in the moved coordinates.
    mirror = np.eye(4) - 2 * np.outer(a, a)
    theta = {"u": np.arange(4.0), "w": np.array([1.0, -2.0, 0.5, 3.0])}
    moved = {k: mirror @ v for k, v in theta.items()}
    z = {"x": 0.3, "y": 1.1}
    assert float(model.loss(moved, z)) == pytest.approx(float(model.loss(theta, z)), rel=1e-12)
    with_d = st.certify(removed(wide(), key=0, sigma_d=0.1))
    assert str(with_d.status) == "proved" and with_d.measured["kept"] == 0


def test_d_with_equal_entries_where_the_bias_leaves_room():
    """D that repeats itself on three units leaves a direction among them."""
    base = wide()
    model = removed(base, key=0, sigma_d=0.1)
    for leaf in model.diagonal.values():
        leaf[1:] = leaf[1]
    verdict = st.certify(model)
    by_kind = {item["kind"]: item for item in verdict.measured["families"]}
    assert by_kind["rotation"]["kept"] == 1


def test_enough_weights_leave_no_room():
    verdict = st.certify(removed(net([3, 2, 3]), key=0))
    rotation = next(i for i in verdict.measured["families"] if i["kind"] == "rotation")
    assert rotation["bias_rank"] == rotation["units"] == 2 and rotation["kept"] == 0


# --- projections along no axis -----------------------------------------------------------------

NORMAL = np.array([0.36, 0.48, 0.8])  # of length 1, exactly


def oblique(center):
    """A loss made symmetric about an oblique mirror through `center`."""
    mirror = np.eye(3) - 2 * np.outer(NORMAL, NORMAL)
    mirror = np.round(mirror, 4)

    def loss(p, z):
        other = mirror @ (p - center) + center
        return (jnp.tanh(p) @ z["x"]) ** 2 + (jnp.tanh(other) @ z["x"]) ** 2

    model = st.Model(loss, 3, {"x": st.Normal(3)})
    projection = np.round(np.outer(NORMAL, NORMAL), 4)
    return model, st.Reflection(projection, center, name="oblique mirror")


@pytest.mark.parametrize("center", [np.zeros(3), np.array([1.0, -0.5, 0.25])])
def test_an_oblique_mirror(center):
    model, mirror = oblique(center)
    plain = removed(model, key=0, sigma0=0.1)
    verdict = st.certify(plain, of=[mirror])
    # tanh at points of an oblique mirror: the gradient is enclosed, not brought to normal form.
    assert str(verdict.status) == "proved", verdict
    gap = NORMAL @ (center - plain.bias)
    assert verdict.measured["weakest"] == pytest.approx(0.02 * abs(gap), rel=1e-9)
    with_d = st.certify(removed(model, key=0, sigma0=0.1, sigma_d=0.01), of=[mirror])
    assert str(with_d.status) == "proved" and with_d.measured["weakest"] is None
    on_mirror = removed(model, bias=np.round(center + np.array([0.8, 0.0, -0.36]), 4))
    assert str(st.certify(on_mirror, of=[mirror]).status) == "refuted"


def test_a_map_that_is_no_symmetry_of_the_loss():
    model, _ = oblique(np.zeros(3))
    wrong = st.Reflection(np.diag([1.0, 0.0, 0.0]), name="first axis")
    assert str(st.certify(removed(model, key=0), of=[wrong]).status) == "refuted"


def test_the_gradient_identity_is_refuted_for_another_map():
    """The control of the gradient check: a projection that is no mirror of the loss."""
    model = removed(oblique(np.zeros(3))[0], key=0)
    wrong = st.Reflection(np.diag([1.0, 0.0, 0.0]))
    assert str(syre.symmetric_gradient(model, wrong).status) == "refuted"


@pytest.mark.parametrize("name", ["two-layer-linear", "scalar-factor"])
def test_without_decay_d_removes_nothing(name):
    model = removed(st.zoo.load(name).sized(), gamma=0.0, key=0, sigma_d=0.1)
    verdict = st.certify(model)
    assert str(verdict.status) == "refuted"
    assert all(
        item["kept"] >= item["count"]
        for item in verdict.measured["families"]
        if item["kind"] != "rotation"
    )


# --- the model ---------------------------------------------------------------------------------


def test_the_model_goes_through_the_pipeline():
    base = st.zoo.load("scalar-factor").bound()
    model = removed(base, key=0, sigma0=0.1)
    theta = {"u": 0.3, "w": -0.2}
    weights = model.to_weights(theta)
    z = {"x": 0.5, "eps": 0.1}
    decay = 0.01 * (0.3**2 + 0.2**2)
    assert float(model.evaluate(theta, z)) == pytest.approx(
        float(base.evaluate(weights, z)) + decay
    )
    assert st.discover(model).total == 0 and st.discover(base).total == 1
    rescaling = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]})
    assert str(st.verify(model, rescaling).status) == "refuted"
    run = st.simulate(
        model, st.SGD(0.02), params=theta, steps=500, replicas=4, key=jax.random.key(0)
    )
    assert not run.diverged


def test_constants_may_stay_open():
    model = removed(st.zoo.load("two-layer-linear").sized(), key=0)
    assert set(model.unbound) and isinstance(model, syre.RemovedModel)
    full = model.bind(**st.zoo.load("two-layer-linear").arrays({"dy": 2, "h": 2, "dx": 2}))
    assert not full.unbound and not full.base.unbound
    assert str(st.certify(full).status) == "proved"


def test_the_bias_is_read_exactly_as_it_is():
    from fractions import Fraction

    from symtheory.exact import rational

    for sigma0 in (1.0, 0.1, 0.01, 0.002):
        bias = removed(net([3, 4, 2]), key=0, sigma0=sigma0).bias
        for leaf in jax.tree.leaves(bias):
            assert all(rational(x) == Fraction(float(x)) for x in leaf.reshape(-1))


@pytest.mark.slow
def test_thousands_of_parameters():
    model = removed(net([20, 60, 40, 5], jax.nn.relu, bias=True), key=0)
    verdict = st.certify(model)
    assert str(verdict.status) == "proved"
    assert verdict.measured["reflections"] == 60 * 59 // 2 + 40 * 39 // 2
    assert verdict.measured["kept"] == 0


# --- bad input ---------------------------------------------------------------------------------


def test_certify_needs_a_removed_model():
    with pytest.raises(st.InputError, match=r"call st\.remove_symmetries"):
        st.certify(st.zoo.load("scalar-factor").bound())


@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0])
def test_delta(delta):
    model = removed(st.zoo.load("scalar-factor").bound(), bias={"u": 0.1, "w": 0.2})
    with pytest.raises(st.InputError, match="it is a probability"):
        st.certify(model, delta=delta)


def test_remove_symmetries_warns_without_decay():
    with pytest.warns(UserWarning, match="removal needs gamma > 0"):
        st.remove_symmetries(st.zoo.load("scalar-factor").bound(), weight_decay=0.0, key=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": 0, "sigma0": 0.0}, "give a positive number"),
        ({}, "either key"),
        ({"key": 0, "diagonal": {"u": 1.0, "w": 1.0}}, "more than once"),
        ({"key": 0, "diagonal": {"u": 1.0, "w": -1.0}}, "must be positive"),
        ({"key": 0, "diagonal": {"u": 1.0}}, "structure"),
        ({"bias": {"u": np.zeros(2), "w": 0.0}}, "shape"),
        ({"key": 0, "sigma_d": 2.0}, "between 0 and 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(st.InputError, match=message):
        removed(st.zoo.load("scalar-factor").bound(), **options)


def test_sizes_must_be_bound():
    with pytest.raises(st.InputError, match="not bound"):
        removed(st.zoo.load("two-layer-linear").model, key=0)
