"""Small experiments whose truth is known: how often is a law supported or refuted?

Each draws a model, a start, settings of SGD and a length, derives the law, simulates once, and
compares the run with the law and with laws whose noise is off by a known factor.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

import symtheory as st
from symtheory.zoo import load

FACTORS = (1.0, 0.0, 0.75, 1.25)


def models() -> dict[str, tuple[st.Model, Any]]:
    """Models by name, with the symmetry whose law is compared."""
    labels = st.Model(
        lambda p, z: (p["u"] * p["w"] - z["y"]) ** 2,
        {"u": (), "w": ()},
        {"y": st.Normal((), mean=1.0, cov=0.5)},
        name="labels",
    )
    rescaling = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]}, name="rescaling")
    scalar, scale = load("scalar-factor"), load("scale-invariant")
    return {
        "labels": (labels, rescaling),
        "scalar net": (scalar.bound(), scalar.symmetries["rescaling"]),
        "scale invariance": (scale.bound(d=6), scale.symmetries["scale"]),
    }


class Laws:
    """The laws of the models, derived once."""

    def __init__(self) -> None:
        self._laws = {name: (m, st.derive(m, s)) for name, (m, s) in models().items()}

    def experiment(self, number: int) -> dict[str, Any]:
        """Run one experiment; everything is drawn from its number."""
        rng = np.random.default_rng(number)
        name = list(self._laws)[number % len(self._laws)]
        model, law = self._laws[name]
        rate = float(rng.uniform(0.004, 0.012))
        steps = int(10 ** rng.uniform(2.0, 3.5))
        replicas = int(rng.choice([16, 32, 64]))
        decay = float(rng.choice([0.0, 0.0, 0.02]))
        if name == "scale invariance":
            direction = rng.normal(size=6)
            start: Any = {"w": direction / np.linalg.norm(direction) * rng.uniform(0.8, 1.5)}
        else:
            shift = float(rng.uniform(0.15, 0.7) * rng.choice([-1, 1]))
            start = {"u": math.exp(shift), "w": math.exp(-shift)}
        run = st.simulate(
            model,
            st.SGD(rate, int(rng.choice([1, 2])), decay),
            params=start,
            steps=steps,
            replicas=replicas,
            key=jax.random.key(number),
            observe=law,
        )
        own = run.dynamics.temperature
        statuses = {}
        for factor in FACTORS:
            verdict = st.compare(law, run, temperature=factor * own)
            statuses[f"{factor:g}"] = str(verdict.status)
        return {
            "number": number, "model": name, "steps": steps, "replicas": replicas,
            "weight_decay": decay, "statuses": statuses,
        }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the rates as lines of Markdown."""
    out = ["| noise of the law | supported | refuted | inconclusive |", "|---|---|---|---|"]
    for factor in FACTORS:
        seen = [row["statuses"][f"{factor:g}"] for row in rows]
        counts = [seen.count(s) for s in ("supported", "refuted", "inconclusive")]
        what = {1.0: "as simulated", 0.0: "none at all"}.get(factor, f"{factor:g} times")
        out.append(f"| {what} | " + " | ".join(f"{n} of {len(seen)}" for n in counts) + " |")
    return out
