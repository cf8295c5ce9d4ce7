"""F2: matrix factorization at the noise equilibrium (arXiv 2402.07193, matrix factorization)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

import symtheory as st
from figures import _style
from figures._decisions import above, band, finished, limit
from figures._ensembles import interval
from figures._spec import Dataset, Numbers, Spec

TITLE = "Matrix factorization: SGD balances its noise, gradient descent does not"
CAPTION = (
    "y = V x + eps fitted by U W with 2 hidden units, V of shape (2, 3), Sigma_x = "
    "diag(0.5, 1, 2), batches of one. Label noise is isotropic, for which theory puts SGD exactly "
    "at D = U^T Gamma_U U - W Gamma_W W^T = 0 as eta -> 0. (a) The three entries of D, relative to "
    "the trace of U^T Gamma_U U + W Gamma_W W^T, from four random initializations (colours): means "
    "over the replicas of SGD (solid), and gradient descent on the population loss (dashes), which "
    "is the control. (b) |D| of single runs: median and middle 80 % over initializations drawn "
    "anew for every run (normal, tails cut at 1.5), at two learning rates. Single runs fluctuate "
    "around 0 by an amount that shrinks with eta; gradient descent keeps what it started with."
)
STATEMENTS = ("P1.9", "P1.10", "P1.11")

_INPUTS = np.diag([0.5, 1.0, 2.0])
_TEACHER = np.array([[1.0, 0.3, 0.2], [-0.2, 0.7, 0.4]])
_LABELS = np.eye(2)
_RATES = (0.012, 0.006)
_TIME = 2.0  # of the slow flow, a step of which is eta^2
_FAMILIES = 4
_MARGIN = 0.03


def data(spec: Spec) -> Dataset:
    example = st.zoo.load("two-layer-linear").sized(dy=2, h=2, dx=3)
    noisy = example.bind(V=_TEACHER, Sigma_x=_INPUTS, Sigma_eps=_LABELS)
    quiet = st.Model(_population, {"U": (2, 2), "W": (2, 3)}, {}, name="population loss")
    each = spec.pick(48, 256)
    rng = spec.rng("starts")
    fixed = {name: np.repeat(leaf, each, axis=0) for name, leaf in _starts(rng, _FAMILIES).items()}
    drawn = _starts(rng, each)
    begin = {name: np.concatenate([fixed[name], drawn[name]]) for name in drawn}
    single = {name: np.concatenate([fixed[name][::each], drawn[name]]) for name in drawn}
    out: dict[str, Any] = {}
    for rate in _RATES:
        run = spec.part(f"SGD {rate}", lambda rate=rate: _run(noisy, rate, begin, spec))
        out |= {f"{name} {rate}": value for name, value in run.items()}
    gd = spec.part("GD", lambda: _run(quiet, _RATES[0], single, spec))
    ideal = st.deep_linear_equilibrium(_TEACHER, _INPUTS, _LABELS, 2).layers
    return out | {f"GD {name}": value for name, value in gd.items()} | {
        "equilibrium U": ideal[1], "equilibrium W": ideal[0], "each": np.asarray(each),
    }  # fmt: skip


def _starts(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Draw initializations with entries of order 1, where one factor is larger than the other.

    Tails are cut: from a start that is too large and sharp for the learning rate SGD diverges.
    """
    size = np.where(np.arange(count) % 2, 1.5, 0.6)[:, None, None]
    draw = lambda *shape: np.clip(rng.normal(size=(count, *shape)), -1.5, 1.5)
    return {"U": size * draw(2, 2), "W": draw(2, 3) / size}


def _run(model: st.Model, rate: float, start: Any, spec: Spec) -> Dataset:
    steps = round(_TIME / rate**2)
    run = finished(st.simulate(
        model, st.SGD(rate), params=start, steps=steps, replicas=len(start["U"]),
        key=spec.key(f"{model.name} {rate}"), observe={"D": _imbalance, "U": _outer, "W": _inner},
        record_every=steps // 100,
    ))  # fmt: skip
    late = {name: _late(run.observables[name]) for name in "UW"}
    return {"slow": run.record_steps * rate**2, "D": run.observables["D"], **late}


def _population(p: Any, z: Any) -> Any:
    """Return L = Tr[(U W - V) Sigma_x (U W - V)^T]."""
    off = p["U"] @ p["W"] - _TEACHER
    return jnp.trace(off @ _INPUTS @ off.T)


def _imbalance(p: Any) -> Any:
    """Return U^T Gamma_U U - W Gamma_W W^T over the trace of the sum, for Gaussian data."""
    off = p["U"] @ p["W"] - _TEACHER
    spread = off @ _INPUTS @ off.T
    left = jnp.trace(_INPUTS) * (spread + _LABELS) + off @ _INPUTS @ _INPUTS @ off.T
    right = jnp.trace(spread + _LABELS) * _INPUTS + _INPUTS @ off.T @ off @ _INPUTS
    first, second = p["U"].T @ left @ p["U"], p["W"] @ right @ p["W"].T
    return (first - second) / jnp.trace(first + second)


def _outer(p: Any) -> Any:
    """Return U U^T, which a rotation of the hidden units leaves as it is."""
    return p["U"] @ p["U"].T


def _inner(p: Any) -> Any:
    return p["W"].T @ p["W"]


def draw(dataset: Dataset) -> Any:
    figure, (left, right) = _style.panels(2, height=2.4)
    rate, each = _RATES[-1], int(dataset["each"])
    slow, entries = dataset[f"slow {rate}"], dataset[f"D {rate}"]
    for n in range(_FAMILIES):
        mean = entries[n * each : (n + 1) * each].mean(axis=0)
        for place in ((0, 0), (0, 1), (1, 1)):
            first = n == 0 and place == (0, 0)
            kept = dataset["GD D"][n][:, *place]
            color = _style.CYCLE[n]
            left.plot(dataset["GD slow"], kept, color=color, linestyle="--", linewidth=0.8,
                      label="GD" if first else None)  # fmt: skip
            left.plot(slow, mean[:, *place], color=color, linewidth=0.8,
                      label="SGD (mean)" if first else None)  # fmt: skip
    left.axhline(0, **_style.THEORY.plot(linewidth=0.8))
    left.set(xlabel=r"$\eta^2\times$ steps", ylabel=r"entries of $D$ / trace of the sum")
    left.set_ylim(-0.85, 0.75)
    left.legend(loc="upper right", ncols=3, columnspacing=1)
    for rate, look in zip(
        _RATES, (_style.SGD, _style.Look("", _style.CYCLE[5], "-.")), strict=True
    ):
        low, middle, high = band(_size(dataset[f"D {rate}"][_FAMILIES * each :]))
        right.fill_between(dataset[f"slow {rate}"], low, high, **look.band())
        right.plot(dataset[f"slow {rate}"], middle, **look.plot(label=rf"SGD, $\eta={rate}$"))
    low, middle, high = band(_size(dataset["GD D"][_FAMILIES:]))
    right.fill_between(dataset["GD slow"], low, high, **_style.GD.band())
    right.plot(dataset["GD slow"], middle, **_style.GD.plot())
    right.set(xlabel=r"$\eta^2\times$ steps", ylabel=r"$|D|$ / trace of the sum", yscale="log",
              ylim=(None, 12))  # fmt: skip
    right.legend(loc="upper right", ncols=2, columnspacing=1)
    _style.letters([left, right])
    return figure


def _size(entries: Any) -> Any:
    return np.linalg.norm(entries, axis=(-2, -1))


def numbers(dataset: Dataset) -> Numbers:
    each = int(dataset["each"])
    late = {rate: _late(dataset[f"D {rate}"]) for rate in _RATES}
    theory = []
    for n in range(_FAMILIES):
        part = slice(n * each, (n + 1) * each)
        rest = limit([(rate, late[rate][part][:, [0, 0, 1], [0, 1, 1]]) for rate in _RATES])
        claim = f"D is 0 where SGD rests, eta -> 0, from initialization {n + 1} (all entries)"
        theory.append(st.equivalence(claim, 0.0, rest, _MARGIN, 0.99))
    for name, side, shape in (("U", "U U^T", 2), ("W", "W^T W", 3)):
        ideal = dataset[f"equilibrium {name}"]
        want = (ideal @ ideal.T if name == "U" else ideal.T @ ideal)[np.triu_indices(shape)]
        rest = limit([
            (rate, dataset[f"{name} {rate}"][:, *np.triu_indices(shape)]) for rate in _RATES
        ])  # fmt: skip
        claim = f"{side} where SGD rests, eta -> 0, is that of the closed form (margin 4 %)"
        theory.append(st.equivalence(claim, want, rest, 0.04 * np.abs(want).max(), 0.99))
    ends = {
        f"SGD, eta = {rate}": np.log10(_size(dataset[f"D {rate}"][_FAMILIES * each :, -1]))
        for rate in _RATES
    } | {"GD": np.log10(_size(dataset["GD D"][_FAMILIES:, -1]))}
    between = {
        rate: st.mean_over_replicas(ends["GD"] - ends[f"SGD, eta = {rate}"]) for rate in _RATES
    }
    claims = tuple(
        above(
            f"|D| of gradient descent is an order of magnitude above that of SGD at eta = {rate}: "
            "log10 of the ratio at the end, pairs from the same initialization",
            found, 1.0, how=f"ratio {10**found.mean:.3g} (geometric mean)",
        )
        for rate, found in between.items()
    )  # fmt: skip
    rows = []
    for name, values in ends.items():
        value = st.mean_over_replicas(values)
        rows.append({
            "method": name, "|D|/trace at the end (geometric mean)": f"{10**value.mean:.3g}",
            "log10 of it (95 %)": interval(value),
        })  # fmt: skip
    return Numbers(tuple(theory), claims, tuple(rows))


def _late(records: Any) -> Any:
    """Average over the last half of the records."""
    return records[:, records.shape[1] // 2 :].mean(axis=1)
