"""What a program means over different kinds of values.

===============  ==================================================  ============================
domain           values                                              used for
===============  ==================================================  ============================
`Polynomials`    elements of Q(symbols)[kernels], on FLINT           proofs, Gaussian moments
`Expressions`    SymPy expressions                                   closed forms, LaTeX
`Balls`          Arb balls                                           rigorous values at a point
`Residues`       residues mod a prime beside enclosures in floats    ranks, at many points
`Shifts`         terms that are added, factors exp(term)             shifts that cancel, any size
`Tensors`        sums of products of named arrays, symbolic sizes    laws for all sizes
===============  ==================================================  ============================
"""

from typing import TYPE_CHECKING, Any

from symtheory.domains._arrays import ArrayDomain as ArrayDomain
from symtheory.domains._balls import Balls as Balls
from symtheory.domains._balls import UndecidedError as UndecidedError
from symtheory.domains._balls import ball as ball
from symtheory.domains._balls import precision as precision
from symtheory.domains._combinations import NotFollowedError as NotFollowedError
from symtheory.domains._domain import Domain as Domain
from symtheory.domains._enclosures import Enclosure as Enclosure
from symtheory.domains._numbers import Numbers as Numbers
from symtheory.domains._numbers import concatenate as concatenate
from symtheory.domains._numbers import from_fractions as from_fractions
from symtheory.domains._numbers import varying as varying
from symtheory.domains._polynomials import Polynomials as Polynomials
from symtheory.domains._residues import Residues as Residues
from symtheory.domains._shifts import Changed as Changed
from symtheory.domains._shifts import Shifts as Shifts
from symtheory.domains.ring import Element as Element
from symtheory.domains.ring import Label as Label
from symtheory.domains.ring import LieDerivative as LieDerivative
from symtheory.domains.ring import Ring as Ring
from symtheory.domains.ring import Symbols as Symbols
from symtheory.domains.ring import as_fmpq as as_fmpq
from symtheory.domains.ring import enclose as enclose
from symtheory.domains.tensors import Tensors as Tensors

if TYPE_CHECKING:
    from symtheory.domains._expressions import Expressions as Expressions


def __getattr__(name: str) -> Any:
    """Load the domain that needs SymPy on first use."""
    if name == "Expressions":
        from symtheory.domains._expressions import Expressions

        return Expressions
    raise AttributeError(f"module 'symtheory.domains' has no attribute {name!r}")
