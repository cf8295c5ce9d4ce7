"""A wrong constant in the package is caught by the statement it belongs to.

Every row plants one: in a function of a module a piece of source is replaced and the function
compiled anew. Add a line for every law that has a statement.
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

    name: str
    module: str
    function: str
    right: str
    wrong: str
    statement: str
    part: str = "exact"


MUTATIONS = [
    Mutation("charge law, weight decay", "theory._entry_derive", "_quadratic_law",
             "charge_term(-4 * gamma)", "charge_term(-2 * gamma)", "P1.3"),
    Mutation("charge law, noise", "theory._entry_derive", "_quadratic_law",
             "trace_term(eta / size))", "trace_term(2 * eta / size))", "P1.3"),
    Mutation("discrete law, weight decay", "theory._entry_derive", "_quadratic_law",
             "-4 * eta * gamma * (1 - eta * gamma)", "-4 * eta * gamma", "P1.4"),
    Mutation("discrete law, mean gradient", "theory._entry_derive", "_quadratic_law",
             "gradient_term(eta**2)", "gradient_term(eta**2 / size)", "P1.4"),
    Mutation("discrete law, noise", "theory._entry_derive", "_quadratic_law",
             "trace_term(eta**2 / size)", "trace_term(eta**2)", "P1.4"),
    Mutation("momentum", "theory._entry_derive", "_quadratic_law",
             "(eta / (1 - beta)) ** 2", "(eta / (1 - beta)) * eta", "B.1"),
    Mutation("lambda* at eigenvalues 1, -1", "theory._equilibrium", "closed_form",
             "temperature * symbols[\"s_-\"] + 4 * gamma", "temperature * symbols[\"s_-\"] + gamma",
             "P1.5"),
    Mutation("lambda* at eigenvalues 1, -2", "theory._equilibrium", "closed_form",
             "(2 * (a + b))", "(4 * (a + b))", "P1.8"),
    Mutation("lambda* with scale invariance", "theory._equilibrium", "closed_form",
             "(4 * gamma * c)) / (4 * a)", "(2 * gamma * c)) / (4 * a)", "P1.7"),
    Mutation("fixed point of SGD", "theory._equilibrium", "closed_form",
             "(1 - eta * gamma)", "(1 + eta * gamma)", "P1.7"),
    Mutation("which side the equilibrium is on", "theory._orbit", "_kind",
             "any(rate < 0 and not z", "any(rate < 0 and z", "P1.6"),
    Mutation("matrix charge law", "theory.matrices._derive", "_law",
             "drift = make((-4 * gamma, charge)", "drift = make((-2 * gamma, charge)", "P1.9"),
    Mutation("matrix charge law, discrete", "theory.matrices._derive", "_law",
             "(eta**2, of_mean)", "(eta, of_mean)", "P1.9"),
    Mutation("certified lambda*", "theory._equilibrium", "certify",
             "4 * gamma * c if mu > 0 else t * s", "4 * gamma * c if mu > 0 else 2 * t * s", "P1.5",
             "empirical"),
    Mutation("spread of |g|^2", "theory._scale", "scale_fixed_point",
             "(2 * square)", "(square / 2)", "P1.7", "empirical"),
]  # fmt: skip


def plant(mutation, monkeypatch):
    """Replace a piece of a function's source, which has to be there exactly once."""
    module = importlib.import_module(f"symtheory.{mutation.module}")
    source = inspect.getsource(getattr(module, mutation.function))
    assert source.count(mutation.right) == 1, "the source has changed: update the table"
    code = compile(source.replace(mutation.right, mutation.wrong), str(module.__file__), "exec")
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
