"""What a process that judges seeds does; a new process cannot import it from `__main__`."""

from __future__ import annotations

import dataclasses
import time
import traceback
from multiprocessing.connection import Connection


def work(pipe: Connection, light: bool, scale: float) -> None:
    """Judge the seeds that come through a pipe, until None comes."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from tests.fuzz.judge import Judgement, judge

    while (seed := pipe.recv()) is not None:
        start = time.monotonic()
        try:
            found = judge(seed, light=light, scale=scale)
        except Exception:
            text = traceback.format_exc()[-600:]
            found = [Judgement(seed, "fuzzer", "runs", "", "broken fuzzer", text)]
        pipe.send(([dataclasses.asdict(j) for j in found], time.monotonic() - start))
        jax.clear_caches()
