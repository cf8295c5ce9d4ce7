"""What the tests of this folder judge with: plain JAX and NumPy, nothing of what is judged.

A loss is evaluated at transformed parameters, its gradient at many points. Points have many
magnitudes, because a branch that is never reached at one size of the numbers proves nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.flatten_util import ravel_pytree

import symtheory as st

MAGNITUDES = (1e-2, 0.3, 1.0, 10.0, 300.0)


def ask(function, *arguments, **options):
    """Return an answer, None where it is refused in a sentence; anything else is a failure."""
    try:
        return function(*arguments, **options)
    except st.SymtheoryError:
        return None
    except Exception as error:
        name = getattr(function, "__name__", str(function))
        pytest.fail(f"{name} ended in {type(error).__name__}: {str(error)[:300]}")


def discover(model, seconds=60.0, **options):
    return ask(st.discover, model, seconds=seconds, **options)


def conservation_laws(model, seconds=60.0, **options):
    return ask(st.conservation_laws, model, seconds=seconds, **options)


def reflections(model, seconds=60.0, **options):
    return ask(st.reflections, model, seconds=seconds, **options)


def verify(model, symmetry, seconds=60.0, **options):
    return ask(st.verify, model, symmetry, seconds=seconds, **options)


def status(answer):
    """Return the status of an answer as text; "refused" where it was refused in a sentence."""
    return "refused" if answer is None else str(answer.status)


def is_proved(answer):
    """Tell whether an answer (verdict, discovery, laws, or None) claims to be a proof."""
    return answer is not None and answer.status is st.Status.PROVED


# --- points ---


def draw(model, seed=0, scale=1.0, sample_scale=1.0):
    """Return random parameters and one sample in double precision; a data set gives its rows."""
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda s: scale * rng.normal(size=s), model.params, is_leaf=_is_shape)
    if isinstance(model.random, st.Empirical):
        rows = {k: np.asarray(v, float) for k, v in model.random.columns.items()}
        row = int(rng.integers(len(next(iter(rows.values())))))
        return params, {k: v[row] for k, v in rows.items()}
    sample = {}
    for name, law in model.random.items():
        if isinstance(law, st.Empirical):
            columns = {k: np.asarray(v, float) for k, v in law.columns.items()}
            row = int(rng.integers(len(next(iter(columns.values())))))
            sample[name] = {k: v[row] for k, v in columns.items()}
        elif isinstance(law, st.Rademacher):
            sample[name] = rng.choice([-1.0, 1.0], size=law.shape)
        elif isinstance(law, st.Uniform):
            sample[name] = rng.uniform(0, 1, size=law.shape)
        else:
            sample[name] = sample_scale * rng.normal(size=law.shape)
    return params, sample


def draws(model, magnitudes=MAGNITUDES, each=3):
    """Return points of many magnitudes."""
    return [
        draw(model, seed=100 * k + n, scale=scale)
        for k, scale in enumerate(magnitudes)
        for n in range(each)
    ]


def _is_shape(node):
    return isinstance(node, tuple) and all(isinstance(n, int) for n in node)


# --- continuous symmetries ---


def generator_matrix(found, dimension):
    """Return [A b; 0 0] of one generator that discovery returned."""
    out = np.zeros((dimension + 1, dimension + 1))
    for (i, j), value in found.matrix.items():
        out[i, j] = float(value)
    for i, value in found.shift.items():
        out[i, dimension] = float(value)
    return out


def moved(params, generator, time):
    """Return exp(time [A b; 0 0]) applied to the parameters."""
    flat, unravel = ravel_pytree(params)
    vector = scipy.linalg.expm(time * generator) @ np.append(np.asarray(flat), 1.0)
    return unravel(jnp.asarray(vector[:-1]))


def change(loss, before, after, sample):
    """Return the relative change of the loss; infinite where one side only is a finite number."""
    before, after, sample = jax.tree.map(jnp.asarray, (before, after, sample))
    a, b = float(loss(before, sample)), float(loss(after, sample))
    if not (np.isfinite(a) or np.isfinite(b)):
        return 0.0  # overflow, or no number, on both sides: nothing to compare
    if not (np.isfinite(a) and np.isfinite(b)):
        return np.inf
    return abs(a - b) / max(abs(a), abs(b), 1e-6)


def assert_proved_generators_hold(found, model, points=(), times=(-0.7, 0.4), tolerance=1e-6):
    """Fail where a generator that is called proved changes the loss along its flow.

    `points` are places where the caller knows something happens; random ones are added.
    """
    if found is None:
        return
    everywhere = [*points, *draws(model, each=1)]
    for generator in (*found.generators, *found.translations):
        if generator.verdict.status is not st.Status.PROVED:
            continue
        matrix = generator_matrix(generator, model.dimension)
        for params, sample in everywhere:
            for time in times:
                after = moved(params, matrix, time)
                shift = change(model.loss, params, after, sample)
                assert shift < tolerance, (
                    f"{generator.name} is called proved ({generator.verdict.how}) and changes "
                    f"the loss by {shift:.1e} of itself at {params}, {sample}"
                )


def assert_proved_reflections_hold(found, model, points=(), tolerance=1e-6):
    """Fail where a reflection that is called proved (or supported) changes the loss."""
    for item in found or ():
        for params, sample in [*points, *draws(model, each=1)]:
            after = item.reflection.apply(jax.tree.map(jnp.asarray, params))
            shift = change(model.loss, params, after, sample)
            assert shift < tolerance, (
                f"{item.name} is called {item.verdict.status} and changes the loss by "
                f"{shift:.1e} of itself at {params}, {sample}"
            )


def equations(model, count, magnitudes=(0.5, 1.0, 2.0), samples=None):
    """Return gradients and flattened parameters at random points, one row per point."""
    gradient = jax.jit(jax.vmap(jax.grad(model.loss)))
    points = [draw(model, seed=n, scale=magnitudes[n % len(magnitudes)]) for n in range(count)]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[p for p, _ in points])
    sample = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *[z for _, z in points])
        if samples is None
        else samples
    )
    flat = lambda tree: np.asarray(jax.vmap(lambda t: ravel_pytree(t)[0])(tree))
    return flat(gradient(params, sample)), flat(params)


def count_generators(model, affine=False, magnitudes=(0.5, 1.0, 2.0)):
    """Return the dimension of all A (and b) with grad l . (A theta + b) = 0, by singular values.

    Leaves (or entries) of which the loss does not depend are left out, as the rows that are free.
    """
    d = model.dimension
    gradients, theta = equations(model, d * (d + 1) + d + 40, magnitudes)
    keep = np.linalg.norm(gradients, axis=1)
    gradients = gradients[keep > 0] / keep[keep > 0, None]
    theta = theta[keep > 0]
    alive = np.flatnonzero(np.any(np.abs(gradients) > 1e-12, axis=0))
    basis = np.concatenate([theta, np.ones((len(theta), 1))], 1) if affine else theta
    rows = (gradients[:, alive, None] * basis[:, None, :]).reshape(len(basis), -1)
    values = np.linalg.svd(rows, compute_uv=False) / np.linalg.norm(rows, 2)
    null = int(np.sum(values < 1e-10)) + max(rows.shape[1] - len(values), 0)
    kept = values[values >= 1e-10]
    assert kept.size == 0 or kept[-1] > 1e-6, "the singular values have no gap"
    return null


def flat_directions(model, count=None, scale=1.0, seeds=range(3)):
    """Return d - rank of the per-sample gradients at one point: the least over a few points."""
    d = model.dimension
    best = d
    for seed in seeds:
        params, _ = draw(model, seed=seed, scale=scale)
        samples = [draw(model, seed=1000 + n)[1] for n in range(count or 2 * d + 20)]
        batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *samples)
        gradients = jax.jit(jax.vmap(jax.grad(model.loss), (None, 0)))(params, batch)
        flat = np.asarray(jax.vmap(lambda t: ravel_pytree(t)[0])(gradients))
        values = np.linalg.svd(flat, compute_uv=False)
        best = min(best, d - int(np.sum(values > 1e-9 * values[0])))
    return best


# --- answers ---


def assert_never_wrong(found, linear, affine=None):
    """Fail where discovery claims a completed proof of another number than the right one."""
    if found is None:
        return
    proved = [g for g in found.generators if g.verdict.status is st.Status.PROVED]
    assert len(proved) <= linear, f"{len(proved)} linear generators called proved, {linear} exist"
    if found.status is st.Status.PROVED:
        assert found.total == linear, f"proved {found.total} linear generators, right is {linear}"
        if affine is not None:
            assert found.affine == affine, f"proved {found.affine} affine, right is {affine}"


def assert_right(found, linear, affine=None):
    """Fail unless discovery proves the right number."""
    assert found is not None, "refused"
    got = (found.total, found.affine if affine is not None else None, found.status)
    assert got == (linear, affine, st.Status.PROVED), found.completeness.how


def assert_laws_never_wrong(laws, number):
    """Fail where the bounds on the number of conservation laws exclude the right number."""
    if laws is not None:
        assert laws.lower <= number <= laws.upper, (laws.lower, laws.upper, number)


def assert_laws_right(laws, number):
    """Fail unless the number of conservation laws is proved and right."""
    assert laws is not None, "refused"
    assert (laws.lower, laws.upper, laws.status) == (number, number, st.Status.PROVED)


def kinds(found, *, held=True):
    """Return {kind: [(count, rank), ...]} of reflections found, ranks ascending."""
    out = {}
    for item in found or ():
        if not held or item.verdict.status.holds:
            out.setdefault(item.kind, []).append((item.count, item.rank))
    return {kind: sorted(values) for kind, values in out.items()}


def lie_rank(outputs, dimension, depth=4, seed=0):
    """Return the rank at a random point of the gradients of all outputs and of their brackets.

    Brackets are nested as [field_i, [field_j, ...]] up to the given depth, by jax.jvp.
    """
    point = jnp.asarray(np.random.default_rng(seed).normal(size=dimension))
    count = len(outputs(point))
    base = [lambda x, k=k: jax.grad(lambda y: outputs(y)[k])(x) for k in range(count)]

    def bracket(f, g):
        return lambda x: jax.jvp(g, (x,), (f(x),))[1] - jax.jvp(f, (x,), (g(x),))[1]

    level, everything, rank = list(base), list(base), -1
    for _ in range(depth):
        rows = np.stack([np.asarray(f(point)) for f in everything])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-300
        new = int(np.linalg.matrix_rank(rows, tol=1e-8))
        if new == rank:
            return rank
        rank = new
        level = [bracket(f, g) for f in base for g in level][:40]
        everything += level
    return rank
