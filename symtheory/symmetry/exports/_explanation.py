"""The group structure of a loss, and for every axis what acts on it and what excludes the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from symtheory.errors import InputError, did_you_mean
from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.symmetry._loss import loss_of
from symtheory.symmetry.inference import AxisReport, Family, Flips, Inferred, infer_traced


@dataclasses.dataclass(frozen=True)
class GroupFactor:
    """One factor of the group: matrices or permutations of a class, rescalings, shifts, or signs.

    Attributes:
        name: The class ("P0", ...), or empty for rescalings, shifts and signs.
        kind: "GL", "O", "permutations", "rescalings", "shifts", or "signs".
        size: Length of the axes; for rescalings, shifts and signs, how many there are. Diagonal
            matrices of a GL class are among the rescalings.
        copies: How many independent copies there are.
        along: The classes that the copies are counted by, or that the factors vary along.
        leaves: What it acts on: (parameter, axis) of classes, (parameter, rate) of others.
    """

    name: str
    kind: str
    size: int
    copies: int
    along: tuple[str, ...]
    leaves: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The group in plain text: "GL(5)^4", "S(20)"."""
        head = {"GL": "GL", "O": "O", "permutations": "S"}.get(self.kind)
        if head is None:
            return f"{self.size} {self.kind[:-1] if self.size == 1 else self.kind}"
        return f"{head}({self.size})" + (f"^{self.copies}" if self.copies > 1 else "")

    @property
    def latex(self) -> str:
        """The group in LaTeX."""
        n = self.size
        head = {
            "GL": rf"\mathrm{{GL}}_{{{n}}}(\mathbb{{R}})", "O": rf"\mathrm{{O}}({n})",
            "permutations": f"S_{{{n}}}", "rescalings": rf"\mathbb{{R}}_{{>0}}^{{{n}}}",
            "shifts": rf"\mathbb{{R}}^{{{n}}}", "signs": rf"\{{\pm1\}}^{{{n}}}",
        }[self.kind]  # fmt: skip
        power = f"^{{{self.copies}}}" if self.copies > 1 else ""
        return head + power

    def to_json(self) -> dict[str, Any]:
        """Return the factor as JSON-ready data."""
        return {
            "name": self.name, "kind": self.kind, "size": self.size, "copies": self.copies,
            "along": list(self.along), "acts_on": [list(pair) for pair in self.leaves],
        }  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """What acts on the parameters of a loss, and the lines that take the rest away.

    Attributes:
        inferred: What was inferred.
        names: Dotted names of the parameters by the keys that lead to them.
        factors: The group, factor by factor.
    """

    inferred: Inferred = dataclasses.field(repr=False)
    names: dict[Any, str]
    factors: tuple[GroupFactor, ...]

    def axes(self, name: str | None = None) -> list[AxisReport]:
        """Return a report for every factor of every axis of a parameter, or of all.

        Args:
            name: The dotted name of a parameter.

        Raises:
            InputError: There is no such parameter.
        """
        paths = [path for path, text in self.names.items() if name is None or text == name]
        if not paths:
            raise InputError(
                f"there is no parameter {name!r}; {did_you_mean(str(name), [*self.names.values()])}"
            )
        return [report for path in paths for report in self.inferred.explain(*path)]

    def rows(self) -> list[tuple[str, list[list[tuple[int, str]]]]]:
        """Return for each parameter (each part of one that is cut) its axes as factors.

        A factor is a pair (length, class); the class is empty where the factor is fixed.
        """
        moving = class_names(self.inferred)
        parts = part_names(self.inferred, self.names)
        places = {
            (axis.leaf, axis.block, axis.axis, axis.factor): name
            for k, name in moving.items()
            for axis in self.inferred.classes[k].axes
        }
        out = []
        for leaf in self.inferred.leaves:
            for block in leaf.blocks():
                axes = [
                    [
                        (n, places.get((leaf.path, block.number, axis, f), ""))
                        for f, n in enumerate(sizes)
                    ]
                    for axis, sizes in enumerate(block.sizes)
                ]
                out.append((parts[leaf.path, block.number], axes))
        return out

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-ready data."""
        return {
            "group": [factor.to_json() for factor in self.factors],
            "counts": dataclasses.asdict(self.inferred.counts),
            "axes": [
                {
                    "parameter": self.names[r.leaf], "block": list(r.block), "axis": r.axis,
                    "factor": r.factor, "size": r.size, "group": r.group, "copies": r.copies,
                    "rescaled": r.rescaled, "flipped": r.flipped, "shifted": r.shifted,
                    "causes": [dataclasses.asdict(cause) for cause in r.causes],
                }
                for r in self.axes()
            ],
        }  # fmt: skip

    def latex(self) -> str:
        """Return the group structure as a LaTeX tabular."""
        lines = [r"\begin{tabular}{lll}", r"group & along & acts on \\ \hline"]
        for factor in self.factors:
            acts = ", ".join(rf"\texttt{{{escaped(n or 'theta')}}} ({t})" for n, t in factor.leaves)
            along = ", ".join(factor.along)
            lines.append(rf"${factor.latex}$ & {along} & {acts} \\")
        return "\n".join([*lines, r"\end{tabular}"])

    def __str__(self) -> str:
        lines = ["group:"]
        for factor in self.factors:
            acts = ", ".join(f"{name or 'theta'} ({text})" for name, text in factor.leaves)
            along = f" along {', '.join(factor.along)}" if factor.along else ""
            name = f"{factor.name} = " if factor.name else ""
            lines.append(f"  {name}{factor.text}{along}: {acts}")
        lines += ["axes:", *(f"  {report}" for report in self.axes())]
        return "\n".join(lines)


def explain(model: Model, *, seconds: float | None = None) -> Explanation:
    """Tell what acts on each axis of each parameter, and which line takes the rest away.

    Args:
        model: A model with all sizes bound.
        seconds: Time limit.

    Raises:
        InputError: A size is not bound.
        UnreadableError: The loss cannot be lowered; says where.
        BudgetError: The time limit was reached.

    Source: arXiv 2402.07193, section 2 (the symmetries).

    >>> from symtheory.data import Normal
    >>> import jax.numpy as jnp
    >>> model = Model(lambda p, z: jnp.sum((p["U"] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2),
    ...               {"U": (2, 5), "W": (5, 3)}, random={"x": Normal(3), "y": Normal(2)})
    >>> found = explain(model)
    >>> [factor.text for factor in found.factors]
    ['S(5)', '5 signs']
    >>> [report.group for report in found.axes("W")]
    ['permutations', 'none']
    """
    loss = loss_of(model)
    inferred = infer_traced(loss.closed, loss.inputs[0], Deadline(seconds), loss.program)
    names = dict(zip((leaf.path for leaf in inferred.leaves), model.leaves, strict=True))
    return Explanation(inferred, names, tuple(_factors(inferred, names)))


def class_names(inferred: Inferred) -> dict[int, str]:
    """Return the names "P0", "P1", ... of the classes that move, by their number."""
    moving = [k for k, c in enumerate(inferred.classes) if c.group != "none" and c.size > 1]
    return {k: f"P{n}" for n, k in enumerate(moving)}


def part_names(inferred: Inferred, names: dict[Any, str]) -> dict[tuple[Any, tuple[int, ...]], str]:
    """Return the name of each part of each parameter: "W", or "W[0]", "W[1]" where W is cut."""
    out = {}
    for leaf in inferred.leaves:
        numbers = [block.number for block in leaf.blocks()]
        for n, number in enumerate(numbers):
            part = f"[{n}]" if len(numbers) > 1 else ""
            out[leaf.path, number] = names[leaf.path] + part
    return out


def along_text(inferred: Inferred, along: Sequence[int], names: dict[int, str]) -> tuple[str, ...]:
    """Return classes by name; those that stay fixed by their size."""
    return tuple(names.get(k, f"an axis of {inferred.classes[k].size}") for k in along)


def _factors(inferred: Inferred, leaves: dict[Any, str]) -> list[GroupFactor]:
    names = class_names(inferred)
    parts = part_names(inferred, leaves)
    out = []
    for k, name in names.items():
        c = inferred.classes[k]
        axes = []
        for axis in c.axes[:: c.factors]:
            opposite = "" if axis.orientation > 0 or c.group != "GL" else ", inverse"
            axes.append((parts[axis.leaf, axis.block], f"axis {axis.axis}{opposite}"))
        along = along_text(inferred, c.along, names)
        out.append(GroupFactor(name, c.group, c.size, c.copies, along, tuple(axes)))
    families: list[tuple[str, Family | Flips]] = [
        *(("rescalings", f) for f in inferred.rescalings),
        *(("shifts", f) for f in inferred.shifts),
        *(("signs", f) for f in inferred.flips),
    ]  # fmt: skip
    # Arrays along all classes, along some of them and along none act alike: one line for all.
    sizes: dict[tuple[str, frozenset[Any]], int] = {}
    shown: dict[tuple[str, frozenset[Any]], tuple[tuple[int, ...], list[tuple[str, str]]]] = {}
    for kind, family in families:
        if isinstance(family, Flips):
            acts = [(leaves[t.leaf], "sign") for t in family.targets]
        else:
            acts = [(leaves[t.leaf], f"rate {rate}") for t, rate in family.rates]
            acts += [(leaves[t.leaf], f"shift {rate}") for t, rate in family.shifts]
        key = kind, frozenset(acts)
        sizes[key] = sizes.get(key, 0) + family.count
        if key not in shown or len(family.along) > len(shown[key][0]):
            shown[key] = family.along, list(dict.fromkeys(acts))
    for key, (classes, acts) in shown.items():
        along = along_text(inferred, classes, names)
        out.append(GroupFactor("", key[0], sizes[key], 1, along, tuple(acts)))
    return out


def escaped(text: str) -> str:
    """Return text with the characters protected that LaTeX reads as commands.

    >>> escaped("block_1")
    'block\\\\_1'
    """
    marks = {"\\": r"\textbackslash{}", **{mark: "\\" + mark for mark in "{}_&%$#"}}
    return "".join(marks.get(letter, letter) for letter in text)
