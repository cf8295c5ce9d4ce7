"""The index domain: equal expressions are equal objects, and what it says holds at every size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symtheory.domains.tensors import (
    Indexed,
    Tensor,
    contract,
    einsum,
    read_indexed,
    vanishes_at_random,
)
from symtheory.errors import UnreadableError

U = Tensor("param", "U", ("m", "n"))
W = Tensor("param", "W", ("n", "m"))
S = Tensor("moment", "S", ("n", "n"), symmetric=True)
X = Tensor("sample", "x", ("n",))
TENSORS = [U, W, S, X]


def numbers(sizes, seed=0):
    rng = np.random.default_rng(seed)
    arrays = {t: rng.normal(size=[sizes[s] for s in t.sizes]) for t in TENSORS}
    arrays[S] = arrays[S] + arrays[S].T
    return arrays


@st.composite
def products(draw):
    """Draw a product of tensors: their labels, and which of the labels stay free."""
    chosen = draw(st.lists(st.sampled_from(TENSORS), min_size=1, max_size=5))
    pool = {"m": ["a", "b", "c"], "n": ["i", "j", "k"]}
    labels = [tuple(draw(st.sampled_from(pool[s])) for s in t.sizes) for t in chosen]
    used = sorted({name for names in labels for name in names})
    free = draw(st.lists(st.sampled_from(used), max_size=2, unique=True))
    return chosen, labels, free


@settings(max_examples=60, deadline=None)
@given(products(), st.randoms(use_true_random=False))
def test_the_order_and_the_names_of_summed_indices_do_not_matter(product, rng):
    chosen, labels, free = product
    value = einsum([(Indexed.of(t), names) for t, names in zip(chosen, labels, strict=True)], free)
    order = list(range(len(chosen)))
    rng.shuffle(order)
    summed = [n for names in labels for n in names if n not in free]
    fresh = {n: f"{n}'" for n in summed}
    turned = [
        (
            Indexed.of(chosen[k]),
            [fresh.get(n, n) for n in labels[k]][:: -1 if chosen[k] is S else 1],
        )
        for k in order
    ]
    assert einsum(turned, free) == value


@settings(max_examples=60, deadline=None)
@given(products())
def test_a_product_has_the_value_that_numpy_gives_it(product):
    chosen, labels, free = product
    sizes = {"m": 2, "n": 3}
    arrays = numbers(sizes)
    value = einsum([(Indexed.of(t), names) for t, names in zip(chosen, labels, strict=True)], free)
    names = {n: k for k, n in enumerate(sorted({n for ns in labels for n in ns}))}
    operands = [
        part
        for t, ns in zip(chosen, labels, strict=True)
        for part in (arrays[t], [names[n] for n in ns])
    ]
    want = np.einsum(*operands, [names[n] for n in free])
    np.testing.assert_allclose(contract(value, sizes, arrays), want, rtol=1e-10, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(products())
def test_the_derivative_is_the_one_of_autodiff(product):
    chosen, labels, _ = product
    sizes = {"m": 2, "n": 2}
    arrays = numbers(sizes)
    value = einsum([(Indexed.of(t), names) for t, names in zip(chosen, labels, strict=True)], ())

    def at(u):
        return contract(value, sizes, {**arrays, U: u}, xp=jnp) + 0 * u.sum()

    want = jax.grad(at)(jnp.asarray(arrays[U]))
    have = contract(value.derivative(U), sizes, arrays)
    np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-9)


def test_the_derivative_by_a_symmetric_matrix_is_symmetric():
    value = einsum([(Indexed.of(U), "ai"), (Indexed.of(S), "ij"), (Indexed.of(W), "ja")], "")
    slope = value.derivative(S)
    assert slope == slope.transposed()
    product = einsum([(Indexed.of(W), "ia"), (Indexed.of(U), "aj")], "ij")
    assert slope.scaled(2) == product + product.transposed()


RESTATED = {
    "plain": lambda u, w, x: jnp.sum((u @ w @ u @ x) ** 2),
    "einsum": lambda u, w, x: jnp.einsum(
        "ai,ib,bj,j,al,lc,ck,k->", u, w, u, x, u, w, u, x
    ),
    "trace": lambda u, w, x: jnp.trace(jnp.outer(u @ w @ u @ x, u @ w @ u @ x)),
    "norm": lambda u, w, x: jnp.linalg.norm(u @ (w @ (u @ x))) ** 2,
    "identity": lambda u, w, x: jnp.sum((u @ jnp.eye(u.shape[1]) @ w @ u @ x) ** 2),
    "transposes": lambda u, w, x: jnp.sum(jnp.square(x @ u.T @ w.T @ u.T)),
    "halves": lambda u, w, x: jnp.mean((u @ w @ u @ x) ** 2) * u.shape[0] / 2 * 2.0,
    "vmap": lambda u, w, x: jnp.sum(jax.vmap(lambda row: jnp.dot(row, w @ (u @ x)))(u) ** 2),
    "axes": lambda u, w, x: jnp.sum((u[None] @ (w @ u @ x)[None, :, None]).squeeze((0, 2)) ** 2),
    "jit": jax.jit(lambda u, w, x: jnp.sum((u @ w @ u @ x) ** 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", RESTATED)
def test_the_same_function_written_in_another_way_is_the_same_value(name):
    inputs = [Indexed.of(t) for t in (U, W, X)]
    structures = [t.sizes for t in (U, W, X)]
    first = read_indexed(RESTATED["plain"], structures, inputs)
    assert read_indexed(RESTATED[name], structures, inputs) == first
    assert len(first.terms) == 1


def ones(like, dtype):
    return jnp.ones(like.shape, dtype)


def first_place(x):
    return jnp.broadcast_to(jax.lax.iota(int, 1), x.shape)


UNREADABLE = {
    "relu": (lambda u, w, x: jnp.sum(jax.nn.relu(u @ x)), "max .*'max'"),
    "exp": (lambda u, w, x: jnp.sum(jnp.exp(x)), "'exp'"),
    "norm": (lambda u, w, x: jnp.linalg.norm(x), "returns a square root"),
    "norm_cubed": (lambda u, w, x: jnp.linalg.norm(x) ** 3, "square root .*'integer_pow'"),
    "flat": (lambda u, w, x: jnp.sum(u.reshape(-1) ** 2), r"an axis of size m\*n .*'reshape'"),
    "quotient": (lambda u, w, x: jnp.sum(x) / jnp.sum(x**2), "division .*'div'"),
    "triangle": (lambda u, w, x: jnp.sum(jnp.tril(w @ u)), "'ge'"),
    "first_entry": (lambda u, w, x: jnp.sum(u @ w, axis=1)[0], "index into an axis"),
    "last_entry": (lambda u, w, x: x[-1], "index into an axis"),
    "concatenation": (lambda u, w, x: jnp.sum(jnp.concatenate([x, x])), "'concatenate|'stack"),
    "trace": (lambda u, w, x: jnp.trace(u), "sizes m and n.*'eq'"),
    "wide_identity": (lambda u, w, x: jnp.sum(u * jnp.eye(*u.shape)), "sizes m and n.*'eq'"),
    "first_is_any": (
        lambda u, w, x: jnp.sum((jnp.arange(1)[:, None] == jnp.arange(x.size)) * x),
        "comparison .*'eq'",
    ),
    "first_place": (
        lambda u, w, x: jnp.sum((first_place(x) == jnp.arange(x.size)) * x), "comparison .*'eq'",
    ),
    "any_of_truth_values": (
        lambda u, w, x: (ones(x, bool) @ ones(x, bool)) * 1.0, "comparison .*'dot_general'",
    ),
    "short_integers": (
        lambda u, w, x: jnp.sum(ones(x, "uint8"), dtype="uint8") * 1.0, "uint8.*'reduce_sum'",
    ),
    "coarse_accumulation": (
        lambda u, w, x: jnp.dot(x, x, preferred_element_type=jnp.bfloat16) * 1.0, "bfloat16",
    ),
    "padded": (lambda u, w, x: jnp.pad(x, 1) @ jnp.pad(x, 1), "'pad' at sizes that are names"),
    "reversed": (lambda u, w, x: x[::-1] @ x, "'rev' at sizes that are names"),
    "running_sum": (lambda u, w, x: jnp.cumsum(x) @ x, "'cumsum' at sizes that are names"),
    "largest_place": (lambda u, w, x: jnp.argmax(x) * 1.0, "'argmax' at sizes that are names"),
    "one_entry_set": (lambda u, w, x: x.at[0].set(0.0) @ x, "'scatter' at sizes that are names"),
    "half_of_a_size": (lambda u, w, x: (x.size // 2) * jnp.sum(x), r"the size floordiv\(n, 2\)"),
    "n_is_1": (lambda u, w, x: jnp.sum(x) if x.size == 1 else 0.0, "whether n == 1"),
    "m_is_n": (lambda u, w, x: jnp.sum(x) if len(u.T) == 3 else 0.0, "symbolic size"),
    "square": (lambda u, w, x: jnp.sum(x) if u.shape[0] == x.size else 0.0, "whether m == n"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_it_cannot_read_is_named_with_its_line_and_a_next_step(name):
    function, words = UNREADABLE[name]
    with pytest.raises(UnreadableError, match=words) as caught:
        read_indexed(function, [t.sizes for t in (U, W, X)], [Indexed.of(t) for t in (U, W, X)])
    message = str(caught.value)
    assert "bind the sizes" in message or "write the loss without" in message
    assert "test_tensors.py:" in message or name == "norm"  # what is returned has no line


def test_integers_and_truth_values_of_a_named_size_are_read():
    structures, inputs = [X.sizes], [Indexed.of(X)]
    n = read_indexed(lambda x: 1.0 * x.size, structures, inputs)
    assert read_indexed(lambda x: 1.0 * jnp.sum(ones(x, int)), structures, inputs) == n
    nothing = read_indexed(lambda x: x.size - x.size, structures, inputs)
    assert nothing.is_zero


def test_any_text_is_a_name_of_a_size_or_a_tensor():
    strange = Tensor("param", "e", ("lambda", "my size"))
    value = read_indexed(lambda a: jnp.mean(a**2), [strange.sizes], [Indexed.of(strange)])
    assert value.named_sizes == {"lambda", "my size"}
    arrays = {strange: np.arange(6.0).reshape(2, 3)}
    have = contract(value, {"lambda": 2, "my size": 3}, arrays)
    assert have == pytest.approx(np.mean(arrays[strange] ** 2))


def test_random_entries_refute_what_the_normal_form_refutes():
    uw = einsum([(Indexed.of(U), "ai"), (Indexed.of(W), "ib")], "ab")
    assert vanishes_at_random(uw - uw)
    assert not vanishes_at_random(uw - uw.transposed())
    one = einsum([(Indexed.of(U), "ai"), (Indexed.of(U), "ai")], "")
    assert not vanishes_at_random(one - one.scaled(2))


def test_many_equal_factors_are_brought_to_normal_form_quickly():
    square = einsum([(Indexed.of(X), "i"), (Indexed.of(X), "i")], "")
    value = einsum([(square, "")] * 8, "")
    [(term, number)] = value.terms.items()
    assert number == 1 and len(term.components) == 8


def test_a_derivative_rule_is_refused_only_where_the_value_is_differentiated():
    @jax.custom_jvp
    def stopped(x):
        return x

    stopped.defjvp(lambda primals, tangents: (primals[0], 0 * tangents[0]))

    def function(x):
        return jnp.sum(stopped(x) ** 2)

    arguments = (function, [X.sizes], [Indexed.of(X)])
    assert read_indexed(*arguments) == einsum([(Indexed.of(X), "i"), (Indexed.of(X), "i")], "")
    with pytest.raises(UnreadableError, match="a derivative of its own"):
        read_indexed(*arguments, differentiated=True)


def test_exact_numbers_stay_exact_along_axes_of_length_one():
    row = Tensor("param", "v", (1,))
    value = einsum([(Indexed.of(row), "i"), (Indexed.of(row), "i")], "")
    big = np.array([2**60 + 5], dtype=object)
    assert contract(value, {}, {row: big}, number=lambda c: int(c.p)) == (2**60 + 5) ** 2


@pytest.mark.parametrize("edges", [[(0, k) for k in range(1, 11)],
                                   [(c, k) for c in (0, 9) for k in range(1, 9)]])  # fmt: skip
def test_symmetric_expressions_take_no_factorial_time(edges):
    square = Tensor("param", "M", ("n", "n"))
    value = einsum([(Indexed.of(square), edge) for edge in edges], ())
    turned = einsum([(Indexed.of(square), (7 * a, 7 * b)) for a, b in reversed(edges)], ())
    assert value == turned


@pytest.mark.parametrize("spelling", ["ii->i", "ij,ij->i"])
def test_a_diagonal_by_einsum_is_read_at_named_sizes(spelling):
    square = Tensor("given", "A", ("n", "n"))
    other = (lambda a: jnp.eye(a.shape[0]),) if spelling.count(",") else ()
    diagonal = lambda a: jnp.sum(jnp.einsum(spelling, a, *(make(a) for make in other)))
    read = lambda f: read_indexed(f, [square.sizes], [Indexed.of(square)])
    assert read(diagonal) == read(lambda a: jnp.trace(a))
    assert read(diagonal) != read(lambda a: jnp.sum(a))
