"""F3: norm balance and sharpness as the inputs become anisotropic (arXiv 2402.07193, sharpness)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

import symtheory as st
from figures import _style
from figures._decisions import above, at_most, below, finished, limit
from figures._ensembles import half_width, interval
from figures._spec import Dataset, Numbers, Spec

TITLE = "Noise balance is not norm balance, and flattens"
CAPTION = (
    "y = x + eps fitted by U W (all sizes 2), batches of one. (a) |U|/|W| for Sigma_x = diag(phi, "
    "1), Sigma_eps = 1. (b) The trace of the Hessian over that of the norm-balanced solution, for "
    "the same, and (dotted) for Sigma_x = 1, Sigma_eps = diag(phi, 1): noise can flatten and can "
    "sharpen. Black lines are the closed forms at the noise equilibrium, dash-dotted with weight "
    "decay gamma = T/4; points are SGD, extrapolated from two learning rates to eta -> 0, with 95 "
    "% intervals over replicas. The controls are without noise: gradient descent keeps the "
    "imbalance of its initialization, drawn for each phi, and with weight decay (gamma = 0.001) "
    "comes to norm balance. The legend in (a) is that of (b), too."
)
STATEMENTS = ("P1.10", "P1.12", "B.2")

_TEACHER = np.eye(2)
_RATES = (0.02, 0.01)
_DECAY = 0.25  # gamma/T of SGD
_DECAY_GD = 0.001  # gamma of gradient descent
_RATE_GD = 0.05


def data(spec: Spec) -> Dataset:
    inputs = spec.pick([1.0, 0.5, 0.1, 0.05], [1.0, 0.75, 0.5, 0.25, 0.1, 0.05])
    labels = spec.pick([0.1], [0.5, 0.25, 0.1, 0.05])
    out: dict[str, Any] = {"x": np.array(inputs), "eps": np.array(labels)}
    for side, phi in [("x", phi) for phi in inputs] + [("eps", phi) for phi in labels]:
        run = spec.part(f"{side} {phi}", lambda side=side, phi=phi: _measured(side, phi, spec))
        out |= {f"{name} {side} {phi}": value for name, value in run.items()}
    grid = np.geomspace(0.04, 1.0, 40)
    out["grid"] = grid
    for side in ("x", "eps"):
        out |= _theory(side, grid, f"line {side}")
        out |= _theory(side, out[side], f"theory {side}")
    return out


def _covariances(side: str, phi: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Sigma_x and Sigma_eps."""
    swept = np.diag([phi, 1.0])
    return (swept, np.eye(2)) if side == "x" else (np.eye(2), swept)


def _theory(side: str, phis: np.ndarray, prefix: str) -> Dataset:
    """Return |U|/|W| and S/S_bal at the noise equilibrium, without and with weight decay."""
    rows: list[list[float]] = []
    for phi in phis:
        inputs, labels = _covariances(side, float(phi))
        found = st.two_layer_sharpness(_TEACHER, inputs, labels)
        net = st.deep_linear_equilibrium(
            _TEACHER, inputs, labels, 2, weight_decay=_DECAY, temperature=1.0
        )
        rest = np.asarray(_observer(inputs)({"W": net.layers[0], "U": net.layers[1]}))
        rows.append([
            found.noise_equilibrium.norm_ratio, found.ratio, np.sqrt(rest[0] / rest[1]),
            rest[2] / found.norm_balanced.trace, found.norm_balanced.trace,
        ])  # fmt: skip
    names = ("ratio SGD", "sharpness SGD", "ratio SGD, decay", "sharpness SGD, decay", "balanced")
    return {f"{prefix} {n}": c for n, c in zip(names, np.array(rows).T, strict=True)}


def _measured(side: str, phi: float, spec: Spec) -> Dataset:
    """Return |U|^2, |W|^2 and the trace of the Hessian: (replicas, 3) for SGD, (3,) for GD."""
    inputs, labels = _covariances(side, phi)
    observe = _observer(inputs)
    example = st.zoo.load("two-layer-linear").sized(dx=2, dy=2, h=2)
    noisy = example.bind(V=_TEACHER, Sigma_x=inputs, Sigma_eps=labels)
    quiet = st.Model(_population(inputs), {"U": (2, 2), "W": (2, 2)}, {}, name="population loss")
    rng, replicas = spec.rng(f"start {side} {phi}"), spec.pick(32, 128)
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    stretch = np.diag([1.5, 1.1]) + 0.2 * rng.normal(size=(2, 2))
    start = {"U": turn @ stretch, "W": np.linalg.solve(stretch, turn.T)}
    out: dict[str, np.ndarray] = {}
    methods = (("SGD", 0.0), ("SGD, decay", _DECAY)) if side == "x" else (("SGD", 0.0),)
    for rate in _RATES:
        for method, decay in methods:
            steps = round(_time(phi, decay > 0) / rate**2)
            run = finished(st.simulate(
                noisy, st.SGD(rate, weight_decay=decay * rate), params=start, steps=steps,
                replicas=replicas, key=spec.key(f"{method} {side} {phi} {rate}"), observe=observe,
                record_every=steps // 400,
            ))  # fmt: skip
            records = run.observables["observe"]
            out[f"{method} {rate}"] = records[:, records.shape[1] // 2 :].mean(axis=1)
    for method, decay in (("GD", 0.0), ("GD, decay", _DECAY_GD)) if side == "x" else ():
        run = finished(st.simulate(
            quiet, st.SGD(_RATE_GD, weight_decay=decay), params=start, steps=60_000,
            key=spec.key("GD"), observe=observe,
        ))  # fmt: skip
        out[method] = run.final["observe"][0]
    return out


def _time(phi: float, decays: bool) -> float:
    """Return how much slow time is simulated, of which a step is eta^2.

    Where phi is small the noise balances the direction of small inputs or labels slowly, at a
    rate of about 16 phi; weight decay makes it faster.
    """
    return 2.5 + (0.1 if decays else 0.5) / phi


def _population(inputs: np.ndarray) -> Any:
    def loss(p: Any, z: Any) -> Any:
        off = p["U"] @ p["W"] - _TEACHER
        return jnp.trace(off @ inputs @ off.T)

    return loss


def _observer(inputs: np.ndarray) -> Any:
    def observe(p: Any) -> Any:
        left, right = jnp.sum(p["U"] ** 2), jnp.sum(p["W"] ** 2)
        trace = 4 * jnp.trace(p["W"] @ inputs @ p["W"].T) + 2 * np.trace(inputs) * left
        return jnp.stack([left, right, trace])

    return observe


def _points(dataset: Dataset, method: str, side: str, phi: float) -> tuple[Any, Any]:
    """Return |U|/|W| and S/S_bal of SGD, eta -> 0."""
    runs = [(rate, dataset[f"{method} {rate} {side} {phi}"]) for rate in _RATES]
    at = int(np.flatnonzero(dataset[side] == phi)[0])
    balanced = dataset[f"theory {side} balanced"][at]
    ratio = limit([(rate, np.sqrt(run[:, 0] / run[:, 1])) for rate, run in runs])
    return ratio, limit([(rate, run[:, 2] / balanced) for rate, run in runs])


def draw(dataset: Dataset) -> Any:
    figure, (left, right) = _style.panels(2, height=2.5)
    decayed = _style.Look("SGD, decay", _style.CYCLE[2], "-.", "^")
    for which, panel in ((0, left), (1, right)):
        name = ("ratio", "sharpness")[which]
        for method, look in (("SGD", _style.SGD), ("SGD, decay", decayed)):
            line = dataset[f"line x {name} {method}"]
            label = "theory" if method == "SGD" else "theory, decay"
            panel.plot(dataset["grid"], line, **_style.THEORY.plot(
                linewidth=0.9, linestyle=look.line, label=label))  # fmt: skip
            _errorbars(panel, dataset, method, "x", which, look, look.label)
        for method, look in (("GD", _style.GD), ("GD, decay", _style.CONTROL)):
            values = np.array([dataset[f"{method} x {phi}"] for phi in dataset["x"]])
            shown = np.sqrt(values[:, 0] / values[:, 1])
            if which:
                shown = values[:, 2] / dataset["theory x balanced"]
            panel.plot(dataset["x"], shown, **look.plot(
                label=method, marker=look.marker, markersize=3.5,
                linestyle="none"))  # fmt: skip
    sharpening = _style.Look("", _style.CYCLE[3], ":", "D")
    right.plot(dataset["grid"], dataset["line eps sharpness SGD"], **_style.THEORY.plot(
        linewidth=0.9, linestyle=":", label=None))  # fmt: skip
    _errorbars(right, dataset, "SGD", "eps", 1, sharpening, r"SGD, $\Sigma_\epsilon$ swept")
    left.set(ylabel=r"$\|U\|/\|W\|$", ylim=(0.5, 4.0))
    right.set(ylabel=r"$\mathrm{Tr}\,\nabla^2L$ / norm-balanced", ylim=(0.7, 2.2))
    for panel in (left, right):
        panel.set(xscale="log", xlabel=r"$\phi$")
    left.legend(loc="upper left", ncols=2, columnspacing=1)
    handles, labels = right.get_legend_handles_labels()
    right.legend(handles[-1:], labels[-1:], loc="upper right")
    _style.letters([left, right])
    return figure


def _errorbars(
    panel: Any, dataset: Dataset, method: str, side: str, which: int, look: Any, label: str
) -> None:
    found = [_points(dataset, method, side, phi)[which] for phi in dataset[side]]
    means, halves = [e.mean for e in found], [half_width(e) for e in found]
    panel.errorbar(dataset[side], means, halves, **look.points(label=label, linestyle="none"))


def numbers(dataset: Dataset) -> Numbers:
    theory, rows = [], []
    found = {
        (method, side, phi): _points(dataset, method, side, phi)
        for method, side in (("SGD", "x"), ("SGD, decay", "x"), ("SGD", "eps"))
        for phi in dataset[side]
    }
    for (method, side, phi), parts in found.items():
        at = int(np.flatnonzero(dataset[side] == phi)[0])
        row = {"swept": f"Sigma_{side}", "phi": f"{phi:g}", "method": method}
        for name, text, part in zip(("ratio", "sharpness"), ("|U|/|W|", "S/S_bal"), parts,
                                    strict=True):  # fmt: skip
            want = float(dataset[f"theory {side} {name} {method}"][at])
            claim = f"{text} of {method}, eta -> 0, Sigma_{side} = diag({phi:g}, 1) (margin 4 %)"
            theory.append(st.equivalence(claim, want, part, 0.04 * want, 0.99))
            row |= {text: f"{want:.3f}", f"{text} measured": interval(part)}
        rows.append(row)
    least = float(dataset["x"].min())
    balance, sharp = found["SGD", "x", least]
    gd = np.array([dataset[f"GD, decay x {phi}"] for phi in dataset["x"]])
    off = float(np.abs(np.sqrt(gd[:, 0] / gd[:, 1]) - 1).max())
    claim = (
        "gradient descent with weight decay comes to |U| = |W| at every phi: relative difference"
    )
    theory.append(at_most(claim, off, 1e-3))
    sharpest = float(dataset["eps"].min())
    claims = (
        below(f"SGD is not norm-balanced: |U|/|W| at phi = {least:g}", balance, 0.9),
        below(f"anisotropic inputs make SGD flatter than norm balance: S/S_bal at phi = {least:g}",
              sharp, 1.0),
        above(
            f"anisotropic label noise makes SGD sharper than norm balance: S/S_bal at phi = "
            f"{sharpest:g}", found["SGD", "eps", sharpest][1], 1.0,
        ),
    )  # fmt: skip
    return Numbers(tuple(theory), claims, tuple(rows))
