"""Run checks, some at a time, and keep on disk what is finished."""

from __future__ import annotations

import hashlib
import pathlib
import time
from collections.abc import Callable, Iterator

import symtheory as st
from proofs_check._claim import Budget
from proofs_check._kept import Place, place, prepare
from proofs_check._outcome import Outcome, Spec, citations, exact_status, overall, power
from proofs_check._registry import Statement
from proofs_check._workers import side_by_side


def run_one(statement: Statement, spec: Spec, kept: Place | None = None) -> Outcome:
    """Check one statement: proof, measurement, control, and the control's twin.

    Args:
        statement: Which.
        spec: Seed and budget.
        kept: Where each of the four is written as it is done, and read if an earlier run, killed
            meanwhile, got that far.

    Raises:
        InputError: The statement has no twin.
    """
    import jax

    jax.config.update("jax_enable_x64", True)
    module = statement.module
    claim = module.claim()
    if not callable(getattr(module, "twin", None)):
        raise st.InputError(
            f"{statement.file}.py has no twin(): write one that runs the control's code, key and "
            "budget with the assumption restored, see template.py"
        )
    stages = {} if kept is None else kept.stages()
    for name, decide in (
        ("exact", module.exact),
        ("empirical", lambda: _measured(module.empirical, claim.id, spec)),
        ("control", module.control),
        ("twin", module.twin),
    ):
        if name in stages:
            continue
        start = time.perf_counter()
        verdict = decide().to_json()
        stages[name] = {"seconds": time.perf_counter() - start, "verdict": verdict}
        if kept is not None:
            kept.keep_stages(stages)
    verdicts = {name: stage["verdict"] for name, stage in stages.items()}
    statuses = {name: str(verdict["status"]) for name, verdict in verdicts.items()}
    statuses["exact"] = exact_status(verdicts["exact"])
    outcome = Outcome(
        claim.id,
        claim.statement,
        str(overall(**statuses, exact_only=spec.exact_only)),
        *(statuses[name] for name in ("exact", "empirical", "control", "twin")),
        seconds=sum(stage["seconds"] for stage in stages.values()),
        data={
            "assumptions": list(claim.assumptions),
            "relation": claim.relation,
            "reference": claim.reference,
            "smallest_refuted": power(verdicts["empirical"]),
            "citations": citations(verdicts["exact"]),
            **verdicts,
        },
    )
    if kept is not None:
        kept.keep_outcome(outcome)
    return outcome


def _measured(empirical: Callable[..., st.Verdict], name: str, spec: Spec) -> st.Verdict:
    """Measure; runs too short to be evaluated decide nothing."""
    import jax

    if spec.exact_only:
        return st.Verdict(st.Status.NOT_APPLICABLE, "measurement", how="--exact-only")
    # Each statement has randomness of its own, whatever else is checked beside it.
    own = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") & 0x7FFFFFFF
    key = jax.random.fold_in(jax.random.key(spec.seed), own)
    try:
        return empirical(key, Budget(spec.seconds))
    except st.InputError as error:
        how = f"not evaluated at a budget of {spec.seconds:g} s: {error}; allow more with --budget"
        return st.Verdict(st.Status.INCONCLUSIVE, "measurement", how=how)


def check(
    chosen: list[Statement],
    spec: Spec | None = None,
    *,
    folder: pathlib.Path | None = None,
    jobs: int = 1,
    fresh: bool = False,
) -> Iterator[Outcome]:
    """Check statements and yield each outcome as it is there.

    Args:
        chosen: Which statements.
        spec: Seed and budget.
        folder: Where outcomes are kept, and the finished stages of those under way; what is found
            there of the same spec and version is taken over, so that a killed run goes on where
            it was.
        jobs: How many statements are checked at a time, each in a process of its own.
        fresh: Check again what is already there.

    Raises:
        SymtheoryError: A process was killed.
    """
    spec = spec or Spec()
    if folder is not None:
        prepare(folder)
    left: list[tuple[Statement, Spec, Place | None]] = []
    for statement in chosen:
        kept = None if folder is None else place(folder, statement, spec)
        if kept is not None and fresh:
            kept.forget_stages()
        known = None if kept is None or fresh else kept.outcome()
        if known is not None:
            yield known
        else:
            left.append((statement, spec, kept))
    if jobs == 1 or len(left) < 2:
        for task in left:
            yield run_one(*task)
    else:
        yield from side_by_side(run_one, left, jobs)
