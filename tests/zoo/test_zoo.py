"""The zoo: every model evaluates, binds at any size, and has the symmetries it claims."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.errors import InputError
from symtheory.symmetry import verify
from symtheory.theory import derive
from symtheory.verdict import Status
from symtheory.zoo import load, names


@pytest.mark.parametrize("name", names())
def test_models_evaluate_and_bind(name):
    example = load(name)
    assert example.name == name == example.model.name
    assert example.summary and example.symmetries and example.references
    model = example.bound()
    assert model.unbound == {}
    params = jax.tree.map(lambda s: jnp.ones(s.shape), model.structure()[0])
    losses = jax.vmap(model.evaluate, (None, 0))(params, model.sample(jax.random.key(0), (100,)))
    assert losses.shape == (100,)
    assert np.all(np.isfinite(losses))
    assert np.std(losses) > 0


@pytest.mark.parametrize("name", names())
def test_other_sizes(name):
    """The symmetry does not depend on the sizes, and unequal sizes do not hide a transpose."""
    example = load(name)
    sizes = {size: 2 + k for k, size in enumerate(example.sizes)}
    model = example.sized(**sizes)
    for symmetry in example.symmetries.values():
        assert verify(model, symmetry).status is Status.PROVED
    assert example.bound(**sizes).unbound == {}
    assert {size: model.sizes[size] for size in sizes} == sizes


@pytest.mark.parametrize("name", names())
def test_finite_transformations_leave_the_loss(name):
    """exp(t A) theta has the loss of theta, to rounding: the group, not only its generator."""
    example = load(name)
    model = example.bound()
    keys = jax.random.split(jax.random.key(1), 3)
    flat = jax.random.normal(keys[0], (model.dimension,))
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape), model.structure()[0])
    _, back = jax.flatten_util.ravel_pytree(zeros)
    sample = model.sample(keys[1])
    for symmetry in example.symmetries.values():
        members = {}
        for k, (family, shape) in enumerate(symmetry.member_shapes(model).items()):
            member = np.asarray(jax.random.normal(jax.random.fold_in(keys[2], k), shape))
            members[family] = (member + member.T) / 2 if member.ndim == 2 else member
        matrix = jax.jacobian(
            lambda v, s=symmetry, m=members: jax.flatten_util.ravel_pytree(s.tangent(back(v), m))[0]
        )(flat)
        moved = back(jax.scipy.linalg.expm(0.7 * matrix) @ flat)
        there, here = model.evaluate(moved, sample), model.evaluate(back(flat), sample)
        assert there == pytest.approx(float(here), rel=1e-10)
        # Control: a random direction of the same length changes the loss.
        step = jax.random.normal(jax.random.key(7), flat.shape)
        wrong = back(flat + 0.3 * jnp.linalg.norm(flat) * step / jnp.linalg.norm(step))
        assert model.evaluate(wrong, sample) != pytest.approx(float(here), rel=1e-3)


def test_wrong_names():
    with pytest.raises(InputError, match="did you mean 'relu-rescaling'"):
        load("relu-rescalin")
    with pytest.raises(InputError, match="no size 'k'"):
        load("two-layer-linear").sized(k=3)
    with pytest.raises(InputError, match="positive integer"):
        load("two-layer-linear").sized(h=0)


@pytest.mark.parametrize("name", names())
def test_laws_render(name):
    example = load(name)
    for symmetry in example.symmetries.values():
        law = derive(example.sized(), symmetry)
        assert law.status is Status.PROVED
        text = law.charge.latex() if law.drift.size > 500 else law.latex()
        assert text.count("{") == text.count("}") > 0
        assert law.name == symmetry.name
