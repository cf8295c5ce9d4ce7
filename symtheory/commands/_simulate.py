"""The command `symtheory simulate`."""

from __future__ import annotations

import pathlib
from typing import Annotated, Any

import typer

from symtheory.commands._hosted import hosted
from symtheory.commands._inputs import bind, double_precision, first, load
from symtheory.commands._options import (
    BatchSize,
    Fast,
    Json,
    LearningRate,
    MaxMemory,
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
from symtheory.commands._outputs import finish, note
from symtheory.errors import InputError
from symtheory.files import replacing


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
    out: Annotated[pathlib.Path, typer.Option(help="File to write (.npz, .nc).")] = pathlib.Path(
        "symtheory-run/ensemble.npz"
    ),
    seed: Seed = 0,
    record_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between records; 200 records by default.")
    ] = None,
    checkpoint: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder to save the state in, about every second, and to go on from."),
    ] = None,
    memory: MaxMemory = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Devices to use; all by default.")] = (
        None
    ),
    hosts: Annotated[
        str | None,
        typer.Option(
            help="One address for each process, as node1,node2:port; the first coordinates. "
            "'auto' under Slurm, Open MPI and Kubernetes. The same command on every host."
        ),
    ] = None,
    process: Annotated[
        int | None,
        typer.Option(min=0, help="Which of --hosts this is, from 0; by default found by address."),
    ] = None,
    host_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for the other hosts.")
    ] = 120.0,
    fast: Fast = False,
    as_json: Json = False,
) -> None:
    """Simulate an ensemble of SGD and write it to a file.

    FILE.npz is for NumPy, FILE.nc for xarray and anything else that reads netCDF (needs the extra
    `trajectories`). Both hold record steps, times, the observed charge (replicas x records x
    components), the final parameters by leaf, and the settings.
    """
    if out.suffix not in (".npz", ".nc"):
        raise InputError(f"the ensemble is written as .npz or .nc, got {str(out)!r}")

    def work() -> None:
        import jax

        from symtheory.comparison import diverged_verdict, starting_points
        from symtheory.simulation import SGD, simulate, together
        from symtheory.theory import derive_entries

        double_precision()
        source = load(model)
        _, bound = bind(source, size, value)
        bound.require_bound()
        example = source.example
        chosen = source.select(symmetry, bound)
        law = derive_entries(bound, chosen[0], seed=seed) if chosen else None
        rate = first(learning_rate, example.learning_rate if example else 0.01)
        decay = first(weight_decay, example.weight_decay if example else 0.0)
        result = simulate(
            bound,
            SGD(rate, batch_size, decay, momentum),
            params=starting_points(bound, 1, seed)[0],
            steps=first(steps, 10_000),
            replicas=first(replicas, 16 if fast else 64),
            key=jax.random.key(seed),
            observe=law if law is not None and law.charge is not None else None,
            record_every=record_every,
            devices=devices,
            memory=memory,
            checkpoint=checkpoint,
            progress=not as_json,
        )
        if result.diverged:
            verdict = diverged_verdict(result)
            data = {"model": source.name, "verdict": verdict.to_json()}
            if jax.process_index():  # every process has the same results, and one says so
                raise typer.Exit(3)
            finish(as_json, "simulate", data, [f"{verdict.status}: {verdict.how}"], verdict.status)
        with together():  # the others wait until it is written
            if jax.process_index() == 0:
                _write(result, out)
        if jax.process_index():
            raise typer.Exit()
        summary = {"model": source.name, "file": str(out), "seconds": result.seconds}
        lines = [result.describe(), f"[bold]File[/]      {out}"]
        finish(as_json, "simulate", summary, lines, None)

    if hosts is not None:
        hosted(hosts, process, host_timeout, work)
        return
    try:
        work()
    except KeyboardInterrupt:
        saved = f"; the same command goes on from {str(checkpoint)!r}" if checkpoint else ""
        note(f"interrupted{saved}")
        raise


def _write(result: Any, path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        _write_npz(result, path)
    else:
        result.save(path)


def _write_npz(result: Any, path: pathlib.Path) -> None:
    import jax
    import numpy as np

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
    with replacing(path) as partial:
        np.savez(partial, **arrays)
