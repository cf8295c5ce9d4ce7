"""One ensemble: the run, and what happens when it diverges."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from symtheory.model import Model
from symtheory.readable import require_readable
from symtheory.simulation._asked import Asked, cell_of, starting
from symtheory.simulation._blocks import Schedule
from symtheory.simulation._ensemble import Ensemble
from symtheory.simulation._observe import check_names
from symtheory.simulation._precision import require_resolved
from symtheory.simulation._progress import reporter
from symtheory.simulation._run import Divergence, Run

_HALVINGS = 40


def simulate(
    model: Model,
    dynamics: Any,
    *,
    params: Any,
    steps: int,
    replicas: int = 1,
    key: jax.Array,
    observe: Any = None,
    record_every: int | None = None,
    average_from: int | None = None,
    average_every: int | None = None,
    devices: Any = None,
    memory: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | bool | None = None,
) -> Run:
    """Simulate independent replicas of a dynamics.

    Args:
        model: The model; nothing may be left to bind.
        dynamics: `SGD`, `SDE` or `GradientFlow`.
        params: Where to start: one set of parameters for all replicas, or one per replica along a
            leading axis. Their precision is the precision of the simulation (as far as JAX's
            64-bit mode allows).
        steps: Number of steps.
        replicas: Number of trajectories R. Replica r draws from `fold_in(key, r)`.
        key: A JAX random key.
        observe: None, a function of the parameters that returns a number or an array, a dictionary
            of such functions by name, or an object with a method `observables()` that returns one.
            A function with the attribute `needs_gradient = True` is called with the parameters and
            the gradient about to be applied (of the batch, without weight decay). Functions are
            compiled, once for each function object: pass the same ones again rather than new
            lambdas.
        record_every: Steps between records; by default such that there are about 200. All records
            are kept in memory: for a long run of many replicas give a large number and averages.
        average_from: If given, running means and variances over time of every observable are taken
            from this step on, in one pass (`Run.averages`).
        average_every: Steps between the measurements that enter them, a divisor of `record_every`;
            by default `record_every` itself. At least one measurement must fit.
        devices: Where to run: None for all devices of JAX, a number of them, a list, or a
            `jax.sharding.Mesh`. Results do not depend on it.
        memory: GiB of arrays that this process may hold; by default no limit. Chunks are made
            smaller to fit.
        checkpoint: A folder. The state is saved there about every second, less often if that would
            take a twentieth of the time, and the same call goes on from what it finds there, to the
            last bit. Ctrl-C saves before it raises `KeyboardInterrupt`.
        progress: True to show speed, time left and the current estimate on a terminal, or a
            function called now and then with (steps done, steps in all).

    Returns:
        A `Run`. If parameters become infinite or undefined it stops before that step and says so
        in `divergence`, with the largest halving of the rate at which a run stays finite for four
        times as many steps.

    The same key gives the same trajectories, to the last bit on the same machine, whatever
    `replicas`, `steps`, `record_every` and `devices` are.

    Raises:
        InputError: The model is not bound, its loss cannot be read (it draws random numbers, has
            no gradient, is nowhere finite), the parameters do not fit, a number is out of range,
            two names of the result are the same, the memory is too small, or single precision
            would round every step away.
        CheckpointError: The folder cannot be written, holds another run, or is in use by one.
        LostProcess: Another process of a run over several hosts ended.

    Source: arXiv 2402.07193, section 2.

    >>> from symtheory.data import Normal
    >>> from symtheory.simulation import SGD, simulate
    >>> model = Model(lambda p, z: (p["u"] * p["w"] * z["x"] - z["y"]) ** 2,
    ...               params={"u": (), "w": ()}, random={"x": Normal(()), "y": Normal(())})
    >>> run = simulate(model, SGD(learning_rate=0.01), params={"u": 1.0, "w": 0.5}, steps=100,
    ...                replicas=3, key=jax.random.key(0), observe=lambda p: p["u"] ** 2)
    >>> run.params["u"].shape, run.observables["<lambda>"].shape, run.diverged
    ((3,), (3, 100), False)
    """
    require_readable(model.require_bound())
    asked = Asked.of(
        dynamics, steps, replicas, key, observe, record_every, average_from, average_every
    )
    check_names(asked.observers, model.leaves, asked.averaging, ("replica", "record", "time"))
    initial, dtype = starting(model, params, replicas)
    program = asked.program(model, dynamics, dtype)
    cell = cell_of(program, dynamics, initial)
    began = time.perf_counter()
    rest = None
    if dtype == np.float32:
        rest = lambda cell: require_resolved(model, dynamics, initial, steps, asked.key)
    ensemble = asked.run(program, [cell], devices, memory, checkpoint, progress, rest)
    divergence = None
    if ensemble.position.failed:
        divergence = _divergence(ensemble, dynamics, reporter(progress is True))
    done = ensemble.done()
    count = ensemble.schedule.records(done)
    records = {n: np.ascontiguousarray(x[0, :, :count]) for n, x in ensemble.recorded().items()}
    return Run(
        model=model,
        dynamics=dynamics,
        steps=steps,
        completed=done,
        replicas=replicas,
        record_every=asked.schedule.keep,
        record_steps=np.arange(0, done, asked.schedule.keep),
        observables=records,
        final={n: np.ascontiguousarray(x[0]) for n, x in ensemble.final().items()},
        params=jax.tree.map(lambda x: np.ascontiguousarray(x[0]), ensemble.params()),
        initial=initial,
        seconds=time.perf_counter() - began,
        divergence=divergence,
        averages=ensemble.averages()[0],
    )


def _divergence(ensemble: Ensemble, dynamics: Any, report: Any) -> Divergence:
    """Return where the run diverged, and the largest halving of the rate that does not."""
    step, replica = ensemble.position.failed[0]
    initial = ensemble.cells[0].initial
    steps = min(ensemble.schedule.steps, 4 * (step + 1))
    program = dataclasses.replace(ensemble.program, observers=(), averaging=False)
    rate, stable = dynamics.rate, None
    for _ in range(_HALVINGS):
        rate = rate / 2
        cell = cell_of(program, dynamics.at_rate(rate), initial)
        trial = Ensemble(
            program, [cell], ensemble.replicas, ensemble.key, Schedule(steps, steps, steps),
            ensemble.devices, ensemble.workers,
        )  # fmt: skip
        trial.advance(report)
        if not trial.position.failed:
            stable = rate
            break
    return Divergence(replica, step, stable, steps)
