"""E8: control under drifting dynamics; the data of the fast version."""

import jax.numpy as jnp
import numpy as np
import pytest

from figures import Spec, _point_mass, _style
from figures import e8_drifting_control as e8
from figures._methods import METHODS

NONE = METHODS.index("none")


def test_stages_turn_the_actuators_and_keep_their_strength():
    for stage in range(4):
        here, after = _point_mass.world(stage), _point_mass.world(stage + 1)
        assert np.allclose(here.push @ here.push.T, 0.09 * np.eye(2))
        turned = np.trace(here.push.T @ after.push) / 0.18
        assert turned == pytest.approx(0.0, abs=1e-12)
        assert here.keep != after.keep


def test_a_step_moves_the_mass_and_stops_at_the_wall():
    now = _point_mass.World(np.eye(2) * 0.3, np.array(0.5))
    state = jnp.array([[0.0, 0.0, 1.0, 0.0], [2.0, 0.0, 9.0, 0.0]])
    after, reward = _point_mass.moved(state, jnp.array([[0.0, 5.0], [0.0, 0.0]]), now)
    assert np.allclose(after[0], [0.15, 0.09, 0.5, 0.3])  # actions are clipped to 1
    assert after[1, 0] == _point_mass.WALL
    assert np.allclose(reward, [-(0.15**2) - 0.09**2, -4.0])


@pytest.fixture(scope="module")
def dataset():
    return e8.data(Spec(fast=True))


@pytest.mark.slow
def test_shapes_and_ranges(dataset):
    times = 3 * e8.LOOKS_PER_STAGE
    shape = (len(dataset["gammas"]), len(METHODS), 5)
    assert dataset["return"].shape == (*shape, times)
    assert dataset["moved"].shape == (*shape, 3)
    assert dataset["singular"].shape == (*shape, times, e8.WIDTH)
    assert np.all(
        (dataset["return"] < 0)
        & (dataset["return"] >= -2 * _point_mass.WALL**2 * _point_mass.STEPS)
    )


@pytest.mark.slow
def test_resting_stays_where_it_starts(dataset):
    # Starts are uniform in a square of side 2: the mean squared distance is 2/3.
    assert np.allclose(dataset["resting"], -_point_mass.STEPS * 2 / 3, rtol=0.1)


@pytest.mark.slow
def test_numbers(dataset):
    numbers = e8.numbers(dataset)
    assert numbers.theory == ()  # thresholds of these nets are no theorem
    assert [str(claim.status) for claim in numbers.claims[:2]] == ["supported"] * 2
    assert len(numbers.claims) == 3 + 4 * len(dataset["gammas"])
    assert len(numbers.rows) == 3 * 5 * len(dataset["gammas"])


@pytest.mark.slow
def test_picture(dataset):
    with _style.applied():
        figure = e8.draw(dataset)
    assert len(figure.axes) == 2 * len(dataset["gammas"])
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in figure.axes)
    heights = [path.vertices[:, 1].max() for band in figure.axes[0].collections
               for path in band.get_paths()]  # fmt: skip
    assert len(heights) == len(METHODS) and max(heights) < 0  # no return is positive
    assert len(figure.legends[0].get_texts()) == len(METHODS)
