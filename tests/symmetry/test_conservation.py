"""Conservation laws against published counts, closed forms and negative controls."""

import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.symmetry.nets import net

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
# The values of conservation_laws.json, for machines on which only the repository is.
LINEAR = [
    ([1, 1, 1], 1), ([2, 2, 2], 3), ([2, 3, 2], 6), ([1, 3, 1], 5), ([3, 2, 3], 3),
    ([4, 3, 4], 6), ([3, 4, 2, 4], 13), ([2, 5, 4, 3], 25),
]  # fmt: skip
MOMENTUM = [([1, 1, 1], 0), ([2, 2, 2], 1)]


def count(model, **options):
    laws = st.conservation_laws(model, **options)
    assert laws.to_json().keys() >= {"lower", "upper", "status"}
    return laws.lower, laws.upper, str(laws.status)


def test_the_values_here_are_the_reference():
    data = json.loads((REFERENCE / "conservation_laws.json").read_text())
    for key, cases in (("gradient_flow_linear", LINEAR), ("momentum_linear", MOMENTUM)):
        assert [(case["widths"], case["laws"]) for case in data[key]] == cases


@pytest.mark.parametrize(("widths", "laws"), LINEAR)
def test_linear_reference(widths, laws):
    assert count(net(widths)) == (laws, laws, "proved")


@pytest.mark.parametrize(("widths", "laws"), MOMENTUM)
def test_momentum_reference(widths, laws):
    assert count(net(widths), momentum=True) == (laws, laws, "proved")


def closed_form(n, r, m):
    s = n + m
    return r * (r + 1) // 2 if s > r else s * (2 * r + 1 - s) // 2


@pytest.mark.parametrize("widths", [(2, 1, 3), (1, 4, 2), (1, 5, 1), (5, 5, 1), (2, 6, 2)])
def test_two_layers_closed_form(widths):
    laws = closed_form(*widths)
    assert count(net(list(widths))) == (laws, laws, "proved")


def timed(models, seconds):
    """Count the laws of every model; the first one warms up JAX and is not timed."""
    st.conservation_laws(models[0])
    wall, cpu, results = [], [], []
    for model in models:
        clock, process = time.perf_counter(), time.process_time()
        results.append(count(model, seconds=seconds))
        wall.append(time.perf_counter() - clock)
        cpu.append(time.process_time() - process)
    print(
        f"mean {np.mean(wall):.4f} s (median {np.median(wall):.4f}), "
        f"processor {np.mean(cpu):.4f} s per case"
    )
    return results, float(np.mean(cpu))


def test_fifty_linear_nets():
    rng = np.random.default_rng(0)
    nets = [[int(n) for n in rng.integers(2, 6, depth + 1)] for depth in rng.integers(2, 5, 50)]
    results, mean = timed([net(widths) for widths in nets], seconds=60)
    for widths, (lower, upper, status) in zip(nets, results, strict=True):
        assert (status, lower) == ("proved", upper), widths
        if len(widths) == 3:
            assert lower == closed_form(*widths), widths
    assert mean < 3  # most of it compiles the recheck


def test_fifty_relu_nets():
    rng = np.random.default_rng(2)
    nets = [[int(n) for n in rng.integers(2, 10, depth + 1)] for depth in rng.integers(2, 5, 50)]
    models = [net(w, jax.nn.relu, bool(k % 2)) for k, w in enumerate(nets)]
    results, mean = timed(models, seconds=60)
    assert mean < 3  # most of it compiles the recheck; with room for a busy machine
    for widths, (lower, upper, status) in zip(nets, results, strict=True):
        assert (lower, upper) == (sum(widths[1:-1]),) * 2, widths
        assert status == "proved", widths


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("widths", [[2, 3, 2], [4, 5, 3, 2]])
def test_relu_counts_hidden_units(widths, bias):
    hidden = sum(widths[1:-1])
    assert count(net(widths, jax.nn.relu, bias)) == (hidden, hidden, "proved")


# --- other losses ------------------------------------------------------------------------------


def test_scale_invariance_has_the_norm():
    model = st.Model(lambda w, z: z["x"] @ w / jnp.sqrt(w @ w), 4, {"x": st.Normal(4)})
    assert count(model) == (1, 1, "proved")


def test_softmax_conserves_the_sum_of_the_logits():
    loss = lambda p, z: -jax.nn.log_softmax(p @ z["x"])[0]
    laws = st.conservation_laws(st.Model(loss, (3, 2), {"x": st.Normal(2)}))
    assert (laws.lower, laws.upper) == (2, 2)
    sums = {f"+1 theta[1, {k}] +1 theta[2, {k}] +1 theta[3, {k}]" for k in (1, 2)}
    assert set(laws.laws) == sums


def test_a_translation_has_two_laws_under_momentum():
    model = st.Model(
        lambda p, z: (p["a"] - p["b"] - z["x"]) ** 2, {"a": (), "b": ()}, {"x": st.Normal(())}
    )
    assert count(model) == (1, 1, "proved")
    assert count(model, momentum=True) == (2, 2, "proved")


def test_laws_hold_along_gradient_flow():
    # An independent witness: a small step of gradient flow in floating point.
    model = net([2, 3, 2])
    key = jax.random.key(0)
    p = {name: jax.random.normal(key, shape) for name, shape in model.leaves.items()}
    z = {"x": jnp.array([1.0, -2.0]), "y": jnp.array([0.5, 1.5])}
    charge = lambda p: p["W0"] @ p["W0"].T - p["W1"].T @ p["W1"]
    slope = jax.grad(model.loss)(p, z)
    change = jax.jvp(charge, (p,), (slope,))[1]
    assert jnp.max(jnp.abs(change)) < 1e-10
    assert any("W0[axis 0: 1], W0[axis 0: 2]" in law for law in st.conservation_laws(model).laws)


# --- controls ----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.silu])
def test_smooth_nets_have_none(activation):
    assert count(net([2, 3, 2], activation)) == (0, 0, "proved")


def test_broken_symmetry_has_none():
    loss = lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2 + 1e-6 * p["u"] ** 2
    model = st.Model(loss, {"u": (), "w": ()}, {"y": st.Normal(())})
    assert count(model) == (0, 0, "proved")


def test_a_skip_connection_breaks_the_rescaling():
    loss = lambda p, z: (p["u"] @ jax.nn.relu(p["W"] @ z["x"]) + p["W"][0] @ z["x"] - z["y"]) ** 2
    model = st.Model(loss, {"u": 2, "W": (2, 2)}, {"x": st.Normal(2), "y": st.Normal(())})
    assert st.conservation_laws(model, seconds=20).lower == 1


def test_a_short_time_limit_is_inconclusive():
    laws = st.conservation_laws(net([5, 5, 5, 5]), seconds=1e-6)
    assert str(laws.status) == "inconclusive"
    assert laws.lower <= laws.upper
    with pytest.raises(st.InputError, match="positive"):
        st.conservation_laws(net([1, 1, 1]), seconds=0)


def test_names_and_nested_parameters():
    loss = lambda p, z: (p["e"][0] * p["e"][1]["lambda"] * z["I"]) ** 2
    model = st.Model(loss, {"e": [(), {"lambda": ()}]}, {"I": st.Normal(())})
    laws = st.conservation_laws(model)
    assert (laws.lower, laws.upper) == (1, 1)
    assert "e.1.lambda" in laws.laws[0]
