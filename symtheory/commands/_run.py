"""The command `symtheory run`."""

from __future__ import annotations

import pathlib
from typing import Annotated, Any

import typer

from symtheory.commands._inputs import (
    bind,
    check_folder,
    double_precision,
    first,
    load,
    only_arrays,
    shapes_text,
    values_text,
)
from symtheory.commands._options import (
    BatchSize,
    Fast,
    Json,
    LearningRate,
    ModelName,
    Momentum,
    Replicas,
    Seed,
    Sizes,
    Steps,
    Symmetry,
    Values,
    WeightDecay,
)
from symtheory.commands._outputs import finish, note, reporting

_SEARCH, _COUNT, _DERIVE = 0.25, 0.1, 0.15
"""Shares of the time limit: discovery, conservation laws, derivation. Runs get what is left."""


def command(
    model: ModelName = "two-layer-linear",
    size: Sizes = [],
    value: Values = [],
    symmetry: Symmetry = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = 1,
    weight_decay: WeightDecay = None,
    momentum: Momentum = 0.0,
    steps: Steps = None,
    replicas: Replicas = None,
    starts: Annotated[int, typer.Option(min=1, help="Number of starting points.")] = 3,
    out: Annotated[pathlib.Path, typer.Option(help="Folder for the picture.")] = pathlib.Path(
        "symtheory-run"
    ),
    seed: Seed = 0,
    fast: Fast = False,
    seconds: Annotated[
        float, typer.Option(min=1, help="Time limit; what is done by then is reported.")
    ] = 120.0,
    as_json: Json = False,
) -> None:
    """Derive the law of a model, simulate it from several starts, compare, and draw.

    Without MODEL: the two-layer linear model with isotropic label noise. Sizes, covariances and
    constants that are left open are filled in with plain values, which are printed.
    """
    double_precision()
    check_folder(out)
    from symtheory import report
    from symtheory.comparison import experiment, plan
    from symtheory.program import Deadline
    from symtheory.source import fill
    from symtheory.symmetry import conservation_laws, discover
    from symtheory.theory import derive_entries

    deadline = Deadline(seconds)
    with reporting(quiet=as_json) as progress:
        source = load(model)
        example = source.example
        sized, bound = bind(source, size, value)
        bound, assumed = fill(bound, seed)
        if assumed:
            note("assumed " + ", ".join(f"{k} = {v}" for k, v in assumed.items()))
        sized = sized if not sized.unbound or only_arrays(sized) else bound
        progress("discover symmetries", 0, 0)
        found = discover(bound, seconds=_SEARCH * seconds, seed=seed)
        counts = conservation_laws(bound, seconds=_COUNT * seconds, seed=seed)
        data: dict[str, Any] = {"model": source.name, "assumed": assumed}
        data["values"] = dict(bound.values)
        data["generators"] = found.to_json()["generators"]
        data["conservation_laws"] = counts.to_json()
        lines = [f"[bold]Model[/]     {bound.name}: {shapes_text(bound)}"]
        if bound.values:
            lines.append(f"[bold]Values[/]    {values_text(bound)}")
        lines.append(
            f"[bold]Found[/]     {found.total} linear generators, {found.symmetric} of them "
            f"symmetric: {report.mark(found.status)}; {_between(counts)} conservation laws of "
            f"gradient flow: {report.mark(counts.status)}"
        )
        progress("derive the law", 0, 0)
        chosen = next(iter(source.select(symmetry, bound)), None) or found.family()
        if chosen is None:
            verdict = _nothing_to_test(found)
            data["verdict"] = verdict.to_json()
            finish(as_json, "run", data, [*lines, *report.verdict_lines(verdict)], verdict.status)
        share = _DERIVE * seconds
        law = derive_entries(sized, chosen, seconds=share, seed=seed)
        if law.noise is not None and not law.noise.smooth and sized.unbound:
            law = derive_entries(bound, chosen, seconds=share, seed=seed)
        lines += report.law_lines(law)
        data["laws"] = [report.law_data(law)]
        if law.charge is None or law.noise is None:
            data["verdict"] = law.verdict.to_json()
            finish(as_json, "run", data, lines, law.status)
        progress("plan the runs", 0, 0)
        default = None if size or value else example
        settings = plan(
            law,
            bound,
            learning_rate=first(learning_rate, default.learning_rate if default else None),
            batch_size=batch_size,
            weight_decay=first(weight_decay, example.weight_decay if example else 0.0),
            momentum=momentum,
            steps=first(steps, default.steps if default and learning_rate is None else None),
            replicas=first(replicas, 16 if fast else 64),
            starts=starts,
            seed=seed,
            deadline=deadline,
        )
        result = experiment(law, bound, settings, progress=progress, deadline=deadline)
        lines += report.experiment_lines(result)
        data |= report.experiment_data(result)
        if result.predictions:
            picture = report.save(report.draw(result), out / f"{bound.name}.png")
            data["picture"] = str(picture)
            lines += ["", f"[bold]Picture[/]   {picture}"]
    finish(as_json, "run", data, lines, result.verdict.status)


def _nothing_to_test(found: Any) -> Any:
    """Return that there is no charge law, or that the search cannot say so."""
    from symtheory.verdict import Status, Verdict

    claim = "the loss has no symmetric linear generator, so there is no charge law to test"
    if found.status.holds:
        return Verdict(Status.NOT_APPLICABLE, claim, how=found.completeness.how)
    how = f"none was found, but the search is {found.status}: {found.completeness.how}"
    return Verdict(Status.INCONCLUSIVE, claim, how=f"{how}; allow more --seconds")


def _between(counts: Any) -> str:
    same = counts.lower == counts.upper
    return str(counts.lower) if same else f"{counts.lower} to {counts.upper}"
