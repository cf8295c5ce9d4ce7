"""What a run is: a table of its parts, each as a short text or hash, equal iff the runs are."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex

from symtheory.simulation._engine import engine

_ADDRESS = re.compile(r"0x[0-9a-f]+")
_PACKAGES = ("symtheory", "jax", "jaxlib", "numpy")


def describe(
    program: Any, cells: Any, replicas: int, key: jax.Array, schedule: Any
) -> dict[str, str]:
    """Return what determines the numbers of a run, by the name under which a user knows it."""
    seen = [(o.name, o.function, o.needs_gradient) for o in program.observers]
    params = program.model.structure(program.dtype)[0]
    looks = [(function, (params, params) if force else (params,)) for _, function, force in seen]
    return {
        "model or dynamics": of_functions(*engine(program).parts),
        "settings": of_arrays([cell.values for cell in cells]),
        "start": of_arrays([cell.initial for cell in cells]),
        "precision": str(np.dtype(program.dtype)),
        "steps": str(schedule.steps),
        "replicas": str(replicas),
        "key": of_key(key),
        "observables": " ".join([*(name for name, _, _ in seen), of_functions(*looks)]),
        "record_every": str(schedule.keep),
        "averages": f"from {schedule.since} every {schedule.every}"
        if program.averaging
        else "none",
        **versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions that the last bits of a run may depend on."""
    return {f"version of {name}": importlib.metadata.version(name) for name in _PACKAGES}


def of_arrays(tree: Any) -> str:
    """Return a hash of all arrays of a tree, with their types and shapes."""
    state = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = np.asarray(leaf)
        state.update(f"{array.dtype}{array.shape}".encode())
        # In pieces, so that an array broadcast over replicas is not written out.
        for part in array if array.ndim > 1 else (array,):
            state.update(np.ascontiguousarray(part).tobytes())
    return state.hexdigest()[:16]


def of_key(key: jax.Array) -> str:
    """Return a random key as text."""
    data = np.asarray(jax.random.key_data(key)).reshape(-1)
    return f"{jax.random.key_impl(key)} {' '.join(map(str, data))}"


def of_functions(*functions: tuple[Any, tuple[Any, ...]]) -> str:
    """Return a hash of what functions compute: their jaxprs with all constants in them."""
    state = hashlib.sha256()
    for function, examples in functions:
        closed = jax.make_jaxpr(function)(*examples)
        state.update(_ADDRESS.sub("", str(closed)).encode())
        for value in _constants(closed):
            state.update(_bytes(value))
    return state.hexdigest()[:16]


def _bytes(value: Any) -> bytes:
    if hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    return f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()


def _constants(node: Any) -> Any:
    """Yield the arrays and numbers that a jaxpr holds, also those of the jaxprs in it."""
    if isinstance(node, jex.ClosedJaxpr):
        yield from node.consts
        node = node.jaxpr
    if isinstance(node, jex.Jaxpr):
        for eqn in node.eqns:
            yield from (var.val for var in eqn.invars if isinstance(var, jex.Literal))
            for parameter in eqn.params.values():
                yield from _constants(parameter)
        yield from (var.val for var in node.outvars if isinstance(var, jex.Literal))
    elif isinstance(node, (tuple, list)):
        for part in node:
            yield from _constants(part)
