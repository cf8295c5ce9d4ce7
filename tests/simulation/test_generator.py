"""The fused generator draws the numbers of `jax.random`, to the last bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.data import Normal
from symtheory.model import Model
from symtheory.simulation import SGD, simulate
from symtheory.simulation._generator import fused

DRAWS = {
    "normal": lambda k: jax.random.normal(k, (5, 3), jnp.float32),
    "normal double": lambda k: jax.random.normal(k, (7,), jnp.float64),
    "uniform": lambda k: jax.random.uniform(k, (2, 2)),
    "signs": lambda k: jax.random.rademacher(k, (9,)),
    "integers": lambda k: jax.random.randint(k, (11,), 0, 1000),
    "one": lambda k: jax.random.normal(k),
    "split": lambda k: jax.random.uniform(jax.random.split(k, 3)[1]),
    "folded": lambda k: jax.random.uniform(jax.random.fold_in(k, 123456)),
    "bytes": lambda k: jax.random.bits(k, (5,), jnp.uint8),
    "half words": lambda k: jax.random.bits(k, (5,), jnp.uint16),
    "choice": lambda k: jax.random.permutation(k, 10),
}


@pytest.mark.parametrize("name", DRAWS)
def test_same_numbers(name):
    for seed in (0, 1, 2**31 - 1):
        key = jax.random.key(seed)
        np.testing.assert_array_equal(DRAWS[name](fused(key)), DRAWS[name](key))
    keys = jax.random.split(jax.random.key(5), 4)
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(DRAWS[name], out_axes=-1))(fused(keys)),
        jax.vmap(DRAWS[name], out_axes=-1)(keys),
    )


def test_other_generators_are_left_alone():
    key = jax.random.key(0, impl="rbg")
    assert jax.random.key_impl(fused(key)) == jax.random.key_impl(key)


def test_noise_of_a_run_can_be_drawn_again():
    """Replica r draws chunk c of its samples from fold_in(fold_in(key, r), c)."""
    model = Model(lambda p, z: p * z["x"], params=(), random={"x": Normal(())})
    key = jax.random.key(3)
    run = simulate(model, SGD(1.0), params=0.0, steps=130, replicas=2, key=key)
    for r in range(2):
        chunks = [jax.random.fold_in(jax.random.fold_in(key, r), c) for c in range(3)]
        drawn = np.concatenate([model.sample(k, (64,))["x"] for k in chunks])
        assert run.params[r] == pytest.approx(-drawn[:130].sum(), rel=1e-12)


def test_a_run_with_another_generator():
    model = Model(lambda p, z: p * z["x"], params=(), random={"x": Normal(())})
    key = jax.random.key(3, impl="rbg")
    run = simulate(model, SGD(1.0), params=0.0, steps=20, replicas=2, key=key)
    assert run.params[0] != run.params[1]
