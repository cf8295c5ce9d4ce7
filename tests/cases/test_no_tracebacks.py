"""Legal models get an answer or one sentence; an internal error of the command line is 70."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import (
    assert_right,
    conservation_laws,
    discover,
    is_proved,
    reflections,
)

S, N = {"u": (), "w": ()}, st.Normal(())


def test_case_conservation_laws_without_random_arrays():
    # u w - 1 squared has the one law u^2 - w^2.
    conservation_laws(st.Model(lambda p, z: (p["u"] * p["w"] - 1) ** 2, S, {}))


def test_case_conservation_laws_with_an_empty_leaf():
    loss = lambda p, z: (p["u"].sum() + p["w"] * z["y"]) ** 2
    conservation_laws(st.Model(loss, {"u": (0,), "w": ()}, {"y": N}))


def test_case_reflections_of_an_infinite_loss():
    reflections(st.Model(lambda p, z: jnp.inf * p["u"] ** 2, S, {"y": N}))


def test_case_discover_with_while_loop():
    def loss(p, z):
        start = (0, p["u"] * p["w"])
        return (
            jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2), start)[1]
            * z["y"]
        )

    discover(st.Model(loss, S, {"y": N}))


def test_case_any_crash():
    def loss(p, z):
        mask = jnp.any(z["x"][:, None] < jnp.arange(2.0), axis=-1)
        return (p["u"] @ jax.nn.relu(p["W"] @ (z["x"] * mask)) - z["y"]) ** 2

    model = st.Model(loss, {"W": (4, 3), "u": (4,)}, {"x": st.Normal(3), "y": st.Normal(())})
    assert_right(discover(model), 4)


def test_case_units_crash():
    def loss(p, z):
        out = p["u"] @ jax.nn.relu(p["W"] @ z["x"])
        return jnp.sum(jnp.sort(jnp.fft.rfft(out).real) * jnp.arange(2.0))

    model = st.Model(loss, {"W": (20, 20), "u": (2, 20)}, {"x": st.Normal(20)})
    found = discover(model)
    assert found is not None and found.total == 20
    assert all(group.status.holds for group in found.groups)


def test_case_conservation_batch_of_one():
    rng = np.random.default_rng(0)

    def loss(p, z):
        logits = jax.nn.relu(z["x"] @ p["W"]) @ p["u"] + p["b"]
        labels = z["y"].astype(jnp.int32)[:, None]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels, -1).mean()

    data = {"x": rng.normal(size=(300, 1, 3)), "y": rng.integers(0, 3, size=(300, 1))}
    model = st.Model(loss, {"W": (3, 4), "u": (4, 3), "b": (3,)}, st.Empirical(data))
    laws = conservation_laws(model)
    assert laws is None or laws.lower <= 9 <= laws.upper


def test_case_nan_loss_crash():
    model = st.Model(
        lambda p, z: jnp.sum((p["U"] @ z["x"]) ** 2) * jnp.nan, {"U": (2, 3)}, {"x": st.Normal(3)}
    )
    found = discover(model)
    assert not is_proved(found)


def test_case_nan_loss_undefined():
    model = st.Model(
        lambda p, z: jnp.log(-jnp.sum((p["U"] @ z["x"]) ** 2) - 1),
        {"U": (2, 3)},
        {"x": st.Normal(3)},
    )
    assert not is_proved(conservation_laws(model))
    assert not is_proved(discover(model))
    assert not [r for r in reflections(model) or () if r.verdict.status.holds]


@pytest.mark.parametrize("options", [["--json"], []])
def test_an_internal_error_of_the_command_line_is_70(options, monkeypatch, capsys):
    import symtheory.symmetry
    from symtheory.cli import main

    def broken(*arguments, **settings):
        raise IndexError("list index out of range")

    monkeypatch.setattr(symtheory.symmetry, "discover", broken)
    monkeypatch.setattr(sys, "argv", ["symtheory", "discover", "scalar-factor", *options])
    try:
        main()
        code = 0
    except SystemExit as left:
        code = left.code
    except BaseException as error:
        pytest.fail(f"the command line let {type(error).__name__} through")
    assert code == 70
    out = capsys.readouterr()
    assert "IndexError" in out.out + out.err
    if options:
        assert json.loads(out.out)["schema_version"]
