"""The picture of a network's axes: one row for each parameter, coloured by class."""

from __future__ import annotations

from typing import Any

from symtheory.symmetry import Explanation

# Okabe and Ito's colours, told apart with any colour vision; then others, by lightness.
_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#332288",
    "#AA4499", "#44AA99", "#999933", "#882255",
)  # fmt: skip
_FIXED = "#DDDDDD"
_HATCHES = ("", "//", "xx", "..", "oo")
_WIDTH, _GAP, _HEIGHT = 1.0, 0.15, 0.62
_MOST_ROWS = 60


def draw_axes(explanation: Explanation) -> Any:
    """Return a figure with a row for each parameter and a bar for each of its axes.

    Bars of one colour are permuted (rotated, mixed) together; grey ones are fixed. An axis that is
    read as several factors (heads times units) is a bar cut into as many pieces. A parameter that
    is cut into parts has a row for each. Only the first 60 rows are drawn.

    Args:
        explanation: What acts on the axes.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    classes = {f.name: f for f in explanation.factors if f.name}
    looks = {
        name: (_COLOURS[n % len(_COLOURS)], _HATCHES[n // len(_COLOURS) % len(_HATCHES)])
        for n, name in enumerate(classes)
    }
    rows = explanation.rows()
    shown = rows[:_MOST_ROWS]
    longest = max((len(axes) for _, axes in shown), default=1)
    size = (2.6 + 1.1 * longest + 2.4, 1.1 + 0.34 * len(shown))
    figure = Figure(figsize=size, layout="constrained")
    plot = figure.subplots()
    for y, (_, axes) in enumerate(shown):
        for x, factors in enumerate(axes):
            width = _WIDTH / max(len(factors), 1)
            for n, (length, name) in enumerate(factors or (((1, "")),)):
                colour, hatch = looks.get(name, (_FIXED, ""))
                left = x * (_WIDTH + _GAP) + n * width
                plot.add_patch(
                    Rectangle((left, y - _HEIGHT / 2), width, _HEIGHT, facecolor=colour,
                              hatch=hatch, edgecolor="white", linewidth=1)
                )  # fmt: skip
                plot.text(
                    left + width / 2, y, str(length), ha="center", va="center", fontsize=8,
                    bbox={"facecolor": "white", "alpha": 0.75, "pad": 0.8, "linewidth": 0},
                )  # fmt: skip
    plot.set_yticks(range(len(shown)), [name or "theta" for name, _ in shown], fontsize=8)
    plot.set_xticks(
        [x * (_WIDTH + _GAP) + _WIDTH / 2 for x in range(longest)],
        [f"axis {x}" for x in range(longest)], fontsize=8,
    )  # fmt: skip
    plot.set_xlim(-_GAP, longest * (_WIDTH + _GAP))
    plot.set_ylim(len(shown) - 0.4, -0.6)
    plot.tick_params(length=0)
    for side in plot.spines.values():
        side.set_visible(False)
    if len(rows) > len(shown):
        plot.set_xlabel(f"{len(rows) - len(shown)} more parameters are not shown", fontsize=8)
    handles = [
        Patch(facecolor=looks[name][0], hatch=looks[name][1], edgecolor="white",
              label=f"{name}: {factor.text}" + (f" along {', '.join(factor.along)}"
                                               if factor.along else ""))
        for name, factor in list(classes.items())[: len(_COLOURS) * len(_HATCHES)]
    ]  # fmt: skip
    handles.append(Patch(facecolor=_FIXED, label="fixed"))
    plot.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False,
                fontsize=8)  # fmt: skip
    return figure
