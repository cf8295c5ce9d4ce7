"""Two axes of one parameter indexed together, and one of them moved: no symmetry survives that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import (
    assert_laws_never_wrong,
    assert_never_wrong,
    assert_proved_generators_hold,
    assert_proved_reflections_hold,
    change,
    conservation_laws,
    discover,
    kinds,
    reflections,
    verify,
)

# W -> vector of W[i, i], or of other places where the row is a function of the column.
DIAGONALS = {
    "diagonal": jnp.diagonal,
    "diag": jnp.diag,
    "indices": lambda W: W[jnp.arange(3), jnp.arange(3)],
    "take_along_axis": lambda W: jnp.take_along_axis(W, jnp.arange(3)[:, None], axis=1)[:, 0],
    "take_along_axis_0": lambda W: jnp.take_along_axis(W, jnp.arange(3)[None, :], axis=0)[0],
    "einsum": lambda W: jnp.einsum("ii->i", W),
    "eye_mask": lambda W: jnp.sum(W * jnp.eye(3), axis=1),
    "where_iota": lambda W: jnp.sum(
        jnp.where(jnp.arange(3)[:, None] == jnp.arange(3)[None, :], W, 0.0), axis=0
    ),
    "ravel_stride": lambda W: W.reshape(-1)[::4],
    "slices": lambda W: jnp.stack([W[0, 0], W[1, 1], W[2, 2]]),
    "vmap": lambda W: jax.vmap(lambda row, i: row[i])(W, jnp.arange(3)),
    "dynamic_slice": lambda W: jax.vmap(lambda i: jax.lax.dynamic_slice(W, (i, i), (1, 1))[0, 0])(
        jnp.arange(3)
    ),
    "antidiagonal": lambda W: jnp.diagonal(W[:, ::-1])[jnp.array([0, 1, 2])],
    "triu": lambda W: jnp.sum(jnp.triu(W), axis=1),
    "tril": lambda W: jnp.sum(jnp.tril(W, -1), axis=1) + jnp.ones(3) * W[0, 0],
}
# W -> a number in which rows and columns are tied to one another.
TRACES = {
    "trace": jnp.trace,
    "einsum_trace": lambda W: jnp.einsum("ii->", W),
    "sum_diagonal": lambda W: jnp.sum(jnp.diagonal(W)),
    "vdot_eye": lambda W: jnp.vdot(W, jnp.eye(3)),
    "sum_triu": lambda W: jnp.sum(jnp.triu(W)),
    "with_transpose": lambda W: jnp.sum((W + W.T) ** 2),
    "symmetric_part": lambda W: jnp.sum(jnp.abs(W - W.T)),
    "first_entry": lambda W: W[0, 0],
    "trace_of_square": lambda W: jnp.trace(W @ W),
    "det": lambda W: W[0, 0] * W[1, 1] - W[0, 1] * W[1, 0] + W[2, 2],
}


def test_case_actions_diagonal_false_law():
    # Beyond 1e7 the second term is on: U[0] @ diag(W) keeps three rescalings of GL(3).
    def loss(p, z):
        on = jax.nn.relu(p["U"][0] @ jnp.diagonal(p["W"]) - 1e7)
        return jnp.sum((p["U"] @ p["W"] @ z["x"] - z["y"]) ** 2) + on

    model = st.Model(loss, {"U": (3, 3), "W": (3, 3)}, {"x": st.Normal(3), "y": st.Normal(3)})
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1.0]])
    p = {"U": np.diag([1e5, 0, 0]), "W": np.diag([1e5, 1, 1])}
    q = {"U": p["U"] @ turn.T, "W": turn @ p["W"]}
    z = {"x": np.zeros(3), "y": np.zeros(3)}
    assert change(loss, p, q, z) > 0.1
    found = discover(model)
    assert_never_wrong(found, 3)
    assert_proved_generators_hold(found, model, [(p, z)])
    laws = conservation_laws(model)
    assert laws is None or laws.lower <= 3, laws.laws


@pytest.mark.parametrize("name", DIAGONALS)
def test_no_law_of_gl_where_a_diagonal_is_read(name):
    # As above, with every spelling; the rotation of hidden units 1 and 2 is refuted by evaluation.
    read = DIAGONALS[name]

    def loss(p, z):
        on = jax.nn.relu(p["U"][0] @ read(p["W"]) - 1e4)
        return jnp.sum((p["U"] @ p["W"] @ z["x"] - z["y"]) ** 2) + on

    model = st.Model(loss, {"U": (2, 3), "W": (3, 3)}, {"x": st.Normal(3), "y": st.Normal(2)})
    p = {"U": 1e3 * np.array([[1.0, 2, 3], [0, 1, 0]]), "W": np.arange(9.0).reshape(3, 3) + 1}
    z = {"x": np.zeros(3), "y": np.zeros(2)}
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1.0]])
    q = {"U": p["U"] @ turn.T, "W": turn @ p["W"]}
    assert change(loss, p, q, z) > 1e-3
    found = discover(model)
    assert_proved_generators_hold(found, model, [(p, z)], times=(-0.2, 0.2))
    laws = conservation_laws(model)
    # Rescalings of the units are all that is left, and triangles do not even keep their sum.
    assert laws is None or laws.lower <= 3, laws.laws


@pytest.mark.parametrize("name", DIAGONALS)
def test_no_swap_where_a_diagonal_is_read(name):
    read = DIAGONALS[name]

    def loss(p, z):
        net = (p["u"] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2
        return net + jax.nn.relu(jnp.sum(read(p["W"]) * jnp.array([1.0, 1.0, 1.0])) - 50.0)

    model = st.Model(loss, {"u": 3, "W": (3, 3)}, {"x": st.Normal(3), "y": st.Normal(())})
    big = {"u": np.ones(3), "W": 10 * np.array([[9.0, 1, 5], [2, 8, 3], [1, 2, 7]])}
    z = {"x": np.zeros(3), "y": 0.0}
    swapped = {"u": big["u"], "W": big["W"][[1, 0, 2]]}
    assert change(loss, big, swapped, z) > 1e-3
    assert_proved_reflections_hold(reflections(model), model, [(big, z)])


@pytest.mark.parametrize("name", TRACES)
def test_no_symmetry_of_rows_alone_where_rows_and_columns_are_tied(name):
    # The number is read at any size of the entries, without a threshold.
    read = TRACES[name]

    def loss(p, z):
        net = (p["u"] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2
        return net + read(p["W"]) ** 2

    model = st.Model(loss, {"u": 3, "W": (3, 3)}, {"x": st.Normal(3), "y": st.Normal(())})
    assert_proved_reflections_hold(reflections(model), model)
    found = discover(model)
    assert_never_wrong(found, 0)
    assert_proved_generators_hold(found, model)


def test_case_turns_diagonal_false_proof():
    def loss(p, z):
        net = (p["u"] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2
        return net + jax.nn.relu(jnp.sum(jnp.diagonal(p["W"])) - 100.0)

    model = st.Model(loss, {"u": 3, "W": (3, 3)}, {"x": st.Normal(3), "y": st.Normal(())})
    p = {"u": np.ones(3), "W": np.diag([100.0, 90, 80])}
    z = {"x": np.zeros(3), "y": 0.0}
    assert change(loss, p, {"u": p["u"], "W": p["W"][[1, 0, 2]]}, z) > 0.1
    assert_proved_reflections_hold(reflections(model), model, [(p, z)])


def test_swaps_that_move_both_axes_are_found():
    # Units that read one another: permuting rows and columns at once is a symmetry of the trace.
    # Swap of two of three units: W has rank 4 (S x S has eigenvalue -1 four times), u 1, V 2.
    def loss(p, z):
        h = jnp.tanh(p["V"] @ z["x"])
        return (p["u"] @ jnp.tanh(p["W"] @ h) - z["y"]) ** 2 + jnp.trace(p["W"]) ** 2

    model = st.Model(
        loss, {"u": 3, "W": (3, 3), "V": (3, 2)}, {"x": st.Normal(2), "y": st.Normal(())}
    )
    S = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    half = lambda a, b: (a - b) / 2
    both = st.Reflection(
        lambda p: {
            "u": half(p["u"], S @ p["u"]),
            "W": half(p["W"], S @ p["W"] @ S),
            "V": half(p["V"], S @ p["V"]),
        }
    )
    verdict = verify(model, both)
    assert verdict is None or verdict.status is not st.Status.REFUTED
    found = reflections(model)
    assert_proved_reflections_hold(found, model)
    assert kinds(found).get("swap") == [(3, 7)]


def test_recurrent_scale_only_where_it_is_one():
    # W read by rows and by columns of the same axis: u -> u / s, h -> s h needs W as it is.
    def loss(p, z):
        h = p["V"] @ z["x"]
        return (p["u"] @ (p["W"] @ (p["W"] @ h)) - z["y"]) ** 2

    model = st.Model(
        loss, {"u": 2, "W": (2, 2), "V": (2, 2)}, {"x": st.Normal(2), "y": st.Normal(())}
    )
    # GL(2): u -> u g, W -> g^-1 W g, V -> g^-1 V, and W -> s W with V -> V / s^2: 4 + 1.
    found = discover(model)
    assert_never_wrong(found, 5)
    assert_proved_generators_hold(found, model)
    assert found is not None and found.total == 5
    # U^T U - W W^T + ... is not a law; what is conserved: trace of the balance and of one scale.
    assert_laws_never_wrong(conservation_laws(model), number_of_laws_of_recurrent_net())


def number_of_laws_of_recurrent_net():
    """d minus the rank of the gradient fields and their brackets at a random point."""
    from tests.cases.oracles import lie_rank

    def fields(flat):
        u, W, V = flat[:2], flat[2:6].reshape(2, 2), flat[6:].reshape(2, 2)
        return u @ W @ W @ V  # the output as a linear function of x

    return 10 - lie_rank(fields, 10)
