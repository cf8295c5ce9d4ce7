"""The domain *lanes*: many points at once, residues mod a prime beside rigorous enclosures.

A value holds, for every entry, its residue mod `PRIME` (None as soon as it is not a rational
function of the inputs) and a float with a bound on its error. Residues count; enclosures decide
comparisons, so that a ReLU is read exactly, and carry the losses that have no residues. A
comparison that the bound leaves open, or a division by zero, makes the bound infinite: the
caller drops the points (lanes) where that happens. The lanes are an axis of the arrays
themselves: trace with `jax.vmap` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symtheory.readings._casts import real_constant
from symtheory.readings._interpreter import Rule
from symtheory.symmetry.discovery._lane_rules import lane_rules
from symtheory.symmetry.discovery._lane_values import Lanes, from_floats, joined


class LanesDomain:
    """Reads a jaxpr at many points at once."""

    name = "lanes"

    def __init__(self) -> None:
        self._rules = lane_rules()

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The table primitive -> rule."""
        return self._rules

    def constant(self, value: Any) -> Any:
        """Read a literal or captured array; floats become the rationals they stand for."""
        array = real_constant(self.name, value)
        return array if array.dtype.kind in "biu" else from_floats(array)

    def take(self, value: Any, step: int) -> Any:
        """Return one entry of a value along its first axis."""
        return value.map(lambda a: a[step]) if isinstance(value, Lanes) else value[step]

    def stack(self, values: Sequence[Any]) -> Any:
        """Put values together along a new first axis."""
        return joined(np.stack, values)
