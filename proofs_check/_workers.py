"""Work done side by side, each piece in a process of its own."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import symtheory as st

Result = TypeVar("Result")


def side_by_side(
    function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], jobs: int
) -> Iterator[Result]:
    """Yield `function(*task)` of every task as it is there, `jobs` of them at a time.

    Args:
        function: A function of a module, so that another process finds it.
        tasks: Its arguments, which can be pickled.
        jobs: How many processes.

    Raises:
        SymtheoryError: A process was killed.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_end_with_parent
    ) as pool:
        try:
            futures = [pool.submit(function, *task) for task in tasks]
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise st.SymtheoryError(
                "a process at work was killed (is there enough memory?); start again, with fewer "
                "--jobs if need be: what is finished is taken over"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Let a worker end when the run is killed; it would go on beside the next one, and wait."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
