"""E2: linear regression with weights u * w: what is left of its symmetry (arXiv 2408.15495)."""

from __future__ import annotations

from typing import Any

import numpy as np

import symtheory as st
from figures import _methods, _spread, _style
from figures._claims import more_than
from figures._spec import Dataset, Numbers, Spec

TITLE = "Reparametrized regression: the degree of symmetry that is left"
CAPTION = (
    "Regression with 16 weights u * w on orthonormal columns; a coordinate is symmetric where "
    "u = w = 0, and its distance from there is |(u, w)|. Half of the coefficients are 3 to 9 "
    "times gamma = 0.1, half are below 0.8 gamma, where the decay prefers collapse. The degree of "
    "symmetry counts coordinates closer than the threshold: means over problems with 95 % bands. "
    "(a) From a generic start; (b) from u = w = 0. Circles: what theory says of syre, from its "
    "bias (R9); dotted: the default sigma_0. Gradient descent, rate 0.1. Beyond the paper: all "
    "thresholds, the decays at the same gamma, and the start at 0."
)
STATEMENTS = ("P2.9", "P2.10")

SIZE, SAMPLES, GAMMA, RATE = 16, 64, 0.1, 0.1
LIMITS = (1e-3, 1e-2, 1e-1)


def _loss(params: Any, batch: Any, key: Any) -> Any:
    import jax.numpy as jnp

    x, y = batch
    return jnp.mean((x @ (params["a"][:, 0] * params["a"][:, 1]) - y) ** 2)


def data(spec: Spec) -> Dataset:
    import optax

    problems, steps = spec.pick(20, 60), spec.pick(4000, 8000)
    rng = spec.rng("E2")
    half = (problems, SIZE // 2)
    strong = rng.uniform(3, 9, size=half) * rng.choice([-1, 1], size=half)
    beta = GAMMA * np.concatenate([strong, rng.uniform(-0.8, 0.8, size=half)], axis=1)
    x = np.linalg.qr(rng.normal(size=(problems, SAMPLES, SIZE)))[0] * SAMPLES**0.5
    batch = (x, np.einsum("psi,pi->ps", x, beta))
    generic = rng.normal(size=(problems, SIZE, 2)) / 2
    optimizer, found = optax.sgd(RATE), {}
    for name, start in (("generic", generic), ("zero", 0 * generic)):
        nets = _methods.prepared(_methods.five(GAMMA), {"a": start}, spec.key("methods"))
        end, path = _methods.trained(
            nets, _loss, optimizer, batch, spec.key("batches"), steps=steps, records=8, own=True
        )
        weights = np.asarray(_methods.weights(end)["a"], float)
        found[f"{name}_distance"] = np.linalg.norm(weights, axis=-1)
        found[f"{name}_loss"] = path["loss"][..., -1]
        bias = np.asarray(nets.center["a"], float)[_methods.METHODS.index("syre")]
    return {**found, "theory": _forecast(beta, bias), "beta": beta}


def _forecast(beta: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return |(u, w)| at rest: decay towards a small bias, for each coordinate by itself.

    With s, t = (u + w)/sqrt 2, (u - w)/sqrt 2 the loss is ((s^2 - t^2)/2 - m)^2 and a decay. Where
    |m| < gamma it is quadratic near 0 and s = gamma b_s/(gamma - m), t = gamma b_t/(gamma + m);
    elsewhere s^2 or t^2 is 2(|m| - gamma), whatever the bias.
    """
    s, t = (bias[..., 0] + bias[..., 1]) / 2**0.5, (bias[..., 0] - bias[..., 1]) / 2**0.5
    collapsed = np.abs(beta) < GAMMA
    m = np.where(collapsed, beta, 0)
    low = np.hypot(GAMMA * s / (GAMMA - m), GAMMA * t / (GAMMA + m))
    return np.where(collapsed, low, np.sqrt(2 * np.maximum(np.abs(beta) - GAMMA, 0)))


def draw(dataset: Dataset) -> Any:
    figure, axes = _style.panels(2, width=_style.TEXT, height=2.3)
    limits = np.geomspace(1e-4, 3, 80)
    theory, _ = _spread.interval(_spread.below(dataset["theory"], limits), axis=0)
    for panel, start in zip(axes, ("generic", "zero"), strict=True):
        for i, method in enumerate(_methods.METHODS):
            look = _style.METHODS[method]
            mean, half = _spread.interval(
                _spread.below(dataset[f"{start}_distance"][i], limits), axis=0
            )
            panel.plot(limits, mean, **look.plot())
            panel.fill_between(limits, mean - half, mean + half, **look.band())
        panel.plot(
            limits, theory, "o", color="black", markersize=3, markerfacecolor="none", markevery=4,
            label="theory of syre (R9)",
        )  # fmt: skip
        panel.axvline(0.01 / 2**0.5, color="black", linestyle=":", linewidth=1)
        panel.set(xscale="log", xlabel="threshold", ylabel="degree of symmetry")
        panel.set(ylim=(-0.5, SIZE + 0.8), yticks=range(0, SIZE + 1, 4))
    axes[0].set_title("generic start")
    axes[1].set_title("start at u = w = 0")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=6,
        columnspacing=0.9, handletextpad=0.4, handlelength=1.8, fontsize=6.8,
    )  # fmt: skip
    _style.letters(axes)
    return figure


def numbers(dataset: Dataset) -> Numbers:
    named = {name: i for i, name in enumerate(_methods.METHODS)}
    degree = {s: _spread.below(dataset[f"{s}_distance"], LIMITS) for s in ("generic", "zero")}
    forecast = _spread.below(dataset["theory"], LIMITS)
    theory = [
        st.equivalence(
            f"R9: degree of symmetry of syre at {limit:g}, {start} start, less the forecast", 0.0,
            st.mean_over_replicas(degree[start][named["syre"], :, k] - forecast[:, k]),
            margin=0.4,
        )
        for start in ("generic", "zero")
        for k, limit in enumerate(LIMITS)
    ]  # fmt: skip
    theory += [
        st.equivalence(
            f"R3: degree of symmetry of {method} from u = w = 0", float(SIZE),
            st.mean_over_replicas(degree["zero"][named[method], :, 0]), margin=0.1,
        )
        for method in ("none", "plain decay", "decay to init")
    ]  # fmt: skip
    plain, syre = (degree["generic"][named[m]] for m in ("plain decay", "syre"))
    claims = tuple(
        more_than(
            f"degree of symmetry at {limit:g}, plain decay less syre", plain[:, k] - syre[:, k], 1.0
        )
        for k, limit in enumerate(LIMITS)
    )
    rows = [
        {
            "start": start,
            "method": method,
            **{f"below {t:g}": _spread.text(degree[start][i, :, k]) for k, t in enumerate(LIMITS)},
            "loss": _spread.text(dataset[f"{start}_loss"][i], 4),
        }
        for start in ("generic", "zero")
        for i, method in enumerate(_methods.METHODS)
    ]
    return Numbers(theory=tuple(theory), claims=claims, rows=tuple(rows))
