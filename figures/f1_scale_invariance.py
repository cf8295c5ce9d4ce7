"""F1: a scale-invariant loss in the plane (arXiv 2402.07193, figure 1)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

import symtheory as st
from figures import _style
from figures._decisions import above, at_most, band, finished
from figures._ensembles import interval
from figures._spec import Dataset, Numbers, Spec

TITLE = "Scale invariance: SGD moves outwards"
CAPTION = (
    "The loss -xi.theta/|theta| with xi normal of mean m and unit covariance. (a) Descent "
    "directions -grad L (arrows) are tangential to the circles around 0. Gradient descent (dashes) "
    "follows its own to the minimum, which is the direction m; SGD (coloured paths from three "
    "starts, dots) moves out to larger ones while it turns, and further out once there. (b) "
    "|theta|^4 of SGD from the same starts: median and middle 80 % of the replicas, a band as "
    "narrow as the lines because the norm has no diffusion, on |theta_0|^4 + 4 sigma^2 s t (black, "
    "s = 1). Dashes are the control, gradient descent at the same learning rate."
)
STATEMENTS = ("P1.1", "P1.3", "P1.6", "P1.7")

_MEAN = np.array([0.3, 0.2])
_RATE = 0.01
_ANGLES = np.array([3.9, 2.3, 5.0])  # where paths start, far from the direction of the mean
_RADII = np.array([0.8, 1.3, 1.8])
_COLORS = _style.CYCLE[:3]
_NOISE = 1.0  # s = Tr Sigma at |theta| = 1: the one tangential direction


def data(spec: Spec) -> Dataset:
    noisy = _noisy()
    quiet = st.Model(_loss, {"theta": 2}, st.Empirical({"xi": _MEAN[None]}), name="mean")
    each, steps = spec.pick(22, 171), spec.pick(60_000, 240_000)
    ring = _RADII[:, None] * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
    settings: dict[str, Any] = {
        "steps": steps, "observe": _place, "record_every": steps // 600,
    }  # fmt: skip
    start = {"theta": np.repeat(ring, each, axis=0)}
    sgd = finished(st.simulate(noisy, st.SGD(_RATE), params=start, replicas=3 * each,
                      key=spec.key("SGD"), **settings))  # fmt: skip
    gd = finished(st.simulate(quiet, st.SGD(_RATE), params={"theta": ring}, replicas=3,
                     key=spec.key("GD"), **settings))  # fmt: skip
    return {
        "places": sgd.observables["_place"][::each],
        "fourth": np.stack(np.split(_fourth(sgd.observables["_place"]), 3)),
        "places_gd": gd.observables["_place"],
        "end_gd": gd.final["_place"],
        "end": np.stack(np.split(sgd.final["_place"], 3)),
        "times": sgd.times,
        "time": np.asarray(steps * _RATE),
        "arrows": _arrows(quiet),
    }


def _noisy() -> st.Model:
    return st.Model(_loss, {"theta": 2}, {"xi": st.Normal(2, mean=_MEAN)}, name="plane")


def _loss(p: Any, z: Any) -> Any:
    return -(z["xi"] @ p["theta"]) / jnp.sqrt(jnp.sum(p["theta"] ** 2))


def _place(p: Any) -> Any:
    return p["theta"]


def _arrows(model: st.Model) -> np.ndarray:
    """Return points on circles and -grad L there, shape (2, points, 2)."""
    import jax

    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.concatenate([radius * ring for radius in (1.0, 2.0, 3.0)])
    slope = jax.vmap(jax.grad(lambda t: _loss({"theta": t}, {"xi": _MEAN})))(points)
    return np.stack([points, -np.asarray(slope)])


def _predicted(times: Any) -> Any:
    """|theta|^4 = |theta_0|^4 + 4 sigma^2 s t for the three starts, 2 sigma^2 = eta."""
    return _RADII[:, None] ** 4 + 2 * _RATE * _NOISE * np.atleast_1d(times)


def draw(dataset: Dataset) -> Any:
    figure, (plane, growth) = _style.panels(2, height=2.6)
    turn = np.linspace(0, 2 * np.pi, 200)
    for radius in (1, 2, 3):
        plane.plot(radius * np.cos(turn), radius * np.sin(turn), color="#bbbbbb", linewidth=0.5)
    points, slopes = dataset["arrows"]
    unit = 0.4 * slopes / np.linalg.norm(slopes, axis=1, keepdims=True)
    plane.quiver(*points.T, *unit.T, angles="xy", scale_units="xy", scale=1, width=0.005,
                 color="#666666")  # fmt: skip
    for n, color in zip(range(3), _COLORS, strict=True):
        x, y = dataset["places"][n].T
        plane.plot(x, y, color=color, linewidth=0.7)
        x, y = dataset["places_gd"][n].T
        plane.plot(x, y, **_style.GD.plot(color="black", linewidth=1.6, label=None))
        plane.plot(x[0], y[0], "o", color=color, markersize=4.5)
    limits = (-3.3, 3.3)
    plane.set(aspect="equal", xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", xlim=limits, ylim=limits)
    _growth(growth, dataset)
    _style.letters([plane, growth])
    return figure


def _growth(panel: Any, dataset: Dataset) -> None:
    times = dataset["times"]
    for n, color in zip(range(3), _COLORS, strict=True):
        low, middle, high = band(dataset["fourth"][n])
        panel.fill_between(times, low, high, color=color, alpha=0.4, linewidth=0)
        panel.plot(times, middle, color=color, linewidth=3.2, alpha=0.6,
                   label=f"SGD from $|\\theta_0| = {_RADII[n]:g}$")  # fmt: skip
        label = r"$\|\theta_0\|^4+4\sigma^2 s\,t$" if n == 2 else None
        panel.plot(times, _predicted(times)[n], **_style.THEORY.plot(linewidth=0.8, label=label))
        label = "GD" if n == 2 else None
        kept = _fourth(dataset["places_gd"])[n]
        panel.plot(times, kept, **_style.GD.plot(color="black", linewidth=1.6, label=label))
    panel.set(xlabel=r"time $t=\eta\,\times$ steps", ylabel=r"$\|\theta\|^4$", ylim=(0, None))
    panel.legend(loc="upper left")


def _fourth(places: Any) -> Any:
    return np.sum(np.square(places), axis=-1) ** 2


def numbers(dataset: Dataset) -> Numbers:
    end = _fourth(dataset["end"])  # starts, replicas
    want = _predicted(dataset["time"])[:, 0]
    kept = _fourth(dataset["end_gd"]) ** 0.5 - _RADII**2
    points, slopes = dataset["arrows"]
    cosine = np.abs(np.sum(points * slopes, axis=1)) / (
        np.linalg.norm(points, axis=1) * np.linalg.norm(slopes, axis=1)
    )
    # A step of gradient descent adds eta^2 |grad L|^2 to |theta|^2; their sum is about eta times
    # the loss given up, which is at most 2 |m|.
    most = 2 * _RATE * float(np.hypot(*_MEAN)) * (1 + _RATE)
    theory = (
        st.verify(
            _noisy(), st.Exponential(lambda p: {"theta": p["theta"]}, name="changes of scale")
        ),
        at_most("grad L is tangential: |cos| of its angle with theta", float(cosine.max()), 1e-12),
        *(
            st.equivalence(
                f"E|theta|^4 of SGD at the end, from |theta_0| = {radius:g} (margin 3 %)",
                value, st.mean_over_replicas(row), 0.03 * value, 0.99,
            )
            for radius, value, row in zip(_RADII, want, end, strict=True)
        ),
        at_most(
            "|theta|^2 of gradient descent grows by no more than eta (L(start) - L(end)) (1 + eta)",
            float(kept.max()), most,
        ),
    )  # fmt: skip
    outwards = st.mean_over_replicas((end / _RADII[:, None] ** 4).min(axis=0) ** 0.25)
    claims = (
        above("SGD moves outwards: |theta|/|theta_0| at the end, least of the starts", outwards, 1),
        at_most(
            "gradient descent stays on its circle: relative growth of |theta|, of order eta",
            float(np.max(np.sqrt(1 + kept / _RADII**2) - 1)), 0.01,
        ),
    )  # fmt: skip
    rows = [
        {
            "|theta_0|": f"{_RADII[n]:g}", "time": f"{dataset['time']:.5g}",
            "|theta|^4 predicted": f"{want[n]:.5g}",
            "SGD (mean, 95 %)": interval(st.mean_over_replicas(end[n])),
            "GD": f"{_fourth(dataset['end_gd'])[n]:.5g}",
        }
        for n in range(3)
    ]  # fmt: skip
    return Numbers(theory, claims, tuple(rows))
