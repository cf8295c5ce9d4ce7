"""A function at sizes that are names: what it may ask of them, and who asks."""

import functools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from symtheory.domains.tensors import Indexed, Tensor, read_indexed
from symtheory.errors import InputError, UnreadableError

A = Tensor("given", "A", ("rows", "columns"))
B = Tensor("given", "B", ("columns", "rows"))


def read(function):
    """Read a function of A and B whose sizes are the names above."""
    return read_indexed(function, [A.sizes, B.sizes], [Indexed.of(A), Indexed.of(B)])


def shape(a):
    return a.shape


@functools.lru_cache
def known_size(n):
    return 3.0 if n == 3 else 1.0


def matched(n):
    match n:
        case 3:
            return 3.0
        case _:
            return 1.0


def caught(n):
    try:
        return n > 2
    except Exception:
        return False


OPEN = {
    # name: (what is asked of the sizes n and m, words of the message)
    "equal_to_a_number": (lambda n, m: n == 7, "whether rows == 7"),
    "number_on_the_left": (lambda n, m: 7 == n, "whether rows == 7"),  # noqa: SIM300
    "unequal": (lambda n, m: n != 7, "whether rows != 7"),
    "equal_to_a_float": (lambda n, m: n == 7.0, r"whether rows == 7\.0"),
    "equal_to_a_numpy_integer": (lambda n, m: np.int64(7) == n, "whether rows == 7"),
    "equal_sizes": (lambda n, m: n == m, "whether rows == columns"),
    "sum": (lambda n, m: n + m == 5, r"whether columns \+ rows == 5|rows \+ columns == 5"),
    "product": (lambda n, m: n * m == 6, r"rows\*columns == 6|columns\*rows == 6"),
    "square": (lambda n, m: n**2 == 9, r"whether rows\^2 == 9"),
    "pair": (lambda n, m: (n, m) == (7, 2), "whether rows == 7"),
    "member_of_a_tuple": (lambda n, m: n in (7, 8), "whether rows == 7"),
    "member_of_a_set": (lambda n, m: n in {7, 8}, "whether rows is a key or a member"),
    "key": (lambda n, m: {7: True}.get(n, False), "whether rows is a key or a member"),
    "set_of_sizes": (lambda n, m: len({n, m}) == 1, "is a key or a member"),
    "set_of_a_list": (lambda n, m: len(set([n, m])) == 1, "is a key or a member"),
    "hash": (lambda n, m: hash(n) == hash(7), "is a key or a member"),
    "index": (lambda n, m: (7, 8).index(n), "whether (7 ==|rows ==)"),
    "match": (lambda n, m: matched(n) == 3.0, "whether rows == 3"),
    "cached": (lambda n, m: known_size(n) == 3.0, "whether rows == 3"),
    "even": (lambda n, m: n % 2 == 0, r"whether mod\(rows, 2\) == 0"),
    "odd": (lambda n, m: n % 2, r"whether mod\(rows, 2\) is 0"),
    "more_than_one": (lambda n, m: n - 1, "whether rows - 1 is 0"),
    "half": (lambda n, m: n // 2, r"whether floordiv\(rows, 2\) is 0"),
    "truth": (lambda n, m: bool(n - m), "is 0"),
    "all_of": (lambda n, m: all((n - 2, m - 2)), "whether rows - 2 is 0"),
    "less": (lambda n, m: n < m, "whether rows < columns"),
    "chain": (lambda n, m: 2 < n <= 5, "whether rows > 2"),
    "caught": (lambda n, m: caught(n), "whether rows > 2"),
    "largest": (lambda n, m: max(n, m) == n, "whether columns > rows"),
    "smallest": (lambda n, m: min(n, 3) == 3, "whether 3 < rows|whether rows > 3"),
    "sorted": (lambda n, m: sorted((n, m))[0] == n, "whether columns < rows"),
    "text": (lambda n, m: str(n) == "7", "for rows as text"),
    "text_of_a_shape": (lambda n, m: str((n, m)) == "(7, 2)", "for rows as text"),
    "formatted": (lambda n, m: f"{n}" == "7", "for rows as text"),
    "integer": (lambda n, m: int(n) == 7, "for rows as an integer"),
    "array_of_sizes": (lambda n, m: np.all(np.array((n, m)) == 2), "whether rows == 2"),
    "traced_number": (lambda n, m: n == jnp.asarray(3), "whether rows == a"),
    "tree": (lambda n, m: jax.tree.all(jax.tree.map(int.__eq__, (n,), (7,))), "symbolic size"),
    "tree_of_operators": (
        lambda n, m: any(jax.tree.leaves(jax.tree.map(lambda x, y: x == y, [n], [7]))),
        "whether rows == 7",
    ),
    "range": (lambda n, m: len(range(n)) == 7, "symbolic size cannot be interpreted"),
    "list": (lambda n, m: len([0] * n) == 7, "rows|symbolic size|multiply"),
    "float": (lambda n, m: float(n) == 7.0, "symbolic size"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("jitted", [False, True], ids=["plain", "jit"])
def test_a_question_without_one_answer_is_refused(name, jitted):
    condition, words = OPEN[name]

    def function(a, b):
        return jnp.sum(a) if condition(*shape(a)) else 0.0 * jnp.sum(a)

    with pytest.raises(UnreadableError, match=words) as refused:
        read(jax.jit(function) if jitted else function)
    message = str(refused.value)
    assert "bind the sizes" in message and "test_questions.py:" in message
    assert "_DimExpr" not in message and "\n" not in message


SETTLED = {
    "itself": lambda n, m: n == n and (n, m) == (n, m),
    "not_itself": lambda n, m: not n != n,  # noqa: SIM202
    "positive": lambda n, m: n > 0 and n >= 1 and n != 0 and m != 0,
    "true": lambda n, m: n and m and n * m and n + m - 1,
    "never_more_than_the_sum": lambda n, m: n < n + m and max(n, n + m) == n + m,
    "one_more": lambda n, m: n + 1 != n and n + 1 > n,
    "no_size": lambda n, m: n != "rows" and n is not None and n != (7,) and n != 2.5,
    "exact_quotient": lambda n, m: (n * m) // m == n and (2 * n) % 2 == 0,
}  # fmt: skip


@pytest.mark.parametrize("name", SETTLED)
def test_a_question_with_one_answer_for_all_sizes_is_answered(name):
    function = lambda a, b: jnp.sum(a) if SETTLED[name](*shape(a)) else 0.0 * jnp.sum(a)
    assert read(function) == read(lambda a, b: jnp.sum(a))


BY_JAX = {
    "static_argument": lambda a, b: (
        jax.jit(lambda x, n: jnp.sum(x) * n, static_argnums=1)(a, a.shape[0]) / a.shape[0]
    ),
    "static_shape": lambda a, b: jnp.sum(jnp.broadcast_to(jnp.sum(a, 0), a.shape)) / a.shape[0],
    "identity": lambda a, b: jnp.sum(jnp.eye(a.shape[0]) @ a),
    "vmap": lambda a, b: jnp.sum(jax.vmap(jnp.sum)(a)),
    "einsum": lambda a, b: jnp.einsum("ij,jk,kl->", a, b, a) * 0 + jnp.einsum("ij->", a),
    "mean": lambda a, b: jnp.mean(a) * a.size,
    "gradient": lambda a, b: jnp.sum(jax.grad(lambda x: jnp.sum(x**2) / 2)(a)),
    "transposes": lambda a, b: jnp.sum(jnp.swapaxes(a.T, 0, 1)),
    "one_less": lambda a, b: a.shape[0] * jnp.sum(a) - (a.shape[0] - 1) * jnp.sum(a),
    "two_less": lambda a, b: (a.size - a.size + 1) * jnp.sum(a),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_JAX)
def test_what_jax_asks_for_itself_is_no_question_of_the_user(name):
    assert read(BY_JAX[name]) == read(lambda a, b: jnp.sum(a))


NUMBERS = {
    "reshape_in_two": lambda a, b: jnp.sum(a.reshape(2, -1)),
    "reshape_by_half": lambda a, b: jnp.sum(a.reshape(a.shape[0] // 2, -1)),
    "split": lambda a, b: jnp.split(a, 2)[0].sum(),
    "rows": lambda a, b: sum(jnp.sum(row) for row in a),
    "loop": lambda a, b: sum(jnp.sum(a[k]) for k in range(a.shape[0])),
    "last_row": lambda a, b: jnp.sum(a[-1]),
    "some_rows": lambda a, b: jnp.sum(a[:3]),
    "strides": lambda a, b: jnp.sum(a[::2]),
    "squeeze": lambda a, b: jnp.sum(jnp.squeeze(a)),
    "wide_identity": lambda a, b: jnp.sum(jnp.eye(*a.shape) * a),
    "second_diagonal": lambda a, b: jnp.sum(jnp.eye(a.shape[0], k=1) @ a),
    "root_in_python": lambda a, b: jnp.sum(a) * a.shape[0] ** 0.5,
    "root_in_numpy": lambda a, b: jnp.sum(a) / np.sqrt(a.shape[0]),
    "zeros_in_numpy": lambda a, b: jnp.sum(a + np.zeros(a.shape)),
    "scan": lambda a, b: jax.lax.scan(lambda c, row: (c + row.sum(), None), 0.0, a)[0],
    "scan_length": lambda a, b: (
        jax.lax.scan(lambda c, _: (c + a.sum(), None), 0.0, None, length=a.shape[0])[0]
    ),
    "fori_loop": lambda a, b: jax.lax.fori_loop(0, a.shape[0], lambda k, c: c + a.sum(), 0.0),
    "cond": lambda a, b: jax.lax.cond(jnp.asarray(a.shape[0]) > 3, jnp.sum, lambda x: 0.0, a),
    "remainder": lambda a, b: (jnp.asarray(a.shape[0]) % 2) * jnp.sum(a),
    "smaller_one": lambda a, b: jnp.minimum(*a.shape) * jnp.sum(a),
    "one_hot": lambda a, b: jnp.sum(jax.nn.one_hot(2, a.shape[0]) @ a),
    "convolution": lambda a, b: jnp.convolve(a[:, 0], jnp.ones(3)).sum(),
    "only_square": lambda a, b: jnp.sum(a + a.T),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_what_needs_a_number_is_refused_with_the_line(name):
    with pytest.raises(UnreadableError, match=r"test_questions\.py:\d+") as refused:
        read(NUMBERS[name])
    message = str(refused.value)
    assert "_DimExpr" not in message and "\n" not in message
    assert "bind the sizes" in message or "without" in message or "fixed number" in message


def test_a_mistake_at_any_sizes_is_the_functions_own():
    with pytest.raises(InputError, match=r"fails at any sizes, such as .*test_questions.*KeyError"):
        read(lambda a, b: {"A": a}["C"])
    with pytest.raises(InputError, match=r"fails at any sizes.*ncompatible shapes"):
        read(lambda a, b: a + jnp.ones((5, 7, 11)) + jnp.ones(3))


def test_symbolic_dimensions_are_as_before_after_a_trace():
    [n] = export.symbolic_shape("n")
    before = {name: getattr(type(n), name, None) for name in ("__eq__", "__hash__", "__str__")}
    with pytest.raises(UnreadableError):
        read(lambda a, b: jnp.sum(a) if a.shape[0] == 7 else 0.0)
    read(lambda a, b: jnp.sum(a))
    assert before == {name: getattr(type(n), name, None) for name in before}
    assert "__bool__" not in vars(type(n))
    assert n != 7 and str(n) == "n" and n in {n}


def test_another_thread_asks_what_it_likes():
    def elsewhere():
        [n] = export.symbolic_shape("n")
        answers.append((n == 7, str(n), bool(n - 1), n in {7}))

    def function(a, b):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return jnp.sum(a)

    answers: list[tuple] = []  # a function is traced at numbers, too
    assert read(function) == read(lambda a, b: jnp.sum(a))
    assert set(answers) == {(False, "n", True, False)}
