"""The command `symtheory syre`: remove symmetries, certify that they are gone, forecast."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import typer

from symtheory.commands._inputs import bind, double_precision, load
from symtheory.commands._options import Budget, Json, ModelName, Seed, Sizes, Values
from symtheory.commands._outputs import finish, marked, note, plain, reporting

Decay = Annotated[float, typer.Option(help="gamma > 0: l_r adds gamma |t|^2.")]
Sigma0 = Annotated[
    float | None, typer.Option(help="Spread of the bias; .01/sqrt(fan-in) if omitted.")
]
SigmaD = Annotated[float | None, typer.Option(help="Spread of D, against rotations.")]
StepSize = Annotated[float, typer.Option(help="eta, to count steps.")]
Delta = Annotated[float, typer.Option(help="Failure probability of the bound.")]


def command(
    model: ModelName,
    size: Sizes = [],
    value: Values = [],
    weight_decay: Decay = 0.01,
    sigma0: Sigma0 = None,
    sigma_d: SigmaD = None,
    learning_rate: StepSize = 0.01,
    delta: Delta = 0.1,
    budget: Budget = 60.0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Remove the reflections of a loss, certify that they are gone, forecast the escape.

    The certificate is exact and about the bias drawn from the seed. The forecast says where a
    collapsed direction goes and how many steps it takes; smooth losses only.
    """
    double_precision()
    from symtheory import symmetry, syre
    from symtheory.errors import InputError

    for name, number in (("learning-rate", learning_rate), ("budget", budget)):
        if not number > 0:
            raise InputError(f"--{name} takes a positive number, got {number:g}")
    sized, bound = bind(load(model), size, value)
    options: dict[str, Any] = {"weight_decay": weight_decay, "sigma0": sigma0, "key": seed}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        removed = syre.remove_symmetries(sized, sigma_d=sigma_d, **options)
        full = syre.remove_symmetries(bound, sigma_d=sigma_d, **options)
    for text in dict.fromkeys(str(item.message) for item in caught):
        note(text)
    with reporting(quiet=as_json) as report:
        report("find reflections", 0, 0)
        found = symmetry.reflections(sized, seconds=budget, seed=seed)
        report("certify", 0, 0)
        verdict = syre.certify(removed, of=found, delta=delta, seconds=budget, seed=seed)
        report("forecast", 0, 0)
        forecasts = [_forecast(full, item, learning_rate, seed) for item in found]
    data = {
        "model": model,
        "status": str(verdict.status),
        "certificate": verdict.to_json(),
        "forecasts": forecasts,
    }
    lines = [
        f"[bold]Model[/]        {plain(sized.name)}",
        *certificate_lines(verdict),
        "",
        *forecast_lines(forecasts, learning_rate),
    ]
    finish(as_json, "syre", data, lines, verdict.status)


def _forecast(model: Any, found: Any, learning_rate: float, seed: int) -> dict[str, Any]:
    from symtheory import syre
    from symtheory.errors import SymtheoryError

    try:
        data = syre.forecast(model, found.reflection, key=seed).to_json()
    except SymtheoryError as error:
        return {"reflection": found.name, "status": "not_applicable", "how": str(error)}
    time = data.get("escape_time")
    steps = None if time is None else time / learning_rate
    return {"reflection": found.name, "status": "supported", **data, "escape_steps": steps}


def certificate_lines(verdict: Any) -> list[str]:
    """Return the certificate as lines of marked-up text."""
    from symtheory.verdict import Status

    lines = [f"[bold]Certificate[/]  {plain(verdict.claim)}: {marked(verdict.status)}"]
    numbers = verdict.measured
    if not numbers:
        return [*lines, f"  [dim]{plain(verdict.how)}[/]"]
    for item, part in zip(numbers["families"], verdict.parts, strict=False):
        weakest = item["weakest"]
        strength = "" if weakest is None else f"  |P grad| >= {weakest:.2e}"
        kept = f"  kept {item['kept']}" if item["kept"] else ""
        text = f"{item['name']}  {item['count']} x  rank {item['rank']}{strength}{kept}"
        lines.append(f"  {plain(text)}  {marked(part.status)}")
        bad = [
            p
            for p in part.parts
            if p.status is not Status.PROVED and p.status is not Status.NOT_APPLICABLE
        ]
        lines += [f"    [dim]{plain(p.claim)}: {p.status}; {plain(p.how)}[/]" for p in bad]
    if numbers["weakest"] is not None:
        bound = numbers["bound"]
        expected = "" if bound is None else (
            f"; at least {bound:.2e} with probability {1 - numbers['delta']:g} over the draw"
        )  # fmt: skip
        lines.append(
            f"[bold]Strength[/]     {numbers['weakest']:.2e} at the weakest of "
            f"{numbers['reflections']} mirrors{expected}"
        )
    return lines


def forecast_lines(forecasts: list[dict[str, Any]], learning_rate: float) -> list[str]:
    """Return the forecasts as lines of marked-up text."""
    if not forecasts:
        return []
    lines = [f"[bold]Forecast[/]     from the mirror, steps of size {learning_rate:g}"]
    for item in forecasts:
        name = plain(item["reflection"])
        if "regime" not in item:
            lines.append(f"  {name}  [dim]{plain(item['how'])}[/]")
            continue
        text = f"{item['regime']}, growth {item['growth']:.3g}"
        if item.get("attractor") is not None:
            text += f", goes to distance {item['attractor']:.3g} from the mirror"
        if item.get("escape_steps") is not None:
            text += f", half-way after {item['escape_steps']:.0f} steps"
        lines.append(f"  {name}  {text}")
    return lines
