"""Results as JSON-ready data; other programs read these keys."""

from __future__ import annotations

from typing import Any

from symtheory.comparison import Experiment, FinalCharge
from symtheory.theory import Expression, Law, MatrixLaw, TensorExpression
from symtheory.verdict import jsonable

SCHEMA_VERSION = 1


def expression_data(expression: Expression | TensorExpression) -> dict[str, Any]:
    """Return a closed form as SymPy text (with the names that are symbols in it) and LaTeX."""
    closed = expression.sympy()
    names = sorted(str(symbol) for symbol in closed.free_symbols)
    return {"sympy": str(closed), "latex": expression.latex(), "symbols": names}


def law_data(law: Law | MatrixLaw) -> dict[str, Any]:
    """Return a law: its symmetry, closed forms, equilibrium, assumptions and proof."""
    out: dict[str, Any] = {
        "symmetry": law.name,
        "status": str(law.status),
        "claim": law.verdict.claim,
        "how": law.verdict.how,
        "assumptions": list(law.assumptions),
        "steps": [step.to_json() for step in law.steps],
    }
    out |= {name: expression_data(value) for name, value in law.expressions().items()}
    if isinstance(law, MatrixLaw):
        out["definitions"] = [
            {"name": name, "text": text, "latex": latex} for name, text, latex in law.definitions()
        ]
        if law.equilibrium is not None:
            statements = law.equilibrium.statements()
            out["equilibrium"] = {
                "latex": law.equilibrium.latex(),
                "condition": {"latex": f"{law.equilibrium.condition.latex()} = 0"},
                "statements": [
                    {"where": where, "text": text, "latex": latex}
                    for where, text, latex in statements
                ],
            }
    elif law.equilibrium is not None:
        point = law.equilibrium
        out["equilibrium"] = {
            "latex": point.latex(),
            "condition": {"latex": f"{point.condition.latex()} = 0"},
            "without_weight_decay": point.kind,
            "member": point.member,
            "rates": [str(rate) for rate in point.rates],
            "solution": None if point.solution is None else str(point.solution),
            "where": {str(symbol): str(value) for symbol, value in point.where.items()},
        }
    witness = next((s.witness for s in (law.verdict, *law.steps) if s.witness is not None), None)
    if witness is not None:
        out["witness"] = jsonable(witness)
    return out


def _charge_data(value: FinalCharge) -> dict[str, float]:
    return {
        "predicted": value.predicted,
        "measured": float(value.measured.mean),
        "standard_error": float(value.measured.standard_error),
        "scale": value.scale,
    }


def experiment_data(result: Experiment) -> dict[str, Any]:
    """Return settings, predicted and measured charges by start, and the verdict."""
    dynamics = result.plan.dynamics
    starts = []
    for run, final, total in zip(result.runs, result.finals, result.totals, strict=False):
        starts.append(
            {
                "seconds": run.seconds,
                "balance": _charge_data(total),
                "charges": [_charge_data(value) for value in final],
            }
        )
    diverged = next((run.divergence for run in result.runs if run.divergence), None)
    return {
        "settings": {
            "learning_rate": dynamics.learning_rate,
            "batch_size": dynamics.batch_size,
            "weight_decay": dynamics.weight_decay,
            "momentum": dynamics.momentum,
            "temperature": dynamics.temperature,
            "steps": result.plan.steps,
            "replicas": result.plan.replicas,
            "seed": result.plan.seed,
        },
        "starts": starts,
        "equilibria": [
            {
                "charge": point.charge,
                "flow": point.flow,
                "bracket": None if point.bracket is None else [float(b) for b in point.bracket],
                "status": str(point.verdict.status),
            }
            for point in result.equilibria
        ],
        "divergence": None if diverged is None else jsonable(vars(diverged)),
        "verdict": result.verdict.to_json(),
    }
