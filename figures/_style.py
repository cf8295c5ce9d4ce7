"""One look for all figures: widths of the venues, colours by meaning, readable in grey.

The colours are those of Okabe and Ito, told apart with any colour vision; each has a line style and
a marker of its own, so that a grey print tells as much.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

# Widths of a column and of the text at the venues of both papers, in inches.
COLUMN, TEXT = 3.25, 5.5


@dataclasses.dataclass(frozen=True)
class Look:
    """How something is drawn wherever it appears."""

    label: str
    color: str
    line: str = "-"
    marker: str = "o"

    def plot(self, **more: Any) -> dict[str, Any]:
        """Return the arguments of `axes.plot`; more of them, or others, may be given."""
        return {"color": self.color, "linestyle": self.line, "label": self.label, **more}

    def points(self, **more: Any) -> dict[str, Any]:
        """Return the arguments of `axes.errorbar` for points with intervals."""
        shown = {"fmt": self.marker, "color": self.color, "label": self.label}
        return {**shown, "markersize": 3.5, "capsize": 2, "linewidth": 1, **more}

    def band(self, **more: Any) -> dict[str, Any]:
        """Return the arguments of `axes.fill_between`."""
        return {"color": self.color, "alpha": 0.25, "linewidth": 0, **more}


THEORY = Look("theory", "#000000", "-", "_")
CONTROL = Look("control", "#777777", "--", "x")
SGD = Look("SGD", "#0072B2", "-", "o")
GD = Look("GD", "#D55E00", "--", "s")
METHODS = {
    "none": Look("no decay", "#777777", ":", "x"),
    "plain decay": Look("plain decay", "#D55E00", "--", "s"),
    "decay to init": Look("decay to init", "#E69F00", "-.", "D"),
    "W-fix": Look("W-fix", "#CC79A7", (0, (5, 1)), "^"),  # type: ignore[arg-type]
    "syre": Look("syre", "#0072B2", "-", "o"),
}
# For what has no meaning of its own: starting points, settings.
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777")

_SETTINGS: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "mathtext.fontset": "cm",
    "pdf.fonttype": 42,  # fonts embedded as outlines that venues accept
    "savefig.dpi": 200,
}


@contextlib.contextmanager
def applied() -> Iterator[None]:
    """Draw and save in this look; the caller's own settings come back afterwards."""
    import logging

    import matplotlib

    # What embeds the fonts doubts the dates of the fonts that come with matplotlib.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    with matplotlib.rc_context(_SETTINGS):
        yield


def panels(columns: int = 1, rows: int = 1, width: float = TEXT, height: float = 1.9) -> Any:
    """Return a figure and its axes, an array for more than one; `height` is that of a row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, rows * height), layout="constrained")
    return figure, figure.subplots(rows, columns)


def letters(axes: Any) -> None:
    """Mark the panels (a), (b), ..."""
    import numpy as np

    for letter, panel in zip("abcdefgh", np.ravel(axes), strict=False):
        title = panel.get_title()
        panel.set_title("")
        panel.set_title(f"({letter}) {title}".strip(), loc="left")
