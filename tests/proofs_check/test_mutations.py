"""A wrong constant in the package is caught by the statement it belongs to.

Every row plants one: in a function of a module what fills a hole in its source is replaced, and the
function compiled anew. Add a line for every law that has a statement.
"""

import importlib
import inspect
import sys
from typing import NamedTuple

import jax
import pytest

import proofs_check


class Mutation(NamedTuple):
    """What is planted where, and who has to see it."""

    module: str
    function: str
    name: str
    statement: str
    text: str  # with a hole
    right: str
    wrong: str
    part: str = "exact"


PLANTED = {
    ("theory._entry_derive", "_quadratic_law"): [
        ("charge law, weight decay", "P1.3", "charge_term(-{} * gamma)", "4", "2"),
        ("charge law, noise", "P1.3", "trace_term({}eta / size))", "", "2 * "),
        ("discrete law, weight decay", "P1.4", "-4 * eta * gamma{}", " * (1 - eta * gamma)", ""),
        ("discrete law, mean gradient", "P1.4", "gradient_term(eta**2{})", "", " / size"),
        ("discrete law, noise", "P1.4", "trace_term(eta**2{})", " / size", ""),
        ("momentum", "B.1", "(eta / (1 - beta)) {}", "** 2", "* eta"),
    ],
    ("theory._equilibrium", "closed_form"): [
        ("lambda* at eigenvalues 1, -1", "P1.5",
         "temperature * symbols[\"s_-\"] + {}gamma", "4 * ", ""),
        ("lambda* at eigenvalues 1, -2", "P1.8", "({} * (a + b))", "2", "4"),
        ("lambda* with scale invariance", "P1.7", "({} * gamma * c)) / (4 * a)", "4", "2"),
        ("fixed point of SGD", "P1.7", "(1 {} eta * gamma)", "-", "+"),
    ],
    ("theory._equilibrium", "certify"): [
        ("certified lambda*", "P1.5",
         "4 * gamma * c if mu > 0 else {}t * s", "", "2 * ", "empirical"),
    ],
    ("theory._orbit", "_kind"): [
        ("which side the equilibrium is on", "P1.6", "any(rate < 0 and {}z", "not ", ""),
    ],
    ("theory._scale", "scale_fixed_point"): [
        ("spread of |g|^2", "P1.7", "({})", "2 * square", "square / 2", "empirical"),
    ],
    ("theory.matrices._derive", "_law"): [
        ("matrix charge law", "P1.9", "drift = make((-{} * gamma, charge)", "4", "2"),
        ("matrix charge law, discrete", "P1.9", "(eta{}, of_mean)", "**2", ""),
    ],
}  # fmt: skip
MUTATIONS = [Mutation(*where, *row) for where, rows in PLANTED.items() for row in rows]


def plant(mutation, monkeypatch):
    """Replace a piece of a function's source, which has to be there exactly once."""
    module = importlib.import_module(f"symtheory.{mutation.module}")
    source = inspect.getsource(getattr(module, mutation.function))
    right, wrong = mutation.text.format(mutation.right), mutation.text.format(mutation.wrong)
    assert source.count(right) == 1, "the source has changed: update the table"
    code = compile(source.replace(right, wrong), str(module.__file__), "exec")
    scope = dict(vars(module))
    exec(code, scope)
    changed = scope[mutation.function]
    original = getattr(module, mutation.function)
    for name, place in list(sys.modules.items()):
        if name.startswith("symtheory") and getattr(place, mutation.function, None) is original:
            monkeypatch.setattr(place, mutation.function, changed)


def forget(module):
    """Empty what a statement's module has derived already."""
    for value in vars(module).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


@pytest.mark.parametrize(
    "mutation",
    [
        pytest.param(m, id=m.name, marks=[pytest.mark.slow] if m.part == "empirical" else [])
        for m in MUTATIONS
    ],
)
def test_a_wrong_constant_is_refuted(mutation, monkeypatch):
    [statement] = proofs_check.find([mutation.statement])
    module = statement.module
    forget(module)
    plant(mutation, monkeypatch)
    try:
        if mutation.part == "exact":
            verdict = module.exact()
        else:
            verdict = module.empirical(jax.random.key(0), proofs_check.Budget(1.0))
    finally:
        forget(module)
    assert str(verdict.status) == "refuted"


def test_nothing_is_planted_by_the_table_itself(monkeypatch):
    """The control: the same machinery with the right constants refutes nothing."""
    for mutation in MUTATIONS[::4]:
        with monkeypatch.context() as patch:
            plant(mutation._replace(wrong=mutation.right), patch)
            [statement] = proofs_check.find([mutation.statement])
            forget(statement.module)
            assert str(statement.module.exact().status) == "proved"
            forget(statement.module)
