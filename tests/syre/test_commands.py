"""`symtheory syre MODEL`."""

import json

import pytest
from typer.testing import CliRunner

from symtheory.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["syre", *arguments])


def test_json():
    result = run("scalar-factor", "--json", "--seed", "3")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert data["schema_version"] == 1 and data["command"] == "syre"
    assert data["status"] == data["certificate"]["status"] == "proved"
    # u w is kept by u <-> w, u <-> -w and the sign flip of both, and by no other reflection: the
    # orthogonal matrices that keep the quadratic form u w are 1, -1, the exchange and minus it.
    assert data["certificate"]["measured"]["reflections"] == 3
    flip = data["forecasts"][0]
    assert flip["regime"] == "free" and flip["escape_steps"] > 100


def test_text():
    result = run("relu-rescaling")
    assert result.exit_code == 0
    assert "Certificate" in result.stdout and "proved" in result.stdout
    assert "four derivatives" in result.stdout


def test_without_decay_it_is_refuted():
    result = run("relu-rescaling", "--weight-decay", "0", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["certificate"]["status"] == "refuted"
    assert "removal needs gamma > 0" in result.stderr


@pytest.mark.parametrize(
    "option", [("--sigma0", "-1"), ("--learning-rate", "0"), ("--weight-decay", "-1")]
)
def test_bad_options(option):
    result = run("scalar-factor", *option)
    assert result.exit_code != 0
    assert "give" in str(result.exception) or "takes a positive" in str(result.exception)
