"""The table of what every domain reads: `python -m tests.program.table` writes docs/primitives.md.

A domain reads a primitive if it reads one of the small losses that use it, all of which are tested
against JAX.
"""

from __future__ import annotations

import ast
import functools
import pathlib
from typing import Any

import jax
import numpy as np
import sympy
from jax.extend.core import primitives

import symtheory
from symtheory.domains import (
    Balls,
    Expressions,
    Polynomials,
    Residues,
    Ring,
    Shifts,
    Symbols,
    ball,
    from_fractions,
)
from symtheory.domains._degrees import Degrees, scaled
from symtheory.domains.tensors import Indexed, Tensor, read_indexed
from symtheory.errors import SymtheoryError
from symtheory.exact import rational_array
from symtheory.program import Deadline, equations, read_function, trace
from symtheory.program.lowering import RULES
from symtheory.program.lowering._lower import ENTERED
from symtheory.symmetry.inference import infer
from tests.domains.catalogue import IRRATIONAL, RATIONAL, SMOOTH
from tests.program.structured import CASES

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "primitives.md"
LOSSES = RATIONAL | IRRATIONAL | SMOOTH | CASES
_EXAMPLES = 4
"""Losses tried for a primitive, the shortest first."""


def _structures(name: str) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(shape, float) for shape in LOSSES[name][1]]


def _points(name: str) -> list[np.ndarray]:
    sizes = [int(np.prod(shape, dtype=int)) for shape in LOSSES[name][1]]
    starts = np.cumsum([0, *sizes])
    return [
        (np.arange(a, a + n) * 7 % 29 + 2.0).reshape(shape) / 32
        for a, n, shape in zip(starts, sizes, LOSSES[name][1], strict=False)
    ]


def _polynomials(name: str) -> None:
    symbols = Symbols(Ring(deadline=Deadline(10)))
    inputs = [symbols.array("param", f"x{k}", p.shape) for k, p in enumerate(_points(name))]
    read_function(LOSSES[name][0], _structures(name), Polynomials(symbols.ring), inputs)


def _objects(name: str, function: Any) -> list[np.ndarray]:
    make = np.frompyfunc(function, 1, 1)
    return [np.asarray(make(rational_array(p)), dtype=object) for p in _points(name)]


def _expressions(name: str) -> None:
    inputs = _objects(name, lambda v: sympy.Dummy("x", real=True))
    read_function(LOSSES[name][0], _structures(name), Expressions(), inputs)


def _balls(name: str) -> None:
    read_function(LOSSES[name][0], _structures(name), Balls(), _objects(name, ball))


def _residues(name: str) -> None:
    inputs = [from_fractions(x, varies=True) for x in _objects(name, lambda v: v)]
    out = read_function(LOSSES[name][0], _structures(name), Residues(), inputs)
    if not all(np.isfinite(x.errors).all() for x in jax.tree.leaves(out)):
        raise SymtheoryError("unknown")


def _degrees(name: str) -> None:
    inputs = [scaled(np.zeros(p.shape, dtype=int)) for p in _points(name)]
    read_function(LOSSES[name][0], _structures(name), Degrees(), inputs)


def _shifts(name: str) -> None:
    domain = Shifts()
    inputs = [domain.fixed(p.shape) for p in _points(name)]
    read_function(LOSSES[name][0], _structures(name), domain, inputs)


def _tensors(name: str) -> None:
    tensors = [Tensor("param", f"x{k}", p.shape) for k, p in enumerate(_points(name))]
    inputs = [Indexed.of(t) for t in tensors]
    read_indexed(LOSSES[name][0], [t.sizes for t in tensors], inputs)


def _inference(name: str) -> None:
    function = LOSSES[name][0]
    total = lambda p: sum(jax.numpy.sum(x) for x in jax.tree.leaves(function(*p)))
    infer(lambda p, _: total(p), _structures(name), jax.ShapeDtypeStruct((), float))


DOMAINS = {
    "polynomials": _polynomials, "expressions": _expressions, "balls": _balls,
    "residues": _residues, "degrees": _degrees, "shifts": _shifts, "tensors": _tensors,
    "inference": _inference,
}  # fmt: skip


@functools.cache
def is_read(domain: str, name: str) -> bool:
    """Tell whether a domain reads a loss."""
    try:
        DOMAINS[domain](name)
    except (SymtheoryError, TypeError):  # a loss over integers has no symbolic sizes
        return False
    return True


@functools.cache
def examples() -> dict[str, list[str]]:
    """The names of the losses that use a primitive, shortest first, by primitive."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in LOSSES:
        closed, _ = trace(LOSSES[name][0], *_structures(name))
        every = [equation.primitive.name for equation in equations(closed.jaxpr)]
        for primitive in set(every):
            found.setdefault(primitive, []).append((len(every), name))
    return {key: [name for _, name in sorted(rows)] for key, rows in sorted(found.items())}


def row(primitive: str) -> str:
    """Return the line of a primitive."""
    cells = []
    for domain in DOMAINS:
        losses = examples()[primitive][: None if domain == "tensors" else _EXAMPLES]
        cells.append("yes" if any(is_read(domain, name) for name in losses) else "–")
    return f"| `{primitive}` | {' | '.join(cells)} |"


def without_rule() -> list[str]:
    """Return the primitives of the JAX at hand that are read by no domain."""
    every = {p.name for key, p in vars(primitives).items() if key.endswith("_p")}
    return sorted(every - set(RULES) - ENTERED - set(examples()))


def without_example() -> list[str]:
    """Return the primitives with a rule that no loss uses: derivatives, other versions of JAX."""
    return sorted((set(RULES) | ENTERED) - set(examples()))


def refusals(room: str) -> list[str]:
    """Return what the calls of `refuse` in a room of the package say, … for what is filled in."""
    found = set()
    for file in (pathlib.Path(symtheory.__file__).parent / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "refuse":
                said = node.args[0]
                parts = said.values if isinstance(said, ast.JoinedStr) else [said]
                words = [str(p.value) if isinstance(p, ast.Constant) else "…" for p in parts]
                found.add("".join(words))
    return sorted(found - {"…"})


def page() -> str:
    """Return the page."""
    names = lambda items: ", ".join(f"`{x}`" for x in items)
    listed = lambda items: "\n".join(f"- {x}" for x in items)
    return "\n".join([
        "# What a loss may be made of",
        "",
        "Written by `python -m tests.program.table`; a test keeps it up to date. A domain reads a",
        "primitive of JAX if it reads one of the small losses of the tests that use it; what those",
        "losses are in each domain is compared with JAX. `tensors` are read at all sizes at once,",
        "`inference` finds symmetries from the program alone.",
        "",
        f"| primitive | {' | '.join(DOMAINS)} |",
        f"|---|{'---|' * len(DOMAINS)}",
        *map(row, examples()),
        "",
        "## Read, and used by none of these losses",
        "",
        "Primitives of derivatives, and names that other versions of JAX give to the same:",
        names(without_example()) + ".",
        "",
        "## Read by no domain",
        "",
        f"Primitives of JAX {jax.__version__}: {names(without_rule())}.",
        "",
        "Uses of what is read, whatever the domain:",
        "",
        listed(refusals("program")),
        "",
        "## Read by some domains",
        "",
        "Further uses that one domain or another refuses:",
        "",
        listed(refusals("domains")),
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    PAGE.write_text(page())
