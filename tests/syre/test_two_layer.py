"""Duplicated and zeroed neurons: who gets them apart, in one table with intervals over seeds."""

import numpy as np
import pytest
from scipy import stats

from tests.syre.relu import methods, train

SEEDS, GAMMA = 24, 1e-3


def interval(values):
    """95 % interval of the mean."""
    error = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return values.mean(), error


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["duplicated", "zeroed"])
def test_table(kind, capsys):
    rows = {name: train(method, kind, SEEDS)[:2] for name, method in methods(GAMMA).items()}
    with capsys.disabled():
        print(f"\n  {kind} neurons, 10^4 steps, gamma = {GAMMA}, {SEEDS} seeds")
        for name, (apart, final) in rows.items():
            mean, error = interval(final)
            print(
                f"  {name:22s} loss {mean:.5f} +- {error:.5f}   apart: median "
                f"{np.median(apart):.2e}, smallest {apart.min():.2e}, largest {apart.max():.2e}"
            )
    # What respects the symmetry stays on the mirror to machine precision, for 10^4 steps.
    for name in ("none", "plain decay", "decay to init"):
        assert rows[name][0].max() < 1e-12, name
    # A direction that the decay holds stays at a distance of the order of the bias.
    assert rows["syre"][0].min() > 1e-3 and np.median(rows["syre"][0]) > 0.1
    # Losses differ by orders of magnitude between seeds: paired, on the scale of their logarithm.
    plain, syre = rows["plain decay"][1], rows["syre"][1]
    mean, error = interval(np.log(plain / syre))
    raw, raw_error = interval(plain - syre)
    with capsys.disabled():
        print(
            f"  plain decay against syre, paired: log ratio {mean:.2f} +- {error:.2f}, difference "
            f"{raw:.4f} +- {raw_error:.4f}, syre lower in {np.sum(syre < plain)} of {SEEDS}"
        )
    assert mean - error > 0


@pytest.mark.slow
def test_twins_stay_together_without_and_part_with_syre():
    """The same at 200 steps."""
    named = methods(1e-2)
    plain, _, _ = train(named["plain decay"], "duplicated", 2, steps=200)
    free, _, _ = train(named["syre"], "duplicated", 2, steps=200)
    assert plain.max() < 1e-13 < 1e-6 < free.min()
