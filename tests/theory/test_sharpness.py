"""Sharpness: closed forms of the two-layer net against the Hessian of its loss; warmup."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as hst

import symtheory as st
from symtheory.errors import InputError
from symtheory.theory._gradient_noise import read_gradient_noise
from symtheory.zoo import load

VALUES = json.loads(
    (Path(__file__).resolve().parent.parent / "reference" / "values.json").read_text()
)
EXAMPLE = load("two-layer-linear")


def spd(rng, n):
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return (q * rng.uniform(0.3, 2.0, size=n)) @ q.T


def bound(V, cov_x, cov_eps, h=None):
    return EXAMPLE.model.bind(V=V, Sigma_x=cov_x, Sigma_eps=cov_eps, h=h or min(np.shape(V)))


def some_minimum(model, rng):
    """Factors of V that are far from any special point of the orbit."""
    v = model.values["V"]
    h = model.sizes["h"]
    l, s, r = np.linalg.svd(v)
    n = min(v.shape)
    u, w = np.zeros((v.shape[0], h)), np.zeros((h, v.shape[1]))
    u[:, :n], w[:n] = l[:, :n] * np.sqrt(s), np.sqrt(s)[:, None] * r[:n]
    g = np.eye(h) + 0.4 * rng.normal(size=(h, h))
    return {"U": u @ g, "W": np.linalg.solve(g, w)}


def at_noise_equilibrium(model, params):
    """Rebalance with the noise that the model's own loss has there, from its exact moments."""
    noise = read_gradient_noise(model)
    names = [(label.name, label.index) for label in noise.symbols.of_kind("param").values()]
    at = dict(zip(noise.symbols.of_kind("param"), np.concatenate([p.reshape(-1) for p in (
        params["U"], params["W"])]), strict=True))  # fmt: skip

    def gram(leaf, axis):
        size = params[leaf].shape[axis]
        out = np.zeros((size, size))
        one = noise.symbols.ring.constant(1)
        for i in range(size):
            for j in range(size):
                entries = {
                    (a, b): one
                    for a, (n, x) in enumerate(names)
                    for b, (m, y) in enumerate(names)
                    if n == m == leaf and x[axis] == i and y[axis] == j
                    and x[1 - axis] == y[1 - axis]
                }  # fmt: skip
                value = noise.symbols.to_sympy(noise.trace(entries))
                numbers = {noise.symbols.sympy_symbol(text): x for text, x in at.items()}
                out[i, j] = float(value.subs(numbers))
        return out

    # N1 = U^T Gamma_U U is the noise of the gradient by W, N2 that of the gradient by U.
    x = np.asarray(st.geometric_mean(gram("W", 0), gram("U", 1)))
    values, vectors = np.linalg.eigh(x)
    g = (vectors * np.sqrt(values)) @ vectors.T
    return {"U": params["U"] @ g, "W": np.linalg.solve(g, params["W"])}


CASES = [
    pytest.param(key, phi, marks=[pytest.mark.slow] if phi in ("1", "0.5") else [])
    for key in ("Sigma_x=I, Sigma_eps=diag(phi,1)", "Sigma_x=diag(phi,1), Sigma_eps=I")
    for phi in ("1", "0.5", "0.1", "0.05")
]


@pytest.mark.parametrize(("key", "phi"), CASES)
def test_the_reference_ratios_come_out_of_the_model(key, phi):
    wanted = VALUES["sharpness_ratio_noise_equilibrium_to_norm_balanced"][key][phi]
    scaled = np.diag([float(phi), 1.0])
    cov_x, cov_eps = (np.eye(2), scaled) if key.startswith("Sigma_x=I") else (scaled, np.eye(2))
    model = bound(np.eye(2), cov_x, cov_eps)
    start = some_minimum(model, np.random.default_rng(0))
    noisy = at_noise_equilibrium(model, start)
    balanced = st.rebalance(start, ("U", "W")).params
    found, other = st.sharpness(model, noisy), st.sharpness(model, balanced)
    assert found.exact_loss and found.gradient_norm < 1e-12
    assert round(found.trace / other.trace, 3) == wanted
    closed = st.two_layer_sharpness(np.eye(2), cov_x, cov_eps)
    assert round(closed.ratio, 3) == wanted
    if not key.startswith("Sigma_x=I"):
        wanted = VALUES["norm_ratio_U_over_W, Sigma_x=diag(phi,1), Sigma_eps=I"][phi]
        norms = [np.linalg.norm(noisy[name]) for name in "UW"]
        assert round(norms[0] / norms[1], 3) == wanted
        assert round(closed.noise_equilibrium.norm_ratio, 3) == wanted


def test_both_anisotropies_cancel():
    scaled = np.diag([0.05, 1.0])
    assert st.two_layer_sharpness(np.eye(2), scaled, scaled).ratio == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize(("dy", "dx", "h"), [(2, 3, 2), (3, 2, 2)])
def test_closed_forms_against_the_hessian(dy, dx, h):
    rng = np.random.default_rng(dy)
    v, cov_x, cov_eps = rng.normal(size=(dy, dx)), spd(rng, dx), spd(rng, dy)
    model = bound(v, cov_x, cov_eps, h)
    start = some_minimum(model, rng)
    closed = st.two_layer_sharpness(v, cov_x, cov_eps)
    noises = {
        "noise_equilibrium": (4 * np.trace(cov_x) * cov_eps, 4 * np.trace(cov_eps) * cov_x),
        "norm_balanced": None,
        "minimum": (np.trace(cov_x), dy * cov_x),
    }
    for name, noise in noises.items():
        point = st.rebalance(start, ("U", "W"), noise=noise).params
        found, wanted = st.sharpness(model, point), getattr(closed, name)
        assert found.trace == pytest.approx(wanted.trace, rel=1e-10)
        assert found.largest == pytest.approx(wanted.largest, rel=1e-8)
        u, w = (np.linalg.norm(point[n]) for n in "UW")
        assert u / w == pytest.approx(wanted.norm_ratio, rel=1e-10)
    # The formulas of the theory, written out.
    a, b = np.trace(cov_x), np.trace(cov_eps)
    root = _root
    l, s, r = np.linalg.svd(root(cov_eps) @ v @ root(cov_x), full_matrices=False)
    noise = 2 * dy * math.sqrt(a / b) * s.sum() + 2 * math.sqrt(a * b) * np.trace(
        np.linalg.inv(cov_eps) @ (l * s) @ l.T
    )
    assert closed.noise_equilibrium.trace == pytest.approx(noise, rel=1e-11)
    l, s, r = np.linalg.svd(v, full_matrices=False)
    balanced = 2 * dy * np.trace(np.diag(s) @ r @ cov_x @ r.T) + 2 * a * s.sum()
    assert closed.norm_balanced.trace == pytest.approx(balanced, rel=1e-11)
    nuclear = np.linalg.svd(v @ root(cov_x), compute_uv=False).sum()
    assert closed.minimum.trace == pytest.approx(4 * math.sqrt(dy * a) * nuclear, rel=1e-11)


def _root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values)) @ vectors.T


@settings(max_examples=30, deadline=None)
@given(seed=hst.integers(0, 10**6), dy=hst.integers(1, 4), dx=hst.integers(1, 4))
def test_nothing_on_the_orbit_is_flatter_and_isotropic_noise_is_flattest(seed, dy, dx):
    rng = np.random.default_rng(seed)
    v, cov_x, cov_eps = rng.normal(size=(dy, dx)), spd(rng, dx), spd(rng, dy)
    closed = st.two_layer_sharpness(v, cov_x, cov_eps)
    least = closed.minimum.trace
    assert closed.noise_equilibrium.trace >= least * (1 - 1e-12)
    assert closed.norm_balanced.trace >= least * (1 - 1e-12)
    n = min(dy, dx)
    l, s, r = np.linalg.svd(v, full_matrices=False)
    g = np.eye(n) + rng.normal(size=(n, n))
    u, w = (l * np.sqrt(s)) @ g, np.linalg.solve(g, np.sqrt(s)[:, None] * r)
    trace = 2 * dy * np.trace(w @ cov_x @ w.T) + 2 * np.trace(cov_x) * np.sum(u**2)
    assert trace >= least * (1 - 1e-9)
    same = st.two_layer_sharpness(v, cov_x, rng.uniform(0.1, 5) * np.eye(dy))
    assert same.noise_equilibrium.trace == pytest.approx(same.minimum.trace, rel=1e-11)


def test_isotropic_noise_is_flattest_exactly():
    """S_NE = S_min in exact arithmetic, from the model's own loss at a rational equilibrium."""
    # Sigma_x = diag(1, 49), Sigma_eps = 1, V = diag(5, 5/7): a = 50, |V Sigma_x^(1/2)|_* = 10 and
    # S_min = 4 sqrt(2 * 50) * 10 = 400. U = 1, W = V has 50 U^T U = 2 W Sigma_x W^T.
    model = EXAMPLE.model.bind(h=2, dx=2, dy=2, Sigma_x=np.diag([1, 49]), Sigma_eps=np.eye(2))
    law = st.derive(model, EXAMPLE.symmetries["double-rotation"])
    noise = read_gradient_noise(model)
    ring_names = list(noise.symbols.of_kind("param"))
    entries = [noise.mean[k].derivative(text) for k, text in enumerate(ring_names)]
    trace = sum(entries[1:], entries[0])
    v = {"V_11": 5, "V_22": sympy.Rational(5, 7), "V_12": 0, "V_21": 0}
    w = {"W_11": 5, "W_22": sympy.Rational(5, 7), "W_12": 0, "W_21": 0}
    u = {"U_11": 1, "U_22": 1, "U_12": 0, "U_21": 0}

    def at(expression, numbers):
        return expression.subs({s: numbers[s.name] for s in expression.free_symbols})

    point = {**u, **w, **v}
    assert at(law.noise_trace.sympy(), point) == sympy.zeros(2, 2)
    assert at(noise.symbols.to_sympy(trace), point) == 400
    closed = st.two_layer_sharpness(np.diag([5, 5 / 7]), np.diag([1.0, 49.0]), np.eye(2))
    assert closed.minimum.trace == pytest.approx(400, rel=1e-13)
    # The control: elsewhere on the orbit the noise does not balance, and it is sharper.
    moved = {**point, "U_11": 2, "W_11": sympy.Rational(5, 2)}
    assert at(law.noise_trace.sympy(), moved) != sympy.zeros(2, 2)
    assert at(noise.symbols.to_sympy(trace), moved) > 400


@pytest.mark.slow
def test_lanczos_and_the_trace_against_a_dense_hessian():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(40,))

    def loss(p):
        return jnp.mean((jnp.tanh(x @ p["A"] + p["b"]) @ p["c"] - y) ** 2)

    p = {"A": rng.normal(size=(6, 9)), "b": rng.normal(size=9), "c": rng.normal(size=9)}
    flat, back = jax.flatten_util.ravel_pytree(p)
    hessian = np.asarray(jax.hessian(lambda t: loss(back(t)))(flat))
    found = st.sharpness(loss, p)
    assert found.trace == pytest.approx(np.trace(hessian), rel=1e-11)
    top = np.linalg.eigvalsh(hessian)[-1]
    assert abs(found.largest - top) <= max(found.error, 1e-9 * top)
    assert found.stable_learning_rate == pytest.approx(2 / top)
    assert found.gradient_norm == pytest.approx(
        np.linalg.norm(jax.grad(lambda t: loss(back(t)))(flat))
    )


@pytest.mark.slow
def test_spectra_that_are_hard_for_lanczos():
    def quadratic(eigenvalues):
        q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(len(eigenvalues),) * 2))
        matrix = (q * np.asarray(eigenvalues)) @ q.T
        return lambda t: t @ matrix @ t / 2

    for eigenvalues in ([-3.0, -2.0, -1.0], [2.0] * 5, [0.0, 0.0, 1.0], np.linspace(0.999, 1, 50),
                        np.r_[np.linspace(-50, 1, 70), 1.001]):  # fmt: skip
        n = len(eigenvalues)
        found = st.sharpness(quadratic(eigenvalues), np.ones(n))
        assert found.largest == pytest.approx(max(eigenvalues), rel=1e-7)
        assert found.trace == pytest.approx(np.sum(eigenvalues), rel=1e-9)
    flat = st.sharpness(lambda t: 0.0 * jnp.sum(t), np.ones(3))
    assert flat.largest == 0.0 and flat.stable_learning_rate == math.inf


def test_a_callable_that_cannot_be_hashed():
    class Bowl:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, t):
            return jnp.sum(t**2)

    assert st.sharpness(Bowl(), np.ones(2)).largest == pytest.approx(2.0)


def test_a_loss_without_exact_moments_is_sampled():
    def loss(p, z):
        return (jnp.tanh(p["w"] * z["x"]) - z["x"]) ** 2

    model = st.Model(loss, {"w": (), "v": ()}, random={"x": st.Normal(())})
    found = st.sharpness(model, {"w": 1.0, "v": 0.0}, samples=20_000)
    assert not found.exact_loss
    # d^2/dw^2 of E(tanh(w x) - x)^2 at w = 1, by Gauss-Hermite quadrature.
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    t = np.tanh(nodes)
    second = 2 * ((1 - t**2) ** 2 - (t - nodes) * 2 * t * (1 - t**2)) * nodes**2
    expected = weights @ second / weights.sum()
    assert found.trace == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 2)), np.eye(2), np.eye(2)), "V must be"),
        ((np.eye(2), np.eye(3), np.eye(2)), "cov_x must be"),
        ((np.eye(2), np.eye(2), np.diag([1.0, 0.0])), "cov_eps is not positive definite"),
        ((np.eye(2), np.array([[1.0, 0.5], [0.0, 1.0]]), np.eye(2)), "cov_x is not symmetric"),
    ],
)
def test_bad_covariances(arguments, message):
    with pytest.raises(InputError, match=message):
        st.two_layer_sharpness(*arguments)


def test_bad_points():
    with pytest.raises(InputError, match="gradient is not finite"):
        st.sharpness(lambda t: jnp.sqrt(t), 0.0)
    with pytest.raises(InputError, match=r"one number, but it returns shape \(2,\)"):
        st.sharpness(lambda t: t, np.ones(2))
    with pytest.raises(InputError, match="has shape"):
        st.sharpness(bound(np.eye(2), np.eye(2), np.eye(2)), {"U": np.eye(3), "W": np.eye(2)})


# --- warmup ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dy", "dx"), [(2, 2), (3, 2)])
def test_the_warmup_law_is_derived_exactly(dy, dx):
    """dC/dt = -(4 eta s^2/S)(Tr Sigma_x |u|^2 - d_y w^T Sigma_x w) at U W = V, all symbols."""
    model = EXAMPLE.model.bind(dy=dy, dx=dx, h=1)
    law = st.derive(model, EXAMPLE.symmetries["rescaling"])
    drift = law.drift.sympy()
    by_name = {s.name: s for s in drift.free_symbols}
    u = [by_name[f"U_{i + 1}1"] for i in range(dy)]
    w = [by_name[f"W_1{j + 1}"] for j in range(dx)]
    teacher = {by_name[f"V_{i + 1}{j + 1}"]: u[i] * w[j] for i in range(dy) for j in range(dx)}
    s2 = sympy.Symbol("s2", positive=True)
    labels = {
        by_name[f"Sigma_eps_{i + 1}{j + 1}"]: s2 if i == j else sympy.Integer(0)
        for i in range(dy) for j in range(i, dy) if f"Sigma_eps_{i + 1}{j + 1}" in by_name
    }  # fmt: skip
    sigma = sympy.Matrix(dx, dx, lambda i, j: by_name[f"Sigma_x_{min(i, j) + 1}{max(i, j) + 1}"])
    ours = drift.subs({**teacher, **labels, by_name["gamma"]: 0}, simultaneous=True)
    row = sympy.Matrix([w])
    eta, size = by_name["eta"], by_name["S"]
    wanted = (
        -4
        * eta
        * s2
        / size
        * (sigma.trace() * sum(x**2 for x in u) - dy * (row * sigma * row.T)[0])
    )
    assert sympy.expand(ours - wanted) == 0
    assert sympy.expand(ours + wanted) != 0


def rank_one(rng, dy=3, dx=4, scale=4.0):
    u, w = rng.normal(size=(dy, 1)), rng.normal(size=(1, dx))
    model = bound(u @ w, np.diag(rng.uniform(0.5, 2, dx)), 0.7 * np.eye(dy), h=1)
    return model, {"U": scale * u, "W": w / scale}


def test_warmup_refuses_a_loss_without_the_symmetry_of_the_pair():
    model = st.Model(
        lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2 + 0.1 * p["u"] ** 2,
        {"u": (), "w": ()},
        {"y": st.Normal((), mean=1.0)},
        name="penalized",
    )
    with pytest.raises(InputError, match="penalized has not the symmetry"):
        st.warmup(model, {"u": 2.0, "w": 0.5}, ("u", "w"), learning_rate=0.01)


@pytest.mark.parametrize("scale", [4.0, 0.3])
def test_warmup_of_a_rank_one_net(scale):
    model, start = rank_one(np.random.default_rng(6), scale=scale)
    found = st.warmup(model, start, ("U", "W"), learning_rate=0.01, batch_size=2, within=0.02)
    cov_x, s2 = model.values["Sigma_x"], 0.7
    u, w = start["U"], start["W"]
    expected = -4 * 0.01 * s2 / 2 * (np.trace(cov_x) * np.sum(u**2) - 3 * (w @ cov_x @ w.T).item())
    assert found.rate_of_change == pytest.approx(expected, rel=1e-10)
    # The time against an integration of the Noether flow.
    law = st.derive(model, EXAMPLE.symmetries["rescaling"])
    flow = law.noether_flow(start, [found.time], temperature=0.005)
    target = found.balanced_charge + 0.02 * (found.charge - found.balanced_charge)
    assert flow.charges[-1, 0] == pytest.approx(target, rel=1e-4)
    assert found.steps == pytest.approx(found.time / 0.01)
    # Balance is where the noise flattens most, here with isotropic label noise.
    closed = st.two_layer_sharpness(model.values["V"], cov_x, 0.7 * np.eye(3))
    assert found.after.trace == pytest.approx(closed.minimum.trace, rel=1e-9)
    assert found.after.stable_learning_rate > found.before.stable_learning_rate
    again = st.warmup(model, found.params, ("U", "W"), learning_rate=0.01)
    assert again.time == pytest.approx(0.0, abs=1e-9)


def test_the_stable_rate_is_where_gradient_descent_turns():
    model, start = rank_one(np.random.default_rng(7))
    found = st.warmup(model, start, ("U", "W"), learning_rate=0.01)
    limit = found.before.stable_learning_rate
    mean = jax.jit(jax.grad(lambda p: jnp.mean(jax.vmap(model.evaluate, (None, 0))(p, sample))))
    root = np.sqrt(np.diag(model.values["Sigma_x"]))
    # Samples whose second moment is Sigma_x exactly, without label noise: the population loss.
    sample = {"x": jnp.asarray(np.sqrt(4) * np.diag(root)), "eps": jnp.zeros((4, 3))}
    nudged = {n: x + 1e-6 * np.random.default_rng(8).normal(size=x.shape) for n, x in start.items()}
    for rate, grows in ((0.97 * limit, False), (1.03 * limit, True)):
        p = nudged
        for _ in range(100):
            p = jax.tree.map(lambda x, g, rate=rate: x - rate * g, p, mean(p))
        distance = np.linalg.norm(np.asarray(p["U"] @ p["W"]) - model.values["V"])
        first = np.linalg.norm(nudged["U"] @ nudged["W"] - model.values["V"])
        assert bool(distance > first) == grows


@pytest.mark.slow
def test_warmup_with_a_sampled_loss():
    model, start = rank_one(np.random.default_rng(9))
    exact = st.warmup(model, start, ("U", "W"), learning_rate=0.01)

    def same(p, z, c):
        return jnp.where(z["eps"][0] > -1e9, EXAMPLE.model.loss(p, z, c), 0.0)

    rewritten = st.Model(same, model.params, model.random, model.constants, values=model.values)
    sampled = st.warmup(rewritten, start, ("U", "W"), learning_rate=0.01)
    assert not sampled.before.exact_loss
    assert sampled.time == pytest.approx(exact.time, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": 0.1, "batch_size": 0}, "batch_size must be positive"),
        ({"learning_rate": 0.1, "within": 1.0}, "within is a share"),
        ({"learning_rate": 0.1, "pair": ("U", "V")}, "no leaf 'V'"),
    ],
)
def test_bad_warmup(options, message):
    model, start = rank_one(np.random.default_rng(10))
    arguments = {"pair": ("U", "W"), **options}
    with pytest.raises(InputError, match=message):
        st.warmup(model, start, arguments.pop("pair"), **arguments)


def test_warmup_is_for_one_unit():
    model = bound(np.eye(2), np.eye(2), np.eye(2))
    with pytest.raises(InputError, match="hidden width is 2"):
        st.warmup(model, {"U": np.eye(2), "W": np.eye(2)}, ("U", "W"), learning_rate=0.1)
    zero = {"U": np.zeros((3, 1)), "W": np.ones((1, 4))}
    with pytest.raises(InputError, match="singular"):
        st.warmup(rank_one(np.random.default_rng(0))[0], zero, ("U", "W"), learning_rate=0.1)
