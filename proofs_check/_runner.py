"""Run checks, some at a time, and keep every finished one on disk."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import symtheory as st
from proofs_check._claim import Budget
from proofs_check._registry import Statement

_CONTROL_FAILED = "its control was not refuted"


@dataclasses.dataclass(frozen=True)
class Spec:
    """What decides the outcome of a check.

    Attributes:
        seed: Seed of everything drawn.
        seconds: Budget of one statement.
        exact_only: Leave out what is simulated.
    """

    seed: int = 0
    seconds: float = 8.0
    exact_only: bool = False

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise st.InputError(
                f"the budget is a positive number of seconds per statement, got {self.seconds:g}"
            )
        if self.seed < 0:
            raise st.InputError(f"the seed is not negative, got {self.seed}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one statement.

    Attributes:
        id: Which statement.
        statement: What it says.
        status: The worst of proof and measurement; `refuted` too if the control was not.
        exact: Status of the proof.
        empirical: Status of the measurement.
        control: Status of the control, which should be refuted.
        seconds: Time it took.
        data: The verdicts, with all their parts.
        resumed: Whether it was read from an earlier run.
    """

    id: str
    statement: str
    status: str
    exact: str
    empirical: str
    control: str
    seconds: float
    data: dict[str, Any]
    resumed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the outcome with the keys that other programs read."""
        return {
            "id": self.id,
            "statement": self.statement,
            "status": self.status,
            "exact_status": self.exact,
            "empirical_status": self.empirical,
            "control_status": self.control,
            "seconds": round(self.seconds, 3),
            **self.data,
        }


def run_one(statement: Statement, spec: Spec) -> Outcome:
    """Check one statement: proof, measurement, control."""
    import jax

    jax.config.update("jax_enable_x64", True)
    module = statement.module
    claim = module.claim()
    start = time.perf_counter()
    exact = module.exact()
    if spec.exact_only:
        empirical = st.Verdict(st.Status.NOT_APPLICABLE, "measurement", how="--exact-only")
    else:
        # Each statement has randomness of its own, whatever else is checked beside it.
        digest = hashlib.sha256(claim.id.encode()).digest()
        key = jax.random.fold_in(
            jax.random.key(spec.seed), int.from_bytes(digest[:4], "big") & 0x7FFFFFFF
        )
        empirical = _measured(module.empirical, key, spec)
    control = module.control()
    status = overall(exact, empirical, control, exact_only=spec.exact_only)
    return Outcome(
        claim.id,
        claim.statement,
        str(status),
        str(exact.status),
        str(empirical.status),
        str(control.status),
        time.perf_counter() - start,
        {
            "assumptions": list(claim.assumptions),
            "relation": claim.relation,
            "reference": claim.reference,
            "exact": exact.to_json(),
            "empirical": empirical.to_json(),
            "control": control.to_json(),
        },
    )


def _measured(empirical: Callable[..., st.Verdict], key: Any, spec: Spec) -> st.Verdict:
    """Measure; runs too short to be evaluated decide nothing."""
    try:
        return empirical(key, Budget(spec.seconds))
    except st.InputError as error:
        how = f"not evaluated at a budget of {spec.seconds:g} s: {error}; allow more with --budget"
        return st.Verdict(st.Status.INCONCLUSIVE, "measurement", how=how)


def overall(
    exact: st.Verdict, empirical: st.Verdict, control: st.Verdict, *, exact_only: bool = False
) -> st.Status:
    """Return the status of a statement from those of its proof, measurement and control.

    A statement is `proved` if its proof is and its measurement does not speak against it. One that
    is only measured says nothing when measurements are left out.
    """
    if control.status is not st.Status.REFUTED:
        return st.Status.REFUTED
    present = {exact.status, empirical.status} - {st.Status.NOT_APPLICABLE}
    for bad in (st.Status.REFUTED, st.Status.INCONCLUSIVE):
        if bad in present:
            return bad
    if exact.status is st.Status.PROVED:
        return st.Status.PROVED
    if present:
        return st.Status.SUPPORTED
    return st.Status.NOT_APPLICABLE if exact_only else st.Status.INCONCLUSIVE


def check(
    chosen: list[Statement],
    spec: Spec | None = None,
    *,
    folder: pathlib.Path | None = None,
    jobs: int = 1,
    fresh: bool = False,
    started: Callable[[Statement], None] | None = None,
) -> Iterator[Outcome]:
    """Check statements and yield each outcome as it is there.

    Args:
        chosen: Which statements.
        spec: Seed and budget.
        folder: Where outcomes are kept; those of the same spec and version found there are taken
            over, so that an interrupted run goes on where it was.
        jobs: How many statements are checked at a time, each in a process of its own.
        fresh: Check again what is already there.
        started: Called when a statement's turn comes.
    """
    spec = spec or Spec()
    if folder is not None:
        prepare(folder)
    left = []
    for statement in chosen:
        known = None if fresh or folder is None else _load(statement, spec, folder)
        if known is not None:
            yield known
        else:
            left.append(statement)
    if jobs == 1 or len(left) < 2:
        for statement in left:
            if started is not None:
                started(statement)
            yield _kept(run_one(statement, spec), spec, folder)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(run_one, statement, spec) for statement in left]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield _kept(future.result(), spec, folder)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


# --- on disk -------------------------------------------------------------------------------------


def prepare(folder: pathlib.Path) -> None:
    """Make the folder, or say that it cannot be written, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise st.InputError(
            f"the results folder {str(folder)!r} cannot be written: {reason}; give another with "
            "--results"
        ) from error


def _stamp(statement: Statement, spec: Spec) -> str:
    """Return what an outcome depends on: its spec and the code of statement and package."""
    digest = hashlib.sha256()
    roots = (pathlib.Path(st.__file__).parent, pathlib.Path(__file__).parent)
    own = roots[1] / f"{statement.file}.py"
    for path in sorted({*roots[0].rglob("*.py"), *roots[1].glob("_*.py"), own}):
        digest.update(path.read_bytes())
    digest.update(repr(spec).encode())
    return digest.hexdigest()


def _load(statement: Statement, spec: Spec, folder: pathlib.Path) -> Outcome | None:
    path = folder / f"{statement.id}.json"
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if data.get("stamp") != _stamp(statement, spec):
        return None
    return dataclasses.replace(Outcome(**data["outcome"]), resumed=True)


def _kept(outcome: Outcome, spec: Spec, folder: pathlib.Path | None) -> Outcome:
    """Write an outcome to disk, whole or not at all."""
    if folder is None:
        return outcome
    from proofs_check._registry import find

    [statement] = find([outcome.id])
    data = {"stamp": _stamp(statement, spec), "outcome": dataclasses.asdict(outcome)}
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
        json.dump(data, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, folder / f"{outcome.id}.json")
    return outcome
