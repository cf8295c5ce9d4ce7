"""E9: what syre costs in time and memory (arXiv 2408.15495, the algorithm)."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np

import symtheory as st
from figures import _methods, _style
from figures._decisions import at_most
from figures._digits import CLASSES, PIXELS
from figures._spec import Dataset, Numbers, Spec

TITLE = "Overhead of syre in time and memory"
CAPTION = (
    "One training step of a net of 4 layers with plain decay of optax and with syre, compiled by "
    "XLA. (a) Ratio of their times against the batch: medians of pairs of interleaved runs with "
    "95 % intervals of the median, buffers donated; the lines are the ratios of the floating-point "
    "operations that XLA counts. (b) Memory of the compiled step (arguments, results and "
    "temporaries) in units of the parameters, for the smallest batch: syre adds its bias, once if "
    "the buffers are donated and twice if they are kept. Counts and memory are exact for this "
    "compiler; times are those of this machine."
)
STATEMENTS = ()
ALONE = True

NAMES, OPTIMIZERS, GAMMA = ("none", "plain decay", "syre"), ("SGD", "Adam"), 1e-4


def data(spec: Spec) -> Dataset:
    widths, batches = spec.pick((256,), (128, 512)), spec.pick((16, 128), (8, 64, 512))
    rounds = spec.pick(15, 61)
    settings = [
        (which, width, batch, donated)
        for which, width in itertools.product(range(len(OPTIMIZERS)), widths)
        for batch, donated in (*((batch, True) for batch in batches), (batches[0], False))
    ]
    found = [
        spec.part(" ".join(map(str, setting)), lambda s=setting: _measured(spec, *s, rounds))
        for setting in settings
    ]
    return {
        "setting": np.array(settings, dtype=int),
        **{name: np.stack([one[name] for one in found]) for name in found[0]},
    }


def _measured(
    spec: Spec, which: int, width: int, batch: int, donated: bool, rounds: int
) -> Dataset:
    """Return counts, memory and times of a step by every method, for one setting."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    with jax.enable_x64(False):
        build = lambda key: eqx.nn.MLP(PIXELS, CLASSES, width, 3, key=key)
        nets, static = _methods.built(build, spec.key("net"), 1)
        params = jax.tree.map(lambda leaf: leaf[0], nets)
        rng = spec.rng("pictures")
        x = jnp.asarray(rng.normal(size=(batch, PIXELS)), jnp.float32)
        y = jnp.asarray(rng.integers(CLASSES, size=batch), jnp.int32)

        def loss(params: Any, x: Any, y: Any) -> Any:
            outputs = jax.vmap(eqx.combine(params, static))(x)
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, y))

        decays = {
            "none": optax.identity(),
            "plain decay": optax.add_decayed_weights(2 * GAMMA),
            "syre": st.syre.decay_towards(GAMMA, key=spec.key("bias")),
        }
        inner = (optax.sgd(1e-2), optax.adam(1e-3))[which]
        counts, runs = [], []
        for name in NAMES:
            optimizer = optax.chain(decays[name], inner)

            def step(params: Any, state: Any, x: Any, y: Any, optimizer: Any = optimizer) -> Any:
                slope = jax.grad(loss)(params, x, y)
                updates, state = optimizer.update(slope, state, params)
                return optax.apply_updates(params, updates), state

            start = (jax.tree.map(jnp.copy, params), optimizer.init(params))
            donate = (0, 1) if donated else ()
            compiled: Any = jax.jit(step, donate_argnums=donate).lower(*start, x, y).compile()
            cost, m = compiled.cost_analysis(), compiled.memory_analysis()
            # Not the compiler's own peak, which leaves out temporaries.
            peak = m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes
            counts.append((cost["flops"], cost["bytes accessed"], peak - m.alias_size_in_bytes))
            runs.append([lambda p, s, c=compiled: c(p, s, x, y), start])
        clock, busy = _interleaved(runs, rounds)
    flops, moved, memory = np.array(counts).T
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return {
        "size": np.array(size), "flops": flops, "bytes": moved, "memory": memory,
        "seconds": clock, "seconds_cpu": busy,
    }  # fmt: skip


def _interleaved(runs: list[list[Any]], rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return times of a step (methods, rounds): methods take turns, in another order each round."""
    import jax

    clock, busy = np.zeros((2, len(runs), rounds))
    steps = 1
    for number in range(-3, rounds):  # three rounds to warm up and to see how long a step is
        for i in np.roll(np.arange(len(runs)), number):
            compiled, carry = runs[i]
            start = time.perf_counter(), time.process_time()
            for _ in range(steps):
                carry = compiled(*carry)
            runs[i][1] = jax.block_until_ready(carry)
            if number >= 0:
                clock[i, number] = (time.perf_counter() - start[0]) / steps
                busy[i, number] = (time.process_time() - start[1]) / steps
            else:
                steps = int(np.clip(0.01 / (time.perf_counter() - start[0]) * steps, 1, 50))
    return clock, busy


def _ratio(seconds: np.ndarray) -> tuple[float, float, float]:
    """Return the median ratio of syre to plain decay, and the 95 % interval of the median."""
    from scipy import stats

    ratios = np.sort(seconds[NAMES.index("syre")] / seconds[NAMES.index("plain decay")])
    rank = int(stats.binom.ppf(0.025, len(ratios), 0.5)) - 1
    rank = max(rank, 0)
    return float(np.median(ratios)), float(ratios[rank]), float(ratios[-1 - rank])


def draw(dataset: Dataset) -> Any:
    figure, (left, right) = _style.panels(2, width=_style.TEXT, height=2.4)
    setting = dataset["setting"]
    widths = np.unique(setting[:, 1])
    lines = itertools.cycle(("-", "--", "-.", ":"))
    for k, (which, width) in enumerate(itertools.product(range(len(OPTIMIZERS)), widths)):
        rows = np.flatnonzero((setting[:, 0] == which) & (setting[:, 1] == width) & setting[:, 3])
        batch = setting[rows, 2]
        found = np.array([_ratio(dataset["seconds"][row]) for row in rows])
        flops = dataset["flops"][rows]
        color, line = _style.CYCLE[k], next(lines)
        left.errorbar(
            batch * 1.06**k, found[:, 0], np.abs(found[:, 1:] - found[:, :1]).T, color=color,
            fmt="osD^"[k % 4], markersize=3.5, capsize=2, linewidth=1,
            label=f"{OPTIMIZERS[which]}, width {width}",
        )  # fmt: skip
        left.plot(batch, flops[:, 2] / flops[:, 1], color=color, linestyle=line, linewidth=1)
    left.axhline(1, color="black", linewidth=0.5)
    left.set_xscale("log", base=2)
    batches = np.unique(setting[:, 2])
    left.set_xticks(batches, labels=[str(batch) for batch in batches])
    left.set(xlabel="batch (samples)", ylabel="time, syre / plain decay")
    left.legend(loc="best")
    last = setting[:, 2] == setting[:, 2].min()
    last &= setting[:, 1] == widths[-1]
    places, labels = [], []
    for k, row in enumerate(np.flatnonzero(last)):
        units = dataset["memory"][row] / (4 * dataset["size"][row])
        for i, name in enumerate(NAMES):
            look = _style.METHODS[name]
            right.bar(
                k + 0.26 * (i - 1), units[i], 0.24, color=look.color,
                hatch=("", "///", "")[i], edgecolor="white", linewidth=0,
                label=look.label if k == 0 else None,
            )  # fmt: skip
        places.append(k)
        labels.append(f"{OPTIMIZERS[setting[row, 0]]}\n{'donated' if setting[row, 3] else 'kept'}")
    right.set(ylabel="memory / parameters", xlabel="optimizer and buffers")
    right.set_xticks(places, labels=labels)
    right.legend(loc="upper left")
    _style.letters((left, right))
    return figure


def numbers(dataset: Dataset) -> Numbers:
    setting, plain, syre = dataset["setting"], NAMES.index("plain decay"), NAMES.index("syre")
    extra = (dataset["memory"][:, syre] - dataset["memory"][:, plain]) / (4 * dataset["size"])
    theory = [
        at_most(
            f"extra memory of syre over that of the parameters, buffers {text}: difference from "
            f"{expected}", float(np.abs(extra[setting[:, 3] == donated] - expected).max()), 0.05,
            how="largest of all settings; counted, without a statistical error",
        )
        for text, donated, expected in (("donated", 1, 1), ("not donated", 0, 2))
    ]  # fmt: skip
    more = (dataset["flops"][:, syre] - dataset["flops"][:, plain]) / dataset["size"]
    spread = max(
        np.ptp(more[np.all(setting[:, [0, 1, 3]] == one, axis=1)])
        for one in np.unique(setting[:, [0, 1, 3]], axis=0)
    )
    holds = st.Status.SUPPORTED if spread < 0.01 else st.Status.REFUTED
    theory.append(
        st.Verdict(
            holds, "extra operations for each parameter do not grow with the batch",
            how=f"XLA counts {more.min():.3g} to {more.max():.3g}", predicted=0.0,
            measured=spread, margin=0.01,
        )
    )  # fmt: skip
    claims = tuple(_small(dataset, row) for row in range(len(setting)))
    rows = []
    for row, (which, width, batch, donated) in enumerate(setting):
        middle, low, high = _ratio(dataset["seconds"][row])
        busy = _ratio(dataset["seconds_cpu"][row])[0]
        count, moved, peak = (dataset[name][row] for name in ("flops", "bytes", "memory"))
        rows.append(
            {
                "optimizer": OPTIMIZERS[which],
                "width": width,
                "batch": batch,
                "donated": bool(donated),
                "ms, plain": f"{1e3 * np.median(dataset['seconds'][row][plain]):.3g}",
                "time ratio": f"{middle:.3f} ({low:.3f} to {high:.3f})",
                "CPU time ratio": f"{busy:.3f}",
                "operations": f"{count[syre] / count[plain]:.4f}",
                "bytes moved": f"{moved[syre] / moved[plain]:.3f}",
                "memory": f"{peak[syre] / peak[plain]:.3f}",
            }
        )
    return Numbers(theory=tuple(theory), claims=claims, rows=tuple(rows))


def _small(dataset: Dataset, row: int) -> st.Verdict:
    """Return the verdict on "the overhead is negligible" for one setting: under 5 %."""
    middle, low, high = _ratio(dataset["seconds"][row])
    which, width, batch, donated = dataset["setting"][row]
    status = st.Status.SUPPORTED if high < 1.05 else st.Status.INCONCLUSIVE
    return st.Verdict(
        st.Status.REFUTED if low >= 1.05 else status,
        f"time of a step, syre over plain decay ({OPTIMIZERS[which]}, width {width}, batch "
        f"{batch}, buffers {'donated' if donated else 'kept'}), is below 1.05",
        how=f"95 % interval of the median {low:.3f} to {high:.3f}",
        predicted="< 1.05",
        measured=middle,
    )
