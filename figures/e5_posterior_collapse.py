"""Beta-VAE on digits: collapsed latent units and reconstruction against beta.

arXiv 2408.15495, experiments (posterior collapse). That sampling noise leaves the mirror by itself,
and the trap made exact by pairing it, are beyond it.
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
from figures._decisions import at_most
from figures._digits import digits
from figures._methods import METHODS, built, five, prepared, trained, weights
from figures._spec import Dataset, Numbers, Spec
from figures._spread import interval, text
from figures._style import METHODS as LOOKS
from figures._style import letters, panels

TITLE = "Posterior collapse of a beta-VAE"
CAPTION = (
    "Beta-VAEs on 8 x 8 digits (MLPs of one hidden layer, 8 latent units, Adam, gamma = 0.01 for "
    "every decay): (a) latent units whose posterior mean varies by less than 0.01 and (b) loss of "
    "reconstruction on test digits, from generic initial weights. (c) Units still collapsed "
    "(below 0.0001) if all start so: filled with ordinary noise, which leaves the mirror z -> -z "
    "by itself; hollow (and +) with paired noise, which keeps it a symmetry of every step. Means "
    "over seeds; bars are from the least to the most of the seeds for counts, 95 % intervals in "
    "(b)."
)
STATEMENTS = ("P2.3", "P2.9", "P2.10")

LATENT, GAMMA = 8, 0.01
LIMITS = (1e-6, 1e-4, 1e-2, 1e-1)
SHOWN, TRAP = LIMITS.index(1e-2), LIMITS.index(1e-4)
STARTS = ("generic", "collapsed", "collapsed, paired noise")


class VAE(eqx.Module):
    encoder: eqx.nn.MLP
    decoder: eqx.nn.MLP

    def __init__(self, key: Any) -> None:
        first, second = jax.random.split(key)
        self.encoder = eqx.nn.MLP(64, 2 * LATENT, 32, 1, key=first)
        self.decoder = eqx.nn.MLP(LATENT, 64, 32, 1, key=second)


def data(spec: Spec) -> Dataset:
    betas = spec.pick((0.05, 0.2, 0.8), (0.02, 0.05, 0.1, 0.2, 0.4, 0.8))
    low = spec.pick((0.02,), (0.02, 0.05, 0.1))
    train = _trainer(spec, spec.pick(5, 12), spec.pick(450, 1500))
    out: dict[str, Any] = {"betas": np.array(betas), "low": np.array(low)}
    for number, start in enumerate(STARTS):
        parts = [
            spec.part(f"{start}, beta {beta:g}", functools.partial(train, number, beta))
            for beta in (low if number else betas)
        ]
        out |= {f"{name} {number}": np.stack([p[name] for p in parts], axis=1) for name in parts[0]}
    return out


def draw(dataset: Dataset) -> Any:
    figure, axes = panels(columns=3, height=2.5)
    betas, low = dataset["betas"], dataset["low"]
    counts = _collapsed(dataset["variance 0"], SHOWN)
    for k, name in enumerate(METHODS):
        look, shift = LOOKS[name], 1.06 ** (k - 2)
        values = dataset["reconstruction 0"][k]
        for axis, middle, bars in (
            (axes[0], counts[k].mean(axis=-1), _reach(counts[k])), (axes[1], *interval(values))
        ):  # fmt: skip
            axis.errorbar(betas * shift, middle, bars, **look.points())
            axis.plot(betas * shift, middle, color=look.color, linestyle=look.line)
        for number, inside in ((1, look.color), (2, "white")):
            kept = _collapsed(dataset[f"variance {number}"], TRAP)[k]
            mean = kept.mean(axis=-1)
            marker = "+" if number == 2 and look.marker == "x" else look.marker
            shown = look.points(markerfacecolor=inside, fmt=marker)
            axes[2].errorbar(low * shift, mean, _reach(kept), **shown)
            axes[2].plot(low * shift, mean, color=look.color, linestyle=look.line, linewidth=0.7)
    labels = ("collapsed units (of 8)", "reconstruction loss", "below 0.0001 (of 8)")
    for axis, label in zip(axes, labels, strict=True):
        axis.set(xscale="log", xlabel=r"$\beta$", ylabel=label)
        shown = low if axis is axes[2] else betas
        axis.set_xticks(shown, [f"{beta:g}" for beta in shown], rotation=45)
        axis.minorticks_off()
    letters(axes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def _reach(counts: np.ndarray) -> np.ndarray:
    """Return how far the least and the most of the seeds are from their mean, for bars."""
    mean = counts.mean(axis=-1)
    return np.maximum([mean - counts.min(axis=-1), counts.max(axis=-1) - mean], 0)


def numbers(dataset: Dataset) -> Numbers:
    seeds = dataset["variance 0"].shape[2]
    others = [METHODS.index(name) for name in ("none", "plain decay", "decay to init")]
    syre, plain = METHODS.index("syre"), METHODS.index("plain decay")
    stay = dataset["variance 2"][others].max(axis=-1)
    left = _collapsed(dataset["variance 1"], TRAP)[:, 0]

    def gain(number: int, which: Any) -> np.ndarray:
        loss = _loss(dataset, number)[:, which]
        return 1 - loss[syre] / loss[plain]

    counts = _collapsed(dataset["variance 0"], SHOWN)
    beta, least = float(dataset["betas"][-1]), float(dataset["low"][0])
    theory = (
        at_most(
            "with paired noise collapsed units stay exactly collapsed without syre and W-fix: "
            "variance of their posterior means", float(stay.max()), 0.0,
            how=f"largest of {stay.size} runs, all betas and seeds",
        ),
        more_than(
            f"with paired noise syre leaves that state at beta = {least:g}: part of the loss that "
            "it gains on plain decay", gain(2, 0), 0.05,
        ),
        more_than(
            f"at beta = {beta:g}, above every eigenvalue of the data, the collapse is preferred: "
            "units collapsed at 0.01 under plain decay, of 8", counts[plain, -1], 7.5,
        ),
        more_than(f"and under syre as well, at beta = {beta:g}", counts[syre, -1], 7.5),
    )  # fmt: skip
    why = (
        "with ordinary noise the decoder's gradient does not vanish at a collapsed unit, so every "
        "method leaves the mirror; the collapse that is left is held by beta and the decay, which "
        "a bias of 0.01/sqrt(fan-in) does not overturn"
    )
    free = f"mean over beta but {beta:g}, where the collapse is forced"
    fewer = (counts[plain] - counts[syre])[:-1].mean(axis=0)
    better = 1 - dataset["reconstruction 0"][syre] / dataset["reconstruction 0"][plain]
    claims = (
        more_than(
            "syre has fewer collapsed units than plain decay of the same gamma: units more in use, "
            f"threshold 0.01, {free}", fewer, 0.5, why,
        ),
        more_than(
            "syre reconstructs better than plain decay of the same gamma: relative gain, "
            f"{free}", better[:-1].mean(axis=0), 0.02, why,
        ),
        more_than(
            "without syre a VAE stays in the collapsed state it starts from (ordinary noise, "
            f"plain decay, beta = {least:g}): units of 8 still below 0.0001", left[plain], 2, why,
        ),
        more_than(
            "from the collapsed state syre reaches a lower loss than plain decay (ordinary "
            "noise): relative gain, mean over beta", gain(1, slice(None)).mean(axis=0), 0.02, why,
        ),
    )  # fmt: skip
    return Numbers(theory, claims, tuple(_rows(dataset, seeds)))


def _rows(dataset: Dataset, seeds: int) -> Any:
    for number, start in enumerate(STARTS):
        for b, beta in enumerate(dataset["low" if number else "betas"]):
            for k, name in enumerate(METHODS):
                part = {
                    key: dataset[f"{key} {number}"][k, b]
                    for key in ("variance", "reconstruction", "kl")
                }
                yield {
                    "start": start, "beta": f"{beta:g}", "method": name, "seeds": seeds,
                    **{f"collapsed at {limit:g}": text(_collapsed(part["variance"], i), 1)
                       for i, limit in enumerate(LIMITS)},
                    "reconstruction": text(part["reconstruction"], 3),
                    "KL": text(part["kl"]),
                    "reconstruction + beta KL": text(_loss(dataset, number)[k, b], 3),
                }  # fmt: skip


def _loss(dataset: Dataset, number: int) -> np.ndarray:
    """Return the negative evidence bound, less a constant: (methods, betas, seeds)."""
    beta = dataset["low" if number else "betas"][:, None]
    return dataset[f"reconstruction {number}"] + beta * dataset[f"kl {number}"]


def _collapsed(variance: np.ndarray, limit: int) -> np.ndarray:
    return np.sum(variance < LIMITS[limit], axis=-1).astype(float)


def _trainer(spec: Spec, seeds: int, steps: int) -> Callable[[int, float], Dataset]:
    """Return what trains all nets from one start at one beta: arrays (methods, seeds, ...)."""
    nets, static = built(VAE, spec.key("nets"), seeds)
    images, optimizer = digits(), optax.adam(3e-3)
    methods = {trap: prepared(five(GAMMA), _trap(nets) if trap else nets, spec.key("methods"))
               for trap in (False, True)}  # fmt: skip

    def terms(params: Any, x: Any, noise: Any) -> Any:
        net = eqx.combine(params, static)
        mean, log_variance = jnp.split(jax.vmap(net.encoder)(x), 2, axis=1)
        z = mean + jnp.exp(log_variance / 2) * noise
        gap = 0.5 * jnp.sum((jax.vmap(net.decoder)(z) - x) ** 2, axis=1)
        kl = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance)
        return jnp.mean(gap), jnp.mean(jnp.sum(kl, axis=1)), mean

    def loss(params: Any, batch: Any, key: Any) -> Any:
        x, beta, paired = batch
        noise = jax.random.normal(key, (2, len(x), LATENT))
        second = jnp.where(paired[:, None], -noise[0], noise[1])
        values = [terms(params, x, each) for each in (noise[0], second)]
        return 0.5 * sum(gap + jnp.mean(beta) * kl for gap, kl, _ in values)

    test = jnp.asarray(images.test_x)
    noise = jax.random.normal(spec.key("test"), (len(test), LATENT), jnp.float32)

    @jax.jit
    def evaluated(params: Any) -> Any:
        gap, kl, mean = jax.vmap(jax.vmap(lambda p: terms(p, test, noise)))(params)
        return {"reconstruction": gap, "kl": kl, "variance": jnp.var(mean, axis=2)}

    def train(number: int, beta: float) -> Dataset:
        many = len(images.train_x)
        batches = (images.train_x, np.full(many, beta), np.full(many, number == 2))
        end, _ = trained(
            methods[number > 0], loss, optimizer, batches, spec.key("batches"),
            steps=steps, batch_size=32,
        )  # fmt: skip
        with jax.enable_x64(False):
            found = evaluated(weights(end))
        return {name: np.asarray(value) for name, value in found.items()}

    return train


def _trap(nets: Any) -> Any:
    """Put every unit on its mirror: no posterior mean, no weight in the decoder."""
    read = lambda net: (
        net.encoder.layers[-1].weight, net.encoder.layers[-1].bias, net.decoder.layers[0].weight
    )  # fmt: skip
    rows, bias, columns = read(nets)
    empty = rows.at[:, :LATENT].set(0), bias.at[:, :LATENT].set(0), jnp.zeros_like(columns)
    return eqx.tree_at(read, nets, empty)
