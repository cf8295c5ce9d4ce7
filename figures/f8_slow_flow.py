"""F8: the current of the slow flow: the noise turns the hidden basis and shifts the balance.

Beyond arXiv 2402.07193: the slow flow on a family of symmetries.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

import symtheory as st
from figures import _style
from figures._ensembles import (
    estimate,
    half_width,
    interval,
    mean_band,
    must_fail,
    scaled,
    summary,
)  # fmt: skip
from figures._orbits import net, split, turned
from figures._spec import Dataset, Numbers, Spec

TITLE = "The slow flow turns the hidden basis"
CAPTION = (
    "Two-layer linear net (all widths 2) whose inputs and label noise lie askew to the teacher. "
    "SGD (S = 1) starts at the matrix noise equilibrium. (a) Angle by which the hidden basis has "
    "turned: slow flow (black), and middle 80 % of the replicas at two learning rates (bands); "
    "the charge law alone sees no turn (dashed). (b) Relative imbalance D of the charges, its "
    "part along the predicted one: slow flow (black), 95 % intervals of the mean over replicas "
    "and ten neighbouring records (bands), matrix equilibrium D = 0 (dashed). (c) Two quantities "
    "over the second half of the runs, in units of the slow flow's, against the learning rate: "
    "the mean projection of D on the direction predicted for it (imbalance), and the rate at "
    "which the hidden basis turns (rotation); each for this net and for the nearly aligned one of "
    "the reference value (mild). Points with 95 % intervals, extrapolated to eta = 0 (open). The "
    "legend in (b) is that of (a), too."
)
STATEMENTS = ("B.3", "P1.10")

_TIME = 3.0  # in units of 1/T
_BLOCK = 10
"""Records that are averaged in panel (b): far apart beside the time of the fluctuations."""
_ASKEW_RATES, _MILD_RATES = (0.012, 0.006), ((0.006, 0.003), (0.004, 0.002))


def _rotation(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


@functools.cache
def _askew() -> tuple[Any, Any]:
    """Return flow and stationary state of a net with a large current."""
    V = np.diag([1.2, 0.8])
    return _flow(V, turned([0.3, 2.5], _rotation(0.9)), turned([0.1, 2.0], _rotation(-0.9)))


@functools.cache
def _mild() -> tuple[Any, Any]:
    """Return those of the reference value, whose relative imbalance is +-.0079."""
    V = np.array([[1.0, 0.3], [-0.2, 0.7]])
    return _flow(V, np.diag([1.0, 4.0]), np.diag([0.25, 2.25]))


def _flow(V: np.ndarray, cov_x: np.ndarray, cov_eps: np.ndarray) -> tuple[Any, Any]:
    model, symmetry = net(V, cov_x, cov_eps)
    flow = st.slow_flow(model, split(V), symmetry)
    rest = flow.stationary()
    return st.slow_flow(model, rest.matrix_equilibrium, symmetry), rest


def data(spec: Spec) -> Dataset:
    settings = [("askew", rate) for rate in _ASKEW_RATES]
    settings += [("mild", rate) for rate in spec.pick(*_MILD_RATES)]
    out = [
        spec.part(f"{name} {rate:g}", functools.partial(_run, spec, name, rate))
        for name, rate in settings
    ]
    joined = {f"run{n}_{key}": value for n, part in enumerate(out) for key, value in part.items()}
    names, rates = zip(*settings, strict=True)
    margins = np.array(spec.pick((0.15, 0.35), (0.1, 0.2)))
    return {**joined, "names": np.array(names), "rates": np.array(rates), "margins": margins}


def _run(spec: Spec, name: str, rate: float) -> Dataset:
    flow, rest = {"askew": _askew, "mild": _mild}[name]()
    drift, angle = flow.observables()["double rotation"], _turned_from(flow.params)
    run = st.simulate(
        flow.model, st.SGD(rate), params=flow.params,
        steps=round(spec.pick(2.0, _TIME) / rate**2), replicas=spec.pick(128, 256),
        key=spec.key(f"{name} {rate:g}"), observe={"drift": drift, "angle": angle},
    )  # fmt: skip
    times = run.times * rate
    coarse = np.linspace(0, times[-1], 61)
    path = flow.integrate(coarse).params
    goal, line = (np.asarray(jax.vmap(f)(path)) for f in (drift, angle))
    goal, line = CubicSpline(coarse, goal)(times), CubicSpline(coarse, np.unwrap(line))(times)
    size = np.linalg.norm(goal, axis=(1, 2))
    along = goal / np.maximum(size, 1e-9 * size.max())[:, None, None]
    along[0] = along[1]  # the start is balanced and has no direction of its own
    # A symmetric 2 x 2 matrix without trace has the eigenvalues +-|D|/sqrt(2).
    part = np.einsum("rtij,tij->rt", run.observables["drift"], along) / np.sqrt(2)
    turn = np.unwrap(run.observables["angle"], axis=1)
    sign, half = np.sign(line[-1]), len(line) // 2
    spin = lambda angles: (angles[..., -1] - angles[..., half]) / ((len(line) - 1 - half) * pace)
    pace = rate**2 * run.record_every
    blocks = part[:, : part.shape[1] // _BLOCK * _BLOCK].reshape(len(part), -1, _BLOCK)
    return {
        "times": times,
        "angle_line": sign * line,
        "drift_line": size / np.sqrt(2),
        "eigenvalue": np.asarray(np.linalg.eigvalsh(rest.relative_drifts["double rotation"])[-1]),
        "rotation": np.asarray(rest.rotation_rate),
        **summary(sign * turn, "angle"),
        "block_times": (np.arange(blocks.shape[1]) + 0.5) * _BLOCK * pace,
        **summary(blocks.mean(axis=2), "block"),
        **summary(part[:, half:].mean(axis=1) / (size[half:].mean() / np.sqrt(2)), "shift"),
        **summary(spin(turn) / spin(line), "spin"),
    }


def _turned_from(start: Any) -> Any:
    """Return the angle by which the hidden basis has turned since the start, as a function.

    The rotation R that brings U0 R and R^T W0 closest to U and W.
    """

    def angle(params: Any) -> Any:
        both = start["U"].T @ params["U"] + start["W"] @ params["W"].T
        return jnp.arctan2(both[1, 0] - both[0, 1], both[0, 0] + both[1, 1])

    return angle


def draw(dataset: Dataset) -> Any:
    figure, axes = _style.panels(3)
    for n, color, shade in ((0, _style.CYCLE[5], 0.45), (1, _style.CYCLE[0], 0.6)):
        label = rf"SGD, $\eta={dataset['rates'][n]:g}$"
        band = {"color": color, "alpha": shade, "linewidth": 0, "label": label}
        axes[0].fill_between(
            dataset[f"run{n}_times"],
            dataset[f"run{n}_angle_low"],
            dataset[f"run{n}_angle_high"],
            **band,
        )
        ends = mean_band(dataset, f"run{n}_block")
        axes[1].fill_between(dataset[f"run{n}_block_times"], *ends, **band)
    line = _style.THEORY.plot(label="slow flow")
    axes[0].plot(dataset["run1_times"], dataset["run1_angle_line"], **line)
    axes[1].plot(dataset["run1_times"], dataset["run1_drift_line"], **line)
    for panel in axes[:2]:
        panel.axhline(0, **_style.CONTROL.plot(label="charge law alone"))
        panel.set_xlabel(r"time $Tt=\eta^2 n$")
    axes[0].set(ylabel="angle turned (rad)", ylim=(-0.1, None))
    axes[1].set(ylabel=r"imbalance, eigenvalue of $D$", ylim=(-0.015, 0.21))
    axes[1].legend(loc="upper left", borderaxespad=0)
    _draw_limits(axes[2], dataset)
    _style.letters(axes)
    return figure


def _draw_limits(panel: Any, dataset: Dataset) -> None:
    looks = {
        ("askew", "shift"): ("imbalance", "#0072B2", "o"),
        ("askew", "spin"): ("rotation", "#D55E00", "s"),
        ("mild", "shift"): ("imbalance, mild", "#56B4E9", "^"),
        ("mild", "spin"): ("rotation, mild", "#E69F00", "D"),
    }
    for n, (key, (label, color, marker)) in enumerate(looks.items()):
        points = _points(dataset, *key)
        limit = st.trend(points).limit
        x = np.array([0.0, *sorted(rate for rate, _ in points)]) * 1e3 + 0.12 * (n - 1.5)
        found = [limit, *(e for _, e in sorted(points, key=lambda point: point[0]))]
        y, half = [e.mean for e in found], [half_width(e) for e in found]
        panel.plot(x, y, color=color, linewidth=0.6)
        style = {"fmt": marker, "color": color, "markersize": 3.5, "capsize": 2, "linewidth": 1}
        panel.errorbar(x[1:], y[1:], half[1:], label=label, **style)
        panel.errorbar(x[:1], y[:1], half[:1], markerfacecolor="white", **style)
    panel.axhline(1, **_style.THEORY.plot(label=None, linewidth=0.9, zorder=0))
    panel.axhline(0, **_style.CONTROL.plot(label=None))
    panel.set(xlabel=r"learning rate $\eta\times 10^3$", ylabel="measured / slow flow")
    panel.set_ylim(-0.15, 2.7)
    panel.legend(loc="upper center", ncols=1, borderaxespad=0, handlelength=1)


def _points(dataset: Dataset, net_name: str, quantity: str) -> list[tuple[float, st.Estimate]]:
    return [
        (float(rate), estimate(dataset, f"run{n}_{quantity}"))
        for n, (name, rate) in enumerate(zip(dataset["names"], dataset["rates"], strict=True))
        if name == net_name
    ]


def numbers(dataset: Dataset) -> Numbers:
    theory, claims, rows = [], [], []
    texts = {"askew": "net of the picture", "mild": "net of the reference value"}
    for (name, text), margin in zip(texts.items(), dataset["margins"], strict=True):
        first = list(dataset["names"]).index(name)
        eigenvalue = float(dataset[f"run{first}_eigenvalue"])
        rate = float(dataset[f"run{first}_rotation"])
        for quantity, what, value in (
            ("shift", "imbalance", eigenvalue),
            ("spin", "rotation rate", rate),
        ):
            points = _points(dataset, name, quantity)
            limit = st.trend(points).limit
            theory.append(
                st.equivalence(
                    f"{what} over slow flow ({value:.4g}) as eta -> 0, {text}", 1.0, limit, margin
                )
            )
            attempt = st.equivalence(f"{what} 0 as eta -> 0, {text}", 0.0, limit, margin)
            if quantity == "shift":
                claims.append(_matrix_claim(attempt, text))
            else:
                theory.append(must_fail(f"without rotations in the law, {text}", attempt))
            rows.append({
                "net": name, "quantity": what, "slow flow": f"{value:.4g}",
                **{f"eta {k + 1}": f"{interval(scaled(e, value))} at {r:g}"
                   for k, (r, e) in enumerate(points)},
                "eta -> 0 (95 %)": interval(scaled(limit, value)),
            })  # fmt: skip
    return Numbers(tuple(theory), tuple(claims), tuple(rows))


def _matrix_claim(attempt: st.Verdict, text: str) -> st.Verdict:
    """Return the verdict on P1.10 taken literally, for a net where it is not exact."""
    return dataclasses.replace(
        attempt,
        claim=f"SGD comes to rest at the matrix noise equilibrium, {text}: imbalance over the slow "
        "flow's",
        how=f"exact for isotropic or aligned noise only, which this is not; {attempt.how}",
        reference="arXiv 2402.07193, matrix factorization",
    )
