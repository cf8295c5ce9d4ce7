"""Progress on a terminal, and only there."""

import io

import jax
import numpy as np
import pytest

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.simulation import SGD, simulate
from symtheory.simulation import _progress as module

MODEL = Model(lambda p, z: (p - z["x"]) ** 2 / 2, params=(), random={"x": Normal(())})


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(out, monkeypatch, **change):
    monkeypatch.setattr("sys.stderr", out)
    given = {
        "params": 0.0, "steps": 30_000, "replicas": 20, "key": jax.random.key(0),
        "observe": {"p": lambda p: p}, "progress": True,
    }  # fmt: skip
    return simulate(MODEL, SGD(0.1), **given | change)


def test_quiet_where_there_is_no_terminal(monkeypatch):
    out = io.StringIO()
    run(out, monkeypatch)
    assert out.getvalue() == ""


@pytest.mark.parametrize("averaging", [{}, {"average_from": 100, "average_every": 50}])
def test_a_line_on_a_terminal(monkeypatch, averaging):
    out = Terminal()
    result = run(out, monkeypatch, **averaging)
    lines = out.getvalue().split("\r")
    last = lines[-1]
    assert "30,000 of 30,000 steps" in last and "per second, 0:00 left" in last
    assert last.endswith("\n") and out.getvalue().count("\n") == 1
    if averaging:
        values = result.averages["p"].mean
    else:
        values = result.observables["p"][:, -1]
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(20)
    assert f"p = {mean:.4g} +- {error:.1g}" in last


def test_speed_and_time_left():
    class Position:
        done = 0

    class Ensemble:
        position, records, program = Position, {}, None
        schedule = type("S", (), {"steps": 10_000, "records": staticmethod(lambda done: 0)})

    out, times = Terminal(), iter([0.0, 10.0, 20.0])
    line = module.Line(out, lambda: next(times))
    for done in (1000, 2000, 4000):
        Position.done = done
        line(Ensemble)
    assert "2,000 of 10,000 steps, 100 per second, 1:20 left" in out.getvalue()
    assert "4,000 of 10,000 steps, 150 per second, 0:40 left" in out.getvalue()
    assert [module._clock(s) for s in (59.6, 3601)] == ["1:00", "1:00:01"]


def test_a_process_without_a_block_shows_no_estimate():
    class Ensemble:
        records, mine, per = {"p": np.zeros((0, 128, 3))}, [], 1

    assert module._estimate(Ensemble) == ""
