"""A point mass between walls, to be brought to the origin, whose dynamics drift in stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

STEPS, EPISODES, WALL = 30, 32, 2.0


class World(NamedTuple):
    """The dynamics of a stage: matrix of the actuators, share of the velocity that is kept."""

    push: Any
    keep: Any


def world(stage: int) -> World:
    """Return the dynamics of a stage: turned by a right angle more, with other friction."""
    angle = np.pi / 2 * stage
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return World(0.3 * turn, np.array(0.6 if stage % 2 else 0.9))


def moved(state: Any, action: Any, now: World) -> Any:
    """Return the states after one step, and the rewards: minus the squared distance."""
    place, velocity = state[:, :2], state[:, 2:]
    velocity = now.keep * velocity + jnp.clip(action, -1, 1) @ now.push.T
    place = jnp.clip(place + 0.3 * velocity, -WALL, WALL)
    return jnp.concatenate([place, velocity], axis=1), -jnp.sum(place**2, axis=1)


def episodes(policy: Callable[[Any], Any], spread: float, now: World, key: Any) -> Any:
    """Return states, actions and rewards of all episodes, step by step.

    Args:
        policy: The mean action in a state.
        spread: Standard deviation of the actions around it.
        now: The dynamics.
        key: Draws where the episodes start, and the actions.
    """
    first, second = jax.random.split(key)
    place = jax.random.uniform(first, (EPISODES, 2), minval=-1, maxval=1)
    noise = spread * jax.random.normal(second, (STEPS, EPISODES, 2))

    def step(state: Any, noise: Any) -> Any:
        action = jax.vmap(policy)(state) + noise
        after, reward = moved(state, action, now)
        return after, (state, action, reward)

    return jax.lax.scan(step, jnp.concatenate([place, jnp.zeros_like(place)], axis=1), noise)[1]
