"""Contrastive learning on digits: low-rank runs and linear probes against gamma.

arXiv 2408.15495, experiments (low-capacity traps of self-supervised learning). Absolute thresholds
and the untrained net beside the probes are beyond it.
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

from figures._claims import more_than
from figures._decisions import share
from figures._digits import PIXELS, digits
from figures._methods import METHODS, built, five, prepared, swept, trained, weights
from figures._pictures import augmented, probe
from figures._singular import NOTHING, above
from figures._spec import Dataset, Numbers, Spec
from figures._spread import THRESHOLDS, interval, text
from figures._style import CONTROL, letters, panels
from figures._style import METHODS as LOOKS

TITLE = "Contrastive learning: rank and linear probe"
CAPTION = (
    "SimCLR on 8 x 8 digits (MLP, 32 features, head of 16; Adam; shifts, brightness and noise as "
    "augmentations) against gamma. A run is of low rank if fewer than half of the singular values "
    "of its features, centred here and not in E4, E7 and E8, exceed 0.01 times (a) the largest of "
    "them or (b) the largest of the untrained net. In (a) a largest value under 1e-6, the "
    "rounding of single precision, counts as 1e-6: at the largest gamma that floor decides for "
    "the decays. (c) Accuracy of a ridge probe on standardized features, (d) contrastive loss. "
    "Dashed: the untrained net, the loss of constant features. Shares with exact binomial 95 % "
    "intervals; means over seeds, with bars from the least to the largest seed in (c) and 95 % "
    "intervals in (d)."
)
STATEMENTS = ("P2.9", "P2.10")

FEATURES, TEMPERATURE, BATCH = 32, 0.5, 64
SHOWN = THRESHOLDS.index(1e-2)
CHANCE = float(np.log(2 * BATCH - 1))  # every other picture as near as the right one


class Net(eqx.Module):
    encoder: eqx.nn.MLP
    head: eqx.nn.MLP

    def __init__(self, key: Any) -> None:
        first, second = jax.random.split(key)
        self.encoder = eqx.nn.MLP(PIXELS, FEATURES, 64, 1, key=first)
        self.head = eqx.nn.MLP(FEATURES, 16, FEATURES, 1, key=second)

    def __call__(self, x: Any) -> Any:
        return self.head(self.encoder(x))


def data(spec: Spec) -> Dataset:
    gammas = spec.pick((0.01, 0.02, 0.1), (0.001, 0.005, 0.01, 0.02, 0.05, 0.1))
    train, start = _trainer(spec, spec.pick(5, 12), spec.pick(250, 1000))
    parts = [spec.part(f"gamma {g:g}", functools.partial(train, g)) for g in gammas]
    found = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    return {"gammas": np.array(gammas), **found, **start}


def draw(dataset: Dataset) -> Any:
    figure, axes = panels(columns=2, rows=2, height=1.9)
    (a, b), (c, d) = axes
    gammas = dataset["gammas"]
    shown = (
        (a, _low(dataset, absolute=False)[..., SHOWN], "low-rank runs (relative)"),
        (b, _low(dataset, absolute=True)[..., SHOWN], "low-rank runs (absolute)"),
        (c, dataset["probe"], "accuracy of the probe"),
        (d, dataset["loss"], "contrastive loss"),
    )
    for axis, values, label in shown:
        for k, name in enumerate(METHODS):
            look, place = LOOKS[name], gammas * 1.06 ** (k - 2)
            mean, half = interval(values[:, k])
            bars = half if axis is d else _around(values[:, k], exact=axis is not c)
            axis.errorbar(place, mean, bars, **look.points())
            axis.plot(place, mean, color=look.color, linestyle=look.line)
        axis.set(xscale="log", xlabel=r"$\gamma$", ylabel=label)
        axis.set_xticks(gammas, [f"{gamma:g}" for gamma in gammas])
        axis.minorticks_off()
    handles = axes[0, 0].get_legend_handles_labels()
    c.axhline(dataset["untrained"].mean(), color=CONTROL.color, linestyle=CONTROL.line)
    d.axhline(CHANCE, color=CONTROL.color, linestyle=CONTROL.line)
    letters(axes)
    figure.legend(*handles, loc="outside upper center", ncols=5)
    return figure


def _around(values: np.ndarray, *, exact: bool) -> np.ndarray:
    """Return bars that leave no range: exact ones of shares of runs, else those of all seeds."""
    low, high = values.min(axis=-1), values.max(axis=-1)
    if exact:
        runs = values.shape[-1]
        low, high = np.array([share(int(count), runs) for count in values.sum(axis=-1)]).T
    mean = values.mean(axis=-1)
    return np.maximum([mean - low, high - mean], 0)  # rounding of the mean


def numbers(dataset: Dataset) -> Numbers:
    syre, plain = METHODS.index("syre"), METHODS.index("plain decay")
    gamma = float(dataset["gammas"][-1])
    relative, absolute = (_low(dataset, absolute=flag)[..., SHOWN] for flag in (False, True))
    probe, loss, last = dataset["probe"], dataset["loss"], dataset["loss"][-1]
    theory = (
        more_than(
            f"at gamma = {gamma:g} the collapse is preferred: part of the loss of constant "
            "features that plain decay has", last[plain] / CHANCE, 0.99,
        ),
        more_than("and that syre has, as it does not overturn it", last[syre] / CHANCE, 0.99),
        more_than(
            "its features have the height of the bias: orders of magnitude below untrained ones, "
            "largest singular value",
            -np.log10(dataset["singular"][-1, syre, :, 0] / dataset["scale"]), 2,
        ),
        more_than(
            "but not below it: orders of magnitude above those of plain decay",
            np.log10(dataset["singular"][-1, syre, :, 0])
            - np.log10(np.maximum(dataset["singular"][-1, plain, :, 0], 1e-12)), 2,
        ),
    )  # fmt: skip
    fewer, fewer_absolute = (low[:, plain] - low[:, syre] for low in (relative, absolute))
    free = f"settings of gamma, sum over all but {gamma:g}, where the collapse is preferred"
    lost = int(np.sum(dataset["singular"][-1, plain, :, 0] < NOTHING))
    floor = (
        f"which counts as {NOTHING:g} if less, as in {lost} of {fewer.shape[1]} runs of plain decay"
    )
    why = (
        "where decay wins, what is left of the features is a random projection of the pixels at "
        "the height of the bias, which counts relative to the largest singular value and probes "
        "on standardized features cannot tell from learned ones"
    )
    gain = probe[-1, syre] - probe[-1, plain]
    claims = (
        more_than(
            "fewer runs are of low rank under syre than under plain decay, counted relative to "
            f"the largest singular value ({free})", fewer[:-1].sum(axis=0), 0.5,
        ),
        more_than(
            f"and counted relative to the untrained net ({free})",
            fewer_absolute[:-1].sum(axis=0), 0.5, why,
        ),
        more_than(
            f"and at gamma = {gamma:g}, counted relative to the largest singular value, {floor}: "
            "difference of the shares", fewer[-1], 0.5,
        ),
        more_than(
            f"and at gamma = {gamma:g}, counted relative to the untrained net",
            fewer_absolute[-1], 0.5, why,
        ),
        more_than(
            f"probes are more accurate under syre than under plain decay at gamma = {gamma:g}",
            gain, 0.02,
        ),
        more_than(
            f"and more accurate than those of the untrained net, at gamma = {gamma:g}",
            probe[-1, syre] - dataset["untrained"], 0.01, why,
        ),
        more_than(
            f"syre has learned more than plain decay: part of the loss at gamma = {gamma:g}",
            1 - loss[-1, syre] / loss[-1, plain], 0.01, why,
        ),
    )  # fmt: skip
    return Numbers(theory, claims, tuple(_rows(dataset)))


def _rows(dataset: Dataset) -> Any:
    low = {flag: _low(dataset, absolute=flag) for flag in (False, True)}
    mean = lambda values: [f"{np.mean(values[..., i]):.2f}" for i in range(len(THRESHOLDS))]
    for g, gamma in enumerate(dataset["gammas"]):
        for k, name in enumerate(METHODS):
            yield {
                "gamma": f"{gamma:g}", "method": name, "seeds": dataset["probe"].shape[2],
                "low rank, relative at " + ", ".join(f"{t:g}" for t in THRESHOLDS):
                    " ".join(mean(low[False][g, k])),
                "low rank, absolute": " ".join(mean(low[True][g, k])),
                "rank at 0.01": text(above(dataset["singular"])[g, k, :, SHOWN], 1),
                "probe": text(dataset["probe"][g, k], 3), "loss": text(dataset["loss"][g, k], 3),
            }  # fmt: skip
    yield {
        "gamma": "", "method": "untrained net", "seeds": len(dataset["untrained"]),
        "probe": text(dataset["untrained"], 3),
    }  # fmt: skip


def _low(dataset: Dataset, *, absolute: bool) -> np.ndarray:
    """Return which runs are of low rank: (gammas, methods, seeds, thresholds)."""
    found = above(dataset["singular"], dataset["scale"] if absolute else None)
    return (found < FEATURES / 2).astype(float)


def _trainer(spec: Spec, seeds: int, steps: int) -> tuple[Callable[[float], Dataset], Dataset]:
    """Return what trains all nets at one gamma, and what holds of the untrained ones."""
    nets, static = built(Net, spec.key("nets"), seeds)
    images, optimizer = digits(), optax.adam(3e-3)
    start = prepared(five(1.0), nets, spec.key("methods"))

    def loss(params: Any, batch: Any, key: Any) -> Any:
        (x,) = batch
        views = [augmented(each, x) for each in jax.random.split(key)]
        z = jax.vmap(eqx.combine(params, static))(jnp.concatenate(views))
        z = z / jnp.sqrt(jnp.sum(z**2, axis=1, keepdims=True) + 1e-8)
        many = len(z)
        near = z @ z.T / TEMPERATURE - 1e9 * jnp.eye(many, dtype=z.dtype)
        partner = jnp.roll(jnp.arange(many), many // 2)
        right = near[jnp.arange(many), partner]
        return jnp.mean(jax.nn.logsumexp(near, axis=1) - right)

    @jax.jit
    def features(params: Any) -> Any:
        net = lambda p: jax.vmap(eqx.combine(p, static).encoder)
        both = lambda p: (net(p)(images.train_x), net(p)(images.test_x))
        return jax.vmap(jax.vmap(both))(params)

    def judged(params: Any) -> Dataset:
        with jax.enable_x64(False):
            train, test = (np.asarray(h, dtype=float) for h in features(params))
        centred = test - test.mean(axis=2, keepdims=True)
        flat = zip(train.reshape(-1, *train.shape[2:]), test.reshape(-1, *test.shape[2:]),
                   strict=True)  # fmt: skip
        accuracy = [probe(a, b) for a, b in flat]
        return {
            "probe": np.array(accuracy).reshape(train.shape[:2]),
            "singular": np.linalg.svd(centred, compute_uv=False),
        }

    def train(gamma: float) -> Dataset:
        end, path = trained(
            swept(start, (gamma,)), loss, optimizer, (images.train_x,), spec.key("batches"),
            steps=steps, batch_size=BATCH, records=5,
        )  # fmt: skip
        return {**judged(weights(end)), "loss": path["loss"][..., -1]}

    begun = judged(jax.tree.map(lambda leaf: leaf[None], nets))
    return train, {"untrained": begun["probe"][0], "scale": begun["singular"][0, :, 0]}
