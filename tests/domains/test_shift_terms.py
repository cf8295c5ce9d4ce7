"""Terms that are added: what the domain says of every entry is what JAX does to it."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.domains import NotFollowedError, Shifts
from symtheory.errors import UnreadableError
from symtheory.program import read_function
from tests.domains.catalogue import IRRATIONAL, RATIONAL, SMOOTH

CATALOGUE = RATIONAL | IRRATIONAL | SMOOTH
MOVED = {
    "concatenated with what is fixed": (lambda w: jnp.concatenate([w, jnp.ones(2)]), [(3,)]),
    "set": (lambda w: w.at[1].set(0.5), [(3,)]),
    "filled": (lambda w: w.at[jnp.array([0, 7])].get(mode="fill", fill_value=2.0), [(3,)]),
    "diagonal": (lambda w: jnp.diagonal(w), [(3, 3)]),
    "weights": (lambda w: w @ jnp.array([0.5, 0.25, 0.25]), [(2, 3)]),
    "square product": (lambda w, x: jnp.einsum("ij,kj->ik", x, w + 1), [(3, 3), (3, 3)]),
    "quotient": (lambda w: jnp.exp(w)[:, :1] / jnp.sum(jnp.exp(w), 1, keepdims=True), [(2, 3)]),
    "masked by numbers": (lambda w: w * jnp.array([1.0, 0.0, 2.0]), [(3,)]),
    "clipped": (lambda w: jnp.clip(w, -1.0, 1.0), [(3,)]),
    "largest": (lambda w: w - jnp.max(w), [(4,)]),
    "sorted": (lambda w: jnp.sort(w), [(4,)]),
    "running sum": (lambda w: jnp.cumsum(w), [(4,)]),
    "product of factors": (lambda w: jnp.prod(jnp.exp(w), axis=0), [(2, 3)]),
    "sum of products": (lambda w, x: jnp.sum(w * x, axis=0), [(3, 2), (3, 2)]),
    "power of a factor": (lambda w: jnp.sqrt(jnp.exp(w)) / jnp.exp(w / 2), [(3,)]),
    "chosen": (lambda w, x: jnp.where(x > 0, w, w + 1), [(3,), (3,)]),
    "chosen wrongly": (lambda w, x: jnp.where(x > 0, w, 0.0), [(3,), (3,)]),
    "decides": (lambda w, x: jnp.where(w > 0, x, 0.0), [(3,), (3,)]),
}
LOSSES = CATALOGUE | MOVED


@pytest.mark.parametrize("axes", [(), (0,), (1,)])
@pytest.mark.parametrize("name", LOSSES)
def test_entries_change_as_the_domain_says(name, axes):
    function, shapes = LOSSES[name]
    if not shapes or len(shapes[0]) <= max(axes, default=-1):
        pytest.skip("no such axis")
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    points = [rng.choice(np.arange(-14, 15), size=s) / 16 + 1 / 64 for s in shapes]
    own = [1 if k in axes else n for k, n in enumerate(shapes[0])]
    with jax.enable_x64(True):
        domain = Shifts()
        structures = [jax.ShapeDtypeStruct(s, float) for s in shapes]
        inputs = [domain.shifted(shapes[0], axes), *map(domain.fixed, shapes[1:])]
        try:
            out = read_function(lambda *x: jnp.ravel(function(*x)), structures, domain, inputs)
        except (NotFollowedError, UnreadableError):
            return
        for size in (0.1, 1.0, 30.0):
            moved = [points[0] + size * rng.normal(size=own), *points[1:]]
            before, after = (np.ravel(np.asarray(function(*map(jnp.asarray, x)), dtype=float))
                             for x in (points, moved))  # fmt: skip
            usable = np.isfinite(before) & np.isfinite(after)
            scale = 1e-9 * (1 + np.abs(before) + np.abs(after) + size)
            if not out.kind:
                assert np.all(np.abs(after - before)[usable] <= scale[usable])
                continue
            with np.errstate(all="ignore"):
                change = after - before if out.kind == "sum" else after / before
            assert out.kind == "factor" or np.all(
                np.abs(change)[usable & (out.terms == 0)] <= scale[usable & (out.terms == 0)]
            )
            for term in np.unique(out.terms):
                same = change[usable & (out.terms == term) & (before != 0)]
                if same.size:
                    assert np.ptp(same) <= 1e-6 * (np.max(np.abs(same)) + size)


@pytest.mark.parametrize("name", ["quotient", "largest", "power of a factor"])
def test_terms_cancel(name):
    function, shapes = LOSSES[name]
    with jax.enable_x64(True):
        domain = Shifts()
        shifted = domain.shifted(shapes[0], (len(shapes[0]) - 1,))
        structures = [jax.ShapeDtypeStruct(shapes[0], float)]
        assert read_function(function, structures, domain, [shifted]).kind == ""


@pytest.mark.parametrize("name", ["chosen wrongly", "decides", "clipped"])
def test_what_depends_on_the_term_is_not_followed(name):
    function, shapes = LOSSES[name]
    with jax.enable_x64(True):
        domain = Shifts()
        structures = [jax.ShapeDtypeStruct(s, float) for s in shapes]
        inputs = [domain.shifted(shapes[0], (0,)), *map(domain.fixed, shapes[1:])]
        with pytest.raises(NotFollowedError):
            read_function(function, structures, domain, inputs)
