"""E1: a two-layer ReLU net started with duplicate neurons (arXiv 2408.15495, experiments)."""

from __future__ import annotations

from typing import Any

import numpy as np

import symtheory as st
from figures import _methods, _spread, _style
from figures._claims import more_than
from figures._spec import Dataset, Numbers, Spec

TITLE = "Duplicate neurons: stuck without syre, apart with it"
CAPTION = (
    "Training loss of two-layer ReLU nets whose 12 hidden neurons start as 6 copies of 2, on a "
    "teacher of 4 neurons with label noise (its variance, 0.09, is the floor). (a) Geometric "
    "means over seeds with 95 % intervals; black: the net of the 2 neurons alone, to which the "
    "nets with copies are equivalent (R3); grey dashes: the same width started without copies, "
    "plain decay at the same gamma = 0.001. (b) Updates until the loss is 10 % below the "
    "symmetric plateau, against the spread of the bias relative to 1/sqrt(fan-in); .01 is the "
    "default; dots are seeds (triangles: not within the run), the line their median. The table "
    "counts the nets that do not get away within the run; in trials not shown here, with 256 "
    "samples and full batches, syre ended above the nets without copies. Here: 4096 samples, "
    "batches of 64, SGD, learning rate 0.05. Beyond the paper: the decays and W-fix at the same "
    "gamma, the reduced net, and the escape time."
)
STATEMENTS = ("P2.3", "P2.10")

GAMMA, RATE, INPUTS, DISTINCT, COPIES, TEACHER, NOISE = 1e-3, 0.05, 5, 2, 6, 4, 0.3
SCALES = (1e-3, 1e-2, 1e-1)


def _outputs(params: Any, x: Any) -> Any:
    import jax

    return jax.nn.relu(x @ params["W"].T) @ params["u"][0]


def _loss(params: Any, batch: Any, key: Any) -> Any:
    import jax.numpy as jnp

    x, y = batch
    return jnp.mean((_outputs(params, x) - y) ** 2)


def data(spec: Spec) -> Dataset:
    import optax

    seeds, steps, records = spec.pick(8, 20), spec.pick(6000, 20_000), spec.pick(120, 200)
    rng = spec.rng("E1")
    x = rng.normal(size=(seeds, 4096, INPUTS))
    teacher = rng.normal(size=(seeds, TEACHER, INPUTS)) / INPUTS**0.5
    signs = np.resize([1.0, -1.0], TEACHER)
    clean = np.maximum(np.einsum("snd,shd->snh", x, teacher), 0) @ signs
    y = clean + NOISE * rng.normal(size=clean.shape)
    few = {
        "W": rng.normal(size=(seeds, DISTINCT, INPUTS)) / INPUTS**0.5,
        "u": rng.normal(size=(seeds, 1, DISTINCT)) / (DISTINCT * COPIES) ** 0.5,
    }
    copied = {
        "W": np.repeat(few["W"], COPIES, axis=1),
        "u": np.repeat(few["u"], COPIES, axis=2),
    }
    width = DISTINCT * COPIES
    generic = {
        "W": rng.normal(size=(seeds, width, INPUTS)) / INPUTS**0.5,
        "u": rng.normal(size=(seeds, 1, width)) / width**0.5,
    }
    biased = tuple(st.syre.Syre(GAMMA, _relative(scale)) for scale in SCALES)
    optimizer = optax.sgd(RATE)

    def run(start: Any, methods: Any) -> np.ndarray:
        nets = _methods.prepared(methods, start, spec.key("methods"))
        _, path = _methods.trained(
            nets, _loss, optimizer, (x, y), spec.key("batches"),
            steps=steps, batch_size=64, records=records, own=True,
        )  # fmt: skip
        return path["loss"]

    # The same path in half as many coordinates: copies of w count as sqrt(copies) w.
    small = {name: COPIES**0.5 * leaf for name, leaf in few.items()}
    losses = run(copied, (*_methods.five(GAMMA), *biased))
    return {
        "steps": np.arange(1, records + 1) * (steps // records),
        "loss": losses[:5],
        "by_scale": losses[5:],
        "reduced": run(small, _methods.five(GAMMA)[:2]),
        "generic": run(generic, _methods.five(GAMMA)[:2]),
        "scales": np.array(SCALES),
    }


def _relative(scale: float) -> Any:
    return lambda name, shape: scale / st.syre.fan_in(shape) ** 0.5


def _ends(losses: np.ndarray) -> np.ndarray:
    """Return the mean over the last twentieth, beyond the noise of batches."""
    return losses[..., -max(losses.shape[-1] // 20, 1) :].mean(axis=-1)


def _escapes(dataset: Dataset) -> np.ndarray:
    """Return updates until the loss is 10 % below the plateau (NaN: never), by scale and seed."""
    plateau = _ends(dataset["reduced"][1])[:, None]
    # Single batches are noisy: three records in a row.
    path = dataset["by_scale"]
    path = np.maximum(np.maximum(path[..., 2:], path[..., 1:-1]), path[..., :-2])
    low = path < 0.9 * plateau
    return np.where(low.any(-1), dataset["steps"][low.argmax(-1)], np.nan)


def draw(dataset: Dataset) -> Any:
    figure, (left, right) = _style.panels(2, width=_style.TEXT, height=2.3)
    steps = dataset["steps"]

    def line(losses: np.ndarray, look: _style.Look, **more: Any) -> None:
        mean, half = _spread.interval(np.log(losses), axis=0)
        left.plot(steps, np.exp(mean), **look.plot(**more))
        if not more:
            left.fill_between(steps, np.exp(mean - half), np.exp(mean + half), **look.band())

    for method, losses in zip(_methods.METHODS, dataset["loss"], strict=True):
        line(losses, _style.METHODS[method])
    line(
        dataset["reduced"][1], _style.THEORY, label="2 alone (R3)", linestyle="",
        marker="o", markersize=3.5, markerfacecolor="none", markevery=max(len(steps) // 12, 1),
    )  # fmt: skip
    line(dataset["generic"][1], _style.CONTROL, label="no copies at first")
    left.axhline(NOISE**2, color="black", linewidth=0.5)
    left.set(yscale="log", xlabel="updates", ylabel="training loss", ylim=(0.08, 12))
    left.set_title("from copies")
    left.set_yticks([0.1, 0.2, 0.5, 1, 2], labels=["0.1", "0.2", "0.5", "1", "2"])
    left.minorticks_off()
    left.legend(
        loc="upper right", ncols=2, handlelength=1.8, labelspacing=0.3, columnspacing=1,
        handletextpad=0.5,
    )  # fmt: skip
    escapes, syre = _escapes(dataset), _style.METHODS["syre"]
    late = np.isnan(escapes)
    for scale, times, never in zip(dataset["scales"], escapes, late, strict=True):
        dots: Any = {"color": syre.color, "alpha": 0.5, "linestyle": ""}
        right.plot(np.full(times.shape, scale), times, marker="o", markersize=2.5, **dots)
        top = np.full(never.sum(), steps[-1])
        right.plot(np.full(top.shape, scale), top, marker="^", markersize=5, **dots)
    middle = np.median(np.where(late, steps[-1], escapes), axis=1)
    right.plot(dataset["scales"], middle, **syre.plot(marker="o", label="syre: median"))
    right.set(
        xscale="log", xlabel=r"$\sigma_0\,\sqrt{\mathrm{fan\ in}}$", ylabel="updates to escape",
        title="escape time", ylim=(0, None),
    )  # fmt: skip
    right.legend(loc="best")
    _style.letters((left, right))
    return figure


def numbers(dataset: Dataset) -> Numbers:
    ends = {m: _ends(v) for m, v in zip(_methods.METHODS, dataset["loss"], strict=True)}
    reduced, generic = _ends(dataset["reduced"]), _ends(dataset["generic"])
    stuck = tuple(
        st.equivalence(
            f"loss of {method} over that of the 2 neurons alone, less 1",
            0.0,
            st.mean_over_replicas(ends[method] / alone - 1),
            margin=0.01,
            reference="R3",
        )
        for method, alone in zip(("none", "plain decay"), reduced, strict=True)
    )
    ratio = st.mean_over_replicas(ends["syre"] / generic[1] - 1)
    stays = 1 - ends["decay to init"] / reduced[1]
    escapes = _escapes(dataset)
    claims = (
        st.equivalence(
            "loss of syre over that of plain decay from a start without copies, less 1",
            0.0, ratio, margin=0.05, confidence=0.95,
        ),
        more_than("the plateau is this much above the loss of syre (log)",
                  np.log(reduced[1] / ends["syre"]), np.log(1.05)),
        st.equivalence("decay to init is as stuck: loss below the plateau, relative", 0.0,
                       st.mean_over_replicas(stays), margin=0.05, confidence=0.95),
    )  # fmt: skip
    rows = [
        {
            "method": method,
            "loss": _spread.text(loss, 4),
            "over the start without copies": _spread.text(loss / generic[1], 3),
            "updates to escape": "",
            "never": "",
        }
        for method, loss in {
            **ends,
            "2 neurons alone": reduced[1],
            "no copies, plain decay": generic[1],
            "no copies, no decay": generic[0],
        }.items()
    ]
    rows += [
        {
            "method": f"syre, {scale:g} / sqrt(fan in)",
            "updates to escape": _spread.text(times[~np.isnan(times)], 0),
            "never": int(np.isnan(times).sum()),
        }
        for scale, times in zip(dataset["scales"], escapes, strict=True)
    ]
    return Numbers(theory=stuck, claims=claims, rows=tuple(rows))
