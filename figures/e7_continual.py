"""Continual learning on permuted digits: rank of the features and accuracy, task after task.

arXiv 2408.15495, experiments (loss of plasticity). Shrink-and-perturb is beside the methods of the
other figures: Ash and Adams 2020, arXiv 1910.08475.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import symtheory as st
from figures._claims import more_than
from figures._digits import CLASSES, PIXELS, digits, permuted
from figures._methods import METHODS, Nets, built, five, prepared, swept, trained, weights
from figures._singular import above
from figures._spec import Dataset, Numbers, Spec
from figures._spread import THRESHOLDS, interval, text
from figures._style import CYCLE, Look, letters, panels
from figures._style import METHODS as LOOKS

TITLE = "Continual learning on permuted digits"
CAPTION = (
    "Each task permutes the pixels of 8 x 8 digits anew; MLPs of three hidden layers of 64 ReLU "
    "units are trained by Adam from task to task. (a) Test accuracy at the end of each task, (b) "
    "singular values of the last features, not centred, above 0.01 of the largest (which counts "
    "as 1e-6, the rounding of single precision, if it is less), (c) units of that layer that are "
    "0 on all test digits; one row for each gamma, the same for every decay. Shrink-and-perturb "
    "halves the weights and adds noise before each task. Means over seeds, bands: 95 % intervals, "
    "in (c) from the least to the largest seed."
)
STATEMENTS = ("P2.10",)

WIDTH = 64
SMALL = "tasks of 1347 pictures and nets of this size wear out little"
SHOWN = THRESHOLDS.index(1e-2)
SHRINK = st.syre.ShrinkAndPerturb(shrink=0.5, sigma=0.1, every=1, weight_decay=1.0)
NAMES = (*METHODS, SHRINK.name)
ALL_LOOKS = {**LOOKS, SHRINK.name: Look(SHRINK.name, CYCLE[2], (0, (1, 1)), "v")}  # type: ignore[arg-type]


def data(spec: Spec) -> Dataset:
    gammas, tasks, steps = spec.pick(((0.01,), 5, 150), ((0.003, 0.01), 10, 400))
    chunks = spec.pick(((0, 5),), ((0, 4), (4, 8)))
    run = _runner(spec, max(last for _, last in chunks), tasks, steps)
    joined = []
    for gamma in gammas:
        parts = [
            spec.part(f"gamma {gamma:g}, seeds from {first}", functools.partial(run, gamma, seeds))
            for seeds in chunks
            for first in seeds[:1]
        ]
        joined.append({n: np.concatenate([p[n] for p in parts], axis=1) for n in parts[0]})
    out = {name: np.stack([one[name] for one in joined]) for name in joined[0]}
    return {"gammas": np.array(gammas), **out}


def draw(dataset: Dataset) -> Any:
    gammas, rank = dataset["gammas"], above(dataset["singular"])[..., SHOWN]
    figure, axes = panels(columns=3, rows=len(gammas), height=1.9 + 0.5 / len(gammas))
    axes = np.reshape(axes, (len(gammas), 3))
    tasks = 1 + np.arange(rank.shape[3])
    shown = (
        (dataset["accuracy"], "test accuracy"),
        (rank, "feature rank (of 64)"),
        (dataset["dead"], "share of dead units"),
    )
    for row, gamma in enumerate(gammas):
        for axis, (values, label) in zip(axes[row], shown, strict=True):
            for k, name in enumerate(NAMES):
                look = ALL_LOOKS[name]
                mean, half = interval(values[row, k], axis=0)
                axis.plot(tasks, mean, **look.plot(marker=look.marker, markersize=3))
                reach = mean - half, mean + half
                if axis is axes[row, 2]:  # an interval would reach below 0
                    reach = values[row, k].min(axis=0), values[row, k].max(axis=0)
                axis.fill_between(tasks, *reach, **look.band(alpha=0.12))
            axis.set(xlabel="task", ylabel=label, xticks=tasks[:: len(tasks) // 5])
            axis.set_title(rf"$\gamma = {gamma:g}$", loc="right")
    letters(axes)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6,
                  columnspacing=1, handlelength=2.2)  # fmt: skip
    return figure


def numbers(dataset: Dataset) -> Numbers:
    rank, many = above(dataset["singular"]), range(len(dataset["gammas"]))
    none, plain, syre = (NAMES.index(name) for name in ("none", "plain decay", "syre"))
    last = rank[-1].mean(axis=2)  # over the tasks, at the largest gamma
    gamma = dataset["gammas"][-1]
    claims = (
        more_than(
            f"decay of gamma = {gamma:g} collapses features: rank at 0.01 that plain decay has "
            "less than no decay", last[none, :, SHOWN] - last[plain, :, SHOWN], 5.0,
        ),
        more_than(
            "syre does not overturn that: rank at 0.01 that it has less than no decay",
            last[none, :, SHOWN] - last[syre, :, SHOWN], 5.0,
        ),
        more_than(
            "without decay accuracy falls from the first task to the last two",
            _drop(dataset["accuracy"][0, none]), 0.01, SMALL,
        ),
        *(claim for g in many for claim in _claims(dataset, rank[g], g)),
    )  # fmt: skip
    rows = tuple(row for g in many for row in _rows(dataset, rank[g], g))
    return Numbers(claims=claims, rows=rows)


def _drop(accuracy: np.ndarray) -> np.ndarray:
    """Return what every seed has lost from the first task to the last two."""
    return accuracy[:, 0] - accuracy[:, -2:].mean(axis=1)


def _claims(dataset: Dataset, rank: np.ndarray, g: int) -> tuple[st.Verdict, ...]:
    place = {name: k for k, name in enumerate(NAMES)}
    accuracy, dead = dataset["accuracy"][g], dataset["dead"][g]
    syre, plain, none = (place[name] for name in ("syre", "plain decay", "none"))
    late = slice(-2, None)
    against = lambda values, other: (values[syre] - values[other])[:, late].mean(axis=1)
    at = f"gamma = {dataset['gammas'][g]:g}: "
    why = "what decay of this gamma prefers to collapse is collapsed under syre as well"
    return (
        more_than(
            at + "plain decay loses accuracy from the first task to the last two",
            _drop(accuracy[plain]), 0.01, SMALL,
        ),
        more_than(
            at + "syre is more accurate than plain decay, last two tasks",
            against(accuracy, plain), 0.0, why,
        ),
        more_than(
            at + "features have a higher rank under syre than under plain decay, at 0.01, last "
            "two tasks", against(rank[..., SHOWN], plain), 1.0, why,
        ),
        more_than(
            at + "fewer units are dead under syre than under plain decay, last two tasks",
            -against(dead, plain), 0.0,
        ),
        more_than(
            at + "syre is more accurate than no decay, last two tasks", against(accuracy, none),
            0.0, why,
        ),
        more_than(
            at + "syre is more accurate than shrink-and-perturb, last two tasks",
            against(accuracy, place[SHRINK.name]), 0.0,
        ),
    )  # fmt: skip


def _rows(dataset: Dataset, rank: np.ndarray, g: int) -> Any:
    for task in range(rank.shape[2]):
        for k, name in enumerate(NAMES):
            yield {
                "gamma": f"{dataset['gammas'][g]:g}", "task": task + 1, "method": name,
                "seeds": rank.shape[1], "accuracy": text(dataset["accuracy"][g, k, :, task], 3),
                **{f"rank at {limit:g}": text(rank[k, :, task, i], 1)
                   for i, limit in enumerate(THRESHOLDS)},
                "dead": text(dataset["dead"][g, k, :, task]),
                "mean loss": text(dataset["loss"][g, k, :, task]),
            }  # fmt: skip


def _runner(spec: Spec, seeds: int, tasks: int, steps: int) -> Callable[..., Dataset]:
    """Return what trains some seeds through all tasks: arrays (methods, seeds, tasks, ...)."""
    nets, static = built(
        lambda key: eqx.nn.MLP(PIXELS, CLASSES, WIDTH, 3, key=key), spec.key("nets"), seeds
    )
    begun = prepared((*five(1.0), SHRINK), nets, spec.key("methods"))
    optimizer, rng = optax.adam(3e-3), spec.rng("permutations")
    drawn = [[permuted(rng) for _ in range(seeds)] for _ in range(tasks)]

    def loss(params: Any, batch: Any, key: Any) -> Any:
        x, y = batch
        outputs = jax.vmap(eqx.combine(params, static))(x)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, y))

    @jax.jit
    def evaluated(params: Any, x: Any) -> Any:
        def one(params: Any, x: Any) -> Any:
            net = eqx.combine(params, static)
            for layer in net.layers[:-1]:
                x = jax.nn.relu(jax.vmap(layer)(x))
            right = jnp.argmax(jax.vmap(net.layers[-1])(x), axis=1) == digits().test_y
            return jnp.mean(right), x

        return jax.vmap(jax.vmap(one), (0, None))(params, x)

    def run(gamma: float, chunk: tuple[int, int]) -> Dataset:
        now = swept(jax.tree.map(lambda leaf: leaf[:, slice(*chunk)], begun), (gamma,))
        parts = []
        for task, pictures in enumerate(drawn):
            mine = pictures[slice(*chunk)]
            stacked = {name: np.stack([getattr(one, name) for one in mine])
                       for name in ("train_x", "train_y", "test_x")}  # fmt: skip
            if task:
                now = _perturbed(now, spec.key(f"perturbation {task} {chunk}"))
            now, path = trained(
                now, loss, optimizer, (stacked["train_x"], stacked["train_y"]),
                spec.key(f"task {task} {chunk}"), steps=steps, batch_size=32, own=True,
            )  # fmt: skip
            with jax.enable_x64(False):
                right, features = evaluated(weights(now), stacked["test_x"])
            features = np.asarray(features, dtype=float)
            parts.append({
                "accuracy": np.asarray(right),
                "loss": path["loss"][..., -1],
                "singular": np.linalg.svd(features, compute_uv=False),
                "dead": np.mean(np.all(features == 0, axis=2), axis=2),
            })  # fmt: skip
        return {name: np.stack([part[name] for part in parts], axis=2) for name in parts[0]}

    return run


def _perturbed(nets: Nets, key: Any) -> Nets:
    """Shrink and perturb the weights of that method."""
    which = NAMES.index(SHRINK.name)
    with jax.enable_x64(False):
        keys = jax.random.split(key, len(nets.gamma[0]))
        mine = _moved(jax.tree.map(lambda leaf: leaf[which], nets.free), keys)
        put = lambda leaf, new: leaf.at[which].set(new)
        return nets._replace(free=jax.tree.map(put, nets.free, mine))


@jax.jit
def _moved(params: Any, keys: Any) -> Any:
    def one(params: Any, key: Any) -> Any:
        step = SHRINK.prepare(lambda p: 0.0, params, key=key).after
        zero = jax.tree.map(jnp.zeros_like, params)
        return optax.apply_updates(params, step.update(zero, step.init(params), params)[0])

    return jax.vmap(one)(params, keys)
