"""One loss, several readings: the same jaxpr walked over different domains.

=============  ==================================================  ==============================
domain         values                                              used for
=============  ==================================================  ==============================
`Entries`      SymPy expressions                                   closed forms, LaTeX
`Polynomials`  elements of Q(symbols)[kernels], on FLINT           proofs, Gaussian moments
`Residues`     numbers mod a large prime, on FLINT                 ranks, fast refutation
`Balls`        Arb balls                                           rigorous values at a point
`Degrees`      homogeneity degrees                                 scalings, at any size
`Indices`      sums of products of named tensors, symbolic sizes   dimension-free laws
=============  ==================================================  ==============================

`read_function` traces a function and reads it; a primitive that a domain has no rule for is an
`UnreadableError` that names both.
"""

from symtheory.readings._arrays import ArrayDomain as ArrayDomain
from symtheory.readings._balls import Balls as Balls
from symtheory.readings._balls import UndecidedError as UndecidedError
from symtheory.readings._balls import ball as ball
from symtheory.readings._balls import enclose as enclose
from symtheory.readings._balls import precision as precision
from symtheory.readings._concrete import CONCRETE as CONCRETE
from symtheory.readings._contraction import contract as contract
from symtheory.readings._contraction import vanishes_at_random as vanishes_at_random
from symtheory.readings._degrees import Degrees as Degrees
from symtheory.readings._element import Element as Element
from symtheory.readings._entries import Entries as Entries
from symtheory.readings._indexed import Indexed as Indexed
from symtheory.readings._indexed import einsum as einsum
from symtheory.readings._indexed import unfolded as unfolded
from symtheory.readings._indices import Indices as Indices
from symtheory.readings._indices import read_indexed as read_indexed
from symtheory.readings._interpreter import NO_DEADLINE as NO_DEADLINE
from symtheory.readings._interpreter import Deadline as Deadline
from symtheory.readings._interpreter import Domain as Domain
from symtheory.readings._interpreter import Rule as Rule
from symtheory.readings._interpreter import read as read
from symtheory.readings._interpreter import read_function as read_function
from symtheory.readings._interpreter import trace as trace
from symtheory.readings._interpreter import unreadable as unreadable
from symtheory.readings._lie import LieDerivative as LieDerivative
from symtheory.readings._movement import MOVEMENT as MOVEMENT
from symtheory.readings._movement import iota as iota
from symtheory.readings._movement import scatter_places as scatter_places
from symtheory.readings._polynomials import Polynomials as Polynomials
from symtheory.readings._rationals import as_fmpq as as_fmpq
from symtheory.readings._relations import Relation as Relation
from symtheory.readings._relations import reduced as reduced
from symtheory.readings._residues import PRIME as PRIME
from symtheory.readings._residues import Residues as Residues
from symtheory.readings._ring import Ring as Ring
from symtheory.readings._scaled import HALVINGS as HALVINGS
from symtheory.readings._scaled import NotHomogeneousError as NotHomogeneousError
from symtheory.readings._scaled import scaled as scaled
from symtheory.readings._symbols import Label as Label
from symtheory.readings._symbols import Symbols as Symbols
from symtheory.readings._terms import IndexTerm as IndexTerm
from symtheory.readings._terms import Tensor as Tensor
