"""Random small losses, each written as the source text of an ordinary JAX function.

`case(seed)` is reproducible: the same integer gives the same text, data laws and candidates. Most
losses are built around a planted symmetry, written in one of many spellings; a good part of them
then gets a term that breaks it, everywhere or only far from the origin.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import random
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from tests.fuzz import spellings

LARGEST = 8
"""Most parameters a loss may have."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A generator theta -> A theta + b, or a reflection along `matrix` = P, that may be true."""

    name: str
    matrix: np.ndarray
    shift: np.ndarray
    reflects: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One loss with its data and what to ask about it.

    Attributes:
        source: Text that defines `loss`, `params` and `random`.
        laws: (kind, arguments) by name; a bare `Empirical` has the empty name.
        stops: Whether a derivative is stopped, so that JAX's gradient is not the loss's.
        tags: What went into it.
    """

    seed: int
    source: str
    loss: Callable[..., Any]
    unstopped: Callable[..., Any]
    model: st.Model
    laws: dict[str, tuple[str, Any]]
    candidates: list[Candidate]
    stops: bool
    tags: tuple[str, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return dict(sorted(self.model.params.items()))

    @property
    def dimension(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes.values())

    def unflatten(self, flat: Any) -> Any:
        """Return the last axis of `flat` as a dictionary of parameters."""
        out, start = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            out[name] = flat[..., start : start + size].reshape((*flat.shape[:-1], *shape))
            start += size
        return out

    def symmetry(self, candidate: Candidate) -> st.Exponential | st.Reflection:
        """Return a candidate as what `st.verify` takes."""
        if candidate.reflects:
            return st.Reflection(candidate.matrix, name=candidate.name)
        kind = st.Affine if np.any(candidate.shift) else st.Exponential

        def action(p: Any) -> Any:
            flat = jnp.concatenate([jnp.reshape(p[name], -1) for name in self.shapes])
            out = jnp.asarray(candidate.matrix) @ flat
            return self.unflatten(out + candidate.shift if np.any(candidate.shift) else out)

        return kind(action, name=candidate.name)


class Draft:
    """A loss while it is being written."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.lines: list[str] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.laws: dict[str, tuple[str, Any]] = {}
        self.columns: dict[str, tuple[int, ...]] = {}
        self.planted: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self.mirrors: list[tuple[str, dict[str, Any]]] = []
        self.tags: list[str] = []

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, *options: Any) -> Any:
        return self.rng.choice(options)

    def param(self, name: str, *shape: int) -> str:
        self.shapes[name] = tuple(shape)
        return f'p["{name}"]'

    @property
    def left(self) -> int:
        return LARGEST - sum(math.prod(shape) for shape in self.shapes.values())

    def sample(self, name: str, *shape: int) -> str:
        self.columns[name] = tuple(shape)
        return name

    def line(self, text: str) -> None:
        self.lines.append(text)

    def plant(self, name: str, matrix: dict[str, Any], shift: dict[str, Any] | None = None) -> None:
        """Plant theta -> A theta + b: diagonal rates by leaf, and shifts by leaf."""
        self.planted.append((name, matrix, shift or {}))

    def moved(self, text: str, size: int) -> str:
        """Return a vector of length `size` in a spelling that only moves entries."""
        if self.chance(0.6) or not size:
            return text
        self.tags.append("moved")
        return spellings.moved(self.rng, text, size)

    def function(self) -> spellings.Function:
        found = spellings.function(self.rng)
        self.tags.append(found.name)
        return found


def case(seed: int) -> Case:
    """Return the loss of a seed."""
    from tests.fuzz import cores

    draft = Draft(seed)
    core = draft.rng.choice(cores.CORES)
    draft.tags.append(core.__name__)
    value = core(draft)
    value = cores.twist(draft, value)
    body = "\n".join(f"    {line}" for line in [*_unpack(draft), *draft.lines])
    text = f"def loss(p, z):\n{body}\n    return {value}\n"
    text += f"params = {draft.shapes}\n"
    text += f"random = {_laws_text(draft)}\n"
    space = _executed(text, jax.lax.stop_gradient)
    model = st.Model(space["loss"], space["params"], space["random"], name=f"loss {seed}")
    out = Case(
        seed, text, space["loss"], _executed(text, lambda x: x)["loss"], model, draft.laws, [],
        "stop(" in text, tuple(draft.tags),
    )  # fmt: skip
    return dataclasses.replace(out, candidates=_candidates(draft, out))


def _executed(text: str, stop: Callable[[Any], Any]) -> dict[str, Any]:
    space = {"jax": jax, "jnp": jnp, "np": np, "st": st, "stop": stop}
    exec(compile(text, "<fuzzed loss>", "exec"), space)
    return space


# --- data ----------------------------------------------------------------------------------------


def _unpack(draft: Draft) -> list[str]:
    """Choose the laws of the samples, and return the lines that take them apart."""
    rng, columns = draft.rng, draft.columns
    labels = [name for name in columns if name.startswith("label")]
    style = rng.random()
    lines = []
    if labels or style < 0.25:
        own = [n for n in columns if n not in labels and n != "y"] if rng.random() < 0.5 else []
        held = {n: s for n, s in columns.items() if n not in own}
        data = _rows(rng, held, labels)
        if not own and rng.random() < 0.7:
            draft.laws[""] = ("empirical", data)
            lines += [f'{n} = z["{n}"]' for n in held]
        else:
            draft.laws["data"] = ("empirical", data)
            lines += [f'{n} = z["data"]["{n}"]' for n in held]
    else:
        own = list(columns)
    for name in own:
        draft.laws[name] = _law(rng, columns[name])
        lines.append(f'{name} = z["{name}"]')
    return [f"{line}.astype(int)" if line.split(" ")[0] in labels else line for line in lines]


def _rows(rng: random.Random, shapes: dict[str, Any], labels: list[str]) -> dict[str, np.ndarray]:
    count = rng.choice([2, 3, 5, 8])
    out = {}
    grid = rng.choice([[-1.0, 0.0, 1.0, 2.0], [-2.5, -0.5, 0.25, 1.5, 3.0], [1.0, 2.0, 0.5]])
    for name, shape in shapes.items():
        if name in labels:
            out[name] = np.array([float(rng.randrange(int(name[5:]))) for _ in range(count)])
        else:
            size = math.prod(shape)
            values = [rng.choice(grid) for _ in range(count * size)]
            out[name] = np.array(values).reshape(count, *shape)
    return out


def _law(rng: random.Random, shape: tuple[int, ...]) -> tuple[str, Any]:
    size = math.prod(shape)
    kind = rng.choice(["normal"] * 5 + ["rademacher", "uniform", "uniform"])
    if kind == "rademacher":
        return "rademacher", (shape,)
    if kind == "uniform":
        return "uniform", (shape, *rng.choice([(-1.0, 1.0), (0.0, 1.0), (0.5, 2.0), (-3.0, 0.25)]))
    mean: Any = rng.choice([0, 0, 1.0, -0.5])
    if size > 1 and rng.random() < 0.3:
        mean = np.array([rng.choice([0.0, 1.0, -2.0]) for _ in range(size)]).reshape(shape)
    cov: Any = rng.choice([None, None, 0.25, 4.0])
    if size > 1 and rng.random() < 0.4:
        root = np.array([[rng.choice([0.0, 1.0, 2.0, -1.0]) for _ in range(size)] for _ in "ab"])
        cov = root.T @ root  # of rank 2 at most: singular for three entries, sometimes for two
    return "normal", (shape, mean, cov)


def _laws_text(draft: Draft) -> str:
    def text(kind: str, args: Any) -> str:
        show = lambda v: repr(v.tolist()) if isinstance(v, np.ndarray) else repr(v)
        if kind == "empirical":
            inner = ", ".join(f'"{n}": np.array({show(v)})' for n, v in args.items())
            return f"st.Empirical({{{inner}}})"
        if kind == "normal":
            return f"st.Normal({args[0]}, mean={show(args[1])}, cov={show(args[2])})"
        return f"st.{kind.capitalize()}({', '.join(map(show, args))})"

    if list(draft.laws) == [""]:
        return text(*draft.laws[""])
    return "{" + ", ".join(f'"{n}": {text(*law)}' for n, law in draft.laws.items()) + "}"


# --- candidates ----------------------------------------------------------------------------------


def _candidates(draft: Draft, case: Case) -> list[Candidate]:
    """Return what was planted, near misses of it, and natural guesses."""
    d, rng, out = case.dimension, draft.rng, []
    flat = lambda parts: _flat(case.shapes, parts)
    nothing = np.zeros(d)
    for name, rates, shift in draft.planted:
        matrix = rates["matrix"](case) if "matrix" in rates else np.diag(flat(rates))
        out.append(Candidate(name, matrix, flat(shift)))
        if np.count_nonzero(np.diag(matrix)) > 1 and rng.random() < 0.5:
            row = rng.choice(list(np.flatnonzero(np.diag(matrix))))
            near = matrix.copy()
            near[row, row] *= rng.choice([-1, 2, 0.5])
            out.append(Candidate(f"near {name}", near, nothing))
    for name, spec in draft.mirrors:
        move = spec["matrix"](case)
        out.append(Candidate(name, (np.eye(d) - move) / 2, nothing, reflects=True))
    guesses = [*_guesses(case.shapes, d, rng)]
    return out[:5] + rng.sample(guesses, min(3, len(guesses)))


def _guesses(shapes: dict[str, tuple[int, ...]], d: int, rng: random.Random) -> list[Candidate]:
    nothing, out = np.zeros(d), []
    ones = functools.partial(_flat, shapes)
    names = list(shapes)
    for a in names:
        out.append(Candidate(f"scale of {a}", np.diag(ones({a: 1.0})), nothing))
        out.append(Candidate(f"shift of {a}", np.zeros((d, d)), ones({a: 1.0})))
        flip = Candidate(f"flip of {a}", np.diag(ones({a: 1.0})), nothing, reflects=True)
        out.append(flip)
        for b in names:
            if a < b:
                against = np.diag(ones({a: 1.0, b: -1.0}))
                out.append(Candidate(f"{a} against {b}", against, nothing))
                both = np.diag(ones({a: 1.0, b: 1.0}))
                out.append(Candidate(f"flip of {a}, {b}", both, nothing, reflects=True))
    if d > 1:
        i, j = rng.sample(range(d), 2)
        turn = np.zeros((d, d))
        turn[i, j], turn[j, i] = 1.0, -1.0
        out.append(Candidate(f"rotation of {i}, {j}", turn, nothing))
        swap = np.eye(d)
        swap[[i, j]] = swap[[j, i]]
        out.append(Candidate(f"swap of {i}, {j}", (np.eye(d) - swap) / 2, nothing, reflects=True))
        out.append(Candidate("scale", np.eye(d), nothing))
        wild = np.array([[rng.choice([0, 0, 0, 1, -1]) for _ in range(d)] for _ in range(d)])
        out.append(Candidate("random", wild.astype(float), nothing))
    return [c for c in out if np.any(c.matrix) or np.any(c.shift)]


def _flat(shapes: dict[str, tuple[int, ...]], parts: dict[str, Any]) -> np.ndarray:
    """Return values by leaf (numbers or arrays) as one vector in the order of the parameters."""
    pieces = [np.broadcast_to(parts.get(n, 0.0), shape).ravel() for n, shape in shapes.items()]
    return np.concatenate(pieces).astype(float)
