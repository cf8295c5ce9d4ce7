"""The training script of the README runs and shows what it is there for."""

import contextlib
import io
import pathlib
import re

import pytest

README = pathlib.Path(__file__).parents[2] / "README.md"


def script():
    text = README.read_text(encoding="utf-8")
    section = text.split("## Training without symmetries")[1]
    return re.findall(r"```py\n(.*?)```", section, flags=re.DOTALL)[0]


def test_at_most_forty_lines():
    assert len(script().strip().splitlines()) <= 40


@pytest.mark.slow
def test_it_runs():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(script(), "README.md", "exec"), {})
    plain, free, status = out.getvalue().strip().splitlines()
    assert status == "proved"
    losses = [float(line.split("loss ")[1].split()[0]) for line in (plain, free)]
    assert "{0.001: 4, 0.01: 4" in plain and "{0.001: 0" in free
    assert losses[1] < losses[0]
