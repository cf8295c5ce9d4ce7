"""A model of the zoo together with its known symmetries and settings that show its law."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from symtheory.errors import InputError, did_you_mean
from symtheory.model import Model
from symtheory.symmetry import Exponential


def _no_arrays(sizes: Mapping[str, int]) -> dict[str, Any]:
    return {}


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One model of the papers.

    Attributes:
        name: Its name on the command line.
        summary: What it is, in one line.
        model: The model, with symbolic sizes and covariances.
        symmetries: Its known symmetries by name, the main one first.
        sizes: Sizes used when none are given.
        arrays: Covariances and constants used when a number is needed, given the sizes.
        learning_rate: eta of the default simulation.
        batch_size: S of the default simulation.
        weight_decay: gamma of the default simulation.
        steps: Number of SGD steps of the default simulation.
        references: Keys of the papers it comes from.
    """

    name: str
    summary: str
    model: Model
    symmetries: Mapping[str, Exponential]
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    arrays: Callable[[Mapping[str, int]], dict[str, Any]] = _no_arrays
    learning_rate: float = 0.01
    batch_size: int = 1
    weight_decay: float = 0.0
    steps: int = 20_000
    references: tuple[str, ...] = ("ziyin2024noise",)

    def sized(self, **sizes: int) -> Model:
        """Return the model with all sizes bound (defaults where none is given).

        >>> from symtheory.zoo import load
        >>> load("two-layer-linear").sized(h=3).leaves
        {'U': (2, 3), 'W': (3, 2)}
        """
        for name in sizes:
            if name not in self.sizes:
                raise InputError(
                    f"{self.name} has no size {name!r}; {did_you_mean(name, list(self.sizes))}"
                )
        return self.model.bind(**{**self.sizes, **sizes})

    def bound(self, **sizes: int) -> Model:
        """Return the model with sizes, covariances and constants bound."""
        model = self.sized(**sizes)
        return model.bind(**self.arrays({**self.sizes, **sizes}))
