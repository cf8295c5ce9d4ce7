"""The generator read exactly: the matrix A (and shift b) of an action, entry by entry."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from symtheory import shapes
from symtheory.domains import Element, Polynomials, Ring, Symbols
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.program import read_function
from symtheory.symmetry._symmetry import Exponential

_LARGEST = 20_000


@dataclasses.dataclass(frozen=True)
class Generator:
    """A theta + b in a ring that also holds the parameters and the family's members.

    Attributes:
        symbols: The ring's symbols: kinds "param" and "family".
        theta: The parameters, flattened.
        tangent: A theta + b, flattened.
        matrix: The entries of A that are not zero, by (row, column); elements in the family's
            members, of degree one.
        shift: The entries of b that are not zero, by row.
        members: The family's members as arrays of symbols.
    """

    symbols: Symbols
    theta: list[Element]
    tangent: list[Element]
    matrix: dict[tuple[int, int], Element]
    shift: dict[int, Element]
    members: dict[str, np.ndarray]

    @property
    def is_symmetric(self) -> bool:
        """Whether A = A^T, exactly."""
        return self._transposes_to(1)

    @property
    def is_antisymmetric(self) -> bool:
        """Whether A = -A^T, exactly."""
        return self._transposes_to(-1)

    def _transposes_to(self, sign: int) -> bool:
        zero = self.symbols.ring.constant(0)
        return all(
            (entry - sign * self.matrix.get((j, i), zero)).is_zero()
            for (i, j), entry in self.matrix.items()
        )

    @property
    def is_diagonal(self) -> bool:
        """Whether A is diagonal."""
        return all(i == j for i, j in self.matrix)

    def basis(self) -> list[dict[str, np.ndarray]]:
        """Return a basis of the family (one empty member if there is no family)."""
        if not self.members:
            return [{}]
        out = []
        for text in self.symbols.of_kind("family"):
            chosen = {
                name: np.vectorize(lambda e, t=text: float(_is_symbol(e, t)), otypes=[float])(array)
                for name, array in self.members.items()
            }
            out.append(chosen)
        return out


def _is_symbol(element: Element, text: str) -> bool:
    return element == element.ring.symbol(text)


def read_generator(
    model: Model, symmetry: Exponential, symbols: Symbols | None = None
) -> Generator:
    """Read the action of a symmetry on a bound model's parameters.

    Args:
        model: A model with all sizes bound.
        symmetry: The symmetry.
        symbols: Where to take the symbols from (a new ring if omitted).

    Raises:
        InputError: The action is not linear (or affine, for `Affine`), or does not fit the model.
    """
    if model.dimension > _LARGEST:
        raise InputError(
            f"{model.name} has {model.dimension} parameters; a generator is read entry by entry "
            f"for at most {_LARGEST}; bind smaller sizes"
        )
    symmetry.check(model)
    symbols = symbols or Symbols(Ring())
    ring = symbols.ring
    structure, _, _ = model.structure()
    theta = [
        symbols.array("param", name, shapes.fixed(shape)) for name, shape in model.leaves.items()
    ]
    members = {
        name: symbols.array(
            "family", name, shape, symmetric=bool((symmetry.family or {})[name].symmetric)
        )
        for name, shape in symmetry.member_shapes(model).items()
    }
    member_structs = {n: jax.ShapeDtypeStruct(a.shape, float) for n, a in members.items()}
    domain = Polynomials(ring)
    tree = jax.tree.structure(structure)
    out = read_function(
        symmetry.tangent,
        [structure, member_structs],
        domain,
        [jax.tree.unflatten(tree, theta), members],
    )
    leaves = [domain.lift(np.asarray(leaf)) for leaf in jax.tree.leaves(out)]
    tangent = [ring.coerce(e) for leaf in leaves for e in leaf.reshape(-1)]
    matrix, shift = _linear_parts(tangent, symbols, symmetry)
    return Generator(
        symbols, [e for leaf in theta for e in leaf.reshape(-1)], tangent, matrix, shift, members
    )


def _linear_parts(
    tangent: list[Element], symbols: Symbols, symmetry: Exponential
) -> tuple[dict[tuple[int, int], Element], dict[int, Element]]:
    ring = symbols.ring
    column = {ring.names[text]: j for j, text in enumerate(symbols.of_kind("param"))}
    family = {ring.names[text] for text in symbols.of_kind("family")}
    label = symmetry.name or "symmetry"
    kind = "affine" if symmetry.affine else "linear"
    refusal = InputError(
        f"the action of the {label} is not {kind} in the parameters"
        + (" and in the members of its family" if symmetry.family else "")
        + "; give the generator theta -> A theta"
        + (" + b" if symmetry.affine else "; use Affine for translations")
    )
    matrix: dict[tuple[int, int], Element] = {}
    shift: dict[int, Element] = {}
    for row, element in enumerate(tangent):
        if element.denominator is not None:
            raise refusal
        parts: dict[int | None, dict[tuple[int, ...], Any]] = {}
        for exponents, coefficient in element.numerator.to_dict().items():
            used = [(i, int(n)) for i, n in enumerate(exponents) if n]
            inner = [i for i, n in used if i in column for _ in range(n)]
            outer = sum(n for i, n in used if i in family)
            known = all(i in column or i in family for i, _ in used)
            if not known or len(inner) > 1 or (family and outer != 1):
                raise refusal
            if not inner and not symmetry.affine:
                raise refusal
            target = column[inner[0]] if inner else None
            rest = tuple(0 if i in column else n for i, n in enumerate(exponents))
            parts.setdefault(target, {})[rest] = coefficient
        for target, terms in parts.items():
            if target is None:
                shift[row] = ring.from_terms(terms)
            else:
                matrix[row, target] = ring.from_terms(terms)
    return matrix, shift
