"""Whether the witness of a refutation is one: evaluate it in floats."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import jax
import numpy as np
import scipy.linalg

from tests.fuzz.losses import Candidate, Case
from tests.fuzz.oracle import AGREES, FALSE, UNDECIDED, Answer, Oracle

_KINDS = re.compile(r"derivative$|difference$|change under exp\((.* )?A\)$")


def judge(oracle: Oracle, candidate: Candidate, witness: Mapping[str, Any] | None) -> Answer:
    """Judge a refutation by its witness: the reported change is what floats give there."""
    if witness is None:
        return Answer(FALSE, "refuted without a witness")
    case = oracle.case
    numbers = lambda text: np.vectorize(lambda t: float(Fraction(t)), otypes=[float])(text)
    params, sample = (_tree(witness[key], numbers) for key in ("params", "sample"))
    theta = np.concatenate([np.ravel(params[name]) for name in case.shapes])
    outside = _outside(case, sample)
    if outside:
        return Answer(FALSE, f"the witness is not in the support: {outside}")
    sizes = jax.tree.map(lambda a: np.repeat(np.asarray(a)[None], 9, axis=0), sample)
    near = np.concatenate([theta[None], theta + 1e-6 * np.random.default_rng(0).normal(
        size=(8, len(theta))) * (1e-3 + np.abs(theta))])  # fmt: skip
    at = oracle.values(near, sizes)
    key = next((k for k in witness if _KINDS.match(k)), None)
    if key is None:
        return Answer(UNDECIDED, f"a witness of an unknown kind: {sorted(witness)}")
    reported = float(witness[key])
    if key == "derivative":
        along = near @ candidate.matrix.T + candidate.shift
        got = np.sum(at.gradient * along, axis=1)
        error = 2.0**-29 * np.sum(at.gradient_error * np.abs(along), axis=1)
        error = error + 1e-14 * np.sum(np.abs(at.gradient * along), axis=1)
        floor = at.floor[0]
        lost = np.sum(at.gradient_error * np.abs(along), axis=1)[0] > 0.03 * abs(reported)
    else:
        if key == "difference":
            mirror = np.eye(len(theta)) - 2 * candidate.matrix
            moved = near @ mirror.T
        else:
            whole = np.zeros((len(theta) + 1,) * 2)
            time = _time(key)
            whole[:-1, :-1], whole[:-1, -1] = time * candidate.matrix, time * candidate.shift
            image = scipy.linalg.expm(whole)
            moved = near @ image[:-1, :-1].T + image[:-1, -1]
        after = oracle.values(moved, sizes)
        got = after.loss - at.loss
        error = 2.0**-29 * (at.loss_error + after.loss_error)
        error = error + 1e-14 * (np.abs(at.loss) + np.abs(after.loss))
        floor = at.floor[0] + after.floor[0]
        lost = (at.loss_error + after.loss_error)[0] > 0.03 * abs(reported)
    if not np.isfinite(got[0]) or not np.isfinite(error[0]) or abs(reported) <= 1e3 * error[0]:
        return Answer(UNDECIDED, f"{key} {reported:.3g} reported, {got[0]:.3g} +- {error[0]:.1g}")
    if lost and abs(got[0] - reported) > 1e-6 * abs(reported):
        return Answer(UNDECIDED, f"{key} {reported:.3g} reported, which single precision loses")
    if max(abs(got[0]), abs(reported)) <= floor:
        return Answer(UNDECIDED, f"{key} {reported:.3g} reported, which floats do not see")
    if abs(got[0] - reported) > 1e-6 * abs(reported) + 1e3 * error[0]:
        return Answer(FALSE, f"{key} {reported:.9g} reported, but {got[0]:.9g} at {theta.tolist()}")
    if np.all(np.abs(got[1:]) <= 1e3 * error[1:]):
        return Answer(FALSE, f"the witness stands on a null set: {theta.tolist()}")
    return Answer(AGREES, "the witness holds in floats")


def _time(key: str) -> float:
    """Return t of "change under exp(t A)"; without a number the exponent was halved."""
    text = key[len("change under exp(") : -len("A)")].strip()
    return float(Fraction(text)) if text else 0.5


def _tree(node: Any, numbers: Any) -> Any:
    return {k: _tree(v, numbers) for k, v in node.items()} if isinstance(node, Mapping) else (
        numbers(node)
    )  # fmt: skip


def _outside(case: Case, sample: Any) -> str:
    """Return which entry of a sample its law never gives, or nothing."""
    parts = {"": sample} if list(case.laws) == [""] else sample
    for name, (kind, args) in case.laws.items():
        value = parts[name]
        if kind == "uniform" and not np.all((args[1] <= value) & (value <= args[2])):
            return f"{name} = {value}"
        if kind == "rademacher" and not np.all(np.abs(value) == 1):
            return f"{name} = {value}"
        if kind == "empirical":
            rows = len(next(iter(args.values())))
            fits = [all(np.allclose(args[c][i], value[c]) for c in args) for i in range(rows)]
            if not any(fits):
                return f"{name} = {value}"
    return ""
