"""The picture: predicted charges as lines through the ensembles' bands."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from symtheory.comparison import Experiment, diagonal_weights, measured_charge
from symtheory.files import replacing

# Colours told apart with any colour vision, and by lightness in grey (Okabe and Ito).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def draw(result: Experiment) -> Any:
    """Return a figure of the total charge against time, one colour per starting point.

    Lines are predictions (the Noether flow), bands the middle 80 % of the replicas and dashed
    lines their mean. Over a family of generators the charge of its identity member is shown.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    weights = diagonal_weights(result.law)
    starts = zip(result.runs, result.predictions, strict=False)
    for colour, (run, prediction) in zip(_COLOURS, starts, strict=False):
        charge = measured_charge(run) @ weights
        low, high = np.quantile(charge, [0.1, 0.9], axis=0)
        label = f"start {_COLOURS.index(colour) + 1}"
        axes.fill_between(run.times, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(run.times, charge.mean(axis=0), color=colour, linestyle="--", linewidth=1.2)
        line = prediction.charges @ weights
        axes.plot(prediction.times, line, color=colour, linewidth=2, label=label)
    dynamics = result.plan.dynamics
    axes.set_xlabel(r"time  $\eta\,\times$ steps")
    axes.set_ylabel(r"Noether charge  $C$")
    axes.set_title(
        f"{result.law.model.name}: line predicted, band and dashes measured\n"
        f"$\\eta$ = {dynamics.learning_rate:g}, S = {dynamics.batch_size}, "
        f"$\\gamma$ = {dynamics.weight_decay:g}, {result.plan.replicas} replicas",
        fontsize=10,
    )
    axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    if result.predictions:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def save(figure: Any, path: pathlib.Path) -> pathlib.Path:
    """Write a figure; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=150)
    return path
