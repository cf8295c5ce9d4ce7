"""What a comparison could have told apart: support needs power, and the advice is true."""

import dataclasses
import re

import jax
import numpy as np
import pytest

import symtheory as st
from symtheory.comparison import initialization_independence
from symtheory.errors import InputError
from tests.comparison.noisy_labels import model_and_law


@pytest.fixture(scope="module")
def labels():
    return model_and_law()


def run_of(labels, steps=300, replicas=64, start=(1.5, 0.5), dynamics=None, key=0):
    model, law = labels
    return st.simulate(
        model,
        dynamics or st.SGD(learning_rate=0.01),
        params={"u": start[0], "w": start[1]},
        steps=steps,
        replicas=replicas,
        key=jax.random.key(key),
        observe=law,
    )


def part(verdict, words):
    [found] = [p for p in verdict.parts if words in p.claim]
    return found


@pytest.mark.parametrize("power", [0.0, 1.0, -0.1, 2, float("nan"), True, "0.2"])
def test_power_is_a_share(labels, power):
    with pytest.raises(InputError, match=r"power is the share .* between 0 and 1"):
        st.compare(labels[1], run_of(labels, steps=20, replicas=4), power=power)


def test_the_noise_is_measured(labels):
    verdict = st.compare(labels[1], run_of(labels))
    noise = part(verdict, "the noise that fits")
    assert verdict.status == "supported" and noise.predicted == 1.0
    assert abs(noise.measured - 1) < 0.1
    # Margin and half-width together stay below the share that has to be refuted.
    assert noise.detectable < 0.25 and "would have been refuted" in noise.how
    assert part(verdict, "the measured drift").detectable < 1
    for factor in (0.0, 0.75, 1.25, 3.0):
        wrong = st.compare(labels[1], run_of(labels), temperature=factor * 0.01)
        assert wrong.status == "refuted", factor


def test_more_power_needs_more_replicas(labels):
    run = run_of(labels, steps=100, replicas=64)
    assert st.compare(labels[1], run, power=0.5).status == "supported"
    assert st.compare(labels[1], run, power=0.02).status == "inconclusive"


def test_the_advice_is_true(labels):
    short = st.compare(labels[1], run_of(labels, steps=40, replicas=16))
    noise = part(short, "the noise that fits")
    assert short.status == "inconclusive" and noise.status == "inconclusive"
    replicas = int(re.search(r"about (\d+) replicas would do", noise.how)[1])
    steps = int(re.search(r"or about (\d+) steps", noise.how)[1])
    enough = [
        st.compare(labels[1], run_of(labels, steps=40, replicas=2 * replicas, key=1)),
        st.compare(labels[1], run_of(labels, steps=2 * steps, replicas=16, key=2)),
    ]
    assert [v.status for v in enough] == ["supported", "supported"]


def test_a_start_at_the_equilibrium_says_nothing_about_the_noise(labels):
    verdict = st.compare(labels[1], run_of(labels, start=(1.0, 1.0)))
    noise = part(verdict, "the noise that fits")
    assert verdict.status == "inconclusive"
    assert "start further from the equilibrium" in noise.how


def test_a_law_without_noise_is_a_law_of_its_drift(labels):
    flow = run_of(labels, steps=200, replicas=2, dynamics=st.GradientFlow(0.01, weight_decay=0.1))
    verdict = st.compare(labels[1], flow)
    assert verdict.status == "supported"
    assert not any("the noise that fits" in p.claim for p in verdict.parts)
    assert part(verdict, "the measured drift").measured == pytest.approx(1, abs=0.01)


def test_identical_replicas_are_noticed(labels):
    run = run_of(labels, replicas=8)
    same = {
        name: np.repeat(np.asarray(values)[:4], 2, axis=0)
        for name, values in run.observables.items()
    }
    params = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[:4], 2, axis=0), run.params)
    copied = dataclasses.replace(run, observables=same, params=params)
    verdict = st.compare(labels[1], copied)
    assert verdict.status == "inconclusive" and "only 4 of 8 replicas differ" in verdict.how


def test_starts_that_do_not_differ_show_no_independence(labels):
    runs = [run_of(labels, steps=50, replicas=16, key=k) for k in range(2)]
    verdict = initialization_independence(labels[1], runs)
    assert verdict.status == "inconclusive"
    assert any("starts differ" in p.claim for p in verdict.parts)
