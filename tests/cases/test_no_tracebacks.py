"""Legal models get an answer or one sentence; an internal error of the command line is 70."""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symtheory as st
from tests.cases.oracles import (
    ask,
    assert_proved_generators_hold,
    assert_right,
    change,
    conservation_laws,
    discover,
    draw,
    is_proved,
    reflections,
    verify,
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


# --- legal losses of two parameters: an answer or one sentence, and nothing that is false ---
#
# Each is a function of u (3,) and of the sample x (3,), y (); where it is also said to be
# invariant or not, that is decided by evaluation.

A33 = jnp.array([[2.0, 0.3, 0.1], [0.3, 1.5, 0.2], [0.1, 0.2, 1.0]])


def _associative(u):
    return jax.lax.associative_scan(jnp.multiply, u)[-1]


def _custom_root(u):
    solve = lambda g, y: y / g(1.0)
    f = lambda x: x**3 + x - jnp.sum(u)
    return jax.lax.custom_root(f, 0.0, lambda f, x0: x0 + f(x0) / -4.0, solve)


def _newton(u):
    return jax.lax.fori_loop(0, 5, lambda i, r: 0.5 * (r + (1 + u @ u) / r), 1.0)


def _while(u):
    return jax.lax.while_loop(lambda c: c[0] < 4, lambda c: (c[0] + 1, c[1] * u[0]), (0, 1.0))[1]


def _scan_empty(u):
    return jax.lax.scan(lambda c, x: (c * x, None), jnp.sum(u), jnp.zeros((0,)))[0]


BODIES = {
    "while_loop": lambda u, x, y: _while(u) * y,
    "fori_loop": lambda u, x, y: _newton(u) * y,
    "scan": lambda u, x, y: jax.lax.scan(lambda c, a: (c * a, c), 1.0, u)[0] * y,
    "scan_empty": lambda u, x, y: _scan_empty(u) * y,
    "associative_scan": lambda u, x, y: _associative(u) * y,
    "cond": lambda u, x, y: jax.lax.cond(y > 0, lambda: u @ x, lambda: u @ u),
    "switch": lambda u, x, y: jax.lax.switch(
        jnp.clip(y, 0, 2).astype(int), [lambda: u @ x, lambda: u @ u, lambda: u[0]]
    ),
    "custom_root": lambda u, x, y: _custom_root(u) * y,
    "sort": lambda u, x, y: jnp.sort(u) @ x,
    "top_k": lambda u, x, y: jax.lax.top_k(u, 2)[0].sum() * y,
    "argmax": lambda u, x, y: u[jnp.argmax(x)] * y,
    "argmax_of_parameter": lambda u, x, y: x[jnp.argmax(u)] * y + u @ x,
    "cumsum": lambda u, x, y: jnp.cumsum(u) @ x,
    "cumprod": lambda u, x, y: jnp.cumprod(u) @ x,
    "fft": lambda u, x, y: jnp.abs(jnp.fft.fft(u)).sum() * y,
    "convolve": lambda u, x, y: jnp.convolve(u, x)[1] * y,
    "conv_dilated": lambda u, x, y: jax.lax.conv_general_dilated(
        x[None, None], u[None, None], (1,), [(2, 2)], lhs_dilation=(2,), rhs_dilation=(2,)
    ).sum(),
    "reduce_window_max": lambda u, x, y: jax.lax.reduce_window(
        u * x, -jnp.inf, jax.lax.max, (2,), (1,), "SAME"
    ).sum(),
    "reduce_precision": lambda u, x, y: jax.lax.reduce_precision(u, 8, 7) @ x,
    "solve": lambda u, x, y: jnp.linalg.solve(A33 + jnp.outer(u, u), x)[0] * y,
    "det": lambda u, x, y: jnp.linalg.det(A33 + jnp.outer(u, x)) * y,
    "eigh": lambda u, x, y: jnp.linalg.eigvalsh(A33 + jnp.outer(u, u)).max() * y,
    "svd": lambda u, x, y: jnp.linalg.svd(jnp.outer(u, x) + A33, compute_uv=False)[0] * y,
    "norm": lambda u, x, y: jnp.linalg.norm(u) * y,
    "complex": lambda u, x, y: jnp.abs(u[0] + 1j * u[1]) * y,
    "erf": lambda u, x, y: jax.lax.erf(u @ x),
    "lgamma": lambda u, x, y: jax.lax.lgamma(1 + (u @ x) ** 2),
    "bessel": lambda u, x, y: jax.lax.bessel_i0e(u @ x),
    "power": lambda u, x, y: (1 + u[0] ** 2) ** u[1] * y,
    "mod": lambda u, x, y: jnp.mod(u @ x, 1.0) + u @ u,
    "nextafter": lambda u, x, y: jnp.nextafter(u, 10.0) @ x,
    "is_finite": lambda u, x, y: jnp.where(jnp.isfinite(u), u, 0.0) @ x,
    "bits": lambda u, x, y: ((x * 8).astype(int) & 3).astype(float) @ u,
    "bool_all": lambda u, x, y: (
        jnp.where(jnp.all(u[:, None] <= u[None, :], axis=1), u, 0).sum() * y
    ),
    "one_hot": lambda u, x, y: jax.nn.one_hot(jnp.abs(y).astype(int), 3) @ u,
    "index_by_sample": lambda u, x, y: u[jnp.abs(y).astype(int) % 3] * x[0],
    "index_out_of_range": lambda u, x, y: u[jnp.abs(10 * y).astype(int)] * x[0],
    "scatter_by_sample": lambda u, x, y: (
        jnp.zeros(5).at[jnp.abs(x).astype(int) % 5].add(u) @ jnp.arange(5.0)
    ),
    "bincount": lambda u, x, y: (
        jnp.bincount(jnp.abs(x).astype(int), weights=u, length=4) @ jnp.arange(4.0)
    ),
    "logsumexp_where": lambda u, x, y: jax.nn.logsumexp(u, where=x > 0),
    "float32": lambda u, x, y: (u.astype(jnp.float32) @ x.astype(jnp.float32)).astype(float),
    "integers": lambda u, x, y: u.astype(int).astype(float) @ x + u @ u,
    "random_inside": lambda u, x, y: u @ jax.random.normal(jax.random.key(0), (3,)),
    "pure_callback": lambda u, x, y: jax.pure_callback(
        lambda a: np.asarray(a), jax.ShapeDtypeStruct((), u.dtype), u @ x
    ),
    "hessian_inside": lambda u, x, y: jax.hessian(lambda a: (a @ u) ** 2)(x)[0, 1] * y,
    "linear_solve": lambda u, x, y: jax.scipy.sparse.linalg.cg(
        lambda v: A33 @ v + u**2 * v, x, maxiter=3
    )[0].sum(),
    "constant": lambda u, x, y: 3.0 * y,
    "zero": lambda u, x, y: 0.0 * (u @ x),
    "huge": lambda u, x, y: 1e300 * (u @ x) * 1e300,
    "infinite": lambda u, x, y: jnp.inf * (u @ u),
    "nan": lambda u, x, y: jnp.nan * (u @ u),
    "size_0_axis": lambda u, x, y: jnp.sum(u[:0]) + jnp.sum(jnp.ones((0, 3)) @ u) + u @ x,
    "size_1_axes": lambda u, x, y: (u[None, :, None] * x[:, None, None].T).sum(),
    "pad_negative": lambda u, x, y: jax.lax.pad(u, 0.0, ((-1, 2, 1),)).sum() * y,
    "clamp_bounds_of_parameters": lambda u, x, y: jax.lax.clamp(u[0], y, u[1]),
}


def of(name):
    body = BODIES[name]
    return st.Model(
        lambda p, z: (body(p["u"], z["x"], z["y"]) - z["y"]) ** 2,
        {"u": (3,)},
        {"x": st.Normal(3), "y": st.Normal(())},
        name=name,
    )


@functools.cache
def model_of(name):
    model = ask(of, name)
    if model is None:
        pytest.skip("the model itself is refused in one sentence")
    return model


def far(model):
    return [draw(model, seed=n, scale=s) for n, s in enumerate((0.1, 1.0, 7.0, 60.0))]


@pytest.mark.parametrize("name", BODIES)
def test_discover_answers(name):
    model = model_of(name)
    found = discover(model, seconds=10)
    assert_proved_generators_hold(found, model, far(model), times=(-0.2, 0.3), tolerance=1e-4)


@pytest.mark.parametrize("name", BODIES)
def test_conservation_laws_answer(name):
    laws = conservation_laws(model_of(name), seconds=10)
    assert laws is None or 0 <= laws.lower <= laws.upper <= 3


@pytest.mark.parametrize("name", BODIES)
def test_reflections_answer(name):
    model = model_of(name)
    for item in reflections(model, seconds=10) or ():
        assert item.verdict.status.holds
        for params, sample in far(model):
            after = item.reflection.apply(jax.tree.map(jnp.asarray, params))
            assert change(model.loss, params, after, sample) < 1e-4, item.name


@pytest.mark.parametrize("name", BODIES)
def test_verify_answers(name):
    # The scaling of u is a symmetry only where a finite scaling leaves every value.
    model = model_of(name)
    scaling = st.Exponential(lambda p: p, name="scaling of u")
    flip = st.Reflection(lambda p: p, name="flip of u")
    scaled, flipped = verify(model, scaling, seconds=10), verify(model, flip, seconds=10)
    for params, sample in far(model):
        if is_proved(scaled):
            after = {"u": 1.7 * params["u"]}
            assert change(model.loss, params, after, sample) < 1e-6
        if is_proved(flipped):
            after = {"u": -params["u"]}
            assert change(model.loss, params, after, sample) < 1e-6


# --- legal shapes and structures ---

TREES = {
    "scalar": ((), lambda p: p),
    "vector": ((3,), lambda p: p.sum()),
    "list": ([(2,), ()], lambda p: p[0].sum() * p[1]),
    "tuple": (((2,), (2,)), lambda p: p[0] @ p[1]),
    "nested": ({"a": [{"b": ()}, (2,)]}, lambda p: p["a"][0]["b"] * p["a"][1].sum()),
    "size_1": ({"a": (1, 1, 1), "b": (1,)}, lambda p: p["a"].sum() * p["b"][0]),
    "empty_leaf": ({"a": (0,), "b": (), "c": ()}, lambda p: p["a"].sum() + p["b"] * p["c"]),
    "empty_matrix": (
        {"a": (2, 0), "b": (0, 3), "c": ()},
        lambda p: (p["a"] @ p["b"]).sum() + p["c"],
    ),
    "rank_5": ({"a": (1, 2, 1, 2, 1), "b": ()}, lambda p: p["a"].sum() * p["b"]),
    "integer_keys": ({0: (), 1: ()}, lambda p: p[0] * p[1]),
    "arrays": ({"a": np.ones(2), "b": np.ones(())}, lambda p: p["a"].sum() * p["b"]),
}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("with_sample", [True, False])
def test_any_tree_of_parameters(name, with_sample):
    params, read = TREES[name]
    random = {"y": N} if with_sample else {}
    target = (lambda z: z["y"]) if with_sample else (lambda z: 1.0)
    model = ask(st.Model, lambda p, z: (read(p) - target(z)) ** 2, params, random)
    assert model is not None
    assert discover(model) is not None
    conservation_laws(model)
    reflections(model)
    scaling = st.Exponential(lambda p: p, name="scaling")
    assert not is_proved(verify(model, scaling))


@pytest.mark.parametrize("name", TREES)
def test_certify_any_tree_of_parameters(name):
    params, read = TREES[name]
    model = st.Model(lambda p, z: (read(p) - z["y"]) ** 2, params, {"y": N})
    removed = ask(st.remove_symmetries, model, weight_decay=0.1, sigma0=0.1, key=0)
    if removed is not None:
        ask(st.certify, removed, seconds=10)


DATA = {
    "floats": np.linspace(-1, 1, 6),
    "float32": np.linspace(-1, 1, 6).astype(np.float32),
    "integers": np.arange(6),
    "bools": np.arange(6) % 2 == 0,
    "uint8": np.arange(6, dtype=np.uint8),
    "one_row": np.array([0.5]),
    "equal_rows": np.ones(6),
    "zeros": np.zeros(6),
    "huge": np.array([1e300, -1e300, 1.0]),
    "tiny": np.array([1e-300, 1e-320, 0.0]),
    "matrix_rows": np.arange(12.0).reshape(6, 2),
    "empty_rows": np.zeros((6, 0)),
    "size_1_rows": np.arange(6.0).reshape(6, 1, 1),
    "negative_zero": np.array([0.0, -0.0, 1.0]),
}


@pytest.mark.parametrize("name", DATA)
def test_any_data_set(name):
    # (u w + sum of a row)^2 - the rescaling of u against w is one, whatever the rows are.
    model = ask(
        st.Model,
        lambda p, z: (p["u"] * p["w"] - jnp.sum(1.0 * z["y"])) ** 2,
        S,
        st.Empirical({"y": DATA[name]}),
    )
    assert model is not None
    found = discover(model)
    assert found is None or found.total == 1 or found.status is st.Status.INCONCLUSIVE
    laws = conservation_laws(model)
    assert laws is None or laws.lower <= 1 <= laws.upper
    reflections(model)
    ask(st.derive, model, st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}))


# --- the command line ---


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command in this process; anything but an exit is a failure."""
    from symtheory.cli import main

    def call(*arguments):
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(sys, "argv", ["symtheory", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        except BaseException as error:
            pytest.fail(f"the command line let {type(error).__name__} through")
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


BROKEN = {
    "derive": ("symtheory.theory", "derive", ["scalar-factor"]),
    "simulate": ("symtheory.simulation", "simulate", ["scalar-factor", "--steps", "5"]),
}


@pytest.mark.parametrize(
    "error", [IndexError, ValueError, AssertionError, RecursionError, MemoryError]
)
@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "text"])
def test_every_internal_error_of_discover_is_70(error, options, monkeypatch, command):
    import symtheory.symmetry

    def broken(*arguments, **settings):
        raise error("made for this test")

    monkeypatch.setattr(symtheory.symmetry, "discover", broken)
    code, out, err = command("discover", "scalar-factor", *options)
    assert code == 70
    assert error.__name__ in out + err
    if options:
        assert json.loads(out)["schema_version"]


@pytest.mark.parametrize("part", ["reflections", "conservation_laws"])
def test_an_internal_error_of_a_part_of_discover_is_70(part, monkeypatch, command):
    import symtheory.symmetry

    def broken(*arguments, **settings):
        raise IndexError("made for this test")

    monkeypatch.setattr(symtheory.symmetry, part, broken)
    assert command("discover", "scalar-factor", "--json")[0] == 70


@pytest.mark.parametrize("name", ["derive", "simulate"])
def test_an_internal_error_of_a_command_is_70(name, monkeypatch, command, tmp_path):
    import importlib

    module, function, arguments = BROKEN[name]

    def broken(*given, **settings):
        raise IndexError("made for this test")

    monkeypatch.setattr(importlib.import_module(module), function, broken)
    monkeypatch.chdir(tmp_path)
    assert command(name, *arguments, "--json")[0] == 70


def test_an_error_inside_the_users_loss_is_not_an_internal_one(command, tmp_path):
    # The loss fails when it is called: the user can act on it, so it is usage (2), in a sentence.
    path = tmp_path / "failing.py"
    path.write_text(
        "import symtheory as st\n"
        "def loss(p, z):\n    raise RuntimeError('not ready')\n"
        "model = st.Model(loss, {'u': (), 'w': ()}, {'y': st.Normal(())})\n"
    )
    code, out, err = command("discover", f"{path}:model", "--json")
    assert code == 2
    assert "not ready" in out + err


@pytest.mark.parametrize(
    "body",
    ["p['u'] * float('nan')", "p['u'] / 0.0", "p['u'] * float('inf')"],
    ids=["nan", "over_zero", "infinite"],
)
def test_a_loss_without_a_number_is_not_refuted_by_a_crash(body, command, tmp_path):
    path = tmp_path / "undefined.py"
    path.write_text(
        "import symtheory as st\n"
        f"model = st.Model(lambda p, z: ({body}) * p['w'], {{'u': (), 'w': ()}}, "
        "{'y': st.Normal(())})\n"
    )
    code, out, _ = command("discover", f"{path}:model", "--json", "--budget", "10")
    assert code in (2, 3)
    if code == 3:
        assert json.loads(out)["conservation_laws"]["status"] == "inconclusive"
