"""What is recorded along a run: named functions of the parameters, or of them and the gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from symtheory.errors import InputError


@dataclasses.dataclass(frozen=True)
class Observer:
    """A named observable; hashable, so that a compiled program can be found again."""

    name: str
    function: Callable[..., Any]
    needs_gradient: bool


def observers(observe: Any) -> tuple[Observer, ...]:
    """Return the observables in `observe`.

    Args:
        observe: None, a function, a dictionary of functions by name, or an object whose method
            `observables()` returns such a dictionary.

    Raises:
        InputError: It is none of these.
    """
    if observe is None:
        return ()
    method = getattr(observe, "observables", None)
    if callable(method):
        observe = method()
    if isinstance(observe, Mapping):
        named = {str(name): function for name, function in observe.items()}
    elif callable(observe):
        named = {getattr(observe, "__name__", "observable"): observe}
    else:
        raise InputError(
            f"observe must be a function of the parameters, a dictionary of such functions or an "
            f"object with observables(), got {observe!r}"
        )
    for name, function in named.items():
        if not callable(function):
            raise InputError(f"observable {name!r} is {function!r}; give a function of (params)")
    return tuple(
        Observer(name, function, bool(getattr(function, "needs_gradient", False)))
        for name, function in named.items()
    )
