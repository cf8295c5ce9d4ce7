"""Results as text for a terminal."""

from __future__ import annotations

from typing import Any

import sympy

from symtheory.comparison import Experiment, FinalCharge
from symtheory.theory import Equilibrium, Expression, Law, MatrixLaw
from symtheory.verdict import Status, Verdict

_LONGEST = 400
_STYLES: dict[str, str] = dict(
    zip(Status, ("bold green", "green", "bold red", "yellow", "dim"), strict=True)
)


def mark(verdict: Any) -> str:
    """Return a status with its colour."""
    status = str(getattr(verdict, "status", verdict))
    return f"[{_STYLES[status]}]{status.replace('_', ' ')}[/]" if status in _STYLES else status


def formula(expression: Expression) -> str:
    """Return a closed form as text, matrices row by row, cut where it is too long to read."""
    return shorten(expression.sympy(), expression.size)


def shorten(closed: Any, size: int) -> str:
    """Return a SymPy object as text, or only its beginning."""
    if isinstance(closed, sympy.MatrixBase) and closed.shape != (1, 1):
        rows = [", ".join(str(entry) for entry in closed.row(i)) for i in range(closed.rows)]
        text = "\n    [" + "],\n    [".join(rows) + "]"
    else:
        text = str(closed[0, 0] if isinstance(closed, sympy.MatrixBase) else closed)
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST].rstrip()} ... ({size} terms; whole with --json)"


def law_lines(law: Law | MatrixLaw, *, latex: bool = False) -> list[str]:
    """Return a law as lines of marked-up text."""
    lines = [f"[bold]Law[/]       {_plain(law.verdict.claim)}: {mark(law)}"]
    for step in law.steps:
        lines.append(_step_line(step))
    if law.charge is None:
        if law.verdict.how:
            lines.append(f"  {_plain(law.verdict.how)}")
        witness = next((s.witness for s in (law.verdict, *law.steps) if s.witness), None)
        if witness:
            lines.append("  witness:")
            lines += [f"    {name} = {_plain(str(value))}" for name, value in witness.items()]
        return lines
    if latex:
        return [*lines, "", _plain(law.latex())]
    if isinstance(law, MatrixLaw):
        return [*lines, "", *_matrix_lines(law)]
    trace = "E[.] formal" if law.noise is not None and not law.noise.smooth else None
    lines += ["", f"[bold]Charge[/]    C = {_plain(formula(law.charge))}"]
    if law.noise_trace is None:
        assert law.drift is not None
        return [*lines, f"[bold]Drift[/]     dC/dt = {_plain(formula(law.drift))}"]
    settings = law.charge.settings
    eta, size, gamma = (settings[n] for n in ("learning_rate", "batch_size", "weight_decay"))
    lines += [
        f"[bold]Noise[/]     N = Tr[Sigma A] = {_plain(trace or formula(law.noise_trace))}",
        f"[bold]Drift[/]     dC/dt = -4*{gamma}*C + ({eta}/{size})*N          (SDE; no diffusion)",
        f"[bold]Step[/]      E[C' - C] = -4*{eta}*{gamma}*(1 - {eta}*{gamma})*C "
        f"+ {eta}**2*(gradL^T A gradL + N/{size})   (SGD, exact)",
    ]
    if law.equilibrium is not None:
        lines += _equilibrium_lines(law.equilibrium)
    return lines


def _matrix_lines(law: MatrixLaw) -> list[str]:
    """Return the formulas of a law for all sizes, one below the other."""
    lines = law.text()
    width = max(len(name) for name, _ in lines)
    return [f"  [bold]{_plain(name):<{width}}[/]  {_plain(text)}" for name, text in lines]


def _equilibrium_lines(equilibrium: Equilibrium) -> list[str]:
    meaning = {
        "finite": "noise on both sides: one finite equilibrium on every orbit",
        "+infinity": "noise on one side: without weight decay the charge grows without end",
        "-infinity": "noise on one side: without weight decay the charge falls without end",
        "everywhere": "no noise along the symmetry: every point is stationary",
        "unknown": "moments stay formal; finite if there is noise on both sides",
    }[equilibrium.kind]
    lines = [f"[bold]Equilibrium[/] dC/dt = 0; {meaning}"]
    if equilibrium.solution is not None:
        member = {"": "", "identity": " (along B = I)", "ones": " (along a = 1)"}
        lines.append(
            f"  exp(lambda* A) theta with lambda* = {_plain(str(equilibrium.solution))}"
            f"{member[equilibrium.member]}"
        )
        for symbol, value in equilibrium.where.items():
            text = formula(value)
            cut = text if len(text) <= 120 else f"{text[:120].rstrip()} ..."
            lines.append(f"    {symbol} = {_plain(cut)}")
    return lines


def experiment_lines(result: Experiment) -> list[str]:
    """Return predicted and measured charges as a table, and the verdict."""
    dynamics, plan = result.plan.dynamics, result.plan
    lines = [
        "",
        f"[bold]Simulation[/]  SGD, eta = {dynamics.learning_rate:g}, S = {dynamics.batch_size}, "
        f"gamma = {dynamics.weight_decay:g}, beta = {dynamics.momentum:g}; {plan.steps} steps, "
        f"{plan.replicas} replicas, {len(plan.starts)} starts",
    ]
    if result.finals:
        lines.append("  charge in the last quarter: predicted, measured +- standard error")
        if len(result.finals[0]) > 1:
            lines.append("  (balance: the sum over the diagonal, B = I; components: entries of C)")
    for k, (final, total) in enumerate(zip(result.finals, result.totals, strict=True)):
        name = f"start {k + 1}"
        if len(final) == 1:
            lines.append(_charge_line(name, total))
            continue
        lines.append(_charge_line(f"{name}, balance", total))
        lines += [_charge_line(f"  component {i + 1}", value) for i, value in enumerate(final)]
    for k, point in enumerate(result.equilibria):
        lines.append(
            f"  equilibrium on the orbit of start {k + 1}: charge {point.charge:+.5f}, "
            f"lambda* {point.flow:+.4g} from the end of the flow: {mark(point.verdict)}"
        )
    lines += ["", *verdict_lines(result.verdict)]
    return lines


def _charge_line(name: str, value: FinalCharge) -> str:
    error = float(value.measured.standard_error)
    return (
        f"    {name:<18} {value.predicted:+.5f}   {float(value.measured.mean):+.5f} +- {error:.5f}"
        f"   (|theta| |A theta| = {value.scale:.3g})"
    )


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return a verdict and the parts it rests on."""
    lines = [f"[bold]Verdict[/]   {mark(verdict)}: {_plain(verdict.claim)}"]
    for part in verdict.parts:
        lines.append(_step_line(part))
        for detail in part.parts:
            if not detail.status.holds and str(detail.status) != "not_applicable":
                lines.append(f"      {mark(detail)}  {_plain(detail.claim)}: {_plain(detail.how)}")
    return lines


def _step_line(step: Verdict) -> str:
    how = f"  [dim]({_plain(step.how)})[/]" if step.how else ""
    return f"  {mark(step)}  {_plain(step.claim)}{how}"


def _plain(text: str) -> str:
    """Protect text with square brackets from being read as markup."""
    return text.replace("[", "\\[")
