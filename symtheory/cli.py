"""The command line: run, models, derive, simulate, cite."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from symtheory import commands_discover

if TYPE_CHECKING:
    from symtheory.model import Model
    from symtheory.source import Source

app = typer.Typer(
    name="symtheory",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Derive, prove and simulate what parameter symmetries and SGD noise do to a loss.\n\n"
    "MODEL is a name from `symtheory models` or path/to/file.py:name.\n\n"
    "Exit codes: 0 everything holds, 1 something is refuted, 2 usage, 3 inconclusive, "
    "130 interrupted.",
    epilog="Examples:  symtheory run   |   symtheory run my_model.py:model --size h=3   |   "
    "symtheory derive scalar-factor --json",
)


def _print_version(value: bool) -> None:
    if value:
        from symtheory import __version__

        print(f"symtheory {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    pass


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

_EXIT = {"refuted": 1, "inconclusive": 3}


def main() -> None:
    """Run the command line and exit with its code."""
    from symtheory.errors import SymtheoryError

    try:
        app()
    except SymtheoryError as error:
        print(f"symtheory: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("symtheory: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        _stop_quietly()
    except OSError as error:
        where = f" {str(error.filename)!r}" if error.filename else ""
        reason = error.strerror or str(error)
        print(f"symtheory: cannot use{where}: {reason}; give another path", file=sys.stderr)
        sys.exit(2)


def _stop_quietly() -> NoReturn:
    """Leave when whoever reads the output has seen enough; nothing was refuted."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


@app.command()
def run(
    model: ModelName = "two-layer-linear",
    size: Sizes = [],  # noqa: B006  (typer copies defaults)
    value: Values = [],  # noqa: B006
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
    as_json: Json = False,
) -> None:
    """Derive the law of a model, simulate it from several starts, compare, and draw.

    Without MODEL: the two-layer linear model with isotropic label noise. Sizes, covariances and
    constants that are left open are filled in with plain values, which are printed.
    """
    _double_precision()
    _check_folder(out)
    from symtheory import report
    from symtheory.comparison import experiment, plan
    from symtheory.source import fill
    from symtheory.symmetry import conservation_laws, discover
    from symtheory.theory import derive_entries

    with _progress(quiet=as_json) as progress:
        source = _load(model)
        example = source.example
        sized, bound = _bound(source, size, value)
        bound, assumed = fill(bound, seed)
        if assumed:
            _note("assumed " + ", ".join(f"{k} = {v}" for k, v in assumed.items()))
        sized = sized if not sized.unbound or _only_arrays(sized) else bound
        progress("discover symmetries", 0, 0)
        found = discover(bound, seconds=30, seed=seed)
        counts = conservation_laws(bound, seconds=10, seed=seed)
        data: dict[str, Any] = {"model": source.name, "assumed": assumed}
        data["values"] = dict(bound.values)
        data["generators"] = found.to_json()["generators"]
        data["conservation_laws"] = counts.to_json()
        lines = [f"[bold]Model[/]     {bound.name}: {_shapes(bound)}"]
        if bound.values:
            lines.append(f"[bold]Values[/]    {_values(bound)}")
        lines.append(
            f"[bold]Found[/]     {found.total} linear generators, {found.symmetric} of them "
            f"symmetric: {report.mark(found.status)}; {_between(counts)} conservation laws of "
            f"gradient flow: {report.mark(counts.status)}"
        )
        progress("derive the law", 0, 0)
        chosen = next(iter(source.select(symmetry, bound)), None) or found.family()
        if chosen is None:
            lines.append("no symmetric linear generator, so there is no charge law to test")
            data["verdict"] = {"status": "not_applicable"}
            _finish(as_json, "run", data, lines, "not_applicable")
        law = derive_entries(sized, chosen, seed=seed)
        if law.noise is not None and not law.noise.smooth and sized.unbound:
            law = derive_entries(bound, chosen, seed=seed)
        lines += report.law_lines(law)
        data["laws"] = [report.law_data(law)]
        if law.charge is None or law.noise is None:
            data["verdict"] = law.verdict.to_json()
            _finish(as_json, "run", data, lines, str(law.status))
        default = None if size or value else example
        settings = plan(
            law,
            bound,
            learning_rate=_first(learning_rate, default.learning_rate if default else None),
            batch_size=batch_size,
            weight_decay=_first(weight_decay, example.weight_decay if example else 0.0),
            momentum=momentum,
            steps=_first(steps, default.steps if default and learning_rate is None else None),
            replicas=_first(replicas, 16 if fast else 64),
            starts=starts,
            seed=seed,
        )
        result = experiment(law, bound, settings, progress=progress)
        lines += report.experiment_lines(result)
        data |= report.experiment_data(result)
        if result.predictions:
            picture = report.save(report.draw(result), out / f"{bound.name}.png")
            data["picture"] = str(picture)
            lines += ["", f"[bold]Picture[/]   {picture}"]
    _finish(as_json, "run", data, lines, str(result.verdict.status))


@app.command()
def models(as_json: Json = False) -> None:
    """List the models of the zoo."""
    from symtheory import zoo

    examples = [zoo.load(name) for name in zoo.names()]
    rows = [
        {
            "name": e.name,
            "summary": e.summary,
            "symmetries": list(e.symmetries),
            "sizes": dict(e.sizes),
        }
        for e in examples
    ]
    width = max(len(e.name) for e in examples)
    _finish(as_json, "models", {"models": rows}, [
        f"[bold]{e.name:<{width}}[/]  {e.summary}" for e in examples
    ])  # fmt: skip


@app.command(name="derive")
def derive_command(
    model: ModelName,
    size: Sizes = [],  # noqa: B006
    value: Values = [],  # noqa: B006
    symmetry: Symmetry = None,
    latex: Annotated[bool, typer.Option("--latex", help="Print the law as LaTeX.")] = False,
    seconds: Annotated[float, typer.Option(min=0, help="Time limit of each proof.")] = 60.0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Derive charge, drift, exact discrete drift and equilibrium, with their proof.

    Covariances and constants stay symbolic unless given with --value. Without --symmetry all known
    symmetries of the model are derived.
    """
    _double_precision()
    from symtheory import report
    from symtheory.errors import InputError
    from symtheory.symmetry import discover
    from symtheory.theory import derive
    from symtheory.verdict import conjunction

    source = _load(model)
    sized, bound = _bound(source, size, value, symbolic=True)
    selected = source.select(symmetry, sized)
    if not selected:
        found = discover(bound, seed=seed).family()
        if found is None:
            raise InputError(
                f"{source.name} defines no symmetry and no symmetric linear generator was found; "
                "define one with symtheory.Exponential in the same file"
            )
        selected = [found]
    laws = [derive(sized, item, seconds=seconds, seed=seed) for item in selected]
    verdict = conjunction("all laws", [law.verdict for law in laws])
    lines = [f"[bold]Model[/]     {sized.name}: {_shapes(sized)}"]
    for law in laws:
        lines += ["", *report.law_lines(law, latex=latex)]
    data = {"model": source.name, "laws": [report.law_data(law) for law in laws]}
    _finish(as_json, "derive", {**data, "status": str(verdict.status)}, lines, str(verdict.status))


@app.command(name="simulate")
def simulate_command(
    model: ModelName,
    size: Sizes = [],  # noqa: B006
    value: Values = [],  # noqa: B006
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
    _double_precision()
    import jax

    from symtheory.comparison import diverged_verdict, starting_points
    from symtheory.simulation import SGD, simulate
    from symtheory.theory import derive_entries

    source = _load(model)
    _, bound = _bound(source, size, value)
    bound.require_bound()
    example = source.example
    chosen = source.select(symmetry, bound)
    law = derive_entries(bound, chosen[0], seed=seed) if chosen else None
    rate = _first(learning_rate, example.learning_rate if example else 0.01)
    dynamics = SGD(
        rate, batch_size, _first(weight_decay, example.weight_decay if example else 0.0), momentum
    )
    with _progress(quiet=as_json) as progress:
        result = simulate(
            bound,
            dynamics,
            params=starting_points(bound, 1, seed)[0],
            steps=_first(steps, 10_000),
            replicas=_first(replicas, 16 if fast else 64),
            key=jax.random.key(seed),
            observe=law if law is not None and law.charge is not None else None,
            progress=lambda done, total: progress("simulate", done, total),
        )
    if result.diverged:
        verdict = diverged_verdict(result)
        data = {"model": source.name, "verdict": verdict.to_json()}
        _finish(as_json, "simulate", data, [f"{verdict.status}: {verdict.how}"], "inconclusive")
    _write_npz(result, out)
    summary = {"model": source.name, "file": str(out), "seconds": result.seconds}
    _finish(as_json, "simulate", summary, [result.describe(), f"[bold]File[/]      {out}"])


@app.command(name="cite")
def cite_command(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None, as_json: Json = False
) -> None:
    """Print BibTeX of the papers behind the package, or behind one model."""
    from symtheory.references import cite

    keys = None
    if model is not None:
        example = _load(model).example
        keys = [*(example.references if example else ("ziyin2024noise",)), "symtheory"]
    _finish(as_json, "cite", {"bibtex": cite(keys)}, cite(keys).replace("[", "\\[").splitlines())


# --- shared by the commands ---------------------------------------------------------------------


def _double_precision() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


def _load(text: str) -> Source:
    from symtheory.source import load

    return load(text)


def _bound(
    source: Source, sizes: list[str], values: list[str], *, symbolic: bool = False
) -> tuple[Model, Model]:
    """Return the model with sizes bound, and with everything bound that is known.

    Zoo models have defaults for both; with `symbolic` the second is only used to search.
    """
    from symtheory.source import fill, parse_sizes, parse_values

    given, arrays = parse_sizes(sizes), parse_values(values)
    example = source.example
    if example is not None:
        sized = example.sized(**given)
        if arrays:
            sized = sized.bind(**arrays)
        defaults = example.arrays({**example.sizes, **given})
        return sized, sized.bind(**{k: v for k, v in defaults.items() if k in sized.unbound})
    model = source.model.bind(**given, **arrays)
    return model, fill(model)[0] if symbolic and _only_arrays(model) else model


def _only_arrays(model: Model) -> bool:
    return all(shape is not None for shape in model.unbound.values())


def _shapes(model: Model) -> str:
    return ", ".join(
        f"{name or 'theta'} {'x'.join(map(str, shape)) or 'scalar'}"
        for name, shape in model.leaves.items()
    )


def _values(model: Model) -> str:
    texts = (f"{name} = {value.tolist()}" for name, value in model.values.items())
    return ", ".join(texts).replace("[", "\\[")


def _check_folder(path: pathlib.Path) -> None:
    """Refuse a folder that cannot be written before anything is computed for it."""
    from symtheory.errors import InputError

    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f"--out {str(path)!r} cannot be written; give another folder")


def _between(counts: Any) -> str:
    same = counts.lower == counts.upper
    return str(counts.lower) if same else f"{counts.lower} to {counts.upper}"


def _first(value: Any, default: Any) -> Any:
    return default if value is None else value


def _note(text: str) -> None:
    print(f"symtheory: {text}", file=sys.stderr)


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows progress on stderr, a line per stage where it is no terminal."""
    if quiet or not sys.stderr.isatty():
        seen: set[str] = set()

        def line(stage: str, done: int, total: int) -> None:
            if stage not in seen and not quiet:
                seen.add(stage)
                _note(f"{stage} ...")

        yield line
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total or None)
            bar.update(tasks[stage], completed=done, total=total or None)

        yield show


def _finish(
    as_json: bool, command: str, data: dict[str, Any], lines: list[str], status: str = "proved"
) -> NoReturn:
    """Print the result to stdout and leave with the exit code of its status."""
    if as_json:
        from symtheory import __version__
        from symtheory.verdict import jsonable

        head = {"schema_version": 1, "command": command, "version": __version__}
        print(json.dumps({**head, **jsonable(data)}))
    else:
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        console.on_broken_pipe = _stop_quietly
        for line in lines:
            console.print(line)
    raise typer.Exit(_EXIT.get(status, 0))


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


def _sized(model: str, sizes: list[str], values: list[str]) -> Model:
    return _bound(_load(model), sizes, values)[0]


commands_discover.register(app, model_of=_sized, progress=_progress, finish=_finish)
