"""A judge of claims that knows nothing of symtheory: floats, many points, and demanded gaps.

Every answer is `AGREES` (nothing speaks against the claim), `FALSE` (something does, beyond
rounding) or `UNDECIDED` (rounding could explain it, or too little could be evaluated). Rounding is
measured: the loss and its gradient are evaluated in double and in single precision, and the
difference times 2^-29 is what double precision may be wrong by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.fuzz import algebra, points
from tests.fuzz.exactness import is_lossless
from tests.fuzz.losses import Case

AGREES, FALSE, UNDECIDED = "agrees", "false", "undecided"
_BATCH = 256
_RELATIVE = 1e-6
_LAST_BITS = 4e-16
_ROUNDING = 1e3 * 2.0**-29
_LOST = 0.03
_FLOOR = 1e-10
_FEWEST = 20
_TRIED = 12
_ZERO, _NOT_ZERO = 1e-9, 1e-6
_CHEAP = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the oracle says, and why."""

    outcome: str
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Values:
    """Loss and gradient at points, with what rounding may have changed."""

    loss: np.ndarray
    gradient: np.ndarray
    loss_error: np.ndarray
    gradient_error: np.ndarray
    floor: np.ndarray
    """What numbers of the size of parameters and samples may lose without a trace: 1 - 1e-20 is 1
    in both precisions."""


class Oracle:
    """Evaluates one loss; all points of a seed are the same.

    Args:
        case: The loss and its data.
        seed: Seed of the points.
        unstopped: Judge the derivatives of the loss as a function, without `stop_gradient`.
        careful: Measure rounding. Without it `FALSE` means no more than a suspicion.
    """

    def __init__(
        self, case: Case, seed: int = 0, *, unstopped: bool = False, careful: bool = True
    ) -> None:
        self.case, self.d, self.careful = case, case.dimension, careful
        self.rng = np.random.default_rng([case.seed, seed])
        loss = case.unstopped if unstopped else case.loss

        def one(theta: Any, z: Any) -> Any:
            return jax.value_and_grad(lambda t: loss(case.unflatten(t), z) * jnp.ones(()))(theta)

        # Compiled for one use: cheap compilation matters more than fast code.
        self._loss = lambda theta, z: loss(case.unflatten(theta), z)
        self._slope = jax.grad(lambda theta, z: self._loss(theta, z) * jnp.ones(()))
        self._run = jax.jit(jax.vmap(one), compiler_options=_CHEAP)
        self.batches = []
        for _ in range(2 if careful else 1):
            theta = points.parameters(self.rng, _BATCH, self.d)
            z = points.samples(self.rng, case, _BATCH, wide=True)
            self.batches.append((theta, z, self.values(theta, z)))

    def values(self, theta: np.ndarray, z: Any) -> Values:
        """Evaluate at rows of parameters and samples (any number of them)."""
        parts = []
        for start in range(0, len(theta), _BATCH):
            stop = min(start + _BATCH, len(theta))
            rows = np.minimum(np.arange(start, start + _BATCH), len(theta) - 1)
            chunk = (theta[rows], jax.tree.map(lambda a, r=rows: a[r], z))
            double, single = (
                [np.asarray(a, float)[: stop - start] for a in self._evaluated(bits, chunk)]
                for bits in ((64, 32) if self.careful else (64, 64))
            )
            with np.errstate(all="ignore"):
                errors = [np.abs(a - b) for a, b in zip(double, single, strict=True)]
                if self.careful:
                    # What the last bits of the parameters decide is lost in double precision too.
                    turned = chunk[0] * (1 + _LAST_BITS * self.rng.choice([-1, 1], chunk[0].shape))
                    near = [np.asarray(a, float)[: stop - start]
                            for a in self._evaluated(64, (turned, chunk[1]))]  # fmt: skip
                    moves = [np.abs(a - b) / _ROUNDING for a, b in zip(double, near, strict=True)]
                    errors = [np.maximum(a, b) for a, b in zip(errors, moves, strict=True)]
            parts.append([*double, *errors])
        out = [np.concatenate(column) for column in zip(*parts, strict=True)]
        sizes = [np.max(np.abs(a.reshape(len(a), -1)), axis=1) for a in jax.tree.leaves(z)]
        floor = _FLOOR * (1 + np.max(np.abs(theta), axis=1)) * (1 + np.max(sizes, axis=0))
        return Values(out[0], out[1], out[2], out[3], floor)

    def _evaluated(self, bits: int, arguments: Any) -> Any:
        with jax.enable_x64(bits == 64):
            return self._run(*jax.tree.map(lambda a: jnp.asarray(a, f"float{bits}"), arguments))

    # --- invariance ------------------------------------------------------------------------------

    def generator(self, a: np.ndarray, b: np.ndarray, *, value_only: bool = False) -> Answer:
        """Judge "the loss is invariant under theta' = A theta + b", gradient and finite steps."""
        answers = [] if value_only else [self._derivative(a, b)]
        answers.append(self.unchanged(*algebra.flow(a, b)))
        return _worst(answers)

    def _derivative(self, a: np.ndarray, b: np.ndarray) -> Answer:
        decided = doubts = 0
        for theta, z, at in self.batches:
            bad, good = _along(at, theta @ a.T + b)
            decided += int(np.sum(good | bad))
            for i in np.flatnonzero(bad)[:_TRIED]:
                near, zs = self._around(theta[i], z, i)
                again, _ = _along(self.values(near, zs), near @ a.T + b)
                doubts += int(np.all(again))
                if np.all(again) and self._sound(self._slope, zs, near[0]):
                    return Answer(
                        FALSE, f"grad l . (A theta + b) is not 0 at {_show(theta[i], zs)}"
                    )
        return _unless(doubts, decided, "derivatives")

    def unchanged(self, linear: np.ndarray, shift: np.ndarray) -> Answer:
        """Judge "l(M_k theta + s_k) = l(theta)" for every k; maps are dealt out over the points."""
        decided = doubts = 0
        for theta, z, at in self.batches:
            which = np.arange(len(theta)) % len(linear)
            moved = _moved(linear, shift, which, theta)
            bad, good = _differ(at, self.values(moved, z))
            decided += int(np.sum(good | bad))
            for i in np.flatnonzero(bad)[:_TRIED]:
                near, zs = self._around(theta[i], z, i)
                same = np.full(len(near), which[i])
                turned = _moved(linear, shift, same, near)
                after = self.values(turned, zs)
                again, _ = _differ(self.values(near, zs), after)
                doubts += int(np.all(again))
                if np.all(again) and self._sound(self._loss, zs, near[0], turned[0]):
                    text = f"{at.loss[i]:.6g} becomes {after.loss[0]:.6g}"
                    return Answer(FALSE, f"the loss {text} at {_show(theta[i], zs)}")
        return _unless(doubts, decided, "pairs of values")

    def _sound(self, function: Any, z: Any, *theta: np.ndarray) -> bool:
        row = jax.tree.map(lambda a: a[0], z)
        return all(is_lossless(function, t, row) for t in theta)

    def _around(self, theta: np.ndarray, z: Any, i: int) -> tuple[np.ndarray, Any]:
        """Return points so near that only ties and rounding change, with one sample."""
        near = theta * (1 + 1e-5 * self.rng.normal(size=(8, self.d)))
        near = near + 1e-9 * self.rng.normal(size=(8, self.d)) * np.max(np.abs(theta))
        return near, jax.tree.map(lambda a: np.repeat(a[i : i + 1], 8, axis=0), z)

    def depends_on(self, places: Iterable[int]) -> Answer:
        """Judge "the loss does not depend on the parameters at `places`"."""
        hold = np.eye(self.d)
        hold[list(places), list(places)] = 0.0
        shifts = np.zeros((6, self.d))
        for k, scale in enumerate((1e-3, 0.1, 1.0, 10.0, 100.0, 1e3)):
            shifts[k, list(places)] = scale * self.rng.normal(size=len(list(places)))
        return self.unchanged(np.stack([hold] * 6), shifts)

    def signed_permutations(self, fixed: np.ndarray, most: int = 6) -> list[np.ndarray]:
        """Return all signed permutations of order two that seem to leave the loss unchanged.

        Only those that leave the point `fixed` where it is, and none beyond `most` parameters.
        """
        if self.d > most:
            return []
        mirrors = np.array([m for m in algebra.involutions(self.d) if np.all(m @ fixed == fixed)])
        still = np.zeros((1, self.d))
        theta, z, at = self.batches[0]
        for i in np.flatnonzero(np.isfinite(at.loss))[:6]:  # most do not survive one point
            if len(mirrors):
                copies = np.full(len(mirrors), i)
                rows = jax.tree.map(lambda a, k=copies: a[k], z)
                row = {f.name: getattr(at, f.name)[i : i + 1] for f in dataclasses.fields(at)}
                bad, _ = _differ(Values(**row), self.values(mirrors @ theta[i], rows))
                mirrors = mirrors[~bad]
        return [m for m in mirrors if self.unchanged(m[None], still).outcome == AGREES]

    # --- dimensions ------------------------------------------------------------------------------

    def null_space(
        self, kind: str, dead: Iterable[int] = ()
    ) -> tuple[np.ndarray | None, list[tuple[np.ndarray, np.ndarray]]]:
        """Return singular values and fields (A, b) with grad l . (A theta + b) = 0 at all points.

        `kind` is "affine", "linear", "symmetric" (A = A^T, b = 0) or "shift" (A = 0); fields do not
        move the parameters in `dead`, on which the loss does not depend. The first
        value is None where singular values have no clear gap or too few rows are reliable.
        """
        theta = points.parameters(self.rng, 3 * _BATCH, self.d, wide=False)
        theta[-_BATCH:] = points.parameters(self.rng, _BATCH, self.d)
        at = self.values(theta, points.samples(self.rng, self.case, len(theta), wide=True))
        use = _reliable(at)
        gradient, theta = at.gradient[use], theta[use]
        gradient = gradient / np.max(np.abs(gradient), axis=1, keepdims=True)
        basis = [(a, b) for a, b in algebra.basis(self.d, kind)
                 if not np.any(a[list(dead)]) and not np.any(b[list(dead)])]  # fmt: skip
        if not basis:
            return np.zeros(0), []
        columns = [np.einsum("ni,ni->n", gradient, theta @ a.T + b) for a, b in basis]
        rows = np.stack(columns, axis=1)
        size = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows[size[:, 0] > 0] / size[size > 0][:, None]
        if len(rows) < 2 * len(basis) + 10:
            return None, []
        scale = np.linalg.norm(rows, axis=0)
        live = scale > 0
        scale = np.where(live, scale, 1.0)
        _, values, right = np.linalg.svd(rows / scale, full_matrices=False)
        values = values / max(values[0], 1e-300)
        null = right[np.sum(values > _ZERO) :] / scale
        if np.any((values > _ZERO) & (values < _NOT_ZERO)):
            return None, []
        fields = []
        for vector in algebra.reduced(null):
            a = sum((c * p[0] for c, p in zip(vector, basis, strict=True)), np.zeros(()))
            b = sum((c * p[1] for c, p in zip(vector, basis, strict=True)), np.zeros(()))
            fields.append((a, b))
        return values, fields

    def lie_ranks(self, count: int = 8) -> list[int]:
        """Return at generic points a rank of the gradient fields and their first brackets."""
        out = []
        for theta in points.parameters(self.rng, count, self.d, wide=False):
            at = np.repeat(theta[None], _BATCH, axis=0)
            z = points.samples(self.rng, self.case, _BATCH)
            here = self.values(at, z)
            use = _reliable(here)
            size = np.max(np.abs(here.gradient), axis=1, keepdims=True)
            size = np.where(use[:, None], size, 1.0)
            fields = here.gradient / size
            step = 1e-5 * np.linalg.norm(theta) / np.sqrt(self.d)
            other = jax.tree.map(lambda a: np.roll(a, 1, axis=0), z)
            brackets = self._change(at, z, np.roll(fields, 1, axis=0), step) / size
            brackets = brackets - self._change(at, other, fields, step) / np.roll(size, 1, axis=0)
            keep = use & np.roll(use, 1) & np.all(np.isfinite(brackets), axis=1)
            rows = np.concatenate([fields[use], brackets[keep]])
            values = np.linalg.svd(rows, compute_uv=False) if len(rows) else np.zeros(1)
            out.append(int(np.sum(values > 1e-4 * max(values[0], 1e-300))))
        return out

    def _change(self, at: np.ndarray, z: Any, along: np.ndarray, step: float) -> np.ndarray:
        """Return the derivative of the gradient along directions, by central differences."""
        along = np.where(np.isfinite(along), along, 0.0)
        ahead, behind = (self.values(at + s * step * along, z).gradient for s in (1, -1))
        with np.errstate(all="ignore"):
            return (ahead - behind) / (2 * step)


def _moved(linear: np.ndarray, shift: np.ndarray, which: np.ndarray, theta: Any) -> np.ndarray:
    return np.einsum("nij,nj->ni", linear[which], theta) + shift[which]


def _differ(before: Values, after: Values) -> tuple[np.ndarray, np.ndarray]:
    """Return where two losses certainly differ, and where they certainly agree."""
    with np.errstate(all="ignore"):
        gap = np.abs(after.loss - before.loss)
        slack = _ROUNDING * (before.loss_error + after.loss_error)
        tolerance = _RELATIVE * (np.abs(before.loss) + np.abs(after.loss)) + slack
        # Where single precision is lost altogether its error no longer measures anything.
        largest = np.maximum(np.abs(before.loss), np.abs(after.loss))
        sound = before.loss_error + after.loss_error <= _LOST * largest
        bad = sound & np.isfinite(gap) & (gap > tolerance) & (gap > before.floor + after.floor)
        good = sound & np.isfinite(gap) & (gap <= tolerance)
    return bad, good


def _along(at: Values, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(all="ignore"):
        slope = np.abs(np.sum(at.gradient * direction, axis=1))
        scale = np.sum(np.abs(at.gradient * direction), axis=1)
        slack = _ROUNDING * np.sum(at.gradient_error * np.abs(direction), axis=1)
        tolerance = _RELATIVE * scale + slack
        sound = np.sum(at.gradient_error * np.abs(direction), axis=1) <= _LOST * scale
        bad = sound & np.isfinite(slope) & (slope > tolerance) & (slope > at.floor)
        good = sound & np.isfinite(slope) & (slope <= tolerance)
    return bad, good


def _reliable(at: Values) -> np.ndarray:
    with np.errstate(all="ignore"):
        size = np.max(np.abs(at.gradient), axis=1)
        error = np.max(at.gradient_error, axis=1)
        return np.isfinite(size) & (size > 1e-150) & (error <= 1e-3 * size)


def _unless(doubts: int, decided: int, what: str) -> Answer:
    if doubts or decided < _FEWEST:
        return Answer(
            UNDECIDED, f"{doubts} of {decided} {what} speak against it, but digits are lost"
        )
    return Answer(AGREES, f"{decided} {what}")


def _worst(answers: list[Answer]) -> Answer:
    return min(answers, key=lambda a: [FALSE, UNDECIDED, AGREES].index(a.outcome))


def _show(theta: np.ndarray, z: Any) -> str:
    first = jax.tree.map(lambda a: np.asarray(a[0]).tolist(), z)
    return f"theta = {theta.tolist()}, z = {first}"
