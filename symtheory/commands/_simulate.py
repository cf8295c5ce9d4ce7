"""The command `symtheory simulate`."""

from __future__ import annotations

import os
import pathlib
from typing import Annotated, Any

import typer

from symtheory.commands._inputs import bind, double_precision, first, load
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
from symtheory.commands._outputs import finish, reporting


def command(
    model: ModelName,
    size: Sizes = [],
    value: Values = [],
    symmetry: Symmetry = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = 1,
    weight_decay: WeightDecay = None,
    momentum: Momentum = 0.0,
    steps: Steps = None,
    replicas: Replicas = None,
    out: Annotated[pathlib.Path, typer.Option(help="File to write (.npz).")] = pathlib.Path(
        "symtheory-run/ensemble.npz"
    ),
    seed: Seed = 0,
    fast: Fast = False,
    as_json: Json = False,
) -> None:
    """Simulate an ensemble of SGD and write it to a NumPy file.

    The file holds record steps, times, the observed charge (replicas x records x components), the
    final parameters by leaf, and the settings as JSON.
    """
    double_precision()
    import jax

    from symtheory.comparison import diverged_verdict, starting_points
    from symtheory.simulation import SGD, simulate
    from symtheory.theory import derive_entries

    source = load(model)
    _, bound = bind(source, size, value)
    bound.require_bound()
    example = source.example
    chosen = source.select(symmetry, bound)
    law = derive_entries(bound, chosen[0], seed=seed) if chosen else None
    rate = first(learning_rate, example.learning_rate if example else 0.01)
    dynamics = SGD(
        rate, batch_size, first(weight_decay, example.weight_decay if example else 0.0), momentum
    )
    with reporting(quiet=as_json) as progress:
        result = simulate(
            bound,
            dynamics,
            params=starting_points(bound, 1, seed)[0],
            steps=first(steps, 10_000),
            replicas=first(replicas, 16 if fast else 64),
            key=jax.random.key(seed),
            observe=law if law is not None and law.charge is not None else None,
            progress=lambda done, total: progress("simulate", done, total),
        )
    if result.diverged:
        verdict = diverged_verdict(result)
        data = {"model": source.name, "verdict": verdict.to_json()}
        finish(as_json, "simulate", data, [f"{verdict.status}: {verdict.how}"], "inconclusive")
    _write_npz(result, out)
    summary = {"model": source.name, "file": str(out), "seconds": result.seconds}
    finish(as_json, "simulate", summary, [result.describe(), f"[bold]File[/]      {out}"])


def _write_npz(result: Any, path: pathlib.Path) -> None:
    import jax
    import numpy as np

    from symtheory.errors import InputError

    arrays = {
        "record_steps": result.record_steps,
        "times": result.times,
        **{f"observable_{name}": values for name, values in result.observables.items()},
        **{
            f"param_{name}": np.asarray(leaf)
            for name, leaf in zip(result.model.leaves, jax.tree.leaves(result.params), strict=True)
        },
        "settings": np.array(result.describe()),
    }
    if path.suffix != ".npz":
        raise InputError(f"the ensemble is written as .npz, got {str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial.npz")
    np.savez(partial, **arrays)
    os.replace(partial, path)
