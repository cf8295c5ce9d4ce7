"""E3: a small CNN trains as well with syre, for small sigma_0 (arXiv 2408.15495)."""

from __future__ import annotations

from typing import Any

import numpy as np

import symtheory as st
from figures import _methods, _spread, _style
from figures._claims import more_than
from figures._digits import CLASSES, digits
from figures._spec import Dataset, Numbers, Spec

TITLE = "Compatibility: accuracy of a small CNN against the spread of the bias"
CAPTION = (
    "A CNN of two convolutions and a linear layer on digits. (a) Test accuracy and (b) training "
    "loss without decay, of syre against the spread of its bias relative to 1/sqrt(fan-in); .01 "
    "is the default, the initial weights are at 0.58. Lines with bands are the methods without a "
    "bias, at the same gamma = 0.001. Points and lines are means over seeds, bars and bands 95 % "
    "intervals. The bias is only the centre of the decay and is not added to the initial weights, "
    "so that even the largest acts on them only as far as this weak decay draws them in 2000 "
    "steps (400 in the fast version). Adam, learning rate 0.003, batches of 32. Smaller than the "
    "nets of the paper; decays and W-fix at the same gamma are beyond it."
)
STATEMENTS = ("P2.10",)

GAMMA, DEFAULT, MARGIN = 1e-3, 1e-2, 0.01
OTHERS = _methods.METHODS[:-1]


def data(spec: Spec) -> Dataset:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    seeds, steps = spec.pick(5, 10), spec.pick(400, 2000)
    scales = spec.pick((1e-2, 1e-1, 1.0, 10.0), (1e-3, 1e-2, 1e-1, 1.0, 10.0))
    images, nn = digits(), eqx.nn

    def build(key: Any) -> Any:
        first, second, third = jax.random.split(key, 3)
        relu = nn.Lambda(jax.nn.relu)
        return nn.Sequential(
            [
                nn.Conv2d(1, 8, 3, stride=2, padding=1, key=first), relu,
                nn.Conv2d(8, 16, 3, stride=2, padding=1, key=second), relu,
                nn.Lambda(jnp.ravel), nn.Linear(64, CLASSES, key=third),
            ]
        )  # fmt: skip

    nets, static = _methods.built(build, spec.key("nets"), seeds)
    outputs = lambda params, x: jax.vmap(eqx.combine(params, static))(x.reshape(-1, 1, 8, 8))

    def loss(params: Any, batch: Any, key: Any) -> Any:
        x, y = batch
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs(params, x), y))

    def seen(params: Any) -> Any:
        right = jnp.argmax(outputs(params, images.test_x), axis=1) == images.test_y
        return jnp.mean(right), loss(params, (images.train_x, images.train_y), None)

    biased = tuple(st.syre.Syre(GAMMA, _relative(scale)) for scale in scales)
    start = _methods.prepared((*_methods.five(GAMMA)[:-1], *biased), nets, spec.key("methods"))
    end, _ = _methods.trained(
        start, loss, optax.adam(3e-3), (images.train_x, images.train_y), spec.key("batches"),
        steps=steps, batch_size=32,
    )  # fmt: skip
    with jax.enable_x64(False):
        accuracy, final = jax.jit(jax.vmap(jax.vmap(seen)))(_methods.weights(end))
    return {
        "scale": np.array(scales),
        "accuracy": np.asarray(accuracy, float),
        "loss": np.asarray(final, float),
    }


def _relative(scale: float) -> Any:
    return lambda name, shape: scale / st.syre.fan_in(shape) ** 0.5


def draw(dataset: Dataset) -> Any:
    figure, axes = _style.panels(2, width=_style.TEXT, height=2.2)
    scales, syre = dataset["scale"], _style.METHODS["syre"]
    ends = np.array([scales[0] / 2, scales[-1] * 2])
    for panel, name in zip(axes, ("accuracy", "loss"), strict=True):
        for method, values in zip(OTHERS, dataset[name], strict=False):
            look = _style.METHODS[method]
            mean, half = (np.full(2, value) for value in _spread.interval(values))
            panel.plot(ends, mean, **look.plot())
            panel.fill_between(ends, mean - half, mean + half, **look.band(alpha=0.12))
        mean, half = _spread.interval(dataset[name][len(OTHERS) :])
        panel.errorbar(scales, mean, half, **syre.points(linestyle="-"))
        panel.axvline(DEFAULT, color="black", linestyle=":", linewidth=1)
        panel.set(xscale="log", xlabel=r"$\sigma_0\,\sqrt{\mathrm{fan\ in}}$")
    axes[0].set_ylabel("test accuracy")
    axes[1].set_ylabel("training loss")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    _style.letters(axes)
    return figure


def numbers(dataset: Dataset) -> Numbers:
    accuracy, scales = dataset["accuracy"], dataset["scale"]
    plain = accuracy[OTHERS.index("plain decay")]
    none = accuracy[OTHERS.index("none")]
    syre = dict(zip(scales.tolist(), accuracy[len(OTHERS) :], strict=True))
    near = lambda claim, values: st.equivalence(
        claim, 0.0, st.mean_over_replicas(values), margin=MARGIN, confidence=0.95
    )
    smallest, largest = min(syre), max(syre)
    claims = (
        near(
            f"a small bias ({smallest:g}) is plain decay: accuracy, syre less plain decay",
            syre[smallest] - plain,
        ),
        near("accuracy at the default sigma_0, syre less plain decay", syre[DEFAULT] - plain),
        near("accuracy at the default sigma_0, syre less no decay", syre[DEFAULT] - none),
        more_than(
            f"a large bias ({largest:g}) costs accuracy: plain decay less syre",
            plain - syre[largest], 0.0,
        ),
    )  # fmt: skip
    names = [*OTHERS, *(f"syre, {scale:g} / sqrt(fan in)" for scale in scales)]
    rows = [
        {
            "method": method,
            "test accuracy": _spread.text(accuracy[i], 4),
            "less plain decay": _spread.text(accuracy[i] - plain, 4),
            "training loss": _spread.text(dataset["loss"][i], 4),
        }
        for i, method in enumerate(names)
    ]
    return Numbers(claims=claims, rows=tuple(rows))
