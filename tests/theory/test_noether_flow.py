"""The Noether flow against what can be solved by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from symtheory.data import Normal
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.symmetry import Exponential
from symtheory.theory import derive
from symtheory.zoo import load


@pytest.fixture(scope="module")
def scale():
    example = load("scale-invariant")
    return derive(example.sized(d=4), example.symmetries["scale"])


def test_scale_invariance_without_decay(scale):
    """|theta|^4 = |theta_0|^4 + 4 sigma^2 s t, with sigma^2 = T/2 and s = d - 1."""
    temperature, times = 0.3, np.array([0.0, 0.5, 2.0, 10.0, 50.0])
    flow = scale.noether_flow({"w": np.array([1.0, 0, 2.0, 0])}, times, temperature=temperature)
    expected = 25 + 4 * (temperature / 2) * 3 * times
    np.testing.assert_allclose(flow.charges[:, 0] ** 2, expected, rtol=1e-6)
    assert not np.allclose(
        flow.charges[:, 0] ** 2, 25 + 2 * (temperature / 2) * 3 * times, rtol=0.05
    )
    # The direction stays, only the length grows.
    np.testing.assert_allclose(flow.params["w"] / np.linalg.norm(flow.params["w"]),
                               np.array([1, 0, 2, 0]) / np.sqrt(5), atol=1e-7)  # fmt: skip
    np.testing.assert_allclose(flow.scales, flow.charges)  # |theta| |A theta| with A = 1


@pytest.mark.parametrize("start", [0.3, 3.0])
def test_scale_invariance_with_decay(scale, start):
    temperature, decay, s = 0.2, 0.05, 3
    params, times = {"w": start * np.ones(4) / 2}, np.array([1.0, 5.0, 200.0])
    flow = scale.noether_flow(params, times, temperature=temperature, weight_decay=decay)
    fixed = temperature * s / (4 * decay)  # sigma^2 s / (2 gamma)
    # C' = -4 gamma C + T s / C is linear in C^2.
    expected = fixed + (start**4 - fixed) * np.exp(-8 * decay * times)
    np.testing.assert_allclose(flow.charges[:, 0] ** 2, expected, rtol=1e-5)
    # The terms of a discrete step move the fixed point by 1/(1 - eta gamma).
    eta = 0.5
    stepped = scale.noether_flow(
        params, times, temperature=temperature, weight_decay=decay, learning_rate=eta
    )
    np.testing.assert_allclose(stepped.charges[-1, 0] ** 2, fixed / (1 - eta * decay), rtol=1e-5)


# --- two-layer linear net ------------------------------------------------------------------------


def linear_law(dy, h, dx, sigma_x, sigma_eps, teacher):
    example = load("two-layer-linear")
    model = example.sized(dy=dy, h=h, dx=dx).bind(Sigma_x=sigma_x, Sigma_eps=sigma_eps, V=teacher)
    return derive(model, example.symmetries["double-rotation"])


SIGMA_X, SIGMA_EPS = np.diag([1.0, 2.0]), 0.5 * np.eye(2)
TEACHER = np.array([[1.0, 0.3], [-0.2, 0.7]])


def test_two_layer_linear_forgets_its_initialization():
    law = linear_law(2, 2, 2, SIGMA_X, SIGMA_EPS, TEACHER)
    rng = np.random.default_rng(0)
    ends = []
    for _ in range(3):
        start = {"U": rng.normal(size=(2, 2)), "W": rng.normal(size=(2, 2))}
        flow = law.noether_flow(start, [0.0, 400.0], temperature=0.02)
        u, w = flow.params["U"], flow.params["W"]
        np.testing.assert_allclose(u @ w, TEACHER, atol=1e-5)
        # Tr Sigma_x U^T Sigma_eps U = Tr Sigma_eps W Sigma_x W^T
        left = np.trace(SIGMA_X) * u.T @ SIGMA_EPS @ u
        right = np.trace(SIGMA_EPS) * w @ SIGMA_X @ w.T
        np.testing.assert_allclose(left, right, atol=1e-5)
        assert np.max(np.abs(u.T @ u - w @ w.T)) > 1e-2  # control: not norm balance
        ends.append((np.trace(u.T @ u), np.trace(w @ w.T)))
        assert flow.gradient_norm < 1e-5
    # The closed form of the equilibrium: Gamma_U^(1/2) V Gamma_W^(1/2) = L S R.
    gamma_u, gamma_w = 4 * np.trace(SIGMA_X) * SIGMA_EPS, 4 * np.trace(SIGMA_EPS) * SIGMA_X
    root_u, root_w = scipy.linalg.sqrtm(gamma_u), scipy.linalg.sqrtm(gamma_w)
    left, middle, right = np.linalg.svd(root_u @ TEACHER @ root_w)
    expected = (
        np.trace(np.linalg.inv(gamma_u) @ left @ np.diag(middle) @ left.T),
        np.trace(np.linalg.inv(gamma_w) @ right.T @ np.diag(middle) @ right),
    )
    np.testing.assert_allclose(ends, [expected] * 3, rtol=1e-4)


def test_without_noise_the_charge_is_conserved():
    law = linear_law(2, 3, 2, SIGMA_X, SIGMA_EPS, TEACHER)
    rng = np.random.default_rng(1)
    start = {"U": rng.normal(size=(2, 3)), "W": rng.normal(size=(3, 2))}
    flow = law.noether_flow(start, [0.0, 1.0, 20.0], temperature=0.0)
    np.testing.assert_allclose(flow.charges[1:], flow.charges[[0, 0]], atol=1e-5)
    decayed = law.noether_flow(start, [0.0, 1.0, 5.0], temperature=0.0, weight_decay=0.1)
    factor = np.exp(-4 * 0.1 * np.array([0.0, 1.0, 5.0]))[:, None]
    np.testing.assert_allclose(decayed.charges, factor * flow.charges[0], rtol=1e-5, atol=1e-6)


def test_the_rate_of_the_flow_is_the_drift():
    """A short flow changes every charge at the rate of the law, far from a minimum as well."""
    law = linear_law(2, 2, 2, SIGMA_X, SIGMA_EPS, TEACHER)
    rng = np.random.default_rng(2)
    start = {"U": jnp.asarray(rng.normal(size=(2, 2))), "W": jnp.asarray(rng.normal(size=(2, 2)))}
    h = 1e-4
    flow = law.noether_flow(start, [0.0, h], temperature=0.1, weight_decay=0.2)
    rate = law.layout.arrange_numbers(jnp.asarray((flow.charges[1] - flow.charges[0]) / h))
    drift = law.drift.callable()(start, learning_rate=0.1, batch_size=1, weight_decay=0.2)
    np.testing.assert_allclose(rate, drift, rtol=2e-2, atol=2e-2)


def test_formal_moments_are_averaged_over_a_pool():
    model = Model(
        lambda p, z: (p["u"] * jax.nn.relu(p["w"] * z["x"]) - z["y"]) ** 2,
        {"u": (), "w": ()},
        {"x": Normal(()), "y": Normal(())},
    )
    law = derive(model, Exponential(lambda p: {"u": -p["u"], "w": p["w"]}))
    flow = law.noether_flow({"u": 1.0, "w": 0.5}, [0.0, 0.1], temperature=0.01)
    start = float(
        law.drift.callable()({"u": 1.0, "w": 0.5}, learning_rate=0.01, batch_size=1, weight_decay=0)
    )
    assert flow.charges.shape == (2, 1)
    assert np.sign(flow.charges[1, 0] - flow.charges[0, 0]) == np.sign(start)


def test_wrong_input_is_refused(scale):
    with pytest.raises(InputError, match="structure"):
        scale.noether_flow({"v": np.ones(4)}, [1.0], temperature=0.1)
    with pytest.raises(InputError, match="NaN"):
        scale.noether_flow({"w": np.full(4, np.nan)}, [1.0], temperature=0.1)
    with pytest.raises(InputError, match=r"\(3,\)"):
        scale.noether_flow({"w": np.ones(3)}, [1.0], temperature=0.1)
