"""Symbols of the optimizer's settings, kept apart from whatever names a user chose."""

from __future__ import annotations

from collections.abc import Iterable

import sympy

_SHORT = {
    "learning_rate": "eta",
    "batch_size": "S",
    "weight_decay": "gamma",
    "momentum": "beta",
    "flow": "lambda",
}
_POSITIVE = frozenset({"learning_rate", "batch_size"})


def settings_symbols(taken: Iterable[str]) -> dict[str, sympy.Symbol]:
    """Return the settings' symbols by code name: eta, S, gamma, beta, lambda.

    Where a user's own name looks the same, the setting is printed by its code name instead.

    >>> settings_symbols(["S", "w"])["batch_size"], settings_symbols(["w"])["batch_size"]
    (batch_size, S)
    """
    used = set(taken)
    out = {}
    for name, short in _SHORT.items():
        shown = name if short in used else short
        if name == "flow":
            out[name] = sympy.Symbol(shown, real=True)
        elif name in _POSITIVE:
            out[name] = sympy.Symbol(shown, positive=True)
        else:
            out[name] = sympy.Symbol(shown, nonnegative=True)
    return out
