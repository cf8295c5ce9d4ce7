"""Actor and critic on a point mass whose dynamics drift in stages: return and rank of the policy.

arXiv 2408.15495, experiments (reinforcement learning under drifting dynamics), at the size of two
cores: the friction of the ground and the direction in which the actuators push change.
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

import symtheory as st
from figures._claims import more_than
from figures._methods import METHODS, built, five, prepared, swept, trained, weights
from figures._point_mass import EPISODES, STEPS, World, episodes, moved, world
from figures._singular import above
from figures._spec import Dataset, Numbers, Spec
from figures._spread import THRESHOLDS, text
from figures._style import METHODS as LOOKS
from figures._style import letters, panels

TITLE = "Control of a point mass under drifting dynamics"
CAPTION = (
    "A point mass between walls is to be brought to the origin in 30 steps; with each stage the "
    "actuators push in a direction turned by a right angle more, and the friction changes. Policy "
    "and value (MLPs of two hidden layers of 32 ReLU units) learn by advantage actor-critic with "
    "Adam. One row for each gamma, the same for every decay: (left) return of the mean action, "
    "(right) singular values of the policy's last features, not centred, above 0.01 of the "
    "largest (which counts as 1e-6, the rounding of single precision, if it is less), on fixed "
    "states. Means over seeds, bands: from the least to the largest seed; dashed verticals: a new "
    "stage begins."
)
STATEMENTS = ("P2.10",)

WIDTH, NOISE, DISCOUNT = 32, 0.3, 0.9
LOOKS_PER_STAGE = 4
SHOWN = THRESHOLDS.index(1e-2)


class Agent(eqx.Module):
    policy: eqx.nn.MLP
    value: eqx.nn.MLP

    def __init__(self, key: Any) -> None:
        first, second = jax.random.split(key)
        self.policy = eqx.nn.MLP(4, 2, WIDTH, 2, key=first)
        self.value = eqx.nn.MLP(4, "scalar", WIDTH, 2, key=second)


def data(spec: Spec) -> Dataset:
    gammas, stages, updates = spec.pick(((0.003,), 3, 160), ((0.001, 0.003, 0.01), 6, 320))
    run = _runner(spec, spec.pick(5, 8), stages, updates // LOOKS_PER_STAGE)
    parts = [spec.part(f"gamma {g:g}", functools.partial(run, g)) for g in gammas]
    out = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    return {"gammas": np.array(gammas), "updates": np.array(updates), **out}


def draw(dataset: Dataset) -> Any:
    gammas, rank = dataset["gammas"], above(dataset["singular"])[..., SHOWN]
    figure, axes = panels(columns=2, rows=len(gammas), height=1.9 + 0.5 / len(gammas))
    axes = np.reshape(axes, (len(gammas), 2))
    many = rank.shape[3]
    updates = dataset["updates"] / LOOKS_PER_STAGE * (1 + np.arange(many))
    labels = ("return of an episode", "feature rank (of 32)")
    for row, gamma in enumerate(gammas):
        for axis, values, label in zip(axes[row], (dataset["return"], rank), labels, strict=True):
            for k, name in enumerate(METHODS):
                seeds = values[row, k]
                axis.plot(
                    updates,
                    seeds.mean(axis=0),
                    **LOOKS[name].plot(marker=LOOKS[name].marker, ms=2.5),
                )
                reach = seeds.min(axis=0), seeds.max(axis=0)  # intervals would leave the range
                axis.fill_between(updates, *reach, **LOOKS[name].band(alpha=0.12))
            for stage in range(1, many // LOOKS_PER_STAGE):
                axis.axvline(stage * dataset["updates"], color="#999999", lw=0.5, ls="--")
            axis.set(xlabel="updates", ylabel=label)
            axis.set_title(rf"$\gamma = {gamma:g}$", loc="right")
    letters(axes)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def numbers(dataset: Dataset) -> Numbers:
    rank, many = above(dataset["singular"]), range(len(dataset["gammas"]))
    none = METHODS.index("none")
    ends = dataset["return"][..., LOOKS_PER_STAGE - 1 :: LOOKS_PER_STAGE]
    claims = (
        more_than(
            "without decay policies learn: part of the return of resting that they gain in the "
            "first stage", 1 - ends[0, none, :, 0] / float(np.mean(dataset["resting"])), 0.5,
        ),
        more_than(
            "a new stage needs learning: orders of magnitude by which the cost (minus the return) "
            "grows as the second begins, without decay",
            np.log10(dataset["moved"][0, none, :, 0] / ends[0, none, :, 0]), 0.3,
        ),
        more_than(
            "without decay returns fall from the first stage to the last two",
            ends[0, none, :, 0] - ends[0, none, :, -2:].mean(axis=1), 0.0,
        ),
        *(claim for g in many for claim in _claims(dataset, ends[g], rank[g], g)),
    )  # fmt: skip
    rows = tuple(row for g in many for row in _rows(dataset, ends[g], rank[g], g))
    return Numbers(claims=claims, rows=rows)


def _claims(dataset: Dataset, ends: Any, rank: Any, g: int) -> tuple[st.Verdict, ...]:
    syre, plain, none = (METHODS.index(name) for name in ("syre", "plain decay", "none"))
    at = f"gamma = {dataset['gammas'][g]:g}: "
    late = lambda values: values[:, -2:].mean(axis=1)
    ranks = rank[:, :, LOOKS_PER_STAGE - 1 :: LOOKS_PER_STAGE, SHOWN]
    why = "what decay of this gamma prefers to collapse is collapsed under syre as well"
    return (
        more_than(
            at + "plain decay lowers the rank of the features: rank at 0.01 that no decay has "
            "more, last two stages", late(ranks[none]) - late(ranks[plain]), 1.0,
        ),
        more_than(
            at + "features have a higher rank under syre than under plain decay, at 0.01, last "
            "two stages", late(ranks[syre]) - late(ranks[plain]), 1.0, why,
        ),
        more_than(
            at + "returns are higher under syre than under plain decay, last two stages",
            late(ends[syre]) - late(ends[plain]), 0.0,
        ),
        more_than(
            at + "returns are higher under syre than without decay, last two stages",
            late(ends[syre]) - late(ends[none]), 0.0,
        ),
    )  # fmt: skip


def _rows(dataset: Dataset, ends: Any, rank: Any, g: int) -> Any:
    for stage in range(ends.shape[2]):
        for k, name in enumerate(METHODS):
            last = (stage + 1) * LOOKS_PER_STAGE - 1
            yield {
                "gamma": f"{dataset['gammas'][g]:g}", "stage": stage + 1, "method": name,
                "seeds": ends.shape[1], "return": text(ends[k, :, stage]),
                "return as the next stage begins": text(dataset["moved"][g, k, :, stage]),
                **{f"rank at {limit:g}": text(rank[k, :, last, i], 1)
                   for i, limit in enumerate(THRESHOLDS)},
            }  # fmt: skip


def _runner(spec: Spec, seeds: int, stages: int, updates: int) -> Callable[[float], Dataset]:
    """Return what trains all agents at one gamma: arrays (methods, seeds, times, ...)."""
    nets, static = built(Agent, spec.key("nets"), seeds)
    begun = prepared(five(1.0), nets, spec.key("methods"))
    optimizer = optax.adam(3e-3)
    rng = spec.rng("states")
    places = rng.uniform(-1, 1, size=(256, 4)).astype(np.float32)
    starts = np.pad(rng.uniform(-1, 1, size=(256, 2)), ((0, 0), (0, 2))).astype(np.float32)

    def loss(params: Any, now: World, key: Any) -> Any:
        agent = eqx.combine(params, static)
        acting = eqx.combine(jax.lax.stop_gradient(params), static).policy
        states, actions, rewards = episodes(acting, NOISE, now, key)
        to_go = jax.lax.scan(lambda rest, r: (r + DISCOUNT * rest,) * 2,
                             jnp.zeros(EPISODES), rewards, reverse=True)[1]  # fmt: skip
        each = lambda net: jax.vmap(jax.vmap(net))(states)
        value = each(agent.value)
        advantage = jax.lax.stop_gradient(to_go - value)
        advantage = (advantage - jnp.mean(advantage)) / (jnp.std(advantage) + 1e-6)
        likely = -0.5 * jnp.sum((actions - each(agent.policy)) ** 2, axis=2) / NOISE**2
        return -jnp.mean(likely * advantage) + 0.5 * jnp.mean((value - to_go) ** 2)

    @jax.jit
    def judged(params: Any, now: World) -> Any:
        def one(params: Any) -> Any:
            policy = eqx.combine(params, static).policy
            move = lambda state, _: moved(state, jax.vmap(policy)(state), now)
            rewards = jax.lax.scan(move, starts, None, length=STEPS)[1]
            features = places
            for layer in policy.layers[:-1]:
                features = jax.nn.relu(jax.vmap(layer)(features))
            return jnp.mean(jnp.sum(rewards, axis=0)), features

        return jax.vmap(jax.vmap(one))(params)

    def run(gamma: float) -> Dataset:
        agents, found, later = swept(begun, (gamma,)), [], []
        for stage in range(stages):
            here, after = (jax.tree.map(np.float32, world(s)) for s in (stage, stage + 1))
            for look in range(LOOKS_PER_STAGE):
                agents, _ = trained(
                    agents, loss, optimizer, here, spec.key(f"stage {stage} {look}"), steps=updates
                )
                with jax.enable_x64(False):
                    found.append(judged(weights(agents), here))
            with jax.enable_x64(False):
                later.append(judged(weights(agents), after)[0])
        features = np.stack([np.asarray(f, dtype=float) for _, f in found], axis=2)
        with jax.enable_x64(False):
            still = jax.tree.map(jnp.zeros_like, weights(agents))
            resting = judged(still, jax.tree.map(np.float32, world(0)))[0]
        return {
            "return": np.stack([np.asarray(r) for r, _ in found], axis=2),
            "singular": np.linalg.svd(features, compute_uv=False),
            "moved": np.stack([np.asarray(r) for r in later], axis=2),
            "resting": np.asarray(resting),
        }

    return run
