"""What the README shows must run and print what it says."""

import contextlib
import io
import pathlib
import re

import pytest

README = pathlib.Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def text():
    return README.read_text(encoding="utf-8")


def test_example_runs_and_prints_what_it_says(text):
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 13
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    first, second = out.getvalue().strip().splitlines()
    assert first.startswith("proved u**2 - w**2 log(")
    assert second == "supported"


def test_picture_and_links_exist(text):
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (README.parent / target).is_file(), target


def test_every_command_of_the_readme_exists(text):
    from typer.main import get_command

    from symtheory.cli import app

    named = set(re.findall(r"^\| `symtheory (\w+)", text, flags=re.MULTILINE))
    assert named == set(get_command(app).commands)


def test_public_names_of_the_readme_exist(text):
    import symtheory as st

    for name in set(re.findall(r"\bst\.(\w+)", text)):
        assert name in st.__all__ and hasattr(st, name)
