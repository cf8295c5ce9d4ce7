"""Structured search in models of any size, from its memory to its result."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from symtheory.errors import BudgetError
from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.symmetry._evaluated import independence_claim
from symtheory.symmetry._memory import intermediates, require
from symtheory.symmetry.discovery._measure import Measured, Place
from symtheory.symmetry.discovery._proof import Prover
from symtheory.symmetry.discovery._result import Discovery
from symtheory.symmetry.discovery._search import SMALL, SPARE, Search, count
from symtheory.verdict import Derivation, Status, Verdict, conjunction, prove

_COMPILING = 2**27
"""Bytes that compiling a gradient, and stacks of matrices on their way through it, take."""

Progress = Callable[[str, int, int], None]


def discover_large(
    model: Model, prover: Prover, deadline: Deadline, seed: int, max_memory: float | None,
    report: Progress, started: float,
) -> Discovery:  # fmt: skip
    """Search a model of any size for structured symmetries.

    Raises:
        InputError: Something of the model is not bound, or the search needs more than `max_memory`.
    """
    search = Search(model, prover, deadline, seed, report)
    needed = _COMPILING + memory(model, search.places) + 16 * intermediates(prover.loss.jaxpr)
    require(needed, max_memory, f"searching {model.name} ({model.dimension} parameters)")
    trivial: dict[str, Verdict] = {}
    unfinished = ""
    try:
        report("compile the gradient", 0, 0)
        seen = search.measure()
        trivial = _trivial(search, seen)
        for stage in (
            search.units,
            search.mixings,
            search.prove_units,
            search.scales,
            search.shifts,
        ):
            deadline.check()
            stage(seen)
    except BudgetError as error:
        unfinished = str(error)
    charges = search.charges.rank(max_memory) + search.constants
    return _result(search, trivial, charges, unfinished, started)


def memory(model: Model, places: dict[int, list[Place]]) -> int:
    """Return about how many bytes a search needs besides the values of the loss."""
    matrices = max((size * size * (2 * len(row) + 8) for size, row in places.items()), default=0)
    tables = max((size * len(row) * 4 * (2 * len(row) + SPARE) for size, row in places.items()),
                 default=0)  # fmt: skip
    return 8 * (12 * model.dimension + matrices + tables)


def _trivial(search: Search, seen: Measured) -> dict[str, Verdict]:
    """Return leaves (or slices of leaves) without influence, each with its verdict.

    Where a leaf cancels, as a bias of attention keys does, its gradient is zero up to rounding.
    """
    out = {}
    largest = max((float(np.max(x, initial=0.0)) for x in seen.active.values()), default=0.0)
    names = [name or "theta" for name in search.model.leaves]
    for leaf, name in enumerate(names):
        parts = [k for k, part in enumerate(search.parts) if part.leaf == leaf]
        size = {k: float(np.max(seen.active[k], initial=0.0)) for k in parts}
        if any(x > SMALL * largest for x in size.values()):
            for k in parts:
                if not size[k]:
                    _note(search, out, search.parts[k].name, search.entries(k), "")
            continue
        proof = search.prover.shift([(leaf, -1)])
        search.gap.unclear += not proof and any(size.values())
        if proof or not any(size.values()):
            entries = np.arange(search.starts[leaf], search.starts[leaf + 1])
            _note(search, out, name, entries, proof.how if proof else "")
            if name in out:
                search.drop(leaf)
            if proof:
                search.constants += count(list(search.model.leaves.values())[leaf])
    return out


def _note(
    search: Search, out: dict[str, Verdict], name: str, entries: np.ndarray, how: str
) -> None:
    """Add that the loss does not depend on some entries, unless it does at other magnitudes."""
    claim = f"the loss does not depend on {name}: trivially symmetric there"
    recheck = independence_claim(search.model, entries)
    if how:
        out[name] = prove(claim, Derivation(how), recheck)
    elif recheck.test().agrees is False:
        search.gap.refuted.append(claim)
    else:
        how = "its gradient is exactly 0 at all random points"
        out[name] = Verdict(Status.SUPPORTED, claim, how=how)


def _result(
    search: Search, trivial: dict[str, Verdict], charges: int, unfinished: str, started: float
) -> Discovery:
    model, gap, groups = search.model, search.gap, search.groups
    scope = (
        "scales of leaves, rescalings of units, linear actions along matching axes, shifts along "
        "an axis; other matrices were not searched"
    )
    claim = f"the loss of {model.name} has the symmetries listed and no others of that kind"
    evidence = (
        f"relative singular values {gap.kept:.1e} kept, {gap.dropped:.1e} dropped, in double "
        "precision"
    )
    if unfinished or gap.unclear or gap.refuted:
        why = unfinished or f"no clear gap in {gap.unclear} of the equations; {evidence}"
        if gap.refuted and not unfinished:
            why = f"holds at the points searched and fails at others: {'; '.join(gap.refuted)}"
        verdict = Verdict(Status.INCONCLUSIVE, claim, how=why)
    else:
        verdict = Verdict(Status.SUPPORTED, claim, how=evidence)
    parts = [g.verdict for g in groups if g.verdict is not None]
    verdict = conjunction(claim, [verdict, *parts], how=verdict.how)
    linear = [g for g in groups if not g.affine]
    return Discovery(
        model=model,
        generators=(),
        translations=(),
        groups=tuple(groups),
        total=sum(g.count for g in linear),
        symmetric=sum(g.symmetric for g in linear),
        affine=sum(g.count for g in groups),
        completeness=verdict,
        scope=scope,
        gap={"kept": gap.kept, "dropped": gap.dropped, "exact": False, "certified": False},
        trivial=trivial,
        structure=None,
        charges=charges,
        seconds=time.monotonic() - started,
    )
