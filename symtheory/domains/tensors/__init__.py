"""Sums of products of named arrays at sizes that are names."""

from symtheory.domains.tensors._contraction import contract as contract
from symtheory.domains.tensors._contraction import vanishes_at_random as vanishes_at_random
from symtheory.domains.tensors._indexed import Indexed as Indexed
from symtheory.domains.tensors._indexed import einsum as einsum
from symtheory.domains.tensors._indexed import unfolded as unfolded
from symtheory.domains.tensors._read import read_indexed as read_indexed
from symtheory.domains.tensors._relations import Relation as Relation
from symtheory.domains.tensors._relations import reduced as reduced
from symtheory.domains.tensors._tensors import Tensors as Tensors
from symtheory.domains.tensors._terms import IndexTerm as IndexTerm
from symtheory.domains.tensors._terms import Tensor as Tensor
