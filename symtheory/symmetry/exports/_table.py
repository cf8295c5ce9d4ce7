"""The parameter table: what multiplying each parameter by a positive number does to the loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.program import Deadline
from symtheory.symmetry._loss import Loss, loss_of
from symtheory.symmetry.exports._approximate import Approximate, approximate_symmetries
from symtheory.symmetry.exports._constants import SmallConstant
from symtheory.symmetry.exports._explanation import escaped
from symtheory.symmetry.exports._scaling import Scaling, scalings
from symtheory.symmetry.inference import infer_traced
from symtheory.verdict import (
    QUICKLY,
    Claims,
    Derivation,
    Flows,
    Outcome,
    Status,
    Subject,
    Verdict,
    jsonable,
    prove_each,
    sparse_action,
)

KINDS = ("invariant", "homogeneous", "neither")
_LARGEST = 200_000
"""Parameters up to which the rows are evaluated on the user's function."""
_POINTS = 48
_FACTOR = 2.0
_CLEAR, _MOST = 1e-9, 1e12


@dataclasses.dataclass(frozen=True)
class ParameterRow:
    """What multiplying one parameter by c > 0 does to the loss, all else fixed.

    Attributes:
        name: Its dotted name.
        shape: Its shape.
        kind: "invariant" (nothing), "homogeneous" (the loss is multiplied by c^degree), or
            "neither" (anything else, and what is not proved).
        degree: The degree; 0 if invariant, None if neither.
        slices: Sets of axes: every slice at fixed indices along them may have its own factor, and
            the loss stays the same (the channels of a normalized convolution).
        has_influence: Whether the loss depends on it.
        verdict: That it is of this kind. For "neither": `supported` with two points at which the
            loss scales differently; `inconclusive` if none were found.
        constants: For "neither": the small constants without which the loss would be of the kind
            `without_constants`, if `ignore_below` was given.
        without_constants: That kind, with its degree; empty if there is none.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    degree: Fraction | None
    slices: tuple[tuple[int, ...], ...]
    has_influence: bool
    verdict: Verdict
    constants: tuple[SmallConstant, ...] = ()
    without_constants: str = ""

    @property
    def text(self) -> str:
        """The kind in words."""
        if not self.has_influence:
            return "invariant (no influence)"
        if self.kind == "homogeneous":
            return f"homogeneous of degree {self.degree}"
        return self.kind

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON-ready data."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "kind": self.kind,
            "degree": None if self.degree is None else str(self.degree),
            "slices": [list(axes) for axes in self.slices],
            "has_influence": self.has_influence,
            "status": str(self.verdict.status),
            "how": self.verdict.how,
            "witness": jsonable(self.verdict.witness),
            "constants": [constant.to_json() for constant in self.constants],
            "without_constants": self.without_constants,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class ParameterTable:
    """A row for every parameter, and the rows as groups for optimizers.

    Attributes:
        rows: The rows, in the order of the flattened parameters.
        tree: The structure of the parameters.
    """

    rows: tuple[ParameterRow, ...]
    tree: Any = dataclasses.field(repr=False)

    def __getitem__(self, name: str) -> ParameterRow:
        for row in self.rows:
            if row.name == name:
                return row
        known = ", ".join(repr(row.name) for row in self.rows)
        raise InputError(f"there is no parameter {name!r}; the parameters are {known}")

    @property
    def verdict(self) -> Verdict:
        """Whether every row that says more than "neither" is proved."""
        worst = [row.verdict for row in self.rows if row.kind != "neither"]
        return max(
            (verdict for verdict in worst), key=lambda v: v.status != Status.PROVED,
            default=self.rows[0].verdict,
        )  # fmt: skip

    def labels(self) -> Any:
        """Return the kinds as a pytree like the parameters, for `optax.multi_transform`."""
        return jax.tree.unflatten(self.tree, [row.kind for row in self.rows])

    def mask(self, *kinds: str) -> Any:
        """Return whether each parameter is of some kinds, as a pytree of booleans.

        Args:
            *kinds: Any of "invariant", "homogeneous", "neither".

        Raises:
            InputError: There is no such kind.
        """
        _check_kinds(kinds)
        return jax.tree.unflatten(self.tree, [row.kind in kinds for row in self.rows])

    def torch_groups(self, **options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return parameter groups as PyTorch's optimizers take them, with names for the tensors.

        Replace the names: `[{**g, "params": [named[n] for n in g["params"]]} for g in groups]`,
        where `named = dict(module.named_parameters())`. Groups without parameters are left out.

        Args:
            **options: Options of each kind, such as `invariant={"weight_decay": 0.0}`.

        Raises:
            InputError: There is no such kind.
        """
        _check_kinds(options)
        groups = []
        for kind in KINDS:
            names = [row.name for row in self.rows if row.kind == kind]
            if names:
                groups.append({"name": kind, "params": names, **options.get(kind, {})})
        return groups

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rows as JSON-ready data."""
        return [row.to_json() for row in self.rows]

    def latex(self) -> str:
        """Return the table as a LaTeX tabular."""
        lines = [r"\begin{tabular}{llll}", r"parameter & shape & scale & status \\ \hline"]
        for row in self.rows:
            name = escaped(row.name or "theta")
            shape = r" \times ".join(map(str, row.shape)) or "1"
            kind = f"homogeneous, degree ${row.degree}$" if row.kind == "homogeneous" else row.text
            lines.append(rf"\texttt{{{name}}} & ${shape}$ & {kind} & {row.verdict.status} \\")
        return "\n".join([*lines, r"\end{tabular}"])

    def __str__(self) -> str:
        width = max(len(row.name or "theta") for row in self.rows)
        lines = []
        for row in self.rows:
            line = f"{row.name or 'theta':<{width}}  {row.text}: {row.verdict.status}"
            if row.slices and row.has_influence:
                axes = " or ".join(",".join(map(str, axes)) for axes in row.slices)
                line += f"; each slice along axis {axes} by itself"
            if row.without_constants:
                against = "; ".join(dict.fromkeys(map(str, row.constants)))
                line += f"; {row.without_constants} without {against}"
            lines.append(line)
        return "\n".join(lines)


def parameter_table(
    model: Model, *, ignore_below: float | None = None, seconds: float | None = None, seed: int = 0
) -> ParameterTable:
    """Tell for every parameter what multiplying it by a positive number does to the loss.

    For parameter W the loss l is invariant if l(c W, ...) = l(W, ...), homogeneous of degree k if
    l(c W, ...) = c^k l(W, ...), for all c > 0, all parameters and all samples; or neither. Weight
    decay on an invariant parameter changes nothing but its effective step size, which goes with
    1 / |W|^2; grad l . W = k l for a homogeneous one (Euler).

    The degrees come from the program, exactly, and are evaluated once more on the user's own
    function. A parameter that is invariant but for a small constant is `neither`.

    Args:
        model: A model with all sizes bound.
        ignore_below: Also tell what the rows would be if small constants under roots and in
            denominators, up to this size, were 0. These are listed apart and change no kind.
        seconds: Time limit.
        seed: Seed of the points at which rows are evaluated.

    Raises:
        InputError: A size is not bound, or `ignore_below` is no small positive number.
        UnreadableError: The loss cannot be lowered; says where.
        BudgetError: The time limit was reached.

    Source: arXiv 1706.05350 (weight decay of normalized weights), arXiv 2402.07193, section 2.

    >>> from symtheory.data import Normal
    >>> import jax.numpy as jnp
    >>> model = Model(lambda p, z: (p["a"] @ z["x"] * p["w"][0] / jnp.linalg.norm(p["w"])) ** 2,
    ...               {"a": (3,), "w": (2,)}, random={"x": Normal(3)})
    >>> table = parameter_table(model)
    >>> [(row.name, row.text, str(row.verdict.status)) for row in table.rows]
    [('a', 'homogeneous of degree 2', 'proved'), ('w', 'invariant', 'proved')]
    >>> table.mask("invariant")
    {'a': False, 'w': True}
    >>> table.torch_groups(invariant={"weight_decay": 0.0})[0]
    {'name': 'invariant', 'params': ['w'], 'weight_decay': 0.0}
    """
    deadline = Deadline(seconds)
    loss = loss_of(model)
    inferred = infer_traced(loss.closed, loss.inputs[0], deadline, loss.program)
    found = scalings(loss, inferred, loss.program, deadline)
    relaxed = None
    if ignore_below is not None:
        relaxed = approximate_symmetries(model, ignore_below, seed=seed, deadline=deadline)
    extra = _relaxed(loss, found, relaxed, deadline)
    verdicts = _verdicts(model, loss, found, seed, deadline)
    rows = []
    for (name, shape), scaling, verdict, (text, constants) in zip(
        model.leaves.items(), found, verdicts, extra, strict=True
    ):
        degree = scaling.degree if verdict.status != Status.REFUTED else None
        kind = KINDS[2] if degree is None else KINDS[1] if degree else KINDS[0]
        sizes = tuple(int(n) for n in shape)
        slices = scaling.slices if kind == KINDS[0] else ()
        rows.append(
            ParameterRow(name, sizes, kind, degree, slices, scaling.has_influence, verdict,
                         constants, text)
        )  # fmt: skip
    return ParameterTable(tuple(rows), jax.tree.structure(loss.inputs[0]))


def _relaxed(
    loss: Loss, found: Sequence[Scaling], relaxed: Approximate | None, deadline: Deadline
) -> list[tuple[str, tuple[SmallConstant, ...]]]:
    """Return what the parameters that are neither would be without small constants."""
    out: list[tuple[str, tuple[SmallConstant, ...]]] = [("", ())] * len(found)
    if relaxed is None or not relaxed.constants:
        return out
    without = scalings(loss, relaxed.inferred, relaxed.program, deadline)
    for k, (scaling, other) in enumerate(zip(found, without, strict=True)):
        if scaling.degree is None and other.degree is not None:
            text = f"homogeneous of degree {other.degree}" if other.degree else "invariant"
            path = relaxed.inferred.leaves[k].path
            blamed = [f.constants for f in relaxed.families if _moves_alone(f.family, path)]
            out[k] = (text, blamed[0] if blamed else relaxed.constants)
    return out


def _moves_alone(family: Any, path: Any) -> bool:
    rates = getattr(family, "rates", ())
    return bool(rates) and not family.along and {t.leaf for t, _ in rates} == {path}


# --- verdicts ----------------------------------------------------------------------------------


def _verdicts(
    model: Model, loss: Loss, found: Sequence[Scaling], seed: int, deadline: Deadline
) -> list[Verdict]:
    names = [name or "theta" for name in model.leaves]
    claims = []
    for name, scaling in zip(names, found, strict=True):
        if scaling.degree is None:
            claims.append(f"the loss is neither invariant under the scale of {name} nor "
                          "homogeneous in it")  # fmt: skip
        elif scaling.degree:
            claims.append(f"the loss is homogeneous of degree {scaling.degree} in {name}")
        else:
            claims.append(f"the loss is invariant under the scale of {name}")
    known = [k for k, scaling in enumerate(found) if scaling.degree is not None]
    subject = _with_factor(model)
    out: list[Verdict | None] = [None] * len(found)
    if loss.redefines_derivatives:
        how = "the value is, but the loss stops or redefines gradients; only its values are told"
        for k in known:
            out[k] = Verdict(Status.SUPPORTED, claims[k], how=f"{found[k].how}; {how}")
    elif known:
        certificates = [Derivation(found[k].how) for k in known]
        degrees = tuple((k, found[k].degree or Fraction(0)) for k in known)
        recheck = _Degrees(model, subject, degrees, seed)
        proofs = prove_each([claims[k] for k in known], certificates, recheck)
        for k, verdict in zip(known, proofs, strict=True):
            out[k] = verdict
    rest = [k for k, verdict in enumerate(out) if verdict is None]
    deadline.check()
    for k, verdict in zip(
        rest, _refuted(model, rest, [claims[k] for k in rest], seed), strict=True
    ):
        out[k] = verdict
    return [verdict for verdict in out if verdict is not None]


@dataclasses.dataclass(frozen=True, eq=False)
class _Degrees(Claims):
    """l(c W) = c^k l(W), and grad l . W = k l, for each of some parameters and their degrees.

    It is evaluated as the invariance of s l under W -> c W, s -> c^-k s, with a further factor s.
    """

    model: Model
    subject: Subject
    degrees: tuple[tuple[int, Fraction], ...]
    seed: int

    def test_each(self) -> list[Outcome]:
        """Evaluate the claims at the same points."""
        if self.model.dimension > _LARGEST:
            why = f"{self.model.dimension} parameters are too many to be evaluated here"
            return [Outcome(True, why, rechecked=False)] * len(self.degrees)
        subject = self.subject
        ends = np.cumsum([0, *subject.sizes])
        actions = []
        for leaf, degree in self.degrees:
            entries = range(int(ends[leaf]), int(ends[leaf + 1]))
            matrix = {(i, i): Fraction(1) for i in entries}
            last = subject.dimension - 1
            actions.append(sparse_action(subject.dimension, {**matrix, (last, last): -degree}))
        return Flows(subject, actions, self.seed).test_each()


def _with_factor(model: Model) -> Subject:
    """Return s l(theta) as a function of (theta, s)."""
    base = Subject.of(model)
    params, _, _ = model.structure()
    factor = jax.ShapeDtypeStruct((), np.dtype(float))
    known = {n: v for n, v in model.values.items() if n in model.constants}
    loss = lambda p, z, c: p[1] * model.evaluate(p[0], z, {**known, **c})
    return Subject(loss, (params, factor), lambda rng, n: base.data(rng, n), rows=base.rows,
                   name=model.name)  # fmt: skip


def _refuted(
    model: Model, leaves: Sequence[int], claims: Sequence[str], seed: int
) -> list[Verdict]:
    """Look for two points at which the loss scales differently, for each of some parameters."""
    unproved = "no rule proves it invariant or homogeneous"
    if not leaves:
        return []
    if model.dimension > _LARGEST:
        how = f"{unproved}; {model.dimension} parameters are too many to be evaluated here"
        return [Verdict(Status.INCONCLUSIVE, claim, how=how) for claim in claims]
    subject, rng = Subject.of(model), np.random.default_rng(seed)
    points, data = subject.points(_POINTS, rng), subject.data(rng, _POINTS)
    ends = np.cumsum([0, *subject.sizes])
    known = {n: v for n, v in model.values.items() if n in model.constants}
    value = lambda flat, z, c: model.evaluate(subject.pack(flat), z, {**known, **c})
    with jax.enable_x64(True):  # of gradients nothing is needed here
        evaluate = jax.jit(jax.vmap(value), compiler_options=QUICKLY)
        before = np.asarray(evaluate(jax.numpy.asarray(points), *data))
        out = []
        for leaf, claim in zip(leaves, claims, strict=True):
            moved = points.copy()
            moved[:, ends[leaf] : ends[leaf + 1]] *= _FACTOR
            after = np.asarray(evaluate(jax.numpy.asarray(moved), *data))
            witness, how = _differing(subject, points, data, before, after)
            status = Status.INCONCLUSIVE if witness is None else Status.SUPPORTED
            how = how or f"{unproved}, but none of {_POINTS} points shows it to be neither"
            out.append(Verdict(status, claim, how=how, witness=witness))
    return out


def _differing(
    subject: Subject, points: np.ndarray, data: Any, before: np.ndarray, after: np.ndarray
) -> tuple[dict[str, Any] | None, str]:
    """Return two points at which the ratio of the loss differs, and that in words, if any do."""
    with np.errstate(all="ignore"):
        ratios = after / before
    good = np.flatnonzero(np.isfinite(ratios) & (before != 0) & (np.abs(ratios) < _MOST))
    if not len(good):
        return None, ""
    low, high = good[np.argmin(ratios[good])], good[np.argmax(ratios[good])]
    pair = [float(ratios[low]), float(ratios[high])]
    if pair[1] - pair[0] <= _CLEAR * max(map(abs, pair)):
        return None, ""
    witness = {
        "factor": _FACTOR,
        "loss is multiplied by": pair,
        "points": [subject.witness(points[k], data, int(k)) for k in (low, high)],
    }
    return witness, (
        f"multiplied by {_FACTOR:g}, it multiplies the loss by {pair[0]:.6g} at one point and by "
        f"{pair[1]:.6g} at another"
    )


def _check_kinds(kinds: Any) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}")
