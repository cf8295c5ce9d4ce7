"""Ctrl-C in a run over several processes: all stop at the same step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Hold the first Ctrl-C back; yield a function that tells whether there was one.

    A second one interrupts at once. With one process nothing is held back, for it has nobody to
    agree with; nor outside of the main thread, which alone hears of it.
    """
    alone = jax.process_count() == 1
    if alone or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    heard: list[int] = []

    def hear(number: int, frame: Any) -> None:
        if heard:
            raise KeyboardInterrupt
        heard.append(number)

    before = signal.signal(signal.SIGINT, hear)
    try:
        yield lambda: bool(heard)
    finally:
        signal.signal(signal.SIGINT, before)
