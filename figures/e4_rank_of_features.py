"""E4: rank of features and accuracy against gamma (arXiv 2408.15495, experiments)."""

from __future__ import annotations

from typing import Any

import numpy as np

import symtheory as st
from figures import _methods, _spread, _style
from figures._claims import more_than
from figures._digits import CLASSES, PIXELS, digits
from figures._spec import Dataset, Numbers, Spec

TITLE = "Rank of features and accuracy against weight decay"
CAPTION = (
    "Nets of 4 layers (width 32, ReLU) on digits, by every method at the same gamma. (a) Test "
    "accuracy; chance is 0.1. (b) Rank of the features of the last hidden layer on the test "
    "pictures: singular values, of features that are not centred, over sqrt(pictures) that are "
    "above 0.1. (c) The same rank of the first hidden layer at the largest gamma, for every "
    "threshold; the dotted line is the default sigma_0 of that layer. Points and bars, lines and "
    "bands: means over seeds with 95 % intervals. SGD with momentum 0.9, learning rate 0.05, "
    "batches of 32. Thresholds are absolute, as those relative to the largest singular value "
    "count rounding once all have collapsed. Beyond the paper: decays and W-fix at the same "
    "gamma, and all thresholds."
)
STATEMENTS = ("P2.9", "P2.10")

WIDTH = 32
LIMITS = (1e-3, 1e-2, 1e-1)


def data(spec: Spec) -> Dataset:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    seeds, steps = spec.pick(5, 10), spec.pick(1000, 6000)
    gammas = spec.pick((1e-3, 3e-3, 1e-2, 2e-2), (1e-4, 1e-3, 3e-3, 6e-3, 1e-2, 1.4e-2, 2e-2))
    build = lambda key: eqx.nn.MLP(PIXELS, CLASSES, WIDTH, 3, key=key)
    nets, static = _methods.built(build, spec.key("nets"), seeds)
    images = digits()

    def features(params: Any, x: Any) -> list[Any]:
        found = [x]
        for layer in eqx.combine(params, static).layers[:-1]:
            found.append(jax.nn.relu(jax.vmap(layer)(found[-1])))
        return found[1:]

    def loss(params: Any, batch: Any, key: Any) -> Any:
        x, y = batch
        outputs = jax.vmap(eqx.combine(params, static))(x)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, y))

    def seen(params: Any) -> Any:
        found = features(params, images.test_x)
        outputs = jax.vmap(eqx.combine(params, static).layers[-1])(found[-1])
        return found[0], found[-1], jnp.mean(jnp.argmax(outputs, axis=1) == images.test_y)

    # Gamma 1 stands for "decays"; the sweep puts in each gamma.
    start = _methods.prepared(_methods.five(1.0), nets, spec.key("methods"))
    end, _ = _methods.trained(
        _methods.swept(start, gammas), loss, optax.sgd(0.05, momentum=0.9),
        (images.train_x, images.train_y), spec.key("batches"), steps=steps, batch_size=32,
    )  # fmt: skip
    with jax.enable_x64(False):
        first, last, accuracy = jax.jit(jax.vmap(jax.vmap(seen)))(_methods.weights(end))
    shape = (len(gammas), len(_methods.METHODS), seeds)

    def spectrum(found: Any) -> np.ndarray:
        values = np.linalg.svd(np.asarray(found, float), compute_uv=False)
        return values.reshape(*shape, WIDTH) / len(images.test_y) ** 0.5

    return {
        "gamma": np.array(gammas),
        "accuracy": np.asarray(accuracy, float).reshape(shape),
        "first": spectrum(first),
        "last": spectrum(last),
    }


def _rank(spectrum: np.ndarray, limit: float) -> np.ndarray:
    return np.sum(spectrum > limit, axis=-1)


def draw(dataset: Dataset) -> Any:
    figure, axes = _style.panels(3, width=_style.TEXT, height=2.2)
    gammas = dataset["gamma"]
    limits = np.geomspace(1e-6, 10, 60)
    high = _rank(dataset["last"], 0.1)
    for i, method in enumerate(_methods.METHODS):
        look = _style.METHODS[method]
        for panel, values in zip(axes[:2], (dataset["accuracy"], high), strict=True):
            mean, half = _spread.interval(values[:, i])
            # Side by side, so that equal ones are seen.
            near = gammas * 1.05 ** (i - 2)
            panel.errorbar(near, mean, half, **look.points(linestyle=look.line))
        steps = np.stack([_rank(dataset["first"][-1, i], limit) for limit in limits])
        mean, half = _spread.interval(steps)
        axes[2].plot(limits, mean, **look.plot())
        axes[2].fill_between(limits, mean - half, mean + half, **look.band())
    axes[2].axvline(_default(), color="black", linestyle=":", linewidth=1)
    axes[0].set(xscale="log", xlabel=r"$\gamma$", ylabel="test accuracy", ylim=(0, 1.02))
    axes[1].set(xscale="log", xlabel=r"$\gamma$", ylabel="rank, last (above 0.1)")
    axes[2].set(xscale="log", xlabel="threshold", ylabel=rf"rank, first, $\gamma$ = {gammas[-1]:g}")
    figure.legend(
        *axes[2].get_legend_handles_labels(), loc="outside upper center", ncols=5, columnspacing=1
    )
    _style.letters(axes)
    return figure


def _default() -> float:
    """Return the default sigma_0 of the first layer."""
    return 0.01 / PIXELS**0.5


def numbers(dataset: Dataset) -> Numbers:
    named = {name: i for i, name in enumerate(_methods.METHODS)}
    syre, plain, none = named["syre"], named["plain decay"], named["none"]
    largest = f"at gamma = {dataset['gamma'][-1]:g}"
    first, last, accuracy = (dataset[name][-1] for name in ("first", "last", "accuracy"))
    lifted = _rank(first, 1e-3)
    theory = (
        more_than(f"R9: rank of the first features above 1e-3 {largest}, syre less plain decay",
                  lifted[syre] - lifted[plain], 1.0),
        *(
            st.equivalence(
                f"R9: rank of the {name} features above 0.1 {largest}, syre less plain decay", 0.0,
                st.mean_over_replicas(_rank(s[syre], 0.1) - _rank(s[plain], 0.1)),
                margin=2.0, reference="theory of the imperfect pitchfork",
            )
            for name, s in (("first", first), ("last", last))
        ),
    )  # fmt: skip
    why = "a collapse that the decay prefers is lifted to the height of the bias only (R9)"
    claims = [
        more_than(f"rank of the last features above {limit:g} {largest}, syre less plain decay",
                  _rank(last[syre], limit) - _rank(last[plain], limit), 1.0, why)
        for limit in LIMITS
    ]  # fmt: skip
    claims += [
        more_than(f"test accuracy {largest}, syre less plain decay",
                  accuracy[syre] - accuracy[plain], 0.01, why),
        more_than(f"the collapse costs accuracy: no decay less plain decay, {largest}",
                  accuracy[none] - accuracy[plain], 0.01),
    ]  # fmt: skip
    rows = [
        {
            "gamma": f"{gamma:g}",
            "method": method,
            "test accuracy": _spread.text(dataset["accuracy"][g, i], 3),
            "cost": _spread.text(dataset["accuracy"][g, none] - dataset["accuracy"][g, i], 3),
            **{
                f"{name} > {limit:g}": _spread.text(_rank(dataset[name][g, i], limit), 1)
                for name in ("first", "last")
                for limit in LIMITS
            },
        }
        for g, gamma in enumerate(dataset["gamma"])
        for i, method in enumerate(_methods.METHODS)
    ]
    return Numbers(theory=theory, claims=tuple(claims), rows=tuple(rows))
