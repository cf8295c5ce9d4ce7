"""Sharpness of any model: trace and largest eigenvalue of the Hessian, matrix-free."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.theory.curvature._population_loss import BLOCKS, population_loss

TRACE_LIMIT = 4096
"""Parameters up to which the trace is summed over all unit vectors."""
_FIRST_STEPS = 32
_MOST_STEPS = 512


@dataclasses.dataclass(frozen=True)
class Sharpness:
    """Curvature of a loss at a point.

    Attributes:
        largest: The largest eigenvalue of the Hessian.
        error: Residual of its Lanczos vector: an eigenvalue lies within this of `largest`.
        trace: Its trace, summed over all unit vectors; None above 4096 parameters.
        gradient_norm: |grad L|, 0 at a minimum.
        steps: Hessian-vector products that Lanczos took.
        exact_loss: Whether L is the exact average (by moments, or over all rows of a data set)
            rather than one over a pool of samples.
        trace_error: Standard error of `trace` where L is an average over a pool; 0 where exact.
    """

    largest: float
    error: float
    trace: float | None
    gradient_norm: float
    steps: int
    exact_loss: bool
    trace_error: float = 0.0

    @property
    def stable_learning_rate(self) -> float:
        """2/largest: gradient descent on the local quadratic diverges above it."""
        return 2 / self.largest if self.largest > 0 else float("inf")


def sharpness(
    loss: Model | Callable[[Any], Any],
    params: Any,
    *,
    tolerance: float = 1e-9,
    samples: int = 4096,
    seed: int = 0,
    seconds: float | None = 20.0,
) -> Sharpness:
    """Return trace and largest eigenvalue of the Hessian of the population loss.

    The Hessian is never formed: Hessian-vector products by forward over reverse differentiation,
    the trace exactly from one product per parameter, the largest eigenvalue by Lanczos with full
    reorthogonalization, extended until its residual is below `tolerance` (relative).

    Args:
        loss: A bound model, whose population loss is the average over all rows of a data set, or
            taken from exact moments where they are available (else from a pool of samples, with a
            standard error), or a JAX function params -> number. Compiled once for each object: pass
            the same one again rather than new lambdas.
        params: Where.
        tolerance: Relative residual of the eigenvalue.
        samples: Size of the pool.
        seed: Seed of the pool and of the first Lanczos vector.
        seconds: Time limit for the exact moments.

    Raises:
        InputError: The parameters do not fit, the loss is not a number, or its gradient there is
            not finite.

    Source: arXiv 2402.07193, section on sharpness.

    >>> import jax.numpy as jnp
    >>> found = sharpness(lambda p: p["a"] ** 2 + 3 * p["b"] ** 2, {"a": 1.0, "b": 0.0})
    >>> round(found.largest, 6), round(found.trace, 6), round(found.stable_learning_rate, 6)
    (6.0, 8.0, 0.333333)
    """
    if isinstance(loss, Model):
        loss.check_params(params)
    try:
        programs = _programs(loss, samples, seed, seconds)
    except TypeError:  # a callable that cannot be hashed is compiled each time
        programs = _programs.__wrapped__(loss, samples, seed, seconds)
    with jax.enable_x64(True):
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        if not isinstance(loss, Model):
            shape = getattr(jax.eval_shape(loss, start), "shape", None)
            if shape != ():
                raise InputError(f"the loss must return one number, but it returns shape {shape}")
        slope = np.asarray(programs.gradient(start))
        if not np.all(np.isfinite(slope)):
            raise InputError("the gradient is not finite at these parameters; start elsewhere")
        first = jax.random.normal(jax.random.key(seed), slope.shape, jnp.float64)
        largest, error, steps = _top_eigenvalue(
            lambda count: programs.lanczos(start, first, count), slope.size, tolerance
        )
        trace = float(programs.trace(start)) if slope.size <= TRACE_LIMIT else None
        spread = 0.0
        if programs.part_traces is not None and trace is not None:
            parts = np.asarray(programs.part_traces(start))
            spread = float(np.std(parts, ddof=1) / np.sqrt(len(parts)))
    norm = float(np.linalg.norm(slope))
    return Sharpness(largest, error, trace, norm, steps, programs.part_traces is None, spread)


@dataclasses.dataclass(frozen=True)
class _Programs:
    """What is compiled once per loss.

    Attributes:
        gradient: params -> flat gradient.
        lanczos: (params, first vector, steps) -> diagonal and off-diagonal of Lanczos' matrix.
        trace: params -> trace of the Hessian.
        part_traces: params -> traces over the parts of a pool of samples; None for an exact loss.
    """

    gradient: Callable[..., Any]
    lanczos: Callable[..., Any]
    trace: Callable[..., Any]
    part_traces: Callable[..., Any] | None


@functools.lru_cache(maxsize=32)
def _programs(
    loss: Model | Callable[[Any], Any], samples: int, seed: int, seconds: float | None
) -> _Programs:
    if isinstance(loss, Model):
        population = population_loss(loss, samples=samples, seed=seed, seconds=seconds)
        function, part = population.mean, population.part
    else:
        function, part = loss, None

    def gradient(params: Any) -> Any:
        return jax.flatten_util.ravel_pytree(jax.grad(function)(params))[0]

    def product(params: Any, vector: Any, f: Callable[[Any], Any] = function) -> Any:
        along = jax.flatten_util.ravel_pytree(params)[1](vector)
        return jax.flatten_util.ravel_pytree(jax.jvp(jax.grad(f), (params,), (along,))[1])[0]

    def trace(params: Any, f: Callable[[Any], Any] = function) -> Any:
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        entry = lambda k: product(params, jnp.zeros(size).at[k].set(1.0), f)[k]
        return jnp.sum(jax.lax.map(entry, jnp.arange(size), batch_size=64))

    def part_traces(params: Any) -> Any:
        assert part is not None
        one = part
        return jax.lax.map(lambda k: trace(params, lambda p: one(p, k)), jnp.arange(BLOCKS))

    def lanczos(params: Any, first: Any, steps: int) -> Any:
        return _lanczos(lambda vector: product(params, vector), first, steps)

    return _Programs(
        jax.jit(gradient), jax.jit(lanczos, static_argnums=2), jax.jit(trace),
        None if part is None else jax.jit(part_traces),
    )  # fmt: skip


def _top_eigenvalue(
    lanczos: Callable[[int], Any], size: int, tolerance: float
) -> tuple[float, float, int]:
    """Return the largest eigenvalue of a symmetric map, the residual, and the products taken."""
    steps = min(size, _FIRST_STEPS)
    while True:
        alpha, beta = map(np.asarray, lanczos(steps))
        # Once an invariant space is exhausted, what follows is rounding.
        scale = max(np.max(np.abs(alpha)), np.max(np.abs(beta)), 1e-300)
        ended = np.flatnonzero(beta <= 1e-13 * scale)
        count = int(ended[0]) + 1 if len(ended) else steps
        inner = np.diag(beta[: count - 1], 1)
        values, vectors = np.linalg.eigh(np.diag(alpha[:count]) + inner + inner.T)
        value, residual = float(values[-1]), float(abs(beta[count - 1] * vectors[-1, -1]))
        done = residual <= tolerance * max(abs(value), 1e-300)
        if done or steps >= min(size, _MOST_STEPS):
            return value, residual, steps
        steps = min(2 * steps, size, _MOST_STEPS)


def _lanczos(product: Callable[[Any], Any], first: Any, steps: int) -> tuple[Any, Any]:
    """Return the diagonal and the off-diagonal of the Lanczos matrix, fully reorthogonalized."""

    def step(k: Any, state: Any) -> Any:
        basis, alpha, beta = state
        image = product(basis[k])
        a = image @ basis[k]
        for _ in range(2):
            image = image - basis.T @ (basis @ image)
        b = jnp.linalg.norm(image)
        following = image / jnp.where(b > 0, b, 1.0)
        # The last vector is not needed any more; its row would lie outside.
        basis = basis.at[k + 1].set(following, mode="drop")
        return basis, alpha.at[k].set(a), beta.at[k].set(b)

    basis = jnp.zeros((steps, first.size)).at[0].set(first / jnp.linalg.norm(first))
    start = (basis, jnp.zeros(steps), jnp.zeros(steps))
    _, alpha, beta = jax.lax.fori_loop(0, steps, step, start)
    return alpha, beta
