"""The zoo: the papers' models, one per file, with their known symmetries."""

from __future__ import annotations

import importlib

from symtheory.errors import InputError, did_you_mean
from symtheory.zoo._example import Example as Example

_MODULES = {
    "scalar-factor": "scalar_factor",
    "two-layer-linear": "two_layer_linear",
    "relu-rescaling": "relu_rescaling",
    "scale-invariant": "scale_invariant",
    "attention-scores": "attention_scores",
    "low-rank-adapter": "low_rank_adapter",
    "deep-linear": "deep_linear",
}


def names() -> list[str]:
    """Return the names of all models of the zoo.

    >>> "scalar-factor" in names()
    True
    """
    return list(_MODULES)


def load(name: str) -> Example:
    """Return a model of the zoo by name.

    Raises:
        InputError: There is no such model.

    >>> load("relu-rescaling").sizes
    {'h': 2, 'dx': 2}
    """
    if name not in _MODULES:
        raise InputError(f"there is no model {name!r} in the zoo; {did_you_mean(name, names())}")
    return importlib.import_module(f"symtheory.zoo.{_MODULES[name]}").EXAMPLE
