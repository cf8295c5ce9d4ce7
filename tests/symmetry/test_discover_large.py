"""Structured search in networks of 10^5 parameters, and the command on them."""

import json
import pathlib
import resource
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from symtheory.errors import InputError


def perceptron(widths):
    depth = len(widths) - 1

    def loss(p, z):
        h = z["x"]
        for k in range(depth):
            h = p[f"W{k}"] @ h + p[f"b{k}"]
            h = jax.nn.relu(h) if k < depth - 1 else h
        return jnp.sum((h - z["y"]) ** 2)

    params = {f"W{k}": (widths[k + 1], widths[k]) for k in range(depth)}
    params |= {f"b{k}": (widths[k + 1],) for k in range(depth)}
    random = {"x": st.Normal(widths[0]), "y": st.Normal(widths[-1])}
    return st.Model(loss, params, random=random, name="perceptron")


def normalized(x, gain):
    x = x - jnp.mean(x, -1, keepdims=True)
    return gain * x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)


def transformer(tokens=8, width=96, heads=4, size=16, hidden=256, classes=20):
    def loss(p, z):
        x = z["x"] @ p["E"]
        h = normalized(x, p["g1"])
        q, k, v = (jnp.einsum("td,hdk->htk", h, p[name]) for name in "QKV")
        weights = jax.nn.softmax(q @ jnp.swapaxes(k, 1, 2) / np.sqrt(size), -1)
        x = x + jnp.einsum("hts,hsk,hkd->td", weights, v, p["O"])
        x = x + jax.nn.relu(normalized(x, p["g2"]) @ p["A"]) @ p["B"]
        logits = normalized(x[-1], p["g3"]) @ p["D"] / jnp.sqrt(jnp.sum(p["D"] ** 2))
        return jax.nn.logsumexp(logits + p["c"]) - (logits + p["c"]) @ z["y"]

    params = {"E": (32, width), "g1": (width,), "g2": (width,), "g3": (width,), "c": (classes,)}
    params |= {name: (heads, width, size) for name in "QKV"}
    params |= {"O": (heads, size, width), "A": (width, hidden), "B": (hidden, width)}
    params["D"] = (width, classes)
    rows = np.random.default_rng(0).normal(size=(classes, tokens, 32))
    data = st.Empirical({"x": rows, "y": np.eye(classes)})
    return st.Model(loss, params, random=data, name="transformer")


@pytest.mark.slow
def test_perceptron():
    found = st.discover(perceptron([64, 220, 220, 220, 10]))
    assert found.model.dimension > 100_000
    assert found.total == found.symmetric == found.affine == 660
    assert [g.count for g in found.groups] == [220] * 3
    assert all(g.status == "proved" and g.name.startswith("per-neuron") for g in found.groups)
    assert found.status == "supported" and found.seconds < 60
    json.dumps(found.to_json())


@pytest.mark.slow
def test_transformer_block():
    found = st.discover(transformer())
    assert 70_000 < found.model.dimension < 200_000
    groups = {g.name: g for g in found.groups}
    for head in range(4):
        for pair in (
            f"K[{head}] axis 1 and Q[{head}] axis 1",
            f"O[{head}] axis 0 and V[{head}] axis 1",
        ):
            group = groups[f"GL(16) double rotation between {pair}"]
            assert (group.count, group.symmetric, group.status) == (256, 136, "proved")
    assert groups["per-neuron rescaling between A axis 1 and B axis 0"].count == 256
    shift = groups["logit shift of c axis 0"]  # all logits at once
    assert (shift.count, shift.status) == (1, "proved")
    assert groups["scale of D"].status == "proved"
    assert found.seconds < 60


def test_adapter_on_a_frozen_layer():
    frozen = np.random.default_rng(0).normal(size=(40, 40)) / 8

    def loss(p, z):
        y = frozen @ z["x"] + p["B"] @ (p["A"] @ z["x"])
        return jnp.sum((jnp.tanh(y) - z["y"]) ** 2)

    random = {"x": st.Normal(40), "y": st.Normal(40)}
    found = st.discover(st.Model(loss, {"A": (6, 40), "B": (40, 6)}, random=random))
    [group] = found.groups
    assert group.name == "GL(6) double rotation between A axis 0 and B axis 1"
    assert (group.count, group.symmetric, group.status) == (36, 21, "proved")


@pytest.mark.parametrize("act", [jnp.tanh, jax.nn.silu])
def test_smooth_networks_have_none(act):
    def loss(p, z):
        return jnp.sum((p["U"] @ act(p["W"] @ z["x"]) - z["y"]) ** 2)

    random = {"x": st.Normal(20), "y": st.Normal(5)}
    found = st.discover(st.Model(loss, {"W": (30, 20), "U": (5, 30)}, random=random))
    assert found.total == found.affine == 0


def test_a_slightly_broken_symmetry_is_not_reported():
    whole = perceptron([20, 30, 10])
    loss = lambda p, z: whole.loss(p, z) + 1e-6 * jnp.sum(p["W0"] ** 4)
    found = st.discover(st.Model(loss, whole.params, random=whole.random))
    assert found.total == 0


def test_constant_leaf_is_one_entry():
    whole = perceptron([20, 30, 10])
    params = {**whole.params, "unused": (300, 300)}
    found = st.discover(st.Model(whole.loss, params, random=whole.random))
    assert list(found.trivial) == ["unused"]
    assert found.trivial["unused"].status == "proved"
    assert found.total == 30


@pytest.mark.parametrize("search", [st.discover, st.reflections, st.conservation_laws])
@pytest.mark.parametrize("widths", [[2, 3, 2], [8, 30, 10], [64, 220, 220, 10]])
def test_memory_limit(search, widths):
    model = perceptron(widths)
    with pytest.raises(InputError, match=r"needs about .* GiB, but the limit is 1e-06 GiB"):
        search(model, max_memory=1e-6)


def test_enough_memory_changes_nothing():
    model = perceptron([2, 3, 2])
    assert st.discover(model, max_memory=1.0).status == "proved"
    assert st.conservation_laws(model, max_memory=1.0).status == "proved"
    assert len(st.reflections(model, max_memory=1.0)) == 1


def test_reflections_of_every_layer():
    found = st.reflections(perceptron([16, 40, 40, 40, 10]))
    assert found.unfinished == ""
    assert [(r.kind, r.count, r.verdict.status) for r in found] == [("swap", 780, "proved")] * 3


def test_unfinished_reflections_say_so():
    found = st.reflections(perceptron([16, 40, 40, 40, 10]), seconds=1e-6)
    assert "time limit" in found.unfinished and not found


def test_charges_bound_conservation_laws_from_below():
    model = perceptron([20, 60, 60, 10])
    laws = st.conservation_laws(model)
    assert (laws.lower, laws.upper) == (120, model.dimension)
    assert laws.status == "inconclusive" and "no upper bound" in laws.verdict.how
    assert any("60 charges of the per-neuron rescaling" in law for law in laws.laws)
    # The same number as where both bounds are computed.
    small = st.conservation_laws(perceptron([5, 6, 6, 3]))
    assert (small.lower, small.upper) == (12, 12)


def attention(broken=0.0, classes=10, width=32, size=8):
    """Two heads with biases, labels by number: one of the keys' biases cancels in the softmax."""

    def loss(p, z):
        x = z["x"] @ p["E"]
        q, k, v = (jnp.einsum("td,hdk->htk", x, p[n]) + p["b" + n][:, None] for n in "QKV")
        weights = jax.nn.softmax(q @ jnp.swapaxes(k, 1, 2) / np.sqrt(size), -1)
        x = x + jnp.einsum("hts,hsk,hkd->td", weights, v, p["O"])
        out = -jax.nn.log_softmax(x[-1] @ p["D"])[z["label"].astype(int)]
        if broken:
            out = out + broken * sum(jnp.sum(p[n] ** 3) for n in ("Q", "D", "O"))
        return out

    params = {"E": (width, width), "D": (width, classes), "O": (2, size, width)}
    params |= {n: (2, width, size) for n in "QKV"} | {f"b{n}": (2, size) for n in "QKV"}
    rows = np.random.default_rng(0).normal(size=(classes, 6, width))
    data = st.Empirical({"x": rows, "label": np.arange(classes)})
    return st.Model(loss, params, random=data, name="attention")


def test_attention_with_biases():
    found = st.discover(attention())
    groups = {g.name: (g.count, g.status) for g in found.groups}
    for head in range(2):
        # The keys' bias, which the loss does not see, stays behind: no proof follows K + bK.
        for leaves, status in (
            ("K[{0}] axis 1 and Q[{0}] axis 1 and bQ[{0}] axis 0", "supported"),
            ("O[{0}] axis 0 and V[{0}] axis 1 and bV[{0}] axis 0", "proved"),
        ):
            name = f"GL(8) double rotation between {leaves.format(head)}"
            assert groups[name] == (64, status)
    assert groups["logit shift of D axis 1"] == (32, "proved")
    assert found.trivial["bK"].status == "proved" and list(found.trivial) == ["bK"]


def test_slightly_broken_attention_has_none():
    found = st.discover(attention(broken=1e-6))
    assert found.total == found.affine == 0
    assert list(found.trivial) == ["bK"]


def test_fixed_weights_break_permutations():
    # W-fix: a random subset of every row is frozen at random constants.
    rng = np.random.default_rng(0)
    fixed, mask = rng.normal(size=(30, 20)), rng.random((30, 20)) < 0.5

    def masked(p, z):
        hidden = jax.nn.relu(jnp.where(mask, fixed, p["W"]) @ z["x"])
        return jnp.sum((p["U"] @ hidden - z["y"]) ** 2)

    random = {"x": st.Normal(20), "y": st.Normal(5)}
    model = st.Model(masked, {"W": (30, 20), "U": (5, 30)}, random=random)
    assert not st.reflections(model)
    assert st.discover(model).total == 0
    free = st.Model(
        lambda p, z: jnp.sum((p["U"] @ jax.nn.relu(p["W"] @ z["x"]) - z["y"]) ** 2),
        model.params, random=random,
    )  # fmt: skip
    assert [r.count for r in st.reflections(free)] == [435]
    assert st.discover(free).total == 30


def test_budget():
    found = st.discover(perceptron([64, 220, 220, 10]), seconds=0.5)
    assert found.status == "inconclusive"


# --- the command -------------------------------------------------------------------------------

BLOCK = """
import jax, jax.numpy as jnp, numpy as np, symtheory as st

tokens, width, heads, size, hidden, classes = 8, 96, 6, 16, 256, 20

def norm(x, p):
    x = x - x.mean(-1, keepdims=True)
    return p["gain"] * x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) + p["shift"]

def loss(p, z):
    x = z["x"] @ p["embed"]
    h = norm(x, p["ln1"])
    q, k, v = (jnp.einsum("td,hdk->htk", h, p["attn"][n]) for n in "QKV")
    a = jax.nn.softmax(q @ k.swapaxes(1, 2) / np.sqrt(size), -1)
    x = x + jnp.einsum("hts,hsk,hkd->td", a, v, p["attn"]["O"])
    x = x + jax.nn.relu(norm(x, p["ln2"]) @ p["mlp"][0] + p["mlp"][1]) @ p["mlp"][2]
    logits = norm(x[-1], p["ln3"]) @ p["head"]["W"] + p["head"]["b"]
    return -jax.nn.log_softmax(logits)[z["label"].astype(int)]

params = {f"ln{k}": {"gain": (width,), "shift": (width,)} for k in (1, 2, 3)}
params |= {
    "embed": (32, width),
    "attn": {n: (heads, width, size) for n in "QKV"} | {"O": (heads, size, width)},
    "mlp": [(width, hidden), (hidden,), (hidden, width)],
    "head": {"W": (width, classes), "b": (classes,)},
}
rng = np.random.default_rng(0)
data = {"x": rng.normal(size=(64, tokens, 32)), "label": rng.integers(0, classes, 64)}
model = st.Model(loss, params, random=st.Empirical(data), name="block")
"""
PERCEPTRON = """
import jax, jax.numpy as jnp, symtheory as st

widths = [64, 220, 220, 220, 10]

def loss(p, z):
    h = z["x"]
    for k, layer in enumerate(p):
        h = layer["weight"] @ h + layer["bias"]
        h = jax.nn.relu(h) if k < len(p) - 1 else h
    return jnp.sum((h - z["y"]) ** 2)

params = [{"weight": (b, a), "bias": (b,)} for a, b in zip(widths, widths[1:])]
model = st.Model(loss, params, random={"x": st.Normal(64), "y": st.Normal(10)}, name="mlp")
"""


# The peak of a process of its own: what the operating system reports of children starts from the
# memory of the process that made them.
MEASURED = """
import atexit, pathlib, sys
peak = lambda: next(x for x in pathlib.Path("/proc/self/status").open() if x.startswith("VmHWM"))
atexit.register(lambda: print(peak(), file=sys.stderr))
from symtheory.cli import main
main()
"""


def command(folder: pathlib.Path, source: str):
    """Run the command on a user's file; return its data, processor time and peak memory (KiB)."""
    (folder / "m.py").write_text(source)
    call = [sys.executable, "-c", MEASURED, "discover", f"{folder / 'm.py'}:model", "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run(call, capture_output=True, text=True, timeout=300)
    assert out.returncode == 0, out.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory = next(line for line in out.stderr.splitlines() if line.startswith("VmHWM"))
    return json.loads(out.stdout), seconds, int(memory.split()[1])


@pytest.mark.slow
def test_command_on_a_perceptron(tmp_path):
    data, seconds, memory = command(tmp_path, PERCEPTRON)
    assert [g["count"] for g in data["generators"]["groups"]] == [220] * 3
    assert all(g["status"] == "proved" for g in data["generators"]["groups"])
    found = data["reflections"]["found"]
    assert [(r["kind"], r["count"], r["status"]) for r in found] == [("swap", 24090, "proved")] * 3
    assert data["conservation_laws"]["lower"] == 660
    assert seconds < 60 and memory < 2 * 2**20


@pytest.mark.slow
def test_command_on_a_transformer_block(tmp_path):
    data, seconds, memory = command(tmp_path, BLOCK)
    groups = {g["name"]: g for g in data["generators"]["groups"]}
    assert all(g["status"] == "proved" for g in groups.values())
    for head in range(6):
        for a, b in (("K[{}] axis 1", "Q[{}] axis 1"), ("O[{}] axis 0", "V[{}] axis 1")):
            pair = f"attn.{a} and attn.{b}".format(head, head)
            group = groups[f"GL(16) double rotation between {pair}"]
            assert (group["count"], group["symmetric"]) == (256, 136)
    assert groups["logit shift of head.W axis 1"]["count"] == 96
    assert groups["logit shift of head.b axis 0"]["count"] == 1
    assert groups["shift of embed axis 1"]["count"] == 32  # layer norm, no logit shift
    scale = "per-neuron rescaling between head.W axis 0 and ln3.gain axis 0 and ln3.shift axis 0"
    assert groups[scale]["count"] == 96
    assert all(r["status"] == "proved" for r in data["reflections"]["found"])
    assert data["conservation_laws"]["lower"] == 2657
    assert seconds < 60 and memory < 2 * 2**20


@pytest.mark.parametrize("size", [4, 30])
def test_what_holds_near_the_origin_only_is_no_symmetry(size):
    # Both searches: units that are linear up to 1000, and a leaf that matters beyond it only.
    def loss(p, z):
        h = p["W"] @ z["x"]
        far = jnp.sum(jax.nn.relu(p["c"] - 1e3))
        return (p["u"] @ jnp.clip(h, -1e3, 1e3) - z["y"]) ** 2 + far

    shapes = {"W": (size, 12), "u": (size,), "c": (3,)}
    model = st.Model(loss, shapes, {"x": st.Normal(12), "y": st.Normal(())})
    found = st.discover(model, seconds=60)
    assert found.total == 0 and not found.trivial
