"""The derivation: which line takes what away."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import pytest

from symtheory.errors import InputError, UnreadableError
from symtheory.symmetry.inference import infer
from tests.symmetry.inference.models import struct


def loss(p, x, y):
    h = x @ p["W"]
    h = jnp.tanh(h)  # no rescalings, no mixing
    h = h @ p["V"]
    return jnp.mean((h - y) ** 2)


PARAMS = {"W": struct(3, 5), "V": struct(5, 2)}


def _line(text):
    lines, start = inspect.getsourcelines(loss)
    [offset] = [k for k, line in enumerate(lines) if text in line]
    return f"test_explain.py:{start + offset}"


def test_every_axis_has_a_report_with_lines():
    found = infer(loss, PARAMS, struct(4, 3), struct(4, 2))
    inputs, units = found.explain("W")
    assert (units.group, units.size, units.flipped, units.rescaled) == (
        "permutations",
        5,
        True,
        False,
    )
    causes = {c.kind: c for c in units.causes}
    assert causes["mixing"].operation == "tanh"
    assert causes["rescaling"].location == causes["mixing"].location == _line("tanh")
    assert (inputs.group, inputs.axis) == ("none", 0)
    assert {c.kind: c.location for c in inputs.causes}["permutation"] == _line('x @ p["W"]')
    assert "axis 0 of W: fixed" in str(inputs)
    assert f"rescaling is excluded by tanh at {_line('tanh')}" in str(units)


def test_a_leaf_that_is_not_there():
    found = infer(loss, PARAMS, struct(4, 3), struct(4, 2))
    with pytest.raises(InputError, match=r"no parameter \('U',\).*\('V',\), \('W',\)"):
        found.explain("U")


def test_the_derivation_is_data():
    found = infer(loss, PARAMS, struct(4, 3), struct(4, 2))
    log = found.evidence.log
    assert {r.kind for r in log.restrictions} == {"mixing", "permutation"}
    assert any(u.contracted == (True,) for u in log.unions)
    assert all(e.row for e in log.equations)


def test_a_loss_that_is_no_scalar_is_refused():
    with pytest.raises(InputError, match="must return one scalar"):
        infer(lambda p, x: p["w"] * x, {"w": struct(3)}, struct(3))


def test_a_primitive_without_a_rule_is_named():
    with pytest.raises(UnreadableError):
        infer(lambda p, x: jnp.sum(jnp.linalg.eigh(p["w"])[0] * x), {"w": struct(3, 3)}, struct(3))


def test_a_custom_rule_is_entered_and_said():
    @jax.custom_jvp
    def act(x):
        return jax.nn.relu(x)

    act.defjvp(lambda x, t: (act(x[0]), t[0]))
    found = infer(
        lambda p, x: jnp.sum((p["V"] @ act(p["W"] @ x)) ** 2),
        {"W": struct(4, 3), "V": struct(1, 4)}, struct(3),
    )  # fmt: skip
    assert found.counts.total == 4
    assert not found.differentiable
