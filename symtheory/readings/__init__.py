"""Old names of what now lives in `program` and `domains`; goes when its users have moved."""

from typing import Any

from symtheory.domains import Balls as Balls
from symtheory.domains import Element as Element
from symtheory.domains import Expressions as Entries
from symtheory.domains import Label as Label
from symtheory.domains import LieDerivative as LieDerivative
from symtheory.domains import Polynomials as Polynomials
from symtheory.domains import Ring as Ring
from symtheory.domains import Symbols as Symbols
from symtheory.domains import UndecidedError as UndecidedError
from symtheory.domains import as_fmpq as as_fmpq
from symtheory.domains import ball as ball
from symtheory.domains import enclose as enclose
from symtheory.domains import precision as precision
from symtheory.domains._arrays import ArrayDomain as ArrayDomain
from symtheory.domains._residue_numbers import PRIME as PRIME
from symtheory.domains._residue_numbers import ResidueNumbers as Residues
from symtheory.domains.tensors import Indexed as Indexed
from symtheory.domains.tensors import IndexTerm as IndexTerm
from symtheory.domains.tensors import Relation as Relation
from symtheory.domains.tensors import Tensor as Tensor
from symtheory.domains.tensors import Tensors as Indices
from symtheory.domains.tensors import contract as contract
from symtheory.domains.tensors import einsum as einsum
from symtheory.domains.tensors import read_indexed as read_indexed
from symtheory.domains.tensors import reduced as reduced
from symtheory.domains.tensors import unfolded as unfolded
from symtheory.domains.tensors import vanishes_at_random as vanishes_at_random
from symtheory.program import NO_DEADLINE as NO_DEADLINE
from symtheory.program import Deadline as Deadline
from symtheory.program import trace as trace
from symtheory.readings import _interpreter
from symtheory.readings._concrete import CONCRETE as CONCRETE
from symtheory.readings._degrees import Degrees as Degrees
from symtheory.readings._interpreter import Rule as Rule
from symtheory.readings._interpreter import unreadable as unreadable
from symtheory.readings._movement import MOVEMENT as MOVEMENT
from symtheory.readings._movement import iota as iota
from symtheory.readings._movement import scatter_places as scatter_places
from symtheory.readings._scaled import HALVINGS as HALVINGS
from symtheory.readings._scaled import NotHomogeneousError as NotHomogeneousError
from symtheory.readings._scaled import scaled as scaled


def read(closed: Any, domain: Any, inputs: Any, deadline: Any = NO_DEADLINE) -> Any:
    """Evaluate a jaxpr over a domain of either kind."""
    from symtheory import program

    if hasattr(domain, "rules"):
        return _interpreter.read(closed, domain, inputs, deadline)
    return [domain.lift(x) for x in program.read(closed, domain, inputs, deadline)]


def read_function(
    function: Any, structures: Any, domain: Any, inputs: Any, deadline: Any = NO_DEADLINE
) -> Any:
    """Trace a function and evaluate it over a domain of either kind."""
    from symtheory import program

    if hasattr(domain, "rules"):
        return _interpreter.read_function(function, structures, domain, inputs, deadline)
    return program.read_function(function, structures, domain, inputs, deadline)
