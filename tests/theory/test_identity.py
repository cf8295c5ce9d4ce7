"""Identities between matrices: proved where they hold, refuted with a point where they do not."""

import jax.numpy as jnp
import pytest

import symtheory as st
from symtheory.errors import InputError, UnreadableError


def eye(a):
    return jnp.eye(a.shape[0])


HOLD = {
    "a reflection is its own inverse": (
        lambda a: (eye(a["P"]) - 2 * a["P"]) @ (eye(a["P"]) - 2 * a["P"]) - eye(a["P"]),
        {"P": st.ProjectionMatrix("n")},
    ),
    "moving the origin": (
        # |(I - 2P) t + P c|^2 - |t + P c|^2 = -4 t.P c
        lambda a: (
            jnp.sum(((eye(a["P"]) - 2 * a["P"]) @ a["t"] + a["P"] @ a["c"]) ** 2)
            - jnp.sum((a["t"] + a["P"] @ a["c"]) ** 2)
            + 4 * a["t"] @ a["P"] @ a["c"]
        ),
        {"P": st.ProjectionMatrix("n"), "t": "n", "c": "n"},
    ),
    "turning all weights": (
        lambda a: jnp.sum((a["U"] @ a["O"]) ** 2) - jnp.sum(a["U"] ** 2),
        {"O": st.OrthogonalMatrix("h"), "U": ("m", "h")},
    ),
    "eigenbasis": (
        # with A = O diag(mu) O^T, A^2 = O diag(mu^2) O^T
        lambda a: (
            (a["O"] * a["mu"]) @ a["O"].T @ (a["O"] * a["mu"]) @ a["O"].T
            - (a["O"] * a["mu"] ** 2) @ a["O"].T
        ),
        {"O": st.OrthogonalMatrix("n"), "mu": "n"},
    ),
    "cyclic trace": (
        lambda a: jnp.trace(a["A"] @ a["B"]) - jnp.trace(a["B"] @ a["A"]),
        {"A": ("m", "n"), "B": ("n", "m")},
    ),
    "symmetric against antisymmetric": (
        lambda a: jnp.trace(a["S"] @ (a["B"] - a["B"].T)),
        {"S": st.SymmetricMatrix("n"), "B": ("n", "n")},
    ),
}


@pytest.mark.parametrize("name", HOLD)
def test_what_holds_is_proved(name):
    residual, arrays = HOLD[name]
    verdict = st.identity(name, residual, arrays)
    assert str(verdict.status) == "proved", verdict


@pytest.mark.parametrize("name", HOLD)
def test_a_little_more_is_refuted(name):
    residual, arrays = HOLD[name]
    sizes = next(iter(arrays.values()))
    del sizes
    extra = next(iter(arrays))

    def wrong(a):
        return residual(a) + jnp.sum(a[extra] ** 2)

    verdict = st.identity(name, wrong, arrays)
    assert str(verdict.status) == "refuted"
    assert verdict.witness["value"] != "0" and verdict.residual


def test_without_the_assumption_it_fails():
    residual, _ = HOLD["moving the origin"]
    general = {"P": st.SymmetricMatrix("n"), "t": "n", "c": "n"}
    assert str(st.identity("any matrix", residual, general).status) == "refuted"


def test_bad_input():
    with pytest.raises(InputError, match="at least one array"):
        st.identity("nothing", lambda a: 0.0, {})
    with pytest.raises(InputError, match="returns no array"):
        st.identity("nothing", lambda a: [], {"x": "n"})
    with pytest.raises(InputError, match="'n' names both a size and an array"):
        st.identity("twice", lambda a: a["n"], {"n": "n"})
    with pytest.raises(UnreadableError, match="'exp'"):
        st.identity("exp", lambda a: jnp.exp(a["x"]), {"x": "n"})
