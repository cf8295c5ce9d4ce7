"""What a claim is about: the user's own loss, evaluated with its gradient at many points at once.

Plain JAX in double precision, and in single precision where rounding has to be told from a
difference. Nothing here is shared with the domains that proofs are made in.
"""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from symtheory.verdict._first_order import looked_up, performed, sensitivity
from symtheory.verdict._sampling import parameter_points, rows_to_visit

_LANES = 64
_NUMBERS = 2**23
"""Numbers per call that parameters and gradients may take."""
QUICKLY: dict[str, str | bool | int] = {"xla_backend_optimization_level": 0}
"""Options of compilers: a small program is compiled for longer than it runs."""
_SMALL = 10_000
"""Parameters up to which compiling quickly matters more than running quickly."""
_MOST_ROWS = 2048
_LEAST_ROWS = 64

Draw = Callable[[np.random.Generator, int], tuple[Any, Any]]
"""(rng, count) -> (samples, constants), each with a leading axis of that length."""


class Subject:
    """A loss with the shapes of its parameters and a sampler of what else it reads.

    Args:
        loss: `loss(params, sample, constants)`, an ordinary JAX function with a scalar value.
        params: A pytree of arrays or `jax.ShapeDtypeStruct`s.
        draw: (rng, count) -> (samples, constants), pytrees with a leading axis of that length.
        rows: How many samples a draw should have to hold every row of the data.
        name: What it is called in a witness.

    >>> import jax.numpy as jnp
    >>> nothing = lambda rng, count: ({"y": rng.normal(size=count)}, {})
    >>> subject = Subject(lambda p, z, c: (p["u"] * p["w"] - z["y"]) ** 2,
    ...                   {"u": jnp.zeros(()), "w": jnp.zeros(())}, nothing)
    >>> subject.dimension, [x.shape for x in subject.at(np.ones((3, 2)))]
    (2, [(3,), (3, 2)])
    """

    def __init__(
        self, loss: Callable[[Any, Any, Any], Any], params: Any, draw: Draw, *, rows: int = 0,
        name: str = "loss",
    ) -> None:  # fmt: skip
        self._loss, self._draw, self.rows, self.name = loss, draw, rows, name
        leaves, self.tree = jax.tree.flatten(params)
        self.shapes = [tuple(leaf.shape) for leaf in leaves]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.dimension = sum(self.sizes)
        self.lanes = max(1, min(_LANES, _NUMBERS // max(self.dimension, 1)))
        self._compiled: dict[bool, Any] = {}
        self._largest: Any = None
        self._moved: Any = None

    @staticmethod
    def of(model: Any) -> Subject:
        """Return the loss of a model whose sizes are bound; compiled once per model."""
        if model not in _KNOWN:
            _KNOWN[model] = _of_model(model)
        return _KNOWN[model]

    def points(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return parameters of many kinds, flattened (count, d)."""
        return parameter_points(self.sizes, count, rng)

    def data(self, rng: np.random.Generator, count: int) -> Any:
        """Return what the loss reads besides, for that many points."""
        return self._draw(rng, count)

    def pack(self, flat: Any) -> Any:
        """Return flattened parameters (..., d) as a pytree of arrays (..., shape)."""
        ends = np.cumsum(self.sizes)[:-1]
        pieces = np.split(flat, ends, axis=-1) if isinstance(flat, np.ndarray) else (
            jax.numpy.split(flat, ends, axis=-1)
        )  # fmt: skip
        leaves = [x.reshape((*x.shape[:-1], *s)) for x, s in zip(pieces, self.shapes, strict=True)]
        return jax.tree.unflatten(self.tree, leaves)

    def at(
        self, points: np.ndarray, data: Any = None, *, double: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss (n,) and its gradient (n, d) at flattened parameters.

        Args:
            points: Parameters (n, d).
            data: What `data` returned for n points (drawn anew if omitted).
            double: Compute in double precision, else in single.
        """
        count = len(points)
        if data is None:
            data = self.data(np.random.default_rng(0), count)
        function = self._function(double)
        kind = np.float64 if double else np.float32
        values, slopes = np.empty(count), np.empty((count, self.dimension))
        with jax.enable_x64(double), np.errstate(all="ignore"):
            for places in _batches(count, self.lanes):
                take = lambda x, p=places: np.asarray(x)[p].astype(kind)
                value, slope = function(take(points), *jax.tree.map(take, data))
                values[places] = np.asarray(value, dtype=float)
                slopes[places] = np.asarray(slope, dtype=float)
        return values, slopes

    def values(self, points: np.ndarray, data: Any) -> np.ndarray:
        """Return the loss alone (n,) at flattened parameters, in double precision."""
        return self._at(self._value, points, data)

    def _at(self, function: Any, points: np.ndarray, data: Any) -> np.ndarray:
        """Return a compiled function of one number at all points, batch by batch."""
        out = np.empty(len(points))
        with jax.enable_x64(True), np.errstate(all="ignore"):
            for places in _batches(len(points), self.lanes):
                take = lambda x, p=places: np.asarray(x)[p].astype(float)
                out[places] = np.asarray(function(take(points), *jax.tree.map(take, data)))
        return out

    @functools.cached_property
    def _value(self) -> Any:
        return self._compile(self._flat)

    @functools.cached_property
    def precise(self) -> bool:
        """Whether everything is computed in double precision, as far as the program can be."""
        data = jax.tree.map(lambda x: x[0], self.data(np.random.default_rng(0), 1))
        with jax.enable_x64(True):
            jaxpr = jax.make_jaxpr(self._flat)(np.ones(self.dimension), *data)
        return not any(kind.itemsize < 8 for kind in _float_kinds(jaxpr.jaxpr))

    def magnitude(self, points: np.ndarray, data: Any) -> np.ndarray:
        """Return the largest number that computing the loss and its gradient meets, (n,).

        Where numbers of that size cancel, their rounding is left. Programs inside programs count
        by what goes in and out.
        """
        if self._largest is None:
            self._largest = self._compile(self._largest_intermediate)
        return self._at(self._largest, points, data)

    def sensitivity(self, points: np.ndarray, data: Any) -> np.ndarray:
        """Return by how much the loss moves for relative errors of all values on the way, (n,)."""
        if self._moved is None:
            self._moved = self._compile(sensitivity(self._flat))
        return self._at(self._moved, points, data)

    def _largest_intermediate(self, flat: Any, sample: Any, constants: Any) -> Any:
        function = jax.value_and_grad(self._flat)
        closed = jax.make_jaxpr(function)(flat, sample, constants)
        inputs = jax.tree.leaves((flat, sample, constants))
        values = dict(zip(closed.jaxpr.invars, inputs, strict=True))
        values |= dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
        largest = jax.numpy.zeros(())
        for equation in closed.jaxpr.eqns:
            given = [looked_up(x, values) for x in equation.invars]
            found = performed(equation, given)
            values |= dict(zip(equation.outvars, found, strict=True))
            for x in (*given, *found):
                if jax.numpy.issubdtype(jax.numpy.result_type(x), jax.numpy.floating):
                    size = jax.numpy.max(jax.numpy.abs(x), initial=0.0)
                    size = jax.numpy.where(jax.numpy.isfinite(size), size, 0.0)
                    largest = jax.numpy.maximum(largest, size)
        return largest

    def _flat(self, flat: Any, sample: Any, constants: Any) -> Any:
        return self._loss(self.pack(jax.numpy.asarray(flat)), sample, constants)

    def _function(self, double: bool) -> Any:
        if double not in self._compiled:
            self._compiled[double] = self._compile(jax.value_and_grad(self._flat))
        return self._compiled[double]

    def _compile(self, function: Callable[..., Any]) -> Any:
        quick = QUICKLY if self.dimension <= _SMALL else None
        return jax.jit(jax.vmap(function), compiler_options=quick)

    def witness(self, point: np.ndarray, data: Any, place: int) -> dict[str, Any]:
        """Return one point and its data, as far as they are short enough to be read."""
        sample, constants = jax.tree.map(lambda x: np.asarray(x)[place], data)
        out = {"params": _readable(self.pack(point)), "sample": _readable(sample)}
        return {**out, **({"constants": _readable(constants)} if constants else {})}


_KNOWN: weakref.WeakKeyDictionary[Any, Subject] = weakref.WeakKeyDictionary()


def _of_model(model: Any) -> Subject:
    params, _, structures = model.structure()
    known = {name: model.values[name] for name in model.constants if name in model.values}
    open_constants = {n: tuple(s.shape) for n, s in structures.items() if n not in known}
    evaluate = type(model).evaluate
    # The model itself must not be held, or it would never leave the table of known ones.
    held = weakref.ref(model)

    def loss(p: Any, z: Any, c: Any) -> Any:
        return evaluate(held(), p, z, {**known, **c})

    laws = dict(model.laws)
    rows = max((law.rows for law in laws.values() if hasattr(law, "columns")), default=0)
    most = max(_LEAST_ROWS, min(_MOST_ROWS, _NUMBERS // max(model.dimension, 1)))

    visits: dict[int, np.ndarray] = {}

    def draw(rng: np.random.Generator, count: int) -> tuple[Any, Any]:
        drawn = {name: _draws(law, rng, count, most, visits) for name, law in laws.items()}
        constants = {n: rng.normal(size=(count, *shape)) for n, shape in open_constants.items()}
        return (drawn[""] if list(drawn) == [""] else drawn), constants

    return Subject(loss, params, draw, rows=min(rows, most), name=model.name)


def samples(model: Any, rng: np.random.Generator, count: int) -> Any:
    """Return samples of the laws of a model with everything bound, in double precision."""
    drawn = {name: _draws(law, rng, count) for name, law in model.laws.items()}
    return drawn[""] if list(drawn) == [""] else drawn


def _draws(
    law: Any, rng: np.random.Generator, count: int, most: int = 0, visits: Any = None
) -> Any:
    """Draw from a law; with `most`, from its support: at many magnitudes where it has no bounds.

    Of a data set at most that many rows are drawn from then, chosen so as to differ.
    """
    if hasattr(law, "columns") and not most:
        chosen = rng.integers(0, law.rows, count)
        return {name: np.asarray(v, dtype=float)[chosen] for name, v in law.columns.items()}
    if hasattr(law, "columns"):
        columns = {name: np.asarray(v, dtype=float) for name, v in law.columns.items()}
        if id(law) not in visits:
            visits[id(law)] = rows_to_visit(list(columns.values()), most, rng)
        visited = visits[id(law)]
        chosen = np.resize(rng.permutation(visited), count)
        return {name: values[chosen] for name, values in columns.items()}
    shape = tuple(int(n) for n in law.shape)
    if not hasattr(law, "cov"):
        with jax.enable_x64(True):
            key = jax.random.key(int(rng.integers(2**31)))
            return np.asarray(law.sample(key, (count,), np.float64))
    size = math.prod(shape)
    if most and (law.cov is None or isinstance(law.cov, str)):
        # All of R^n, for some covariance at least.
        noise = parameter_points([size], count, rng)[rng.permutation(count)]
    else:
        cov = np.eye(size) if law.cov is None else np.asarray(law.cov, dtype=float)
        root = np.linalg.eigh(cov)
        root = root.eigenvectors * np.sqrt(np.clip(root.eigenvalues, 0, None))
        noise = rng.normal(size=(count, size)) @ root.T
        if most:
            noise *= np.where(
                rng.random((count, 1)) < 0.5, 1.0, 10 ** rng.uniform(-3, 3, (count, 1))
            )
    if most:  # and its middle, where a term without data stands alone
        noise[rng.random(count) < 0.1] = 0.0
    mean = 0.0 if isinstance(law.mean, str) else np.asarray(law.mean, dtype=float)
    out = noise.reshape(count, *shape) + mean
    return out.astype(np.float32).astype(float) if law.cov is None else out


def _batches(count: int, lanes: int) -> Iterator[np.ndarray]:
    """Yield places, always the same number of them so that one program serves all."""
    for start in range(0, count, lanes):
        yield np.minimum(np.arange(start, start + lanes), count - 1)


def _float_kinds(jaxpr: Jaxpr) -> Iterator[np.dtype]:
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            kind = getattr(variable.aval, "dtype", None)
            if kind is not None and jax.numpy.issubdtype(kind, jax.numpy.floating):
                yield np.dtype(kind)
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                body = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
                if isinstance(body, Jaxpr):
                    yield from _float_kinds(body)


def _readable(tree: Any) -> Any:
    def shown(array: Any) -> Any:
        array = np.asarray(array)
        return array.tolist() if array.size <= 1000 else f"{array.size} numbers"

    return jax.tree.map(shown, tree)
