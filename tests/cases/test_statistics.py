"""Statistics that cannot fail, or that fail for want of time."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import symtheory as st
from proofs_check import Budget
from tests.cases.oracles import ask
from tests.comparison.noisy_labels import model_and_law

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_case_check_small_budget_refutes_theorems():
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "symtheory",
            "check",
            *["B.2", "P1.11", "P1.12", "--budget", "0.3", "--json"],
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        check=False,
        timeout=300,
    )
    found = json.loads(done.stdout)["verdicts"]
    assert {v["status"] for v in found} <= {"proved", "supported", "inconclusive"}
    assert done.returncode in (0, 3)


@pytest.fixture(scope="module")
def scalar():
    return model_and_law()


def run_of(scalar, steps):
    model, law = scalar
    return st.simulate(
        model,
        st.SGD(learning_rate=0.01),
        params={"u": 1.5, "w": 0.5},
        steps=steps,
        replicas=64,
        key=jax.random.key(0),
        observe=law,
    )


@pytest.mark.parametrize("steps", [400, 4000])
@pytest.mark.parametrize("factor", [0.0, 0.8, 1.2, 2.0])
def test_case_compare_supports_no_wrong_law(scalar, steps, factor):
    run = run_of(scalar, steps)
    got = st.compare(scalar[1], run, temperature=factor * 0.01).status
    assert got in (st.Status.REFUTED, st.Status.INCONCLUSIVE)


@pytest.mark.parametrize("steps", [400, 4000])
def test_case_compare_does_not_refute_the_right_law(scalar, steps):
    assert st.compare(scalar[1], run_of(scalar, steps)).status is not st.Status.REFUTED


# At the seed and budget of the control, the valid model must not be refuted as well: a control
# that only shows that a run was too short says nothing about the assumption.
@pytest.mark.parametrize("name", ["p1_11_deep_linear", "p1_12_sharpness", "b_02_whole_orbit"])
@pytest.mark.parametrize("budget", [0.002, 0.4, 1.0])
def test_case_controls_vacuous(name, budget):
    check = importlib.import_module(f"proofs_check.{name}")
    found = ask(check.empirical, jax.random.key(0), Budget(budget))
    assert found is None or found.status is not st.Status.REFUTED, found


def _module(name):
    return importlib.import_module(f"proofs_check.{name}")


V, C = np.array([[1.2, 0, 0], [0, 1.0, 0]]), np.diag([0.5, 1.0, 2.0])
KEY = jax.random.key


def _p1_11():
    return _module("p1_11_deep_linear")._closed(V, C, 0.0, KEY(0), Budget(0.4))


def _p1_12():
    check = _module("p1_12_sharpness")
    return check._measured(np.eye(2, 3), C, np.eye(2), st.SGD, KEY(0), Budget(0.002))


def _b_02():
    check = _module("b_02_whole_orbit")
    net = check.net(np.eye(2, 3), C, np.eye(2))
    return check._reached(net, np.eye(2, 3), C, (0.0,), KEY(0), Budget(0.5))


def _p1_04():
    kind = st.zoo.load("two-layer-linear").model
    bound = dict(Sigma_x=np.eye(2), Sigma_eps=np.eye(1), V=np.ones((1, 2)))
    valid = kind.bind(dy=1, h=1, dx=2, **bound)
    return _module("p1_04_discrete_law")._stepped(valid, KEY(1), Budget(1.0))


@pytest.mark.parametrize("valid", [_p1_11, _p1_12, _b_02, _p1_04])
def test_case_controls_vacuous_on_the_valid_model(valid):
    # The very function, seed and budget with which the control is judged.
    assert valid().status is not st.Status.REFUTED


@pytest.mark.parametrize(
    "name", ["p1_04_discrete_law", "p1_11_deep_linear", "p1_12_sharpness", "b_02_whole_orbit"]
)
def test_controls_are_refuted(name):
    assert _module(name).control().status is st.Status.REFUTED
