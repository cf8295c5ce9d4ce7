"""The main job: simulate a law from several starting points and compare."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from symtheory.comparison._compare import evidence, identical_replicas, windows
from symtheory.comparison._final import (
    FinalCharge,
    diagonal_weights,
    final_charges,
    final_total,
    initialization_independence,
)
from symtheory.comparison._power import POWER, checked_power
from symtheory.comparison._power import verdicts as power_verdicts
from symtheory.comparison._prediction import Prediction, predict
from symtheory.comparison._verdicts import diverged_verdict
from symtheory.errors import BudgetError, InputError
from symtheory.model import Model
from symtheory.program import NO_DEADLINE, Deadline
from symtheory.simulation import SGD, Run, simulate
from symtheory.theory import EquilibriumPoint, Law
from symtheory.verdict import Status, Verdict, conjunction

_MOST_STEPS = 200_000
_SHARE = 1 / 15
"""Of the time left, what one flow may take while planning: each of three starts needs three."""
_SAMPLED_SHARE = 1 / 60
"""The same where moments are sampled: a flow over all samples takes four times as long."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Settings of an experiment.

    Attributes:
        dynamics: SGD with its settings.
        steps: Steps per run.
        replicas: Replicas per run.
        starts: Starting points, one run each.
        seed: Seed of the random keys.
    """

    dynamics: SGD
    steps: int
    replicas: int
    starts: tuple[Any, ...]
    seed: int


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What came of an experiment, start by start, and the verdict.

    Attributes:
        law: The law that was tested.
        plan: The settings.
        runs: The simulations.
        predictions: The Noether flow from each start.
        finals: Predicted and measured charges in the last quarter of each run, by component.
        totals: The same for the identity member of a family (the charge itself without one).
        equilibria: The equilibrium on the orbit through the end of each flow, with its certified
            bracket; empty where the law's moments are not exact.
        verdict: The proof of the law joined with all comparisons.
    """

    law: Law
    plan: Plan
    runs: tuple[Run, ...]
    predictions: tuple[Prediction, ...]
    finals: tuple[list[FinalCharge], ...]
    totals: tuple[FinalCharge, ...]
    equilibria: tuple[EquilibriumPoint, ...]
    verdict: Verdict


def starting_points(model: Model, count: int = 3, seed: int = 0) -> tuple[Any, ...]:
    """Draw starting points that differ in the balance between the leaves.

    Entries are normal with variance one over the last dimension; successive leaves are scaled by
    (1, 1), (1.5, 0.7), (0.7, 1.5), (2, 0.5), ... in turn, so that the charges start apart.

    >>> from symtheory.zoo import load
    >>> len(starting_points(load("scalar-factor").model, 4))
    4
    """
    rng = np.random.default_rng(seed)
    factors = [(1.0, 1.0), (1.5, 0.7), (0.7, 1.5), (2.0, 0.5), (0.5, 2.0)]
    out = []
    leaves, tree = jax.tree.flatten(model.structure()[0])
    for start in range(count):
        pair = factors[start % len(factors)]
        values = [
            rng.normal(size=leaf.shape) * pair[k % 2] / math.sqrt(max(leaf.shape[-1:] or (1,)))
            for k, leaf in enumerate(leaves)
        ]
        # A scalar of either sign near zero would start on the wrong side of a saddle.
        values = [np.copysign(0.5 + abs(v), 1.0) if v.ndim == 0 else v for v in values]
        out.append(jax.tree.unflatten(tree, values))
    return tuple(out)


def plan(
    law: Law,
    model: Model,
    *,
    learning_rate: float | None = None,
    batch_size: int = 1,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    steps: int | None = None,
    replicas: int = 64,
    starts: int = 3,
    seed: int = 0,
    deadline: Deadline = NO_DEADLINE,
) -> Plan:
    """Choose what is not given: a stable learning rate, and enough steps to reach equilibrium.

    The learning rate is a tenth of 1/Tr E[Hessian] where the Noether flow ends; the number of
    steps is doubled until the predicted charges change by less than 1 % of their size over the
    second half of the run.

    Args:
        law: The law to be tested.
        model: The model with everything bound.
        learning_rate: eta, or None.
        batch_size: S.
        weight_decay: gamma.
        momentum: beta.
        steps: Steps per run, or None.
        replicas: Replicas per run (at least 2, for standard errors).
        starts: Number of starting points.
        seed: Seed of starting points and random keys.
        deadline: A time limit. A third of what is left is spent on looking for the number of
            steps; where that is not enough, the run is shorter than the charges need.

    Raises:
        InputError: Fewer than two replicas.
    """
    if replicas < 2:
        raise InputError(f"standard errors need at least 2 replicas, got {replicas}")
    points = starting_points(model, starts, seed)
    parts = law.sampled_parts(1)  # where moments are sampled, fewer samples are enough to plan
    law, share = (parts[0], _SAMPLED_SHARE) if parts else (law, _SHARE)
    values: dict[str, Any] = {n: v for n, v in model.values.items() if n in law.model.unbound}
    if learning_rate is None:
        settled = _settled(law, points[0], weight_decay, values, deadline)
        learning_rate = _round_down(0.1 * batch_size**0.5 / _curvature(model, settled))
    dynamics = SGD(learning_rate, batch_size, weight_decay, momentum)
    if steps is None:
        steps = _enough_steps(law, dynamics, points[-1], values, deadline, share)
    return Plan(dynamics, steps, replicas, points, seed)


def _settled(law: Law, start: Any, weight_decay: float, values: Any, deadline: Deadline) -> Any:
    """Return the parameters where the Noether flow from a start has come near a minimum."""
    share = deadline.within(deadline.remaining() / 10)
    for time in (20.0, 5.0, 1.0):
        try:
            return law.noether_flow(
                start, [time], temperature=1e-3, weight_decay=weight_decay, deadline=share, **values
            ).params
        except BudgetError:
            continue
    return start


def _curvature(model: Model, params: Any) -> float:
    """Return the trace of the mean Hessian, at least 1e-3."""
    draws = model.sample(jax.random.key(0), (256,), jnp.float64)
    start = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
    flat, back = jax.flatten_util.ravel_pytree(start)
    gradient = jax.grad(lambda v, z: model.evaluate(back(v), z))

    def trace(z: Any, probe: Any) -> Any:
        return probe @ jax.jvp(lambda v: gradient(v, z), (flat,), (probe,))[1]

    probes = jax.random.rademacher(jax.random.key(1), (256, flat.size), flat.dtype)
    return max(float(jnp.mean(jnp.abs(jax.jit(jax.vmap(trace))(draws, probes)))), 1e-3)


def _round_down(value: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten below a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return float(f"{max(m * power for m in (1, 2, 5) if m * power <= value):.3g}")


def _enough_steps(
    law: Law, dynamics: SGD, start: Any, values: Any, deadline: Deadline, share: float
) -> int:
    """Return after how many steps the predicted charge rests, or as many as time allows."""
    steps = max(1000, int(2.0 / dynamics.temperature))
    while steps < _MOST_STEPS:
        times = np.array([0.5, 1.0]) * steps * dynamics.time_per_step
        try:
            flow = law.noether_flow(
                start,
                times,
                temperature=dynamics.time_per_step / dynamics.batch_size,
                weight_decay=dynamics.weight_decay,
                deadline=deadline.within(share * deadline.remaining()),
                **values,
            )
        except BudgetError:
            return max(steps // 2, 1000)
        if np.all(np.abs(flow.charges[1] - flow.charges[0]) < 0.01 * flow.scales[1]):
            break
        steps *= 2
    return min(steps, _MOST_STEPS)


def experiment(
    law: Law,
    model: Model,
    settings: Plan,
    *,
    margin: float = 0.05,
    power: float = POWER,
    progress: Callable[[str, int, int], None] | None = None,
    deadline: Deadline = NO_DEADLINE,
) -> Experiment:
    """Simulate the law's model from every start of the plan and compare with its predictions.

    Args:
        law: The law.
        model: The model with everything bound.
        settings: The plan.
        margin: Relative margin of equivalence, see `compare`.
        power: Share of the noise that all runs together have to resolve, see `compare`.
        progress: Called now and then with (what, done, total).
        deadline: A time limit; starts that are not done by then are reported as missing.

    Returns:
        An `Experiment` whose verdict joins the proof of the law with the comparisons.
    """
    power = checked_power(power)
    key = jax.random.key(settings.seed)
    runs, predictions, finals, totals, equilibria, found = [], [], [], [], [], []
    verdicts = [law.verdict]
    for k, start in enumerate(settings.starts):
        label = f"start {k + 1} of {len(settings.starts)}"
        try:
            deadline.check()
            run = simulate(
                model,
                settings.dynamics,
                params=start,
                steps=settings.steps,
                replicas=settings.replicas,
                key=jax.random.fold_in(key, k),
                observe=law,
                progress=None if progress is None else _labelled(progress, label),
            )
            if run.diverged:
                runs.append(run)
                verdicts.append(diverged_verdict(run))
                break
            if progress is not None:
                progress(f"predict {label}", 0, 0)
            prediction = predict(law, run, deadline=deadline)
            witnessed = evidence(law, run, prediction, power, deadline=deadline)
        except BudgetError as error:
            missing = f"starts {k + 1} to {len(settings.starts)} are compared with the law"
            verdicts.append(Verdict(Status.INCONCLUSIVE, missing, how=str(error)))
            break
        runs.append(run)
        predictions.append(prediction)
        found.append(witnessed)
        level = 1 - 0.01 / (3 * found[-1].measured.shape[2] + 2)
        claim = f"start {k + 1}: the mean charge of {law.name} follows the Noether flow"
        verdicts.append(conjunction(claim, windows(run, prediction, margin, level)))
        if same := identical_replicas(run):
            verdicts.append(Verdict(Status.INCONCLUSIVE, "replicas are independent", how=same))
        finals.append(final_charges(law, run, prediction))
        totals.append(final_total(law, run, prediction))
        equilibria += _certified(law, model, settings.dynamics, prediction)
    complete = len(found) == len(settings.starts)
    if complete:
        claim = "the drift and its noise are the predicted ones, from all starts together"
        level = 1 - 0.01 / (3 * found[0].measured.shape[2] + 2)
        if parts := power_verdicts(found, power, level):
            verdicts.append(conjunction(claim, parts))
    if complete and len(found) > 1 and _agree(law, predictions):
        verdicts.append(initialization_independence(law, runs, predictions, margin=margin))
    verdict = conjunction(
        f"SGD on {model.name} obeys the charge law of {law.name}",
        verdicts,
        how=f"{len(runs)} runs of {settings.replicas} replicas, {settings.steps} steps each",
    )
    return Experiment(
        law,
        settings,
        tuple(runs),
        tuple(predictions),
        tuple(finals),
        tuple(totals),
        tuple(equilibria),
        verdict,
    )


def _certified(
    law: Law, model: Model, dynamics: SGD, prediction: Prediction
) -> list[EquilibriumPoint]:
    """Return the equilibrium on the orbit through the end of a flow, if moments are exact."""
    if law.equilibrium is None or law.noise is None or not law.noise.smooth:
        return []
    values: dict[str, Any] = {n: v for n, v in model.values.items() if n in law.model.unbound}
    return [
        law.equilibrium.at(
            prediction.flows[0].params,
            learning_rate=dynamics.time_per_step,
            batch_size=dynamics.batch_size,
            weight_decay=dynamics.weight_decay,
            **values,
        )
    ]


def _labelled(progress: Callable[[str, int, int], None], label: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(label, done, total)


def _agree(law: Law, predictions: list[Prediction]) -> bool:
    """Tell whether theory predicts one and the same total charge from every start.

    It does where the starts flow to one orbit of the symmetry and the run is long enough.
    """
    weights = diagonal_weights(law)
    ends = np.array([p.charges[-1] @ weights for p in predictions])
    scale = min(float(p.scales[-1] @ weights) for p in predictions)
    return bool(np.ptp(ends) < 0.02 * scale)
