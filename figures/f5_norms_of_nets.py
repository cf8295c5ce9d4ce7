"""F5: norms of nets with scale symmetry (arXiv 2402.07193, scale invariance)."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from figures import _style
from figures._decisions import above, at_most, band, finished
from figures._ensembles import interval
from figures._spec import Dataset, Numbers, Spec

TITLE = "Norms of scale-invariant nets grow under SGD only"
CAPTION = (
    "Two tanh nets (4 inputs, 8 hidden units) on 64 noisy samples: (a) one uses its weights "
    "divided by their common norm, (b) the other each layer divided by its own, so that every "
    "layer has a scale symmetry of its own. Squared norm of all weights, or of a layer, over its "
    "start: median and middle 80 % over initializations. SGD with batches of one (solid), and "
    "gradient descent at the same learning rate (dashes), which is the control. Black: "
    "|theta_0|^2 + eta^2 (sum over steps of Tr Sigma + |grad L|^2), from the gradients of all "
    "samples at the states on the way, median over runs. Grey in (a): the same net without "
    "normalization under gradient descent, where no symmetry keeps the norm; it soon leaves the "
    "panel, and the table has its change."
)
STATEMENTS = ("P1.4", "P1.6", "P1.7")

_INPUTS, _HIDDEN, _SAMPLES = 4, 8, 64
_NOISE = 2.0  # standard deviation of the labels
_SCALES = (4.0, 1.0)  # norms of the normalized layers
_RATE = 2.5e-4
_LAYERS = ("first", "second")
_KINDS = ("global", "layer-wise")


def data(spec: Spec) -> Dataset:
    samples = _samples(spec)
    start = _starts(spec, spec.pick(6, 16))
    steps = spec.pick(80_000, 400_000)
    out: dict[str, Any] = {}
    for kind in (*_KINDS, "plain"):
        for method in ("SGD", "GD") if kind != "plain" else ("GD",):
            run = spec.part(
                f"{kind} {method}",
                lambda kind=kind, method=method: _run(kind, method, samples, start, steps, spec),
            )
            out |= {f"{kind} {method} {name}": value for name, value in run.items()}
    return out | {"symmetric": _symmetric(samples, start)}


def _samples(spec: Spec) -> Dataset:
    """Draw inputs, and noisy targets that a hidden unit can explain."""
    rng = spec.rng("samples")
    x = rng.normal(size=(_SAMPLES, _INPUTS))
    return {"x": x, "y": np.tanh(x @ rng.normal(size=_INPUTS)) + _NOISE * rng.normal(size=_SAMPLES)}


def _starts(spec: Spec, count: int) -> dict[str, np.ndarray]:
    """Draw equinox's initialization, every layer scaled to norm 1."""
    drawn = jax.vmap(lambda key: _weights(_net(key)))(jax.random.split(spec.key("start"), count))
    unit = lambda w: np.asarray(w, float) / np.linalg.norm(w, axis=(1, 2), keepdims=True)
    return {name: unit(leaf) for name, leaf in zip(_LAYERS, drawn, strict=True)}


def _net(key: Any) -> eqx.nn.MLP:
    return eqx.nn.MLP(
        _INPUTS, "scalar", _HIDDEN, 1, jnp.tanh, use_bias=False, use_final_bias=False, key=key
    )


def _weights(net: Any) -> list[Any]:
    return [layer.weight for layer in net.layers]


def _loss(kind: str, p: Any, z: Any) -> Any:
    """Return the squared error of the net, its weights normalized or as they are."""
    norms = [jnp.sqrt(jnp.sum(p[name] ** 2)) for name in _LAYERS]
    if kind == "global":
        norms = 2 * [jnp.sqrt((norms[0] ** 2 + norms[1] ** 2) / 2)]
    if kind == "plain":
        norms = [1.0, 1.0]
    leaves = [
        scale * p[name] / norm for name, norm, scale in zip(_LAYERS, norms, _SCALES, strict=True)
    ]
    shape = eqx.filter_eval_shape(_net, jax.random.key(0))
    return (eqx.tree_at(_weights, shape, leaves)(z["x"]) - z["y"]) ** 2


def _mean(kind: str, samples: Any, p: Any, z: Any) -> Any:
    return jnp.mean(jax.vmap(lambda x, y: _loss(kind, p, {"x": x, "y": y}))(**samples))


def _sizes(p: Any) -> Any:
    """Return the squared norms of the layers."""
    return jnp.stack([jnp.sum(p[name] ** 2) for name in _LAYERS])


def _run(kind: str, method: str, samples: Any, start: Any, steps: int, spec: Spec) -> Dataset:
    """Return squared norms by layer, and E|g|^2 over the samples: (replicas, records, 2)."""
    one, whole = functools.partial(_loss, kind), functools.partial(_mean, kind, samples)
    shapes = {name: leaf.shape[1:] for name, leaf in start.items()}
    model = st.Model(one, shapes, st.Empirical(samples), name=f"{kind} net")
    if method == "GD":
        model = st.Model(whole, shapes, {}, name=f"{kind} net, all samples")
    slopes = jax.vmap(jax.grad(one), (None, 0))

    def push(p: Any) -> Any:
        return jnp.mean(jax.vmap(_sizes)(slopes(p, samples)), axis=0)

    run = finished(st.simulate(
        model, st.SGD(_RATE), params=start, steps=steps, replicas=len(start["first"]),
        key=spec.key(f"{kind} SGD"), observe={"size": _sizes, "push": push},
        record_every=steps // 200,
    ))  # fmt: skip
    pushes = np.concatenate([run.observables["push"], run.final["push"][:, None]], axis=1)
    sizes = np.concatenate([run.observables["size"], run.final["size"][:, None]], axis=1)
    at = np.append(run.record_steps, run.completed)
    return {"size": sizes, "push": pushes, "steps": at}


def _symmetric(samples: Any, start: Any) -> np.ndarray:
    """Return the largest relative change of the loss when a layer, or all, are scaled."""
    out = []
    for kind, scaled in (("global", (_LAYERS,)), ("layer-wise", [(name,) for name in _LAYERS])):
        mean = jax.jit(jax.vmap(functools.partial(_mean, kind, samples), (0, None)))
        for group in scaled:
            moved = {n: leaf * (1.7 if n in group else 1) for n, leaf in start.items()}
            out.append(float(jnp.max(jnp.abs(mean(moved, None) / mean(start, None) - 1))))
    return np.array(out)


def _groups(dataset: Dataset, kind: str, method: str, name: str) -> dict[str, Any]:
    """Return records of all weights, or of each layer where it has a symmetry of its own."""
    values = dataset[f"{kind} {method} {name}"]
    if kind == "layer-wise":
        return {f"{layer} layer": values[..., n] for n, layer in enumerate(_LAYERS)}
    return {"all weights": values.sum(axis=-1)}


def _growth(dataset: Dataset, kind: str, group: str) -> tuple[Any, Any]:
    """Return measured and predicted growth of the squared norm under SGD, (runs, records)."""
    size = _groups(dataset, kind, "SGD", "size")[group]
    push = _groups(dataset, kind, "SGD", "push")[group]
    steps = np.diff(dataset[f"{kind} SGD steps"])
    summed = np.cumsum(steps * (push[:, 1:] + push[:, :-1]) / 2, axis=1)
    return size[:, 1:] - size[:, :1], _RATE**2 * summed


def draw(dataset: Dataset) -> Any:
    figure, panels = _style.panels(2, height=2.5)
    for panel, kind in zip(panels, _KINDS, strict=True):
        first = True
        for n, group in enumerate(_groups(dataset, kind, "SGD", "size")):
            for method, look in (("SGD", _style.SGD), ("GD", _style.GD)):
                size = _groups(dataset, kind, method, "size")[group]
                low, middle, high = band(size / size[:, :1])
                steps = dataset[f"{kind} {method} steps"]
                panel.fill_between(steps, low, high, **look.band())
                panel.plot(steps, middle, **look.plot(
                    linewidth=2.2 if method == "SGD" else 1.3,
                    label=method if first else None))  # fmt: skip
            start = _groups(dataset, kind, "SGD", "size")[group][:, :1]
            line = np.median(1 + _growth(dataset, kind, group)[1] / start, axis=0)
            steps = dataset[f"{kind} SGD steps"]
            panel.plot(steps[1:], line, **_style.THEORY.plot(
                linewidth=0.8, label="theory" if first else None))  # fmt: skip
            if kind == "layer-wise":
                panel.annotate(group, (steps[-1], line[-1]), (-4, -38 if n == 0 else 6),
                               textcoords="offset points", ha="right", fontsize=7)  # fmt: skip
            first = False
        panel.set(xlabel="steps", ylabel=r"$\|\theta\|^2/\|\theta_0\|^2$")
        panel.ticklabel_format(axis="x", style="sci", scilimits=(4, 4), useMathText=True)
    left, right = panels
    top = left.get_ylim()[1]
    size = _groups(dataset, "plain", "GD", "size")["all weights"]
    left.plot(dataset["plain GD steps"], np.median(size / size[:, :1], axis=0),
              **_style.CONTROL.plot(linestyle=":", label="GD, no symmetry"))  # fmt: skip
    left.set_ylim(0.9, top)
    left.set_title("one norm for all weights")
    right.set_title("a norm for each layer")
    left.legend(loc=(0.5, 0.22))
    _style.letters(panels)
    return figure


def numbers(dataset: Dataset) -> Numbers:
    invariant = "scaling the weights by 1.7 changes neither net's loss: relative change"
    theory, claims, rows = [at_most(invariant, dataset["symmetric"].max(), 1e-12)], [], []
    for kind in _KINDS:
        for group in _groups(dataset, kind, "SGD", "size"):
            grown, predicted = (values[:, -1] for values in _growth(dataset, kind, group))
            ratio = st.mean_over_replicas(grown / predicted)
            what = f"|theta|^2 of {group}, {kind} net"
            theory.append(
                st.equivalence(
                    f"growth of {what}: measured over eta^2 sum (Tr Sigma + |grad L|^2), margin "
                    "0.05", 1.0, ratio, 0.05, 0.99,
                )
            )  # fmt: skip
            sizes = {m: _groups(dataset, kind, m, "size")[group] for m in ("SGD", "GD")}
            ends = {m: size[:, -1] / size[:, 0] - 1 for m, size in sizes.items()}
            claims.append(above(f"grows under SGD: {what}, relative to its start",
                                st.mean_over_replicas(ends["SGD"]), 0.0))  # fmt: skip
            off = float(np.max(np.abs(sizes["GD"] / sizes["GD"][:, :1] - 1)))
            claims.append(at_most(f"is constant under gradient descent: {what}, relative change",
                                  off, 1e-3, how="largest of all runs and records"))  # fmt: skip
            rows.append({
                "net": kind, "norm of": group,
                "SGD: growth of |theta|^2": interval(st.mean_over_replicas(ends["SGD"])),
                "measured/predicted": interval(ratio), "GD: largest change": f"{off:.1e}",
            })  # fmt: skip
    size = _groups(dataset, "plain", "GD", "size")["all weights"]
    moved = np.min(np.abs(size[:, -1] / size[:, 0] - 1))
    rows.append({"net": "no normalization (control)", "norm of": "all weights",
                 "GD: largest change": f"at least {moved:.2g}"})  # fmt: skip
    return Numbers(tuple(theory), tuple(claims), tuple(rows))
