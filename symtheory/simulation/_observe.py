"""What is recorded along a run: named functions of the parameters, or of them and the gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
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


def check_names(
    observers: Iterable[Observer], leaves: Iterable[str], averaging: bool, taken: Iterable[str]
) -> None:
    """Refuse names of which two would be the same in the result.

    Args:
        observers: What is observed.
        leaves: Names of the parameters.
        averaging: Whether means and variances over time are part of the result.
        taken: Names of axes and of what else the result holds.

    Raises:
        InputError: Naming the observable.
    """
    used = {name: f"the name {name!r} of the result" for name in taken}
    used |= {f"param_{name or 'theta'}": f"the parameter {name!r} at the end" for name in leaves}
    for observer in observers:
        name = observer.name
        own = {name: f"observable {name!r}"}
        if averaging:
            own[f"{name}_mean"] = f"the mean of {name!r}"
            own[f"{name}_variance"] = f"the variance of {name!r}"
        if not observer.needs_gradient:
            own[f"{name}_final"] = f"{name!r} at the end"
        for key, text in own.items():
            if key in used:
                raise InputError(
                    f"{text} and {used[key]} would both be called {key!r}; rename observable "
                    f"{name!r}"
                )
        used |= own
