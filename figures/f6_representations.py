"""F6: the representations of both layers of a tanh net align under SGD, not under GD.

arXiv 2402.07193, experiment on representations.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from figures import _style
from figures._decisions import above, below
from figures._ensembles import estimate, half_width, interval, mean_band, must_fail, summary
from figures._orbits import axes as orthogonal
from figures._orbits import turned
from figures._spec import Dataset, Numbers, Spec

TITLE = "Representations of a tanh net align under SGD"
CAPTION = (
    "Two-layer net U tanh(W x) on y = V x + eps, all widths 5, anisotropic inputs and label "
    "noise. (a)-(d) W Sx W^T and U^T Se U (without their traces, averaged over the last quarter "
    "of the run, over their largest entry) for one seed: alike under SGD, S = 1, not under "
    "gradient descent from the same start for the same time (eta to 0, on one batch of 1024 "
    "samples, 256 in the fast version). (e) Their cosine, means over seeds with 95 % intervals; "
    "every seed has a teacher, covariances, start and noise of its own. The double rotation is an "
    "approximate symmetry of this net only, so there is no line of theory; dotted: a linear net "
    "with the same starts, for which it is exact. Cosines of single trajectories stay below 1, "
    "since the parameters fluctuate."
)
STATEMENTS = ("P1.14",)

_SIZE = 5
_ALIKE = 0.5  # cosine above which the two matrices are called alike

_SQUARE = (_SIZE, _SIZE)


def _model(name: str, activation: Any) -> st.Model:
    """Return l = |U a(W x) - V x - eps|^2; teacher and covariances do not train."""

    def loss(p: Any, z: Any) -> Any:
        V, root_x, root_eps = jax.lax.stop_gradient((p["V"], p["root_x"], p["root_eps"]))
        x = root_x @ z["x"]
        return jnp.sum((p["U"] @ activation(p["W"] @ x) - V @ x - root_eps @ z["eps"]) ** 2)

    params = dict.fromkeys(("U", "W", "V", "root_x", "root_eps"), _SQUARE)
    return st.Model(loss, params, {"x": st.Normal(_SIZE), "eps": st.Normal(_SIZE)}, name=name)


_TANH, _LINEAR = _model("tanh net", jnp.tanh), _model("linear net", lambda h: h)


def _pair(p: Any) -> Any:
    """Return the parts without trace of W Sx W^T and U^T Se U."""
    inner, outer = p["W"] @ p["root_x"], p["root_eps"].T @ p["U"]
    both = jnp.stack([inner @ inner.T, outer.T @ outer])
    return both - jnp.trace(both, axis1=1, axis2=2)[:, None, None] / _SIZE * jnp.eye(_SIZE)


def _cosine(p: Any) -> Any:
    first, second = _pair(p)
    return jnp.sum(first * second) / (jnp.linalg.norm(first) * jnp.linalg.norm(second))


def data(spec: Spec) -> Dataset:
    seeds, time = spec.pick(10, 24), spec.pick(120.0, 480.0)
    rng = spec.rng("problems")
    starts: dict[str, Any] = {name: np.zeros((seeds, *_SQUARE)) for name in _TANH.params}
    spread = np.geomspace(0.5, 2.0, _SIZE)
    for n in range(seeds):
        values = np.linspace(0.4, 1.6, _SIZE)
        starts["V"][n] = (orthogonal(rng, _SIZE) * values) @ orthogonal(rng, _SIZE)
        for name, size in (("root_x", 0.3), ("root_eps", 1.0)):
            starts[name][n] = turned(np.sqrt(size * spread), orthogonal(rng, _SIZE))
        starts["U"][n], starts["W"][n] = rng.normal(size=(2, *_SQUARE)) * 0.8
    rate = spec.pick(0.02, 0.01)
    out: dict[str, Any] = {"rate": np.array(rate)}
    for name, model, dynamics in (
        ("sgd", _TANH, st.SGD(rate)),
        ("gd", _TANH, st.GradientFlow(0.1, samples=spec.pick(256, 1024))),
        ("linear", _LINEAR, st.SGD(rate)),
    ):
        run = functools.partial(_run, spec, name, model, dynamics, starts, time)
        out |= spec.part(name, run)
    return out


def _run(spec: Spec, name: str, model: Any, dynamics: Any, starts: Any, time: float) -> Dataset:
    run = st.simulate(
        model, dynamics, params=starts, steps=round(time / dynamics.time_per_step),
        replicas=len(starts["U"]), key=spec.key(name), observe={"cosine": _cosine, "pair": _pair},
    )  # fmt: skip
    cosine = run.observables["cosine"]
    late = 3 * cosine.shape[1] // 4
    return {
        f"{name}_times": run.times,
        **summary(cosine, f"{name}_cosine"),
        f"{name}_late": cosine[:, late:].mean(axis=1),
        f"{name}_pair": run.observables["pair"][0, late:].mean(axis=0),
    }


def draw(dataset: Dataset) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_style.TEXT, 2.9), layout="constrained")
    axes = figure.subplot_mosaic(
        [["sgd0", "sgd1", "time"], ["gd0", "gd1", "time"]], width_ratios=[1, 1, 1.9]
    )
    names = (r"$W\Sigma_xW^\top$", r"$U^\top\Sigma_\epsilon U$")
    image = None
    for method, label in (("sgd", "SGD"), ("gd", "GD")):
        for side in (0, 1):
            matrix, panel = dataset[f"{method}_pair"][side], axes[f"{method}{side}"]
            image = panel.imshow(matrix / np.abs(matrix).max(), cmap="RdBu_r", vmin=-1, vmax=1)
            panel.set(xticks=[], yticks=[], xlabel=names[side])
            if side == 0:
                panel.set_ylabel(label)
    bar = figure.colorbar(
        image, ax=[axes["gd0"], axes["gd1"]], location="bottom", shrink=0.6, ticks=[-1, 0, 1]
    )
    bar.set_label("entry / largest")
    panel = axes["time"]
    linear = dataclasses.replace(_style.CONTROL, label="SGD, linear net", line=":")
    for method, look in (("linear", linear), ("sgd", _style.SGD), ("gd", _style.GD)):
        times, name = dataset[f"{method}_times"], f"{method}_cosine"
        panel.fill_between(times, *mean_band(dataset, name), **look.band())
        panel.plot(times, dataset[f"{name}_mean"], **look.plot())
    panel.set(xlabel=r"time $t=\eta n$", ylabel="cosine of the two matrices", ylim=(-1, 1.05))
    panel.legend(loc="center right", borderaxespad=0)
    _style.letters([axes[name] for name in ("sgd0", "sgd1", "gd0", "gd1", "time")])
    return figure


def numbers(dataset: Dataset) -> Numbers:
    late = {
        name: st.mean_over_replicas(dataset[f"{name}_late"]) for name in ("sgd", "gd", "linear")
    }
    symmetry = st.Exponential(
        lambda p: {**{n: 0 * p[n] for n in ("V", "root_x", "root_eps")}, "U": p["U"], "W": -p["W"]},
        name="rescaling",
    )
    theory = (must_fail("the double rotation is no exact symmetry", st.verify(_TANH, symmetry)),)
    gap = st.mean_over_replicas(dataset["sgd_late"] - dataset["gd_late"])
    apart = late["sgd"].mean - half_width(late["sgd"]) > late["gd"].mean + half_width(late["gd"])
    reverse = gap.mean + half_width(gap) < 0
    status = st.Status.SUPPORTED if apart else st.Status.INCONCLUSIVE
    claim = st.Verdict(
        st.Status.REFUTED if reverse else status,
        "the two matrices are more alike under SGD than under GD: cosine of their parts without "
        "trace, SGD less GD",
        how=f"95 % intervals over {gap.count} seeds: SGD {interval(late['sgd'])}, GD "
        f"{interval(late['gd'])}; {'apart' if apart else 'not apart'}",
        measured=gap.mean,
        standard_error=gap.standard_error,
        reference="arXiv 2402.07193, experiment on representations",
    )
    level = f"cosine, threshold {_ALIKE:g}"
    claims = (
        claim,
        above(f"the two matrices are alike under SGD: {level}", late["sgd"], _ALIKE),
        below(f"they are not under gradient descent: {level}", late["gd"], _ALIKE),
        above(f"they are alike under SGD in the linear net: {level}", late["linear"], _ALIKE),
    )
    labels = {"sgd": f"SGD, eta = {float(dataset['rate']):g}", "gd": "GD"}
    labels["linear"] = f"{labels['sgd']}, linear net"
    rows = [
        {
            "method": label,
            "cosine at the start (95 %)": interval(estimate(dataset, f"{name}_cosine", 0)),
            "in the last quarter (95 %)": interval(late[name]),
            "least and largest over seeds": f"{np.min(dataset[f'{name}_late']):.3g}, "
            f"{np.max(dataset[f'{name}_late']):.3g}",
        }
        for name, label in labels.items()
    ]
    return Numbers(theory, claims, tuple(rows))
