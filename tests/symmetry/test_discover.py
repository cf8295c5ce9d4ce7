"""All generators of small losses, with a proof that there are no others."""

import dataclasses
import json
import pathlib
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from symtheory.errors import InputError

REFERENCE = pathlib.Path(__file__).resolve().parents[1] / "reference" / "generators.json"


def net(widths, act=None, bias=False):
    """Squared loss of a net; parameters are a list of matrices, and biases if asked for."""
    depth = len(widths) - 1

    def loss(p, z):
        h = z["x"]
        for k in range(depth):
            h = p["W"][k] @ h + (p["b"][k] if bias else 0.0)
            if act is not None and k < depth - 1:
                h = act(h)
        return jnp.sum((h - z["y"]) ** 2)

    params = {"W": [(widths[k + 1], widths[k]) for k in range(depth)]}
    if bias:
        params["b"] = [(n,) for n in widths[1:]]
    return st.Model(
        loss, params, random={"x": st.Normal(widths[0]), "y": st.Normal(widths[-1])}, name="net"
    )


def linear_count(widths):
    """Every hidden layer's GL(h), on the part of it that the neighbours can see."""
    return sum(h * h for h in widths[1:-1])


def cosine():
    loss = lambda w, z: (z["x"] @ w / jnp.sqrt(w @ w) - z["y"]) ** 2
    return st.Model(loss, (4,), random={"x": st.Normal(4), "y": st.Normal(())})


def attention():
    loss = lambda p, z: (z["x"] @ p["Q"] @ p["K"].T @ z["y"] - z["e"]) ** 2
    random = {"x": st.Normal(3), "y": st.Normal(3), "e": st.Normal(())}
    return st.Model(loss, {"Q": (3, 2), "K": (3, 2)}, random=random)


def softmax():
    loss = lambda p, z: -jax.nn.log_softmax(p["W"] @ z["x"]) @ z["y"] / jnp.sum(z["y"])
    y = st.Empirical({"y": np.eye(3, dtype=int)})
    model = lambda p, z: loss(p, {"x": z["x"], "y": z["label"]["y"]})
    return st.Model(model, {"W": (3, 2)}, random={"x": st.Normal(2), "label": y})


CASES = {
    "linear net, widths (2,2,2), loss depends on the product": net([2, 2, 2]),
    "linear net, widths (2,3,2)": net([2, 3, 2]),
    "ReLU net, widths (2,3,2), no biases": net([2, 3, 2], jax.nn.relu),
    "tanh net, widths (2,3,2)": net([2, 3, 2], jnp.tanh),
    "x.w/|w| in R^4": cosine(),
    "attention scores, query/key width 2, model width 3": attention(),
    "softmax, 3 classes on R^2": softmax(),
}
VALUES = {
    "linear net, widths (2,2,2), loss depends on the product": (4, 3),
    "linear net, widths (2,3,2)": (9, 6),
    "ReLU net, widths (2,3,2), no biases": (3, 3),
    "tanh net, widths (2,3,2)": (0, 0),
    "x.w/|w| in R^4": (1, 1),
    "attention scores, query/key width 2, model width 3": (4, 3),
    "softmax, 3 classes on R^2": (12, 3),
}


def test_every_reference_value_has_a_case():
    entries = json.loads(REFERENCE.read_text())["models"]
    assert {e["model"]: (e["total"], e["symmetric"]) for e in entries} == VALUES


@pytest.mark.parametrize("name", CASES)
def test_reference_values(name):
    found = st.discover(CASES[name])
    assert (found.total, found.symmetric) == VALUES[name]
    assert found.affine == (14 if name.startswith("softmax") else found.total)
    assert found.status == "proved"
    assert all(g.verdict.status == "proved" for g in found.generators)
    data = found.to_json()["generators"]
    assert (data["total"], data["symmetric"], data["status"]) == (*VALUES[name], "proved")
    json.dumps(found.to_json())


@pytest.mark.parametrize("name", ["linear net, widths (2,3,2)", "x.w/|w| in R^4"])
def test_generators_stand_up_to_verify(name):
    found = st.discover(CASES[name])
    for generator in found.generators:
        assert st.verify(CASES[name], generator.symmetry).status == "proved"
    family = found.family()
    assert st.verify(CASES[name], family).status == "proved"
    wrong = st.Exponential(lambda p: jax.tree.map(lambda x: 1.0 * x, p))  # control
    expected = "refuted" if "net" in name else "proved"
    assert st.verify(CASES[name], wrong).status == expected


def test_translations_stand_up_to_verify():
    loss = lambda p, z: jax.nn.logsumexp(p["W"] @ z["x"]) - p["W"][0] @ z["x"]
    model = st.Model(loss, {"W": (3, 2)}, random={"x": st.Normal(2)})
    found = st.discover(model)
    assert len(found.translations) == 2
    for generator in found.translations:
        assert isinstance(generator.symmetry, st.Affine)
        assert "shift of W axis 0" in generator.name
        assert generator.verdict.status == "proved"
        assert st.verify(model, generator.symmetry).status != "refuted"


# --- random nets -------------------------------------------------------------------------------


def random_widths(rng, low, high, depths):
    depth = int(rng.choice(depths))
    return [int(n) for n in rng.integers(low, high + 1, depth + 1)]


def timed(cases):
    start = time.process_time()
    for widths, act, expected in cases:
        found = st.discover(net(widths, act))
        assert (found.status, found.total) == ("proved", expected), widths
    return (time.process_time() - start) / len(cases)


@pytest.mark.slow
def test_random_linear_nets_are_proved():
    rng = np.random.default_rng(0)
    widths = [random_widths(rng, 2, 5, (2, 3, 4)) for _ in range(50)]
    # A hidden unit that its neighbours cannot tell apart from zero would add generators: none do.
    seconds = timed([(w, None, linear_count(w)) for w in widths])
    print(f"linear nets: {seconds:.3f} s of processor time per case")
    assert seconds < 2.0


@pytest.mark.slow
def test_random_relu_nets_are_proved():
    rng = np.random.default_rng(1)
    widths = [random_widths(rng, 2, 9, (2,)) for _ in range(50)]
    seconds = timed([(w, jax.nn.relu, sum(w[1:-1])) for w in widths])
    print(f"ReLU nets: {seconds:.3f} s of processor time per case")
    assert seconds < 2.0


def test_relu_nets_with_biases_and_depth():
    for widths in ([3, 4, 2], [2, 3, 4, 2]):
        found = st.discover(net(widths, jax.nn.relu, bias=True))
        assert (found.status, found.total) == ("proved", sum(widths[1:-1]))


# --- negatives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [jnp.tanh, jax.nn.silu])
def test_smooth_nets_have_none(act):
    found = st.discover(net([2, 3, 2], act))
    assert (found.total, found.affine, found.status) == (0, 0, "proved")


def test_anisotropic_mass_breaks_rotation():
    kinetic = lambda m: lambda p, z: m * p[0] ** 2 + p[1] ** 2 + z["y"]
    law = {"y": st.Normal(())}
    round_one = st.discover(st.Model(kinetic(1.0), (2,), random=law))
    assert (round_one.total, round_one.symmetric) == (1, 0)
    assert round_one.generators[0].name.startswith("rotation")
    found = st.discover(st.Model(kinetic(2.0), (2,), random=law))
    # What is left is the rotation of the ellipse, which is not antisymmetric: no plain rotation.
    assert (found.total, found.symmetric) == (1, 0)
    assert found.structure is not None and not found.structure.antisymmetric


def test_fixed_weights_break_rescaling():
    mask = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    fixed = np.array([[0.0, 0.3], [-0.7, 0.0], [0.0, 0.0]])

    def loss(p, z):
        hidden = jax.nn.relu((mask * p["W"] + fixed) @ z["x"])
        return jnp.sum((p["U"] @ hidden - z["y"]) ** 2)

    random = {"x": st.Normal(2), "y": st.Normal(2)}
    found = st.discover(st.Model(loss, {"W": (3, 2), "U": (2, 3)}, random=random))
    assert found.total == 1  # the third unit alone
    assert found.status == "proved"
    assert list(found.trivial) == ["W (2 of 6 entries)"]


@pytest.mark.parametrize("act", [None, jax.nn.relu, jnp.tanh])
@pytest.mark.parametrize("size", [1e-6, 1e-9])
def test_slightly_broken_symmetry_is_not_reported(act, size):
    whole = net([2, 2, 2], act)
    extra = lambda p: jnp.sum(jnp.sin(p["W"][0])) if act is jnp.tanh else jnp.sum(p["W"][0] ** 3)
    loss = lambda p, z: whole.loss(p, z) + size * extra(p)
    found = st.discover(st.Model(loss, whole.params, random=whole.random))
    assert found.total == 0


def test_softmax_broken_slightly():
    loss = lambda p, z: (
        jax.nn.logsumexp(p["W"] @ z["x"]) - p["W"][0] @ z["x"] + 1e-6 * jnp.sum(p["W"] ** 3)
    )
    found = st.discover(st.Model(loss, {"W": (3, 2)}, random={"x": st.Normal(2)}))
    assert found.total == 0 and found.affine == 0


def test_what_holds_on_drawn_data_only_is_not_reported():
    # On whitened rows sum x x^T = I, but the law of x is Gaussian: no rotation per sample.
    loss = lambda p, z: (p["w"] @ z["x"] - 1.0) ** 2
    found = st.discover(st.Model(loss, {"w": (2,)}, random={"x": st.Normal(2)}))
    assert found.total == 0
    # A single row, declared to be the law, does leave directions free.
    row = st.Empirical({"x": np.array([[1.0, 2.0]])})
    found = st.discover(st.Model(loss, {"w": (2,)}, random=row))
    assert found.total == 2 and found.affine == 3 and found.status == "proved"


# --- names, pytrees, laws ----------------------------------------------------------------------


def test_awkward_names():
    loss = lambda p, z: (p["e"] * p["I"] * p["lambda"] * z["x"] - z["y"]) ** 2
    model = st.Model(
        loss, {"e": (), "I": (), "lambda": ()}, random={"x": st.Normal(()), "y": st.Normal(())}
    )
    found = st.discover(model)
    assert (found.total, found.symmetric, found.status) == (2, 2, "proved")
    assert "lambda" in " ".join(g.name for g in found.generators)


def test_equinox_module():
    class Layer(eqx.Module):
        weight: tuple
        out: tuple

    class Pair(eqx.Module):
        layers: list

    def loss(p, z):
        layer = p.layers[0]
        return (layer.out @ jax.nn.relu(layer.weight @ z["x"]) - z["y"]) ** 2

    params = Pair([Layer(weight=(3, 2), out=(3,))])
    model = st.Model(loss, params, random={"x": st.Normal(2), "y": st.Normal(())})
    found = st.discover(model)
    assert (found.total, found.status) == (3, "proved")
    assert found.generators[0].leaves == ("layers.0.weight", "layers.0.out")


def test_nested_pytree():
    loss = lambda p, z: jnp.sum((p["a"][0]["u"] @ p["a"][1][0] @ z["x"] - z["y"]) ** 2)
    params = {"a": [{"u": (2, 2)}, ((2, 2), (2,))]}
    found = st.discover(st.Model(loss, params, random={"x": st.Normal(2), "y": st.Normal(2)}))
    assert (found.total, found.status) == (4, "proved")
    assert list(found.trivial) == ["a.1.1"]
    assert found.trivial["a.1.1"].status == "proved"


def test_structure_and_names():
    found = st.discover(net([2, 3, 2]))
    assert found.structure is not None
    assert found.structure.closure.status == "proved"
    assert len(found.structure.antisymmetric) == 3
    assert found.structure.centre is not None and len(found.structure.centre) == 1
    [group] = found.groups
    assert group.name == "GL(3) double rotation between W.0 axis 0 and W.1 axis 1"
    assert (group.count, group.symmetric, group.status) == (9, 6, "proved")
    assert r"\partial" in found.generators[0].latex


@pytest.mark.parametrize("law", [st.Rademacher(2), st.Uniform(2, low=0.0, high=1.0)])
def test_bounded_laws(law):
    loss = lambda p, z: (p["u"] @ jax.nn.relu(p["W"] @ z["x"]) - z["y"]) ** 2
    model = st.Model(loss, {"W": (2, 2), "u": (2,)}, random={"x": law, "y": st.Normal(())})
    found = st.discover(model)
    assert (found.total, found.status) == (2, "proved")


def test_labels_in_data():
    rng = np.random.default_rng(0)
    data = st.Empirical({"x": rng.normal(size=(12, 2)).round(2), "label": np.arange(12) % 3})
    loss = lambda p, z: -jnp.take(jax.nn.log_softmax(p @ z["x"]), z["label"].astype(int))
    found = st.discover(st.Model(loss, (3, 2), random=data))
    assert (found.total, found.affine, found.status) == (12, 14, "proved")


def test_open_constants_and_covariances():
    loss = lambda p, z, c: (p["u"] @ p["W"] @ z["x"] - c["v"] @ z["x"]) ** 2
    model = st.Model(
        loss, {"u": (2,), "W": (2, 2)}, random={"x": st.Normal(2, cov="S")}, constants={"v": (2,)}
    )
    found = st.discover(model)
    # GL(2), and two more that a single output leaves free: dW = (u_2, -u_1)^T c^T for every c.
    assert (found.total, found.status) == (6, "proved")


def test_unreadable_primitives_go_the_numerical_way():
    def loss(p, z):
        scores = jnp.sort(jnp.tanh(p["W"] @ z["x"] / jnp.sqrt(jnp.sum(p["W"] ** 2))))
        return jnp.sum(scores * jnp.arange(3.0)) ** 2

    found = st.discover(st.Model(loss, {"W": (3, 2)}, random={"x": st.Normal(2)}))
    assert found.total == 1
    assert found.status in ("supported", "proved")
    assert found.gap["kept"] > 1e3 * found.gap["dropped"]


# --- bad input ---------------------------------------------------------------------------------


def test_internal_randomness_is_refused():
    def loss(p, z):
        return jnp.sum(p * jax.random.normal(jax.random.key(0), (2,)) * z["x"])

    with pytest.raises(InputError, match="draws random numbers itself"):
        st.discover(st.Model(loss, (2,), random={"x": st.Normal(2)}))


def test_unbound_size_is_refused():
    model = st.Model(lambda p, z: jnp.sum(p * z["x"]), ("n",), random={"x": st.Normal("n")})
    with pytest.raises(InputError, match="'n' is not bound"):
        st.discover(model)


def test_empty_parameters_are_refused():
    with pytest.raises(InputError, match="empty"):
        st.discover(st.Model(lambda p, z: jnp.sum(p) + z["x"], (0,), random={"x": st.Normal(())}))


def test_constant_loss_is_trivial_everywhere():
    found = st.discover(st.Model(lambda p, z: z["x"] ** 2, (3, 2), random={"x": st.Normal(())}))
    assert found.total == 0 and list(found.trivial) == [""] and found.status == "proved"


def test_small_budget_is_inconclusive():
    found = st.discover(net([5, 5, 5, 5, 5]), seconds=1e-3)
    assert found.status == "inconclusive"
    assert "time limit" in found.completeness.how


def test_same_seed_same_answer():
    first, second = (st.discover(net([2, 3, 2]), seed=3).to_json() for _ in range(2))
    first.pop("seconds"), second.pop("seconds")
    assert first == second


def test_stopped_derivatives_do_not_mislead():
    # jax.grad sees no dependence on w at all; the loss itself has the rescaling and no other, which
    # the gradient that SGD follows does not keep.
    loss = lambda p, z: (jax.lax.stop_gradient(p["w"]) * p["u"] * z["x"] - z["y"]) ** 2
    law = {"x": st.Normal(()), "y": st.Normal(())}
    found = st.discover(st.Model(loss, {"u": (), "w": ()}, random=law))
    assert (found.total, dict(found.trivial)) == (1, {})
    assert found.status != "proved"
    [generator] = found.generators
    assert generator.verdict.status == "inconclusive"
    assert "stopped or redefined" in generator.verdict.how


def test_steps_prove_nothing():
    # The gradient is zero almost everywhere, but the loss jumps.
    loss = lambda p, z: jnp.where(p["w"] * z["x"] > 1.0, 1.0, 0.0)
    found = st.discover(st.Model(loss, {"w": ()}, random={"x": st.Normal(())}))
    assert found.status != "proved"


def test_result_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        st.discover(net([2, 2, 2])).total = 7
