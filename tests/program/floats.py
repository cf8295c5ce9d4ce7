"""A domain of floats in NumPy: evaluates a lowered program as it stands, to compare with JAX."""

import jax
import numpy as np
import scipy.special
from jax.extend.core import jaxpr_as_fun

from symtheory.domains import Domain, _movement
from symtheory.program._known import choose_known, select_known

FUNCTIONS = {
    "exp": np.exp, "exp2": np.exp2, "log": np.log, "tanh": np.tanh,
    "logistic": scipy.special.expit, "erf": scipy.special.erf, "erfc": scipy.special.erfc,
    "erf_inv": scipy.special.erfinv, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "cbrt": np.cbrt,
    "lgamma": scipy.special.gammaln, "digamma": scipy.special.digamma,
    "cospi": lambda x: np.cos(np.pi * x), "sinpi": lambda x: np.sin(np.pi * x), "abs": np.abs,
    "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.round,
    "pow": np.power, "atan2": np.arctan2, "is_finite": np.isfinite,
}  # fmt: skip


def by_jax(closed, arrays):
    """The results of a traced function, compiled as one program and not operation by operation."""
    with jax.enable_x64(True):
        return [np.asarray(x) for x in jax.jit(jaxpr_as_fun(closed))(*arrays)]


class Floats(Domain):
    name = "floats"

    def constant(self, value):
        return np.asarray(value, dtype=np.float64)

    def shape(self, value):
        return value.shape

    def transpose(self, x, permutation):
        return np.transpose(x, permutation)

    def reshape(self, x, shape):
        return np.reshape(x, shape)

    def broadcast(self, x, shape, axes):
        return _movement.broadcast(x, shape, axes)

    def take(self, x, places, axis, fill=None):
        return _movement.take(x, places, axis, fill)

    def pick(self, x, places, fill=None):
        return _movement.pick(x, places, fill)

    def concatenate(self, xs, axis):
        return np.concatenate(xs, axis)

    def choose(self, x, index, axis, batch, fill=None):
        return choose_known(x, index.astype(int), None if fill is None else fill[()],
                            axis=axis, batch=batch)  # fmt: skip

    def add(self, x, y):
        return x + y

    def mul(self, x, y):
        return x * y

    def scale(self, x, factor):
        return x * (factor.numerator / factor.denominator)

    def dot(self, x, y, batch, inner):
        b = list(range(batch))
        i = [100 + k for k in range(x.ndim - batch - inner)]
        j = [200 + k for k in range(y.ndim - batch - inner)]
        k = [300 + n for n in range(inner)]
        names = {n: chr(97 + m) for m, n in enumerate([*b, *i, *j, *k])}
        word = lambda labels: "".join(names[n] for n in labels)
        spec = f"{word([*b, *i, *k])},{word([*b, *j, *k])}->{word([*b, *i, *j])}"
        return np.einsum(spec, x, y)

    def sum(self, x, axes):
        return np.sum(x, axis=axes)

    def power(self, x, exponent):
        if exponent.denominator == 1:
            return np.asarray(x, dtype=float) ** float(exponent)
        return np.power(x, float(exponent))

    def apply(self, function, *xs):
        return FUNCTIONS[function](*xs)

    def extremum(self, x, y, largest):
        return np.maximum(x, y) if largest else np.minimum(x, y)

    def fold(self, x, kind, axes):
        function = {"max": np.max, "min": np.min, "product": np.prod}[kind]
        return function(x, axis=axes)

    def compare(self, kind, x, y):
        return {"gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal}[kind](
            x, y
        )

    def select(self, which, *cases):
        return select_known(np.asarray(which).astype(int), *cases)

    def sort(self, xs, axis, keys):
        moved = [np.moveaxis(x, axis, -1) for x in xs]
        order = np.lexsort(moved[:keys][::-1], axis=-1)
        return [np.moveaxis(np.take_along_axis(x, order, -1), -1, axis) for x in moved]

    def cast(self, x, kind):
        if kind == "integer":
            return np.trunc(x).astype(np.int64)
        return np.asarray(x, dtype=float)
