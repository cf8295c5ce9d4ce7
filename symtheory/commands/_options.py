"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Zoo name, or file.py:name.")]
Sizes = Annotated[list[str], typer.Option("--size", help="A size, as h=3; repeatable.")]
Values = Annotated[
    list[str],
    typer.Option("--value", help="A constant or covariance in JSON, as V=[[1,0],[0,1]]."),
]
Symmetry = Annotated[str | None, typer.Option("--symmetry", help="Which symmetry, by name.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
Fast = Annotated[bool, typer.Option("--fast", help="Fewer replicas; wider intervals.")]
LearningRate = Annotated[float | None, typer.Option(help="eta > 0.")]
BatchSize = Annotated[int, typer.Option(help="S >= 1.")]
WeightDecay = Annotated[float | None, typer.Option(help="gamma >= 0; the loss is L + gamma |t|^2.")]
Momentum = Annotated[float, typer.Option(help="beta in [0, 1).")]
Steps = Annotated[int | None, typer.Option(min=1, help="SGD steps per run.")]
Replicas = Annotated[int | None, typer.Option(min=1, help="Replicas per run.")]
Budget = Annotated[float, typer.Option(help="Time limit in seconds.")]
MaxMemory = Annotated[float | None, typer.Option(help="Limit in GiB on what it may need.")]
