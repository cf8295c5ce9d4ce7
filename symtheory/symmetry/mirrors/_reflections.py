"""Find the reflections of a loss: flips and swaps of hidden units, and those in rotations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory import shapes
from symtheory.errors import BudgetError
from symtheory.model import Model
from symtheory.program import Deadline, trace
from symtheory.readable import require_readable
from symtheory.symmetry._evaluated import on_axes
from symtheory.symmetry._memory import intermediates, require
from symtheory.symmetry._structural import structural
from symtheory.symmetry.mirrors._entries import entry_flips, exchanges, whole_flip
from symtheory.symmetry.mirrors._judge import REFERENCE, SAME, Judge
from symtheory.symmetry.mirrors._reflection import Reflection, verify_reflection
from symtheory.symmetry.mirrors._reflections_found import (
    FoundReflections,
    Reflections,
    flip_of,
    on_axis,
)
from symtheory.symmetry.mirrors._units import POINTS, Axis, rank_of, unit_axes
from symtheory.verdict import (
    Claim,
    Derivation,
    Maps,
    NormalForm,
    Status,
    Subject,
    Verdict,
    conjunction,
)

_SINGLE = 12
_FLIPS = 4
_SMALL = 64

Moved = Mapping[Axis, np.ndarray]
"""A matrix for every axis along which a map of units acts."""


def reflections(
    model: Model, *, seconds: float | None = 60.0, seed: int = 0, max_memory: float | None = None
) -> Reflections:
    """Find reflections theta -> theta - 2 P theta that leave the loss of every sample unchanged.

    Axes of the leaves that index the same hidden units are found from gradients. Swaps of two
    units, flips of the signs of one and reflections along any direction of the units are then
    tried, flips of one or two entries of a model of at most 24 parameters (of any set of entries up
    to 10 parameters), and exchanges of two leaves. A candidate is proved at any size by following
    the signed permutation (or rotation) through the loss, else by `verify`; what only survives
    random points in double precision is `supported`, and what does not survive them is left out.

    Args:
        model: A model with all sizes bound.
        seconds: Time limit; what was found before it is returned, `unfinished` says so.
        seed: Seed of the random points.
        max_memory: Limit in GiB on what the search may need.

    Raises:
        InputError: A size is not bound, the loss cannot be read (it draws random numbers, has no
            gradient, is nowhere finite), or the search needs more than `max_memory`.

    Source: arXiv 2408.15495, definition of the reflection symmetry and its examples.

    >>> from symtheory.data import Normal
    >>> model = Model(lambda p, z: (p["u"] @ jnp.tanh(p["W"] @ z["x"]) - z["y"]) ** 2,
    ...               {"u": 3, "W": (3, 2)}, random={"x": Normal(2), "y": Normal(())})
    >>> [(r.kind, r.count, r.rank, str(r.verdict.status)) for r in reflections(model)]
    [('swap', 3, 3, 'proved'), ('flip', 3, 3, 'proved'), ('signed swap', 3, 3, 'proved')]
    """
    require_readable(model)
    values = sum(math.prod(shapes.fixed(shape)) for shape in model.leaves.values())
    require(8 * POINTS * 8 * values, max_memory, f"searching {model.name} for reflections")
    search = _Search(model, seed, Deadline(seconds))
    needed = 8 * POINTS * (8 * values + 3 * intermediates(search.loss.jaxpr))
    require(needed, max_memory, f"searching {model.name} for reflections")
    unfinished = ""
    try:
        search.run()
    except BudgetError as error:
        unfinished = str(error)
    return Reflections(search.found, unfinished)


class _Search:
    def __init__(self, model: Model, seed: int, deadline: Deadline) -> None:
        self.model, self.deadline = model, deadline
        self.judge = Judge(model, seed, deadline)
        self.names, self.probe = self.judge.names, self.judge.probe
        self.loss, _ = trace(lambda p, z, c: model.evaluate(p, z, c), *model.structure())
        self.found: list[FoundReflections] = []

    def run(self) -> None:
        groups = [*structural(self.model).unit_groups(), *map(sorted, unit_axes(self.probe))]
        for group in dict.fromkeys(map(tuple, groups)):
            self.deadline.check()
            self._units(list(group))
        self._signed_swaps()
        for leaves in structural(self.model).whole_flips():
            whole = whole_flip(self.judge, leaves, self.found)
            self.found += [whole] if whole is not None else []
        for found in itertools.chain(entry_flips(self.judge, self.found), exchanges(self.judge)):
            self.found.append(found)

    # --- units ---

    def _units(self, group: list[Axis]) -> None:
        size = (self.probe.shapes[group[0][0]] or (1,))[group[0][1]]
        rank, leaves = rank_of(self.probe, group), self.judge.moved_leaves(dict(group))
        where = ", ".join(f"{leaf or 'theta'}" for leaf in leaves)
        flip, swaps = flip_of(size, 0), False
        if size > 1:
            swap = _swap(size, 0, 1)
            cycle = np.roll(np.eye(size), 1, axis=0)
            verdict = self._judge([_alike(group, swap), _alike(group, cycle)])
            swaps = verdict is not None
            if verdict is not None:
                count = size * (size - 1) // 2
                self._add(
                    f"swap of two units of {where}",
                    "swap",
                    rank,
                    count,
                    _alike(group, swap),
                    verdict,
                )
        alone = not swaps and structural(self.model).moves(group, np.arange(size), -np.ones(size))
        if size > 1 and not swaps and not alone and size <= _SINGLE:
            self._one_by_one(group, size, rank, where)
        if swaps or alone or size == 1:
            verdict = self._judge([_alike(group, flip)])
            if verdict is not None:
                text = f"sign flip of one unit of {where}"
                self._add(text, "flip", rank, size, _alike(group, flip), verdict)
                if swaps:
                    self._rotation(group, size, rank, where, verdict)

    def _signed_swaps(self) -> None:
        """Add the exchanges of two units whose weights along some axes change sign.

        They are the products of a swap and the flips of both units, for every set of axes that a
        product of known flips changes.
        """
        mixed = {found.axes for found in self.found if found.kind == "rotation"}
        flips = [set(f.axes) for f in self.found if f.kind == "flip" and f.count > 1]
        for swap in [found for found in self.found if found.kind == "swap" and found.axes]:
            own = [axes for axes in flips if axes <= set(swap.axes)][:_FLIPS]
            sums = {frozenset()}
            for axes in own:
                sums |= {frozenset(done ^ axes) for done in sums}
            for signed in sorted(map(sorted, sums)):
                if signed and not (swap.axes in mixed and set(signed) == set(swap.axes)):
                    self.deadline.check()
                    self._signed_swap(swap, signed)

    def _signed_swap(self, swap: FoundReflections, signed: list[Axis]) -> None:
        size = (self.probe.shapes[swap.axes[0][0]] or (1,))[swap.axes[0][1]]
        if swap.count != size * (size - 1) // 2:  # of some units only
            return
        exchange = np.eye(size)
        exchange[:2, :2] = [[0, 1], [1, 0]]
        changed = exchange.copy()
        changed[:2] *= -1
        maps = {axis: changed if axis in signed else exchange for axis in swap.axes}
        verdict = self._judge([maps])
        if verdict is None:
            return
        where = ", ".join(leaf or "theta" for leaf in swap.leaves)
        partial = ", ".join(self.names[leaf] or "theta" for leaf in dict(signed))
        text = f"signed swap of two units of {where}"
        text += "" if set(signed) == set(swap.axes) else f" (signs of {partial})"
        self._add(text, "signed swap", swap.rank, swap.count, maps, verdict, tuple(signed))

    def _one_by_one(self, group: list[Axis], size: int, rank: int, where: str) -> None:
        """Where not all units are alike, try every unit and every pair."""
        for i in range(size):
            flip = flip_of(size, i)
            verdict = self._judge([_alike(group, flip)])
            if verdict is not None:
                text = f"sign flip of unit {i + 1} of {where}"
                self._add(text, "flip", rank, 1, _alike(group, flip), verdict)
            for j in range(i + 1, size):
                self.deadline.check()
                verdict = self._judge([_alike(group, _swap(size, i, j))])
                if verdict is not None:
                    text = f"swap of units {i + 1} and {j + 1} of {where}"
                    swap = _alike(group, _swap(size, i, j))
                    self._add(text, "swap", rank, 1, swap, verdict)

    def _rotation(
        self, group: list[Axis], size: int, rank: int, where: str, flips: Verdict
    ) -> None:
        """Add the reflections along every direction of the units, if they are there."""
        mirror = np.eye(size)
        mirror[:2, :2] = [[0.28, -0.96], [-0.96, -0.28]]  # along (3, 4)/5
        if not self._change(_alike(group, mirror)) <= SAME:
            return
        name = f"reflection along any direction of the units of {where}"
        recheck = self._claim([_alike(group, m) for m in (mirror, *_mirrors(size))])
        verdict = None
        if flips.status is Status.PROVED and structural(self.model).rotates(group):
            how = "conjugates of a flip by rotations, which pass through"
            verdict = self.judge.proved(name, Derivation(how), recheck)
        elif self.model.dimension <= _SMALL:
            reflection = self._reflection(_alike(group, mirror), name)
            checked = verify_reflection(self.model, reflection, seconds=self.judge.remaining())
            if checked.certificate is not None:
                verdict = self.judge.proved(name, checked.certificate, recheck)
        verdict = verdict or self.judge.supported(name, recheck)
        if verdict is None or verdict.status is Status.REFUTED:
            return
        self._add(name, "rotation", rank, size, _alike(group, mirror), verdict)

    # --- judging ---

    def _judge(self, maps: list[Moved]) -> Verdict | None:
        """Return a verdict on maps of the units (the first is the claim), None if one fails."""
        if not all(self._change(moved) <= SAME for moved in maps):
            return None
        if all(self._passes(moved) for moved in maps):
            how = "the signed permutation of units is inferred, operation by operation"
            verdict = self.judge.proved("units", Derivation(how), self._claim(maps))
            return None if verdict.status is Status.REFUTED else verdict
        claim = self._claim(maps)
        if self.model.dimension <= _SMALL:
            # All permutations are products of swaps of neighbours.
            axes, size = list(maps[0]), len(next(iter(maps[0].values())))
            steps = [_alike(axes, _swap(size, i, i + 1)) for i in range(size - 1)]
            steps = steps if len(maps) > 1 else maps
            for moved in steps:
                checked = verify_reflection(
                    self.model, self._reflection(moved, ""), seconds=self.judge.remaining()
                )
                if checked.status is Status.REFUTED:
                    return None
                if checked.certificate is None:
                    break
            else:
                how = f"the normal form of the difference is 0 for {len(steps)} generating maps"
                verdict = self.judge.proved("units", NormalForm(how, ring="Q(theta, z)"), claim)
                return None if verdict.status is Status.REFUTED else verdict
        return self.judge.supported("units", claim)

    def _change(self, moved: Moved) -> float:
        leaves = list(self.probe.theta)
        for (leaf, axis), matrix in moved.items():
            leaves[leaf] = on_axis(np, leaves[leaf], matrix, axis + 1)
        return self.probe.changes(leaves)

    def _passes(self, moved: Moved) -> bool:
        """Tell whether it is inferred, as it is or as a permutation and then changes of signs."""
        order = np.argmax(np.abs(next(iter(moved.values()))), axis=1)
        by_signs: dict[tuple[float, ...], list[Axis]] = {}
        for axis, matrix in moved.items():
            signs = matrix[np.arange(len(matrix)), order]
            by_signs.setdefault(tuple(signs.tolist()), []).append(axis)
        known = structural(self.model)
        if len(by_signs) == 1:
            return known.moves(moved, order, np.array(next(iter(by_signs))))
        return known.moves(moved, order, np.ones(len(order))) and all(
            known.moves(axes, np.arange(len(order)), np.array(signs))
            for signs, axes in by_signs.items()
        )

    # --- results ---

    def _claim(self, maps: list[Moved]) -> Claim:
        """Return "the loss is the same under these maps of the units", to be evaluated."""

        def acting(leaves: dict[str, np.ndarray], moved: Moved) -> dict[str, np.ndarray]:
            out = dict(leaves)
            for (leaf, axis), matrix in moved.items():
                out[self.names[leaf]] = on_axis(np, out[self.names[leaf]], matrix, axis + 1)
            return out

        subject = Subject.of(self.model)
        return Maps(
            subject,
            [on_axes(self.model, lambda leaves, m=moved: acting(leaves, m)) for moved in maps],
            self.judge.seed,
        )

    def _reflection(self, acting: Moved, name: str) -> Reflection:
        def project(params: Any) -> Any:
            flat, tree = jax.tree.flatten(params)
            moved = list(flat)
            for (leaf, axis), matrix in acting.items():
                moved[leaf] = on_axis(jnp, moved[leaf], matrix, axis)
            return jax.tree.unflatten(tree, [(x - y) / 2 for x, y in zip(flat, moved, strict=True)])

        return Reflection(project, name=name)

    def _add(
        self,
        name: str,
        kind: str,
        rank: int,
        count: int,
        moved: Moved,
        verdict: Verdict,
        signed: tuple[Axis, ...] = (),
    ) -> None:
        # The same statement, in the words of the family.
        verdict = conjunction(
            self.judge.words(name), [verdict], how=verdict.how, reference=REFERENCE
        )
        found, axes = self._reflection(moved, name), tuple(moved)
        leaves = self.judge.moved_leaves(dict(axes))
        self.found.append(
            FoundReflections(name, kind, rank, count, leaves, found, verdict, axes, signed)
        )


def _alike(group: Sequence[Axis], matrix: np.ndarray) -> Moved:
    """Return the map that acts in the same way along all axes."""
    return dict.fromkeys(group, matrix)


def _swap(size: int, i: int, j: int) -> np.ndarray:
    """Return the map that exchanges two units."""
    out = np.eye(size)
    out[[i, j]] = out[[j, i]]
    return out


def _mirrors(size: int) -> list[np.ndarray]:
    """Return reflections along some directions of the units."""
    directions = np.random.default_rng(0).normal(size=(3, size))
    return [np.eye(size) - 2 * np.outer(a, a) / (a @ a) for a in directions]
