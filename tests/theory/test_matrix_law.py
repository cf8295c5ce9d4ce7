"""Laws for all sizes: what they say, and that they equal the derivation entry by entry."""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import symtheory as st
from symtheory.errors import InputError, UnreadableError
from symtheory.zoo import load

SIZES = [(1, 1, 1), (2, 3, 2), (3, 2, 4)]
DOUBLE = st.Exponential(
    lambda p, B: {"U": p["U"] @ B, "W": -B @ p["W"]},
    family={"B": st.SymmetricMatrix("h")},
    name="double rotation",
)


@pytest.fixture(scope="module")
def law():
    example = load("two-layer-linear")
    return st.derive(example.model, example.symmetries["double-rotation"])


def test_the_papers_formulas(law):
    lines = dict(law.text())
    assert str(law.status) == "proved"
    assert all(str(step.status) == "proved" for step in law.steps)
    assert lines["charge Q"] == "U^T U - W W^T"
    assert lines["drift dQ/dt"] == (
        "-4*gamma * (U^T U - W W^T) + eta/S * (W Gamma_W W^T - U^T Gamma_U U)"
    )
    assert lines["G"] == "2 r x^T" and lines["r"] == "U W x - V x - eps"
    assert lines["Gamma_U"].startswith("4 E[|x|^2 r r^T] - E[G] E[G]^T = ")
    assert lines["Gamma_W"].startswith("4 E[|r|^2 x x^T] - E[G]^T E[G] = ")
    assert lines["equilibrium, weight decay 0"] == "U^T Gamma_U U = W Gamma_W W^T"
    assert lines["weight decay 0, V = U W"] == (
        "Tr[Sigma_x] U^T Sigma_eps U = Tr[Sigma_eps] W Sigma_x W^T"
    )


def test_the_gaussian_gammas_are_those_of_theory(law):
    """Gamma_W = 4 (E[|r|^2 x x^T] - E[r x^T]^T E[r x^T]) with the closed forms of section 4."""
    lines = dict(law.text())
    assert lines["Gamma_W"].split(" = ")[1] == (
        "4 Sigma_x Delta^T Delta Sigma_x + 4 Tr[Delta Sigma_x Delta^T] Sigma_x "
        "+ 4 Tr[Sigma_eps] Sigma_x"
    )
    assert lines["Gamma_U"].split(" = ")[1] == (
        "4 Delta Sigma_x^2 Delta^T + 4 Tr[Sigma_x] Delta Sigma_x Delta^T + 4 Tr[Sigma_x] Sigma_eps"
    )


@pytest.mark.parametrize("sizes", SIZES)
def test_every_entry_is_the_one_derived_entry_by_entry(law, sizes):
    verdict = law.check_at(**dict(zip(("dy", "h", "dx"), sizes, strict=True)))
    assert str(verdict.status) == "proved", verdict


def test_a_wrong_law_is_refuted_by_the_same_check(law):
    (decay, charge), (rate, noise) = law.drift.terms
    wrong = dataclasses.replace(law.drift, terms=((decay, charge), (rate, noise.scaled(2))))
    verdict = dataclasses.replace(law, drift=wrong).check_at(dy=2, h=2, dx=1)
    assert str(verdict.status) == "refuted"
    assert verdict.witness["expression"] == "drift"


@pytest.mark.parametrize(
    ("name", "symmetry", "sizes"),
    [
        ("deep-linear", "layers-1-2", {"dx": 2, "h1": 2, "h2": 1, "dy": 2}),
        ("deep-linear", "layers-2-3", {"dx": 1, "h1": 2, "h2": 2, "dy": 2}),
        ("low-rank-adapter", "adapter", {"dy": 2, "r": 2, "dx": 2}),
        ("attention-scores", "query-key", {"d": 2, "k": 2}),
        ("two-layer-linear", "rescaling", {"dy": 2, "h": 2, "dx": 3}),
    ],
)
def test_the_other_models_of_the_zoo(name, symmetry, sizes):
    example = load(name)
    law = st.derive(example.model, example.symmetries[symmetry])
    assert str(law.status) == "proved"
    assert law.product is not None
    assert str(law.check_at(**sizes).status) == "proved"


def restated(loss, action=None, leaves=("U", "W")):
    u, w = leaves
    model = st.Model(
        loss,
        params={u: ("dy", "h"), w: ("h", "dx")},
        random={"x": st.Normal("dx", cov="Sigma_x"), "eps": st.Normal("dy", cov="Sigma_eps")},
        constants={"V": ("dy", "dx")},
    )
    swap = st.Exponential(
        action or (lambda p, B: {u: p[u] @ B, w: -B @ p[w]}),
        family={"B": st.SymmetricMatrix("h")},
        name="double rotation",
    )
    return st.derive(model, swap)


def residual(p, z, c):
    return p["U"] @ p["W"] @ z["x"] - c["V"] @ z["x"] - z["eps"]


RESTATED = {
    "transposes": lambda p, z, c: jnp.sum(
        (z["x"].T @ p["W"].T @ p["U"].T - z["x"] @ c["V"].T - z["eps"]) ** 2
    ),
    "traces": lambda p, z, c: jnp.trace(jnp.outer(residual(p, z, c), residual(p, z, c))),
    "halves": lambda p, z, c: 0.5 * jnp.vdot(residual(p, z, c), 2 * residual(p, z, c)),
    "mean times size": lambda p, z, c: jnp.mean(residual(p, z, c) ** 2) * c["V"].shape[0],
    "einsum": lambda p, z, c: jnp.sum(
        (jnp.einsum("ij,jk,k->i", p["U"], p["W"], z["x"]) - c["V"] @ z["x"] - z["eps"]) ** 2
    ),
    "norm": lambda p, z, c: jnp.linalg.norm(residual(p, z, c)) ** 2,
    "expanded": lambda p, z, c: (
        jnp.sum((p["U"] @ p["W"] @ z["x"]) ** 2)
        - 2 * (c["V"] @ z["x"] + z["eps"]) @ (p["U"] @ p["W"] @ z["x"])
        + jnp.sum((c["V"] @ z["x"] + z["eps"]) ** 2)
    ),
    "rescaled units": lambda p, z, c: 0.25 * jnp.sum((2 * residual(p, z, c)) ** 2),
}


@pytest.mark.parametrize("name", RESTATED)
def test_complicated_restatements_give_the_identical_law(law, name):
    again = restated(RESTATED[name])
    assert law.text() == again.text()
    for key, expression in law.expressions().items():
        assert expression.terms == again.expressions()[key].terms


def test_permuted_leaves_give_the_same_law_with_the_names_exchanged(law):
    """The first factor is now called W and the second U."""
    again = restated(
        lambda p, z, c: jnp.sum((p["W"] @ p["U"] @ z["x"] - c["V"] @ z["x"] - z["eps"]) ** 2),
        leaves=("W", "U"),
    )
    exchange = str.maketrans("UW", "WU")
    want = sorted(text.translate(exchange) for _, text in law.text())
    words = [
        (set(a.split()), set(b.split()))
        for a, b in zip(want, sorted(t for _, t in again.text()), strict=True)
    ]
    assert all(a == b for a, b in words)


def test_the_jax_function_has_the_same_values_at_any_size(law):
    rng = np.random.default_rng(0)
    for dy, h, dx in SIZES:
        params = {"U": rng.normal(size=(dy, h)), "W": rng.normal(size=(h, dx))}
        roots = {"Sigma_x": rng.normal(size=(dx, dx)), "Sigma_eps": rng.normal(size=(dy, dy))}
        values = {name: root @ root.T for name, root in roots.items()}
        values["V"] = rng.normal(size=(dy, dx))
        settings = {"learning_rate": 0.1, "batch_size": 2, "weight_decay": 0.3}
        bound = law.model.bind(dy=dy, h=h, dx=dx)
        entries = st.derive(bound, law.symmetry)
        for name in ("drift", "discrete_drift"):
            have = jax.jit(law.callable()[name])(params, **settings, **values)
            want = entries.callable()[name](params, **settings, **values)
            np.testing.assert_allclose(have, want, rtol=1e-10, atol=1e-10)


def test_sympy_matrices_have_the_same_values(law):
    rng = np.random.default_rng(1)
    shape = {"dy": 2, "h": 3, "dx": 2}
    arrays = {
        "U": rng.integers(-3, 4, (2, 3)), "W": rng.integers(-3, 4, (3, 2)),
        "V": rng.integers(-3, 4, (2, 2)), "Sigma_x": np.diag([1, 2]), "Sigma_eps": np.diag([3, 1]),
    }  # fmt: skip
    closed = law.sympy()["noise_trace"]
    sizes = {s: shape[s.name] for s in closed.free_symbols if s.name in shape}
    fixed = closed.subs(sizes)
    matrices = {m: sympy.Matrix(arrays[m.name]) for m in fixed.atoms(sympy.MatrixSymbol)}
    have = np.array(fixed.subs(matrices).doit().tolist(), dtype=float)
    params = {"U": arrays["U"] * 1.0, "W": arrays["W"] * 1.0}
    rest = {k: arrays[k] * 1.0 for k in ("V", "Sigma_x", "Sigma_eps")}
    np.testing.assert_allclose(have, law.callable()["noise_trace"](params, **rest), rtol=1e-12)


def test_explicit_matrices_are_those_of_the_entry_by_entry_law(law):
    """As SymPy matrices, at sizes where the whole law is short."""
    sizes = {"dy": 1, "h": 2, "dx": 1}
    entries = st.derive(law.model.bind(**sizes), law.symmetry)
    for name in ("charge", "drift"):
        have = law.expressions()[name].entries(**sizes)
        want = entries.expressions()[name].sympy()
        assert (have - want).applyfunc(sympy.expand) == sympy.zeros(2, 2)
    with pytest.raises(InputError, match="the size 'h' is not given"):
        law.charge.entries(dy=1, dx=1)


def test_latex_has_the_paper_s_symbols(law):
    shown = law.latex()
    for piece in (
        r"U^{\top} \Gamma_{U} U = W \Gamma_{W} W^{\top}",
        r"\lVert x \rVert^{2}",
        r"\mathrm{Tr}[\Sigma_{x}] \, U^{\top} \Sigma_{eps} U",
    ):
        assert piece in shown
    assert law.equilibrium.latex() in shown


def test_names_that_the_law_uses_itself_stay_apart():
    model = st.Model(
        lambda p, z, c: jnp.sum((p["G"] @ p["r"] @ z["x"] - c["Delta"] @ z["x"] - z["e"]) ** 2),
        params={"G": ("I", "N"), "r": ("N", "lambda")},
        random={"x": st.Normal("lambda"), "e": st.Normal("I")},
        constants={"Delta": ("I", "lambda")},
    )
    swap = st.Exponential(
        lambda p, B: {"G": p["G"] @ B, "r": -B @ p["r"]}, family={"B": st.SymmetricMatrix("N")}
    )
    law = st.derive(model, swap)
    lines = dict(law.text())
    assert str(law.status) == "proved"
    assert {"G'", "r'", "Delta'"} <= set(lines)
    assert str(law.check_at(I=2, N=2, **{"lambda": 1}).status) == "proved"


def test_elementwise_families_have_laws_too():
    model = st.Model(
        lambda p, z: jnp.sum((p["U"] @ (p["s"] * z["x"]) - z["y"]) ** 2),
        params={"U": ("m", "n"), "s": "n"},
        random={"x": st.Normal("n"), "y": st.Normal("m", cov="C")},
    )
    rates = st.Exponential(
        lambda p, a: {"U": p["U"] * a, "s": -a * p["s"]}, family={"a": st.Vector("n")}
    )
    law = st.derive(model, rates)
    assert str(law.status) == "proved"
    assert "sum_j U[j,i] U[j,i]" in str(law.charge)
    assert str(law.check_at(m=2, n=3).status) == "proved"


def test_other_laws_of_the_sample_bring_their_cumulants():
    model = st.Model(
        lambda p, z: jnp.sum((p["U"] @ p["W"] @ z["x"] - z["y"]) ** 2),
        params={"U": ("m", "h"), "W": ("h", "n")},
        random={"x": st.Uniform("n", low=-1.0, high=3.0), "y": st.Rademacher("m")},
    )
    law = st.derive(model, DOUBLE)
    assert str(law.check_at(m=2, h=1, n=2).status) == "proved"


@pytest.mark.parametrize("leaf", ["X", "N1", "g"])
def test_the_orbit_s_own_names_stay_apart(law, leaf):
    renamed = restated_names(law, leaf)
    text = dict(renamed.text())["on the orbit of any point"]
    assert f"{leaf}'" in text and f"{leaf} " not in text.replace(f"{leaf}'", "")


def restated_names(law, leaf):
    model = st.Model(
        lambda p, z, c: law.model.loss({"U": p[leaf], "W": p["W"]}, z, c),
        params={leaf: ("dy", "h"), "W": ("h", "dx")},
        random=law.model.random,
        constants=law.model.constants,
    )
    action = st.Exponential(
        lambda p, B: {leaf: p[leaf] @ B, "W": -B @ p["W"]}, family={"B": st.SymmetricMatrix("h")}
    )
    return st.derive(model, action)


def test_names_of_covariances_and_samples_are_not_used_for_anything_else():
    model = st.Model(
        lambda p, z, c: jnp.sum(
            (p["U"] @ p["W"] @ z["x"] - c["V"] @ z["x"] - c["x"] - z["S"]) ** 2
        ),
        params={"U": ("dy", "h"), "W": ("h", "dx")},
        random={"x": st.Normal("dx", cov="Gamma_U"), "S": st.Normal("dy", cov="Delta")},
        constants={"V": ("dy", "dx"), "x": "dy"},
    )
    law = st.derive(model, DOUBLE)
    lines = dict(law.text())
    assert str(law.status) == "proved"
    assert {"Gamma_U'", "Gamma_W"} <= set(lines) and not {"Gamma_U", "Delta"} & set(lines)
    assert lines["r"] == "U W x' - V x' - x - S'"  # x' is the sample, x the constant
    assert "(4 gamma S/eta) I" in lines["weight decay gamma"]
    assert str(law.check_at(dy=2, h=1, dx=1).status) == "proved"


def test_the_batch_size_is_not_a_covariance_of_that_name():
    model = st.Model(
        lambda p, z: jnp.sum((p["U"] @ p["W"] @ z["x"]) ** 2),
        params={"U": ("dy", "h"), "W": ("h", "dx")},
        random={"x": st.Normal("dx", cov="S")},
    )
    lines = dict(st.derive(model, DOUBLE).text())
    assert "(4 gamma batch_size/eta) I" in lines["weight decay gamma"]


def test_a_parameter_that_looks_like_another_with_a_prime():
    model = st.Model(
        lambda p, z, c: (jnp.sum(p["u"] * p["w"]) - z["x"]) ** 2 + jnp.sum(c["u"] * p["u'"]) ** 2,
        params={"u": "n", "u'": "n", "w": "n"},
        random={"x": st.Normal(())},
        constants={"u": "n"},
    )
    rescaling = st.Exponential(lambda p: {"u": p["u"], "u'": 0 * p["u'"], "w": -p["w"]})
    law = st.derive(model, rescaling)
    assert str(law.status) == "proved" and str(law.charge) == "|u'|^2 - |w|^2"
    point = {"u": jnp.array([3.0]), "u'": jnp.array([5.0]), "w": jnp.array([2.0])}
    assert float(law.charge.callable()(point)) == 5.0
    assert str(law.check_at(n=2).status) == "proved"


def test_a_partly_bound_model_is_derived_for_the_sizes_that_are_open(law):
    half = law.model.bind(dx=2)
    some = st.derive(half, law.symmetry)
    assert str(some.status) == "proved"
    assert str(some.check_at(dy=2, h=1).status) == "proved"


# --- what is refused -----------------------------------------------------------------------------


def test_a_false_symmetry_is_refuted_with_a_witness(law):
    wrong = st.Exponential(
        lambda p, B: {"U": p["U"] @ B, "W": B @ p["W"]}, family={"B": st.SymmetricMatrix("h")}
    )
    refuted = st.derive(law.model, wrong)
    assert str(refuted.status) == "refuted" and refuted.charge is None
    assert any(step.witness for step in refuted.steps)


def test_a_symmetry_at_some_sizes_is_none_for_all(law):
    def loss(p, z, c):
        h = p["U"].shape[1]
        return law.model.loss(p, z, c) + (h - 2.0) * (h - 3.0) * jnp.sum(p["U"])

    model = dataclasses.replace(law.model, loss=loss)
    refuted = st.derive(model, law.symmetry)
    assert str(refuted.status) == "refuted"
    four = dataclasses.replace(
        law.model,
        loss=lambda p, z, c: loss(p, z, c) * (p["U"].shape[1] - 4.0) * (p["U"].shape[1] - 5.0),
    )
    assert str(st.derive(four, law.symmetry).status) == "inconclusive"


def test_a_derivative_rule_of_its_own_is_refused(law):
    @jax.custom_jvp
    def tripled(x):
        return x

    tripled.defjvp(lambda primals, tangents: (primals[0], 3 * tangents[0]))
    model = dataclasses.replace(
        law.model, loss=lambda p, z, c: law.model.loss({**p, "U": tripled(p["U"])}, z, c)
    )
    with pytest.raises(UnreadableError, match="a derivative of its own"):
        st.derive(model, law.symmetry)


def test_a_family_that_does_not_fit(law):
    wrong = dataclasses.replace(law.symmetry, family={"B": st.SymmetricMatrix("dx")})
    with pytest.raises(InputError, match=r"not at names .*got \(h,\) and \(dx,\)"):
        st.derive(law.model, wrong)


def test_an_unsymmetric_family_has_no_charge(law):
    general = dataclasses.replace(law.symmetry, family={"B": st.Matrix("h")})
    assert str(st.derive(law.model, general).status) == "not_applicable"


def test_two_families_and_translations_ask_for_sizes(law):
    two = st.Exponential(
        lambda p, B, C: {"U": p["U"] @ (B + C), "W": -(B + C) @ p["W"]},
        family={"B": st.SymmetricMatrix("h"), "C": st.SymmetricMatrix("h")},
    )
    with pytest.raises(InputError, match="at most one family"):
        st.derive(law.model, two)


def test_a_nonlinear_action(law):
    wrong = dataclasses.replace(
        law.symmetry, action=lambda p, B: {"U": p["U"] @ B @ B, "W": -B @ p["W"]}
    )
    with pytest.raises(InputError, match="not linear in B"):
        st.derive(law.model, wrong)
    wrong = dataclasses.replace(
        law.symmetry, action=lambda p, B: {"U": p["U"] @ B + 1.0, "W": -B @ p["W"]}
    )
    with pytest.raises(InputError, match="not linear in the parameters"):
        st.derive(law.model, wrong)


def test_a_loss_it_cannot_read_offers_entry_by_entry():
    example = load("relu-rescaling")
    [symmetry] = example.symmetries.values()
    with pytest.raises(UnreadableError, match=r"'max'.*entry by entry: model.bind\("):
        st.derive(example.model, symmetry)


def test_a_law_says_which_value_it_lacks(law):
    params = {"U": np.ones((2, 1)), "W": np.ones((1, 2))}
    with pytest.raises(TypeError, match="learning_rate"):
        law.callable()["drift"](params)
    with pytest.raises(InputError, match="needs the"):
        law.callable()["noise_trace"](params)
    with pytest.raises(InputError, match="the size 'dy' is not given"):
        law.check_at(h=2, dx=2)


@pytest.mark.slow
def test_deriving_takes_under_a_second():
    example = load("two-layer-linear")
    symmetry = example.symmetries["double-rotation"]
    st.derive(example.model, symmetry)
    start = time.process_time()
    st.derive(example.model, symmetry)
    assert time.process_time() - start < 1.0
