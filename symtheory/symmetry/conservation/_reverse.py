"""The gradient of a loss in lanes of residues, by walking its jaxpr once and back again.

Tracing a loss is several times faster than tracing its gradient, which is most of what a small
net costs. The derivative is that of the loss as a function; losses with `stop_gradient` or
derivative rules of their own are refused here and go through `jax.grad`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from symtheory.errors import UnreadableError
from symtheory.readings import NO_DEADLINE, Deadline, read
from symtheory.readings._movement import MOVEMENT
from symtheory.symmetry.conservation._modular import (
    MODULUS,
    Lanes,
    Modular,
    contract,
    inverse,
    multiply,
)

Pullback = Callable[..., Sequence[Lanes | None]]


class Recording(Modular):
    """Lanes that remember what was done to them."""

    def __init__(
        self,
        enclosed: bool,
        sources: Sequence[Lanes],
        decisions: Sequence[np.ndarray] | None = None,
    ) -> None:
        super().__init__(enclosed, decisions)
        self.taken: dict[int, np.ndarray] = {}
        self.tape: list[tuple[str, Any, Sequence[Any], Any]] = []
        self.active = {id(x) for x in sources}
        self._kept = list(sources)
        self._rules = {name: self._recorded(name, rule) for name, rule in self._rules.items()}

    def _recorded(self, name: str, rule: Any) -> Any:
        def apply(*xs: Any, **params: Any) -> Any:
            out = rule(*xs, **params)
            if any(id(x) in self.active for x in xs) and not any(out is x for x in xs):
                if name not in _SILENT and name not in _PULLBACKS:
                    raise UnreadableError(f"{name!r} is differentiated by jax.grad")
                if name in _PULLBACKS:
                    self.active.add(id(out))
                if name in ("max", "min", "abs"):
                    self.taken[id(out)] = self.decisions[-1]
                self.tape.append((name, params, xs, out))
            return out

        return apply


def gradient(
    closed: ClosedJaxpr,
    params: Sequence[Lanes],
    rest: Sequence[Any],
    enclosed: bool,
    deadline: Deadline = NO_DEADLINE,
    decisions: Sequence[np.ndarray] | None = None,
) -> tuple[list[Lanes], np.ndarray]:
    """Return the gradient of a scalar function by its first arguments, and undecided lanes.

    Raises:
        UnreadableError: A primitive has no rule here.
    """
    domain = Recording(enclosed, params, decisions)
    [out] = read(closed, domain, [*params, *rest], deadline)
    cotangents: dict[int, Lanes] = {}
    if id(out) in domain.active:
        cotangents[id(out)] = Lanes(np.ones(out.residue.shape, dtype=np.int64))
    for name, settings, xs, value in reversed(domain.tape):
        cotangent = cotangents.get(id(value))
        if cotangent is None or name not in _PULLBACKS:
            continue
        back = _PULLBACKS[name](domain, cotangent, value, *xs, **settings)
        for x, part in zip(xs, back, strict=False):
            if part is None or id(x) not in domain.active:
                continue
            part = _fitted(part, x)
            before = cotangents.get(id(x))
            total = part.residue if before is None else (before.residue + part.residue) % MODULUS
            cotangents[id(x)] = Lanes(total)
    zero = lambda x: Lanes(np.zeros_like(x.residue))
    return [cotangents.get(id(x)) or zero(x) for x in params], domain.undecided


def differentiable(jaxpr: Jaxpr) -> bool:
    """Tell whether nothing in a jaxpr has a derivative of its own, besides ReLU."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name.startswith("custom_") and not _is_relu(equation):
            return False
        if name in ("stop_gradient", "scan", "while", "cond"):
            return False
        for value in equation.params.values():
            inner = value.jaxpr if isinstance(value, ClosedJaxpr) else value
            if isinstance(inner, Jaxpr) and not differentiable(inner):
                return False
    return True


def _is_relu(equation: Any) -> bool:
    body = equation.params.get("call_jaxpr")
    while isinstance(body, ClosedJaxpr) and len(body.jaxpr.eqns) == 1:
        inner = body.jaxpr.eqns[0]
        if inner.primitive.name == "max":
            return True
        body = inner.params.get("jaxpr")
    return False


def _fitted(part: Lanes, x: Lanes) -> Lanes:
    """Sum a cotangent over the axes along which a scalar was broadcast."""
    number = part.residue
    extra = tuple(range(x.residue.ndim, number.ndim))
    if extra:
        number = np.sum(number, axis=extra) % MODULUS
    return Lanes(number)


# --- rules -------------------------------------------------------------------------------------


def _bare(x: Any, like: Lanes | None = None) -> Lanes:
    number = x.residue if isinstance(x, Lanes) else np.asarray(x)[None].astype(np.int64)
    number = number % MODULUS if number.dtype != bool else number.astype(np.int64)
    if like is not None and number.ndim < like.residue.ndim:
        number = number.reshape(*number.shape, *[1] * (like.residue.ndim - number.ndim))
    return Lanes(number)


def _times(g: Lanes, x: Any) -> Lanes:
    return multiply(g, _bare(x, g))


def _minus(g: Lanes) -> Lanes:
    return Lanes(-g.residue % MODULUS)


def _back_pow(_: Modular, g: Lanes, out: Lanes, a: Lanes, *, y: int, **__: Any) -> list[Lanes]:
    base = _bare(a) if y > 0 else inverse(_bare(a))
    power = Lanes(np.ones_like(base.residue))
    for _k in range(y - 1 if y > 0 else 1 - y):
        power = multiply(power, base)
    return [Lanes(multiply(g, power).residue * y % MODULUS)]


def _back_div(_: Modular, g: Lanes, out: Lanes, a: Any, b: Any, **__: Any) -> list[Lanes]:
    over = inverse(_bare(b, g))
    first = multiply(g, over)
    return [first, _minus(multiply(first, _bare(out)))]


def _back_extremum(sign: int) -> Pullback:
    def back(domain: Recording, g: Lanes, out: Lanes, a: Any, b: Any, **_: Any) -> list[Lanes]:
        larger = domain.taken[id(out)].astype(np.int64)
        first = larger if sign > 0 else 1 - larger
        return [Lanes(g.residue * first), Lanes(g.residue * (1 - first))]

    return back


def _back_abs(domain: Recording, g: Lanes, out: Lanes, a: Lanes, **__: Any) -> list[Lanes]:
    return [Lanes(g.residue * (2 * domain.taken[id(out)].astype(np.int64) - 1) % MODULUS)]


def _back_select(
    _: Modular, g: Lanes, out: Lanes, which: Any, no: Any, yes: Any, **__: Any
) -> list[Lanes | None]:
    taken = _bare(which, g)
    return [None, Lanes(g.residue * (1 - taken.residue)), Lanes(g.residue * taken.residue)]


def _back_sum(_: Modular, g: Lanes, out: Lanes, a: Lanes, *, axes: Any, **__: Any) -> list[Lanes]:
    number = np.expand_dims(g.residue, tuple(i + 1 for i in axes))
    return [Lanes(np.broadcast_to(number, (len(number), *a.residue.shape[1:])))]


def _back_dot(
    _: Modular, g: Lanes, out: Lanes, a: Any, b: Any, *, dimension_numbers: Any, **__: Any
) -> list[Lanes]:
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    a, b = _bare(a), _bare(b)
    orders = []
    for x, inner, batch in ((a, contract_a, batch_a), (b, contract_b, batch_b)):
        free = [i for i in range(x.residue.ndim - 1) if i not in (*inner, *batch)]
        orders.append(([*batch], free, [*inner]))

    def arranged(x: Lanes, groups: Any) -> np.ndarray:
        order = [0, *(i + 1 for group in groups for i in group)]
        sizes = [math.prod(x.residue.shape[i + 1] for i in group) for group in groups]
        return x.residue.transpose(order).reshape(len(x.residue), *sizes)

    def restored(number: np.ndarray, x: Lanes, groups: Any) -> Lanes:
        order = [0, *(i + 1 for group in groups for i in group)]
        shape = [x.residue.shape[i] for i in order[1:]]
        return Lanes(number.reshape(len(number), *shape).transpose(np.argsort(order)))

    left, right = arranged(a, orders[0]), arranged(b, orders[1])  # (lane, batch, free, inner)
    middle = g.residue.reshape(len(g.residue), left.shape[1], left.shape[2], right.shape[2])
    to_left = contract(Lanes(middle), Lanes(right)).residue
    to_right = contract(Lanes(np.swapaxes(middle, 2, 3)), Lanes(left)).residue
    return [restored(to_left, a, orders[0]), restored(to_right, b, orders[1])]


def _back_moved(name: str) -> Pullback:
    def back(_: Modular, g: Lanes, out: Any, *xs: Any, **params: Any) -> list[Lanes | None]:
        count = {"gather": 1, "dynamic_slice": 1}.get(name, len(xs))
        places, start = [], 0
        shapes = [x.residue.shape[1:] if isinstance(x, Lanes) else np.shape(x) for x in xs[:count]]
        for shape in shapes:
            places.append(np.arange(start, start + math.prod(shape)).reshape(shape))
            start += math.prod(shape)
        target = np.asarray(MOVEMENT[name](*places, *xs[count:], **params)).reshape(-1)
        number = np.zeros((len(g.residue), start), dtype=np.int64)
        np.add.at(number.T, target, g.residue.reshape(len(g.residue), -1).T)
        number %= MODULUS
        cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
        parts = np.split(number, cuts, axis=1)
        return [Lanes(p.reshape(len(p), *s)) for p, s in zip(parts, shapes, strict=True)]

    return back


_SILENT = frozenset({"gt", "lt", "ge", "le", "eq", "ne", "sign", "and", "or", "not"})
"""What has no derivative where it is defined."""

_MOVES = (
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "slice", "rev", "concatenate", "stack",
    "gather", "dynamic_slice", "tile",
)  # fmt: skip

_PULLBACKS: dict[str, Pullback] = {
    "add": lambda _, g, out, a, b, **__: [g, g],
    "sub": lambda _, g, out, a, b, **__: [g, _minus(g)],
    "mul": lambda _, g, out, a, b, **__: [_times(g, b), _times(g, a)],
    "div": _back_div,
    "neg": lambda _, g, out, a, **__: [_minus(g)],
    "square": lambda _, g, out, a, **__: [Lanes(_times(g, a).residue * 2 % MODULUS)],
    "integer_pow": _back_pow,
    "dot_general": _back_dot,
    "reduce_sum": _back_sum,
    "max": _back_extremum(1),
    "min": _back_extremum(-1),
    "abs": _back_abs,
    "select_n": _back_select,
    "convert_element_type": lambda _, g, out, a, **__: [g],
} | {name: _back_moved(name) for name in _MOVES}
