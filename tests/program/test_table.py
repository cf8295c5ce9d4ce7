"""The page of what is readable is that of the code."""

import re

import jax
import pytest

from symtheory.program.lowering import RULES
from symtheory.program.lowering._lower import ENTERED
from tests.program import table

TEXT = table.PAGE.read_text()
WRITTEN_WITH = f"Primitives of JAX {jax.__version__}:" in TEXT


@pytest.mark.slow
@pytest.mark.parametrize("primitive", re.findall(r"^\| `(.*?)` \|", TEXT, re.MULTILINE))
def test_a_row_says_what_every_domain_reads(primitive):
    if not WRITTEN_WITH and primitive not in table.examples():
        pytest.skip("a name of another version of JAX")
    assert table.row(primitive) in TEXT.splitlines()


def test_every_rule_is_on_the_page():
    assert all(f"`{name}`" in TEXT for name in {*RULES, *ENTERED})


@pytest.mark.parametrize("room", ["program", "domains"])
def test_every_refusal_is_on_the_page(room):
    said = table.refusals(room)
    assert len(said) > 5
    assert all(f"- {words}" in TEXT.splitlines() for words in said)


@pytest.mark.slow
@pytest.mark.skipif(not WRITTEN_WITH, reason="written with another version of JAX")
def test_the_page_is_as_it_would_be_written():
    assert table.page() == TEXT
