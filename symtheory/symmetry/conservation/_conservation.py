"""Count the conservation laws of training, from above and from below, both exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from symtheory.errors import BudgetError, InputError, UnreadableError
from symtheory.linear_algebra._modular import PRIME, rank
from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.readable import require_readable
from symtheory.symmetry._evaluated import axes_claim
from symtheory.symmetry._loss import loss_of
from symtheory.symmetry._memory import BOXED, intermediates, require
from symtheory.symmetry.conservation._charges import AxisGenerator, proved_generators
from symtheory.symmetry.conservation._conserved import ConservationLaws, law_text, linear_law_text
from symtheory.symmetry.conservation._enclosed import EnclosedFields
from symtheory.symmetry.conservation._fields import Fields
from symtheory.symmetry.conservation._translations import proved_translations
from symtheory.symmetry.discovery._discover import discover
from symtheory.symmetry.discovery._result import Discovery
from symtheory.verdict import (
    All,
    Claim,
    ConservedCount,
    Flows,
    RankBound,
    Status,
    Subject,
    Verdict,
    prove,
    sparse_action,
)

_REFERENCE = "Marcotte, Gribonval and Peyré 2023 (arXiv 2307.00144), Theorem 3.3"
_REFERENCE_MOMENTUM = "Marcotte, Gribonval and Peyré 2024 (arXiv 2405.12888)"
_LARGEST = 2000
_DEEPEST = 4


def conservation_laws(
    model: Model, *, momentum: bool = False, seconds: float | None = 60.0, seed: int = 0,
    max_memory: float | None = None, found: Discovery | None = None,
) -> ConservationLaws:  # fmt: skip
    """Count the independent conservation laws of gradient flow, or of heavy-ball motion.

    A law is a function C with grad C . grad l(theta; z) = 0 for all samples z: it is constant
    under gradient flow on every data set. There are d - dim Lie(W)(theta) independent ones near a
    generic theta, W the span of the fields theta -> grad l(theta; z). Mod a prime and at one
    point ranks can only drop, so d - rank is an upper bound whatever was drawn; the rank of the
    differentials of proved laws theta^T A theta is a lower bound.

    Where the loss is made of pieces (ReLU), the laws counted are those that are analytic on all
    of parameter space: W holds the fields of all pieces that occur, each continued to one point.

    Above 2000 parameters no rank of the Lie algebra is taken: the lower bound counts the charges of
    the symmetries that `discover` proves, and the upper bound is the number of parameters.

    With momentum the flow is theta'' + tau theta' = -grad l for generic tau, and laws are
    functions of (t, theta, v = theta'): e^{tau t} v^T A theta with antisymmetric A.

    Args:
        model: A model with all sizes bound.
        momentum: Count the laws of heavy-ball motion instead.
        seconds: Time limit; when it is reached the bounds found so far are returned.
        seed: Seed of the points.
        max_memory: Limit in GiB on what the count may need.
        found: What `discover` returned for the model, so that it is not run again.

    Returns:
        Both bounds; `proved` if they meet, else `inconclusive`.

    Raises:
        InputError: A size is not bound, the time limit is not positive, the loss cannot be read
            (it draws random numbers, has no gradient, is nowhere finite), or the count needs more
            than `max_memory`.

    Source: arXiv 2307.00144 and 2405.12888.

    >>> from symtheory.data import Normal
    >>> model = Model(lambda p, z: (p["u"] * p["w"] * z["x"] - z["y"]) ** 2,
    ...               {"u": (), "w": ()}, random={"x": Normal(()), "y": Normal(())})
    >>> conservation_laws(model).to_json()["lower"], conservation_laws(model).upper
    (1, 1)
    """
    if seconds is not None and not seconds > 0:
        raise InputError(f"the time limit must be positive, got {seconds}")
    require_readable(model)
    count = _Count(model, momentum, seed, Deadline(seconds))
    if model.dimension > _LARGEST and not momentum:
        return _at_least(count, found, seconds, seed, max_memory)
    if max_memory is not None:
        require(_memory(count), max_memory, f"counting the conservation laws of {model.name}")
    why = ""
    try:
        for _ in count.steps():
            if count.lower == count.upper:
                break
    except (BudgetError, UnreadableError) as error:
        why = str(error)
    return count.result(why)


def _memory(count: _Count) -> int:
    """Return about how many bytes ranks take: a square matrix, and the loss at as many points."""
    model = count.model
    points, values = count.dimension + 16, intermediates(loss_of(model).closed.jaxpr)
    return points * (BOXED * count.dimension + 8 * 6 * values)


def _at_least(
    count: _Count, found: Discovery | None, seconds: float | None, seed: int,
    max_memory: float | None,
) -> ConservationLaws:  # fmt: skip
    """Return the bounds for a large model: the charges of its proved symmetries."""
    model = count.model
    if found is None:
        found = discover(model, seconds=seconds, seed=seed, max_memory=max_memory)
    count.lower = found.charges or 0
    proved = [group for group in found.groups if group.status is Status.PROVED]
    why = f"upper bounds take ranks of matrices of the size of the parameters, at most {_LARGEST}"
    verdict = Verdict(
        Status.INCONCLUSIVE,
        f"gradient flow of {model.name} has at least {count.lower} independent conservation laws",
        how=f"differentials of the charges of proved symmetries mod {PRIME}: at least "
        f"{count.lower}; no upper bound but the {model.dimension} parameters: {why}",
        predicted=count.lower,
        measured=model.dimension,
        reference=_REFERENCE,
    )
    laws = tuple(
        f"{group.count if group.affine else group.symmetric} charges of the {group.name}"
        for group in proved
        if group.affine or group.symmetric
    )
    return ConservationLaws(count.lower, model.dimension, laws, verdict)


class _Count:
    """The bounds as they are improved."""

    def __init__(self, model: Model, momentum: bool, seed: int, deadline: Deadline) -> None:
        self.model, self.momentum, self.seed, self.deadline = model, momentum, seed, deadline
        self.dimension = 2 * model.dimension + 1 if momentum else model.dimension
        self.lower, self.upper = 0, self.dimension
        self.generators: list[AxisGenerator] = []
        self.shifts: list[np.ndarray] = []
        self.pieces = False
        self.means = f"mod {PRIME}"
        self.level = 0

    def steps(self) -> Iterator[None]:
        """Improve one bound at a time, cheapest first."""
        if self.model.dimension > _LARGEST:
            raise BudgetError(
                f"ranks are taken for at most {_LARGEST} parameters, the model has "
                f"{self.model.dimension}"
            )
        fields = Fields(self.model, self.momentum, self.seed, self.deadline)
        self.pieces = fields.enclosed
        if fields.readable and not self.momentum:
            try:
                self._raise_lower(fields, "diagonal")
            except UnreadableError:
                fields.readable = False
        if not fields.readable:
            yield from self._enclosed_steps(fields)
            return
        yield
        base = _Rank(fields)
        yield self._lower_upper(base, 0)
        for factor in (4, 16) if fields.enclosed else ():
            yield self._lower_upper(base, 0, factor)
        yield self._raise_lower(fields, "matrix")
        yield self._lower_upper(base, 1)
        yield self._raise_lower(fields, "translation")
        for level in range(1, (2 * _DEEPEST if self.momentum else _DEEPEST) + 1):
            for _ in range(6):
                before = base.rank
                yield self._lower_upper(base, level)
                if base.rank == before:
                    break

    def _enclosed_steps(self, fields: Fields) -> Iterator[None]:
        """The same for losses that have no residues: rigorous enclosures give the ranks."""
        yield self._raise_lower(fields, "diagonal")
        yield self._raise_lower(fields, "translation")
        yield self._raise_lower(fields, "matrix")
        if self.momentum:
            raise UnreadableError("momentum is counted only for losses that are rational functions")
        base = EnclosedFields(self.model, self.seed, self.deadline)
        self.means = "in rigorous enclosures"
        for level in range(_DEEPEST):
            base.extend(level, self.dimension + 4 if level == 0 else self.upper - self.lower + 2)
            found = base.rank()
            if self.dimension - found < self.upper:
                self.upper, self.level = self.dimension - found, level
            yield

    def _raise_lower(self, fields: Fields, kind: str) -> None:
        if kind == "translation":
            self.shifts = proved_translations(fields)
        else:
            self.generators = proved_generators(fields, kind, self.momentum) or self.generators
        self._drop_functions_of_shifts(fields)
        rows = self._differentials(fields)
        if rows:
            self.lower = max(self.lower, rank(np.stack(rows)))

    def _drop_functions_of_shifts(self, fields: Fields) -> None:
        """Keep only those quadratic laws that say more than the linear ones."""
        if not self.shifts or self.momentum:
            return
        found, kept = self.generators, []
        best = len(self.shifts)
        for generator in found:
            self.generators = [*kept, generator]
            bound = rank(np.stack(self._differentials(fields)))
            if bound > best:
                best, kept = bound, self.generators
        self.generators = kept

    def _differentials(self, fields: Fields) -> list[np.ndarray]:
        """The differentials of the proved laws at a random point (for t = 0 and tau = 1)."""
        rng = fields.points.rng
        theta, speed = (
            [rng.integers(1, PRIME, shape) for shape in fields.points.shapes] for _ in range(2)
        )
        tangents = [_flat(generator.tangent(theta)) for generator in self.generators]
        if not self.momentum:
            return [*tangents, *self.shifts]
        flat, zero = _flat(speed), np.zeros(fields.size, dtype=np.int64)
        rows = []
        for generator, tangent in zip(self.generators, tangents, strict=True):
            turned = _flat(generator.tangent(speed))  # of e^{tau t} v^T A theta
            rows.append(_joined(_dot(flat, tangent), -turned, tangent))
        for b in self.shifts:  # of e^{tau t} b . v and of b . (v + tau theta)
            rows += [_joined(_dot(flat, b), zero, b), _joined(0, b, b)]
        return rows

    def _lower_upper(self, at: _Rank, level: int, factor: int = 1) -> None:
        at.extend(level, self.upper - self.lower, factor)
        if self.dimension - at.rank < self.upper:
            self.upper, self.level = self.dimension - at.rank, level

    def result(self, why: str) -> ConservationLaws:
        """Return the bounds with their verdict."""
        met = self.lower == self.upper
        flow = "heavy-ball motion" if self.momentum else "gradient flow"
        number = str(self.lower) if met else f"{self.lower} to {self.upper}"
        where = "analytic on all of parameter space" if self.pieces else "near generic parameters"
        claim = f"{flow} of {self.model.name} has {number} independent conservation laws {where}"
        how = (
            f"rank of the Lie algebra {self.means} (brackets up to depth {self.level}): at "
            f"most {self.upper}; differentials of proved laws: at least {self.lower}"
            + (f"; {why}" if why else "")
        )
        fields: dict[str, Any] = {
            "predicted": self.lower,
            "measured": self.upper,
            "assumptions": (
                "grad l is the derivative of the loss as a function, almost everywhere",
            ),
            "reference": _REFERENCE_MOMENTUM if self.momentum else _REFERENCE,
        }
        if met:
            certificate = RankBound(how, lower=self.lower, upper=self.upper)
            verdict = prove(claim, certificate, self._claim(), **fields)
        else:
            verdict = Verdict(Status.INCONCLUSIVE, claim, how=how, **fields)
        names = list(self.model.leaves)
        laws = tuple(law_text(generator, names) for generator in self.generators)
        laws += tuple(linear_law_text(b, self.model, self.momentum) for b in self.shifts)
        return ConservationLaws(self.lower, self.upper, laws, verdict)

    def _claim(self) -> Claim:
        """Return the laws and their number as claims to be evaluated in floats."""
        subject, names = Subject.of(self.model), list(self.model.leaves)
        claims: list[Claim] = []
        if self.generators:
            tangents = [_in_floats(generator, names) for generator in self.generators]
            claims.append(axes_claim(self.model, tangents, self.seed))
        if self.shifts:
            shifts = [{int(i): int(b[i]) for i in np.flatnonzero(b)} for b in self.shifts]
            actions = [sparse_action(subject.dimension, {}, shift) for shift in shifts]
            claims.append(Flows(subject, actions, self.seed))
        if not self.momentum:
            claims.append(ConservedCount(subject, self.lower, seed=self.seed))
        elif not claims:
            claims.append(ConservedCount(subject, 0, seed=self.seed))
        return All(tuple(claims))


def _in_floats(generator: AxisGenerator, names: list[str]) -> Any:
    """Return leaves (n, shape) by name -> A theta by name."""

    def tangent(leaves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        out = {name: np.zeros_like(leaf) for name, leaf in leaves.items()}
        for (leaf, axis), part in generator.parts.items():
            name = names[leaf]
            whole = leaves[name]
            if whole.ndim == 1:
                out[name] = out[name] + float(part[0, 0]) * whole
            else:
                image = np.tensordot(part.astype(float), whole, (1, axis + 1))
                out[name] = out[name] + np.moveaxis(image, 0, axis + 1)
        return out

    return tangent


class _Rank:
    """The rank of the fields and brackets evaluated at one point so far."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.point = fields.point()
        self.rows: np.ndarray = np.zeros((0, fields.dimension), dtype=np.int64)
        self.rank = 0

    def extend(self, level: int, missing: int, factor: int) -> None:
        """Add random nested brackets of one depth."""
        fields = self.fields
        count = (fields.dimension if level == 0 else min(missing, fields.dimension)) + 16
        if level == 0 and fields.enclosed:
            count = 2 * factor * count
        new = fields.rows(level, self.point, count)
        self.rows = np.concatenate([self.rows, new])
        self.rank = rank(self.rows)


def _joined(by_time: int, by_theta: np.ndarray, by_speed: np.ndarray) -> np.ndarray:
    return np.concatenate([[by_time], by_theta, by_speed]) % PRIME


def _dot(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.sum(a * (b % PRIME) % PRIME) % PRIME)


def _flat(leaves: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([leaf.reshape(-1) for leaf in leaves])
