"""An elementary function is one row of one file, a primitive one rule: then every domain has it."""

import os
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from flint import arb
from jax.extend.core import Primitive

import symtheory
from symtheory.domains import Balls, Expressions, Polynomials, Residues, Ring, ball, from_fractions
from symtheory.domains._degrees import DEGREE, Degrees, NotHomogeneousError, scaled
from symtheory.errors import UnreadableError
from symtheory.program import lowering, read_function
from symtheory.symmetry.inference import infer

SCALAR = jax.ShapeDtypeStruct((), float)
ROW = """
    "sech": Function(parity="even", entire=True, positive=True, value_at_zero=(1, 1),
                     limits=(0, 0), sympy="sech", arb="sech"),
"""


def new_primitive(name, function):
    """A primitive that JAX evaluates, of no rule in symtheory."""
    primitive = Primitive(name)
    primitive.def_abstract_eval(lambda x: x)
    primitive.def_impl(function)
    return primitive


def box(value):
    out = np.empty((), dtype=object)
    out[()] = value
    return out


def test_a_primitive_is_one_rule(monkeypatch):
    primitive = new_primitive("cubed_and_halved", lambda x: x**3 / 2)
    function = lambda x: primitive.bind(x) + 1
    with pytest.raises(UnreadableError, match="'cubed_and_halved'"):
        read_function(function, [SCALAR], Balls(), [box(arb(3))])
    rule = lambda b, eqn, x: b.mul(b.power(x, 3), np.asarray(0.5))
    monkeypatch.setitem(lowering.RULES, "cubed_and_halved", rule)
    ring = Ring(["x"])
    x = ring.symbol("x")
    out = read_function(function, [SCALAR], Polynomials(ring), [box(x)])
    assert (2 * out[()] - x**3 - 2).is_zero()
    t = sympy.Symbol("t", real=True)
    out = read_function(function, [SCALAR], Expressions(), [box(t)])
    assert sympy.expand(out[()] - t**3 / 2 - 1) == 0
    assert read_function(function, [SCALAR], Balls(), [box(arb(3))])[()] == arb(29) / 2
    out = read_function(function, [SCALAR], Residues(), [from_fractions(np.asarray(3))])
    assert float(out.values) == 14.5 and float(out.errors) < 1e-14
    out = read_function(primitive.bind, [SCALAR], Degrees(), [scaled(DEGREE)])
    assert out.degrees == 3 * DEGREE
    loss = lambda p, x: jnp.tanh(primitive.bind(p["u"]) * p["w"] * x)
    found = infer(loss, {"u": SCALAR, "w": SCALAR}, SCALAR)
    assert (found.counts.total, found.counts.flips) == (1, 1)


def test_a_function_is_one_row(tmp_path):
    """In a copy of the package with one row more, and nothing else."""
    source = pathlib.Path(symtheory.__file__).parent
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, tmp_path / "symtheory", ignore=ignore)
    table = tmp_path / "symtheory" / "program" / "_functions.py"
    text = table.read_text()
    start = "\nFUNCTIONS: dict[str, Function] = {\n"
    assert text.count(start) == 1 and "sech" not in text
    table.write_text(text.replace(start, start + ROW.lstrip("\n")))
    roots = [str(tmp_path), str(pathlib.Path(__file__).parents[2])]
    run = subprocess.run(
        [sys.executable, "-c", "import tests.domains.test_one_row as t; t.every_domain_has_it()"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [str(tmp_path / "symtheory" / "__init__.py"), "read"]
    with pytest.raises(UnreadableError, match="'sech'"):  # without the row nothing knows it
        every_domain_has_it()


def every_domain_has_it():
    print(symtheory.__file__)
    primitive = new_primitive("sech", lambda x: 1 / jnp.cosh(x))
    sech = lambda x: primitive.bind(x)
    ring = Ring(["x"])
    x = ring.symbol("x")
    reader = Polynomials(ring)
    [one, other] = (read_function(sech, [SCALAR], reader, [box(z)])[()] for z in (x, -x))
    assert (one - other).is_zero() and not (one * x - one).is_zero()
    zero = read_function(sech, [SCALAR], reader, [box(x - x)])[()]
    assert (zero - 1).is_zero()
    t = sympy.Symbol("t", real=True)
    assert read_function(sech, [SCALAR], Expressions(), [box(t)])[()] == sympy.sech(t)
    value = float(1 / np.cosh(0.5))
    got = read_function(sech, [SCALAR], Balls(), [box(ball(1) / 2)])[()]
    assert (got + arb(0, 1e-15)).contains(arb(value))
    half = from_fractions(np.asarray(1))
    out = read_function(lambda x: sech(x / 2), [SCALAR], Residues(), [half])
    assert abs(float(out.values) - value) <= float(out.errors) + 1e-15 < 1e-12
    assert read_function(sech, [SCALAR], Degrees(), [scaled(0)]).is_invariant
    with pytest.raises(NotHomogeneousError):
        read_function(sech, [SCALAR], Degrees(), [scaled(DEGREE)])
    found = infer(lambda p, x: jnp.tanh(sech(p["u"]) * x), {"u": SCALAR}, SCALAR)
    assert (found.counts.total, found.counts.flips) == (0, 1)
    print("read")
