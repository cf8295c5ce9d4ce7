"""Walk a jaxpr over a domain: the one interpreter behind all readings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var

from symtheory.errors import PrimitiveError, UnreadableError
from symtheory.program import NO_DEADLINE, Deadline
from symtheory.readings._casts import is_rounding_cast
from symtheory.readings._expressions import expression

Rule = Callable[..., Any]
"""A rule takes the read inputs and the primitive's parameters and returns the read output(s)."""


class Domain(Protocol):
    """What a reading needs: a name, a rule per primitive, and a way to read constants."""

    name: str

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The table primitive -> rule."""
        ...

    def constant(self, value: Any) -> Any:
        """Read a literal or captured array."""
        ...

    def take(self, value: Any, step: int) -> Any:
        """Return one entry of a value along its first axis."""
        ...

    def stack(self, values: Sequence[Any]) -> Any:
        """Put values together along a new first axis."""
        ...


def trace(function: Callable[..., Any], *structures: Any) -> tuple[ClosedJaxpr, Any]:
    """Return the jaxpr of `function` in double precision and the structure of its output.

    Args:
        function: A JAX function.
        *structures: Its arguments as pytrees of `jax.ShapeDtypeStruct`.
    """
    with jax.enable_x64(True):

        def widen(leaf: Any) -> jax.ShapeDtypeStruct:
            floating = np.issubdtype(leaf.dtype, np.floating)
            return jax.ShapeDtypeStruct(leaf.shape, np.float64 if floating else leaf.dtype)

        wide = jax.tree.map(widen, structures)
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*wide)
    return closed, jax.tree.structure(shape)


def read(
    closed: ClosedJaxpr, domain: Domain, inputs: Sequence[Any], deadline: Deadline = NO_DEADLINE
) -> list[Any]:
    """Evaluate a jaxpr over a domain, entering nested calls.

    Args:
        closed: The jaxpr.
        domain: The domain to read it in.
        inputs: The flattened arguments, already elements of the domain.
        deadline: A time limit, checked before every primitive.

    Raises:
        UnreadableError: The domain has no rule for a primitive.
        BudgetError: The deadline has passed.
    """
    constants = [_constant(domain, value) for value in closed.consts]
    return _walk(closed.jaxpr, domain, constants, inputs, deadline)


def _constant(domain: Domain, value: Any) -> Any:
    if jnp.issubdtype(getattr(value, "dtype", np.float64), jax.dtypes.prng_key):
        raise UnreadableError(
            f"the {domain.name} domain cannot read random numbers drawn inside the loss; "
            "make them part of the sample (`random=` of the model)"
        )
    return domain.constant(value)


def _walk(
    jaxpr: Jaxpr,
    domain: Domain,
    constants: Sequence[Any],
    inputs: Sequence[Any],
    deadline: Deadline,
) -> list[Any]:
    values: dict[Var, Any] = {}
    values.update(zip(jaxpr.constvars, constants, strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))

    def look_up(atom: Any) -> Any:
        return _constant(domain, atom.val) if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        deadline.check()
        arguments = [look_up(atom) for atom in equation.invars]
        name, params = equation.primitive.name, equation.params
        _check_types(equation, domain, arguments)
        if name in domain.rules:
            outputs = _apply(name, params, domain, arguments)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        elif name in _CONTROL:
            outputs = _CONTROL[name](equation, domain, arguments, deadline)
        elif (body := expression(equation)) is not None:
            outputs = read(body, domain, arguments, deadline)
        else:
            outputs = _enter(name, params, domain, arguments, deadline)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [look_up(atom) for atom in jaxpr.outvars]


_BITWISE = frozenset({"and", "or", "xor", "not"})
_ARITHMETIC = frozenset({
    "add", "add_any", "sub", "mul", "neg", "integer_pow", "square", "reduce_sum", "dot_general",
})  # fmt: skip


def _check_types(equation: Any, domain: Domain, arguments: list[Any]) -> None:
    """Refuse what integers and short floats do and real numbers do not: round, wrap, flip bits."""
    name = equation.primitive.name
    if name not in ("convert_element_type", "div", *_BITWISE, *_ARITHMETIC):
        return
    # What does not change under a symmetry may be rounded: domains of invariance say what that is.
    fixed = getattr(domain, "is_fixed", lambda x: False)
    if all(_is_concrete(x) or fixed(x) for x in arguments):
        return
    source, target = (v.aval.dtype for v in (equation.invars[0], equation.outvars[0]))
    rounds = name == "convert_element_type" and target.kind in "biu" and source.kind == "f"
    counts = name == "convert_element_type" and target.kind == "b" and source.kind in "iu"
    whole = name in ("div", *_BITWISE) and target.kind in "iu"
    # A product may be accumulated in a type of its own; short and unsigned integers wrap around.
    short = name == "dot_general" and (target.kind == "b" or is_rounding_cast(target))
    wraps = name in _ARITHMETIC and (
        target.kind == "u" or (target.kind == "i" and target.itemsize < 4)
    )
    if rounds or counts or whole or short or wraps:
        raise unreadable(
            domain.name, name, f"from {source} to {target}, of values that are not fixed integers"
        )


def unreadable(domain: str, name: str, why: str = "") -> PrimitiveError:
    """Return the error of a primitive that a domain cannot read, saying what to do."""
    cause = f" ({why})" if why else ""
    return PrimitiveError(
        f"the {domain} domain cannot read the primitive {name!r} of this loss{cause}; "
        "write the loss without it, or use a numerical route (st.simulate, or a law with its "
        "expectations left formal)"
    )


def _apply(name: str, params: Mapping[str, Any], domain: Domain, arguments: list[Any]) -> Any:
    try:
        return domain.rules[name](*arguments, **params)
    except ZeroDivisionError as error:
        raise unreadable(domain.name, name, "it divides by zero") from error


# --- calls and loops ---------------------------------------------------------------------------

_CALLS = frozenset({
    "jit", "pjit", "xla_call", "core_call", "closed_call", "remat", "remat2", "checkpoint",
    "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin", "eval_jaxpr",
})  # fmt: skip


def _enter(
    name: str, params: Mapping[str, Any], domain: Domain, arguments: list[Any], deadline: Deadline
) -> list[Any]:
    """Read a call (jit, custom_jvp, checkpoint, ...) by reading what it calls."""
    if name in _CALLS:
        for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
            body = params.get(key)
            if isinstance(body, ClosedJaxpr):
                return read(body, domain, arguments, deadline)
            if isinstance(body, Jaxpr):
                return _walk(body, domain, [], arguments, deadline)
    raise unreadable(domain.name, name)


def _unroll(equation: Any, domain: Domain, arguments: list[Any], deadline: Deadline) -> list[Any]:
    """Read a scan of fixed length step by step."""
    params, (n_constants, n_carry) = equation.params, _scan_counts(equation)
    constants = arguments[:n_constants]
    carry = arguments[n_constants : n_constants + n_carry]
    sequences = arguments[n_constants + n_carry :]
    collected: list[list[Any]] = []
    order = range(params["length"])
    for step in reversed(order) if params["reverse"] else order:
        slices = [domain.take(sequence, step) for sequence in sequences]
        outputs = read(params["jaxpr"], domain, [*constants, *carry, *slices], deadline)
        carry = outputs[:n_carry]
        collected.append(outputs[n_carry:])
    if params["reverse"]:
        collected.reverse()
    if not collected:
        shapes = [aval.shape for aval in params["jaxpr"].out_avals[n_carry:]]
        return [*carry, *(domain.constant(np.zeros((0, *shape))) for shape in shapes)]
    return [*carry, *(domain.stack(column) for column in zip(*collected, strict=True))]


def _scan_counts(equation: Any) -> tuple[int, int]:
    """Return how many constants and carried values a scan has, which come first in this order.

    What is scanned or collected has an axis more outside of the scan than in its body. (How the
    parameters of the primitive say it depends on the version of JAX.)
    """
    body = equation.params["jaxpr"]
    n_scanned = sum(
        outer.aval.ndim > inner.ndim
        for outer, inner in zip(equation.invars, body.in_avals, strict=True)
    )
    n_carry = sum(
        outer.aval.ndim == inner.ndim
        for outer, inner in zip(equation.outvars, body.out_avals, strict=True)
    )
    return len(equation.invars) - n_carry - n_scanned, n_carry


def _repeat(equation: Any, domain: Domain, arguments: list[Any], deadline: Deadline) -> list[Any]:
    """Read a while loop whose condition depends on counters only."""
    params = equation.params
    n_test, n_body = params["cond_nconsts"], params["body_nconsts"]
    test_constants, body_constants = arguments[:n_test], arguments[n_test : n_test + n_body]
    carry = arguments[n_test + n_body :]
    while True:
        [going] = read(params["cond_jaxpr"], domain, [*test_constants, *carry], deadline)
        if not _is_concrete(going):
            raise unreadable(domain.name, "while", "its condition depends on parameters or samples")
        if not bool(np.all(going)):
            return list(carry)
        carry = read(params["body_jaxpr"], domain, [*body_constants, *carry], deadline)


def _branch(equation: Any, domain: Domain, arguments: list[Any], deadline: Deadline) -> list[Any]:
    """Read a choice between branches that is the same for all parameters and samples."""
    params, (which, *rest) = equation.params, arguments
    if not _is_concrete(which):
        raise unreadable(
            domain.name, "cond", "its condition depends on parameters or samples; use jnp.where"
        )
    index = min(max(int(which), 0), len(params["branches"]) - 1)
    return read(params["branches"][index], domain, rest, deadline)


def _platform(equation: Any, *_: Any) -> list[Any]:
    """Take the branch written for every platform."""
    return [np.asarray(list(equation.params["platforms"]).index(None), dtype=np.int32)]


def _empty(equation: Any, domain: Domain, *_: Any) -> list[Any]:
    """Stand in for a value that is never looked at."""
    params = equation.params
    return [domain.constant(np.zeros(params.get("shape", ()), dtype=params["dtype"]))]


def _is_concrete(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biu"


_CONTROL: dict[str, Callable[..., list[Any]]] = {
    "scan": _unroll,
    "while": _repeat,
    "cond": _branch,
    "platform_index": _platform,
    "empty": _empty,
    "empty2": _empty,
}


def read_function(
    function: Callable[..., Any],
    structures: Sequence[Any],
    domain: Domain,
    inputs: Sequence[Any],
    deadline: Deadline = NO_DEADLINE,
) -> Any:
    """Trace a JAX function and evaluate it over a domain.

    Args:
        function: A JAX function.
        structures: Its arguments as pytrees of `jax.ShapeDtypeStruct`.
        domain: The domain to read it in.
        inputs: Its arguments as pytrees of the same structure, with domain values as leaves.
        deadline: A time limit.

    Returns:
        The output as a pytree with domain values as leaves.

    >>> import jax, numpy as np
    >>> from symtheory.readings import Polynomials, Ring
    >>> ring = Ring(["u", "w"])
    >>> scalar = jax.ShapeDtypeStruct((), float)
    >>> box = lambda name: np.array(ring.symbol(name), dtype=object)
    >>> out = read_function(lambda u, w: u * w - w * u, [scalar] * 2, Polynomials(ring),
    ...                     [box("u"), box("w")])
    >>> out[()].is_zero()
    True
    """
    closed, tree = trace(function, *structures)
    flat = [value for node in inputs for value in jax.tree.leaves(node)]
    return jax.tree.unflatten(tree, read(closed, domain, flat, deadline))
