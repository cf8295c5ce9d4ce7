"""Spaces of matrices a family of generators is indexed by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from symtheory import shapes
from symtheory.errors import InputError


@dataclasses.dataclass(frozen=True)
class Family:
    """A linear space of arrays B; every member B gives one generator A(B), linear in B."""

    size: shapes.Size

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape of a member at given sizes.

        Raises:
            InputError: The size is not bound.
        """
        return shapes.fixed(shapes.bind(self._shape(), sizes))

    @property
    def sizes(self) -> shapes.Shape:
        """Shape of a member, with sizes that may be names."""
        return self._shape()

    def _shape(self) -> shapes.Shape:
        raise NotImplementedError

    @property
    def symmetric(self) -> bool:
        """Whether members are symmetric matrices."""
        return False

    def __post_init__(self) -> None:
        if len(shapes.as_shape(self.size)) != 1:
            raise InputError(f"a family has one size, got {self.size!r}")


@dataclasses.dataclass(frozen=True)
class SymmetricMatrix(Family):
    """Symmetric matrices B = B^T of a given size.

    >>> SymmetricMatrix("h").shape({"h": 3})
    (3, 3)
    """

    def _shape(self) -> shapes.Shape:
        return (self.size, self.size)

    @property
    def symmetric(self) -> bool:
        """Whether members are symmetric matrices."""
        return True


@dataclasses.dataclass(frozen=True)
class Matrix(Family):
    """All square matrices of a given size.

    >>> Matrix(2).shape({})
    (2, 2)
    """

    def _shape(self) -> shapes.Shape:
        return (self.size, self.size)


@dataclasses.dataclass(frozen=True)
class Vector(Family):
    """Vectors of a given size, such as one rate per neuron.

    >>> Vector("h").shape({"h": 3})
    (3,)
    """

    def _shape(self) -> shapes.Shape:
        return (self.size,)
