"""The domain *degrees*: how every intermediate entry scales when the parameters are scaled.

Under theta_i -> exp(lambda mu_i) theta_i each entry v of the computation either turns into
exp(lambda d) v with a definite degree d, or is not homogeneous. The rules are exact (integers),
hold for every lambda and every sample, and cost one pass at any size: a loss of degree 0 is
invariant, which proves a diagonal symmetry where expanding polynomials would be out of reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symtheory.exact import rational
from symtheory.readings._casts import real_constant
from symtheory.readings._degree_rules import degree_rules
from symtheory.readings._interpreter import Rule
from symtheory.readings._scaled import Scaled, join, scaled


class Degrees:
    """Homogeneity degrees of every entry, in units of 1/HALVINGS.

    >>> import jax, jax.numpy as jnp
    >>> from symtheory.readings import HALVINGS, read_function, scaled
    >>> vector = jax.ShapeDtypeStruct((2,), float)
    >>> cosine = lambda x, w: x @ w / jnp.sqrt(w @ w)
    >>> out = read_function(cosine, [vector] * 2, Degrees(),
    ...                     [scaled([0, 0]), scaled([HALVINGS, HALVINGS])])
    >>> out.is_invariant
    True
    """

    name = "degrees"

    def __init__(self) -> None:
        self._rules = degree_rules()

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The table primitive -> rule."""
        return self._rules

    def constant(self, value: Any) -> Any:
        """Read a constant: degree 0, or any degree where it is zero, infinite or NaN."""
        array = real_constant(self.name, value)
        if array.dtype.kind in "biu":
            return array
        number = rational(array[()]) if array.ndim == 0 and np.isfinite(array) else None
        free = (array == 0) | ~np.isfinite(array)
        return Scaled(np.zeros(array.shape, dtype=np.int64), free, number)

    def is_fixed(self, value: Any) -> bool:
        """Tell whether no entry changes when the parameters are scaled."""
        return isinstance(value, Scaled) and value.is_invariant

    def take(self, value: Any, step: int) -> Any:
        """Return one entry of a value along its first axis."""
        if isinstance(value, Scaled):
            return scaled(value.degrees[step], value.zero[step])
        return np.asarray(value[step])

    def stack(self, values: Sequence[Any]) -> Any:
        """Put values together along a new first axis."""
        return join(np.stack, values)
