"""F4: sharpness of a rank-1 factorization with and without warmup (arXiv 2402.07193, warmup)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from figures import _style
from figures._decisions import above, at_most, band, limit, share, share_above
from figures._ensembles import interval
from figures._spec import Dataset, Numbers, Spec

TITLE = "Warmup: noise flattens a sharp start before the learning rate grows"
CAPTION = (
    "y = V x + eps with V of rank one fitted by u w^T (8 inputs, 8 outputs, unit covariances), "
    "batches of one. (a) Trace of the Hessian: medians and middle 80 % over initializations. At "
    "the large learning rate SGD from Kaiming's initialization leaves at once (thin lines, single "
    "runs): many diverge, the others are thrown over to a flat minimum. With warmup it is "
    "flattened first, as fast as theory says (black, from the median charge), and then bears the "
    "large rate, 0.03 (in trials not shown here some runs diverged even so at 0.035); from "
    "Xavier's initialization it is flat early on. Both end at the noise equilibrium. Gradient "
    "descent at the small rate (dashes) is the control: it keeps the sharpness of its start. "
    "Dotted: 8 x 2/eta before and after the switch; a minimum above it is unstable under gradient "
    "descent, as the largest eigenvalue there is an eighth of the trace. The typical start is "
    "below the dotted line even at the large rate: with batches of one it is the noise that "
    "throws runs out. (b) |u|^2 - |w|^2 of SGD from a minimum against its start: theory for eta "
    "-> 0 and two learning rates."
)
STATEMENTS = ("P1.12", "P1.13")

_SIZE = 8
_TEACHER = np.full((_SIZE, _SIZE), 1 / _SIZE)  # singular value 1
# In trials that are not kept some runs diverged even after warmup at 0.035.
_SMALL, _LARGE = 0.003, 0.03
_WARMUP, _AFTER = 15_000, 15_000  # steps
_COLD = 1000  # steps without warmup: what diverges does so in the first tens of them
_LAW_RATES = (0.002, 0.001)
_WITHIN = 0.2


def data(spec: Spec) -> Dataset:
    unit = np.eye(_SIZE)
    example = st.zoo.load("two-layer-linear").sized(dx=_SIZE, dy=_SIZE, h=1)
    noisy = example.bind(V=_TEACHER, Sigma_x=unit, Sigma_eps=unit)
    quiet = st.Model(_population, {"U": (_SIZE, 1), "W": (1, _SIZE)}, {}, name="population loss")
    replicas = spec.pick(32, 128)
    kaiming = _drawn(spec.rng("Kaiming"), replicas, 2.0, 2 / _SIZE)
    xavier = _drawn(spec.rng("Xavier"), replicas, *2 * [2 / (_SIZE + 1)])
    steps = _WARMUP + _AFTER
    run = lambda name, model, rate, start, steps: st.simulate(
        model, st.SGD(rate), params=start, steps=steps, replicas=replicas, key=spec.key(name),
        observe=_trace, record_every=10,
    )  # fmt: skip
    first = run("warmup", noisy, _SMALL, kaiming, _WARMUP)
    second = run("after", noisy, _LARGE, first.params, _AFTER)
    flat = run("Xavier", noisy, _LARGE, xavier, steps)
    still = run("GD", quiet, _SMALL, kaiming, steps)
    sharp = st.two_layer_sharpness(_TEACHER, unit, unit)
    joined = np.concatenate([r.observables["_trace"] for r in (first, second)], axis=1)
    out: dict[str, Any] = {
        "steps": np.concatenate([first.record_steps, _WARMUP + second.record_steps]),
        "end of warmup": _last(first.observables["_trace"]),
        "completed": np.array([first.completed + second.completed, flat.completed]),
        "charge": np.asarray(jax.vmap(_charge)(kaiming)),
        "equilibrium": np.asarray(sharp.noise_equilibrium.trace),
        "cold": spec.part("cold", lambda: {"trace": _cold(noisy, kaiming, spec)})["trace"],
        **spec.part("law", lambda: _law(noisy, spec)),
    }
    traces = {"warmup": joined, **{n: r.observables["_trace"] for n, r in (("Xavier", flat),
              ("GD", still))}}  # fmt: skip
    for name, trace in traces.items():
        out |= {f"band {name}": np.stack(band(trace)), f"end {name}": _last(trace),
                f"start {name}": trace[:, 0]}  # fmt: skip
    return out


def _last(records: Any) -> Any:
    """Average over the last tenth of the records."""
    return records[:, -records.shape[1] // 10 :].mean(axis=1)


def _drawn(rng: np.random.Generator, count: int, left: float, right: float) -> Any:
    """Draw u and w with entries of the given variances: 2/(inputs of the layer) for Kaiming."""
    return {
        "U": np.sqrt(left) * rng.normal(size=(count, _SIZE, 1)),
        "W": np.sqrt(right) * rng.normal(size=(count, 1, _SIZE)),
    }


def _population(p: Any, z: Any) -> Any:
    return jnp.sum((p["U"] @ p["W"] - _TEACHER) ** 2)


def _trace(p: Any) -> Any:
    """Return the trace of the Hessian of L, at any point: 2 d (|u|^2 + |w|^2)."""
    return 2 * _SIZE * (jnp.sum(p["U"] ** 2) + jnp.sum(p["W"] ** 2))


def _charge(p: Any) -> Any:
    return jnp.sum(p["U"] ** 2) - jnp.sum(p["W"] ** 2)


def _cold(model: st.Model, starts: Any, spec: Spec) -> np.ndarray:
    """Return the trace along runs without warmup, infinite from where one diverges."""
    out = np.full((len(starts["U"]), _COLD), np.inf)
    for n, row in enumerate(out):  # one by one: an ensemble stops where its first run diverges
        run = st.simulate(
            model, st.SGD(_LARGE), params=jax.tree.map(lambda leaf, n=n: leaf[n], starts),
            steps=_COLD, key=spec.key(f"cold {n}"), observe=_trace, record_every=1,
        )  # fmt: skip
        row[: run.completed] = run.observables["_trace"][0]
    return out


def _law(model: st.Model, spec: Spec) -> Dataset:
    """Return |u|^2 - |w|^2 from a minimum until the predicted time, at two learning rates."""
    replicas, charge = spec.pick(48, 192), 2.0 * _SIZE - 2
    side = np.full(_SIZE, _SIZE**-0.5)
    left = (charge + np.hypot(charge, 2)) / 2  # |u|^2 where |u| |w| = 1
    start = {"U": np.sqrt(left) * side[:, None], "W": side[None] / np.sqrt(left)}
    out: dict[str, Any] = {}
    found = st.warmup(model, start, ("U", "W"), learning_rate=_LAW_RATES[0], within=_WITHIN)
    for rate in _LAW_RATES:
        steps = round(found.steps * (_LAW_RATES[0] / rate) ** 2)
        run = st.simulate(
            model, st.SGD(rate), params=start, steps=steps, replicas=replicas,
            key=spec.key(f"law {rate}"), observe=_charge, record_every=max(1, steps // 100),
        )  # fmt: skip
        out[f"law {rate}"] = run.observables["_charge"] / charge
        out[f"law end {rate}"] = run.final["_charge"] / charge
        out[f"law slow {rate}"] = run.record_steps * rate**2
    rest = found.balanced_charge / charge
    before = np.array([found.before.trace, found.before.largest, found.after.trace])
    slow = found.steps * _LAW_RATES[0] ** 2
    return out | {"law slow": np.asarray(slow), "law rest": np.asarray(rest), "law sharp": before}


def _relative_charge(slow: Any) -> Any:
    """dC/dt = -4 T d C at unit covariances, on the minima; `slow` is eta^2 times steps."""
    return np.exp(-4 * _SIZE * np.asarray(slow))


def draw(dataset: Dataset) -> Any:
    figure, (left, right) = _style.panels(2, height=2.7)
    for n, row in enumerate(dataset["cold"]):
        left.plot(np.arange(1, _COLD + 1), np.where(row < 1e9, row, np.nan), color=_style.CYCLE[3],
                  linewidth=0.4, label="SGD, Kaiming, no warmup" if n == 0 else None)  # fmt: skip
    curves = (
        ("warmup", _style.SGD, "SGD, Kaiming, warmup"),
        ("Xavier", _style.Look("", _style.CYCLE[2], "-."), "SGD, Xavier"),
        ("GD", _style.GD, "GD, Kaiming"),
    )
    for name, look, label in curves:
        low, middle, high = dataset[f"band {name}"]
        steps = dataset["steps"][: len(low)] + 1
        left.fill_between(steps, low, high, **look.band())
        left.plot(steps, middle, **look.plot(label=label))
    steps = np.arange(1, _WARMUP, 20)
    charge = np.median(dataset["charge"]) * _relative_charge(steps * _SMALL**2)
    left.plot(steps, 2 * _SIZE * np.hypot(charge, 2), **_style.THEORY.plot(linewidth=0.9))
    edge = _SIZE * np.repeat([2 / _SMALL, 2 / _LARGE], 2)
    left.plot([1, _WARMUP, _WARMUP, _WARMUP + _AFTER], edge,
              color="black", linestyle=":", linewidth=0.9,
              label=rf"${_SIZE}\times 2/\eta$, warmup")  # fmt: skip
    left.set(xscale="log", yscale="log", xlabel="step", ylabel=r"$\mathrm{Tr}\,\nabla^2L$",
             ylim=(12, 3e6), xlim=(1, _WARMUP + _AFTER))  # fmt: skip
    left.legend(loc="upper right", labelspacing=0.3)
    for rate, look in zip(_LAW_RATES, (_style.Look("", _style.CYCLE[5], "-."), _style.SGD),
                          strict=True):  # fmt: skip
        low, middle, high = band(dataset[f"law {rate}"])
        right.fill_between(dataset[f"law slow {rate}"], low, high, **look.band())
        right.plot(dataset[f"law slow {rate}"], middle, **look.plot(
            label=rf"SGD, $\eta={rate}$"))  # fmt: skip
    slow = np.linspace(0, float(dataset["law slow"]), 50)
    right.plot(slow, _relative_charge(slow), **_style.THEORY.plot(linewidth=0.9))
    right.set(xlabel=r"$\eta^2\times$ steps", ylim=(0, 1.1),
              ylabel=r"$(\|u\|^2-\|w\|^2)$ / at start")  # fmt: skip
    right.legend(loc="lower left")
    _style.letters([left, right])
    return figure


def numbers(dataset: Dataset) -> Numbers:
    rest = float(dataset["equilibrium"])
    ends = {name: dataset[f"end {name}"] for name in ("warmup", "Xavier", "GD")}
    lost = ~np.isfinite(dataset["cold"][:, -1])
    runs, stayed = len(lost), int(dataset["completed"].min()) == _WARMUP + _AFTER
    law = limit([(rate, dataset[f"law end {rate}"]) for rate in _LAW_RATES])
    want = float(_relative_charge(dataset["law slow"]))
    theory = (
        at_most(
            "time to balance: st.warmup and dC/dt = -4 T d C differ by",
            abs(want - _WITHIN), 1e-9, how="relative charge at the predicted time",
        ),
        st.equivalence(
            "|u|^2 - |w|^2 at that time over its start, eta -> 0 (margin 0.04)", want, law, 0.04,
            0.99,
        ),
        st.equivalence(
            f"Tr Hess at the end of warmup, eta = {_SMALL}, is S_NE (margin 5 %)", rest,
            st.mean_over_replicas(dataset["end of warmup"]), 0.05 * rest, 0.99,
        ),
    )  # fmt: skip
    rare, most = 0.05, share(0, 2 * runs)[1]  # a share that is stated, not taken from the runs
    kept = st.Status.SUPPORTED if most < rare else st.Status.INCONCLUSIVE
    below = int(np.sum(dataset["start GD"] < _SIZE * 2 / _LARGE))
    gap = st.mean_over_replicas(ends["warmup"] - ends["Xavier"])
    thrown = dataset["cold"][~lost, -1]
    claims = (
        share_above(
            "without warmup SGD from Kaiming's initialization diverges, in a share of the runs "
            f"above {rare:g}", int(lost.sum()), runs, rare,
            how=("none is left" if lost.all() else "the others were thrown to flat minima, trace "
                 f"{np.median(thrown):.3g} (median) after {_COLD} steps")
            + f"; {below} of {runs} starts have a trace below {_SIZE} x 2/eta",
        ),
        st.Verdict(
            kept if stayed else st.Status.REFUTED,
            "after warmup, and from Xavier's initialization, no run diverges at the same rate "
            f"(upper bound on the share below {rare:g})",
            how=f"none of {2 * runs} runs of {_AFTER} steps and more; 95 % upper bound on the "
            f"share {most:.3f}" if stayed else "one did", measured=float(not stayed),
        ),
        above("gradient descent ends sharper than SGD with warmup: ln of the ratio",
              st.mean_over_replicas(np.log(ends["GD"] / ends["warmup"])), 0.0),
        st.equivalence("SGD ends at the same trace from Kaiming with warmup as from Xavier (margin "
                       "5 %)", 0.0, gap, 0.05 * rest, 0.99),
    )  # fmt: skip
    column = f"{_SIZE} x 2/eta"
    first = f"{dataset['cold'][:, 0].mean():.4g}"
    rows = [{"run": "SGD, Kaiming, no warmup", "trace at start": first,
             "at the end": f"{lost.mean():.0%} diverged",
             column: f"{_SIZE * 2 / _LARGE:.4g}"}]  # fmt: skip
    for name, text, rate in (("GD", "GD, Kaiming", _SMALL), ("warmup", "SGD, Kaiming, warmup",
                             _LARGE), ("Xavier", "SGD, Xavier", _LARGE)):  # fmt: skip
        rows.append({
            "run": text, "trace at start": f"{dataset[f'start {name}'].mean():.4g}",
            "at the end": interval(st.mean_over_replicas(ends[name])),
            column: f"{_SIZE * 2 / rate:.4g}",
        })  # fmt: skip
    rows.append({"run": "S_NE (theory)", "at the end": f"{rest:.4g}"})
    return Numbers(theory, claims, tuple(rows))
