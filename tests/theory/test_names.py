"""Names are data: any string may name a parameter, a sample or a constant, in any pytree."""

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.mathtext
import numpy as np
import pytest
import sympy

from symtheory.data import Normal
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.symmetry import Affine, Exponential, Matrix
from symtheory.theory import derive
from symtheory.verdict import Status

NAMES = [
    "e", "E", "I", "S", "N", "Q", "O", "C", "pi", "zoo", "oo", "nan", "beta", "lambda", "gamma",
    "eta", "U[1]", "x y", "a%b", "a_b", "50%", "{", "\\alpha", "θ", "1", "is", "None",
    "__class__", "a.b", "learning_rate", "momentum", "flow", "exec('1')", "",
]  # fmt: skip


def product_law(u, w, c, x):
    """The law of l = (c u w x - y)^2 with the given names."""
    model = Model(
        lambda p, z, k: (k[c] * p[u] * p[w] * z[x] - z["y"]) ** 2,
        {u: (), w: ()},
        {x: Normal(()), "y": Normal(())},
        constants={c: ()},
    )
    return derive(model, Exponential(lambda p: {u: p[u], w: -p[w]}))


def renders(text):
    """Whether matplotlib can typeset it (a small part of LaTeX, strict about what it reads)."""
    matplotlib.mathtext.MathTextParser("path").parse(f"${text}$")
    return True


PLAIN = product_law("u", "w", "c", "x")


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_an_ordinary_symbol(name):
    other = "w"
    law = product_law(name, other, "c", "x")
    assert law.status is Status.PROVED
    charge = law.charge.sympy()
    own = {s.name: s for s in charge.free_symbols}
    assert len(own) == 2 and all(isinstance(s, sympy.Symbol) for s in own.values())
    # The same law as under plain names, symbol by symbol.
    first = next(s for n, s in own.items() if n != "w")
    renaming = {first: sympy.Symbol("u", real=True)}
    settings = zip(law.drift.settings.values(), PLAIN.drift.settings.values(), strict=True)
    renaming |= {a: b for a, b in settings if a != b}
    for found, plain in ((law.charge, PLAIN.charge), (law.discrete_drift, PLAIN.discrete_drift)):
        assert sympy.expand(found.sympy().xreplace(renaming) - plain.sympy()) == 0
    # Settings never share a printed name with what the user wrote.
    printed = [s.name for s in law.discrete_drift.sympy().free_symbols]
    assert len(set(printed)) == len(printed)
    assert renders(law.charge.latex())
    assert renders(law.drift.latex())
    number = law.charge.callable()({name: 3.0, other: 1.0})
    assert number == 8.0


def test_what_matplotlib_cannot_typeset_is_still_latex():
    assert product_law("R&D", "w", "c", "x").charge.latex() == r"\mathrm{R\&D}^{2} - w^{2}"
    assert product_law("#1", "w", "c", "x").charge.latex() == r"\mathrm{\#1}^{2} - w^{2}"


@pytest.mark.parametrize(
    "name", ["e", "I", "S", "N", "beta", "lambda", "eta", "learning_rate", "flow"]
)
def test_any_name_for_samples_and_constants(name):
    law = product_law("u", "w", name, name)
    assert law.status is Status.PROVED
    constant = next(s for s in law.noise_trace.sympy().free_symbols if s.name not in ("u", "w"))
    renamed = law.noise_trace.sympy().xreplace({constant: sympy.Symbol("c", real=True)})
    assert sympy.expand(renamed - PLAIN.noise_trace.sympy()) == 0
    params = {"u": 1.5, "w": 0.5}
    found = law.noise_trace.callable()(params, **{name: 2.0})
    assert found == pytest.approx(float(PLAIN.noise_trace.callable()(params, c=2.0)))


def test_settings_fall_back_to_their_code_names():
    law = product_law("S", "eta", "gamma", "beta")
    shown = {name: symbol.name for name, symbol in law.drift.settings.items()}
    assert shown == {
        "learning_rate": "learning_rate",
        "batch_size": "batch_size",
        "weight_decay": "weight_decay",
        "momentum": "beta",  # a sample's name never shows
        "flow": "lambda",
    }
    assert not {"S", "eta"} & {
        s.name for s in law.drift.sympy().free_symbols - law.charge.sympy().free_symbols
    }


# --- pytrees -----------------------------------------------------------------------------------


def rescaled(first, second):
    """A tree map that scales some leaves up and some down."""
    return lambda p: jax.tree.map(lambda leaf, sign: sign * leaf, p, (first, second))


def test_nested_parameters():
    model = Model(
        lambda p, z: (p["layers"][0]["w"] @ z["x"] * p["out"][0] - p["out"][1][0]) ** 2,
        {"layers": [{"w": (2,)}], "out": ((), (2,))},
        {"x": Normal(2)},
    )
    assert list(model.leaves) == ["layers.0.w", "out.0", "out.1"]
    law = derive(
        model,
        Exponential(
            lambda p: {
                "layers": [{"w": p["layers"][0]["w"]}],
                "out": (-p["out"][0], 0 * p["out"][1]),
            }
        ),
    )
    assert law.status is Status.PROVED
    assert str(law.charge.sympy()) == "layers_0_w_1**2 + layers_0_w_2**2 - out_0**2"
    params = {"layers": [{"w": jnp.array([1.0, 2.0])}], "out": (jnp.array(3.0), jnp.zeros(2))}
    assert law.charge.callable()(params) == -4
    assert renders(law.charge.latex())


def test_a_tuple_of_shapes_and_a_bare_shape():
    pair = Model(lambda p, z: (p[0] @ p[1] - z["y"]) ** 2, ((2,), (2,)), {"y": Normal(())})
    law = derive(pair, Exponential(lambda p: (p[0], -p[1])))
    assert str(law.charge.sympy()) == "0_1**2 + 0_2**2 - 1_1**2 - 1_2**2"
    bare = Model(lambda p, z: jnp.sum(p) / jnp.sqrt(p @ p) * z["y"], (2,), {"y": Normal(())})
    law = derive(bare, Exponential(lambda p: p))
    assert str(law.charge.sympy()) == "param_1**2 + param_2**2"


def test_the_arrays_of_a_module():
    net = eqx.nn.MLP(
        2, "scalar", 3, 1, jax.nn.relu, use_bias=False, use_final_bias=False, key=jax.random.key(0)
    )
    arrays, static = eqx.partition(net, eqx.is_array)
    model = Model(
        lambda p, z: (eqx.combine(p, static)(z["x"]) - z["y"]) ** 2,
        arrays,
        {"x": Normal(2), "y": Normal(())},
    )
    assert list(model.leaves) == ["layers.0.weight", "layers.1.weight"]

    def action(p):
        first, last = jax.tree.leaves(p)
        return jax.tree.unflatten(jax.tree.structure(p), [first, -last])

    law = derive(model, Exponential(action))
    assert law.status is Status.PROVED
    expected = float(jnp.sum(net.layers[0].weight ** 2) - jnp.sum(net.layers[1].weight ** 2))
    assert law.charge.callable()(arrays) == pytest.approx(expected)


def test_dotted_names_do_not_collide():
    """Leaves are told apart by their paths: the leaf b of a is not the leaf "a.b"."""
    model = Model(lambda p, z: p["a"]["b"] - p["a.b"], {"a": {"b": ()}, "a.b": ()}, {})
    assert len(model.leaves) == 2


def test_indices_do_not_collide():
    """U_1 with entry 1 and U with entry (1, 1) are different symbols with different names."""
    model = Model(
        lambda p, z: (p["U"][0, 0] * p["U_1"][0] - z["y"]) ** 2,
        {"U": (1, 1), "U_1": (1,)},
        {"y": Normal(())},
    )
    law = derive(model, Exponential(lambda p: {"U": p["U"], "U_1": -p["U_1"]}))
    assert len({s.name for s in law.charge.sympy().free_symbols}) == 2
    assert law.charge.callable()({"U": jnp.full((1, 1), 2.0), "U_1": jnp.ones(1)}) == 3


# --- generators that are not symmetric ----------------------------------------------------------

PLANE = {"x": (), "y": ()}
NOISE = {"z": Normal(())}


def test_a_rotation_has_no_charge():
    model = Model(lambda p, z: z["z"] * (p["x"] ** 2 + p["y"] ** 2), PLANE, NOISE)
    law = derive(model, Exponential(lambda p: {"x": -p["y"], "y": p["x"]}, name="rotation"))
    assert law.status is Status.NOT_APPLICABLE
    assert law.charge is None
    with pytest.raises(InputError, match="rotation"):
        law.observables()


def test_a_symmetric_part_that_is_a_symmetry_carries_the_charge():
    # Constant in y, homogeneous of degree 0 in (u, w): shearing y along u is a symmetry, too.
    model = Model(
        lambda p, z: (p["u"] * p["w"] - z["z"]) ** 2, {"u": (), "w": (), "x": (), "y": ()}, NOISE
    )

    def rescaling_and_rotation(p):
        return {"u": p["u"], "w": -p["w"], "x": -p["y"], "y": p["x"]}

    law = derive(model, Exponential(rescaling_and_rotation))
    assert law.status is Status.PROVED
    assert str(law.charge.sympy()) == "u**2 - w**2"


def test_a_symmetric_part_that_is_none_carries_nothing():
    # l depends on x alone: y -> y + t x is a symmetry, its symmetric part mixes x and y.
    model = Model(lambda p, z: (p["x"] - z["z"]) ** 2, PLANE, NOISE)
    law = derive(model, Exponential(lambda p: {"x": 0 * p["x"], "y": p["x"]}, name="shear"))
    assert law.status is Status.NOT_APPLICABLE
    assert "symmetric part" in law.verdict.how
    assert any(step.status is Status.REFUTED for step in law.verdict.parts)


def test_a_family_that_is_not_symmetric_is_refused():
    model = Model(
        lambda p, z: jnp.sum((p["U"] @ p["W"] @ z["x"]) ** 2),
        {"U": (2, 2), "W": (2, 2)},
        {"x": Normal(2)},
    )
    family = Exponential(lambda p, B: {"U": p["U"] @ B, "W": -B @ p["W"]}, {"B": Matrix(2)})
    with pytest.raises(InputError, match="SymmetricMatrix"):
        derive(model, family)


def test_a_refuted_symmetry_has_no_law():
    model = Model(lambda p, z: (p["x"] * p["y"] - z["z"]) ** 2, PLANE, NOISE)
    law = derive(model, Exponential(lambda p: p))
    assert law.status is Status.REFUTED
    assert law.charge is None and law.equilibrium is None
    assert law.steps[0].witness is not None
    assert law.latex() == ""


def test_a_translation_has_a_linear_charge():
    model = Model(
        lambda p, z: (p["a"][0] - p["a"][1] - z["z"]) ** 2 + p["b"] ** 2,
        {"a": (2,), "b": ()},
        NOISE,
    )
    law = derive(
        model, Affine(lambda p: {"a": 0 * p["a"] + jnp.array([1.0, 1.0]), "b": 0 * p["b"]})
    )
    assert law.status is Status.PROVED
    eta, _, gamma, _, _ = law.drift.settings.values()
    charge = law.charge.sympy()
    assert str(charge) == "a_1 + a_2"
    assert law.drift.sympy() == sympy.expand(-2 * gamma * charge) or (
        sympy.expand(law.drift.sympy() + 2 * gamma * charge) == 0
    )
    assert sympy.expand(law.discrete_drift.sympy() + 2 * eta * gamma * charge) == 0
    params = {"a": jnp.array([1.0, 2.5]), "b": jnp.array(1.0)}
    assert law.charge.callable()(params) == 3.5
    # Exactly (1 - 2 eta gamma) per step, whatever the minibatch.
    for seed in range(3):
        z = model.sample(jax.random.key(seed))
        gradient = jax.grad(model.evaluate)(params, z)
        moved = jax.tree.map(lambda p, g: p - 0.1 * (g + 2 * 0.3 * p), params, gradient)
        assert law.charge.callable()(moved) == pytest.approx((1 - 0.06) * 3.5, rel=1e-14)


def test_no_time_no_law():
    model = Model(lambda p, z: (p["x"] * p["y"] - z["z"]) ** 2, PLANE, NOISE)
    rescaling = Exponential(lambda p: {"x": p["x"], "y": -p["y"]})
    assert derive(model, rescaling, seconds=0.0).status is Status.INCONCLUSIVE
    assert derive(model, rescaling, seconds=None).status is Status.PROVED


# --- moments that must stay formal ---------------------------------------------------------------


@pytest.mark.parametrize(
    "factor",
    [
        lambda z: jnp.exp(z),
        lambda z: jnp.exp(-z),  # a kernel below the fraction line
        lambda z: 1 / (2 + jnp.cos(z)),
        lambda z: jnp.sqrt(1 + z**2),
        lambda z: jax.nn.sigmoid(-z),
        lambda z: jnp.abs(z),
        lambda z: 1 / (1 + z**2),
        lambda z: jnp.where(z > 0, 1.0, 2.0),
        lambda z: jnp.maximum(z, 0.5),
    ],
    ids=["exp", "exp-", "cos", "sqrt", "sigmoid", "abs", "fraction", "where", "max"],
)
def test_a_sample_inside_a_function_has_no_exact_moments(factor):
    """A constant in place of the sample's function would make the noise vanish, 'proved'."""
    model = Model(lambda p, z: p["u"] * p["w"] * factor(z["z"]), {"u": (), "w": ()}, NOISE)
    law = derive(model, Exponential(lambda p: {"u": p["u"], "w": -p["w"]}))
    assert law.status is Status.PROVED
    assert law.steps[-1].status is Status.NOT_APPLICABLE
    assert law.noise_trace.sympy() == sympy.Symbol("Tr_Sigma_A", real=True)
    # w^2 Var(f) - u^2 Var(f) at (1, 2): three times the variance.
    values = np.asarray(jax.vmap(factor)(jax.random.normal(jax.random.key(0), (100_000,))))
    found = law.noise_trace.callable()({"u": 1.0, "w": 2.0})
    assert found == pytest.approx(3 * values.var(), rel=0.3)


def test_functions_of_parameters_keep_exact_moments():
    model = Model(
        lambda p, z: (jnp.exp(p["v"]) * p["u"] * p["w"] - z["z"]) ** 2,
        {"u": (), "w": (), "v": ()}, NOISE,
    )  # fmt: skip
    law = derive(model, Exponential(lambda p: {"u": p["u"], "w": -p["w"], "v": 0 * p["v"]}))
    assert law.steps[-1].status is Status.PROVED
    u, w, v = (sympy.Symbol(n, real=True) for n in "uwv")
    expected = 4 * sympy.exp(2 * v) * (w**2 - u**2)
    assert sympy.simplify(law.noise_trace.sympy() - expected) == 0


def test_a_named_mean_beside_a_fixed_covariance():
    cov = [[2, 1], [1, 3]]
    model = Model(
        lambda p, z: (p["u"] * p["w"] * z["x"][0] - z["x"][1]) ** 2,
        {"u": (), "w": ()}, {"x": Normal(2, mean="m", cov=cov)},
    )  # fmt: skip
    rescaling = Exponential(lambda p: {"u": p["u"], "w": -p["w"]})
    symbolic = derive(model, rescaling).noise_trace
    numbers = {"u": 1.2, "w": 0.7}
    for mean in ([0.0, 0.0], [1.0, -2.0]):
        bound = derive(model.bind(m=mean), rescaling).noise_trace
        assert symbolic.callable()(numbers, m=np.array(mean)) == pytest.approx(
            float(bound.callable()(numbers)), rel=1e-12
        )
