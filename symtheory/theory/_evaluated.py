"""Laws as claims that are evaluated in floats, on the user's loss and samples of its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symtheory.data import Empirical
from symtheory.model import Model
from symtheory.symmetry import Exponential
from symtheory.verdict import (
    QUICKLY,
    Action,
    All,
    Arithmetic,
    Claim,
    Expectation,
    SizedIdentity,
    Subject,
    samples,
    traced_actions,
)

_SAMPLES = 4096


def drawn_values(model: Model, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return values for what a model with bound sizes leaves open."""
    given = [getattr(law, "cov", None) for law in model.laws.values()]
    covariances = {cov for cov in given if isinstance(cov, str)}
    out = {}
    for name, shape in model.unbound.items():
        size = tuple(int(n) for n in shape or ())
        array = rng.normal(size=size)
        if name in covariances:
            array = array @ array.T + np.eye(size[0]) if size else array**2 + 0.5
        out[name] = np.asarray(array)
    return out


def sampled_claim(
    model: Model, function: Callable[[Any, Any, Any], Any], value: Any, params: Any,
    values: Mapping[str, Any],
) -> Claim:  # fmt: skip
    """Return "E[function(params, z)] = value" at one point, over all rows or by sampling.

    Args:
        model: The model, with everything bound but `values`.
        function: A JAX function of the bound model, parameters and one sample.
        value: The expectation, or a function that returns it.
        params: The point.
        values: Values of what the model leaves open.
    """
    bound = model.bind(**values) if values else model
    of_sample = lambda z: function(bound, params, z)
    laws = bound.laws
    [(name, law), *others] = laws.items() or [("", None)]
    if not others and isinstance(law, Empirical):
        columns = {n: np.asarray(v, dtype=float) for n, v in law.columns.items()}
        return Expectation(of_sample, value, rows={name: columns} if name else columns)

    draw = lambda rng, count: samples(bound, rng, count)
    return Expectation(of_sample, value, draw, count=_SAMPLES)


def moments_claim(model: Model, symmetry: Exponential, layout: Any, noise: Any) -> Claim:
    """Return "E[g^T A g] = Tr[Sigma A] + grad L^T A grad L, and E[g] = grad L", at two points."""
    from symtheory.theory._noise import quadratic

    rng = np.random.default_rng(0)
    values = drawn_values(model, rng)
    structure, _, _ = model.structure()

    # Two points at once.
    params = jax.tree.map(lambda s: rng.normal(size=(2, *s.shape)), structure)

    def forms(bound: Model, p: Any, z: Any) -> Any:
        def at(point: Any) -> Any:
            gradient = jax.grad(bound.evaluate)(point, z)
            return quadratic(symmetry, layout, gradient), gradient

        return jax.vmap(at)(p)

    def told() -> Any:
        def at(point: Any) -> Any:
            form = noise.traces(point, values) + noise.gradient_terms(point, values)
            return form, noise.mean_gradient(point, values)

        return jax.jit(jax.vmap(at), compiler_options=QUICKLY)(params)

    return sampled_claim(model, forms, told, params, values)


def generator_actions(model: Model, symmetry: Exponential) -> list[Action]:
    """Return the generator in floats, for a generic member of its family."""
    rng = np.random.default_rng(1)
    member = {}
    for name, shape in symmetry.member_shapes(model).items():
        array = rng.normal(size=shape)
        symmetric = (symmetry.family or {})[name].symmetric
        member[name] = (array + array.T) / 2 if symmetric else array
    return traced_actions(Subject.of(model), symmetry.tangent, [member])


def quadratic_claims(action: Action) -> dict[str, Claim]:
    """Return the general steps of the charge law for one matrix A, to be evaluated."""
    rng = np.random.default_rng(2)
    d = len(action.shift)
    theta, other = rng.normal(size=(2, 8, d))
    form = lambda x, y: np.sum(x * action.linear(y), axis=1)
    a, eta = 0.7, 0.3
    moved = form(a * theta - eta * other, a * theta - eta * other)
    told = a * a * form(theta, theta) - 2 * a * eta * form(other, theta)
    told = told + eta * eta * form(other, other)
    size = np.abs(theta) @ np.ones(d) * np.linalg.norm(action.linear(theta), axis=1)
    up, down = form(theta + other, theta + other), form(theta - other, theta - other)
    return {
        "symmetric": Arithmetic(form(other, theta), form(theta, other), size),
        "step": Arithmetic(moved, told, size),
        "derivatives": Arithmetic((up - down) / 2, 2 * form(other, theta), size),
    }


def batch_claim() -> Claim:
    """Return E[g_B^T A g_B] = m^T A m + Tr[Sigma A]/S, over all batches of a few gradients."""
    rng = np.random.default_rng(3)
    gradients, matrix = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
    form = lambda g: np.einsum("...i,ij,...j", g, matrix, g)
    pairs = (gradients[:, None] + gradients[None]) / 2
    mean = gradients.mean(axis=0)
    trace = form(gradients - mean).mean()
    return Arithmetic(form(pairs).mean(), form(mean) + trace / 2)


def invariance_for_sizes(model: Model, symmetry: Exponential) -> Claim:
    """Return "grad l . A theta = 0" at several sizes, with A symmetric where C is its charge."""

    def residual(at: Any) -> Any:
        params, sample, constants, members = at
        loss = lambda p: model.evaluate(p, sample, constants)
        tangent = symmetry.tangent(params, members)
        along = jax.tree.map(lambda p, t: t + 0 * p, params, tangent)
        return jax.jvp(loss, (params,), (along,))[1]

    return SizedIdentity(residual, at_sizes(model, symmetry), size_names(model))


def step_for_sizes(model: Model, symmetry: Exponential) -> Claim:
    """Return "C(theta + g) = C(theta) + C(g) for the per-sample gradient g" at several sizes."""

    def residual(at: Any) -> Any:
        params, sample, constants, members = at
        gradient = jax.grad(lambda p: model.evaluate(p, sample, constants))(params)
        moved = jax.tree.map(lambda p, g: p + g, params, gradient)

        def charge(v: Any) -> Any:
            pairs = zip(
                jax.tree.leaves(symmetry.tangent(v, members)), jax.tree.leaves(v), strict=True
            )
            return sum(jnp.sum(t * x) for t, x in pairs)

        whole = charge(moved)
        size = 1 + jnp.abs(charge(params)) + jnp.abs(charge(gradient)) + jnp.abs(whole)
        size = size + sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient))
        return (whole - charge(params) - charge(gradient)) / size

    return SizedIdentity(residual, at_sizes(model, symmetry), size_names(model))


def size_names(model: Model) -> list[str]:
    """Return the sizes that a model leaves open."""
    return [name for name, shape in model.unbound.items() if shape is None]


def at_sizes(
    model: Model, symmetry: Exponential
) -> Callable[[Mapping[str, int], np.random.Generator], Any]:
    """Return (sizes, rng) -> parameters, sample, constants and members of the family."""

    def drawn(sizes: Mapping[str, int], rng: np.random.Generator) -> Any:
        bound = model.bind(**sizes)
        trees = [jax.tree.map(lambda s: rng.normal(size=s.shape), t) for t in bound.structure()]
        for name in trees[2]:
            if name in bound.values:
                trees[2][name] = np.asarray(bound.values[name], dtype=float)
        members = {}
        for name, shape in symmetry.member_shapes(bound).items():
            array = rng.normal(size=shape)
            symmetric = (symmetry.family or {})[name].symmetric
            members[name] = (array + array.T) / 2 if symmetric else array
        return (*trees, members)

    return drawn


def matrix_moments_claim(model: Model, symmetry: Exponential, second: Callable[..., Any]) -> Claim:
    """Return "E[g^T A g] is the closed form for all sizes", at two combinations of sizes.

    Args:
        model: The model, sizes open.
        symmetry: Its symmetry.
        second: (params, **values) -> E[g^T A g] as a matrix over the family (a number without).
    """
    names = size_names(model)
    rng = np.random.default_rng(4)

    def at(sizes: Mapping[str, int]) -> Claim:
        bound = model.bind(**sizes)
        values = drawn_values(bound, rng)
        params = jax.tree.map(lambda s: rng.normal(size=s.shape), bound.structure()[0])
        member = {}
        for name, shape in symmetry.member_shapes(bound).items():
            array = rng.normal(size=shape)
            member[name] = (
                (array + array.T) / 2 if (symmetry.family or {})[name].symmetric else array
            )

        def form(full: Model, p: Any, z: Any) -> Any:
            gradient = jax.grad(full.evaluate)(p, z)
            pairs = zip(
                jax.tree.leaves(symmetry.tangent(gradient, member)),
                jax.tree.leaves(gradient),
                strict=True,
            )
            return sum(jnp.sum(t * g) for t, g in pairs)

        def told() -> Any:
            matrix = np.asarray(second(params, **values), dtype=float)
            weights = list(member.values())
            return np.sum(matrix * weights[0]) if weights else matrix

        return sampled_claim(bound, form, told, params, values)

    choices = [{n: (2 * k + s) % 3 + 1 for k, n in enumerate(names)} for s in (0, 1)]
    return All(tuple(at(choice) for choice in choices))
