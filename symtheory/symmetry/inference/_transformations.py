"""The domain of transformations: reads a program once, writing down what symmetries obey."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, final

from symtheory.program import NO_DEADLINE, Deadline, Operation, Program
from symtheory.program._known import KNOWN, is_known
from symtheory.symmetry.inference._alignment import LINEAR
from symtheory.symmetry.inference._arithmetic import Arithmetic
from symtheory.symmetry.inference._constraints import MIXING, PERMUTATION
from symtheory.symmetry.inference._values import (
    ATOM,
    CONSTANT,
    FINITE,
    FIXED,
    INVARIANT,
    Blocks,
    Linear,
    Plain,
    Slot,
    Slots,
    Terms,
    Value,
    pieces,
)  # fmt: skip

_MOST_ROUNDS = 8
"""How often the body of a loop is read to learn what it carries."""


@final
class Transformations(Arithmetic):
    """Values are what is known of how they transform (`Plain`, `Blocks`); see `_values`."""

    def run(
        self, program: Program, inputs: Sequence[Any], deadline: Deadline = NO_DEADLINE
    ) -> list[Any]:
        """Read a program, remembering at each demand which operation made it.

        Args:
            program: The program.
            inputs: A value for each of its inputs.
            deadline: A time limit.
        """
        values: dict[int, Any] = dict(zip(program.inputs, inputs, strict=True))
        for number, constant in program.constants.items():
            values[number] = constant if is_known(constant) else self.constant(constant)
        outer = self.log.source
        for operation in program.operations:
            deadline.check()
            self.log.source = operation
            xs = [values[number] for number in operation.inputs]
            outputs = self._perform(operation, xs, deadline)
            values.update(zip(operation.outputs, outputs, strict=True))
        self.log.source = outer
        return [values[number] for number in program.outputs]

    def _perform(self, operation: Operation, xs: list[Any], deadline: Deadline) -> list[Any]:
        name, params = operation.name, operation.params
        if name == "scan":
            n, m = params["constants"], params["carry"]
            lifted = [self.lift(x) for x in xs]
            step = lambda values: self.run(params["body"], values, deadline)
            shapes = [shape[1:] for shape in operation.shapes[m:]]
            return self.scan(
                step, lifted[:n], lifted[n : n + m], lifted[n + m :],
                params["length"], params["reverse"], shapes,
            )  # fmt: skip
        if name in KNOWN and all(map(is_known, xs)):
            out = KNOWN[name](*xs, **params)
            if out is not None:
                return out if name == "sort" else [out]
        xs = [self.lift(x) for x in xs]
        if name == "sort":
            return self.sort(xs, **params)
        if name == "concatenate":
            return [self.concatenate(xs, **params)]
        if name in ("apply", "compare"):
            return [getattr(self, name)(*params.values(), *xs)]
        fill = {"take": 1, "pick": 1, "choose": 2}.get(name)
        if fill is not None and len(xs) > fill:
            return [getattr(self, name)(*xs[:fill], **params, fill=xs[fill])]
        return [getattr(self, name)(*xs, **params)]

    # --- loops ---

    def scan(
        self,
        step: Callable[[Sequence[Any]], list[Any]],
        constants: Sequence[Any],
        carry: Sequence[Any],
        sequences: Sequence[Any],
        length: int,
        reverse: bool,
        collected: Sequence[tuple[int, ...]],
    ) -> list[Any]:
        """See `Domain.scan`: what is carried transforms at every step as it did before it.

        The body is read until it returns what it was given, and then once for its demands. The
        axis of the steps is hidden in the body: what is stacked along it has a copy for each step.
        """
        if not length:
            return [*carry, *(self.filled((0, *shape), INVARIANT) for shape in collected)]
        steps, slices = self._entered(sequences, length, bool(carry))
        start = [self.lift(x) for x in carry]
        held = list(start)
        for _ in range(_MOST_ROUNDS):
            mark = self.log.mark()
            outputs = step([*constants, *held, *slices])
            new = [
                self.spread(lambda a, b: self._joined(a, b, steps), x, self.lift(y))
                for x, y in zip(held, outputs, strict=False)
            ]
            self.log.return_to(mark)
            stable = all(_same(x, y) for x, y in zip(held, new, strict=True))
            held = new
            if stable:
                break
        else:
            held = [self._unknown(x) for x in held]
        outputs = [self.lift(y) for y in step([*constants, *held, *slices])]
        out = [
            self.spread(self._agreeing, x, y, z)
            for x, y, z in zip(held, outputs, start, strict=False)
        ]
        return [*out, *(self._collected(y, steps) for y in outputs[len(out) :])]

    def _entered(
        self, sequences: Sequence[Value], length: int, carries: bool
    ) -> tuple[Slots, list[Value]]:
        """Return the slot of the steps, and the slices of which each stands for all.

        Where nothing is carried from step to step their order does not matter: steps may be
        exchanged, with what is stacked along them, unless something else is that does not move.
        """
        values = [self.merged(x) if isinstance(x, Blocks) and x.axis == 0 else x for x in sequences]
        values = [self._over(x, lambda part: self._single(part)) for x in values]
        stacked = [p.axes[0][0] for x in values for p in pieces(x) if p.axes[0]]
        atoms = [s for s in stacked if s.kind == ATOM]
        ordered = carries or any(s.kind == FIXED for s in stacked)
        self.restrict(atoms, PERMUTATION if ordered else MIXING)
        self.log.unite(
            [(a.atom, b.atom) for a, b in itertools.pairwise(atoms)], [False] * (len(atoms) - 1)
        )
        if length == 1:
            steps: Slots = ()
        elif atoms:
            steps = (self.slot(length, ATOM, atoms[0].atom),)
        else:
            steps = (self.slot(length, FIXED),)
        return steps, [self._over(x, lambda part: self._slice_of(part, steps)) for x in values]

    def _single(self, x: Plain) -> Plain:
        return self.forget(x, 0) if len(x.axes[0]) > 1 else x

    def _slice_of(self, x: Plain, steps: Slots) -> Plain:
        first, rest = x.axes[0], x.axes[1:]
        if not first or first[0].kind == CONSTANT:
            return self.plain(rest, x.terms, x.hidden, x.data)
        mapping = {first[0].number: tuple(s.number for s in steps)}
        return self.plain(rest, x.terms.renamed(mapping), (*x.hidden, *steps), x.data)

    def _over(self, x: Value, rule: Callable[[Plain], Value]) -> Value:
        """Apply a rule that removes or adds axis 0 to every piece; see `_slice_of`."""
        if isinstance(x, Plain):
            return rule(x)
        before = len(x.shape)
        parts = tuple(self._over(part, rule) for part in x.parts)
        return Blocks(x.axis + len(parts[0].shape) - before, x.outer, parts)

    def _joined(self, x: Plain, y: Plain, steps: Slots) -> Plain:
        """Return what is carried by the look of two rounds: atoms appear where there were none."""
        axes: list[Slots] = []
        mapping: dict[int, tuple[int, ...]] = {}
        used: set[int] = set()
        for a, b in zip(x.axes, y.axes, strict=True):
            same = [s.size for s in a] == [s.size for s in b]
            better = [
                t if _rank(t) > _rank(s) else s for s, t in zip(a, b, strict=True)
            ] if same else list(b if all(s.kind == CONSTANT for s in a) else a)  # fmt: skip
            for k, slot in enumerate(better):
                if slot.number in used:
                    better[k] = self.clone(slot)
                used.add(better[k].number)
            if same or all(s.kind == CONSTANT for s in a):
                for s, t in zip(b, better, strict=True):
                    mapping[s.number] = (t.number,)
            axes.append(tuple(better))
        inner = {s.number for s in steps}
        terms: dict[str, Linear] = {}
        for name in ("scale", "sign", "shift"):
            mine: Linear = getattr(x.terms, name)
            if name in x.terms.facts:
                theirs: Linear = getattr(y.terms.renamed(mapping), name)
                numbers = {s.number for axis in axes for s in axis}
                mine = {
                    key: row for key, row in theirs.items()
                    if not key[1] and not inner.intersection(key[0]) and numbers.issuperset(key[0])
                }  # fmt: skip
            terms[name] = mine
        free = x.terms.facts & y.terms.facts
        hidden = tuple(s for s in self.hidden(x, y) if s.number not in inner)
        return Plain(tuple(axes), Terms(**terms, facts=free), hidden, x.data and y.data)

    def _unknown(self, x: Value) -> Plain:
        return Plain(tuple(self.axis(n, FIXED) for n in x.shape), Terms())

    def _agreeing(self, held: Plain, output: Plain, start: Plain) -> Plain:
        """Demand that what is carried transforms as it was taken to; return it."""
        for other in (output, start):
            both = self.aligned([held, other], LINEAR)
            self.equal([x.terms for x in both])
        return self.plain(held.axes, held.terms, held.hidden, held.data)

    def _collected(self, x: Value, steps: Slots) -> Value:
        return self._over(x, lambda part: self._stacked(part, steps))

    def _stacked(self, x: Plain, steps: Slots) -> Plain:
        inner = tuple(s.number for s in steps)

        def stepped(terms: Linear) -> Linear:
            """Images of the body's own maps differ from step to step."""
            return {
                (key if not key[1] or set(inner) <= set(key[0]) else ((*key[0], *inner), key[1])): r
                for key, r in terms.items()
            }

        scale, sign, shift = map(stepped, (x.terms.scale, x.terms.sign, x.terms.shift))
        terms = Terms(scale, sign, shift, x.terms.facts & FINITE)
        hidden = tuple(s for s in x.hidden if s.number not in inner)
        return self.plain((steps, *x.axes), terms, hidden, x.data)


def _rank(slot: Slot) -> int:
    return {ATOM: 2, FIXED: 1, CONSTANT: 0}[slot.kind]


def _same(x: Value, y: Value) -> bool:
    if isinstance(x, Blocks) or isinstance(y, Blocks):
        if not (isinstance(x, Blocks) and isinstance(y, Blocks)):
            return False
        alike = (x.axis, x.outer, len(x.parts)) == (y.axis, y.outer, len(y.parts))
        return alike and all(_same(a, b) for a, b in zip(x.parts, y.parts, strict=True))
    numbers = lambda v: [[s.number for s in axis] for axis in v.axes]
    hidden = lambda v: {s.number for s in v.hidden}
    return (
        numbers(x) == numbers(y) and hidden(x) == hidden(y)
        and x.terms.same_as(y.terms) and x.data == y.data
    )  # fmt: skip


__all__ = ["Transformations"]
