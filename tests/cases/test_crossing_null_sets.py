"""A premise that holds off a null set, used along a flow that crosses it.

A derivative that is zero almost everywhere does not make a function constant where its domain is
cut in two. What is invariant on either side only may be called proved if the verdict says so.
"""

import re

import jax.numpy as jnp

import symtheory as st
from tests.cases.oracles import (
    assert_proved_generators_hold,
    discover,
    is_proved,
    verify,
)

SAYS_WHERE = re.compile(
    r"side|sign of|component|piece|does not cross|away from|≠ 0|!= 0|off ", re.I
)


def proved_everywhere(verdict):
    """Tell whether a verdict is a proof that does not say that it is about one side only."""
    if not is_proved(verdict):
        return False
    return not SAYS_WHERE.search(" ".join([verdict.claim, verdict.how, *verdict.assumptions]))


def jumping():
    return st.Model(
        lambda p, z: (p["g"] * p["v"] / jnp.abs(p["v"]) - z["y"]) ** 2,
        {"g": (), "v": ()},
        {"y": st.Normal(())},
    )


SHIFT = st.Affine(lambda p: {"g": 0 * p["g"], "v": 1.0 + 0 * p["v"]}, name="shift of v")


def test_case_jump_across_singularity_shift():
    assert not proved_everywhere(verify(jumping(), SHIFT))


def test_case_jump_across_singularity_discover():
    found = discover(jumping())
    for verdict in found.trivial.values():
        assert not proved_everywhere(verdict)
    assert_proved_generators_hold(found, jumping())


def test_case_jump_across_singularity_rotation():
    model = st.Model(
        lambda p, z: (p["g"] * p["v"][0] / jnp.abs(p["v"][0]) - z["y"]) ** 2,
        {"g": (), "v": (2,)},
        {"y": st.Normal(())},
    )
    turn = st.Exponential(
        lambda p: {"g": 0 * p["g"], "v": jnp.array([-p["v"][1], p["v"][0]])}, name="rotation of v"
    )
    got = {str(verify(model, turn, seed=seed).status) for seed in range(6)}
    assert len(got) == 1, got
    assert "proved" not in got
