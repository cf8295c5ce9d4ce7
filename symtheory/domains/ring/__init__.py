"""The ring behind exact proofs: fractions of polynomials in symbols and kernels."""

from symtheory.domains._rationals import as_fmpq as as_fmpq
from symtheory.domains.ring._element import Element as Element
from symtheory.domains.ring._enclose import enclose as enclose
from symtheory.domains.ring._lie import LieDerivative as LieDerivative
from symtheory.domains.ring._ring import Ring as Ring
from symtheory.domains.ring._symbols import Label as Label
from symtheory.domains.ring._symbols import Symbols as Symbols
