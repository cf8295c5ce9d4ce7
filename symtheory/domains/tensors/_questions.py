"""Notice when a function asks which numbers its symbolic sizes are, while it is traced.

A symbolic dimension of JAX stands for every size at once. JAX answers `n == 3` and `n == m` with
False, since equality must not fail where dimensions are hashed, and takes `n % 2` for true. A
function that branches on such an answer has been traced for some sizes only. Order comparisons
raise an error of JAX's own, unless they hold at all sizes.

JAX itself asks such questions, too, and its programs are right for all sizes nevertheless. So it
matters who asks: the innermost frame of the call stack decides, modules left out that JAX and users
both call.

What notices that it is traced, by the type of a size, say, is another function when it is not; no
question tells that.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import numpy as np

from symtheory.errors import UnreadableError
from symtheory.program import line_of

_ORDERS = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">="}
_EQUALITIES = {"__eq__": "==", "__ne__": "!="}
_NEVER_A_SIZE = (str, bytes, tuple, list, dict, set, frozenset, type, type(None), type(...))
_JAX = frozenset({"jax", "jaxlib"})
_CARRIERS = frozenset({"numpy", "opt_einsum"})
_STANDARD_LIBRARY = os.path.join(sysconfig.get_paths()["stdlib"], "")
_LOCK = threading.RLock()


def shown(text: Any, names: Mapping[str, str]) -> str:
    """Return a text with the user's names in place of those of the symbolic dimensions.

    >>> shown("s1 - 2*s10", {"s1": "n", "s10": "m"})
    'n - 2*m'
    """
    return re.sub(r"\bs\d+\b", lambda found: names.get(found[0], found[0]), str(text))


@contextlib.contextmanager
def answered_for_all_sizes(dimensions: Sequence[Any], names: Mapping[str, str]) -> Iterator[None]:
    """Refuse questions about symbolic sizes that do not have one answer for all sizes.

    The methods by which Python asks (comparison, truth, hash, text, integer) are replaced on the
    class of JAX's symbolic dimensions for the time of the trace, and heard in this thread only.

    Args:
        dimensions: The symbolic dimensions.
        names: The user's name of each, by its text.

    Raises:
        UnreadableError: The function asked; the message says what and where.
    """
    if not dimensions:
        yield
        return
    with _LOCK:
        kind = type(dimensions[0])
        watch = _Watch(kind, names)
        methods = watch.methods()
        before = {name: kind.__dict__.get(name) for name in methods}
        for name, method in methods.items():
            setattr(kind, name, method)
        try:
            yield
        except Exception:
            # JAX adds notes to an error that passes through it.
            watch.raise_what_was_asked()
            raise
        finally:
            for name, method in before.items():
                if method is None:
                    delattr(kind, name)
                else:
                    setattr(kind, name, method)
    watch.raise_what_was_asked()


class _Watch:
    """Listens to the questions of one thread.

    Attributes:
        question: The first question that has no single answer; code may have caught the error.
    """

    def __init__(self, kind: type, names: Mapping[str, str]) -> None:
        self.question: UnreadableError | None = None
        self._kind = kind
        self._names = names
        self._thread = threading.get_ident()
        self._original = {
            name: getattr(kind, name)
            for name in (*_ORDERS, *_EQUALITIES, "__hash__", "__str__", "__repr__", "__int__")
        }
        self._hashed: dict[tuple[FrameType, int], UnreadableError] = {}

    def methods(self) -> dict[str, Callable[..., Any]]:
        """Return the methods that replace those of the class, by name."""
        out: dict[str, Callable[..., Any]] = {name: self._order(name) for name in _ORDERS}
        out |= {name: self._equality(name) for name in _EQUALITIES}
        out |= {name: self._text(name) for name in ("__str__", "__repr__")}
        return out | {"__hash__": self._hash(), "__bool__": self._truth(), "__int__": self._int()}

    def raise_what_was_asked(self) -> None:
        """Raise the first question, be it that an error was caught or that a hash was taken."""
        for question in (self.question, *self._hashed.values()):
            if question is not None:
                raise UnreadableError(str(question)) from None

    # --- the methods; each is called from the frame that asks, at depth 1 ---

    def _order(self, name: str) -> Callable[..., Any]:
        original = self._original[name]

        def method(dimension: Any, other: Any) -> Any:
            frame = self._asker(sys._getframe(1))
            if frame is None:
                return original(dimension, other)
            try:
                return original(dimension, other)
            except Exception as error:
                raise self._compared(dimension, _ORDERS[name], other, frame) from error

        return method

    def _equality(self, name: str) -> Callable[..., Any]:
        original = self._original[name]
        open_answer = name == "__ne__"  # what JAX says where it does not know

        def method(dimension: Any, other: Any) -> Any:
            answer = original(dimension, other)
            frame = self._asker(sys._getframe(1)) if answer is open_answer else None
            if frame is not None and not self._differ(dimension, other):
                raise self._compared(dimension, _EQUALITIES[name], other, frame)
            if self._hashed and answer is open_answer:
                self._belongs_to_jax(sys._getframe(1))
            return answer

        return method

    def _text(self, name: str) -> Callable[..., Any]:
        original = self._original[name]

        def method(dimension: Any) -> Any:
            frame = self._asker(sys._getframe(1))
            if frame is not None:
                raise self._asked(f"for {self._show(dimension)} as text", frame)
            return original(dimension)

        return method

    def _hash(self) -> Callable[..., Any]:
        original = self._original["__hash__"]

        def method(dimension: Any) -> int:
            frame = self._asker(sys._getframe(1))
            if frame is None:
                self._belongs_to_jax(sys._getframe(1))
            else:
                # A static argument of `jax.jit` is hashed in the name of the frame that calls, and
                # then again by JAX; a key of a dictionary or a member of a set is not.
                what = f"whether {self._show(dimension)} is a key or a member of something"
                question = self._refusal(what, frame)
                self._hashed.setdefault((frame, frame.f_lasti), question)
            return original(dimension)

        return method

    def _truth(self) -> Callable[..., Any]:
        def method(dimension: Any) -> bool:
            frame = self._asker(sys._getframe(1))
            if frame is not None and not self._differ(dimension, 0):
                raise self._asked(f"whether {self._show(dimension)} is 0", frame)
            return True

        return method

    def _int(self) -> Callable[..., Any]:
        original = self._original["__int__"]

        def method(dimension: Any) -> int:
            frame = self._asker(sys._getframe(1))
            if frame is not None:
                raise self._asked(f"for {self._show(dimension)} as an integer", frame)
            return original(dimension)

        return method

    # --- what is known, who asks, and what is said ---

    def _differ(self, dimension: Any, other: Any) -> bool:
        """Tell whether a dimension differs from something at all sizes."""
        if isinstance(other, _NEVER_A_SIZE):
            return True
        if isinstance(other, float):
            if not other.is_integer():
                return True
            other = int(other)
        if not isinstance(other, (int, np.integer, self._kind)):
            return False  # an array, or something else that integers may be equal to
        for name in ("__lt__", "__gt__"):
            with contextlib.suppress(Exception):
                if self._original[name](dimension, other):
                    return True
        return False

    def _asker(self, frame: FrameType | None) -> FrameType | None:
        """Return the frame that asks, None where it is JAX or another thread."""
        if threading.get_ident() != self._thread:
            return None
        while frame is not None and _is_carrier(frame):
            frame = frame.f_back
        return None if frame is None or _root(frame) in _JAX else frame

    def _belongs_to_jax(self, frame: FrameType | None) -> None:
        """Drop the hash that was taken for a call of JAX, inside of which this frame is."""
        if not self._hashed or threading.get_ident() != self._thread:
            return
        while frame is not None and (_is_carrier(frame) or _root(frame) in _JAX):
            frame = frame.f_back
        if frame is not None:
            self._hashed.pop((frame, frame.f_lasti), None)

    def _show(self, value: Any) -> str:
        if isinstance(value, self._kind):
            return shown(self._original["__str__"](value), self._names)
        number = isinstance(value, (int, float, np.generic))
        return str(value) if number else f"a {type(value).__name__}"

    def _compared(self, a: Any, sign: str, b: Any, frame: FrameType) -> UnreadableError:
        return self._asked(f"whether {self._show(a)} {sign} {self._show(b)}", frame)

    def _asked(self, what: str, frame: FrameType) -> UnreadableError:
        error = self._refusal(what, frame)
        self.question = self.question or error
        return error

    def _refusal(self, what: str, frame: FrameType) -> UnreadableError:
        where = line_of(_lines(frame))
        return UnreadableError(
            f"the function asks {what}{f' (at {where})' if where else ''}, which has no one answer "
            "for all sizes; bind the sizes, or remove the branch"
        )


def _root(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_carrier(frame: FrameType) -> bool:
    """Tell whether a frame runs code that JAX and users both call, and that asks for its caller."""
    if _root(frame) in _CARRIERS:
        return True
    if _root(frame) == "jax":
        return ".tree" in frame.f_globals["__name__"]
    name = frame.f_code.co_filename
    return name.startswith(_STANDARD_LIBRARY) and "site-packages" not in name


def _lines(frame: FrameType | None) -> Iterator[tuple[str, int]]:
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
