"""Many equinox nets trained at once, by every method and from every seed, with one compilation.

    nets, static = built(lambda key: eqx.nn.MLP(64, 10, 32, 2, key=key), spec.key("nets"), seeds=5)
    loss = lambda params, batch, key: ...eqx.combine(params, static)...   # of one net, a scalar
    start = prepared(five(gamma), nets, spec.key("methods"))
    end, path = trained(start, loss, optax.adam(1e-3), (x, y), spec.key("batches"),
                        steps=1000, batch_size=32, records=10, measure=lambda params: {...})
    weights(end)          # leaves (methods, seeds, ...), what `loss` sees
    path["loss"]          # (methods, seeds, records): mean loss of the batches between records

- `five(gamma)` are the methods in the order of `METHODS`; any list of methods of `st.syre` with a
  weight decay will do, such as one syre for each sigma_0, or five for each of several gamma.
- Going on, as in continual learning: `trained(end, loss, optimizer, (x2, y2), key2, ...)`. With the
  same loss, optimizer and measure (the same objects) and shapes nothing is compiled again.
- All methods of a seed start at the same net and see the same batches; `own=True` where every seed
  has data of its own (a leading axis of seeds). Without `batch_size` the batch is all the data.
- Everything runs in single precision, whatever the caller's setting.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import symtheory as st

# What runs once is not worth the time that optimizing it takes.
_QUICKLY: Any = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
METHODS = ("none", "plain decay", "decay to init", "W-fix", "syre")
Loss = Callable[[Any, Any, Any], Any]
Measure = Callable[[Any], dict[str, Any]]


class Nets(NamedTuple):
    """Nets by method and seed: trained weights, what their method is, state of the optimizer."""

    free: Any  # entries that W-fix froze are in it, too, and do not count
    gamma: Any
    center: Any  # where the decay pulls to
    frozen: Any  # the constants of W-fix, NaN for entries that are trained
    state: Any = None


def five(gamma: float, sigma0: Any = None, per_row: int = 1) -> tuple[Any, ...]:
    """Return the methods in the order of `METHODS`, every decay at the same gamma."""
    found: dict[str, Any] = {method.name: method for method in st.syre.baselines(gamma, sigma0)}
    found["W-fix"] = st.syre.WFix(per_row=per_row, weight_decay=gamma)
    return tuple(found[name] for name in METHODS)


def built(build: Callable[[Any], Any], key: Any, seeds: int) -> tuple[Any, Any]:
    """Return arrays of `build(key)` for several seeds (a leading axis), and what is no array."""
    with jax.enable_x64(False):
        compiled: Any = eqx.filter_jit
        make = compiled(eqx.filter_vmap(build), compiler_options=_QUICKLY)
        nets = make(jax.random.split(key, seeds))
    return eqx.partition(nets, eqx.is_inexact_array)


def prepared(methods: Sequence[Any], params: Any, key: Any) -> Nets:
    """Return the nets as each method starts them: leaves (methods, seeds, ...).

    Args:
        methods: Methods of `st.syre`, with any gamma.
        params: Arrays with a leading axis of seeds.
        key: What the methods draw; the same for all methods of a seed.
    """
    with jax.enable_x64(False):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
        keys = jax.random.split(key, len(jax.tree.leaves(params)[0]))
        return _prepared(tuple(methods), params, keys)


@functools.partial(jax.jit, static_argnums=0, compiler_options=_QUICKLY)
def _prepared(methods: tuple[Any, ...], params: Any, keys: Any) -> Nets:
    cases = [jax.vmap(functools.partial(_case, method))(params, keys) for method in methods]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *cases)


def swept(nets: Nets, gammas: Sequence[float]) -> Nets:
    """Return all methods at each gamma, with the same draws: leaves (gammas * methods, seeds, ...).

    What does not decay ("none") does not at any gamma.
    """
    each = [nets._replace(gamma=jnp.where(nets.gamma > 0, jnp.float32(g), 0)) for g in gammas]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *each)


def _case(method: Any, params: Any, key: Any) -> Nets:
    """Return one net: what `prepare` of the method does, as arrays that a compiled step takes."""
    rows = jax.tree.map(_rows, params)
    problem = method.prepare(lambda p: 0.0, rows, key=key)
    try:
        center = st.syre.center_of(problem.before.init(rows))
    except st.InputError:  # a decay towards 0, or none
        center = jax.tree.map(jnp.zeros_like, rows)
    frozen = problem.weights(jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), rows))
    like = lambda tree: jax.tree.map(lambda leaf, p: leaf.reshape(p.shape), tree, params)
    gamma = jnp.float32(getattr(method, "weight_decay", 0.0))
    return Nets(like(problem.params), gamma, like(center), like(frozen))


def _rows(leaf: Any) -> Any:
    """Return a weight as (outputs, inputs), kernels of convolutions too; biases as vectors."""
    return leaf.reshape(-1) if leaf.size == leaf.shape[0] else leaf.reshape(leaf.shape[0], -1)


def weights(nets: Nets) -> Any:
    """Return the weights that the nets compute with."""
    return jax.tree.map(lambda w, f: jnp.where(jnp.isnan(f), w, f), nets.free, nets.frozen)


def trained(
    nets: Nets,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    data: Any,
    key: Any,
    *,
    steps: int,
    batch_size: int | None = None,
    records: int = 1,
    measure: Measure | None = None,
    own: bool = False,
) -> tuple[Nets, dict[str, np.ndarray]]:
    """Train the nets and return them with what was recorded on the way.

    Args:
        nets: From `prepared`, or trained before.
        loss: `loss(params, batch, key)` of one net, without decay.
        optimizer: Any of optax; the decay is added to the gradient it sees.
        data: Arrays with a leading axis of samples (with `own`: seeds, samples).
        key: Draws the batches, with replacement, and the key of each loss.
        steps: Updates in all.
        batch_size: Samples of a batch; all the data if omitted.
        records: How often on the way something is recorded, after every steps/records updates.
        measure: `measure(params)` of one net, arrays by name: recorded beside the loss.
        own: Whether every seed has data of its own.
    """
    if steps % records:
        raise st.InputError(f"{steps} steps cannot be recorded {records} times evenly")
    with jax.enable_x64(False):
        seeds = len(jax.tree.leaves(nets.free)[0][0])
        keys = jax.random.split(key, seeds)
        data = jax.tree.map(lambda a: _single(a), data)
        if nets.state is None:
            nets = nets._replace(state=_begin(optimizer, nets))
        many = (steps // records, records)
        end, path = _trained(loss, optimizer, measure, nets, data, keys, many, batch_size, own)
    return end, {name: np.asarray(value) for name, value in path.items()}


def _single(array: Any) -> Any:
    array = jnp.asarray(array)
    return array.astype(jnp.float32) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _chain(optimizer: Any, nets: Nets) -> Any:
    return optax.chain(st.syre.decay_towards(nets.gamma, center=nets.center), optimizer)


@functools.partial(jax.jit, static_argnums=0)
def _begin(optimizer: Any, nets: Nets) -> Any:
    return jax.vmap(jax.vmap(lambda net: _chain(optimizer, net).init(net.free)))(nets)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 6, 7, 8))
def _trained(
    loss: Any, optimizer: Any, measure: Any, nets: Nets, data: Any, keys: Any,
    many: tuple[int, int], size: int | None, own: bool,
) -> Any:  # fmt: skip
    per_record, records = many

    def one(net: Nets, data: Any, key: Any) -> Any:
        chain = _chain(optimizer, net)
        count = len(jax.tree.leaves(data)[0]) if size else 0

        def step(carry: Any, number: Any) -> Any:
            free, state = carry
            now, which = jax.random.split(jax.random.fold_in(key, number))
            batch = data
            if size:
                picked = jax.random.randint(which, (size,), 0, count)
                batch = jax.tree.map(lambda a: a[picked], data)
            seen = lambda free: loss(weights(net._replace(free=free)), batch, now)
            value, slope = jax.value_and_grad(seen)(free)
            updates, state = chain.update(slope, state, free)
            return (optax.apply_updates(free, updates), state), value

        def record(carry: Any, number: Any) -> Any:
            numbers = number * per_record + jnp.arange(per_record)
            carry, values = jax.lax.scan(step, carry, numbers)
            now = measure(weights(net._replace(free=carry[0]))) if measure else {}
            return carry, {"loss": jnp.mean(values), **now}

        (free, state), path = jax.lax.scan(record, (net.free, net.state), jnp.arange(records))
        return net._replace(free=free, state=state), path

    seeds = jax.vmap(one, (0, 0 if own else None, 0))
    return jax.vmap(seeds, (0, None, None))(nets, data, keys)
