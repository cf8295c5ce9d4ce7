"""One line on a terminal while a run lasts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def reporter(progress: Any) -> Callable[[Any], None] | None:
    """Return what is called with the ensemble after each chunk, or None.

    Args:
        progress: None, a function of (steps done, steps in all), or True for a line on standard
            error, where that is a terminal.
    """
    if progress is None or progress is False:
        return None
    if progress is True:
        return Line() if sys.stderr.isatty() else None
    return lambda ensemble: progress(ensemble.position.done, ensemble.schedule.steps)


class Line:
    """Steps done, steps per second, time left, and the first observable with its error."""

    def __init__(self, out: Any = None, clock: Callable[[], float] = time.perf_counter) -> None:
        self.out, self.clock = out or sys.stderr, clock
        self.began: tuple[float, int] | None = None

    def __call__(self, ensemble: Any) -> None:
        done, steps, now = ensemble.position.done, ensemble.schedule.steps, self.clock()
        if self.began is None:  # the first chunk pays for compilation
            self.began = now, done
            return
        began, before = self.began
        speed = (done - before) / max(now - began, 1e-9)
        left = (steps - done) / max(speed, 1e-9)
        text = f"{done:,} of {steps:,} steps, {speed:,.0f} per second, {_clock(left)} left"
        estimate = _estimate(ensemble)
        end = "\n" if done >= steps else ""
        self.out.write(f"\r\x1b[K{text}{', ' + estimate if estimate else ''}{end}")
        self.out.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _estimate(ensemble: Any) -> str:
    """Return the mean of the first entry of the first observable, with its standard error.

    Over time where averages are taken, and otherwise at the last record; over the replicas of the
    first setting that this process has, if it has any.
    """
    for name, records in ensemble.records.items():
        blocks = [i for i, b in enumerate(ensemble.mine) if b < ensemble.per]
        if not blocks:
            return ""
        if ensemble.averages_begun():
            means = [ensemble.moments(ensemble.mine[i])[1][name] for i in blocks]
            values = np.concatenate([np.moveaxis(mean, -1, 0) for mean in means])
        else:
            count = ensemble.schedule.records(ensemble.position.done)
            values = records[blocks, :, count - 1].reshape(-1, *records.shape[3:])
        values = values.reshape(len(values), -1)[: ensemble.replicas, 0]
        if len(values) > 1 and np.issubdtype(values.dtype, np.floating):
            error = values.std(ddof=1) / np.sqrt(len(values))
            return f"{name} = {values.mean():.4g} +- {error:.1g}"
    return ""
