"""Vectorise a function over replicas that lie along the *last* axis of every array.

`jax.vmap` turns the small matrix products of a per-sample loss into batched `dot_general`s, which
XLA's CPU compiler runs one tiny product at a time (measured: 50x slower than the arithmetic). Here
the function is traced once for a single replica and its jaxpr evaluated on arrays with a trailing
replica axis: element-wise primitives and reductions as they are, small `dot_general`s as multiply
and reduce, so that the innermost loop always runs over replicas; anything else through `jax.vmap`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core as jex

from symtheory.simulation._generator import bits_over_replicas, is_fused

# A reduction over fewer entries than this becomes one vectorised kernel; above it XLA's CPU
# compiler changes strategy and is 20x slower per entry (measured, jax 0.10).
KERNEL_ENTRIES = 4096
# Products (rows x contracted x columns) up to this size are multiplied out (measured: 2 to 5 times
# faster than a library call per replica, as long as few enough replicas share a kernel).
SMALL_PRODUCT = 1024

_ELEMENTWISE = frozenset(
    """
    abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type
    copy cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite
    le lgamma log log1p log2 logistic lt max min mul ne neg not one_minus_square or polynomial pow
    rem round rsqrt select_n sign sin shift_left shift_right_arithmetic shift_right_logical sinh
    sqrt square stop_gradient sub tan tanh xor
    """.split()  # noqa: SIM905
)
_REDUCTIONS = frozenset({"reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "squeeze"})
_CALLS = {"pjit": "jaxpr", "jit": "jaxpr", "closed_call": "call_jaxpr", "remat2": "jaxpr"}
_CALLS |= {"checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}

_Value = tuple[Any, bool]  # an array, and whether its last axis runs over replicas


def over_replicas(
    function: Callable[..., Any], examples: tuple[Any, ...], shared: Any = None
) -> Callable[..., Any]:
    """Return `function(*args)` for arguments with a trailing replica axis.

    Args:
        function: Acts on one replica.
        examples: Its arguments as arrays or `jax.ShapeDtypeStruct`s.
        shared: If given, the last argument of `function`, the same for all replicas.

    Returns:
        A function of the batched arguments (and, if there is one, of the shared argument).
    """
    tail = () if shared is None else (shared,)
    closed, out = jax.make_jaxpr(function, return_shape=True)(*examples, *tail)
    tree = jax.tree.structure(out)

    def batched(*args: Any) -> Any:
        own, common = (args, ()) if shared is None else (args[:-1], args[-1:])
        values = [(leaf, True) for leaf in jax.tree.leaves(own)]
        replicas = values[0][0].shape[-1]
        values += [(leaf, False) for leaf in jax.tree.leaves(common)]
        outs = _evaluate(closed.jaxpr, closed.consts, values, replicas)
        return jax.tree.unflatten(tree, [_spread(v, replicas) for v in outs])

    return batched


def largest_small_product(function: Callable[..., Any], examples: tuple[Any, ...]) -> int:
    """Return the size of the largest product that will be multiplied out (at least 1), or 0.

    Zero says that some product is too large for that, so that replicas gain nothing from sharing a
    kernel.
    """
    sizes = list(_product_sizes(jax.make_jaxpr(function)(*examples).jaxpr))
    if any(size > SMALL_PRODUCT for size in sizes):
        return 0
    return max(sizes, default=1)


def _product_sizes(jaxpr: Any) -> Any:
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            yield _product_size(eqn)
        elif eqn.primitive.name in _CALLS:
            inner = eqn.params[_CALLS[eqn.primitive.name]]
            yield from _product_sizes(getattr(inner, "jaxpr", inner))


def _product_size(eqn: Any) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = eqn.invars[0].aval.shape
    return math.prod(eqn.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)


def _evaluate(jaxpr: Any, consts: Any, args: list[_Value], replicas: int) -> list[_Value]:
    env: dict[Any, _Value] = {}

    def read(var: Any) -> _Value:
        return (var.val, False) if isinstance(var, jex.Literal) else env[var]

    env.update(zip(jaxpr.constvars, ((const, False) for const in consts), strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        outs = _equation(eqn, [read(var) for var in eqn.invars], replicas)
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(var) for var in jaxpr.outvars]


def _equation(eqn: Any, values: list[_Value], replicas: int) -> list[_Value]:
    name = eqn.primitive.name
    arrays = [array for array, _ in values]
    if name in _CALLS:
        inner = eqn.params[_CALLS[name]]
        consts = getattr(inner, "consts", ())
        return _evaluate(getattr(inner, "jaxpr", inner), consts, values, replicas)
    if not any(batched for _, batched in values):
        return [(out, False) for out in _bind(eqn)(*arrays)]
    if name in _ELEMENTWISE:
        return [(_elementwise(eqn, values, replicas), True)]
    if name in _REDUCTIONS:
        return [(eqn.primitive.bind(arrays[0], **eqn.params), True)]
    if name == "broadcast_in_dim" and len(values) == 1:
        shape, where = eqn.params["shape"], eqn.params["broadcast_dimensions"]
        out = jax.lax.broadcast_in_dim(arrays[0], (*shape, replicas), (*where, len(shape)))
        return [(out, True)]
    if name == "reshape" and len(values) == 1 and eqn.params.get("dimensions") is None:
        return [(arrays[0].reshape(*eqn.params["new_sizes"], replicas), True)]
    if name == "transpose":
        order = eqn.params["permutation"]
        return [(jax.lax.transpose(arrays[0], (*order, len(order))), True)]
    if name == "random_bits" and is_fused(arrays[0].dtype) and arrays[0].ndim == 1:
        width, shape = eqn.params["bit_width"], eqn.params["shape"]
        return [(bits_over_replicas(arrays[0], width, shape), True)]
    if name == "bitcast_convert_type" and _same_width(eqn):
        return [(eqn.primitive.bind(arrays[0], **eqn.params), True)]
    if name == "dot_general" and _product_size(eqn) <= SMALL_PRODUCT:
        return [(_multiply_out(eqn, values), True)]
    axes = tuple(-1 if batched else None for _, batched in values)
    return [(out, True) for out in jax.vmap(_bind(eqn), in_axes=axes, out_axes=-1)(*arrays)]


def _bind(eqn: Any) -> Callable[..., list[Any]]:
    """Return one equation (not a call) as a function of its inputs."""

    def function(*arrays: Any) -> list[Any]:
        out = eqn.primitive.bind(*arrays, **eqn.params)
        return list(out) if eqn.primitive.multiple_results else [out]

    return function


def _same_width(eqn: Any) -> bool:
    return eqn.invars[0].aval.dtype.itemsize == eqn.outvars[0].aval.dtype.itemsize


def _spread(value: _Value, replicas: int) -> Any:
    array, batched = value
    if batched:
        return array
    array = jnp.asarray(array)
    return jnp.broadcast_to(array[..., None], (*array.shape, replicas))


def _elementwise(eqn: Any, values: list[_Value], replicas: int) -> Any:
    # Operands of rank zero may stand beside arrays in a jaxpr; with a replica axis they may not.
    shape = eqn.outvars[0].aval.shape
    operands = []
    for (array, batched), var in zip(values, eqn.invars, strict=True):
        array = jnp.asarray(array, dtype=var.aval.dtype)
        array = array if batched else array[..., None]
        array = array.reshape(*(1,) * (len(shape) + 1 - array.ndim), *array.shape)
        operands.append(jnp.broadcast_to(array, (*shape, replicas)))
    return eqn.primitive.bind(*operands, **eqn.params)


def _multiply_out(eqn: Any, values: list[_Value]) -> Any:
    """Evaluate a `dot_general` as one broadcast product and a reduction over the summed axes."""
    (left_sum, right_sum), (left_batch, right_batch) = eqn.params["dimension_numbers"]
    left, right = (array if batched else jnp.asarray(array)[..., None] for array, batched in values)
    left_names = _names("l", left.ndim - 1, left_batch, left_sum)
    right_names = _names("r", right.ndim - 1, right_batch, right_sum)
    joint = [f"b{i}" for i in range(len(left_batch))]
    joint += [name for name in left_names if name[0] == "l"]
    joint += [name for name in right_names if name[0] == "r"]
    larger = left_names if left.size >= right.size else right_names
    # A summed axis goes next to its neighbour in the larger operand, which then need not be
    # transposed: only contiguous access keeps the reduction fast.
    for i, name in reversed(list(enumerate(larger))):
        if name[0] == "s":
            after = next((n for n in larger[i + 1 :] if n in joint), None)
            before = next((n for n in larger[:i][::-1] if n in joint), None)
            place = joint.index(after) if after else joint.index(before) + 1 if before else 0
            joint.insert(place, name)
    product = _align(left, left_names, joint) * _align(right, right_names, joint)
    axes = tuple(i for i, name in enumerate(joint) if name[0] == "s")
    out = jnp.sum(product, axis=axes) if axes else product
    return out.astype(eqn.outvars[0].aval.dtype)


def _names(own: str, rank: int, batch: Any, summed: Any) -> list[str]:
    names = [f"{own}{i}" for i in range(rank)]
    for kind, dims in (("b", batch), ("s", summed)):
        for i, dim in enumerate(dims):
            names[dim] = f"{kind}{i}"
    return names


def _align(array: Any, names: list[str], joint: list[str]) -> Any:
    order = sorted(range(len(names)), key=lambda i: joint.index(names[i]))
    array = jnp.transpose(array, (*order, len(order)))
    sizes = dict(zip((names[i] for i in order), array.shape, strict=False))
    return array.reshape(*(sizes.get(name, 1) for name in joint), array.shape[-1])
