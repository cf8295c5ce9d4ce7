"""The population loss as a JAX function of the parameters: exact moments, all rows, or a pool."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.data import Empirical
from symtheory.domains import Polynomials, Ring, Symbols
from symtheory.errors import BudgetError, UnreadableError
from symtheory.model import Model
from symtheory.program import Deadline, read_function
from symtheory.readable import require_readable
from symtheory.symmetry import exact_arguments
from symtheory.theory._lower import lower
from symtheory.theory._moments import Moments

_EXACT_LIMIT = 64
_ROWS_AT_ONCE = 1024
BLOCKS = 16
"""Parts of a pool of samples whose spread gives the error of what is averaged over it."""


@dataclasses.dataclass(frozen=True, eq=False)
class PopulationLoss:
    """L = E l as a function of the parameters.

    Attributes:
        mean: params -> L, a JAX function.
        part: (params, k) -> the mean over the k-th of `BLOCKS` parts of a pool of samples; None
            where `mean` is exact.
    """

    mean: Callable[[Any], Any]
    part: Callable[[Any, Any], Any] | None = None

    @property
    def is_exact(self) -> bool:
        """Whether it is the average over the law itself, and not over samples drawn from it."""
        return self.part is None


def population_loss(
    model: Model, *, samples: int, seed: int, seconds: float | None
) -> PopulationLoss:
    """Return the population loss of a model.

    It is exact where the loss is polynomial in the sample and has at most 64 parameters, and over a
    data set, whose rows are averaged; otherwise it is the mean over a fixed pool of samples.

    Args:
        model: A bound model.
        samples: Size of the pool.
        seed: Its seed.
        seconds: Time limit for the exact moments.

    Raises:
        InputError: Something of the model is not bound.
    """
    require_readable(model.require_bound())
    if not model.laws:  # nothing is random
        return PopulationLoss(lambda params: model.evaluate(params, {}))
    rows = _all_rows(model)
    if rows is not None:
        return PopulationLoss(lambda params: _average(model, params, rows))
    if model.dimension <= _EXACT_LIMIT:
        try:
            return PopulationLoss(_by_moments(model, Deadline(seconds)))
        except (UnreadableError, BudgetError):
            pass
    count = max(samples // BLOCKS, 1) * BLOCKS
    with jax.enable_x64(True):
        pool = jax.tree.map(np.asarray, model.sample(jax.random.key(seed), (count,), jnp.float64))
    blocks = jax.tree.map(lambda x: x.reshape(BLOCKS, count // BLOCKS, *x.shape[1:]), pool)

    def part(params: Any, k: Any) -> Any:
        chosen = jax.tree.map(lambda x: jnp.asarray(x)[k], blocks)
        return jnp.mean(jax.vmap(model.evaluate, (None, 0))(params, chosen))

    return PopulationLoss(lambda params: _average(model, params, pool), part)


def _all_rows(model: Model) -> Any:
    """Return the rows of the data set that is the whole sample, None for any other law."""
    if len(model.laws) != 1:
        return None
    [(name, law)] = model.laws.items()
    if not isinstance(law, Empirical):
        return None
    columns = {key: np.asarray(values, dtype=float) for key, values in law.columns.items()}
    return {name: columns} if name else columns


def _average(model: Model, params: Any, rows: Any) -> Any:
    """Return the mean over rows, a limited number of them at once."""
    one = lambda row: model.evaluate(params, row)
    values = jax.lax.map(one, jax.tree.map(jnp.asarray, rows), batch_size=_ROWS_AT_ONCE)
    return jnp.mean(values)


def _by_moments(model: Model, deadline: Deadline) -> Callable[[Any], Any]:
    symbols = Symbols(Ring(deadline=deadline))
    domain = Polynomials(symbols.ring)
    loss = read_function(
        lambda p, z, c: model.evaluate(p, z, c),
        model.structure(),
        domain,
        exact_arguments(model, None, symbols),
        deadline,
    )
    element = symbols.ring.coerce(np.asarray(loss).item())
    run = lower([Moments(model, symbols).expect(element)], symbols)
    names = list(model.leaves)

    def mean(params: Any) -> Any:
        leaves = zip(names, jax.tree.leaves(params), strict=True)
        return run({("param", name): leaf for name, leaf in leaves})[0]

    return mean
