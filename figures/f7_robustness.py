"""F7: convergence to the noise equilibrium at any learning rate, batch size and dimension.

arXiv 2402.07193, robustness of the convergence; residual at finite eta: theory of fluctuations.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import symtheory as st
from figures import _style
from figures._ensembles import estimate, half_width, interval, mean_band, summary
from figures._imbalance import problem as posed
from figures._spec import Dataset, Numbers, Spec

TITLE = "Robust convergence to the noise equilibrium"
CAPTION = (
    "Two-layer linear nets (all widths d, isotropic label noise, for which the matrix equilibrium "
    "is exact) started at a minimum far from balance. Distance: |N1 - N2| over its scale at "
    "equilibrium, N1 = Tr[Sx] U^T Se U, N2 = Tr[Se] W Sx W^T; root mean square over replicas "
    "(bands: 95 % interval) against time in relaxation times of the slow flow, each 1/T times a "
    "constant, T = eta/S. Black: slow flow plus the fluctuations around it to first order in T, "
    "nothing fitted; tested is only the limit of (a) for eta -> 0, not the lines at the rates of "
    "(b) and (c), where the measured square is above theory (last row of the table); dashed: slow "
    "flow alone, eta to 0. (a) Learning rates, S = 1, d = 4. (b) Batch sizes. (c) Dimensions. (d) "
    "What is left at the end against the prediction, which is proportional to sqrt(T): above it "
    "by a factor that falls with eta; the table extrapolates it to eta = 0."
)
STATEMENTS = ("P1.10", "B.3")

_DIMENSION, _RATE = 4, 0.02
_LENGTH = 6.0
"""Length of the runs in relaxation times."""


def _settings(spec: Spec) -> list[tuple[str, float, int, int]]:
    """Return panel, eta, S and d of every run."""
    rates = spec.pick((0.02, 0.01, 0.005), (0.02, 0.01, 0.005, 0.0025))
    batches, dimensions = spec.pick((1, 2, 8), (1, 4, 16)), spec.pick((2, 4, 5), (2, 4, 8))
    out = [("rate", rate, 1, _DIMENSION) for rate in rates]
    out += [("batch", _RATE, batch, _DIMENSION) for batch in batches]
    return out + [("dimension", _RATE / 2, 1, d) for d in dimensions]


def data(spec: Spec) -> Dataset:
    settings = _settings(spec)
    parts = [
        spec.part(f"{panel} {rate:g} {batch} {d}", functools.partial(_run, spec, rate, batch, d))
        for panel, rate, batch, d in settings
    ]
    out = {f"run{n}_{name}": value for n, run in enumerate(parts) for name, value in run.items()}
    panels, rates, batches, dimensions = (
        np.array(column) for column in zip(*settings, strict=True)
    )
    return {
        **out, "panels": panels, "rates": rates, "batches": batches, "dimensions": dimensions,
        "margins": np.array(spec.pick((0.3, 0.25), (0.15, 0.15))),
    }  # fmt: skip


def _run(spec: Spec, rate: float, batch: int, d: int) -> Dataset:
    problem, temperature = posed(spec.seed, d, _LENGTH), rate / batch
    run = st.simulate(
        problem["model"], st.SGD(rate, batch), params=problem["start"],
        steps=round(_LENGTH / problem["relaxation"] / (temperature * rate)),
        replicas=spec.pick(32, 128), key=spec.key(f"{rate:g} {batch} {d}"),
        observe={"square": problem["square"]},
    )  # fmt: skip
    times = run.times * temperature * problem["relaxation"]
    squares = run.observables["square"]
    slow = problem["slow"](times)
    line = slow + temperature * problem["fluctuation"](times)
    early, late = np.searchsorted(times, 1.0), times >= 0.75 * _LENGTH
    return {
        "times": times,
        "slow": slow,
        "line": line,
        **summary(squares, "square"),
        **summary(squares[:, early] / line[early], "early"),
        **summary(squares[:, late].mean(axis=1) / line[late].mean(), "late"),
        "late_line": line[late].mean(),
        **summary(squares[:, late].mean(axis=1) / line[0], "left"),
    }


def draw(dataset: Dataset) -> Any:
    figure, axes = _style.panels(2, 2, height=2.0)
    names = {"rate": r"$\eta={:g}$", "batch": "$S={:g}$", "dimension": "$d={:g}$"}
    columns = {"rate": "rates", "batch": "batches", "dimension": "dimensions"}
    # The first of rates and of batches are one and the same run.
    looks, sizes = dict(zip(names, "os^", strict=True)), dict(zip(names, (7, 4, 4), strict=True))
    for panel, name in zip(axes.ravel(), names, strict=False):
        runs = [n for n, kind in enumerate(dataset["panels"]) if kind == name]
        for k, n in enumerate(runs):
            value = dataset[columns[name]][n]
            _draw_run(panel, dataset, n, _style.CYCLE[k], names[name].format(value), k == 0)
        panel.set(yscale="log", xlabel="time (relaxations)", ylabel="distance (rms)")
        panel.legend(loc="upper right", ncols=2, borderaxespad=0, handlelength=1.2)
        panel.set_ylim(None, 20)
        last = axes[1, 1]
        x = np.sqrt([float(dataset[f"run{n}_late_line"]) for n in runs])
        ratios = [estimate(dataset, f"run{n}_late") for n in runs]
        y = x * np.sqrt([ratio.mean for ratio in ratios])
        bars = [half_width(ratio) / ratio.mean / 2 for ratio in ratios] * y
        last.errorbar(
            x, y, bars, fmt=looks[name], markersize=sizes[name], capsize=2,
            markerfacecolor="none", linewidth=1, label=columns[name],
            color=_style.CYCLE[len(names) - list(names).index(name)],
        )  # fmt: skip
    ends = np.sqrt([float(dataset[f"run{n}_late_line"]) for n in range(len(dataset["panels"]))])
    span = np.array([0.8 * ends.min(), 1.3 * ends.max()])
    last.plot(span, span, **_style.THEORY.plot(label=r"theory, $\propto\sqrt{T}$"))
    last.set(xscale="log", yscale="log", xlabel="predicted residual", ylabel="measured residual")
    ticks = [0.01, 0.02, 0.04, 0.08]
    for axis in (last.xaxis, last.yaxis):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    last.set(xlim=span, ylim=span * [1, 1.5])
    last.legend(loc="upper left", borderaxespad=0)
    _style.letters(axes)
    return figure


def _draw_run(
    panel: Any, dataset: Dataset, n: int, color: str, label: str, first: bool
) -> None:  # fmt: skip
    times = dataset[f"run{n}_times"]
    low, high = (np.sqrt(np.maximum(x, 1e-12)) for x in mean_band(dataset, f"run{n}_square"))
    panel.fill_between(times, low, high, color=color, alpha=0.6, linewidth=0, label=label)
    panel.plot(
        times, np.sqrt(dataset[f"run{n}_line"]),
        **_style.THEORY.plot(label="theory" if first else None, linewidth=0.8),
    )  # fmt: skip
    panel.plot(
        times, np.sqrt(dataset[f"run{n}_slow"]),
        **_style.CONTROL.plot(label=r"$\eta\to 0$" if first else None, linewidth=0.8),
    )  # fmt: skip


def numbers(dataset: Dataset) -> Numbers:
    theory, claims, rows = [], [], []
    rates = [n for n, name in enumerate(dataset["panels"]) if name == "rate"][-2:]
    for (name, what), margin in zip(
        {"early": "after one relaxation time", "late": "at the end"}.items(),
        dataset["margins"], strict=True,
    ):  # fmt: skip
        points = [(float(dataset["rates"][n]), estimate(dataset, f"run{n}_{name}")) for n in rates]
        theory.append(
            st.equivalence(
                f"mean square distance {what} over slow flow plus fluctuations as eta -> 0, from "
                f"eta = {', '.join(f'{rate:g}' for rate, _ in points)}",
                1.0, st.trend(points).limit, float(margin),
            )
        )  # fmt: skip
    for n, name in enumerate(dataset["panels"]):
        left, late = estimate(dataset, f"run{n}_left"), estimate(dataset, f"run{n}_late")
        early = estimate(dataset, f"run{n}_early")
        rate, batch, d = (dataset[key][n] for key in ("rates", "batches", "dimensions"))
        setting = f"eta = {rate:g}, S = {batch}, d = {d}"
        claims.append(
            st.equivalence(
                f"{name}: SGD comes to the equilibrium at {setting}: mean square distance over "
                "that at the start is at most 0.01",
                0.0, left, 0.01, reference="arXiv 2402.07193, robustness of the convergence",
            )
        )  # fmt: skip
        rows.append({
            "setting": setting,
            "rms left, predicted": f"{float(dataset[f'run{n}_late_line']) ** 0.5:.4g}",
            "measured^2 / predicted^2 at the end (95 %)": interval(late),
            "after one relaxation (95 %)": interval(early),
        })  # fmt: skip
    ratios = [float(dataset[f"run{n}_late_mean"]) for n in range(len(rows))]
    furthest = int(np.argmax(ratios))
    rows.append({**rows[furthest], "setting": f"furthest from theory: {rows[furthest]['setting']}"})
    return Numbers(tuple(theory), tuple(claims), tuple(rows))
