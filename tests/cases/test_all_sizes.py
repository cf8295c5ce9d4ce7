"""A sentence about all sizes, where a function asks for its size."""

import jax.numpy as jnp
import pytest

import symtheory as st
from tests.cases.oracles import ask, is_proved, status, verify


@pytest.mark.parametrize(
    "residual, arrays",
    [
        (lambda a: a["x"] - a["x"] if a["x"].shape[0] != 3 else a["x"], {"x": "n"}),
        (
            lambda a: a["A"].sum() if a["A"].shape[:2] == (1, 2) else 0 * a["A"].sum(),
            {"A": ("n", "m")},
        ),
    ],
    ids=["n_is_3", "n_is_1_and_m_is_2"],
)
def test_case_identity_asks_size(residual, arrays):
    assert not is_proved(ask(st.identity, "0", residual, arrays))


def test_case_derive_asks_size():
    def loss(p, z):
        more = (p["W"] ** 2).sum() if p["W"].shape[0] == 5 else 0.0
        return ((p["u"] @ (p["W"] @ z["x"])) ** 2).sum() + more

    model = st.Model(loss, {"u": "h", "W": ("h", "d")}, {"x": st.Normal("d")})
    rescaling = st.Exponential(lambda p: {"u": p["u"], "W": -p["W"]})
    assert status(verify(model.bind(h=5, d=2), rescaling)) == "refuted"
    assert not is_proved(ask(st.derive, model, rescaling))


# --- what an identity can ask of its sizes: 0 except where the condition holds ---

CONDITIONS = {
    "n_is_3": lambda n, m: n == 3,
    "n_is_4": lambda n, m: n == 4,
    "n_is_7": lambda n, m: n == 7,
    "n_is_1": lambda n, m: n == 1,
    "n_is_2": lambda n, m: n == 2,
    "n_is_not_1_nor_2": lambda n, m: n not in (1, 2),
    "n_is_even": lambda n, m: n % 2 == 0,
    "n_above_2": lambda n, m: n > 2,
    "n_above_10": lambda n, m: n > 10,
    "n_above_100": lambda n, m: n > 100,
    "equal": lambda n, m: n == m,
    "n_below_m": lambda n, m: n < m,
    "m_below_n": lambda n, m: m < n,
    "m_is_n_plus_1": lambda n, m: m == n + 1,
    "n_is_1_m_is_2": lambda n, m: (n, m) == (1, 2),
    "n_is_2_m_is_1": lambda n, m: (n, m) == (2, 1),
    "n_is_1_m_is_3": lambda n, m: (n, m) == (1, 3),
    "both_1": lambda n, m: (n, m) == (1, 1),
    "both_2": lambda n, m: (n, m) == (2, 2),
    "product_is_6": lambda n, m: n * m == 6,
    "size_is_large": lambda n, m: n * m > 50,
    "not_coprime": lambda n, m: n % 3 == 0 and m % 3 == 0,
    "remainder_is_true": lambda n, m: not n % 5,
    "difference_is_false": lambda n, m: not n - 9,
    "n_in_a_set": lambda n, m: n in {7, 9},
    "n_is_a_key": lambda n, m: {7: True}.get(n, False),
    "set_of_one_size": lambda n, m: len({n, m}) == 1,
    "n_is_the_largest": lambda n, m: max(n, m, 5) == n,
    "n_is_the_smallest": lambda n, m: min(n, m) == n,
    "written_out": lambda n, m: str((n, m)) == "(7, 5)",
    "formatted": lambda n, m: f"{n}x{m}" == "7x5",
    "n_is_a_float": lambda n, m: n == 7.0,
    "n_is_a_square": lambda n, m: round(n**0.5) ** 2 == n,
    "digits": lambda n, m: len(str(n)) > 1,
    "caught": lambda n, m: _caught(lambda: n > 6),
}


def _caught(question):
    try:
        return question()
    except Exception:
        return False


def _size_of(how, A):
    """Return (n, m) in one of the ways in which a function can ask."""
    return {
        "shape": lambda: A.shape[-2:],
        "len": lambda: (len(A[..., :, 0]) if A.ndim == 2 else A.shape[-2], A.shape[-1]),
        "size": lambda: (A.shape[-2], A.shape[-2] * A.shape[-1] // A.shape[-2]),
        "transposed": lambda: (A.T.shape[1] if A.ndim == 2 else A.shape[-2], A.shape[-1]),
    }[how]()


@pytest.mark.parametrize("name", CONDITIONS)
def test_identity_that_fails_at_some_sizes(name):
    holds = CONDITIONS[name]

    def residual(a):
        A = a["A"]
        return A.sum() if holds(*A.shape[-2:]) else 0 * A.sum()

    assert not is_proved(ask(st.identity, "0", residual, {"A": ("n", "m")}))


@pytest.mark.parametrize("how", ["len", "size", "transposed"])
def test_identity_that_asks_in_other_ways(how):
    def residual(a):
        A = a["A"]
        return A.sum() if _size_of(how, A) == (3, 5) else 0 * A.sum()

    assert not is_proved(ask(st.identity, "0", residual, {"A": ("n", "m")}))


STRUCTURE = {
    # True at the sizes that are usually compared, false in general.
    "first_two_rows": lambda a: (
        a["A"].sum() - sum(a["A"][i].sum() for i in range(min(2, len(a["A"]))))
    ),
    "first_three_rows": lambda a: (
        a["A"].sum() - sum(a["A"][i].sum() for i in range(min(3, a["A"].shape[0])))
    ),
    "small_power": lambda a: (a["A"] * 0).sum() + max(0, a["A"].shape[0] - 3) * a["A"].sum(),
    "other_rows": lambda a: a["A"].sum() - a["A"][0].sum() - sum(row.sum() for row in a["A"][1:4]),
    "last_rows": lambda a: a["A"][-3:].sum() - a["A"].sum(),
    "halves": lambda a: a["A"].reshape(-1, 2).sum() * 0,
    "largest": lambda a: (max(a["A"].shape[0], 3) - 3) * a["A"].sum(),
    "remainder": lambda a: jnp.remainder(a["A"].shape[0], 1) * a["A"].sum(),
    "traced_minimum": lambda a: jnp.minimum(a["A"].shape[0] - 1, 3) // 4 * a["A"].sum(),
    "traced_condition": lambda a: jnp.where(
        jnp.asarray(a["A"].shape[0]) > 6, a["A"].sum(), 0 * a["A"].sum()
    ),
    "round_of_size": lambda a: (a["A"].shape[0] // 4) * a["A"].sum(),
}


@pytest.mark.parametrize("name", STRUCTURE)
def test_identity_that_unrolls_a_loop(name):
    assert not is_proved(ask(st.identity, "0", STRUCTURE[name], {"A": ("n", "m")}))


@pytest.mark.parametrize("condition", [
    lambda n, m, k: n + m == k,
    lambda n, m, k: (n, m, k) == (1, 2, 3),
    lambda n, m, k: n < m < k,
    lambda n, m, k: n * m % k == 0,
    lambda n, m, k: len({n, m, k}) < 3,
    lambda n, m, k: sorted((n, m, k))[1] == 5,
])  # fmt: skip
def test_identity_that_asks_for_three_sizes(condition):
    def residual(a):
        product = (a["A"] @ a["B"]).sum()
        return product if condition(*a["A"].shape, a["B"].shape[1]) else 0 * product

    assert not is_proved(ask(st.identity, "0", residual, {"A": ("n", "m"), "B": ("m", "k")}))


TRUE = {
    "sizes_that_agree": (
        lambda a: (
            jnp.trace(a["A"] @ a["B"]) * (a["A"].shape == a["B"].shape[::-1])
            - jnp.trace(a["B"] @ a["A"])
            if a["A"].shape[0] > 0
            else a["A"].sum()
        ),
        {"A": ("n", "m"), "B": ("m", "n")},
    ),
    "one_less": (
        lambda a: (a["x"].size - 1) * a["x"] - a["x"].size * a["x"] + a["x"],
        {"x": "n"},
    ),
    "trace_of_product": (
        lambda a: jnp.trace(a["A"] @ a["B"]) - jnp.trace(a["B"] @ a["A"]),
        {"A": ("n", "m"), "B": ("m", "n")},
    ),
    "transpose": (
        lambda a: (a["A"] @ a["B"]).T - a["B"].T @ a["A"].T,
        {"A": ("n", "m"), "B": ("m", "k")},
    ),
    "square": (
        lambda a: (
            ((a["x"] + a["y"]) ** 2).sum()
            - (a["x"] ** 2).sum()
            - 2 * (a["x"] * a["y"]).sum()
            - (a["y"] ** 2).sum()
        ),
        {"x": "n", "y": "n"},
    ),
}


@pytest.mark.parametrize("name", TRUE)
def test_true_identities_are_proved(name):
    residual, arrays = TRUE[name]
    assert is_proved(ask(st.identity, name, residual, arrays))


# --- laws derived for all sizes ---

WIDTHS = {
    "h_is_5": lambda h, d: h == 5,
    "h_is_3": lambda h, d: h == 3,
    "h_is_1": lambda h, d: h == 1,
    "h_is_2": lambda h, d: h == 2,
    "h_above_6": lambda h, d: h > 6,
    "h_is_even": lambda h, d: h % 2 == 0,
    "square": lambda h, d: h == d,
    "h_below_d": lambda h, d: h < d,
    "h_is_2_d_is_1": lambda h, d: (h, d) == (2, 1),
    "h_is_4_d_is_2": lambda h, d: (h, d) == (4, 2),
}
WHERE = {
    "h_is_5": (5, 2), "h_is_3": (3, 2), "h_is_1": (1, 2), "h_is_2": (2, 3), "h_above_6": (7, 2),
    "h_is_even": (4, 3), "square": (2, 2), "h_below_d": (2, 3), "h_is_2_d_is_1": (2, 1),
    "h_is_4_d_is_2": (4, 2),
}  # fmt: skip
RESCALING = st.Exponential(lambda p: {"u": p["u"], "W": -p["W"]}, name="rescaling")


def sized(condition):
    def loss(p, z):
        more = (p["W"] ** 2).sum() if condition(*p["W"].shape[-2:]) else 0.0
        return ((p["u"] @ (p["W"] @ z["x"])) ** 2).sum() + more

    return st.Model(loss, {"u": "h", "W": ("h", "d")}, {"x": st.Normal("d")})


@pytest.mark.parametrize("name", WIDTHS)
def test_derive_that_fails_at_some_sizes(name):
    model = sized(WIDTHS[name])
    h, d = WHERE[name]
    assert status(verify(model.bind(h=h, d=d), RESCALING)) == "refuted"
    assert not is_proved(ask(st.derive, model, RESCALING))


@pytest.mark.parametrize("kind", ["parameter", "sample", "constant"])
def test_derive_that_asks_elsewhere(kind):
    def loss(p, z, c):
        size = {"parameter": p["u"], "sample": z["x"], "constant": c["v"]}[kind].shape[-1]
        more = (p["W"] ** 2).sum() if size == 4 else 0.0
        return ((p["u"] @ (p["W"] @ z["x"])) ** 2).sum() + c["v"] @ c["v"] + more

    model = st.Model(
        loss, {"u": "h", "W": ("h", "d")}, {"x": st.Normal("d")}, constants={"v": ("k",)}
    )
    assert not is_proved(ask(st.derive, model, RESCALING))


@pytest.mark.parametrize("threshold", [1, 2, 3, 6, 20])
def test_expectation_that_asks_its_size(threshold):
    # E[f] with f = |x|^2 for sizes up to the threshold and 0 beyond: no closed form in n is right.
    def f(z):
        return (z["x"] ** 2).sum() * (1.0 if z["x"].shape[-1] <= threshold else 0.0)

    found = ask(st.expectation, f, {"x": st.Normal("n")})
    assert found is None, found


@pytest.mark.parametrize("condition", [
    lambda n: n % 2,
    lambda n: n in {4, 7},
    lambda n: str(n) == "7",
    lambda n: max(n, 3) == 3,
    lambda n: n == 7.0,
])  # fmt: skip
def test_expectation_that_asks_in_other_ways(condition):
    def f(z):
        return (z["x"] ** 2).sum() * (1.0 if condition(z["x"].shape[-1]) else 0.0)

    found = ask(st.expectation, f, {"x": st.Normal("n")})
    assert found is None, found


@pytest.mark.parametrize("condition", [
    lambda h: h == 4, lambda h: h > 4, lambda h: h % 2, lambda h: h in {4, 7},
    lambda h: range(h)[3],
])  # fmt: skip
def test_a_symmetry_that_asks_its_size(condition):
    action = lambda p: {"u": (2 if condition(p["u"].shape[0]) else 1) * p["u"], "W": -p["W"]}
    symmetry = st.Exponential(action, name="that asks")
    assert ask(st.derive, sized(lambda h, d: False), symmetry) is None


@pytest.mark.parametrize("judge", [st.verify, st.derive])
def test_open_sizes_are_named_where_numbers_are_needed(judge):
    model = sized(lambda h, d: h > 6)
    with pytest.raises(st.InputError, match=r"model\.bind\(d=\.\.\., h=\.\.\.\)"):
        judge(model, RESCALING)


def test_derive_of_a_net_that_does_not_ask_is_proved():
    model = sized(lambda h, d: False)
    assert is_proved(ask(st.derive, model, RESCALING))
