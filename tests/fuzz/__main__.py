"""Fuzz: `python -m tests.fuzz --seeds 0:5000 --workers 2 --out failures.jsonl`.

Every seed writes one line per failure, and one line that says it is done with its counts, so that a
second call with the same file goes on where the first one ended. A worker that does not come back
within `--patience` seconds is ended, and its seed is a hang.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import pathlib
import time
from typing import Any

from tests.fuzz.worker import work

_SEEDS_OF_A_WORKER = 60
"""A worker is replaced after so many seeds, because compiled programs pile up."""


class _Worker:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.pipe, other = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(
            target=work, args=(other, arguments.light, arguments.scale), daemon=True
        )
        self.process.start()
        other.close()
        self.seed: int | None = None
        self.since, self.done = 0.0, 0

    def give(self, seed: int) -> None:
        self.seed, self.since = seed, time.monotonic()
        self.pipe.send(seed)

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def _poll(worker: _Worker, patience: float) -> tuple[list[dict[str, Any]], float] | None:
    """Return what a worker found, None while it is at work."""
    broken = {"seed": worker.seed, "command": "any", "claim": "runs", "status": ""}
    try:
        if worker.pipe.poll(0.05):
            found = worker.pipe.recv()
            worker.done += 1
            return found
    except (EOFError, OSError):
        worker.done = _SEEDS_OF_A_WORKER
        return [{**broken, "outcome": "traceback", "detail": "the process died"}], 0.0
    waited = time.monotonic() - worker.since
    if waited > patience:
        worker.done = _SEEDS_OF_A_WORKER
        return [{**broken, "outcome": "hang", "detail": f"ended after {waited:.0f} s"}], waited
    return None


def _read(path: pathlib.Path) -> dict[int, dict[str, Any]]:
    done = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        row = json.loads(line)
        if "done" in row:
            done[row["done"]] = row
    return done


def run(arguments: argparse.Namespace) -> dict[int, dict[str, Any]]:
    """Judge all seeds that the file does not have yet; return the counts by seed."""
    path = pathlib.Path(arguments.out)
    done = _read(path)
    first, last = map(int, arguments.seeds.split(":"))
    waiting = [seed for seed in range(first, last) if seed not in done][::-1]
    workers: list[_Worker] = []
    with path.open("a") as file:
        while waiting or any(worker.seed is not None for worker in workers):
            workers = [w for w in workers if w.seed is not None or w.done < _SEEDS_OF_A_WORKER]
            while waiting and len(workers) < arguments.workers:
                workers.append(_Worker(arguments))
            for worker in workers:
                if worker.seed is None:
                    if waiting:
                        worker.give(waiting.pop())
                    continue
                found = _poll(worker, arguments.patience)
                if found is None:
                    continue
                row = _record(file, worker.seed, *found)
                done[worker.seed] = row
                worker.seed = None
                if worker.done >= _SEEDS_OF_A_WORKER:
                    worker.end()
    for worker in workers:
        worker.end()
    return {seed: row for seed, row in done.items() if first <= seed < last}


def _record(file: Any, seed: int, found: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    from tests.fuzz.judge import FAILURES

    counts = collections.Counter("|".join((j["command"], j["status"], j["outcome"])) for j in found)
    for judgement in found:
        if judgement["outcome"] in (*FAILURES, "broken fuzzer"):
            file.write(json.dumps(judgement) + "\n")
            print(seed, *(judgement[k] for k in ("command", "outcome", "claim", "detail")))
    row = {"done": seed, "seconds": round(seconds, 2), "counts": dict(counts)}
    file.write(json.dumps(row) + "\n")
    file.flush()
    return row


def _summary(rows: dict[int, dict[str, Any]]) -> str:
    counts: collections.Counter[str] = collections.Counter()
    for row in rows.values():
        counts.update(row["counts"])
    table: dict[tuple[str, str], collections.Counter[str]] = {}
    for key, number in counts.items():
        command, status, outcome = key.split("|")
        table.setdefault((command, status or "-"), collections.Counter())[outcome] += number
    seconds = sum(row["seconds"] for row in rows.values())
    lines = [f"{len(rows)} losses, {seconds / max(len(rows), 1):.2f} s each"]
    for (command, status), outcomes in sorted(table.items()):
        text = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
        lines.append(f"{command:20s} {status:13s} {text}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seeds", default="0:100", help="FIRST:LAST")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", default="failures.jsonl")
    parser.add_argument("--light", action="store_true", help="only verify and discover")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all time limits")
    parser.add_argument("--patience", type=float, default=240.0)
    print(_summary(run(parser.parse_args())))


if __name__ == "__main__":
    main()
