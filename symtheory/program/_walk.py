"""Walk a jaxpr: the one way into its bodies, its equations, and where each stands in a file."""

from __future__ import annotations

import dataclasses
import os
import sysconfig
from collections.abc import Iterable, Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Var

from symtheory.errors import UnreadableError

_STANDARD_LIBRARY = os.path.join(sysconfig.get_paths()["stdlib"], "")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_HIDDEN = (
    os.path.join(os.path.dirname(os.path.abspath(jax.__file__)), ""),
    *(
        os.path.join(_PACKAGE, room)
        for room in (
            "program", "domains", "symmetry", "theory", "syre", "verdict", "model.py", "simulation",
        )
    ),
)  # fmt: skip


def subjaxprs(equation: Any) -> Iterator[Jaxpr]:
    """Yield the bodies of an equation: what it calls, its branches, its loop.

    >>> closed = jax.make_jaxpr(lambda x: jax.jit(jax.numpy.sin)(x))(1.0)
    >>> [body.eqns[0].primitive.name for body in subjaxprs(closed.jaxpr.eqns[0])]
    ['sin']
    """
    for value in equation.params.values():
        for inner in value if isinstance(value, (tuple, list)) else [value]:
            body: Any = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
            if isinstance(body, Jaxpr):
                yield body


def equations(jaxpr: Jaxpr) -> Iterator[Any]:
    """Yield all equations of a jaxpr, those of calls, branches and loops included."""
    for equation in jaxpr.eqns:
        yield equation
        for body in subjaxprs(equation):
            yield from equations(body)


def has_loop(closed: ClosedJaxpr) -> bool:
    """Tell whether a function runs `lax.while_loop` or a loop whose number of turns is computed.

    >>> double = lambda x: jax.lax.while_loop(lambda y: y < 9, lambda y: 2 * y, x)
    >>> has_loop(jax.make_jaxpr(double)(1.0)), has_loop(jax.make_jaxpr(abs)(1.0))
    (True, False)
    """
    return any(equation.primitive.name == "while" for equation in equations(closed.jaxpr))


def pruned(closed: ClosedJaxpr) -> ClosedJaxpr:
    """Leave out what the result does not need, such as the value beside its derivative."""
    needed = {x for x in closed.jaxpr.outvars if isinstance(x, Var)}
    kept = []
    for equation in reversed(closed.jaxpr.eqns):
        if needed.intersection(equation.outvars):
            kept.append(equation)
            needed.update(x for x in equation.invars if isinstance(x, Var))
    return ClosedJaxpr(closed.jaxpr.replace(eqns=kept[::-1]), closed.consts)


@dataclasses.dataclass(frozen=True, eq=False)
class Called:
    """An equation of what another one calls.

    Attributes:
        equation: The equation.
        caller: The equation that calls it, which may itself be called.
    """

    equation: Any
    caller: Any

    @property
    def primitive(self) -> Any:
        """The primitive of the equation."""
        return self.equation.primitive


def location(equation: Any) -> str:
    """Return "file.py:12", the line of the user's file that an equation comes from, or "".

    An equation without a line of its own, such as those inside of `jax.nn.silu`, stands where it is
    called. Lines of installed packages are given only where there is no other.
    """
    if isinstance(equation, Called):
        return location(equation.equation) or location(equation.caller)
    traceback = getattr(getattr(equation, "source_info", None), "traceback", None)
    return line_of(
        (frame.file_name, getattr(frame, "line_num", None) or getattr(frame, "start_line", 0))
        for frame in getattr(traceback, "frames", ())
    )


def line_of(frames: Iterable[tuple[str, int]]) -> str:
    """Return the user's line among (file, line), innermost first, as "file.py:12", or "".

    Lines of installed packages and of Python's own are given only where there is no other.

    >>> line_of([("/usr/lib/python3/site-packages/other.py", 7), ("/home/me/model.py", 12)])
    'model.py:12'
    """
    found = ""
    for name, line in frames:
        if name.startswith(_HIDDEN) or name.startswith("<"):
            continue
        text = f"{os.path.basename(name)}:{line}"
        if "site-packages" not in name and not name.startswith(_STANDARD_LIBRARY):
            return text
        found = found or text
    return found


def located(error: UnreadableError, equation: Any) -> UnreadableError:
    """Say which primitive of the user's program, and which line of the file, an error is about."""
    primitive = getattr(equation, "primitive", None)
    if primitive is None or getattr(error, "located", False):
        return error
    where = location(equation)
    at = f" at {where}" if where else ""
    out = type(error)(f"{error} (primitive {primitive.name!r}{at})")
    out.located = True  # type: ignore[attr-defined]
    return out
