"""How far a two-layer linear net with isotropic label noise is from its noise equilibrium.

Distance is |N1 - N2| over its scale |N1| + |N2| at equilibrium, N1 = Tr[Sx] U^T Se U and N2 =
Tr[Se] W Sx W^T.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import PchipInterpolator

import symtheory as st
from figures._orbits import axes, net, split, turned

_NOISE = 0.5  # variance of every label's noise


@functools.cache
def problem(seed: int, d: int, length: float) -> dict[str, Any]:
    """Return a net with a start far from balance, and what theory predicts there.

    Args:
        seed: Seed of teacher and covariances.
        d: All widths.
        length: Relaxation times to look ahead.

    Returns:
        "model", "start"; "square", the squared distance as a function of the parameters;
        "relaxation", the slowest rate of the slow flow at T = 1; "slow" and "fluctuation", as
        functions of time in relaxations: the squared distance on the slow flow, and the mean
        square of the fluctuations around it over T.
    """
    rng = np.random.default_rng([seed, d])
    V = (axes(rng, d) * np.linspace(0.8, 1.2, d)) @ axes(rng, d)
    sizes = np.geomspace(0.5, 2.0, d)
    cov_x = turned(2 * sizes / sizes.sum(), axes(rng, d))
    model, symmetry = net(V, cov_x, _NOISE * np.eye(d))
    start = split(V, np.linspace(1.8, 1.2, d))
    flow = st.slow_flow(model, start, symmetry)

    def pair(p: Any) -> Any:
        first = 2.0 * _NOISE * p["U"].T @ p["U"]  # Tr[Sx] = 2
        return first, d * _NOISE * p["W"] @ jnp.asarray(cov_x) @ p["W"].T

    scale = float(sum(np.linalg.norm(side) for side in pair(flow.matrix_equilibrium())))

    def off(p: Any) -> Any:
        first, second = pair(p)
        return (first - second) / scale

    def square(p: Any) -> Any:
        return jnp.sum(off(p) ** 2)

    def fluctuation(p: Any) -> Any:
        """Return the mean square of the first-order fluctuation of `off`, per temperature.

        Isotropic label noise of variance s has Sigma = 2 s H: HK + KH = T Sigma gives K = s T on
        the range of H, which is that of the derivative of U W.
        """
        theta, back = jax.flatten_util.ravel_pytree(p)
        product = lambda t: (back(t)["U"] @ back(t)["W"]).reshape(-1)
        normal = jnp.linalg.qr(jax.jacobian(product)(theta).T)[0]
        slope = jax.jacobian(lambda t: off(back(t)).reshape(-1))(theta)
        return _NOISE * jnp.sum((slope @ normal) ** 2)

    relaxation = flow.stationary().relaxation
    times = length * np.linspace(0, 1, 31) ** 2
    path = flow.integrate(times / relaxation).params
    slow, noise = (np.asarray(jax.lax.map(f, path)) for f in (square, fluctuation))
    return {
        "model": model, "start": start, "square": square, "relaxation": relaxation,
        "slow": PchipInterpolator(times, slow), "fluctuation": PchipInterpolator(times, noise),
    }  # fmt: skip
