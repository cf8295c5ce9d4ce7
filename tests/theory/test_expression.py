"""Closed forms: what is printed, what goes to SymPy and what is called are the same thing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from symtheory.errors import InputError
from symtheory.theory import derive
from symtheory.zoo import load

NUMBERS = {"learning_rate": 0.1, "batch_size": 3, "weight_decay": 0.05, "momentum": 0.9}
NEEDED = {
    "charge": set(),
    "noise_trace": set(),
    "drift": {"learning_rate", "batch_size", "weight_decay"},
    "discrete_drift": {"learning_rate", "batch_size", "weight_decay"},
    "momentum_drift": {"learning_rate", "batch_size", "momentum"},
}
CASES = [
    ("scalar-factor", "rescaling"),
    ("two-layer-linear", "double-rotation"),
    ("scale-invariant", "scale"),
    ("attention-scores", "query-key"),
    ("low-rank-adapter", "adapter"),
]


def law_and_point(name, symmetry):
    example = load(name)
    law = derive(example.sized(), example.symmetries[symmetry])
    values = example.arrays(example.sizes)
    keys = iter(jax.random.split(jax.random.key(0), 9))
    structure = law.model.structure()[0]
    params = jax.tree.map(lambda s: jax.random.normal(next(keys), s.shape), structure)
    return law, params, values


def substitution(law, params, values):
    """Numbers for the printed symbols, by their printed names."""
    out = {symbol: NUMBERS[name] for name, symbol in law.drift.settings.items() if name in NUMBERS}
    for name, array in {**params, **values}.items():
        array = np.asarray(array, dtype=float)
        if array.ndim == 0 and law.model.unbound.get(name) is not None and law.model.unbound[name]:
            array = array * np.eye(law.model.unbound[name][0])
        for index in np.ndindex(array.shape):
            digits = "".join(str(i + 1) for i in index)
            symbol = sympy.Symbol(f"{name}_{digits}" if digits else name, real=True)
            out[symbol] = float(array[index])
    return out


@pytest.mark.parametrize(("name", "symmetry"), CASES)
def test_sympy_and_callable_agree(name, symmetry):
    law, params, values = law_and_point(name, symmetry)
    numbers = substitution(law, params, values)
    assert law.expressions().keys() == NEEDED.keys()
    for key, expression in law.expressions().items():
        settings = {k: v for k, v in NUMBERS.items() if k in NEEDED[key]}
        called = np.asarray(expression.callable()(params, **settings, **values))
        printed = expression.sympy()
        assert printed.free_symbols <= numbers.keys()
        taken = np.array(
            printed.xreplace(numbers).tolist() if called.ndim else printed.xreplace(numbers)
        )
        np.testing.assert_allclose(called, taken.astype(float), rtol=1e-10, atol=1e-11)
        assert called.shape == getattr(printed, "shape", ())


@pytest.mark.parametrize(("name", "symmetry"), [CASES[0], CASES[2], CASES[4]])
def test_callables_compile_and_differentiate(name, symmetry):
    law, params, values = law_and_point(name, symmetry)
    drift = law.drift.callable()
    settings = {k: NUMBERS[k] for k in NEEDED["drift"]}
    plain = drift(params, **settings, **values)
    compiled = jax.jit(drift)(params, **settings, **values)
    np.testing.assert_allclose(compiled, plain, rtol=1e-12, atol=1e-13)
    # Derivative against a symmetric difference, along a fixed direction.
    along = jax.tree.map(jnp.ones_like, params)
    moved = lambda t: drift(
        jax.tree.map(lambda p, a: p + t * a, params, along), **settings, **values
    )
    slope = jax.jacobian(moved)(0.0)
    np.testing.assert_allclose(slope, (moved(1e-5) - moved(-1e-5)) / 2e-5, rtol=1e-5, atol=1e-6)
    # A batch of points in one call.
    stacked = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    batch = jax.vmap(lambda p: drift(p, **settings, **values))(stacked)
    np.testing.assert_allclose(batch[0], plain, rtol=1e-12, atol=1e-13)


def test_missing_settings_and_values_are_named():
    law, params, values = law_and_point("scalar-factor", "rescaling")
    with pytest.raises(TypeError, match="batch_size, learning_rate, weight_decay"):
        law.drift.callable()(params, **values)
    with pytest.raises(TypeError, match="momentum"):
        law.momentum_drift.callable()(params, learning_rate=0.1, batch_size=1, **values)
    with pytest.raises(InputError, match=r"'Sigma_eps'.*bind"):
        law.noise_trace.callable()(params, a=1.0, Sigma_x=1.0)
    # What an expression does not depend on is not needed, and does no harm.
    assert law.charge.callable()(params) == law.charge.callable()(params, **NUMBERS, **values)


def test_latex_of_a_small_law():
    law, _, _ = law_and_point("scalar-factor", "rescaling")
    assert law.charge.latex() == "u^{2} - w^{2}"
    assert law.charge._repr_latex_() == r"$\displaystyle u^{2} - w^{2}$"
    assert str(law.charge) == "u**2 - w**2"
    assert r"\dot C = - 4 \gamma" in law.latex()
    assert r"\lambda^{*}" in law.equilibrium.latex()
    assert law._repr_latex_().startswith("$")


def test_formal_expectations_print_as_what_they_are():
    law, _, _ = law_and_point("relu-rescaling", "neuron-rescaling")
    assert r"\mathrm{Tr}[\Sigma A]" in law.drift.latex()
    assert r"\nabla L" in law.discrete_drift.latex()
    assert "Tr_Sigma_A" in str(law.drift)


def test_an_expression_is_written_once():
    law, _, _ = law_and_point("two-layer-linear", "double-rotation")
    assert law.drift.sympy() is law.drift.sympy()
    assert law.drift.size > law.charge.size > 1


def test_the_symbols_of_a_closed_form_are_not_called():
    law, params, _ = law_and_point("scalar-factor", "rescaling")
    part = next(iter(law.equilibrium.where.values()))
    with pytest.raises(InputError, match="sympy"):
        part.callable()(params)
