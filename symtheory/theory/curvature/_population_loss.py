"""The population loss as a JAX function of the parameters: exact moments, or a pool of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.errors import BudgetError, UnreadableError
from symtheory.model import Model
from symtheory.readings import Deadline, Polynomials, Ring, Symbols, read_function
from symtheory.symmetry import exact_arguments
from symtheory.theory._lower import lower
from symtheory.theory._moments import Moments

_EXACT_LIMIT = 64


def population_loss(
    model: Model, *, samples: int, seed: int, seconds: float | None
) -> tuple[Callable[[Any], Any], bool]:
    """Return L = E l as a function of the parameters, and whether it is exact.

    Exact where the loss is polynomial in the sample and has at most 64 parameters; otherwise the
    mean over a fixed pool of samples.

    Raises:
        InputError: Something of the model is not bound.
    """
    model.require_bound()
    if model.dimension <= _EXACT_LIMIT:
        try:
            return _exact(model, Deadline(seconds)), True
        except (UnreadableError, BudgetError):
            pass
    with jax.enable_x64(True):
        pool = jax.tree.map(np.asarray, model.sample(jax.random.key(seed), (samples,), jnp.float64))
    return lambda params: jnp.mean(jax.vmap(model.evaluate, (None, 0))(params, pool)), False


def _exact(model: Model, deadline: Deadline) -> Callable[[Any], Any]:
    symbols = Symbols(Ring(deadline=deadline))
    domain = Polynomials(symbols.ring)
    loss = read_function(
        lambda p, z, c: model.evaluate(p, z, c),
        model.structure(),
        domain,
        exact_arguments(model, None, symbols),
        deadline,
    )
    element = symbols.ring.coerce(np.asarray(domain.lift(loss)).item())
    run = lower([Moments(model, symbols).expect(element)], symbols)
    names = list(model.leaves)

    def mean(params: Any) -> Any:
        leaves = zip(names, jax.tree.leaves(params), strict=True)
        return run({("param", name): leaf for name, leaf in leaves})[0]

    return mean
